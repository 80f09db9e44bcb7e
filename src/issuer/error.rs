//! Why no certificate was obtained, and what that means for the next attempt.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::Problem;

use crate::certificate::{CredentialError, KeyError};
use crate::clock::Timestamp;
use crate::config::ChallengeType;
use crate::inventory::InventoryError;
use crate::issuer::SolveError;
use crate::issuer::failure::{self, FailureClass, describe, kind};
use crate::name::DnsName;

/// Why an issuer gave no certificate.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IssueError {
    /// The key of the external account cannot be read.
    #[error("cannot read the key of the external account from {}: {reason}", file.display())]
    ExternalAccount {
        /// The configured file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The CA's answer is not what RFC 8555 says it is.
    #[error("cannot {doing}: the CA's answer makes no sense: {reason}")]
    Garbled {
        /// What was asked of the CA.
        doing: &'static str,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The inventory could not be read or written.
    #[error("the inventory failed while a certificate was being obtained")]
    Inventory {
        /// What failed there.
        source: Arc<InventoryError>,
    },
    /// A private key could not be made or used.
    #[error("the key of the new certificate failed")]
    Key {
        /// What failed.
        source: Arc<KeyError>,
    },
    /// The CA would refuse, by the limits that it publishes. Nothing was asked of it.
    #[error(
        "the CA's limit of {limit} is used up until {until}, by what was counted here; nothing is ordered before that"
    )]
    Limited {
        /// What is limited.
        limit: String,
        /// When there is one to use again.
        until: Timestamp,
    },
    /// What only an account can do was asked before there was one.
    #[error("the issuer `{issuer}` has no account at its CA yet; it is registered with the first order")]
    NoAccount {
        /// The issuer's name.
        issuer: String,
    },
    /// A name that a local CA with constraints may not sign for.
    #[error(
        "`{domain}` is not under the permitted domains of this local CA, which are {}; add it there, or ask another issuer",
        list(permitted)
    )]
    NotPermitted {
        /// The name.
        domain: DnsName,
        /// What the CA may sign for.
        permitted: Vec<DnsName>,
    },
    /// The answer to a challenge could not be put in place.
    #[error("the answer to the {} challenge for {domain} could not be put in place", challenge_name(*.challenge))]
    NotPresented {
        /// The name to be validated.
        domain: DnsName,
        /// The challenge.
        challenge: ChallengeType,
        /// What the solver met.
        source: Arc<SolveError>,
    },
    /// The CA offers nothing that the configuration allows.
    #[error(
        "the CA offers {} to validate {domain}, but this issuer is configured for {}",
        list(offered),
        list(configured.iter().map(|kind| challenge_name(*kind)))
    )]
    NoUsableChallenge {
        /// The name to be validated.
        domain: String,
        /// The challenge types that the CA offers for it.
        offered: Vec<String>,
        /// The configured ones.
        configured: Vec<ChallengeType>,
    },
    /// The CA has no such profile.
    #[error("the CA has no profile `{wanted}`; it has {}", list(offered))]
    NoSuchProfile {
        /// The configured one.
        wanted: String,
        /// Those of the CA's directory.
        offered: Vec<String>,
    },
    /// The order is invalid, and will stay so (RFC 8555 §7.1.6).
    #[error("the CA has declared order {order} invalid{}", reasons(failures, problem.as_deref()))]
    OrderInvalid {
        /// The order's URL.
        order: String,
        /// The challenges that failed.
        failures: Vec<ValidationFailure>,
        /// The problem of the order itself, where there is one.
        problem: Option<Box<Problem>>,
    },
    /// The CA refused a request, or something before it did.
    #[error("cannot {doing}: {}{}", refusal(*.status, problem.as_deref(), excerpt), see(page.as_ref()))]
    Refused {
        /// What was asked of the CA.
        doing: &'static str,
        /// The HTTP status.
        status: u16,
        /// The problem document, where the answer was one.
        problem: Option<Box<Problem>>,
        /// The beginning of the answer, where it was none.
        excerpt: String,
        /// When the CA wants to be asked again.
        retry_after: Option<Timestamp>,
        /// What the CA wants a human to visit (RFC 8555 §6.7, §7.3.3).
        page: Option<String>,
    },
    /// A local CA could not sign.
    #[error("the local CA cannot sign")]
    Signing {
        /// What rcgen found.
        source: Arc<rcgen::Error>,
    },
    /// The CA's certificate cannot be checked for want of roots.
    #[error("cannot load the roots that the CA's server is trusted by{}: {reason}", in_file(file.as_ref()))]
    Trust {
        /// The configured file; absent: the system's roots.
        file: Option<PathBuf>,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate is not the one that was asked for.
    #[error("the issued certificate is not what was asked for")]
    Unfit {
        /// What does not fit.
        source: Arc<CredentialError>,
    },
    /// The CA has not come to an end in time; the order is kept and will be taken up again.
    #[error("order {order} {}, while {step}; it is kept and taken up again", not_done(*after, *retry_after))]
    Unfinished {
        /// The order's URL; `being placed` before it has one.
        order: String,
        /// What was waited for.
        step: String,
        /// How long an attempt lasts at most.
        after: Duration,
        /// When the CA wants to be asked again, where it said so.
        retry_after: Option<Timestamp>,
    },
    /// No whole answer arrived.
    #[error("cannot {doing}: {url}: {reason}")]
    Unreachable {
        /// What was asked of the CA.
        doing: &'static str,
        /// The URL of the request.
        url: String,
        /// What happened.
        reason: String,
    },
    /// The clock here is not the CA's. Nothing was ordered: what depends on time would go wrong.
    #[error(
        "this machine's clock shows {here} while the CA's shows {ca}; set it right, nothing is ordered before that"
    )]
    WrongClock {
        /// What the clock shows here.
        here: Timestamp,
        /// What it shows at the CA.
        ca: Timestamp,
    },
}

