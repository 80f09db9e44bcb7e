//! What will be asked of which CA, and when: the [`Rehearsal`] of a time in which everything works.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::certificate::{CertificateName, DesiredCertificate, Leaf};
use crate::clock::Timestamp;
use crate::inventory::CertificateRecord;
use crate::issuer::ledger::{Ledger, Needs, OrderKind};
use crate::renewal::plan::{Action, Reason, next};
use crate::renewal::rehearsal::Rehearsal;
use crate::renewal::schedule::{self, Jitter};
use crate::renewal::suggestion;

/// Everything that is known of the present.
#[derive(Clone, Debug)]
pub struct Present {
    /// The moment.
    pub now: Timestamp,
    /// What is desired.
    pub desired: Vec<DesiredCertificate>,
    /// What is known of certificates.
    pub records: Vec<CertificateRecord>,
    /// What is left of the limits of each issuer that has some.
    pub ledgers: BTreeMap<String, Ledger>,
    /// How long a certificate is valid from issuers of which none is known yet.
    pub lifetimes: BTreeMap<String, Duration>,
    /// Certificates that are not asked for until somebody changes something, each with why.
    pub hindrances: BTreeMap<CertificateName, Hindrance>,
}

/// Why a certificate is not asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hindrance {
    /// What is wrong.
    pub reason: String,
    /// The records to change, in zone-file form.
    pub remedy: Vec<String>,
}

/// What will happen, if every CA does what it is asked for.
#[derive(Clone, Debug, Default)]
pub struct Forecast {
    /// In the order of time.
    pub steps: Vec<Step>,
    /// What would be a step, and is held back; in the order of time.
    pub held_back: Vec<HeldBack>,
    /// Certificates that are not begun with before the end, without those that are held back.
    pub unserved: Vec<CertificateName>,
    /// Certificates that have, or will have, no other in their place when there should be one, with that moment, the nearest
    /// first: a third of their lifetime is left then, or a quarter where their CA suggests so late a renewal.
    pub late: Vec<(Timestamp, CertificateName)>,
}

/// A certificate is obtained.
#[derive(Clone, Debug)]
pub struct Step {
    /// When it is begun.
    pub at: Timestamp,
    /// The certificate.
    pub certificate: CertificateName,
    /// Who is asked.
    pub issuer: String,
    /// Why.
    pub reason: Reason,
    /// What it is to the CA's limits.
    pub order: OrderKind,
    /// When it would be begun if nobody had to wait; absent where that is when it is begun.
    pub due_at: Option<Timestamp>,
    /// What is left before it of the scarcest limit that it needs.
    pub limit: Option<Left>,
}

/// A certificate is due, and not asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HeldBack {
    /// When it is looked at next, or would be begun.
    pub at: Timestamp,
    /// The certificate.
    pub certificate: CertificateName,
    /// Who would be asked.
    pub issuer: String,
    /// Why it is not.
    pub hindrance: Hindrance,
}

/// What is left of a limit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Left {
    /// What is limited, in words.
    pub limit: String,
    /// How many.
    pub left: u32,
    /// Of how many.
    pub allowed: u32,
}

/// What will be asked of CAs before `end`, by the decisions of the scheduler itself.
///
/// Certificates last as long as those before them, and their CA suggests for them what it did for those; those of an issuer that has signed none yet, as
/// [`Present::lifetimes`] says, or 90 days.
pub fn forecast(present: Present, end: Timestamp, jitter: Jitter) -> Forecast {
    let Present {
        now,
        desired,
        records,
        mut ledgers,
        lifetimes,
        hindrances,
    } = present;
    let lifetimes = known_lifetimes(&records, lifetimes);
    let mut forecast = Forecast {
        held_back: held_back(&desired, &records, &hindrances, now, end),
        ..Forecast::default()
    };
    let desired: Vec<_> = desired
        .into_iter()
        .filter(|desired| !hindrances.contains_key(&desired.name))
        .collect();
    let mut rehearsal = Rehearsal::new(&desired, records, jitter, now);
    for (issuer, ledger) in &ledgers {
        rehearsal.know_limits(issuer, Some(ledger.clone()));
    }
    let desired: BTreeMap<_, _> = desired.iter().map(|desired| (&desired.name, desired)).collect();
    while let Some(actions) = rehearsal.proceed(end) {
        for Action { certificate, next } in actions {
            if next.reason == Reason::Settled {
                rehearsal.settled(&certificate);
            }
            let Some(desired) = desired
                .get(&certificate)
                .filter(|_| !matches!(next.reason, Reason::Asking | Reason::Settled))
            else {
                continue;
            };
            let at = rehearsal.now();
            let known = rehearsal.record(&certificate);
            let current = known.and_then(|record| record.current.as_ref());
            let replaces =
                current.filter(|current| current.issuer == next.issuer && current.suggested.is_some());
            let order = match replaces {
                Some(_) => OrderKind::Replacement,
                None => OrderKind::of(&desired.domains, &next.issuer, current),
            };
            if let Some(current) = current {
                let wanted_by = schedule::wanted_by(current);
                if wanted_by < at {
                    forecast.late.push((wanted_by, certificate.clone()));
                }
            }
            let said = replaces.and_then(|current| suggestion::repeated(current, at));
            let lifetime = current
                .filter(|current| current.issuer == next.issuer)
                .map(|current| schedule::lifetime(&current.leaf, current.obtained_at))
                .or_else(|| lifetimes.get(&next.issuer).copied())
                .unwrap_or(USUAL_LIFETIME);
            let mut shared = Vec::new();
            let limit = ledgers.get_mut(&next.issuer).and_then(|ledger| {
                let needs = ledger.needs(&desired.domains, order);
                let scarcest = spend(ledger, &needs, at);
                shared.extend(needs.taken.iter().filter_map(|bucket| ledger.shared(bucket)));
                scarcest
            });
            for (_, ledger) in ledgers.iter_mut().filter(|(issuer, _)| **issuer != next.issuer) {
                for shared in &shared {
                    ledger.follow(shared);
                }
            }
            let due_at = next.at.max(now);
            forecast.steps.push(Step {
                at,
                certificate: certificate.clone(),
                issuer: next.issuer.clone(),
                reason: next.reason,
                order,
                due_at: (at.since(due_at) > PROMPT).then_some(due_at),
                limit,
            });
            let leaf = renewed(desired, at, lifetime);
            rehearsal.obtained(&certificate, &next.issuer, leaf, said.as_ref());
        }
    }
    for desired in desired.values() {
        match rehearsal
            .record(&desired.name)
            .and_then(|record| record.current.as_ref())
        {
            None => forecast.unserved.push(desired.name.clone()),
            Some(current) => {
                let wanted_by = schedule::wanted_by(current);
                if wanted_by < end {
                    forecast.late.push((wanted_by, desired.name.clone()));
                }
            }
        }
    }
    forecast.late.sort();
    forecast.late.dedup_by(|one, other| one.1 == other.1);
    forecast
}

