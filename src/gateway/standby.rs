//! Certificates and their spares, looked after: a spare takes the place of a certificate that should not be served any
//! more, and gives it back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::certificate::{CertificateName, DesiredCertificate};
use crate::clock::Timestamp;
use crate::config::HookEvent;
use crate::gateway::control_plane::ControlPlane;
use crate::inventory::{CertificateRecord, CurrentCertificate, InventoryError, Notice, Stale, StandIn};
use crate::renewal::{self, Switch};

/// Looks after them until `stop`.
pub(super) async fn keep(control: Arc<ControlPlane>, mut stop: watch::Receiver<bool>) {
    let mut hints = control.inventory.hints();
    let mut desired = control.desired.subscribe();
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stale = Stale::Everything;
    let mut known = BTreeSet::new();
    loop {
        if let Err(error) = control.look_at_spares(&stale, &mut known).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(
                error,
                "spare certificates cannot be looked after; it is tried again"
            );
        }
        stale = Stale::default();
        tokio::select! {
            // Ends by the word, or with whoever could give it.
            _ = stop.wait_for(|stop| *stop) => return,
            hint = hints.changed() => stale.add_hint(&hint),
            Ok(()) = desired.changed() => stale = Stale::Everything,
            _ = looks.tick() => stale = Stale::Everything,
        }
    }
}

impl ControlPlane {
    /// The certificates that their spares are served in place of, as the last look found them.
    pub(super) fn stand_ins(&self) -> MutexGuard<'_, BTreeMap<CertificateName, StandIn>> {
        self.stand_ins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an operator should know of them.
    pub(super) fn stand_in_warnings(&self) -> Vec<String> {
        let stand_ins = self.stand_ins();
        let by_itself = stand_ins.iter().filter(|(_, stand_in)| !stand_in.by_operator);
        let warnings = by_itself.map(|(name, stand_in)| {
            let StandIn { since, reason, .. } = stand_in;
            format!("certificate `{name}`: its spare is served in its place since {since}: {reason}")
        });
        warnings.collect()
    }

    async fn look_at_spares(
        &self,
        stale: &Stale,
        known: &mut BTreeSet<CertificateName>,
    ) -> Result<(), InventoryError> {
        let desired = self.desired();
        let spares = desired.iter();
        let spares: BTreeMap<_, _> = spares
            .filter_map(|desired| Some((desired.spare_of.clone()?, desired)))
            .collect();
        // Some may have no spare any more, and be served from it all the same.
        let mut names = self.inventory.stand_ins().await?;
        names.extend(spares.keys().cloned());
        let is_stale = |name: &CertificateName| match stale {
            Stale::Everything => true,
            Stale::Names(names) => names.contains(name),
        };
        for name in &names {
            let spare = spares.get(name).copied();
            if is_stale(name) || spare.is_some_and(|spare| is_stale(&spare.name)) {
                self.look_at_spare(name, spare).await?;
            }
        }
        self.stand_ins().retain(|name, _| names.contains(name));
        for gone in known.iter().filter(|name| !names.contains(*name)) {
            self.data_plane.metrics.forget_spare(gone.as_str());
        }
        *known = names;
        Ok(())
    }

    async fn look_at_spare(
        &self,
        name: &CertificateName,
        spare: Option<&DesiredCertificate>,
    ) -> Result<(), InventoryError> {
        let (now, metrics) = (self.clock.now(), &self.data_plane.metrics);
        let primary = match self.inventory.certificate(name).await {
            Err(error @ InventoryError::Store { .. }) => return Err(error),
            // Its record is left as it is, so nothing can be said of it either.
            Err(_) => return Ok(()),
            Ok(known) => known.map_or_else(|| CertificateRecord::wanted(name.clone()), |known| known.value),
        };
        let spare = match spare {
            None => None,
            Some(spare) => {
                let record = match self.inventory.certificate(&spare.name).await {
                    Err(error @ InventoryError::Store { .. }) => return Err(error),
                    known => known.unwrap_or_default().map(|known| known.value),
                };
                // One that cannot be read is none, nor is one for other names than are wanted now.
                record.filter(|record| {
                    let leaf = record.current.as_ref().map(|current| &current.leaf);
                    leaf.is_some_and(|leaf| spare.domains.iter().all(|domain| leaf.holds(domain)))
                })
            }
        };
        let is_first = primary.current.is_none();
        let stand_in = match renewal::switch(&primary, spare.as_ref(), now) {
            None => primary.stand_in,
            Some(switch) => {
                let names = std::slice::from_ref(name);
                let in_its_place = spare.as_ref().and_then(|spare| spare.current.as_ref());
                let in_its_place = in_its_place.filter(|_| switch.stand_in.is_some());
                let notice =
                    |primary: &CertificateRecord| activated(primary, in_its_place, &switch.reason, now);
                let told = self
                    .inventory
                    .stand_in(names, switch.stand_in.as_ref(), notice)
                    .await?;
                for notice in &told {
                    self.note_switch(notice, &switch, is_first).await;
                }
                switch.stand_in
            }
        };
        let not_after = spare.and_then(|spare| Some(spare.current?.leaf.not_after));
        metrics.spare(name.as_str(), stand_in.is_some(), not_after);
        match stand_in {
            Some(stand_in) => drop(self.stand_ins().insert(name.clone(), stand_in)),
            None => drop(self.stand_ins().remove(name)),
        }
        Ok(())
    }

    async fn note_switch(&self, notice: &Notice, switch: &Switch, is_first: bool) {
        let (name, reason) = (&notice.certificate, &switch.reason);
        match (&switch.stand_in, is_first) {
            // The CA of the spare was the quicker one, which is no harm.
            (Some(_), true) => {
                tracing::info!(certificate = %name, reason, "the spare is served in its place");
            }
            (Some(_), false) => {
                tracing::error!(certificate = %name, reason, "the spare is served in its place");
            }
            (None, _) => tracing::warn!(certificate = %name, reason, "served again, in place of its spare"),
        }
        self.trail.note(name, "activate", notice.detail.clone()).await;
        self.announce_notice(notice);
    }
}

/// What there is to tell of a switch: instead of `primary` it is `spare` that is served now; without one, `primary` again.
pub(super) fn activated(
    primary: &CertificateRecord,
    spare: Option<&CurrentCertificate>,
    reason: &str,
    now: Timestamp,
) -> Notice {
    let detail = match spare {
        Some(_) => format!("the spare is served in its place: {reason}"),
        None => format!("served again, in place of its spare: {reason}"),
    };
    let served = spare.or(primary.current.as_ref());
    let renew_at = primary.current.as_ref().and_then(|current| current.renew_at);
    Notice {
        leaf: served.map(|served| served.leaf.clone()),
        issuer: served.map(|served| served.issuer.clone()),
        // That of the certificate itself: a new one ends what its failures have begun.
        next_attempt: primary.state.next_wake().or(renew_at),
        ..Notice::new(HookEvent::Activated, primary.name.clone(), now, detail)
    }
}

/// In case a moment has come that no change tells of.
const LOOK: Duration = Duration::from_secs(5);
