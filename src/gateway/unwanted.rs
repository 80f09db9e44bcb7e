//! Certificates that are wanted no more and never were obtained: nothing is left of them, once what CAs have asked for no
//! longer counts. What was obtained stays until somebody deletes it.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::certificate::{CertificateName, DesiredCertificate};
use crate::clock::Timestamp;
use crate::gateway::control_plane::ControlPlane;
use crate::inventory::InventoryError;
use crate::renewal::{Unwanted, forget_unwanted, forgotten_at};

/// Forgets them until `stop`.
pub(super) async fn forget(control: Arc<ControlPlane>, mut stop: watch::Receiver<bool>) {
    tokio::select! {
        // Ends by the word, or with whoever could give it.
        _ = stop.wait_for(|stop| *stop) => {}
        () = follow(&control) => {}
    }
}

async fn follow(control: &ControlPlane) {
    let mut changes = control.desired.subscribe();
    let mut wanted = changes.borrow_and_update().clone();
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // What was wanted until the last stop is not known any more: every record is looked at once, after those of what is served.
    let mut unwanted = loop {
        looks.tick().await;
        if !control.data_plane.published.load().knows_all_names() {
            continue;
        }
        match control.unwanted(&wanted).await {
            Ok(found) => break found,
            Err(error) => tell(&error),
        }
    };
    loop {
        if let Err(error) = control.forget_unwanted(&mut unwanted).await {
            tell(&error);
        }
        tokio::select! {
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                let before = std::mem::replace(&mut wanted, changes.borrow_and_update().clone());
                let now = control.clock.now();
                unwanted.extend(gone(&before, &wanted).map(|name| (name.clone(), now)));
            }
            _ = looks.tick(), if !unwanted.is_empty() => {}
        }
    }
}

impl ControlPlane {
    /// The stored ones that are not among the `wanted`, each with when it is to be looked at.
    async fn unwanted(
        &self,
        wanted: &[DesiredCertificate],
    ) -> Result<BTreeMap<CertificateName, Timestamp>, InventoryError> {
        let (now, mut found) = (self.clock.now(), BTreeMap::new());
        let visited = self.inventory.visit_certificates(|record| {
            if let Some(at) = forgotten_at(&record, now).filter(|_| !is_in(wanted, &record.name)) {
                found.insert(record.name, at);
            }
        });
        visited.await.map(|()| found)
    }

    /// Forgets those whose time has come; the others stay in `unwanted`.
    async fn forget_unwanted(
        &self,
        unwanted: &mut BTreeMap<CertificateName, Timestamp>,
    ) -> Result<(), InventoryError> {
        let now = self.clock.now();
        let due = unwanted.iter().filter(|(_, at)| **at <= now);
        let due: Vec<_> = due.map(|(name, _)| name.clone()).collect();
        for name in due {
            // Whoever asks for it writes a record before it is wanted.
            let _turn = self.entries.lock().await;
            // Those that handshakes ask for have a way of their own.
            if is_in(&self.desired(), &name) || name.is_on_demand() {
                unwanted.remove(&name);
                continue;
            }
            match forget_unwanted(&self.inventory, &name, now).await? {
                Unwanted::Gone | Unwanted::Kept => unwanted.remove(&name),
                Unwanted::Until(at) => unwanted.insert(name, at),
                Unwanted::Busy => unwanted.insert(name, now + LOOK),
            };
        }
        Ok(())
    }
}

/// What is in `before` and not in `after`; both are sorted by name.
fn gone<'b>(
    before: &'b [DesiredCertificate],
    after: &[DesiredCertificate],
) -> impl Iterator<Item = &'b CertificateName> {
    let mut after = after.iter().peekable();
    let names = before.iter().map(|desired| &desired.name);
    names.filter(move |name| {
        while after.next_if(|desired| desired.name < **name).is_some() {}
        after
            .peek()
            .is_none_or(|desired| desired.name.cmp(name) != Ordering::Equal)
    })
}

fn is_in(wanted: &[DesiredCertificate], name: &CertificateName) -> bool {
    wanted.binary_search_by(|desired| desired.name.cmp(name)).is_ok()
}

fn tell(error: &InventoryError) {
    let error: &dyn std::error::Error = error;
    tracing::warn!(
        error,
        "records of certificates that are wanted no more stay for now"
    );
}

/// In case a pause is over, or an attempt has ended.
const LOOK: Duration = Duration::from_secs(5);