/// A challenge that the CA found wanting.
#[derive(Clone, Debug)]
pub struct ValidationFailure {
    /// The name that was to be validated.
    pub domain: String,
    /// The challenge's type.
    pub challenge: String,
    /// What the CA met.
    pub problem: Option<Problem>,
}

impl IssueError {
    /// When to try again.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::ExternalAccount { .. }
            | Self::NoSuchProfile { .. }
            | Self::NotPermitted { .. }
            | Self::NoUsableChallenge { .. }
            | Self::Trust { .. } => FailureClass::Stop,
            Self::Limited { until, .. } => FailureClass::At(*until),
            Self::Refused {
                retry_after: Some(at),
                ..
            }
            | Self::Unfinished {
                retry_after: Some(at),
                ..
            } => FailureClass::At(*at),
            Self::Refused {
                problem: Some(problem),
                ..
            } => failure::class(problem),
            Self::OrderInvalid {
                problem, failures, ..
            } => failures
                .iter()
                .filter_map(|failure| failure.problem.as_ref())
                .chain(problem.as_deref())
                .map(failure::class)
                .fold(FailureClass::Later, FailureClass::stricter),
            _ => FailureClass::Later,
        }
    }

    /// Whether the order, if there is one, is worth taking up again at the next attempt. Where this is in doubt it
    /// is: an order taken up in vain costs a request, one forgotten costs another order.
    pub fn leaves_order(&self) -> bool {
        match self {
            Self::Unfit { .. } | Self::OrderInvalid { .. } | Self::NoUsableChallenge { .. } => false,
            Self::Refused {
                status: 404 | 410, ..
            } => false,
            Self::Refused { status, .. } if *status == 429 || *status >= 500 => true,
            Self::Refused { problem, .. } => problem.as_deref().is_none_or(failure::leaves_order),
            _ => true,
        }
    }

    /// Whether nothing was done for good: the CA itself has refused, or was not asked.
    pub fn is_clear_no(&self) -> bool {
        match self {
            Self::Limited { .. } | Self::NoSuchProfile { .. } => true,
            Self::Refused {
                status: 400..500,
                problem: Some(problem),
                ..
            } => !matches!(kind(problem), "accountDoesNotExist" | "badNonce"),
            _ => false,
        }
    }

    /// Whether an order that said what it replaces may have been refused for that (RFC 9773 §5). An answer that makes
    /// no sense is one, too: a CA must repeat what it has understood.
    pub(super) fn may_be_for_what_is_replaced(&self) -> bool {
        match self {
            Self::Garbled { .. } => true,
            Self::Refused { status: 409, .. } => true,
            Self::Refused {
                problem: Some(problem),
                ..
            } => matches!(kind(problem), "alreadyReplaced" | "malformed" | "unauthorized"),
            _ => false,
        }
    }

    /// Whether the CA refused with this type of problem (RFC 8555 §6.7), written without its prefix.
    pub(super) fn is_problem(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { problem: Some(problem), .. } if kind(problem) == wanted)
    }
}

