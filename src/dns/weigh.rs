//! What the zone's own servers say against what resolvers say: a pure function.
//!
//! A CA's resolver asks the zone's servers, or remembers what they said a while ago. So the zone's servers decide;
//! resolvers tell how long others may still see what was before, and decide where the servers cannot be asked, as in
//! a network that lets no questions out.

use std::time::Duration;

use super::evidence::LookupFailure;
use super::lookup::Memory;
use super::obstacle::Obstacle;
use super::question::SERVFAIL;
use super::verdict::Verdict;
use crate::clock::Timestamp;

/// The opinion of one resolver.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) resolver: String,
    pub(super) verdict: Verdict,
    pub(super) memory: Memory,
}

/// What comes of all opinions, with what an operator should know besides.
pub(super) fn weigh(zone: Option<Verdict>, resolvers: &[Heard], now: Timestamp) -> (Verdict, Vec<String>) {
    let is_bogus = |verdict: &&Verdict| {
        let mut obstacles = verdict.obstacles().iter();
        obstacles.any(|obstacle| matches!(obstacle, Obstacle::BadSignatures { .. }))
    };
    if let Some(bogus) = resolvers.iter().map(|heard| &heard.verdict).find(is_bogus) {
        return (bogus.clone(), Vec::new());
    }
    match zone {
        Some(Verdict::Go) => beside_a_right_zone(resolvers, now),
        Some(stop @ Verdict::Stop { .. }) => (stop, Vec::new()),
        Some(wait @ Verdict::Wait { .. }) if is_differing(&wait) => (wait, Vec::new()),
        Some(unknown) => {
            let note = format!("judged by resolvers alone: {}", unknown.reason());
            match without_the_zone(resolvers, now) {
                (Verdict::Wait { .. }, _) if is_unheard(resolvers) => (unknown, Vec::new()),
                (verdict, mut notes) => {
                    notes.insert(0, note);
                    (verdict, notes)
                }
            }
        }
        None => without_the_zone(resolvers, now),
    }
}

fn beside_a_right_zone(resolvers: &[Heard], now: Timestamp) -> (Verdict, Vec<String>) {
    let mut notes = Vec::new();
    let (mut stale, mut until) = (Vec::new(), now);
    let mut refusals = Vec::new();
    for heard in resolvers {
        match &heard.verdict {
            Verdict::Go | Verdict::Skipped { .. } => {}
            Verdict::Stop { .. } if heard.memory.own => notes.push(format!(
                "{} has names of its own and says something else: {}",
                heard.resolver,
                heard.verdict.reason()
            )),
            Verdict::Stop { .. } => {
                let seconds = heard.memory.lifetime;
                until = until.max(now + Duration::from_secs(seconds.into()));
                stale.push(Obstacle::Stale {
                    resolver: heard.resolver.clone(),
                    said: heard.verdict.reason(),
                    seconds,
                });
            }
            Verdict::Wait { obstacles, .. } => {
                notes.push(heard.verdict.reason());
                refusals.extend(obstacles.iter().filter(|obstacle| is_refusal(obstacle)).cloned());
            }
        }
    }
    if !stale.is_empty() {
        let wait = Verdict::Wait {
            obstacles: stale,
            until: Some(until),
        };
        return (wait, notes);
    }
    // The servers are right, but whoever comes from the root does not get to them.
    if !resolvers.is_empty() && refusals.len() >= resolvers.len() {
        let wait = Verdict::Wait {
            obstacles: refusals,
            until: None,
        };
        return (wait, Vec::new());
    }
    (Verdict::Go, notes)
}

fn without_the_zone(resolvers: &[Heard], now: Timestamp) -> (Verdict, Vec<String>) {
    let stops: Vec<&Heard> = with(resolvers, |verdict| matches!(verdict, Verdict::Stop { .. }));
    let goes = with(resolvers, Verdict::allows_order);
    let waits = with(resolvers, |verdict| matches!(verdict, Verdict::Wait { .. }));
    let silent = waits.iter().map(|heard| heard.verdict.reason()).collect();
    match (stops.first(), goes.is_empty()) {
        (Some(_), false) => beside_a_right_zone(resolvers, now),
        (Some(stop), true) => (stop.verdict.clone(), silent),
        (None, false) => (Verdict::Go, silent),
        (None, true) => {
            let obstacles = waits.iter().flat_map(|heard| heard.verdict.obstacles()).cloned();
            let wait = Verdict::Wait {
                obstacles: obstacles.collect(),
                until: None,
            };
            (wait, Vec::new())
        }
    }
}

