//! What renewal tells those who watch: events as they happen, and what is wrong as a whole.

use std::collections::BTreeMap;
use std::fmt;

use crate::certificate::CertificateName;
use crate::clock::Timestamp;
use crate::dns;
use crate::inventory::CertificateState;
use crate::issuer::Step;
use crate::renewal::plan::{ClockAlarm, Reason};

/// Something happened to a certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// To which.
    pub certificate: CertificateName,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum EventKind {
    /// DNS does not lead here; nothing was ordered.
    Blocked {
        /// What DNS says.
        reason: String,
        /// The records to add or change.
        remedy: Vec<String>,
        /// When it is asked again.
        next_check: Timestamp,
    },
    /// An attempt failed.
    Failed {
        /// Who was asked.
        issuer: String,
        /// Why it failed.
        error: String,
        /// Whether waiting alone will not mend it.
        stopped: bool,
        /// When the next one is due.
        next_attempt: Timestamp,
    },
    /// A new certificate is installed.
    Obtained {
        /// Who signed it.
        issuer: String,
        /// The end of its validity.
        not_after: Timestamp,
        /// When its successor will be asked for.
        renew_at: Timestamp,
        /// Whether there was one before.
        renewed: bool,
    },
    /// An attempt begins.
    Started {
        /// Who is asked.
        issuer: String,
        /// Why.
        reason: Reason,
    },
    /// An attempt has come so far.
    Step(Step),
}

/// What is wrong with renewal as a whole; all empty when nothing is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Health {
    /// The clock cannot be right.
    pub clock: Option<ClockAlarm>,
    /// The store fails, so nothing can be done.
    pub store: Option<String>,
    /// Records that cannot be read; these certificates are left as they are.
    pub unreadable: BTreeMap<CertificateName, String>,
}

impl EventKind {
    /// What a state that an attempt at `issuer` has ended in tells; `None` for one that tells nothing.
    pub(super) fn of_state(state: &CertificateState, issuer: &str) -> Option<Self> {
        let failed = |error: &str, stopped, next_attempt| Self::Failed {
            issuer: issuer.to_owned(),
            error: error.to_owned(),
            stopped,
            next_attempt,
        };
        match state {
            CertificateState::BackingOff { error, next_attempt } => Some(failed(error, false, *next_attempt)),
            CertificateState::Blocked {
                reason,
                remedy,
                next_check,
                ..
            } => Some(Self::Blocked {
                reason: reason.clone(),
                remedy: remedy.clone(),
                next_check: *next_check,
            }),
            CertificateState::Stopped { reason, next_check } => Some(failed(reason, true, *next_check)),
            CertificateState::Obtaining { .. } | CertificateState::Valid | CertificateState::Wanted => None,
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocked {
                reason,
                remedy,
                next_check,
            } => {
                write!(f, "not ordered: {reason}; asked again at {next_check}")?;
                match remedy.is_empty() {
                    true => Ok(()),
                    false => write!(f, "; to put it right: {}", dns::in_a_line(remedy)),
                }
            }
            Self::Failed {
                issuer,
                error,
                next_attempt,
                ..
            } => write!(
                f,
                "{issuer} gave no certificate: {error}; tried again at {next_attempt}"
            ),
            Self::Obtained {
                issuer,
                not_after,
                renew_at,
                ..
            } => write!(
                f,
                "obtained from {issuer}, valid until {not_after}, to be renewed at {renew_at}"
            ),
            Self::Started { issuer, reason } => write!(f, "asking {issuer}: {reason}"),
            Self::Step(step) => step.fmt(f),
        }
    }
}