impl From<InventoryError> for IssueError {
    fn from(source: InventoryError) -> Self {
        Self::Inventory {
            source: Arc::new(source),
        }
    }
}

impl From<KeyError> for IssueError {
    fn from(source: KeyError) -> Self {
        Self::Key {
            source: Arc::new(source),
        }
    }
}

impl From<CredentialError> for IssueError {
    fn from(source: CredentialError) -> Self {
        Self::Unfit {
            source: Arc::new(source),
        }
    }
}

/// The challenge's name in RFC 8555 §8 and in the configuration.
pub(super) const fn challenge_name(kind: ChallengeType) -> &'static str {
    kind.word()
}

fn refusal(status: u16, problem: Option<&Problem>, excerpt: &str) -> String {
    match problem {
        Some(problem) => format!("the CA answered {status}: {}", describe(problem)),
        None if excerpt.is_empty() => format!("the server answered {status} and no more"),
        None => format!("the server answered {status}, and not as a CA does: {excerpt}"),
    }
}

fn see(page: Option<&String>) -> String {
    page.map_or_else(String::new, |page| format!("; see {page}"))
}

fn reasons(failures: &[ValidationFailure], problem: Option<&Problem>) -> String {
    let mut text = String::new();
    for failure in failures {
        let why = failure
            .problem
            .as_ref()
            .map_or("no reason given".to_owned(), describe);
        text.push_str(&format!(": {} by {}: {why}", failure.domain, failure.challenge));
    }
    if let Some(problem) = problem {
        text.push_str(&format!(": {}", describe(problem)));
    }
    text
}

/// A CA that wants to be asked later than an attempt lasts is not waited for.
fn not_done(after: Duration, retry_after: Option<Timestamp>) -> String {
    let after = after.as_secs();
    match retry_after {
        Some(at) => format!(
            "is not done, and the CA wants to be asked at {at}, when the {after} s of an attempt are over"
        ),
        None => format!("was not done after {after} s"),
    }
}

fn in_file(file: Option<&PathBuf>) -> String {
    file.map_or_else(String::new, |file| format!(" from {}", file.display()))
}

fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    match items.is_empty() {
        true => "nothing".to_owned(),
        false => items.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(kind: &str, retry_after: Option<Timestamp>) -> IssueError {
        let json = format!(r#"{{"type":"urn:ietf:params:acme:error:{kind}","detail":"because"}}"#);
        IssueError::Refused {
            doing: "place the order",
            status: 400,
            problem: Some(serde_json::from_str(&json).unwrap()),
            excerpt: String::new(),
            retry_after,
            page: Some("https://ca.example/terms".to_owned()),
        }
    }

    #[test]
    fn a_time_that_the_ca_gave_goes_before_the_class() {
        let at = Timestamp::from_unix_seconds(1_795_219_200);
        for kind in ["rateLimited", "rejectedIdentifier"] {
            assert_eq!(refused(kind, Some(at)).class(), FailureClass::At(at));
        }
    }

    #[test]
    fn of_several_failures_of_an_order_the_strictest_decides() {
        use FailureClass::{At, Later, Stop};
        let [early, late] = [1_795_219_200, 1_795_305_600].map(Timestamp::from_unix_seconds);
        for (one, other, expected) in [
            (Later, Later, Later),
            (Later, At(early), At(early)),
            (At(late), At(early), At(late)),
            (At(late), Stop, Stop),
        ] {
            assert_eq!((one.stricter(other), other.stricter(one)), (expected, expected));
        }
    }

    #[test]
    fn what_the_ca_wants_to_be_visited_is_shown() {
        assert_eq!(
            refused("userActionRequired", None).to_string(),
            "cannot place the order: the CA answered 400: because (userActionRequired); see https://ca.example/terms"
        );
    }
}