fn with(resolvers: &[Heard], is: impl Fn(&Verdict) -> bool) -> Vec<&Heard> {
    resolvers.iter().filter(|heard| is(&heard.verdict)).collect()
}

/// Whether no resolver has said anything about the name.
fn is_unheard(resolvers: &[Heard]) -> bool {
    resolvers
        .iter()
        .all(|heard| matches!(heard.verdict, Verdict::Wait { .. }))
}

fn is_differing(verdict: &Verdict) -> bool {
    let mut obstacles = verdict.obstacles().iter();
    obstacles.any(|obstacle| matches!(obstacle, Obstacle::Differing { .. }))
}

fn is_refusal(obstacle: &Obstacle) -> bool {
    matches!(
        obstacle,
        Obstacle::Unanswered {
            failure: LookupFailure::ResponseCode { code, .. },
            ..
        } if code == SERVFAIL
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::evidence::RecordType;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    #[test]
    fn every_combination_of_opinions_has_its_verdict() {
        for (zone, resolvers, expected) in [
            ("go", &["go"][..], "go"),
            ("go", &["go", "silent"], "go + note"),
            ("go", &["stop 300"], "wait 300"),
            ("go", &["stop 300", "stop 60"], "wait 300"),
            ("go", &["stop own"], "go + note"),
            ("go", &["servfail"], "wait"),
            ("go", &["servfail", "go"], "go + note"),
            ("go", &["silent"], "go + note"),
            ("stop", &["go"], "stop"),
            ("stop", &["silent"], "stop"),
            ("differ", &["go"], "wait"),
            ("silent", &["go"], "go + note"),
            ("silent", &["stop 60"], "stop + note"),
            ("silent", &["silent"], "wait"),
            ("go", &["bogus"], "stop"),
            ("silent", &["bogus", "go"], "stop"),
            ("none", &["go"], "go"),
            ("none", &["stop 60"], "stop"),
            ("none", &["go", "stop 60"], "wait 60"),
            ("none", &["go", "servfail"], "go + note"),
            ("none", &["servfail"], "wait"),
            ("none", &["silent", "silent"], "wait"),
        ] {
            let zone_opinion = (zone != "none").then(|| opinion(zone));
            let heard: Vec<_> = resolvers.iter().map(|resolver| heard(resolver)).collect();
            let (verdict, notes) = weigh(zone_opinion, &heard, NOW);
            let mut text = verdict.to_string();
            if let Verdict::Wait {
                until: Some(until), ..
            } = verdict
            {
                text.push_str(&format!(" {}", until.since(NOW).as_secs()));
            }
            if !notes.is_empty() {
                text.push_str(" + note");
            }
            assert_eq!(text, expected, "zone {zone}, resolvers {resolvers:?}");
        }
    }

    fn heard(word: &str) -> Heard {
        let (word, rest) = word.split_once(' ').unwrap_or((word, "0"));
        Heard {
            resolver: "192.0.2.53:53".to_owned(),
            verdict: opinion(word),
            memory: Memory {
                lifetime: rest.parse().unwrap_or(0),
                own: rest == "own",
            },
        }
    }

    fn opinion(word: &str) -> Verdict {
        let owner = "www.example.com".to_owned();
        let unanswered = |failure| Obstacle::unanswered("www.example.com", RecordType::A, "it", &failure);
        match word {
            "go" => Verdict::Go,
            "stop" => Verdict::Stop {
                obstacles: vec![Obstacle::NoSuchName { name: owner }],
                remedy: Vec::new(),
                alternative: Vec::new(),
            },
            "differ" => Verdict::wait(Obstacle::Differing {
                owner,
                record: RecordType::A,
                answers: Default::default(),
            }),
            "silent" => Verdict::wait(unanswered(LookupFailure::TimedOut)),
            "servfail" => Verdict::wait(unanswered(LookupFailure::ResponseCode {
                code: "SERVFAIL".to_owned(),
                explanation: None,
            })),
            "bogus" => Verdict::wait(unanswered(LookupFailure::Bogus {
                zone: "example.com".to_owned(),
                ds: Vec::new(),
                explanation: None,
            })),
            other => panic!("no opinion: {other}"),
        }
    }
}
