//! When a CRL is got again.

use std::time::Duration;

use crate::clock::Timestamp;

/// What came of looking at one URL.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Attempts {
    next: Option<Timestamp>,
    failures: u32,
}

impl Attempts {
    /// The moment of the next look.
    pub(super) fn next(&self) -> Timestamp {
        self.next.unwrap_or(Timestamp::from_unix_seconds(0))
    }

    /// A CRL was had, whose successor is due at `next_update`: it is got again when half of the time until then is over, and
    /// after `refresh` at the latest.
    pub(super) fn succeeded(&mut self, now: Timestamp, refresh: Duration, next_update: Option<Timestamp>) {
        let half = next_update.map_or(refresh, |due| due.since(now) / 2);
        *self = Self {
            next: Some(now + refresh.min(half).max(SHORTEST)),
            failures: 0,
        };
    }

    /// None was had: twice as long after each failure, and no longer than `refresh`.
    pub(super) fn failed(&mut self, now: Timestamp, refresh: Duration) {
        let pause = SHORTEST * 2u32.pow(self.failures.min(10));
        *self = Self {
            next: Some(now + pause.min(refresh)),
            failures: self.failures + 1,
        };
    }
}

/// Between two looks, whatever a CRL says.
const SHORTEST: Duration = Duration::from_secs(10);
/// Configurations come and go: what is new in one is looked at no later than this.
pub(super) const LONGEST_SLEEP: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crl_is_got_in_time_and_a_url_that_fails_less_and_less_often() {
        const HOUR: Duration = Duration::from_secs(3600);
        let now = Timestamp::from_unix_seconds(1_800_000_000);
        let after = |next_update: Option<Duration>| {
            let mut attempts = Attempts::default();
            attempts.succeeded(now, HOUR, next_update.map(|from_now| now + from_now));
            attempts.next().since(now).as_secs()
        };
        assert_eq!(after(None), 3600);
        assert_eq!(after(Some(7 * 24 * HOUR)), 3600);
        assert_eq!(after(Some(HOUR)), 1800);
        assert_eq!(after(Some(Duration::from_secs(5))), 10);
        assert_eq!(after(Some(Duration::ZERO)), 10);

        let mut attempts = Attempts::default();
        assert!(attempts.next() <= now);
        let pauses: Vec<_> = (0..11)
            .map(|_| {
                attempts.failed(now, HOUR);
                attempts.next().since(now).as_secs()
            })
            .collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]);
        attempts.succeeded(now, HOUR, None);
        attempts.failed(now, HOUR);
        assert_eq!(attempts.next().since(now).as_secs(), 10);
    }
}
