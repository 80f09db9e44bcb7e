//! The judgement: a pure function of what was found and of what should be.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::evidence::{AddressAnswer, ChainEnd, Evidence, LookupFailure, MAX_CHAIN, RecordType};
use super::remedy::{Change, remedy};
use crate::name::DnsName;

/// Where names should lead: `[gateway]`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Target {
    /// The gateway's addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// The name a CNAME chain may pass through instead.
    pub hostname: Option<DnsName>,
}

/// Whether to order a certificate for a name.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, schemars::JsonSchema, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// The name leads here.
    Go,
    /// Nothing was looked up; an order is not held back.
    Skipped {
        /// Why.
        reason: SkipReason,
    },
    /// The name does not lead here, and will not before a record is changed.
    Stop {
        /// Everything in the way; never empty.
        obstacles: Vec<Obstacle>,
        /// The records to change.
        remedy: Vec<Change>,
        /// Another way that leads to the same; may be empty.
        alternative: Vec<Change>,
    },
    /// It could not be found out; worth asking again soon.
    Wait {
        /// What was not answered; never empty.
        obstacles: Vec<Obstacle>,
    },
}

impl Verdict {
    /// Whether an order for the name makes sense now.
    pub fn allows_order(&self) -> bool {
        matches!(self, Self::Go | Self::Skipped { .. })
    }

    /// The reason in words; empty for [`Verdict::Go`].
    pub fn reason(&self) -> String {
        match self {
            Self::Go => String::new(),
            Self::Skipped { reason } => reason.to_string(),
            Self::Stop { obstacles, .. } | Self::Wait { obstacles } => {
                let texts: Vec<_> = obstacles.iter().map(Obstacle::to_string).collect();
                texts.join("; ")
            }
        }
    }

    /// The records to change, in zone-file form; empty unless [`Verdict::Stop`].
    pub fn remedy(&self) -> &[Change] {
        match self {
            Self::Stop { remedy, .. } => remedy,
            _ => &[],
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Go => "go",
            Self::Skipped { .. } => "skipped",
            Self::Stop { .. } => "stop",
            Self::Wait { .. } => "wait",
        })
    }
}

/// Why nothing was looked up.
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, Deserialize, schemars::JsonSchema, Serialize, thiserror::Error,
)]
#[serde(rename_all = "kebab-case")]
pub enum SkipReason {
    /// The configuration does not say where names should lead.
    #[error("not checked: `[gateway]` with `addresses` or `hostname` is not configured")]
    NoGateway,
    /// A wildcard is validated by a TXT record, wherever its addresses lead.
    #[error("not checked: a wildcard is proven by dns-01, not by where it leads")]
    Wildcard,
}

/// One thing that stands in the way of an order.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, schemars::JsonSchema, Serialize, thiserror::Error)]
#[serde(tag = "problem", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Obstacle {
    /// A CNAME whose target does not exist, or has no address.
    #[error("{name} is an alias of {target}, which has no address")]
    DanglingAlias {
        /// The name asked for.
        name: String,
        /// The end of its chain.
        target: String,
    },
    /// An address that is not the gateway's.
    #[error("{owner} has the {record} record {address}, which is not an address of this gateway{}", expectation(expected, *address))]
    ForeignAddress {
        /// The record's owner.
        owner: String,
        /// The record's type.
        record: RecordType,
        /// What it holds.
        address: IpAddr,
        /// The gateway's addresses.
        expected: BTreeSet<IpAddr>,
    },
    /// A CNAME chain that comes back to itself.
    #[error("the CNAME chain of {name} never ends: {again} is met twice")]
    Loop {
        /// The name asked for.
        name: String,
        /// The target that was met before.
        again: String,
    },
    /// The name exists without an address.
    #[error("{name} has neither an A nor an AAAA record")]
    NoAddress {
        /// The name asked for.
        name: String,
    },
    /// There is nobody to ask.
    #[error("no resolver to ask: {cause}")]
    NoResolver {
        /// What reading the system's configuration brought.
        cause: String,
    },
    /// The name does not exist.
    #[error("{name} does not exist (NXDOMAIN)")]
    NoSuchName {
        /// The name asked for.
        name: String,
    },
    /// A CNAME chain that not every resolver follows to its end.
    #[error("the CNAME chain of {name} is longer than {limit} records")]
    TooLong {
        /// The name asked for.
        name: String,
        /// How many are followed.
        limit: usize,
    },
    /// A question without an answer.
    #[error("{owner} {record}: {failure}")]
    Unanswered {
        /// The name asked about.
        owner: String,
        /// The record type asked for.
        record: RecordType,
        /// Why there is no answer.
        failure: LookupFailure,
    },
}

