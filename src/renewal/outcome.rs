//! What an attempt leaves in the record: pure transitions, each of which tells the next wake-up.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::certificate::Leaf;
use crate::clock::Timestamp;
use crate::inventory::{CertificateRecord, CertificateState, CurrentCertificate, Source};
use crate::issuer::FailureClass;
use crate::renewal::agenda::Desired;
use crate::renewal::back_off::{self, Validity};
use crate::renewal::gate::{Refusal, WAITED};
use crate::renewal::schedule::Jitter;
use crate::renewal::turn::{self, turn};

/// A failed attempt.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Failure {
    /// Whom it was made at.
    pub(super) issuer: String,
    /// Why it failed, for operators.
    pub(super) error: String,
    /// What that means for the next one.
    pub(super) class: FailureClass,
    /// The CA's time, where that is why: nothing was ordered.
    pub(super) ca_time: Option<Timestamp>,
}

/// The record while an attempt for `digest` is under way. A request for it stands until it has come to an end, so
/// that it survives a crash.
pub(super) fn obtaining(record: CertificateRecord, digest: &str, now: Timestamp) -> CertificateRecord {
    let mut record = pursuing(record, digest);
    record.state = CertificateState::Obtaining { since: now };
    record
}

/// The record after DNS was looked at for an order: it was against the issuers `passed_over`, and not against `issuer`. The
/// state stays: what was due is due, at the issuer whose turn it is now.
pub(super) fn passed_over(
    record: CertificateRecord,
    digest: &str,
    passed_over: &[String],
    issuer: &str,
    now: Timestamp,
) -> CertificateRecord {
    let is_new = record.pursued != digest;
    let mut record = pursuing(record, digest);
    if is_new {
        // A pause was one for what was wanted before.
        record.state = match record.current {
            Some(_) => CertificateState::Valid,
            None => CertificateState::Wanted,
        };
    }
    record.passed_over.remove(issuer);
    let seen = passed_over.iter().map(|issuer| (issuer.clone(), now));
    record.passed_over.extend(seen);
    record
}

/// Writes into the record that the certificate was obtained for `digest`.
pub(super) fn obtained(
    record: &mut CertificateRecord,
    digest: &str,
    leaf: Leaf,
    issuer: &str,
    now: Timestamp,
    renew_at: Timestamp,
) {
    record.held_until.retain(|_, until| *until > now);
    turn::succeeded(record, issuer);
    digest.clone_into(&mut record.digest);
    digest.clone_into(&mut record.pursued);
    record.source = Source::Issued;
    record.current = Some(CurrentCertificate {
        leaf,
        issuer: issuer.to_owned(),
        obtained_at: now,
        renew_at: Some(renew_at),
        suggested: None,
        ask_at: None,
        revoked: None,
    });
    record.state = CertificateState::Valid;
    record.failures = 0;
    record.failing_since = None;
    record.renew_requested = false;
    record.despite_dns = false;
}

/// The record after an attempt that failed.
pub(super) fn failed(
    record: CertificateRecord,
    desired: &Desired,
    failure: &Failure,
    now: Timestamp,
    jitter: Jitter,
) -> CertificateRecord {
    let mut record = CertificateRecord {
        renew_requested: false,
        despite_dns: false,
        ..pursuing(record, &desired.digest)
    };
    record.failures = record.failures.saturating_add(1);
    record.failing_since.get_or_insert(now);
    record.held_until.retain(|_, until| *until > now);
    let fraction = jitter.fraction(&record.name, now, record.failures);
    if let FailureClass::At(asked_for) = failure.class {
        let until = back_off::not_before(asked_for, now, fraction);
        record.held_until.insert(failure.issuer.clone(), until);
    }
    let is_hopeless = failure.class == FailureClass::Stop;
    let before = record.setbacks.get(&failure.issuer).copied();
    let setback = turn::failed(before, is_hopeless, now, |failures| match is_hopeless {
        true => back_off::after_stop(fraction),
        false => back_off::after_failure(failures, validity(&record, now), fraction),
    });
    record.setbacks.insert(failure.issuer.clone(), setback);
    let next = turn(&desired.certificate, &desired.digest, Some(&record), now);
    let at = next.as_ref().map_or(setback.rests_until, |next| next.free_at);
    let error = match &next {
        Some(next) if next.issuer != failure.issuer => {
            let (issuer, error) = (&failure.issuer, &failure.error);
            format!("{issuer}: {error}; then `{}` is asked", next.issuer)
        }
        _ => failure.error.clone(),
    };
    record.state = match next.is_none_or(|next| next.is_hopeless) {
        true => CertificateState::Stopped {
            reason: error,
            next_check: at,
        },
        false => CertificateState::BackingOff {
            error,
            next_attempt: at,
        },
    };
    record
}

