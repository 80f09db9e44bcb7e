//! Whether the CA may issue for a name, by CAA records, and whether there is a challenge that can be answered.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use super::caa::{CaaEvidence, Grant, Permission, permission, text};
use super::challenge::{Choice, Remark, choose};
use super::endless::Endless;
use super::evidence::RecordType;
use super::examination::{Examination, Opinion, Weighed};
use super::obstacle::Obstacle;
use super::presentation::absolute;
use super::remedy::Change;
use super::row::caa_row;
use super::verdict::Verdict;
use super::view::View;
use crate::name::NamePattern;

/// What CAA records come to from one point of view.
pub(super) struct Found {
    owner: String,
    /// The name that is an alias of it.
    alias: Option<String>,
    permission: Permission,
    records: String,
}

impl Examination<'_> {
    /// Whether CAA records let the CA issue, by a challenge that could be answered without them.
    pub(super) async fn permitted(&self, views: &[View], pattern: &NamePattern) -> Weighed<Found> {
        let listed = self.conditions.challenges.as_deref().unwrap_or_default();
        let possible = choose(pattern, listed, self.conditions.doors, None).usable;
        let possible: Vec<_> = possible.iter().map(|challenge| challenge.word()).collect();
        let possible = &possible;
        let opinion = |view: View| async move {
            let (evidence, memory) = self.questions.caa(&view, pattern.base()).await;
            let from = view.name();
            let found = match &evidence {
                CaaEvidence::Relevant {
                    owner,
                    alias,
                    records,
                } => Found {
                    owner: owner.clone(),
                    alias: alias.clone(),
                    permission: permission(pattern, owner, records, self.conditions.ca.as_ref(), possible),
                    records: text(records),
                },
                _ => Found {
                    owner: pattern.base().to_string(),
                    alias: None,
                    permission: Permission::Granted(Grant::any("issue")),
                    records: text(&BTreeSet::new()),
                },
            };
            let verdict = match (&evidence, &found.permission) {
                (CaaEvidence::Unanswered { owner, failure }, _) => {
                    Verdict::wait(Obstacle::unanswered(owner, RecordType::Caa, &from, failure))
                }
                (CaaEvidence::Endless(endless), _) => without_end(endless),
                (CaaEvidence::Differing { owner, answers }, _) => Verdict::wait(Obstacle::Differing {
                    owner: owner.clone(),
                    record: RecordType::Caa,
                    answers: answers.clone(),
                }),
                (_, Permission::Denied { obstacle, remedy }) => Verdict::Stop {
                    obstacles: vec![obstacle.clone()],
                    remedy: remedy.clone(),
                    alternative: Vec::new(),
                },
                (_, Permission::Granted(grant)) => self.by_methods(pattern, &found.owner, grant),
                (_, Permission::Unknown) => Verdict::Go,
            };
            let is_judged = found.permission != Permission::Unknown;
            Opinion {
                rows: vec![caa_row(
                    pattern.base().as_str(),
                    &evidence,
                    &verdict,
                    is_judged,
                    &from,
                )],
                verdict,
                memory,
                found,
            }
        };
        let opinions = join_all(views.iter().cloned().map(opinion)).await;
        let mut weighed = self.weighed(views, opinions);
        if let Some(Found {
            owner,
            alias: Some(alias),
            ..
        }) = &weighed.found
        {
            weighed.notes.push(format!(
                "{alias} is an alias of {owner}, so the CAA records there hold for it, and none can stand beside the alias"
            ));
        }
        if let Some(Found {
            owner,
            permission: Permission::Unknown,
            records,
            ..
        }) = &weighed.found
        {
            weighed.notes.push(format!(
                "{owner} has CAA records, and it is not known which of them mean the CA ({records}); the issuer's \
                 `caa_identities` says it"
            ));
        }
        weighed
    }

    /// Stops where it is the methods of `grant`, which stands at `owner`, that leave no challenge.
    fn by_methods(&self, pattern: &NamePattern, owner: &str, grant: &Grant) -> Verdict {
        let conditions = self.conditions;
        let (Some(listed), Some(methods)) = (&conditions.challenges, &grant.methods) else {
            return Verdict::Go;
        };
        let possible = choose(pattern, listed, conditions.doors, None).usable;
        let choice = choose(pattern, listed, conditions.doors, Some(methods));
        if possible.is_empty() || !choice.usable.is_empty() {
            return Verdict::Go;
        }
        let words: Vec<_> = possible.iter().map(|challenge| challenge.word()).collect();
        let ca = conditions.ca.as_ref().and_then(|ca| ca.domains.first());
        let record = |ca: &String| {
            Change::Add(format!(
                "{} IN CAA {}",
                absolute(owner),
                grant.extended(ca, &words)
            ))
        };
        Verdict::Stop {
            obstacles: vec![choice.obstacle(pattern)],
            remedy: ca.map(record).into_iter().collect(),
            alternative: Vec::new(),
        }
    }

    /// The challenges for `pattern`; where none could be answered even without CAA records, `issuable` becomes a stop.
    pub(super) fn choice(
        &self,
        pattern: &NamePattern,
        caa: Option<&Found>,
        issuable: &mut Verdict,
        notes: &mut BTreeSet<String>,
    ) -> Choice {
        let (conditions, permission) = (self.conditions, caa.map(|found| &found.permission));
        let Some(listed) = &conditions.challenges else {
            return Choice::default();
        };
        let methods = match permission {
            Some(Permission::Granted(grant)) => grant.methods.as_ref(),
            _ => None,
        };
        let choice = choose(pattern, listed, conditions.doors, methods);
        if !choice.usable.is_empty() {
            notes.extend(choice.remarks.iter().map(Remark::to_string));
            return choice;
        }
        if !choose(pattern, listed, conditions.doors, None).usable.is_empty() {
            // CAA records are the reason, and `issuable` says so.
            return choice;
        }
        let (mut obstacles, mut changes) = (Vec::new(), Vec::new());
        if let Verdict::Stop {
            obstacles: known,
            remedy,
            ..
        } = issuable
        {
            obstacles.append(known);
            changes.append(remedy);
        }
        obstacles.push(choice.obstacle(pattern));
        *issuable = Verdict::Stop {
            obstacles,
            remedy: changes,
            alternative: Vec::new(),
        };
        choice
    }
}

/// No CA gets to the CAA records behind aliases without an end, so one of these has to go.
fn without_end(endless: &Endless) -> Verdict {
    Verdict::Stop {
        obstacles: vec![endless.obstacle()],
        remedy: vec![Change::Remove(endless.alias.clone())],
        alternative: Vec::new(),
    }
}
