//! CAA records (RFC 8659): what they say, and which of them hold for a name.

mod permission;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use futures_util::future::join_all;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

pub use permission::CaIdentity;
pub(super) use permission::{Grant, Permission, permission};
pub use value::{IssueValue, IssueValueError};

use super::endless::{Endless, Way};
use super::evidence::LookupFailure;
use super::lookup::{Link, Memory, answered, link};
use super::presentation::{quoted, written};
use super::question::Reply;
use super::view::{Questions, View, Voice, name_of};
use crate::name::DnsName;

/// One CAA record.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct CaaRecord {
    /// The flags; 128 says that a CA which does not know the property must not issue.
    pub flags: u8,
    /// The property's tag, as it is written there: letters and digits, whose case says nothing.
    pub tag: String,
    /// The property's value.
    pub value: Vec<u8>,
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
        /// The name that is an alias of it, where one is.
        alias: Option<String>,
        /// All of them; never empty.
        records: BTreeSet<CaaRecord>,
    },
    /// They stand at the end of aliases that have none, so that no CA can have them.
    Endless(Endless),
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
        for (asked, (set, end, heard)) in tree.iter().zip(found) {
            memory.lifetime = memory.lifetime.max(heard.lifetime);
            memory.own &= heard.own;
            let owner = written(&end);
            match set {
                Set::Records(records) if records.is_empty() => {}
                Set::Records(records) => {
                    let alias = (*asked != end).then(|| written(asked));
                    let evidence = CaaEvidence::Relevant {
                        owner,
                        alias,
                        records,
                    };
                    return (evidence, memory);
                }
                Set::Differing(answers) => return (CaaEvidence::Differing { owner, answers }, memory),
                Set::Endless(endless) => return (CaaEvidence::Endless(endless), memory),
                Set::Unanswered(failure) => return (CaaEvidence::Unanswered { owner, failure }, memory),
            }
        }
        (CaaEvidence::Absent, memory)
    }

    /// The records of one name, or of the one that it is an alias of, and which that is.
    async fn caa_at(&self, view: &View, owner: &Name) -> (Set, Name, Memory) {
        let mut memory = Memory::new();
        let mut current = owner.clone();
        let (mut way, mut failed) = (Way::from(owner), None);
        loop {
            let mut voices = match view {
                // What stands above the zone is other people's, and as public as can be: a resolver knows it.
                View::Authoritative(zone) if !zone.apex.zone_of(&current) && current.zone_of(&zone.apex) => {
                    self.hear_resolvers(&current, RecordType::CAA).await
                }
                _ => self.hear(view, &current, RecordType::CAA).await,
            };
            if let Some(heard) = self.alias_all_the_same(view, &current, &voices).await {
                let failure = answered(&voices).err();
                failed = failed.or_else(|| Some((failure?, current.clone())));
                voices = heard;
            }
            memory.heard(&voices);
            let target = match answered(&voices) {
                Ok(replies) => match (found(&voices, &replies, &current), failed) {
                    (Found::Alias(target), before) => {
                        failed = before;
                        target
                    }
                    (Found::End(set, end), None) => return (set, end, memory),
                    // The aliases come to an end, so it is no loop that failed, and a CA fails of it as well.
                    (Found::End(..), Some((failure, owner))) => {
                        return (Set::Unanswered(failure), owner, memory);
                    }
                },
                Err(failure) => return (Set::Unanswered(failure), current, memory),
            };
            if let Err(endless) = self.go_on(view, &mut way, &target, &voices).await {
                return (Set::Endless(endless), current, memory);
            }
            current = target;
        }
    }
}

enum Set {
    Differing(BTreeMap<String, String>),
    Endless(Endless),
    Records(BTreeSet<CaaRecord>),
    Unanswered(LookupFailure),
}

/// What servers say of a name together.
enum Found {
    Alias(Name),
    /// The records that hold for it, and where they stand.
    End(Set, Name),
}

/// What `voices` say of `current`, of which `replies` are answers.
fn found(voices: &[Voice], replies: &[(&str, &Reply)], current: &Name) -> Found {
    let mut sets: BTreeSet<_> = replies.iter().map(|(_, reply)| records(reply)).collect();
    let first = sets.pop_first().unwrap_or_default();
    if !sets.is_empty() {
        let said = replies
            .iter()
            .map(|(by, reply)| ((*by).to_owned(), text(&records(reply))));
        return Found::End(Set::Differing(said.collect()), current.clone());
    }
    if let Some(end) = replies.iter().find_map(|(_, reply)| owner_of_records(reply)) {
        return Found::End(Set::Records(first), end.clone());
    }
    match link(voices, current) {
        Link::Alias(target) => Found::Alias(target),
        Link::Differing(answers) => Found::End(Set::Differing(answers), current.clone()),
        _ => Found::End(Set::Records(first), current.clone()),
    }
}

/// Where the records stand: a resolver follows aliases by itself.
fn owner_of_records(reply: &Reply) -> Option<&Name> {
    let is_caa = |record: &&Record| matches!(record.data, RData::CAA(_));
    reply.records.iter().find(is_caa).map(|record| &record.name)
}

fn records(reply: &Reply) -> BTreeSet<CaaRecord> {
    let caa = reply.records.iter().filter_map(|record| match &record.data {
        RData::CAA(caa) => Some(CaaRecord {
            flags: caa.flags(),
            tag: caa.tag.clone(),
            value: caa.value.clone(),
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
        write!(f, "{} {} {}", self.flags, self.tag, quoted(&self.value))
    }
}
