//! One name through all its steps: owned, pointed, issuable; each as every point of view has it.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;

use super::checker::Conditions;
use super::evidence::{Dname, LookupFailure};
use super::lookup::Memory;
use super::obstacle::Obstacle;
use super::ownership::judge_ownership;
use super::presentation::{absolute, fully_qualified, written};
use super::remedy::Change;
use super::report::DomainVerdict;
use super::row::{Row, RowState, ownership_rows, rows};
use super::state::Steps;
use super::verdict::{Target, Verdict, judge};
use super::view::{Questions, View, is_silence, name_of};
use super::weigh::{Heard, weigh};
use super::wildcard::by_wildcard;
use super::zone::{NameServer, Zone};
use crate::clock::Timestamp;
use crate::config::{ChallengeType, GatewayConfig};
use crate::name::{DnsName, NamePattern};

/// What an examination needs.
pub(super) struct Examination<'e> {
    pub(super) gateway: &'e GatewayConfig,
    pub(super) questions: &'e Questions,
    pub(super) conditions: &'e Conditions,
    pub(super) now: Timestamp,
}

/// What one point of view brought for one step.
pub(super) struct Opinion<T> {
    pub(super) verdict: Verdict,
    pub(super) memory: Memory,
    pub(super) rows: Vec<Row>,
    pub(super) found: T,
}

/// What all of them come to.
pub(super) struct Weighed<T> {
    pub(super) verdict: Verdict,
    pub(super) notes: Vec<String>,
    pub(super) rows: Vec<Row>,
    /// Of the point of view that decides.
    pub(super) found: Option<T>,
}

