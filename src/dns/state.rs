//! How far a name has come on its way to a certificate that lasts.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::obstacle::Obstacle;
use super::verdict::Verdict;

/// Where a name stands. Each state holds all that the ones before it ask for.
#[derive(
    Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Deserialize, schemars::JsonSchema, Serialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum DomainState {
    /// It is in a certificate that is wanted.
    Declared,
    /// Its owner's TXT record says that it belongs here, where `ownership` asks for one.
    Owned,
    /// It leads to this gateway.
    Pointed,
    /// CAA records let the CA issue, and there is a challenge that can be answered.
    Issuable,
    /// A certificate for it is there.
    Issued,
    /// A certificate for it is there, and the next one will fail unless DNS is put right; also where that has been unknown
    /// for long.
    Drifted,
}

/// What was found on each step; nothing where the step was not asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Steps {
    pub(super) owned: Option<Verdict>,
    pub(super) pointed: Option<Verdict>,
    pub(super) issuable: Option<Verdict>,
}

impl Steps {
    /// The state of a name without a certificate.
    pub(super) fn state(&self) -> DomainState {
        let holds = |step: &Option<Verdict>| step.as_ref().is_none_or(Verdict::allows_order);
        match (holds(&self.owned), holds(&self.pointed), holds(&self.issuable)) {
            (true, true, true) => DomainState::Issuable,
            (true, true, false) if self.pointed.is_some() => DomainState::Pointed,
            (true, _, _) if self.owned.is_some() => DomainState::Owned,
            _ => DomainState::Declared,
        }
    }

    /// The same where no challenge can be answered.
    pub(super) fn state_without_challenge(&self) -> DomainState {
        let issuable = Some(Verdict::Stop {
            obstacles: Vec::new(),
            remedy: Vec::new(),
            alternative: Vec::new(),
        });
        let steps = Self {
            issuable,
            ..self.clone()
        };
        steps.state()
    }

    /// All steps as one verdict: what has to be changed first, then what has to be waited for.
    pub(super) fn verdict(self) -> Verdict {
        let (mut wrong, mut remedy, mut other_remedy) = (Vec::new(), Vec::new(), Vec::new());
        let (mut open, mut until) = (Vec::new(), None);
        for verdict in [self.owned, self.pointed, self.issuable].into_iter().flatten() {
            match verdict {
                Verdict::Go | Verdict::Skipped { .. } => {}
                Verdict::Stop {
                    obstacles,
                    remedy: changes,
                    alternative,
                } => {
                    // What stopped a step before has its remedy.
                    if obstacles.iter().all(|obstacle| wrong.contains(obstacle)) {
                        continue;
                    }
                    // Another way for one step only is, with the one way of the others, another way for all.
                    let other = match alternative.is_empty() {
                        true => changes.clone(),
                        false => alternative,
                    };
                    merge(&mut wrong, obstacles);
                    merge(&mut remedy, changes);
                    merge(&mut other_remedy, other);
                }
                Verdict::Wait {
                    obstacles,
                    until: end,
                } => {
                    merge(&mut open, obstacles);
                    until = until.max(end);
                }
            }
        }
        // A step that counts only takes a loop for a chain without an end.
        let loops: Vec<_> = wrong
            .iter()
            .filter_map(Obstacle::loop_of)
            .map(ToOwned::to_owned)
            .collect();
        wrong.retain(|obstacle| !matches!(obstacle, Obstacle::TooLong { name, .. } if loops.contains(name)));
        match (wrong.is_empty(), open.is_empty()) {
            (false, _) => Verdict::Stop {
                alternative: match other_remedy == remedy {
                    true => Vec::new(),
                    false => other_remedy,
                },
                obstacles: wrong,
                remedy,
            },
            (true, false) => Verdict::Wait {
                obstacles: open,
                until,
            },
            (true, true) => Verdict::Go,
        }
    }
}

/// Two steps may meet the same.
fn merge<T: PartialEq>(all: &mut Vec<T>, new: Vec<T>) {
    for item in new {
        if !all.contains(&item) {
            all.push(item);
        }
    }
}

impl DomainState {
    /// The same with a certificate at hand. What is only unknown is no drift, unless it [lasts](super::is_lasting).
    pub(super) fn with_certificate(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Stop { .. } => Self::Drifted,
            _ => Self::Issued,
        }
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Declared => "declared",
            Self::Owned => "owned",
            Self::Pointed => "pointed",
            Self::Issuable => "issuable",
            Self::Issued => "issued",
            Self::Drifted => "drifted",
        }
    }

    /// Every state.
    pub const ALL: [Self; 6] = [
        Self::Declared,
        Self::Owned,
        Self::Pointed,
        Self::Issuable,
        Self::Issued,
        Self::Drifted,
    ];
}

impl fmt::Display for DomainState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(word: &str) -> Option<Verdict> {
        let name = "www.example.com".to_owned();
        match word {
            "-" => None,
            "go" => Some(Verdict::Go),
            "wait" => Some(Verdict::wait(Obstacle::NoSuchName { name })),
            _ => Some(Verdict::Stop {
                obstacles: vec![Obstacle::NoSuchName { name }],
                remedy: Vec::new(),
                alternative: Vec::new(),
            }),
        }
    }

    #[test]
    fn a_name_goes_from_state_to_state_as_its_steps_hold() {
        for (owned, pointed, issuable, expected, with_certificate) in [
            ("-", "stop", "go", "declared", "drifted"),
            ("stop", "go", "go", "declared", "drifted"),
            ("go", "stop", "go", "owned", "drifted"),
            ("go", "wait", "go", "owned", "issued"),
            ("-", "go", "stop", "pointed", "drifted"),
            ("go", "go", "wait", "pointed", "issued"),
            ("go", "go", "go", "issuable", "issued"),
            ("-", "-", "stop", "declared", "drifted"),
            ("go", "-", "stop", "owned", "drifted"),
            ("-", "-", "go", "issuable", "issued"),
        ] {
            let steps = Steps {
                owned: step(owned),
                pointed: step(pointed),
                issuable: step(issuable),
            };
            assert_eq!(steps.state().word(), expected, "{owned} {pointed} {issuable}");
            let certified = DomainState::with_certificate(&steps.verdict());
            assert_eq!(certified.word(), with_certificate, "{owned} {pointed} {issuable}");
        }
    }
}
