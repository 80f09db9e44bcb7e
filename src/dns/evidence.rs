//! What was found for a name, before anybody judges it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The CNAME records that are followed for one name. Resolvers of CAs give up after 8 to 11.
pub const MAX_CHAIN: usize = 8;

/// The records found for one name from one point of view.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Evidence {
    /// Who was asked: a resolver's address, or [`AUTHORITATIVE`].
    pub from: String,
    /// The targets of the CNAME records, in order: lower case, no closing dot. Empty: the name is no CNAME.
    pub chain: Vec<String>,
    /// The DNAME records that links of the chain come from, by the name that is an alias.
    pub dnames: BTreeMap<String, Dname>,
    /// The wildcards that make names of a chain without an end aliases, by these names.
    pub wildcards: BTreeMap<String, String>,
    /// What stands at the end of the chain, or at the name itself.
    pub end: ChainEnd,
}

impl Evidence {
    /// The last name that was asked about.
    pub fn last<'a>(&'a self, name: &'a str) -> &'a str {
        self.chain.last().map_or(name, String::as_str)
    }
}

/// A record that makes every name below its owner an alias (RFC 6672); in lower case, without closing dots.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dname {
    /// The name above.
    pub owner: String,
    /// The name that stands in its place.
    pub target: String,
}

/// What a chain of CNAME records ends in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ChainEnd {
    /// A name that is no CNAME, and its addresses. Each family is asked for by itself.
    Addresses {
        /// The A records.
        a: AddressAnswer,
        /// The AAAA records.
        aaaa: AddressAnswer,
    },
    /// A name of which the zone's servers do not say the same: whether it is a CNAME, and of what, by server.
    Differing(BTreeMap<String, String>),
    /// A target that was met before.
    Loop,
    /// A name that does not exist (RFC 1035 §4.1.1, RCODE 3).
    NoSuchName,
    /// More than [`MAX_CHAIN`] CNAME records.
    TooLong,
    /// A name for which the resolver could not tell whether it is a CNAME.
    Unanswered(LookupFailure),
}

/// The answer to a question for addresses of one family.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AddressAnswer {
    /// The zone's servers do not say the same: the addresses by server, none where it knows of none.
    Differing(BTreeMap<String, BTreeSet<IpAddr>>),
    /// These; none: the name exists without such a record.
    Found(BTreeSet<IpAddr>),
    /// The name does not exist.
    NoSuchName,
    /// No answer that says anything about the name.
    Unanswered(LookupFailure),
}

/// Why a question was not answered. Most say nothing about the name, so they are reasons to ask again.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, schemars::JsonSchema, Serialize)]
#[serde(tag = "failure", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LookupFailure {
    /// The resolver knows an answer, but its signatures do not verify (RFC 4035 §5): it gives it only when it is told
    /// not to check.
    Bogus {
        /// The zone that the records are in.
        zone: String,
        /// The DS records that its parent has for it.
        ds: Vec<String>,
        /// What the resolver says of it (RFC 8914).
        explanation: Option<String>,
    },
    /// The server does not speak for the zone, though the zone is delegated to it (RFC 8499 §7).
    Lame {
        /// What it answered.
        answer: String,
    },
    /// The server has handed this name on to another zone.
    Referral,
    /// The server refused with this response code (RFC 1035 §4.1.1); SERVFAIL of a resolver: the name's servers are
    /// unreachable or lame.
    ResponseCode {
        /// The code's name.
        code: String,
        /// What the server says of it (RFC 8914).
        explanation: Option<String>,
    },
    /// No answer in time.
    TimedOut,
    /// The server could not be reached, or its answer not be read.
    Unreachable {
        /// The cause.
        cause: String,
    },
}

impl fmt::Display for LookupFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let explained = |explanation: &Option<String>| match explanation {
            Some(text) => format!(" ({text})"),
            None => String::new(),
        };
        match self {
            Self::Bogus {
                zone, explanation, ..
            } => write!(
                f,
                "the signatures of the zone {zone} do not verify{}",
                explained(explanation)
            ),
            Self::Lame { answer } => write!(f, "did not speak for the zone: {answer}"),
            Self::Referral => f.write_str("answered that another zone begins there"),
            Self::ResponseCode { code, explanation } => {
                write!(f, "answered {code}{}", explained(explanation))
            }
            Self::TimedOut => f.write_str("did not answer in time"),
            Self::Unreachable { cause } => write!(f, "could not be asked: {cause}"),
        }
    }
}

/// [`Evidence::from`] where the servers of each zone were asked.
pub const AUTHORITATIVE: &str = "the zone's servers";

/// The record types that decide where a name leads.
#[derive(
    Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Deserialize, schemars::JsonSchema, Serialize,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum RecordType {
    /// An IPv4 address (RFC 1035 §3.4.1).
    A,
    /// An IPv6 address (RFC 3596 §2.1).
    Aaaa,
    /// Who may issue certificates (RFC 8659).
    Caa,
    /// Another name in this one's place (RFC 1035 §3.3.1).
    Cname,
    /// Another tree in the place of all names below this one (RFC 6672).
    Dname,
    /// A text (RFC 1035 §3.3.14).
    Txt,
}

impl RecordType {
    /// The type of a record that holds `address`.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::A,
            IpAddr::V6(_) => Self::Aaaa,
        }
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Caa => "CAA",
            Self::Cname => "CNAME",
            Self::Dname => "DNAME",
            Self::Txt => "TXT",
        })
    }
}
