//! Records beside what they should be, for people to look over.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::caa::{self, CaaEvidence};
use super::evidence::{AddressAnswer, ChainEnd, Evidence, RecordType};
use super::ownership::{OwnershipEvidence, Withheld};
use super::presentation::shown;
use super::remedy::Change;
use super::verdict::{Target, Verdict, listed};
use crate::name::DnsName;

/// One record beside what it should be.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, schemars::JsonSchema, Serialize)]
pub struct Row {
    /// The record's owner.
    pub owner: String,
    /// The record's type.
    pub record: RecordType,
    /// What it holds, or why nothing is known.
    pub found: String,
    /// What it should hold; empty where nothing is wanted.
    pub expected: String,
    /// How the two compare.
    pub state: RowState,
    /// Who says so: resolvers by their address, and the zone's servers.
    pub said_by: Vec<String>,
}

/// How a record compares with what it should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, schemars::JsonSchema, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowState {
    /// There is no such record, and there need not be one, or another one does.
    Absent,
    /// There is nothing where something should be.
    Missing,
    /// It leads here.
    Right,
    /// It could not be found out.
    Unknown,
    /// It leads elsewhere.
    Wrong,
}

impl fmt::Display for RowState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Absent => "absent",
            Self::Missing => "missing",
            Self::Right => "right",
            Self::Unknown => "unknown",
            Self::Wrong => "wrong",
        })
    }
}

/// The records that lead somewhere, or should.
pub(super) fn rows(name: &str, target: &Target, evidence: &Evidence) -> Vec<Row> {
    let mut rows = chain_rows(name, target, evidence);
    let last = evidence.last(name);
    let row = |record, found: &str, expected: String, state| Row {
        owner: last.to_owned(),
        record,
        found: found.to_owned(),
        expected,
        state,
        said_by: vec![evidence.from.clone()],
    };
    match &evidence.end {
        ChainEnd::Addresses { a, aaaa } => {
            let any = [a, aaaa]
                .iter()
                .any(|answer| matches!(answer, AddressAnswer::Found(found) if !found.is_empty()));
            for (record, answer) in [(RecordType::A, a), (RecordType::Aaaa, aaaa)] {
                let expected = expected(target, record);
                let none = if any || expected.is_empty() {
                    RowState::Absent
                } else {
                    RowState::Missing
                };
                match answer {
                    AddressAnswer::Found(found) if found.is_empty() => {
                        rows.push(row(record, "none", expected, none));
                    }
                    AddressAnswer::Found(found) => rows.extend(found.iter().map(|address| {
                        let state = if target.owns(evidence, address) {
                            RowState::Right
                        } else {
                            RowState::Wrong
                        };
                        row(record, &address.to_string(), expected.clone(), state)
                    })),
                    AddressAnswer::Differing(answers) => {
                        for (by, set) in answers {
                            let wrong = set.iter().any(|address| !target.owns(evidence, address));
                            let state = match (set.is_empty(), wrong) {
                                (true, _) => RowState::Missing,
                                (false, true) => RowState::Wrong,
                                (false, false) => RowState::Right,
                            };
                            rows.push(Row {
                                said_by: vec![by.clone()],
                                ..row(record, &listed(set), expected.clone(), state)
                            });
                        }
                    }
                    AddressAnswer::NoSuchName => rows.push(row(record, "no such name", expected, none)),
                    AddressAnswer::Unanswered(failure) => {
                        rows.push(row(record, &failure.to_string(), expected, RowState::Unknown));
                    }
                }
            }
        }
        ChainEnd::Loop | ChainEnd::TooLong => {}
        ChainEnd::Differing(answers) => rows.extend(answers.iter().map(|(by, said)| Row {
            said_by: vec![by.clone()],
            ..row(RecordType::Cname, said, String::new(), RowState::Unknown)
        })),
        ChainEnd::NoSuchName => {
            let families = [RecordType::A, RecordType::Aaaa];
            rows.extend(families.into_iter().filter_map(|record| {
                let expected = expected(target, record);
                (!expected.is_empty()).then(|| row(record, "no such name", expected, RowState::Missing))
            }));
        }
        ChainEnd::Unanswered(failure) => {
            let found = failure.to_string();
            rows.push(row(RecordType::Cname, &found, String::new(), RowState::Unknown));
        }
    }
    rows
}

fn chain_rows(name: &str, target: &Target, evidence: &Evidence) -> Vec<Row> {
    let hostname = target.hostname.as_ref().map(DnsName::as_str).unwrap_or_default();
    let arrival = judge_chain(target, evidence);
    let right = right_links(target, evidence);
    let owners = std::iter::once(name).chain(evidence.chain.iter().map(String::as_str));
    owners
        .zip(&evidence.chain)
        .enumerate()
        .map(|(place, (owner, link))| {
            let dname = evidence.dnames.get(owner);
            let (owner, record, found) = match dname {
                Some(dname) => (dname.owner.as_str(), RecordType::Dname, &dname.target),
                None => (owner, RecordType::Cname, link),
            };
            Row {
                owner: owner.to_owned(),
                record,
                found: found.clone(),
                expected: match dname {
                    Some(_) => String::new(),
                    None => hostname.to_owned(),
                },
                state: if place < right { RowState::Right } else { arrival },
                said_by: vec![evidence.from.clone()],
            }
        })
        .collect()
}

