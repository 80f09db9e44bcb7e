//! Open connections judged once more: a handshake is verified when it is made, and what admitted its client may have
//! changed since.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;

use crate::admin::{Problem, api};
use crate::certificate::ClientIdentity;
use crate::clock::Timestamp;
use crate::config::ResourceKind;
use crate::gateway::control_plane::ControlPlane;
use crate::listener::Admission;
use crate::tls::{RejectionReason, ServerTls};

/// Judges every open connection of `listener` by what a handshake would be judged by now. Unless `dry_run`, those that
/// would not be let in are ended, `per_second` at a time, after this has returned.
pub(super) async fn recheck(
    control: &Arc<ControlPlane>,
    listener: String,
    dry_run: bool,
    per_second: u16,
) -> Result<api::Recheck, Problem> {
    let (rules, open) = control.data_plane.admissions(&listener).ok_or_else(|| {
        let noun = ResourceKind::Listener.noun();
        Problem::not_found(format!(
            "there is no enabled {noun} `{listener}` that speaks TLS, and no connection of a former one is open"
        ))
    })?;
    let under_way = (!dry_run)
        .then(|| UnderWay::begin(control, &listener))
        .transpose()?;
    let (connections, now) = (open.len(), control.clock.now());
    let judging = tokio::task::spawn_blocking(move || judged(&rules.tls, open, now));
    let refused = judging.await.map_err(|error| Problem::internal(&error))?;
    let report = api::Recheck {
        connections,
        no_longer_admitted: refused.len(),
        reasons: reasons(&refused),
        closing: !dry_run && !refused.is_empty(),
    };
    if let Some(under_way) = under_way {
        tokio::spawn(close(under_way, refused, per_second));
    }
    Ok(report)
}

/// One recheck that ends connections at a time: two would end them twice as fast as either was asked to.
struct UnderWay {
    control: Arc<ControlPlane>,
    listener: String,
}

impl UnderWay {
    fn begin(control: &Arc<ControlPlane>, listener: &str) -> Result<Self, Problem> {
        let mut under_way = control.rechecks.lock().unwrap_or_else(PoisonError::into_inner);
        if !under_way.insert(listener.to_owned()) {
            return Err(Problem::conflict(format!(
                "a recheck of listener `{listener}` is closing connections already; wait until it is done"
            )));
        }
        Ok(Self {
            control: control.clone(),
            listener: listener.to_owned(),
        })
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut under_way = self
            .control
            .rechecks
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        under_way.remove(&self.listener);
    }
}

/// Ends `refused` one by one, and then those whose handshake was under way when they were judged.
async fn close(under_way: UnderWay, refused: Vec<Refused>, per_second: u16) {
    let UnderWay { control, listener } = &under_way;
    let (control, listener) = (control.clone(), listener.clone());
    let pace = Duration::from_secs(1) / u32::from(per_second.max(1));
    let closed = close_each(&control, &listener, refused, pace).await;
    drop(under_way);
    tracing::info!(
        listener,
        closed,
        "connections that are no longer admitted were closed"
    );

    let rules = control.data_plane.rules(&listener);
    let longest = rules.map(|rules| rules.longest_handshake);
    tokio::time::sleep(longest.unwrap_or_default()).await;
    // Whoever has begun another recheck meanwhile sees to them.
    let Ok(_under_way) = UnderWay::begin(&control, &listener) else {
        return;
    };
    if let Some((rules, open)) = control.data_plane.admissions(&listener) {
        let now = control.clock.now();
        let late = tokio::task::spawn_blocking(move || judged(&rules.tls, open, now)).await;
        close_each(&control, &listener, late.unwrap_or_default(), pace).await;
    }
}

/// Each is judged once more before: a change that is taken back meanwhile spares the rest.
async fn close_each(control: &ControlPlane, listener: &str, refused: Vec<Refused>, pace: Duration) -> usize {
    let mut closed = 0;
    let mut beats = tokio::time::interval(pace);
    for Refused { admission, .. } in refused {
        beats.tick().await;
        let Some(rules) = control.data_plane.rules(listener) else {
            break;
        };
        if let Some(reason) = rules.tls.rejection(admission.certificates(), control.clock.now())
            && admission.dismiss(reason)
        {
            closed += 1;
        }
    }
    closed
}

/// A connection that would not be let in now.
struct Refused {
    admission: Arc<Admission>,
    reason: RejectionReason,
}

fn judged(tls: &ServerTls, open: Vec<Arc<Admission>>, now: Timestamp) -> Vec<Refused> {
    // Clients keep many connections open with one certificate.
    let mut known: HashMap<[u8; 32], Option<RejectionReason>> = HashMap::new();
    let judged = open.into_iter().filter_map(|admission| {
        let shown = admission.certificates();
        let judge = || tls.rejection(shown, now);
        let reason = (*known.entry(fingerprint(shown)).or_insert_with(judge))?;
        Some(Refused { admission, reason })
    });
    judged.collect()
}

fn fingerprint(certificates: &[CertificateDer<'_>]) -> [u8; 32] {
    let mut all = [0; 32];
    for certificate in certificates {
        let both = [&all, digest(&SHA256, certificate).as_ref()].concat();
        all.copy_from_slice(digest(&SHA256, &both).as_ref());
    }
    all
}

fn reasons(refused: &[Refused]) -> Vec<api::RecheckReason> {
    let mut by_reason: BTreeMap<&str, (usize, BTreeSet<String>)> = BTreeMap::new();
    for Refused { admission, reason } in refused {
        let (connections, subjects) = by_reason.entry(reason.label()).or_default();
        *connections += 1;
        if subjects.len() < SUBJECTS
            && let Some(identity) = admission
                .certificates()
                .first()
                .and_then(|own| ClientIdentity::parse(own))
        {
            subjects.insert(identity.subject);
        }
    }
    let shown = by_reason
        .into_iter()
        .map(|(reason, (connections, subjects))| api::RecheckReason {
            reason: reason.to_owned(),
            connections,
            subjects: subjects.into_iter().collect(),
        });
    shown.collect()
}

/// Shown for each reason.
const SUBJECTS: usize = 10;
