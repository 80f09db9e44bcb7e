//! Which issuer of a certificate's list is asked next, and when: pure.
//!
//! | the first issuer of the list | what follows |
//! | --- | --- |
//! | has not failed | it is asked |
//! | has failed once or twice | it is asked again after its pause, where the certificate can wait for that |
//! | has failed three times, or for a reason that waiting does not mend | the next one is asked at once |
//! | asked not to be asked for longer than the certificate can wait | the next one is asked at once |
//! | has failed before the last renewal, which another one did | it is asked first again, and once only |
//! | may not sign, or cannot be answered, by what DNS says until somebody changes it | the next one that may be asked is, and DNS is looked at for the first again before each order: [`candidates`] |
//! | lets an order wait, by what DNS says or who places records for dns-01 does, and has in each look of ten minutes | the same |
//!
//! A certificate can wait for a quarter of the time it has left; one that is missing, expired or revoked, and one that an
//! operator asks for, cannot. When none of them may be asked, the one that may soonest is.

use std::time::Duration;

use crate::certificate::DesiredCertificate;
use crate::clock::Timestamp;
use crate::inventory::{CertificateRecord, CertificateState, Setback};
use crate::renewal::gate::{Candidates, WAITED};
use crate::renewal::plan::sane;

/// Whose turn it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Turn {
    /// The issuer.
    pub(super) issuer: String,
    /// The first moment at which it may be asked.
    pub(super) free_at: Timestamp,
    /// Whether only somebody's change can make it sign.
    pub(super) is_hopeless: bool,
}

/// Whose turn it is from `due` on, for `desired` with this `digest`.
pub(super) fn turn(
    desired: &DesiredCertificate,
    digest: &str,
    record: Option<&CertificateRecord>,
    due: Timestamp,
) -> Option<Turn> {
    turn_but_for(desired, digest, record, due, |record, issuer| {
        is_passed_over(record, digest, issuer)
    })
}

/// The issuers for which DNS is looked at before an order at `now`, where it is the turn of `issuer`, in the order in
/// which they are asked. One that DNS was against is the first again, unless that was seen just now.
pub(super) fn candidates(
    desired: &DesiredCertificate,
    digest: &str,
    record: &CertificateRecord,
    issuer: &str,
    now: Timestamp,
) -> Candidates {
    let is_waiting_over = match record.state {
        // The look to come is the second at least.
        CertificateState::Blocked {
            waiting_since: Some(since),
            ..
        } => now.since(since) >= WAITED && record.pursued == digest,
        _ => false,
    };
    // An operator who orders in spite of DNS means the issuer whose turn it is.
    if record.despite_dns {
        return Candidates {
            issuers: vec![issuer.to_owned()],
            is_waiting_over,
        };
    }
    let was_just_seen = |record: &CertificateRecord, issuer: &str| {
        let seen_at = record.passed_over.get(issuer).copied();
        seen_at.is_some_and(|at| at <= now && now.since(at) < JUST_SEEN)
            && is_passed_over(record, digest, issuer)
    };
    let first = turn_but_for(desired, digest, Some(record), now, was_just_seen);
    let first = first.filter(|turn| turn.free_at <= now);
    let first = first.map_or(issuer.to_owned(), |turn| turn.issuer);
    let is_free = |other: &&String| {
        let setback = setback(record, digest, other, now);
        **other != first && free_at(Some(record), setback, other, now) <= now && !was_just_seen(record, other)
    };
    let others: Vec<_> = desired.issuers.iter().filter(is_free).cloned().collect();
    Candidates {
        issuers: std::iter::once(first).chain(others).collect(),
        is_waiting_over,
    }
}

