//! The files of CA bundles, taken over when they change, and an alarm before a CRL is out of date.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use crate::cause::with_causes;
use crate::certificate::{CaBundle, RevocationList};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::gateway::control_plane::ControlPlane;
use crate::gateway::data_plane;

/// Looks at the bundles' files and CRLs until told to stop.
pub(super) async fn watch(control: Arc<ControlPlane>, mut stop: watch::Receiver<bool>) {
    let mut seen = states(&control.config.load());
    let mut told = BTreeSet::new();
    loop {
        tell(&control, &mut told);
        tokio::select! {
            // Ends by the word, or with whoever could give it.
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let found = states(&control.config.load());
        // A file that is being written changes again: what could not be used is looked at with its next change.
        if found != seen {
            seen = found;
            take_over(&control).await;
        }
    }
}

/// Has the next handshakes verified against what the files hold now; keeps what there is when that cannot be used.
async fn take_over(control: &ControlPlane) {
    let _alone = control.turn.lock().await;
    let config = control.config.load_full();
    let admin_tls = data_plane::admin_tls(&config, &control.data_plane.published);
    match admin_tls.and_then(|admin_tls| Ok((admin_tls, control.data_plane.prepare(&config)?))) {
        Ok((admin_tls, prepared)) => {
            control.admission.replace(&config.admin.tokens, admin_tls);
            control.data_plane.commit(prepared);
            tracing::info!("the files of the CA bundles have changed and were taken over");
        }
        Err(error) => tracing::error!(
            "the files of the CA bundles have changed and cannot be used; clients are verified as before: {}",
            with_causes(&error)
        ),
    }
}

/// Writes down each alarm once.
fn tell(control: &ControlPlane, told: &mut BTreeSet<String>) {
    let alarms: BTreeSet<_> = control
        .data_plane
        .crl_alarms(control.clock.now())
        .into_iter()
        .collect();
    for alarm in alarms.difference(told) {
        tracing::warn!("{alarm}");
    }
    *told = alarms;
}

/// What is to be said of the CRLs of `bundle` at `now`, a line for each.
pub(super) fn alarms(bundle: &CaBundle, now: Timestamp) -> impl Iterator<Item = String> {
    bundle
        .revocation()
        .iter()
        .filter_map(move |list| alarm(bundle.name(), list, now))
}

/// A CRL that is out of date refuses every client of its CA; a quarter of its time before that somebody should know.
fn alarm(bundle: &str, list: &RevocationList, now: Timestamp) -> Option<String> {
    let (issuer, due) = (&list.issuer, list.next_update);
    let ahead = due.since(list.this_update) / 4;
    if now > due {
        Some(format!(
            "CA bundle `{bundle}`: the CRL of `{issuer}` is out of date since {due}; clients of that CA are refused \
             unless the listener has `expired_crl = \"accept\"`"
        ))
    } else if now + ahead > due {
        Some(format!(
            "CA bundle `{bundle}`: the CRL of `{issuer}` will be out of date at {due}; get the next one"
        ))
    } else {
        None
    }
}

/// By what a change of a file shows: when it was written, and its length.
type States = BTreeMap<PathBuf, Option<(SystemTime, u64)>>;

fn states(config: &Config) -> States {
    let files = config
        .ca_bundles
        .values()
        .flat_map(|bundle| bundle.files.iter().chain(&bundle.crl_files));
    let state = |file: &PathBuf| {
        let metadata = std::fs::metadata(file).ok();
        let written = metadata.and_then(|metadata| Some((metadata.modified().ok()?, metadata.len())));
        (file.clone(), written)
    };
    files.map(state).collect()
}

const INTERVAL: Duration = Duration::from_secs(1);
