//! Looks at names that have a certificate, on and on, so that what breaks the next order is known long before it.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::watch;

use crate::certificate::{CertificateName, DesiredCertificate};
use crate::clock::Timestamp;
use crate::config::{Config, DnsChecks};
use crate::dns::{Doors, LastCheck, next_check};
use crate::gateway::lookout::Lookout;

/// When which certificate is looked at next.
#[derive(Default)]
struct Rounds {
    queue: BTreeSet<(Timestamp, CertificateName)>,
    wanted: BTreeMap<CertificateName, DesiredCertificate>,
    config: Option<Arc<Config>>,
}

/// Goes on until told to stop.
pub(super) async fn watch_domains(
    lookout: Arc<Lookout>,
    mut desired: watch::Receiver<Arc<[DesiredCertificate]>>,
    mut stop: watch::Receiver<bool>,
) {
    let mut rounds = Rounds::default();
    loop {
        let wanted = desired.borrow_and_update().clone();
        lookout.keep_only(&wanted);
        rounds.want(&wanted, &lookout);
        loop {
            let due = rounds.due(lookout.clock.now());
            let looks = due.iter().map(|name| rounds.look(name, &lookout));
            let next = join_all(looks).await;
            rounds.queue.extend(next.into_iter().zip(due));
            let wake = async {
                match rounds.queue.first() {
                    Some((at, _)) => lookout.clock.sleep_until(*at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // Ends by the word, or with whoever could give it.
                _ = stop.wait_for(|stop| *stop) => return,
                changed = desired.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                () = wake => {}
            }
        }
    }
}

impl Rounds {
    fn want(&mut self, desired: &[DesiredCertificate], lookout: &Lookout) {
        let wanted = desired
            .iter()
            .map(|desired| (desired.name.clone(), desired.clone()));
        let before = std::mem::replace(&mut self.wanted, wanted.collect());
        let config = lookout.config.load_full();
        let judged_by = self.config.replace(config.clone());
        let is_as_before = |name: &CertificateName| {
            let (known, wanted) = (before.get(name), self.wanted.get(name));
            let judged_by = judged_by.as_ref();
            judged_by.is_some_and(|judged_by| known == wanted && is_judged_alike(judged_by, &config, wanted))
        };
        self.queue.retain(|(_, name)| is_as_before(name));
        let known: BTreeSet<_> = self.queue.iter().map(|(_, name)| name.clone()).collect();
        let now = lookout.clock.now();
        let is_wrong = |name| {
            let sightings = lookout.sightings();
            sightings.get(name).is_some_and(|sighting| !sighting.is_good())
        };
        for name in self.wanted.keys().filter(|name| !known.contains(*name)) {
            // What was wrong may have been the configuration.
            let first = match is_wrong(name) {
                true => now,
                false => next_check(None, None, now, fraction(name)),
            };
            self.queue.insert((first, name.clone()));
        }
    }

    /// A few of those whose time has come.
    fn due(&mut self, now: Timestamp) -> Vec<CertificateName> {
        let mut due = Vec::new();
        while due.len() < AT_A_TIME
            && let Some((at, _)) = self.queue.first()
            && *at <= now
            && let Some((_, name)) = self.queue.pop_first()
        {
            due.push(name);
        }
        due
    }

    /// Looks, where there is something to look at, and says when to look again.
    async fn look(&self, name: &CertificateName, lookout: &Lookout) -> Timestamp {
        let now = lookout.clock.now();
        let again =
            |good, renew_at| next_check(Some(LastCheck { at: now, good }), renew_at, now, fraction(name));
        let Some(desired) = self.wanted.get(name) else {
            return again(true, None);
        };
        let config = lookout.config.load_full();
        // The first is the one that a renewal begins with, whoever has signed last; where that needs nothing of DNS, only
        // what was found for another one before is taken back.
        let issuers = &desired.issuers;
        if lookout.subject_to_dns(issuers).is_empty() && !lookout.has_told_of(name).await {
            return again(true, None);
        }
        if config.gateway.is_none() || config.dns_checks(name).0 == DnsChecks::Off {
            return again(true, None);
        }
        // Names without a certificate are looked at before each order.
        let record = match lookout.inventory.certificate(name).await {
            Ok(record) => record.and_then(|record| record.value.current),
            Err(error) => {
                tracing::debug!(certificate = %name, %error, "DNS is not looked at");
                None
            }
        };
        let Some(current) = record else {
            return again(false, None);
        };
        match lookout.check(desired, &lookout.in_the_end(name, issuers)).await {
            Ok(_) => {
                let good = lookout
                    .sightings()
                    .get(name)
                    .is_none_or(|sighting| sighting.is_good());
                again(good, current.renew_at)
            }
            Err(error) => {
                tracing::debug!(certificate = %name, %error, "DNS is not looked at");
                again(false, None)
            }
        }
    }
}

/// Whether two configurations come to the same for what DNS should say of the names of `desired`.
fn is_judged_alike(one: &Arc<Config>, other: &Arc<Config>, desired: Option<&DesiredCertificate>) -> bool {
    let is_alike = |desired: &DesiredCertificate| {
        let issuers = &desired.issuers;
        one.gateway == other.gateway
            && Doors::of(one) == Doors::of(other)
            && one.dns_checks(&desired.name) == other.dns_checks(&desired.name)
            && issuers
                .iter()
                .all(|issuer| one.issuers.get(issuer) == other.issuers.get(issuer))
    };
    Arc::ptr_eq(one, other) || desired.is_some_and(is_alike)
}

/// A number from 0 to 1 that is the certificate's own.
fn fraction(name: &CertificateName) -> f64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    let hash = u32::try_from(hasher.finish() >> 32).unwrap_or(u32::MAX);
    f64::from(hash) / f64::from(u32::MAX)
}

/// Certificates looked at side by side.
const AT_A_TIME: usize = 4;