/// The record after DNS said no. Nothing was ordered, so no failure is counted. An operator's request lives on in
/// the state: once DNS says yes, the certificate is ordered.
pub(super) fn blocked(
    mut record: CertificateRecord,
    digest: &str,
    refusal: Refusal,
    now: Timestamp,
    jitter: Jitter,
) -> CertificateRecord {
    let Refusal { reason, until, .. } = refusal;
    let (checks, since) = match (&record.state, record.pursued == digest && !record.renew_requested) {
        (
            CertificateState::Blocked {
                checks,
                waiting_since,
                ..
            },
            true,
        ) => (checks.saturating_add(1), *waiting_since),
        _ => (1, None),
    };
    let fraction = jitter.fraction(&record.name, now, checks);
    let abandoned = record
        .failing_since
        .filter(|since| now.since(*since) >= ABANDONED);
    let pause = back_off::after_dns_check(
        checks,
        until.map(|until| until.since(now)),
        validity(&record, now),
        fraction,
    );
    let waiting_since = (!refusal.is_definite).then_some(since.unwrap_or(now));
    // Then the turn goes on to the next issuer, where there are several.
    let over = waiting_since
        .map(|since| since + WAITED)
        .filter(|over| *over > now);
    record.state = CertificateState::Blocked {
        reason: match abandoned {
            Some(since) => format!(
                "it has failed since {since} and leads here no more, so nothing is ordered until DNS is right again: {reason}"
            ),
            None => reason,
        },
        remedy: refusal.remedy,
        checks,
        waiting_since,
        next_check: over.map_or(now + pause, |over| over.min(now + pause)),
    };
    CertificateRecord {
        renew_requested: false,
        // The next look begins with the first issuer again.
        passed_over: BTreeMap::new(),
        ..pursuing(record, digest)
    }
}

/// The record after the clock was found to be wrong. Nothing was ordered, so no failure is counted.
pub(super) fn untimely(
    mut record: CertificateRecord,
    digest: &str,
    reason: String,
    now: Timestamp,
) -> CertificateRecord {
    record.state = CertificateState::Blocked {
        reason,
        remedy: Vec::new(),
        checks: 1,
        waiting_since: None,
        next_check: now + back_off::AFTER_WRONG_CLOCK,
    };
    CertificateRecord {
        renew_requested: false,
        ..pursuing(record, digest)
    }
}

/// The record of which `digest` is pursued. What was against issuers is nothing to what is wanted otherwise.
fn pursuing(mut record: CertificateRecord, digest: &str) -> CertificateRecord {
    if record.pursued != digest {
        record.setbacks.clear();
        record.passed_over.clear();
        digest.clone_into(&mut record.pursued);
    }
    record
}

/// The record of which nothing more is pursued: what is there is what is wanted.
pub(super) fn settled(record: CertificateRecord) -> CertificateRecord {
    CertificateRecord {
        pursued: record.digest.clone(),
        state: CertificateState::Valid,
        failures: 0,
        failing_since: None,
        setbacks: BTreeMap::new(),
        ..record
    }
}

/// A name that fails for so long and leads elsewhere has been given up by its owner.
const ABANDONED: Duration = Duration::from_secs(3 * 86_400);

fn validity(record: &CertificateRecord, now: Timestamp) -> Option<Validity> {
    record.current.as_ref().map(|current| Validity::of(current, now))
}
