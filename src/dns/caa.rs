//! CAA records (RFC 8659): what they say, and which of them hold for a name.

mod permission;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use futures_util::future::join_all;
use hickory_resolver::proto::rr::{Name, RData, RecordType};

pub use permission::CaIdentity;
pub(super) use permission::{Grant, Permission, permission};
pub use value::{IssueValue, IssueValueError};

use super::evidence::{LookupFailure, MAX_CHAIN};
use super::lookup::{Link, Memory, answered, link};
use super::question::Reply;
use super::view::{Questions, View, name_of, written};
use crate::name::DnsName;

/// One CAA record.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct CaaRecord {
    /// The flags; 128 says that a CA which does not know the property must not issue.
    pub flags: u8,
    /// The property's tag in lower case.
    pub tag: String,
    /// The property's value.
    pub value: String,
}

/// The CAA records that hold for a name, from one point of view.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum CaaEvidence {
    /// Neither the name nor any of those above it has one: every CA may issue.
    Absent,
    /// The servers of a zone do not say the same: the records by server.
    Differing {
        /// Where.
        owner: String,
        /// What each server says.
        answers: BTreeMap<String, String>,
    },
    /// The nearest ones on the way up (RFC 8659 §3).
    Relevant {
        /// Where they stand.
        owner: String,
        /// All of them; never empty.
        records: BTreeSet<CaaRecord>,
    },
    /// They could not be had, and a CA must not issue without (RFC 8659 §3).
    Unanswered {
        /// Where.
        owner: String,
        /// Why.
        failure: LookupFailure,
    },
}

impl Questions {
    /// Climbs the tree from `name` to its top-level domain.
    pub(super) async fn caa(&self, view: &View, name: &DnsName) -> (CaaEvidence, Memory) {
        let mut memory = Memory::new();
        let base = match name_of(name) {
            Ok(base) => base,
            Err(failure) => {
                let owner = name.to_string();
                return (CaaEvidence::Unanswered { owner, failure }, memory);
            }
        };
        let mut tree = vec![base];
        while let Some(last) = tree.last()
            && last.num_labels() > 1
        {
            tree.push(last.base_name());
        }
        let found = join_all(tree.iter().map(|owner| self.caa_at(view, owner))).await;
        for (owner, (set, heard)) in tree.iter().zip(found) {
            memory.lifetime = memory.lifetime.max(heard.lifetime);
            memory.own &= heard.own;
            let owner = written(owner);
            match set {
                Set::Records(records) if records.is_empty() => {}
                Set::Records(records) => return (CaaEvidence::Relevant { owner, records }, memory),
                Set::Differing(answers) => return (CaaEvidence::Differing { owner, answers }, memory),
                Set::Unanswered(failure) => return (CaaEvidence::Unanswered { owner, failure }, memory),
            }
        }
        (CaaEvidence::Absent, memory)
    }

    /// The records of one name, or of the one that it is an alias of.
    async fn caa_at(&self, view: &View, owner: &Name) -> (Set, Memory) {
        let mut memory = Memory::new();
        let mut current = owner.clone();
        for _ in 0..=MAX_CHAIN {
            let voices = match view {
                // What stands above the zone is other people's, and as public as can be: a resolver knows it.
                View::Authoritative(zone) if !zone.apex.zone_of(&current) && current.zone_of(&zone.apex) => {
                    self.hear_resolvers(&current, RecordType::CAA).await
                }
                _ => self.hear(view, &current, RecordType::CAA).await,
            };
            memory.heard(&voices);
            let replies = match answered(&voices) {
                Ok(replies) => replies,
                Err(failure) => return (Set::Unanswered(failure), memory),
            };
            let mut sets: BTreeSet<_> = replies.iter().map(|(_, reply)| records(reply)).collect();
            let first = sets.pop_first().unwrap_or_default();
            if !sets.is_empty() {
                let said = replies
                    .iter()
                    .map(|(by, reply)| ((*by).to_owned(), text(&records(reply))));
                return (Set::Differing(said.collect()), memory);
            }
            match link(&voices, &current) {
                Link::Alias(target) if first.is_empty() => current = target,
                _ => return (Set::Records(first), memory),
            }
        }
        (Set::Records(BTreeSet::new()), memory)
    }
}

enum Set {
    Differing(BTreeMap<String, String>),
    Records(BTreeSet<CaaRecord>),
    Unanswered(LookupFailure),
}

fn records(reply: &Reply) -> BTreeSet<CaaRecord> {
    let caa = reply.records.iter().filter_map(|record| match &record.data {
        RData::CAA(caa) => Some(CaaRecord {
            flags: caa.flags(),
            tag: caa.tag.to_ascii_lowercase(),
            value: String::from_utf8_lossy(&caa.value).into_owned(),
        }),
        _ => None,
    });
    caa.collect()
}

/// Records as a list in words.
pub(super) fn text(records: &BTreeSet<CaaRecord>) -> String {
    let texts: Vec<_> = records.iter().map(CaaRecord::to_string).collect();
    match texts.is_empty() {
        true => "none".to_owned(),
        false => texts.join(", "),
    }
}

impl fmt::Display for CaaRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As a character-string of a zone file (RFC 1035 §5.1).
        write!(f, "{} {} \"", self.flags, self.tag)?;
        for character in self.value.chars() {
            match character {
                '"' | '\\' => write!(f, "\\{character}")?,
                ' '..='~' => write!(f, "{character}")?,
                other => {
                    for byte in other.to_string().bytes() {
                        write!(f, "\\{byte:03}")?;
                    }
                }
            }
        }
        f.write_str("\"")
    }
}
