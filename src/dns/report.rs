//! The verdict on one name with what it rests on: for people as a table, for programs as JSON.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::challenge::{Choice, choose};
use super::checker::Conditions;
use super::obstacle::Obstacle;
use super::remedy::Change;
use super::row::Row;
use super::state::{DomainState, Steps};
use super::verdict::{SkipReason, Verdict};
use crate::clock::Timestamp;
use crate::config::ChallengeType;
use crate::name::NamePattern;

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
    /// How far the name has come.
    pub state: DomainState,
    /// The challenges that can prove the right to it, in the order in which they are tried.
    pub challenges: Vec<ChallengeType>,
    /// What keeps the name from leading here, where dns-01 proves the right to it all the same: only the service needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_pointed: Option<Verdict>,
    /// What is worth knowing, and stands in nobody's way.
    pub notes: Vec<String>,
    /// Each record that was looked at, in the order in which a resolver meets them.
    pub rows: Vec<Row>,
    /// What is left where dns-01 turns out to fail.
    #[serde(skip)]
    pub(crate) fallback: Fallback,
}

/// What a verdict is without dns-01.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Fallback {
    /// How far the name has come then.
    state: Option<DomainState>,
    /// Whether another challenge can be answered as soon as the name leads here.
    needs_address: bool,
}

impl DomainVerdict {
    /// A verdict that rests on no record.
    pub(super) fn unchecked(domain: &NamePattern, verdict: Verdict, conditions: &Conditions) -> Self {
        let listed = conditions.challenges.as_deref().unwrap_or_default();
        let choice = choose(domain, listed, conditions.doors, None);
        let verdict = match conditions.challenges.is_some() && choice.usable.is_empty() {
            true => Verdict::Stop {
                obstacles: vec![choice.obstacle(domain)],
                remedy: Vec::new(),
                alternative: Vec::new(),
            },
            false => verdict,
        };
        Self {
            domain: domain.clone(),
            reason_text: verdict.reason(),
            verdict,
            state: DomainState::Declared,
            challenges: choice.usable,
            not_pointed: None,
            notes: choice.remarks.iter().map(ToString::to_string).collect(),
            rows: Vec::new(),
            fallback: Fallback::default(),
        }
    }

    /// The verdict on `domain` after `steps`.
    pub(super) fn new(
        domain: &NamePattern,
        steps: Steps,
        choice: Choice,
        notes: BTreeSet<String>,
        rows: Vec<Row>,
        not_pointed: Option<Verdict>,
    ) -> Self {
        let state = steps.state();
        let without_challenge = steps.state_without_challenge();
        let verdict = steps.verdict();
        // Only what can be ordered can come to fail.
        let fallback = match verdict.allows_order() {
            true => Fallback {
                state: Some(without_challenge),
                needs_address: !choice.passed_over.is_empty(),
            },
            false => Fallback::default(),
        };
        Self {
            domain: domain.clone(),
            reason_text: verdict.reason(),
            verdict,
            state,
            challenges: choice.usable,
            not_pointed,
            notes: notes.into_iter().collect(),
            rows,
            fallback,
        }
    }

    /// One for a name that a check which ended after `limit` had not found out about.
    pub fn overdue(domain: &NamePattern, limit: Duration) -> Self {
        let obstacle = Obstacle::Overdue {
            name: domain.to_string(),
            seconds: limit.as_secs(),
        };
        Self::unchecked(domain, Verdict::wait(obstacle), &Conditions::default())
    }

    /// The same, where dns-01 would fail for `reason`: it is not tried then. Without another challenge the name is not
    /// ordered, and `remedy` is the record to change, if that would help; where another one only needs the name to lead
    /// here, so are the records that are in its way.
    pub fn without_dns01(mut self, reason: &str, remedy: Option<Change>) -> Self {
        let dns01 = ChallengeType::Dns01;
        self.challenges.retain(|challenge| *challenge != dns01);
        let said = format!("{}: {reason}", dns01.word());
        if !self.challenges.is_empty() || !self.verdict.allows_order() {
            self.notes.push(said);
            return self;
        }
        let obstacle = Obstacle::NoChallenge {
            name: self.domain.to_string(),
            reasons: vec![said],
        };
        let astray = self.not_pointed.as_ref().filter(|_| self.fallback.needs_address);
        self.verdict = match (remedy.map(|change| vec![change]), astray) {
            (
                remedy,
                Some(Verdict::Stop {
                    obstacles,
                    remedy: to_point,
                    alternative,
                }),
            ) => Verdict::Stop {
                obstacles: [&[obstacle], &obstacles[..]].concat(),
                remedy: to_point.clone(),
                alternative: remedy.unwrap_or_else(|| alternative.clone()),
            },
            (Some(remedy), _) => Verdict::Stop {
                obstacles: vec![obstacle],
                remedy,
                alternative: Vec::new(),
            },
            (None, _) => Verdict::wait(obstacle),
        };
        self.reason_text = self.verdict.reason();
        self.state = self
            .state
            .min(self.fallback.state.unwrap_or(DomainState::Pointed));
        self
    }

    /// The same, where a certificate for the name is there.
    pub fn with_certificate(mut self) -> Self {
        self.state = match (self.state, &self.verdict) {
            // It lasts already, and what comes after it has not been seen.
            (DomainState::Drifted, Verdict::Wait { .. }) => DomainState::Drifted,
            (_, Verdict::Skipped { .. }) => DomainState::Issued,
            (_, verdict) => DomainState::with_certificate(verdict),
        };
        self
    }

    /// That of a name that a local CA signs for, of which nothing was asked before.
    pub fn of_local_ca(domain: &NamePattern) -> Self {
        let reason = SkipReason::LocalCa;
        Self::unchecked(domain, Verdict::Skipped { reason }, &Conditions::default()).at_local_ca()
    }

    /// The same for an order at a local CA, which needs nothing of DNS: what was remarked was for another issuer.
    pub fn at_local_ca(self) -> Self {
        let reason = SkipReason::LocalCa;
        Self {
            verdict: Verdict::Skipped { reason },
            reason_text: reason.to_string(),
            state: DomainState::Issuable,
            challenges: Vec::new(),
            notes: Vec::new(),
            fallback: Fallback::default(),
            ..self
        }
    }

    /// Whatever was found does not keep the next certificate from being signed.
    pub fn keep_issued(&mut self) {
        if self.state == DomainState::Drifted {
            self.state = DomainState::Issued;
        }
    }

    /// The same, where a certificate is there and nothing has been known for sure since `since`, too long for a hitch.
    pub fn lasting(mut self, since: Timestamp) -> Self {
        self.state = DomainState::Drifted;
        self.notes.push(format!("it has been so since {since}"));
        self
    }
}

impl fmt::Display for DomainVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}, {}", self.domain, self.verdict, self.state)?;
        if let Some(Verdict::Stop { .. }) = self.not_pointed {
            f.write_str(", not pointed")?;
        }
        if !self.reason_text.is_empty() {
            write!(f, "\n  {}", self.reason_text)?;
        }
        if let Verdict::Stop {
            remedy, alternative, ..
        } = &self.verdict
        {
            for change in remedy {
                write!(f, "\n  {change}")?;
            }
            if !alternative.is_empty() {
                write!(f, "\n  or:")?;
            }
            for change in alternative {
                write!(f, "\n  {change}")?;
            }
        }
        if let Verdict::Wait {
            until: Some(until), ..
        } = &self.verdict
        {
            write!(f, "\n  until {until}")?;
        }
        for note in &self.notes {
            write!(f, "\n  note: {note}")?;
        }
        Ok(())
    }
}
