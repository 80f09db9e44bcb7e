//! What was found for a name, before anybody judges it.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The CNAME records that are followed for one name. Resolvers of CAs give up after 8 to 11.
pub const MAX_CHAIN: usize = 8;

/// The records found for one name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Evidence {
    /// The targets of the CNAME records, in order: lower case, no closing dot. Empty: the name is no CNAME.
    pub chain: Vec<String>,
    /// What stands at the end of the chain, or at the name itself.
    pub end: ChainEnd,
}

impl Evidence {
    /// The last name that was asked about.
    pub fn last<'a>(&'a self, name: &'a str) -> &'a str {
        self.chain.last().map_or(name, String::as_str)
    }
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
    /// These; none: the name exists without such a record.
    Found(BTreeSet<IpAddr>),
    /// The name does not exist.
    NoSuchName,
    /// No answer that says anything about the name.
    Unanswered(LookupFailure),
}

/// Why a question was not answered. It says nothing about the name, so it is a reason to ask again.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, schemars::JsonSchema, Serialize)]
#[serde(tag = "failure", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LookupFailure {
    /// The resolver refused with this response code (RFC 1035 §4.1.1), mostly SERVFAIL: the name's servers are
    /// unreachable, lame or badly signed.
    ResponseCode {
        /// The code's name.
        code: String,
    },
    /// No answer in time.
    TimedOut,
    /// The resolver could not be reached, or its answer not be read.
    Unreachable {
        /// The cause.
        cause: String,
    },
}

impl fmt::Display for LookupFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ResponseCode { code } => write!(f, "the resolver answered {code}"),
            Self::TimedOut => f.write_str("the resolver did not answer in time"),
            Self::Unreachable { cause } => write!(f, "the resolver could not be asked: {cause}"),
        }
    }
}

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
    /// Another name in this one's place (RFC 1035 §3.3.1).
    Cname,
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
            Self::Cname => "CNAME",
        })
    }
}
