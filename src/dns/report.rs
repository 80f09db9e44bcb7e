//! The verdict on one name with what it rests on: for people as a table, for programs as JSON.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::evidence::{AddressAnswer, ChainEnd, Evidence, RecordType};
use super::verdict::{Target, Verdict, judge};
use crate::name::{DnsName, NamePattern};

/// The verdict on one name of a certificate.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, schemars::JsonSchema, Serialize)]
pub struct DomainVerdict {
    /// The name as it stands in the certificate.
    pub domain: NamePattern,
    /// Whether to order.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// [`Verdict::reason`], for readers of the JSON form.
    pub reason_text: String,
    /// Each record that was looked at, in the order in which a resolver meets them.
    pub rows: Vec<Row>,
}

impl DomainVerdict {
    /// A verdict that rests on no record.
    pub(super) fn without_records(domain: NamePattern, verdict: Verdict) -> Self {
        Self {
            domain,
            reason_text: verdict.reason(),
            verdict,
            rows: Vec::new(),
        }
    }

    /// Judges `evidence` and lists it.
    pub(super) fn of(name: &DnsName, target: &Target, evidence: &Evidence) -> Self {
        let verdict = judge(name, target, evidence);
        Self {
            domain: NamePattern::Exact(name.clone()),
            reason_text: verdict.reason(),
            verdict,
            rows: rows(name.as_str(), target, evidence),
        }
    }
}

impl fmt::Display for DomainVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.domain, self.verdict)?;
        if !self.reason_text.is_empty() {
            write!(f, "\n  {}", self.reason_text)?;
        }
        let Verdict::Stop {
            remedy, alternative, ..
        } = &self.verdict
        else {
            return Ok(());
        };
        for change in remedy {
            write!(f, "\n  {change}")?;
        }
        if !alternative.is_empty() {
            write!(f, "\n  or:")?;
        }
        for change in alternative {
            write!(f, "\n  {change}")?;
        }
        Ok(())
    }
}

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

fn rows(name: &str, target: &Target, evidence: &Evidence) -> Vec<Row> {
    let mut rows = chain_rows(name, target, evidence);
    let last = evidence.last(name);
    let row = |record, found: &str, expected: String, state| Row {
        owner: last.to_owned(),
        record,
        found: found.to_owned(),
        expected,
        state,
    };
    match &evidence.end {
        ChainEnd::Addresses { a, aaaa } => {
            let any = [a, aaaa]
                .iter()
                .any(|answer| matches!(answer, AddressAnswer::Found(found) if !found.is_empty()));
            for (record, answer) in [(RecordType::A, a), (RecordType::Aaaa, aaaa)] {
                let expected = expected(target, evidence, record);
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
                    AddressAnswer::NoSuchName => rows.push(row(record, "no such name", expected, none)),
                    AddressAnswer::Unanswered(failure) => {
                        rows.push(row(record, &failure.to_string(), expected, RowState::Unknown));
                    }
                }
            }
        }
        ChainEnd::Loop | ChainEnd::TooLong => {}
        ChainEnd::NoSuchName => {
            let families = [RecordType::A, RecordType::Aaaa];
            rows.extend(families.into_iter().filter_map(|record| {
                let expected = expected(target, evidence, record);
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
    let verdict = judge_chain(target, evidence);
    let owners = std::iter::once(name).chain(evidence.chain.iter().map(String::as_str));
    owners
        .zip(&evidence.chain)
        .map(|(owner, link)| Row {
            owner: owner.to_owned(),
            record: RecordType::Cname,
            found: link.clone(),
            expected: hostname.to_owned(),
            state: verdict,
        })
        .collect()
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

/// The addresses that the record could hold; none where the chain already passes through the hostname.
fn expected(target: &Target, evidence: &Evidence, record: RecordType) -> String {
    if target.is_alias(evidence) {
        return String::new();
    }
    let addresses: Vec<_> = target.of_type(record).map(IpAddr::to_string).collect();
    addresses.join(", ")
}