/// What is due before `end` of what is not asked for.
fn held_back(
    desired: &[DesiredCertificate],
    records: &[CertificateRecord],
    hindrances: &BTreeMap<CertificateName, Hindrance>,
    now: Timestamp,
    end: Timestamp,
) -> Vec<HeldBack> {
    let known: BTreeMap<_, _> = records
        .iter()
        .filter(|record| hindrances.contains_key(&record.name))
        .map(|record| (&record.name, record))
        .collect();
    let due = |desired: &DesiredCertificate| {
        let hindrance = hindrances.get(&desired.name)?;
        let mut record = known.get(&desired.name).map(|record| (*record).clone());
        // When the CA is asked about a renewal is nothing to the plan.
        if let Some(current) = record.as_mut().and_then(|record| record.current.as_mut()) {
            current.ask_at = None;
        }
        let next = next(desired, &desired.digest(), record.as_ref(), now)?;
        (next.at < end && next.reason != Reason::Settled).then(|| HeldBack {
            at: next.at.max(now),
            certificate: desired.name.clone(),
            issuer: next.issuer,
            hindrance: hindrance.clone(),
        })
    };
    let mut held_back: Vec<_> = desired.iter().filter_map(due).collect();
    held_back.sort_by_key(|held| held.at);
    held_back
}

/// Counts an order, and says what was left before of the scarcest limit.
fn spend(ledger: &mut Ledger, needs: &Needs, now: Timestamp) -> Option<Left> {
    let all = needs.taken.iter().chain(&needs.present);
    let scarcest = all
        .filter_map(|bucket| Some((bucket, ledger.left(bucket, now)?)))
        .min_by_key(|(_, (left, allowed))| u64::from(*left) * 1_000 / u64::from(*allowed).max(1))
        .map(|(bucket, (left, allowed))| Left {
            limit: bucket.to_string(),
            left,
            allowed,
        });
    ledger.take(needs, now);
    scarcest
}

/// The longest lifetime of those that each issuer has signed.
fn known_lifetimes(
    records: &[CertificateRecord],
    mut lifetimes: BTreeMap<String, Duration>,
) -> BTreeMap<String, Duration> {
    let mut seen = BTreeMap::<&str, Duration>::new();
    for current in records.iter().filter_map(|record| record.current.as_ref()) {
        let lifetime = schedule::lifetime(&current.leaf, current.obtained_at);
        let longest = seen.entry(&current.issuer).or_default();
        *longest = lifetime.max(*longest);
    }
    lifetimes.extend(
        seen.into_iter()
            .map(|(issuer, lifetime)| (issuer.to_owned(), lifetime)),
    );
    lifetimes
}

/// The certificate as it will be, as far as plans need it.
fn renewed(desired: &DesiredCertificate, at: Timestamp, lifetime: Duration) -> Leaf {
    Leaf {
        names: desired.domains.clone(),
        not_before: at,
        not_after: at + lifetime,
        serial: String::new(),
        issuer: String::new(),
        key: String::new(),
        fingerprint: String::new(),
    }
}

const USUAL_LIFETIME: Duration = Duration::from_secs(90 * 86_400);
/// A step that begins so soon after it is due has not waited.
const PROMPT: Duration = Duration::from_secs(60);
