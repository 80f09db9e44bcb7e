//! What is to be done about which certificate, and when: pure, without a clock and without a store.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::certificate::{CertificateName, DesiredCertificate};
use crate::clock::Timestamp;
use crate::inventory::{CertificateRecord, CertificateState};
use crate::renewal::agenda::Agenda;
use crate::renewal::turn::turn;

/// What is to be done now, and when to look again.
#[derive(Debug)]
pub struct Plan {
    /// What is due, the longest due first.
    pub actions: Vec<Action>,
    /// When the next one is; `None` when nothing ever is.
    pub wake: Option<Timestamp>,
    /// The clock cannot be right.
    pub alarm: Option<ClockAlarm>,
}

/// One thing to do about one certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Action {
    /// The certificate.
    pub certificate: CertificateName,
    /// What to do, and why.
    pub next: Next,
}

/// The next thing that happens to a certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Next {
    /// When; the beginning of time for at once.
    pub at: Timestamp,
    /// Why; [`Reason::Settled`] asks for no new certificate.
    pub reason: Reason,
    /// The issuer to ask.
    pub issuer: String,
    /// Whether it has been tried before: such a name may not hold up those that were not.
    pub again: bool,
}

/// Why something is done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// The CA is to be asked when to renew. No new certificate is asked for.
    Asking,
    /// Something else is wanted than what is there.
    Changed,
    /// Enough of the lifetime has gone by.
    Due,
    /// There is none.
    Missing,
    /// An operator asked.
    Requested,
    /// A pause after a failure or a DNS check is over.
    Retry,
    /// Nothing is wanted any more that the record says is pursued: it is to be put right.
    Settled,
}

/// The clock cannot be right.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ClockAlarm {
    /// It shows a time before certgate was written. Nothing is ordered.
    #[error("the clock shows {now}, which has long passed; nothing is ordered until it is set right")]
    BeforeCertgate {
        /// What it shows.
        now: Timestamp,
    },
    /// It is not that of a CA. Nothing is ordered there.
    #[error(
        "the clock shows {now}, but that of the CA of issuer `{issuer}` shows {ca}; nothing is ordered there until it is set right"
    )]
    NotTheCas {
        /// What it shows.
        now: Timestamp,
        /// The issuer's name.
        issuer: String,
        /// What the CA's shows.
        ca: Timestamp,
    },
    /// It shows a time before something that certgate has done already. Orders go on: what is due may come late.
    #[error("the clock shows {now}, but a certificate was obtained at {obtained_at}; set it right")]
    BehindStore {
        /// What it shows.
        now: Timestamp,
        /// The latest moment at which a certificate was obtained.
        obtained_at: Timestamp,
    },
}

/// The plan for `desired` where the store holds `records`.
///
/// A certificate that is not desired is left as it is. One that is wanted otherwise than it is there (other names,
/// another key type, from other issuers than its own) is obtained at once, and the one there goes on being served. More
/// issuers, or the same in another order, wait for the next renewal.
pub fn plan(
    desired: &[DesiredCertificate],
    records: &BTreeMap<CertificateName, CertificateRecord>,
    now: Timestamp,
) -> Plan {
    let mut agenda = Agenda::new();
    agenda.desire(desired);
    for certificate in desired {
        agenda.update(&certificate.name, records.get(&certificate.name), now);
    }
    agenda.take_due(now)
}

/// The next thing that happens to `desired`, whose digest is `digest`, where `record` is what is known of it; `None`
/// when nothing does until something changes.
pub fn next(
    desired: &DesiredCertificate,
    digest: &str,
    record: Option<&CertificateRecord>,
    now: Timestamp,
) -> Option<Next> {
    let (at, reason) = record.map_or((AT_ONCE, Reason::Missing), |record| {
        need(record, desired, digest, now)
    });
    if let (Reason::Due, Some(current)) = (reason, record.and_then(|record| record.current.as_ref()))
        && let Some(ask_at) = current.ask_at.map(|ask_at| sane(ask_at, now))
        && at > now
        && ask_at < at
    {
        return Some(Next {
            at: ask_at,
            reason: Reason::Asking,
            issuer: current.issuer.clone(),
            again: false,
        });
    }
    let turn = turn(desired, digest, record, at.max(now))?;
    Some(Next {
        at: if turn.free_at > now {
            at.max(turn.free_at)
        } else {
            at
        },
        reason,
        issuer: turn.issuer,
        again: record.is_some_and(|record| {
            record.failures > 0 || matches!(record.state, CertificateState::Blocked { .. })
        }),
    })
}

fn need(
    record: &CertificateRecord,
    desired: &DesiredCertificate,
    digest: &str,
    now: Timestamp,
) -> (Timestamp, Reason) {
    if record.renew_requested {
        return (AT_ONCE, Reason::Requested);
    }
    let pursued = record.pursued == digest;
    if let Some(end) = record.state.next_wake().filter(|_| pursued) {
        return (sane(end, now), Reason::Retry);
    }
    let Some(current) = &record.current else {
        return (AT_ONCE, Reason::Missing);
    };
    if !record.holds(desired, digest) {
        return (AT_ONCE, Reason::Changed);
    }
    match current.renew_at {
        Some(renew_at) if renew_at > now && !pursued && record.state != CertificateState::Valid => {
            (AT_ONCE, Reason::Settled)
        }
        renew_at => (renew_at.unwrap_or(AT_ONCE), Reason::Due),
    }
}

/// No pause is ever meant to last so long: it was written under a clock that was far ahead.
pub(super) fn sane(end: Timestamp, now: Timestamp) -> Timestamp {
    match end.since(now) > LONGEST_PAUSE {
        true => AT_ONCE,
        false => end,
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asking => "the CA may suggest when to renew",
            Self::Changed => "what is wanted has changed",
            Self::Due => "renewal is due",
            Self::Missing => "there is none yet",
            Self::Requested => "an operator asked for it",
            Self::Retry => "the pause is over",
            Self::Settled => "nothing is left to do",
        })
    }
}

/// Due whatever the clock shows, also once it has been set back.
const AT_ONCE: Timestamp = Timestamp::from_unix_seconds(0);
const LONGEST_PAUSE: Duration = Duration::from_secs(8 * 86_400);

#[cfg(test)]
mod tests;