impl Examination<'_> {
    pub(super) async fn of(&self, pattern: &NamePattern) -> DomainVerdict {
        let name = pattern.base();
        let zone = match name_of(name) {
            Ok(name) => self.questions.zone(&name).await,
            Err(_) => None,
        };
        let mut views: Vec<View> = zone.clone().map(View::Authoritative).into_iter().collect();
        views.extend(self.questions.resolvers.iter().copied().map(View::Resolver));
        let (owned, pointed, caa) = tokio::join!(
            self.owned(&views, name),
            self.pointed(&views, pattern),
            self.permitted(&views, pattern)
        );
        let mut rows = Vec::new();
        let mut notes = BTreeSet::new();
        let mut steps = Steps::default();
        if let Some(owned) = owned {
            gather(&mut rows, owned.rows);
            notes.extend(owned.notes);
            steps.owned = Some(self.named(owned.verdict, name, zone.as_ref()));
        }
        let mut issuable = self.named(caa.verdict, name, zone.as_ref());
        notes.extend(caa.notes);
        let mut choice = self.choice(pattern, caa.found.as_ref(), &mut issuable, &mut notes);
        steps.issuable = Some(issuable);
        let mut not_pointed = None;
        if let Some(pointed) = pointed {
            gather(&mut rows, pointed.rows);
            notes.extend(pointed.notes);
            let verdict = self.named(pointed.verdict, name, zone.as_ref());
            match verdict.allows_order() || !choice.usable.contains(&ChallengeType::Dns01) {
                true => steps.pointed = Some(verdict),
                // A record in the zone proves the right to a name wherever it leads.
                false => {
                    notes.insert(format!("needed for the service only: {}", verdict.reason()));
                    if !self.conditions.advisory {
                        notes.extend(choice.pass_over_connections().iter().map(ToString::to_string));
                    }
                    not_pointed = Some(verdict);
                }
            }
        }
        gather(&mut rows, caa.rows);
        notes.extend(zone.iter().flat_map(|zone| self.troubles(zone)));
        if zone.is_none() {
            notes.insert(
                "the zone's own servers were not asked: no resolver has said which they are".to_owned(),
            );
        }
        DomainVerdict::new(pattern, steps, choice, notes, rows, not_pointed)
    }

    async fn owned(&self, views: &[View], name: &DnsName) -> Option<Weighed<()>> {
        let wanted = self.conditions.ownership.as_ref()?;
        let opinion = |view| async move {
            let (evidence, memory) = self.questions.ownership(view, name).await;
            Opinion {
                verdict: judge_ownership(wanted, &evidence),
                rows: ownership_rows(wanted, &evidence),
                memory,
                found: (),
            }
        };
        let opinions = join_all(views.iter().map(opinion)).await;
        Some(self.weighed(views, opinions))
    }

    async fn pointed(&self, views: &[View], pattern: &NamePattern) -> Option<Weighed<()>> {
        let NamePattern::Exact(name) = pattern else {
            return None;
        };
        // Beside the records of a zone's apex there can be no alias (RFC 1034 §3.6.2).
        let is_apex =
            |view: &View| matches!(view, View::Authoritative(zone) if written(&zone.apex) == name.as_str());
        let can_be_alias = !views.iter().any(is_apex);
        let opinion = |view| async move {
            let traced = self.questions.trace(view, name).await;
            let target = match self.questions.target(view, self.gateway, &traced).await {
                Ok(target) => Target {
                    hostname: target.hostname.filter(|_| can_be_alias),
                    ..target
                },
                Err(obstacle) => {
                    return Opinion {
                        verdict: Verdict::wait(obstacle),
                        memory: traced.memory,
                        rows: Vec::new(),
                        found: None,
                    };
                }
            };
            Opinion {
                verdict: judge(name, &target, &traced.evidence),
                rows: rows(name.as_str(), &target, &traced.evidence),
                memory: traced.memory,
                found: Some((target, traced.evidence)),
            }
        };
        let opinions = join_all(views.iter().map(opinion)).await;
        let Weighed {
            mut verdict,
            mut notes,
            rows,
            found,
        } = self.weighed(views, opinions);
        if let (Some(view), Some(Some((target, evidence)))) = (views.first(), &found) {
            notes.extend(evidence.dnames.iter().map(by_dname));
            if let Some(parent) = self.questions.wildcard_of(view, name, evidence).await {
                notes.push(by_wildcard(name, &parent, target, evidence, &mut verdict));
            }
        }
        Some(Weighed {
            verdict,
            notes,
            rows,
            found: None,
        })
    }

    pub(super) fn weighed<T>(&self, views: &[View], opinions: Vec<Opinion<T>>) -> Weighed<T> {
        let mut zone = None;
        let mut resolvers = Vec::new();
        let mut rows = Vec::new();
        let mut candidates = Vec::new();
        for (view, opinion) in views.iter().zip(opinions) {
            match view {
                View::Authoritative(_) => zone = Some(opinion.verdict.clone()),
                View::Resolver(resolver) => resolvers.push(Heard {
                    resolver: resolver.to_string(),
                    verdict: opinion.verdict.clone(),
                    memory: opinion.memory,
                }),
            }
            rows.extend(opinion.rows);
            candidates.push((opinion.verdict, opinion.found));
        }
        let (verdict, notes) = weigh(zone, &resolvers, self.now);
        // The first one that knew something, and for a go the first one that says so; the zone's servers stand before
        // the resolvers.
        let decides = |known: &Verdict| match verdict.allows_order() {
            true => known.allows_order(),
            false => !matches!(known, Verdict::Wait { .. }),
        };
        let decides = candidates
            .iter()
            .position(|(known, _)| decides(known))
            .unwrap_or(0);
        Weighed {
            verdict,
            notes,
            rows,
            found: candidates.into_iter().nth(decides).map(|(_, found)| found),
        }
    }

    /// A zone none of whose servers speaks for it is no reason to wait: it has to be put right. Servers that say nothing are
    /// named, and not who has asked them in vain.
    fn named(&self, verdict: Verdict, name: &DnsName, zone: Option<&Zone>) -> Verdict {
        let Verdict::Wait { obstacles, until } = verdict else {
            return verdict;
        };
        let zone = match zone {
            Some(zone) if obstacles.iter().all(Obstacle::is_lame) => zone,
            _ => {
                let mut named = Vec::new();
                for obstacle in obstacles {
                    let obstacle = self.silence(&obstacle).unwrap_or(obstacle);
                    if !named.contains(&obstacle) {
                        named.push(obstacle);
                    }
                }
                return Verdict::Wait {
                    obstacles: named,
                    until,
                };
            }
        };
        Verdict::Stop {
            obstacles: vec![Obstacle::LameDelegation {
                owner: name.to_string(),
                zone: written(&zone.apex),
                answers: self.failures(zone),
            }],
            remedy: zone
                .servers
                .iter()
                .filter_map(|server| undelegate(zone, server))
                .collect(),
            alternative: Vec::new(),
        }
    }

    /// The servers of the zone of an unanswered question, where none of them answers.
    fn silence(&self, obstacle: &Obstacle) -> Option<Obstacle> {
        let owner = obstacle.unheard_by_servers()?;
        let zone = self.questions.silent_zone(&fully_qualified(owner).ok()?)?;
        Some(Obstacle::SilentServers {
            zone: written(&zone.apex),
            answers: self.failures(&zone),
        })
    }

    fn failures(&self, zone: &Zone) -> BTreeMap<String, String> {
        let failed = zone.servers.iter().filter_map(|server| {
            let failure = self.questions.trouble(zone, server)?;
            Some((server.to_string(), failure.to_string()))
        });
        failed.collect()
    }

    /// What there is to say about servers of a zone that others stand in for.
    fn troubles(&self, zone: &Zone) -> Vec<String> {
        let stands_in = |server: &NameServer| {
            let is_other =
                |other: &&NameServer| other.name == server.name && other.address.ip() != server.address.ip();
            let mut others = zone.servers.iter().filter(is_other);
            server.name.is_some() && others.any(|other| self.questions.trouble(zone, other).is_none())
        };
        let failed = zone.servers.iter().filter_map(|server| {
            let failure = self.questions.trouble(zone, server)?;
            // A machine without IPv6 reaches the server by its other address.
            if is_silence(&failure) && stands_in(server) {
                return None;
            }
            let change = match &failure {
                LookupFailure::Lame { .. } => undelegate(zone, server),
                _ => None,
            };
            Some(match change {
                Some(change) => format!("{server} {failure}; {change}"),
                None => format!("{server} {failure}"),
            })
        });
        failed.collect()
    }
}

fn undelegate(zone: &Zone, server: &NameServer) -> Option<Change> {
    let name = server.name.as_ref()?;
    let (apex, name) = (absolute(&written(&zone.apex)), absolute(name));
    Some(Change::Remove(format!("{apex} IN NS {name}")))
}

/// What there is to know of an alias that is not of the name alone.
fn by_dname((name, dname): (&String, &Dname)) -> String {
    let Dname { owner, target } = dname;
    format!(
        "{name} is an alias by the DNAME record of {owner}: every name below that stands for the same one below {target}, \
         and none can have a record of its own"
    )
}

/// Rows that say the same become one.
fn gather(rows: &mut Vec<Row>, new: Vec<Row>) {
    for row in new {
        let same = |known: &&mut Row| {
            (&known.owner, known.record, &known.found) == (&row.owner, row.record, &row.found)
        };
        match rows.iter_mut().find(same) {
            Some(known) => {
                known.said_by.extend(row.said_by);
                if row.state == RowState::Wrong {
                    known.state = row.state;
                }
            }
            None => rows.push(row),
        }
    }
}
