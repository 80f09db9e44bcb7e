//! How a run is getting on, for who waits for it: on standard error.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use crate::scenario::Scenario;

/// Counts the time of each scenario.
pub(crate) struct Pace {
    began: Instant,
    rounds: usize,
    /// How long the rounds took that are over.
    over: Vec<Duration>,
    took: BTreeMap<Scenario, Duration>,
}

impl Pace {
    pub(crate) fn new(rounds: usize) -> Self {
        Self {
            began: Instant::now(),
            rounds,
            over: Vec::new(),
            took: BTreeMap::new(),
        }
    }

    /// Says what is measured now, and how long the rest will take if it goes on like the rounds that are over.
    pub(crate) fn announce(&self, name: &str) {
        let left = left(self.began.elapsed(), &self.over, self.rounds);
        let left = left.map_or_else(String::new, |left| format!(", about {} left", spoken(left)));
        let line = format!("round {} of {}: {name}{left}", self.over.len() + 1, self.rounds);
        match io::stderr().is_terminal() {
            true => eprint!("\r\x1b[K{line}"),
            false => eprintln!("{line}"),
        }
    }

    /// Does `scenario`, and counts its time.
    pub(crate) fn during<T>(&mut self, scenario: Scenario, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = work();
        *self.took.entry(scenario).or_default() += began.elapsed();
        done
    }

    /// A round is over.
    pub(crate) fn end_round(&mut self) {
        let before: Duration = self.over.iter().sum();
        self.over.push(self.began.elapsed().saturating_sub(before));
    }

    /// Says what took how long.
    pub(crate) fn summary(&self) {
        if io::stderr().is_terminal() {
            eprint!("\r\x1b[K");
        }
        let each = self.took.iter();
        let each = each.map(|(scenario, took)| format!("{} {}", scenario.name(), spoken(*took)));
        let each: Vec<_> = each.collect();
        eprintln!("took {}: {}", spoken(self.began.elapsed()), each.join(", "));
    }
}

/// Until the last of `rounds` is over. The first may make what the others find: with two behind it does not count.
pub(crate) fn left(elapsed: Duration, over: &[Duration], rounds: usize) -> Option<Duration> {
    let like = match over {
        [] => return None,
        [first] => std::slice::from_ref(first),
        [_, others @ ..] => others,
    };
    let mean = like.iter().sum::<Duration>() / u32::try_from(like.len()).ok()?;
    let to_come = u32::try_from(rounds.saturating_sub(over.len())).ok()?;
    let in_this = elapsed.saturating_sub(over.iter().sum());
    Some((mean * to_come).saturating_sub(in_this))
}

/// `7 s`, `12 min 3 s`.
pub(crate) fn spoken(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    match seconds / 60 {
        0 => format!("{seconds} s"),
        minutes => format!("{minutes} min {} s", seconds % 60),
    }
}
