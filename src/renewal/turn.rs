//! Which issuer of a certificate's list is asked next, and when: pure.
//!
//! | the first issuer of the list | what follows |
//! | --- | --- |
//! | has not failed | it is asked |
//! | has failed once or twice | it is asked again after its pause, where the certificate can wait for that |
//! | has failed three times, or for a reason that waiting does not mend | the next one is asked at once |
//! | asked not to be asked for longer than the certificate can wait | the next one is asked at once |
//! | has failed before the last renewal, which another one did | it is asked first again, and once only |
//!
//! A certificate can wait for a quarter of the time it has left; one that is missing, expired or revoked, and one that an
//! operator asks for, cannot. When none of them may be asked, the one that may soonest is.

use std::time::Duration;

use crate::certificate::DesiredCertificate;
use crate::clock::Timestamp;
use crate::inventory::{CertificateRecord, Setback};
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
    let latest = due + record.map_or(Duration::ZERO, |record| patience(record, due));
    let standing = |issuer: &String| {
        let setback = record.and_then(|record| setback(record, digest, issuer, due));
        let held_until = record.and_then(|record| record.held_until.get(issuer)).copied();
        let rests_until = setback.map(|setback| setback.rests_until);
        let pauses = [held_until, rests_until].into_iter().flatten();
        let free_at = pauses.map(|until| sane(until, due)).fold(due, Timestamp::max);
        let is_passed_over =
            setback.is_some_and(|setback| setback.is_hopeless || setback.failures >= STRIKES);
        let turn = Turn {
            issuer: issuer.clone(),
            free_at,
            is_hopeless: setback.is_some_and(|setback| setback.is_hopeless),
        };
        (turn, !is_passed_over && free_at <= latest)
    };
    let all = desired.issuers.iter().map(standing);
    let in_order = all.clone().find(|(_, may_be_waited_for)| *may_be_waited_for);
    let soonest = || all.min_by_key(|(turn, _)| turn.free_at);
    in_order.or_else(soonest).map(|(turn, _)| turn)
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

/// As many failures of one issuer pass its turn on.
const STRIKES: u32 = 3;
/// Nobody is blamed for longer.
const MEMORY: Duration = Duration::from_secs(7 * 86_400);

#[cfg(test)]
mod tests;