/// How many links are right wherever the chain arrives: those up to the hostname, whose own records are compared then.
fn right_links(target: &Target, evidence: &Evidence) -> usize {
    let has_end = matches!(evidence.end, ChainEnd::Addresses { .. } | ChainEnd::NoSuchName);
    if target.addresses.is_empty() || !has_end {
        return 0;
    }
    let hostname = target.alias_in(evidence);
    let place = hostname.and_then(|hostname| evidence.chain.iter().position(|link| link == hostname));
    place.map_or(0, |place| place + 1)
}

fn judge_chain(target: &Target, evidence: &Evidence) -> RowState {
    let arrives = match &evidence.end {
        ChainEnd::Addresses { a, aaaa } => [a, aaaa].iter().any(|answer| match answer {
            AddressAnswer::Found(found) => found.iter().any(|address| target.owns(evidence, address)),
            _ => false,
        }),
        _ => false,
    };
    match &evidence.end {
        _ if arrives => RowState::Right,
        ChainEnd::Unanswered(_) => RowState::Unknown,
        ChainEnd::Addresses { a, aaaa }
            if [a, aaaa]
                .iter()
                .any(|answer| matches!(answer, AddressAnswer::Unanswered(_))) =>
        {
            RowState::Unknown
        }
        _ => RowState::Wrong,
    }
}

/// The addresses that the record could hold.
fn expected(target: &Target, record: RecordType) -> String {
    let addresses: Vec<_> = target.of_type(record).map(IpAddr::to_string).collect();
    addresses.join(", ")
}

/// The CAA records that hold for `name`.
///
/// `is_judged` where it is known which of them mean the CA.
pub(super) fn caa_row(
    name: &str,
    evidence: &CaaEvidence,
    verdict: &Verdict,
    is_judged: bool,
    from: &str,
) -> Row {
    let (owner, found) = match evidence {
        CaaEvidence::Absent => (name, "none".to_owned()),
        CaaEvidence::Differing { owner, .. } => (owner.as_str(), "not the same everywhere".to_owned()),
        CaaEvidence::Endless(endless) => (endless.name.as_str(), ENDLESS.to_owned()),
        CaaEvidence::Relevant { owner, records, .. } => (owner.as_str(), caa::text(records)),
        CaaEvidence::Unanswered { owner, failure } => (owner.as_str(), failure.to_string()),
    };
    let wanted = verdict.remedy().iter().find_map(|change| match change {
        Change::Add(record) => record.split_once(" CAA ").map(|(_, data)| data.to_owned()),
        Change::Remove(_) => None,
    });
    Row {
        owner: owner.to_owned(),
        record: RecordType::Caa,
        found,
        expected: wanted.unwrap_or_default(),
        state: match (evidence, verdict) {
            (CaaEvidence::Absent, _) => RowState::Absent,
            (CaaEvidence::Relevant { .. }, Verdict::Stop { .. }) => RowState::Wrong,
            (CaaEvidence::Relevant { .. }, _) if is_judged => RowState::Right,
            _ => RowState::Unknown,
        },
        said_by: vec![from.to_owned()],
    }
}

/// The texts that an owner shows.
pub(super) fn ownership_rows(wanted: &str, evidence: &OwnershipEvidence) -> Vec<Row> {
    let row = |owner: &str, found: &str, state| Row {
        owner: owner.to_owned(),
        record: RecordType::Txt,
        found: found.to_owned(),
        expected: wanted.to_owned(),
        state,
        said_by: vec![evidence.from.clone()],
    };
    let has_it = |texts: &Vec<Vec<u8>>| texts.iter().any(|text| text == wanted.as_bytes());
    let found = evidence
        .texts
        .iter()
        .find(|(_, texts)| texts.as_ref().is_ok_and(has_it));
    if let Some((owner, _)) = found {
        return vec![row(owner, wanted, RowState::Right)];
    }
    let Some((owner, texts)) = evidence.texts.first() else {
        return Vec::new();
    };
    vec![match texts {
        Ok(texts) if texts.is_empty() => row(owner, "none", RowState::Missing),
        Ok(texts) => {
            let texts: Vec<_> = texts.iter().map(|text| shown(text)).collect();
            row(owner, &texts.join(", "), RowState::Wrong)
        }
        Err(Withheld::Endless(_)) => row(owner, ENDLESS, RowState::Unknown),
        Err(Withheld::Unanswered(failure)) => row(owner, &failure.to_string(), RowState::Unknown),
    }]
}

const ENDLESS: &str = "behind aliases without an end";
