//! When a record has come to every server of its zone: a pure judgement.

use std::time::Duration;

use crate::dns::{Seen, Sighting};

/// One of several looks, each later than the one before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Round {
    number: u32,
}

/// What a look comes to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Progress {
    /// All that answer have the record.
    Complete {
        /// Those that have not said anything, however often they were asked.
        unanswered: Vec<String>,
    },
    /// It is too early.
    Waiting {
        /// For whom, with what they say.
        lagging: Vec<String>,
    },
}

impl Round {
    pub(super) const fn first() -> Self {
        Self { number: 0 }
    }

    pub(super) const fn next(self) -> Self {
        Self {
            number: self.number.saturating_add(1),
        }
    }

    /// How long to wait before the next one.
    pub(super) fn pause(self) -> Duration {
        LONGEST_PAUSE.min(FIRST_PAUSE * 2_u32.saturating_pow(self.number.min(8)))
    }
}

/// A server that answers without the record might be the one that the CA asks, so it is waited for. One that says nothing
/// cannot mislead a CA, which asks another then: in the end it is passed over, and at once where it has another address
/// that answers, as on a machine without IPv6.
pub(super) fn judge(sightings: &[Sighting], round: Round) -> Progress {
    let (mut present, mut absent, mut unanswered) = (0, Vec::new(), Vec::new());
    let answers_elsewhere = |silent: &Sighting| {
        let mut others = sightings.iter().filter(|other| other.name == silent.name);
        silent.name.is_some() && others.any(|other| !matches!(other.seen, Seen::Unanswered(_)))
    };
    for sighting in sightings {
        match &sighting.seen {
            Seen::Present => present += 1,
            Seen::Absent => absent.push(format!("{} does not have it", sighting.server)),
            Seen::Unanswered(_) if answers_elsewhere(sighting) => {}
            Seen::Unanswered(failure) => unanswered.push(format!("{} {failure}", sighting.server)),
        }
    }
    let is_patient = round.number < PATIENT_ROUNDS && !unanswered.is_empty();
    if present == 0 || !absent.is_empty() || is_patient {
        let lagging = absent.into_iter().chain(unanswered).collect();
        return Progress::Waiting { lagging };
    }
    Progress::Complete { unanswered }
}

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// So often a server is asked that does not answer: some ten seconds long, or as long as it takes to time out.
const PATIENT_ROUNDS: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::LookupFailure;

    fn sighting(server: &str, name: Option<&str>, seen: Seen) -> Sighting {
        Sighting {
            server: server.to_owned(),
            name: name.map(ToOwned::to_owned),
            seen,
        }
    }

    #[test]
    fn a_record_is_there_when_all_that_answer_have_it() {
        let silent = || Seen::Unanswered(LookupFailure::TimedOut);
        let late = Round {
            number: PATIENT_ROUNDS,
        };
        for (seen, round, expected) in [
            (
                vec![("a", "ns1", Seen::Present), ("b", "ns2", Seen::Present)],
                Round::first(),
                "complete",
            ),
            (
                vec![("a", "ns1", Seen::Present), ("b", "ns2", Seen::Absent)],
                late,
                "b does not have it",
            ),
            (
                vec![("a", "ns1", Seen::Absent), ("b", "ns2", Seen::Absent)],
                late,
                "a does not have it, b does not have it",
            ),
            (
                vec![("a", "ns1", Seen::Present), ("b", "ns2", silent())],
                Round::first(),
                "b did not answer in time",
            ),
            (
                vec![("a", "ns1", Seen::Present), ("b", "ns2", silent())],
                late,
                "complete without b did not answer in time",
            ),
            (
                vec![("a", "ns1", Seen::Present), ("b", "ns1", silent())],
                Round::first(),
                "complete",
            ),
            (
                vec![("a", "ns1", silent()), ("b", "ns2", silent())],
                late,
                "a did not answer in time, b did not answer in time",
            ),
            (vec![], late, ""),
        ] {
            let sightings: Vec<_> = seen
                .into_iter()
                .map(|(server, name, seen)| sighting(server, Some(name), seen))
                .collect();
            let said = match judge(&sightings, round) {
                Progress::Waiting { lagging } => lagging.join(", "),
                Progress::Complete { unanswered } if unanswered.is_empty() => "complete".to_owned(),
                Progress::Complete { unanswered } => format!("complete without {}", unanswered.join(", ")),
            };
            assert_eq!(said, expected, "{sightings:?} {round:?}");
        }
    }

    #[test]
    fn looks_become_rarer_and_never_stop() {
        let mut round = Round::first();
        assert_eq!(round.pause(), FIRST_PAUSE);
        for _ in 0..100 {
            assert!(round.next().pause() >= round.pause());
            round = round.next();
        }
        assert_eq!(round.pause(), LONGEST_PAUSE);
    }
}
