//! How fast renewals that can wait follow each other at one issuer: pure.
//!
//! After an outage, or when a CA wants a part of its certificates replaced, more is due than a CA should be asked for
//! in an hour. What can wait is then begun at a steady pace, somewhat faster than certificates come to their renewal by
//! themselves. A few are always begun at once, so that only large fleets ever notice.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::issuer::ledger::Quota;

/// The pace at one issuer.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Renewals in a thousand million hours.
    load: u64,
    full_at: Timestamp,
}

impl Pace {
    /// A certificate of this load has to be renewed again and again.
    pub(super) fn add(&mut self, load: u64) {
        self.load = self.load.saturating_add(load);
    }

    /// It has not, any more.
    pub(super) fn remove(&mut self, load: u64) {
        self.load = self.load.saturating_sub(load);
    }

    /// When the next one may be begun; in the past where it may be now.
    pub(super) fn free_at(&self) -> Timestamp {
        self.quota().free_at(self.full_at)
    }

    /// One is begun. What was begun although it had to wait is not made up for.
    pub(super) fn take(&mut self, now: Timestamp) {
        let quota = self.quota();
        let empty = now + quota.refill * quota.tokens;
        self.full_at = quota.take(self.full_at, now).min(empty);
    }

    fn quota(&self) -> Quota {
        let by_load = self.load.saturating_mul(17) / 10 / LOADS;
        let hourly = by_load.max(LEAST);
        Quota {
            tokens: u32::try_from((hourly / 10).max(AT_ONCE)).unwrap_or(u32::MAX),
            refill: HOUR / u32::try_from(hourly).unwrap_or(u32::MAX),
        }
    }
}

/// How often a certificate that is of use for `lifetime` is renewed.
pub(super) fn load(lifetime: Duration) -> u64 {
    let interval = lifetime.max(Duration::from_secs(1)).as_secs_f64() * USED;
    (LOADS as f64 * HOUR.as_secs_f64() / interval) as u64
}

const HOUR: Duration = Duration::from_secs(3_600);
const LOADS: u64 = 1_000_000_000;
/// In an hour, however few certificates there are.
const LEAST: u64 = 120;
/// So many after a quiet time.
const AT_ONCE: u64 = 30;
/// The part of a lifetime after which a certificate is renewed, by and large.
const USED: f64 = 0.575;

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn begun(pace: &mut Pace, hours: u32) -> u32 {
        let start = Timestamp::from_unix_seconds(1_795_219_200);
        let (mut now, mut count) = (start, 0);
        while now < start + HOUR * hours {
            pace.take(now);
            count += 1;
            now = now.max(pace.free_at());
        }
        count
    }

    #[test]
    fn a_few_are_begun_at_once_and_then_one_every_half_minute() {
        let mut pace = Pace::default();
        let count = begun(&mut pace, 1);
        assert!((148..=152).contains(&count), "{count}");
    }

    #[test]
    fn a_large_fleet_is_renewed_less_than_twice_as_fast_as_it_has_to_be() {
        let mut pace = Pace::default();
        for _ in 0..100_000 {
            pace.add(load(45 * DAY));
        }
        let needed = 10.0 * 100_000.0 / (45.0 * 24.0 * USED);
        let found = f64::from(begun(&mut pace, 10));
        assert!(
            (1.6..1.8).contains(&(found / needed)),
            "{found} instead of {needed}"
        );
    }

    #[test]
    fn what_could_not_wait_holds_back_what_can_for_minutes_at_most() {
        let (mut pace, now) = (Pace::default(), Timestamp::from_unix_seconds(1_795_219_200));
        for _ in 0..10_000 {
            pace.take(now);
        }
        assert!(pace.free_at().since(now) <= Duration::from_secs(60));
    }
}
