//! The judgement: a pure function of what was found and of what should be.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::evidence::{AddressAnswer, ChainEnd, Evidence, MAX_CHAIN, RecordType};
use super::obstacle::Obstacle;
use super::remedy::{Change, remedy};
use crate::clock::Timestamp;
use crate::name::DnsName;

/// Where names should lead: `[gateway]`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Target {
    /// The gateway's addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// The name that a CNAME chain may pass through.
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
        /// What was not answered, or is about to change; never empty.
        obstacles: Vec<Obstacle>,
        /// When it will be as it should, where that is known.
        until: Option<Timestamp>,
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
            Self::Stop { obstacles, .. } | Self::Wait { obstacles, .. } => {
                let texts: Vec<_> = obstacles.iter().map(Obstacle::to_string).collect();
                texts.join("; ")
            }
        }
    }

    /// What stands in the way; empty where nothing does.
    pub fn obstacles(&self) -> &[Obstacle] {
        match self {
            Self::Go | Self::Skipped { .. } => &[],
            Self::Stop { obstacles, .. } | Self::Wait { obstacles, .. } => obstacles,
        }
    }

    /// When what is waited for is over, where that is known.
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Wait { until, .. } => *until,
            _ => None,
        }
    }

    /// One that waits, for nobody knows how long; signatures that do not verify are no reason to
    /// wait.
    pub(super) fn wait(obstacle: Obstacle) -> Self {
        match obstacle {
            Obstacle::BadSignatures { ref ds, .. } => Self::Stop {
                remedy: ds.iter().cloned().map(Change::Remove).collect(),
                alternative: Vec::new(),
                obstacles: vec![obstacle],
            },
            _ => Self::Wait {
                obstacles: vec![obstacle],
                until: None,
            },
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
    /// The issuer is a local CA.
    #[error("not needed: a local CA signs whatever DNS says")]
    LocalCa,
    /// The configuration does not say where names should lead.
    #[error("not checked: `[gateway]` with `addresses` or `hostname` is not configured")]
    NoGateway,
    /// `dns_checks = "off"`.
    #[error("not checked: `dns_checks` is off")]
    Off,
}

/// Judges `evidence` for `name`.
///
/// A name leads here when it has an address and each one it has is the gateway's; or, where the configuration says
/// no addresses, when its CNAME chain passes through the gateway's hostname and ends at some address. Each family counts
/// by itself: a CA that finds one wrong AAAA record calls that and nothing else. A record that is known to be wrong weighs more than a
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
    let unanswered =
        |owner: &str, record, failure| Obstacle::unanswered(owner, record, &evidence.from, failure);
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
            return Verdict::wait(unanswered(last, RecordType::Cname, failure));
        }
        ChainEnd::Differing(answers) => {
            return Verdict::wait(Obstacle::Differing {
                owner: last.to_owned(),
                record: RecordType::Cname,
                answers: answers.clone(),
            });
        }
    };

    let mut found = 0;
    let mut wrong = Vec::new();
    let mut open = Vec::new();
    for (record, answer) in [(RecordType::A, a), (RecordType::Aaaa, aaaa)] {
        let foreign = |address: &IpAddr| Obstacle::ForeignAddress {
            owner: last.to_owned(),
            record,
            address: *address,
            expected: target.addresses.clone(),
        };
        match answer {
            AddressAnswer::Found(addresses) => {
                found += addresses.len();
                let others = addresses.iter().filter(|address| !target.owns(evidence, address));
                wrong.extend(others.map(foreign));
            }
            AddressAnswer::Differing(answers) => {
                let owned = |set: &BTreeSet<IpAddr>| set.iter().all(|address| target.owns(evidence, address));
                let all: BTreeSet<_> = answers.values().flatten().collect();
                found += all.len();
                if answers.values().all(|set| !set.is_empty() && owned(set)) {
                    // Each gives some of ours, as servers do that spread the load.
                } else if answers.values().all(|set| !owned(set)) {
                    let others = all.into_iter().filter(|address| !target.owns(evidence, address));
                    wrong.extend(others.map(foreign));
                } else {
                    open.push(Obstacle::Differing {
                        owner: last.to_owned(),
                        record,
                        answers: answers
                            .iter()
                            .map(|(by, set)| (by.clone(), listed(set)))
                            .collect(),
                    });
                }
            }
            AddressAnswer::NoSuchName => {}
            AddressAnswer::Unanswered(failure) => open.push(unanswered(last, record, failure)),
        }
    }
    let bogus = |obstacle: &&Obstacle| matches!(obstacle, Obstacle::BadSignatures { .. });
    if let Some(bogus) = open.iter().find(bogus) {
        Verdict::wait(bogus.clone())
    } else if !wrong.is_empty() {
        stop(wrong)
    } else if !open.is_empty() {
        Verdict::Wait {
            obstacles: open,
            until: None,
        }
    } else if found == 0 {
        let absent = [a, aaaa].contains(&&AddressAnswer::NoSuchName);
        stop(vec![nowhere(asked, evidence, absent)])
    } else {
        Verdict::Go
    }
}

/// Addresses as a list in words.
pub(super) fn listed(addresses: &BTreeSet<IpAddr>) -> String {
    let texts: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
    match texts.is_empty() {
        true => "none".to_owned(),
        false => texts.join(", "),
    }
}

impl Target {
    /// The gateway's hostname, when the CNAME chain passes through it: what is wrong behind it is no affair of the name.
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

    /// Whether the chain may end at `address`. Where nothing is said of addresses, what the hostname resolves to is the
    /// operator's affair: an address translation or a balancer may stand in between.
    pub(super) fn owns(&self, evidence: &Evidence, address: &IpAddr) -> bool {
        self.addresses.contains(address) || (self.addresses.is_empty() && self.is_alias(evidence))
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

#[cfg(test)]
mod tests;
