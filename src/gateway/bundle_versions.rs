//! How often what each CA bundle holds has changed: so that one look at it can be told from another, and gateways can be
//! compared.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use crate::certificate::CaBundle;
use crate::gateway::control_plane::ControlPlane;
use crate::inventory::BundleVersion;

/// The versions of CA bundles, by their names.
#[derive(Default)]
pub(super) struct BundleVersions {
    known: Mutex<BTreeMap<String, BundleVersion>>,
    changed: Notify,
}

impl BundleVersions {
    /// Those of before.
    pub(super) fn new(known: BTreeMap<String, BundleVersion>) -> Self {
        Self {
            known: Mutex::new(known),
            changed: Notify::new(),
        }
    }

    /// Takes note of what is in force now.
    pub(super) fn note(&self, bundles: &BTreeMap<String, CaBundle>) {
        let mut known = self.known();
        let mut is_new = false;
        for (name, bundle) in bundles {
            let digest = bundle.contents_digest();
            let before = known.get(name);
            if before.is_some_and(|before| before.digest == digest) {
                continue;
            }
            let version = before.map_or(1, |before| before.version.saturating_add(1));
            known.insert(name.clone(), BundleVersion { version, digest });
            is_new = true;
        }
        if is_new {
            self.changed.notify_one();
        }
    }

    /// What the bundle `name` holds.
    pub(super) fn of(&self, name: &str) -> Option<BundleVersion> {
        self.known().get(name).cloned()
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, BundleVersion>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the versions in the store, until told to stop. What is not written any more is counted anew: digests tell contents
/// apart, versions are for people.
pub(super) async fn keep(control: Arc<ControlPlane>, mut stop: watch::Receiver<bool>) {
    let versions = &control.data_plane.versions;
    loop {
        tokio::select! {
            // Ends by the word, or with whoever could give it.
            _ = stop.wait_for(|stop| *stop) => return,
            () = versions.changed.notified() => {}
        }
        let known = versions.known().clone();
        if let Err(error) = control.inventory.save_bundle_versions(&known).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "the versions of the CA bundles could not be written");
        }
    }
}