/// The same as [`turn`], where the issuers of which that is said are asked after all others only.
fn turn_but_for(
    desired: &DesiredCertificate,
    digest: &str,
    record: Option<&CertificateRecord>,
    due: Timestamp,
    is_last: impl Fn(&CertificateRecord, &str) -> bool,
) -> Option<Turn> {
    // As it nearly always is: what follows would say the same.
    if record.is_none_or(|record| {
        record.setbacks.is_empty() && record.held_until.is_empty() && record.passed_over.is_empty()
    }) {
        let issuer = desired.issuers.first()?.clone();
        return Some(Turn {
            issuer,
            free_at: due,
            is_hopeless: false,
        });
    }
    let latest = due + record.map_or(Duration::ZERO, |record| patience(record, due));
    let mut soonest: Option<(Timestamp, bool, &String, Option<Setback>)> = None;
    for issuer in &desired.issuers {
        let setback = record.and_then(|record| setback(record, digest, issuer, due));
        let free_at = free_at(record, setback, issuer, due);
        let is_last = record.is_some_and(|record| is_last(record, issuer));
        let has_struck = setback.is_some_and(|setback| setback.is_hopeless || setback.failures >= STRIKES);
        let may_be_waited_for = !is_last && !has_struck && free_at <= latest;
        if may_be_waited_for || soonest.is_none_or(|best| (free_at, is_last) < (best.0, best.1)) {
            soonest = Some((free_at, is_last, issuer, setback));
        }
        if may_be_waited_for {
            break;
        }
    }
    soonest.map(|(free_at, _, issuer, setback)| Turn {
        issuer: issuer.clone(),
        free_at,
        is_hopeless: setback.is_some_and(|setback| setback.is_hopeless),
    })
}

/// Whether DNS was against `issuer` when it was last looked at before an order. What was wanted otherwise says nothing of
/// what is wanted now.
fn is_passed_over(record: &CertificateRecord, digest: &str, issuer: &str) -> bool {
    !record.despite_dns && record.pursued == digest && record.passed_over.contains_key(issuer)
}

/// The first moment from `due` on at which `issuer`, which has this setback, may be asked.
fn free_at(
    record: Option<&CertificateRecord>,
    setback: Option<Setback>,
    issuer: &str,
    due: Timestamp,
) -> Timestamp {
    let held_until = record.and_then(|record| record.held_until.get(issuer)).copied();
    let rests_until = setback.map(|setback| setback.rests_until);
    let pauses = [held_until, rests_until].into_iter().flatten();
    pauses.map(|until| sane(until, due)).fold(due, Timestamp::max)
}

/// What follows for `setback` from one more failure at `now`, after which the issuer rests for `pause` of so many
/// failures.
pub(super) fn failed(
    setback: Option<Setback>,
    is_hopeless: bool,
    now: Timestamp,
    pause: impl FnOnce(u32) -> Duration,
) -> Setback {
    let before = setback.filter(|setback| !is_forgotten(setback, now));
    let failures = before.map_or(0, |before| before.failures).saturating_add(1);
    Setback {
        failures,
        last: now,
        rests_until: now + pause(failures),
        is_hopeless,
    }
}

/// What is left of the setbacks of `record` once `issuer` has signed: each of the others is worth one try at the next
/// renewal.
pub(super) fn succeeded(record: &mut CertificateRecord, issuer: &str) {
    record.setbacks.remove(issuer);
    for setback in record.setbacks.values_mut() {
        setback.failures = setback.failures.min(STRIKES - 1);
        setback.is_hopeless = false;
    }
}

/// What counts against `issuer` at `due`. An operator's word ends a pause of our own, and what was wanted otherwise says
/// nothing of what is wanted now.
fn setback(record: &CertificateRecord, digest: &str, issuer: &str, due: Timestamp) -> Option<Setback> {
    let setback = record.setbacks.get(issuer).copied();
    setback
        .filter(|setback| !record.renew_requested && record.pursued == digest && !is_forgotten(setback, due))
}

fn is_forgotten(setback: &Setback, now: Timestamp) -> bool {
    now.since(setback.last) > MEMORY
}

fn patience(record: &CertificateRecord, due: Timestamp) -> Duration {
    let current = record.current.as_ref();
    let good = current.filter(|current| current.revoked.is_none() && !record.renew_requested);
    good.map_or(Duration::ZERO, |current| current.leaf.not_after.since(due) / 4)
}

/// So long what DNS was seen to say is not asked again: whoever gave its turn on gets it back by a later look only.
const JUST_SEEN: Duration = Duration::from_secs(60);
/// As many failures of one issuer pass its turn on.
const STRIKES: u32 = 3;
/// Nobody is blamed for longer.
const MEMORY: Duration = Duration::from_secs(7 * 86_400);

#[cfg(test)]
mod tests;
