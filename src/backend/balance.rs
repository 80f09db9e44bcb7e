//! Which server is next: smooth weighted round-robin over those that are not resting. Pure; time is an argument.

use std::time::{Duration, Instant};

/// The turn of a group's servers. A server is known by its position.
#[derive(Clone, Debug)]
pub(super) struct Balance {
    servers: Vec<Standing>,
}

impl Balance {
    /// All in use.
    pub(super) fn new(weights: impl IntoIterator<Item = u16>) -> Self {
        let standing = |weight| Standing {
            weight: i64::from(weight),
            credit: 0,
            failures: 0,
            rests_until: None,
        };
        Self {
            servers: weights.into_iter().map(standing).collect(),
        }
    }

    /// The server for the next connection; none of `tried`. When all the others rest they are in use nevertheless:
    /// an attempt costs less than a connection that is not tried at all.
    pub(super) fn pick(&mut self, tried: &[usize], now: Instant) -> Option<usize> {
        let untried = |position: &usize| !tried.contains(position);
        let picked = self
            .turn(|position, standing| untried(&position) && standing.in_use(now))
            .or_else(|| self.turn(|position, _| untried(&position)))?;
        let standing = &mut self.servers[picked];
        if standing.rests_until.is_some() {
            // One connection finds out whether it is back; the others need not wait for the answer.
            standing.rests_until = Some(now + pause(standing.failures));
        }
        Some(picked)
    }

    /// A connection to it succeeded. Whether that ended its rest.
    pub(super) fn succeeded(&mut self, position: usize) -> bool {
        let standing = &mut self.servers[position];
        standing.failures = 0;
        standing.rests_until.take().is_some()
    }

    /// A connection to it failed. For how long it rests if this made it begin to.
    pub(super) fn failed(&mut self, position: usize, now: Instant) -> Option<Duration> {
        let standing = &mut self.servers[position];
        standing.failures = standing.failures.saturating_add(1);
        if standing.failures < FAILURES_BEFORE_REST {
            return None;
        }
        let pause = pause(standing.failures);
        standing
            .rests_until
            .replace(now + pause)
            .is_none()
            .then_some(pause)
    }

    /// Whether connections go to it as a matter of course.
    pub(super) fn is_in_use(&self, position: usize) -> bool {
        self.servers
            .get(position)
            .is_some_and(|standing| standing.rests_until.is_none())
    }

    /// Nginx's smooth weighted round-robin: every one earns its weight, the richest pays for all.
    fn turn(&mut self, eligible: impl Fn(usize, &Standing) -> bool) -> Option<usize> {
        let mut total = 0;
        let mut richest: Option<(usize, i64)> = None;
        for (position, standing) in self.servers.iter_mut().enumerate() {
            if !eligible(position, standing) {
                continue;
            }
            total += standing.weight;
            standing.credit += standing.weight;
            if richest.is_none_or(|(_, credit)| standing.credit > credit) {
                richest = Some((position, standing.credit));
            }
        }
        let (picked, _) = richest?;
        self.servers[picked].credit -= total;
        Some(picked)
    }
}

/// What is known of one server.
#[derive(Clone, Debug)]
struct Standing {
    weight: i64,
    credit: i64,
    failures: u32,
    /// Set from the failure that took it out of use to the next success.
    rests_until: Option<Instant>,
}

impl Standing {
    fn in_use(&self, now: Instant) -> bool {
        self.rests_until.is_none_or(|until| until <= now)
    }
}

fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(FAILURES_BEFORE_REST).min(16);
    (FIRST_PAUSE * 2u32.pow(doublings)).min(LONGEST_PAUSE)
}

/// A single refused connection may be a server that restarts.
const FAILURES_BEFORE_REST: u32 = 2;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn picks(balance: &mut Balance, count: usize, now: Instant) -> Vec<usize> {
        (0..count).map(|_| balance.pick(&[], now).unwrap()).collect()
    }

    #[test]
    fn equal_servers_take_turns() {
        let mut balance = Balance::new([1, 1]);
        assert_eq!(picks(&mut balance, 6, Instant::now()), [0, 1, 0, 1, 0, 1]);
    }

    #[test]
    fn a_heavy_server_gets_its_share_spread_over_the_round() {
        let mut balance = Balance::new([5, 1, 1]);
        assert_eq!(picks(&mut balance, 7, Instant::now()), [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn a_server_rests_after_failures_and_one_connection_tries_it_again() {
        let mut balance = Balance::new([1, 1]);
        let start = Instant::now();
        assert_eq!(balance.failed(0, start), None);
        assert_eq!(balance.failed(0, start), Some(FIRST_PAUSE));
        assert_eq!(picks(&mut balance, 3, start), [1, 1, 1]);
        let later = start + FIRST_PAUSE;
        let tries = picks(&mut balance, 4, later)
            .iter()
            .filter(|&&server| server == 0)
            .count();
        assert_eq!(tries, 1);
        assert!(balance.succeeded(0));
        let share = picks(&mut balance, 4, later)
            .iter()
            .filter(|&&server| server == 0)
            .count();
        assert_eq!(share, 2);
    }

    #[test]
    fn each_failed_trial_doubles_the_rest_up_to_a_bound() {
        let mut balance = Balance::new([1, 1]);
        let start = Instant::now();
        for _ in 0..40 {
            balance.failed(0, start);
        }
        assert_eq!(picks(&mut balance, 2, start + LONGEST_PAUSE / 2), [1, 1]);
        assert!(picks(&mut balance, 4, start + LONGEST_PAUSE).contains(&0));
    }

    #[test]
    fn when_all_rest_all_are_tried() {
        let mut balance = Balance::new([1, 1]);
        let now = Instant::now();
        for server in [0, 0, 1, 1] {
            balance.failed(server, now);
        }
        let first = balance.pick(&[], now).unwrap();
        let second = balance.pick(&[first], now).unwrap();
        assert_ne!(first, second);
        assert_eq!(balance.pick(&[first, second], now), None);
    }
}
