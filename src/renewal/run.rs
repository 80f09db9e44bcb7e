//! The loop: read what changed, do what is due, wait.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::{Future, pending};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

use crate::cause::with_causes;
use crate::certificate::{CertificateName, DesiredCertificate};
use crate::clock::Timestamp;
use crate::inventory::{CertificateRecord, InventoryError, Stale};
use crate::renewal::agenda::Agenda;
use crate::renewal::attempt::Finished;
use crate::renewal::plan::{Action, ClockAlarm};
use crate::renewal::queue::Cost;
use crate::renewal::{Renewal, back_off};

impl Renewal {
    /// Runs until `stop` is done, then ends what is under way. What was begun is in the store, and the next run takes
    /// it up.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        // Hints before the first look: nothing that happens in between is missed.
        let mut hints = self.attempts.inventory.hints();
        let mut full_look = interval_at(Instant::now() + FULL_LOOK, FULL_LOOK);
        full_look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut work = Work::default();
        let mut stale = Stale::Everything;
        let mut changed = true;
        let mut pause = FIRST_STORE_PAUSE;
        loop {
            // Whatever woke the loop: nothing is begun by what was wanted before.
            if std::mem::take(&mut changed) || self.desired.has_changed().unwrap_or(false) {
                stale.add(work.agenda.desire(&self.desired.borrow_and_update()));
                // Its issuer may have other limits now.
                self.look_at_limits(&mut work).await;
            }
            let (mut wake, mut retry) = (None, None);
            match self.look(&mut work, &stale).await {
                Ok(()) => {
                    (stale, pause) = (Stale::default(), FIRST_STORE_PAUSE);
                    self.tell_store(None);
                    wake = self.begin(&mut work);
                }
                Err(error) => {
                    self.tell_store(Some(&error));
                    retry = Some(pause);
                    pause = (pause * 2).min(LAST_STORE_PAUSE);
                }
            }
            tokio::select! {
                () = &mut stop => break,
                hint = hints.changed() => stale.add_hint(&hint),
                () = change(&mut self.desired) => changed = true,
                Some(finished) = work.tasks.join_next_with_id() => stale.add(self.finish(&mut work, finished)),
                () = self.attempts.clock.sleep_until(wake.unwrap_or_default()), if wake.is_some() => {}
                () = sleep(retry.unwrap_or_default()), if retry.is_some() => {}
                _ = full_look.tick() => stale = Stale::Everything,
            }
        }
        self.attempts.stopping.send_replace(true);
        let ended = async { while work.tasks.join_next().await.is_some() {} };
        if timeout(STOP_GRACE, ended).await.is_err() {
            tracing::warn!("attempts that did not end in time are cut off; the next start takes them up");
        }
        work.tasks.shutdown().await;
    }

    /// Brings the agenda up to what the store says.
    async fn look(&self, work: &mut Work, stale: &Stale) -> Result<(), InventoryError> {
        let now = self.attempts.clock.now();
        let names: Vec<_> = match stale {
            Stale::Everything => work.agenda.names().cloned().collect(),
            Stale::Names(names) => names
                .iter()
                .filter(|name| work.agenda.desired(name).is_some())
                .cloned()
                .collect(),
        };
        if matches!(stale, Stale::Everything) {
            self.look_at_limits(work).await;
        }
        let mut unreadable = BTreeMap::new();
        for name in names {
            let error = match self.attempts.inventory.certificate(&name).await {
                Ok(record) => {
                    self.update(work, &name, record.as_ref().map(|record| &record.value), now);
                    None
                }
                Err(error @ InventoryError::Store { .. }) => return Err(error),
                Err(error) => Some(error),
            };
            unreadable.insert(name, error);
        }
        // To order what a damaged record may know to be there would cost an order at each start.
        for name in unreadable
            .iter()
            .filter_map(|(name, error)| error.as_ref().map(|_| name))
        {
            work.agenda.remove(name);
        }
        self.tell_unreadable(unreadable, matches!(stale, Stale::Everything));
        Ok(())
    }

    /// Where they cannot be read, what was known of them holds; the store decides before each order in any case.
    async fn look_at_limits(&self, work: &mut Work) {
        for (name, issuer) in self.attempts.issuers.load_full().iter() {
            match issuer.ledger().await {
                Ok(ledger) => work.agenda.know_limits(name, ledger),
                Err(error) => {
                    tracing::warn!(issuer = %name, error = with_causes(&error), "the CA's rate limits cannot be read")
                }
            }
        }
    }

    fn update(
        &self,
        work: &mut Work,
        name: &CertificateName,
        record: Option<&CertificateRecord>,
        now: Timestamp,
    ) {
        // Whatever is written while an attempt is under way is looked at when it has ended.
        if work.busy.contains(name) {
            return;
        }
        work.agenda.update(name, record, now);
        let renew_at = record.and_then(|record| record.current.as_ref()?.renew_at);
        if let Some(renew_at) = renew_at {
            self.attempts
                .slots
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(renew_at);
        }
    }

    /// Begins what is due; returns when the next is.
    fn begin(&self, work: &mut Work) -> Option<Timestamp> {
        let plan = work.agenda.take_due(self.attempts.clock.now());
        let seen = self
            .attempts
            .clock_alarm
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        self.tell_clock(plan.alarm.or(seen));
        for Action { certificate, next } in plan.actions {
            let Some(desired) = work.agenda.desired(&certificate).map(Arc::downgrade) else {
                continue;
            };
            let attempts = self.attempts.clone();
            let task = work
                .tasks
                .spawn(async move { attempts.make(desired, &next).await });
            work.running.insert(task.id(), certificate.clone());
            work.busy.insert(certificate);
        }
        plan.wake
    }

    /// Takes note of how an attempt ended; returns whose record to look at.
    fn finish(
        &self,
        work: &mut Work,
        finished: Result<(Id, Finished), JoinError>,
    ) -> Option<CertificateName> {
        let (id, finished) = match finished {
            Ok((id, finished)) => (id, Ok(finished)),
            Err(error) => (error.id(), Err(error)),
        };
        let name = work.running.remove(&id)?;
        work.busy.remove(&name);
        let cost = match &finished {
            Ok(Finished::Recorded(cost)) => *cost,
            // Whoever has it orders it by the same limits; and of what was not written nobody knows.
            _ => Cost::All,
        };
        work.agenda.account_for(&name, cost);
        let error: Box<dyn std::error::Error> = match finished {
            Ok(Finished::Recorded(_)) => {
                work.setbacks.remove(&name);
                return Some(name);
            }
            Ok(Finished::Elsewhere) => {
                let until = self.attempts.clock.now() + self.attempts.limits.lease_ttl / 2;
                work.agenda.put_off(&name, until);
                return Some(name);
            }
            Ok(Finished::Unrecorded(error)) => error.into(),
            Err(error) => error.into(),
        };
        // Nothing is in the store that would hold the next attempt back, so it is held back here.
        let setbacks = work.setbacks.entry(name.clone()).or_default();
        *setbacks = setbacks.saturating_add(1);
        let now = self.attempts.clock.now();
        let fraction = self.attempts.jitter.fraction(&name, now, *setbacks);
        let until = now + back_off::after_failure(*setbacks, None, fraction);
        work.agenda.put_off(&name, until);
        tracing::error!(certificate = %name, error, "an attempt ended without a record of it; the next one is due at {until}");
        Some(name)
    }

    fn tell_store(&self, error: Option<&InventoryError>) {
        let text = error.map(|error| with_causes(error));
        self.health.send_if_modified(|health| {
            if health.store == text {
                return false;
            }
            match &text {
                Some(error) => tracing::error!(error, "certificates cannot be looked after"),
                None => tracing::info!("the store answers again; certificates are looked after"),
            }
            health.store = text;
            true
        });
    }

    fn tell_clock(&self, alarm: Option<ClockAlarm>) {
        self.health.send_if_modified(|health| {
            let same_kind = health.clock.as_ref().map(std::mem::discriminant)
                == alarm.as_ref().map(std::mem::discriminant);
            if let (false, Some(alarm)) = (same_kind, &alarm) {
                tracing::error!("{alarm}");
            }
            let changed = health.clock != alarm;
            health.clock = alarm;
            changed
        });
    }

    fn tell_unreadable(&self, found: BTreeMap<CertificateName, Option<InventoryError>>, all: bool) {
        self.health.send_if_modified(|health| {
            let before = health.unreadable.clone();
            if all {
                health.unreadable.clear();
            }
            for (name, error) in found {
                match error.map(|error| error.to_string()) {
                    None => drop(health.unreadable.remove(&name)),
                    Some(error) => {
                        if before.get(&name) != Some(&error) {
                            tracing::error!(certificate = %name, error, "the certificate is left as it is");
                        }
                        health.unreadable.insert(name, error);
                    }
                }
            }
            health.unreadable != before
        });
    }
}

/// What the loop has in hand.
#[derive(Default)]
struct Work {
    agenda: Agenda,
    tasks: JoinSet<Finished>,
    running: HashMap<Id, CertificateName>,
    busy: HashSet<CertificateName>,
    setbacks: HashMap<CertificateName, u32>,
}

async fn change(desired: &mut watch::Receiver<Arc<[DesiredCertificate]>>) {
    if desired.changed().await.is_err() {
        // Nobody is left who could want anything else.
        pending().await
    }
}

/// In case a change of the store went by unseen, or the clock was set.
const FULL_LOOK: Duration = Duration::from_secs(600);
const FIRST_STORE_PAUSE: Duration = Duration::from_secs(1);
const LAST_STORE_PAUSE: Duration = Duration::from_secs(60);
const STOP_GRACE: Duration = Duration::from_secs(5);
