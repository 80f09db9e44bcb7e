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
use crate::name::DnsName;

/// When to try again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FailureClass {
    /// The CA said when.
    At(Timestamp),
    /// By our own back-off.
    Later,
    /// Not before somebody has changed something here: the configuration, or the account at the CA.
    Stop,
}

/// Why an issuer gave no certificate.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IssueError {
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
    #[error("cannot {doing}: {}", refusal(*.status, problem.as_deref(), excerpt))]
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
    #[error("order {order} was not done after {} s, while {step}; it is kept and taken up again", after.as_secs())]
    Unfinished {
        /// The order's URL; `being placed` before it has one.
        order: String,
        /// What was waited for.
        step: String,
        /// How long.
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
            Self::NotPermitted { .. } | Self::NoUsableChallenge { .. } | Self::Trust { .. } => {
                FailureClass::Stop
            }
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
            } => problem_class(problem),
            Self::OrderInvalid {
                problem, failures, ..
            } => failures
                .iter()
                .filter_map(|failure| failure.problem.as_ref())
                .chain(problem.as_deref())
                .map(problem_class)
                .find(|class| *class == FailureClass::Stop)
                .unwrap_or(FailureClass::Later),
            _ => FailureClass::Later,
        }
    }

    /// Whether the order, if there is one, is worth taking up again at the next attempt. Where this is in doubt it
    /// is: an order taken up in vain costs a request, one forgotten costs another order.
    pub(super) fn leaves_order(&self) -> bool {
        match self {
            Self::Unfit { .. } | Self::OrderInvalid { .. } | Self::NoUsableChallenge { .. } => false,
            Self::Refused {
                status: 404 | 410, ..
            } => false,
            Self::Refused { status, .. } if *status == 429 || *status >= 500 => true,
            Self::Refused { problem, .. } => problem
                .as_ref()
                .is_none_or(|problem| PASSING.contains(&kind(problem))),
            _ => true,
        }
    }

    /// Whether the CA itself has refused for good: nothing was done, and nothing is to be mended first.
    pub(super) fn is_clear_no(&self) -> bool {
        matches!(self, Self::Refused { status: 400..500, problem: Some(problem), .. }
            if !matches!(kind(problem), "accountDoesNotExist" | "badNonce"))
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

/// The class of each problem type of RFC 8555 §6.7. *Stop* is only for what this gateway's operator must change;
/// what is put right in the DNS, at the network or at the CA is found right by trying again.
fn problem_class(problem: &Problem) -> FailureClass {
    match kind(problem) {
        "badCSR"
        | "badPublicKey"
        | "badSignatureAlgorithm"
        | "externalAccountRequired"
        | "invalidContact"
        | "rejectedIdentifier"
        | "unsupportedContact"
        | "unsupportedIdentifier"
        | "userActionRequired" => FailureClass::Stop,
        _ => {
            let below = problem.subproblems.iter().filter_map(|sub| sub.r#type.as_deref());
            let stops = ["rejectedIdentifier", "unsupportedIdentifier"];
            match below.map(short).any(|kind| stops.contains(&kind)) {
                true => FailureClass::Stop,
                false => FailureClass::Later,
            }
        }
    }
}

/// A problem as operators want to read it: each name concerned, the CA's own words, the type.
pub(super) fn describe(problem: &Problem) -> String {
    let mut text = problem
        .detail
        .clone()
        .unwrap_or_else(|| "no detail given".to_owned());
    if let Some(kind) = &problem.r#type {
        text.push_str(&format!(" ({})", short(kind)));
    }
    for sub in &problem.subproblems {
        let name = sub
            .identifier
            .as_ref()
            .map(|name| name.authorized(false).to_string());
        text.push_str(&format!(
            "; {}: {} ({})",
            name.as_deref().unwrap_or("?"),
            sub.detail.as_deref().unwrap_or("no detail given"),
            sub.r#type.as_deref().map_or("no type given", short),
        ));
    }
    text
}

/// The challenge's name in RFC 8555 §8 and in the configuration.
pub(super) const fn challenge_name(kind: ChallengeType) -> &'static str {
    kind.word()
}

fn kind(problem: &Problem) -> &str {
    problem.r#type.as_deref().map_or("", short)
}

fn short(kind: &str) -> &str {
    kind.strip_prefix("urn:ietf:params:acme:error:").unwrap_or(kind)
}

fn refusal(status: u16, problem: Option<&Problem>, excerpt: &str) -> String {
    match problem {
        Some(problem) => format!("the CA answered {status}: {}", describe(problem)),
        None if excerpt.is_empty() => format!("the server answered {status} and no more"),
        None => format!("the server answered {status}, and not as a CA does: {excerpt}"),
    }
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

/// Problems that say nothing about the order that the request was about.
const PASSING: [&str; 6] = [
    "accountDoesNotExist",
    "badNonce",
    "orderNotReady",
    "rateLimited",
    "serverInternal",
    "userActionRequired",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(kind: &str) -> Problem {
        let json = format!(r#"{{"type":"urn:ietf:params:acme:error:{kind}","detail":"because"}}"#);
        serde_json::from_str(&json).unwrap()
    }

    fn refused(kind: &str, retry_after: Option<Timestamp>) -> IssueError {
        IssueError::Refused {
            doing: "place the order",
            status: 400,
            problem: Some(Box::new(problem(kind))),
            excerpt: String::new(),
            retry_after,
        }
    }

    #[test]
    fn every_problem_type_has_its_class() {
        for (kind, stops) in [
            ("accountDoesNotExist", false),
            ("badCSR", true),
            ("badNonce", false),
            ("badPublicKey", true),
            ("badSignatureAlgorithm", true),
            ("caa", false),
            ("connection", false),
            ("dns", false),
            ("externalAccountRequired", true),
            ("incorrectResponse", false),
            ("invalidContact", true),
            ("malformed", false),
            ("orderNotReady", false),
            ("rateLimited", false),
            ("rejectedIdentifier", true),
            ("serverInternal", false),
            ("tls", false),
            ("unauthorized", false),
            ("unsupportedContact", true),
            ("unsupportedIdentifier", true),
            ("userActionRequired", true),
            ("neverHeardOf", false),
        ] {
            let expected = if stops {
                FailureClass::Stop
            } else {
                FailureClass::Later
            };
            assert_eq!(refused(kind, None).class(), expected, "{kind}");
        }
    }

    #[test]
    fn a_time_that_the_ca_gave_is_the_next_time() {
        let at = Timestamp::from_unix_seconds(1_795_219_200);
        assert_eq!(refused("rateLimited", Some(at)).class(), FailureClass::At(at));
    }

    #[test]
    fn one_rejected_name_among_several_stops_the_order() {
        let mut problem = problem("compound");
        problem.subproblems = serde_json::from_str(
            r#"[{"type":"urn:ietf:params:acme:error:rejectedIdentifier","detail":"no","identifier":{"type":"dns","value":"a.example"}}]"#,
        )
        .unwrap();
        assert_eq!(
            describe(&problem),
            "because (compound); a.example: no (rejectedIdentifier)"
        );
        assert_eq!(problem_class(&problem), FailureClass::Stop);
    }

    #[test]
    fn an_order_outlives_what_may_pass() {
        for kind in PASSING {
            assert!(refused(kind, None).leaves_order(), "{kind}");
        }
        for kind in ["badCSR", "caa", "malformed", "unauthorized"] {
            assert!(!refused(kind, None).leaves_order(), "{kind}");
        }
    }
}
