//! What stands in the way of an order.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::evidence::{AUTHORITATIVE, LookupFailure, RecordType};
use super::verdict::listed;

/// One thing that stands in the way of an order.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, schemars::JsonSchema, Serialize, thiserror::Error)]
#[serde(tag = "problem", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Obstacle {
    /// A zone whose signatures do not verify: to a resolver that checks them, it is not there (RFC 4035 §5).
    #[error(
        "{owner}: the signatures of the zone {zone} do not verify{}; sign it anew, or take its DS record away until then",
        explained(explanation)
    )]
    BadSignatures {
        /// The name asked about.
        owner: String,
        /// The zone.
        zone: String,
        /// The DS records at its parent.
        ds: Vec<String>,
        /// What the resolver says of it.
        explanation: Option<String>,
    },
    /// CAA records that let others issue only.
    #[error("the CAA records of {owner} let no certificate be issued by {}: {}", ca(identities), records.join(", "))]
    CaaForbids {
        /// Where they stand.
        owner: String,
        /// Those that decide.
        records: Vec<String>,
        /// The names by which they could mean the CA.
        identities: Vec<String>,
    },
    /// A CAA property that no CA knows, and none may pass over.
    #[error("the CAA records of {owner} demand that the CA knows the property `{tag}`")]
    CriticalProperty {
        /// Where it stands.
        owner: String,
        /// Its tag.
        tag: String,
    },
    /// A CNAME whose target does not exist, or has no address.
    #[error("{name} is an alias of {}, which has no address", aliased(target))]
    DanglingAlias {
        /// The name asked for.
        name: String,
        /// The end of its chain; a dot for the root, of which names without a host are made aliases.
        target: String,
    },
    /// Servers of one zone that do not say the same: a change has not reached them all.
    #[error(
        "the servers of the zone of {owner} do not agree on its {record} record: {}",
        by_server(answers)
    )]
    Differing {
        /// The name asked about.
        owner: String,
        /// The record type asked for.
        record: RecordType,
        /// What each says.
        answers: BTreeMap<String, String>,
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
    /// A zone whose servers do not speak for it.
    #[error(
        "none of the servers that {owner} is delegated to speaks for its zone {zone}: {}",
        each_server(answers)
    )]
    LameDelegation {
        /// The name asked about.
        owner: String,
        /// The zone.
        zone: String,
        /// What each server says.
        answers: BTreeMap<String, String>,
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
    /// No challenge can prove the right to the name.
    #[error("no challenge can be answered for {name}: {}", reasons.join("; "))]
    NoChallenge {
        /// The name.
        name: String,
        /// Why each one cannot.
        reasons: Vec<String>,
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
    /// An IP address in a certificate that is not the gateway's: a CA that calls it finds somebody else.
    #[error(
        "{address} is not an address of this gateway ({}); add it to `addresses` of `[gateway]`, or take it out of the \
         certificate",
        listed(expected)
    )]
    NotOurs {
        /// The address.
        address: IpAddr,
        /// The gateway's addresses.
        expected: BTreeSet<IpAddr>,
    },
    /// The text that `ownership` asks for is not there.
    #[error("{owner} has no TXT record \"{wanted}\"")]
    NotOwned {
        /// Where it should stand.
        owner: String,
        /// What it should hold.
        wanted: String,
    },
    /// CAA records that let the CA issue to other accounts only (RFC 8657 §3).
    #[error("the CAA records of {owner} let the CA issue to {} only, and {}", pinned.join(", "), own(account))]
    OtherAccount {
        /// Where they stand.
        owner: String,
        /// The accounts that they name.
        pinned: Vec<String>,
        /// The gateway's.
        account: Option<String>,
    },
    /// A check that had no more time.
    #[error("{name} could not be looked at within {seconds} s; ask about fewer names at a time")]
    Overdue {
        /// The name asked for.
        name: String,
        /// The time that there was.
        seconds: u64,
    },
    /// A zone none of whose servers answers.
    #[error("none of the servers of the zone {zone} answers: {}", each_server(answers))]
    SilentServers {
        /// The zone.
        zone: String,
        /// What came of asking each server.
        answers: BTreeMap<String, String>,
    },
    /// A resolver that knows what was before, while the zone is right already: the CA's may do so as well.
    #[error("{resolver} still says, for {seconds} s at most, what was before: {said}")]
    Stale {
        /// The resolver.
        resolver: String,
        /// What it says.
        said: String,
        /// For how long it may go on.
        seconds: u32,
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
    #[error("{owner} {record}: {from} {failure}")]
    Unanswered {
        /// The name asked about.
        owner: String,
        /// Who was asked.
        from: String,
        /// The record type asked for.
        record: RecordType,
        /// Why there is no answer.
        failure: LookupFailure,
    },
}

impl Obstacle {
    /// A question that brought no answer.
    pub(super) fn unanswered(owner: &str, record: RecordType, from: &str, failure: &LookupFailure) -> Self {
        let owner = owner.to_owned();
        match failure {
            LookupFailure::Bogus {
                zone,
                ds,
                explanation,
            } => Self::BadSignatures {
                owner,
                zone: zone.clone(),
                ds: ds.clone(),
                explanation: explanation.clone(),
            },
            _ => Self::Unanswered {
                owner,
                record,
                from: from.to_owned(),
                failure: failure.clone(),
            },
        }
    }

    /// The name whose aliases come back to themselves, where that is it.
    pub(super) fn loop_of(&self) -> Option<&str> {
        match self {
            Self::Loop { name, .. } => Some(name),
            _ => None,
        }
    }

    /// The name that the servers of its zone were asked about and said nothing.
    pub(super) fn unheard_by_servers(&self) -> Option<&str> {
        match self {
            Self::Unanswered {
                owner,
                from,
                failure: LookupFailure::TimedOut | LookupFailure::Unreachable { .. },
                ..
            } if from == AUTHORITATIVE => Some(owner),
            _ => None,
        }
    }

    /// Whether it is that no server speaks for the zone.
    pub(super) fn is_lame(&self) -> bool {
        matches!(
            self,
            Self::Unanswered {
                failure: LookupFailure::Lame { .. },
                ..
            }
        )
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

fn aliased(target: &str) -> &str {
    match target {
        "." => "the root of DNS (`.`)",
        name => name,
    }
}

fn explained(explanation: &Option<String>) -> String {
    explanation
        .as_ref()
        .map_or_else(String::new, |text| format!(" ({text})"))
}

fn by_server(answers: &BTreeMap<String, String>) -> String {
    let texts: Vec<_> = answers
        .iter()
        .map(|(by, said)| format!("{by} says {said}"))
        .collect();
    texts.join(", ")
}

fn each_server(failures: &BTreeMap<String, String>) -> String {
    let texts: Vec<_> = failures.iter().map(|(by, did)| format!("{by} {did}")).collect();
    texts.join(", ")
}

fn ca(identities: &[String]) -> String {
    match identities.is_empty() {
        true => "anybody".to_owned(),
        false => identities.join(" or "),
    }
}

fn own(account: &Option<String>) -> String {
    match account {
        Some(account) => format!("this gateway's is {account}"),
        None => "this gateway has none yet: an order in spite of DNS (`certgate cert renew NAME --even-if dns`) registers \
                 it, and `certgate issuer list` shows its URL, for a record to name"
            .to_owned(),
    }
}