/// Judges `evidence` for `name`.
///
/// A name leads here when its CNAME chain passes through the gateway's hostname and ends at some address, or
/// when it has an address and each one it has is the gateway's. Each family counts by itself: a CA that finds
/// one wrong AAAA record calls that and nothing else. A record that is known to be wrong weighs more than a
/// question without an answer.
pub fn judge(name: &DnsName, target: &Target, evidence: &Evidence) -> Verdict {
    let asked = name.as_str();
    let last = evidence.last(asked);
    let stop = |obstacles| {
        let (remedy, alternative) = remedy(asked, target, evidence);
        Verdict::Stop {
            obstacles,
            remedy,
            alternative,
        }
    };
    let (a, aaaa) = match &evidence.end {
        ChainEnd::Addresses { a, aaaa } => (a, aaaa),
        ChainEnd::Loop => {
            return stop(vec![Obstacle::Loop {
                name: asked.to_owned(),
                again: last.to_owned(),
            }]);
        }
        ChainEnd::NoSuchName => return stop(vec![nowhere(asked, evidence, true)]),
        ChainEnd::TooLong => {
            return stop(vec![Obstacle::TooLong {
                name: asked.to_owned(),
                limit: MAX_CHAIN,
            }]);
        }
        ChainEnd::Unanswered(failure) => {
            return Verdict::Wait {
                obstacles: vec![unanswered(last, RecordType::Cname, failure)],
            };
        }
    };

    let mut found = 0;
    let mut wrong = Vec::new();
    let mut open = Vec::new();
    for (record, answer) in [(RecordType::A, a), (RecordType::Aaaa, aaaa)] {
        match answer {
            AddressAnswer::Found(addresses) => {
                found += addresses.len();
                let foreign = addresses.iter().filter(|address| !target.owns(evidence, address));
                wrong.extend(foreign.map(|address| Obstacle::ForeignAddress {
                    owner: last.to_owned(),
                    record,
                    address: *address,
                    expected: target.addresses.clone(),
                }));
            }
            AddressAnswer::NoSuchName => {}
            AddressAnswer::Unanswered(failure) => open.push(unanswered(last, record, failure)),
        }
    }
    if !wrong.is_empty() {
        stop(wrong)
    } else if !open.is_empty() {
        Verdict::Wait { obstacles: open }
    } else if found == 0 {
        let absent = [a, aaaa].contains(&&AddressAnswer::NoSuchName);
        stop(vec![nowhere(asked, evidence, absent)])
    } else {
        Verdict::Go
    }
}

impl Target {
    /// The gateway's hostname, when the CNAME chain passes through it. What it resolves to is then the operator's
    /// affair: an address translation or a balancer may stand in between.
    pub(super) fn alias_in(&self, evidence: &Evidence) -> Option<&str> {
        let hostname = self.hostname.as_ref()?.as_str();
        evidence
            .chain
            .iter()
            .any(|link| link == hostname)
            .then_some(hostname)
    }

    pub(super) fn is_alias(&self, evidence: &Evidence) -> bool {
        self.alias_in(evidence).is_some()
    }

    pub(super) fn owns(&self, evidence: &Evidence, address: &IpAddr) -> bool {
        self.is_alias(evidence) || self.addresses.contains(address)
    }

    /// The gateway's addresses that a record of this type could hold.
    pub(super) fn of_type(&self, record: RecordType) -> impl Iterator<Item = &IpAddr> {
        self.addresses
            .iter()
            .filter(move |address| RecordType::of(**address) == record)
    }
}

fn nowhere(asked: &str, evidence: &Evidence, absent: bool) -> Obstacle {
    let name = asked.to_owned();
    match evidence.chain.last() {
        Some(target) => Obstacle::DanglingAlias {
            name,
            target: target.clone(),
        },
        None if absent => Obstacle::NoSuchName { name },
        None => Obstacle::NoAddress { name },
    }
}

fn unanswered(owner: &str, record: RecordType, failure: &LookupFailure) -> Obstacle {
    Obstacle::Unanswered {
        owner: owner.to_owned(),
        record,
        failure: failure.clone(),
    }
}

fn expectation(expected: &BTreeSet<IpAddr>, found: IpAddr) -> String {
    let family: Vec<_> = expected
        .iter()
        .filter(|address| address.is_ipv4() == found.is_ipv4())
        .map(IpAddr::to_string)
        .collect();
    match (family.is_empty(), found.is_ipv6()) {
        (false, _) => format!(" ({})", family.join(", ")),
        (true, true) => " (it has none for IPv6, which a CA tries first)".to_owned(),
        (true, false) => " (it has none for IPv4)".to_owned(),
    }
}

#[cfg(test)]
mod tests;
