//! How long to wait after a failure: a ladder, shortened where a certificate does not live long.
//!
//! The ladder is that of Let's Encrypt's integration guide: 1 minute, 10 minutes, 100 minutes, then once a day.
//! While a certificate is still valid no pause is longer than a quarter of the time it has left, so a
//! certificate of ten minutes is tried again, and again, before it expires; and none, but for a quarter of a day, is longer
//! than half of the time until a third of its lifetime is left, so that an outage ends in time for one more try. After its end nothing more can be
//! lost, and the ladder holds again, with no step longer than a tenth of the lifetime.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::inventory::CurrentCertificate;
use crate::renewal::schedule;

/// What a pause must not outlast.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Validity {
    /// How long the certificate is of use in all.
    pub lifetime: Duration,
    /// How long it still is; zero when it has expired.
    pub left: Duration,
}

impl Validity {
    /// That of `current` at `now`.
    pub fn of(current: &CurrentCertificate, now: Timestamp) -> Self {
        Self {
            lifetime: schedule::lifetime(&current.leaf, current.obtained_at),
            left: current.leaf.not_after.since(now),
        }
    }

    fn longest_pause(self) -> Duration {
        let shortest = (self.lifetime / 100).clamp(SHORTEST, HOUR);
        let before_third = self.left.saturating_sub(self.lifetime / 3);
        match (self.left.is_zero(), before_third.is_zero()) {
            (true, _) => self.lifetime / 10,
            (false, true) => self.left / 4,
            (false, false) => (self.left / 4).min((before_third / 2).max(QUARTER_DAY)),
        }
        .max(shortest)
    }
}

/// The pause after the `failures`-th failed attempt in a row. `fraction`, from 0 to 1, makes it up to a tenth
/// shorter or longer; `validity` is that of the certificate there is, if there is one.
pub fn after_failure(failures: u32, validity: Option<Validity>, fraction: f64) -> Duration {
    let step = match failures {
        0 | 1 => MINUTE,
        2 => 10 * MINUTE,
        3 => 100 * MINUTE,
        _ => DAY,
    };
    limited(step, validity, fraction)
}

/// The pause after DNS said no `checks` times in a row. A look-up costs next to nothing and an operator may be
/// putting it right at this moment: from ten seconds, doubled up to an hour. Where it will be right by itself when `end` has
/// gone by, that is waited for, but it may be put right before: from six minutes.
pub fn after_dns_check(
    checks: u32,
    end: Option<Duration>,
    validity: Option<Validity>,
    fraction: f64,
) -> Duration {
    let doubled = SHORTEST
        .saturating_mul(1 << checks.saturating_sub(1).min(16))
        .min(HOUR);
    match end {
        None => limited(doubled, validity, fraction),
        // What resolvers may remember is told by the record, so it can be anything.
        Some(end) => limited(doubled.max(SIX_MINUTES), validity, fraction).min(end.max(SHORTEST)),
    }
}

/// The pause after a failure that waiting alone does not mend. Not for ever: what has to be changed may lie where
/// certgate cannot see it, and a cause taken for lasting may pass after all.
pub fn after_stop(fraction: f64) -> Duration {
    limited(DAY, None, fraction)
}

/// The moment the server asked for, kept sane: never in the past, never more than a week away, and up to a minute
/// later so that not everybody comes back in the same second.
pub fn not_before(asked_for: Timestamp, now: Timestamp, fraction: f64) -> Timestamp {
    let wait = asked_for.since(now).min(7 * DAY);
    now + wait + (wait / 10).min(MINUTE).mul_f64(fraction.clamp(0.0, 1.0))
}

/// The pause after the clock was found to be wrong: to look again costs one small request.
pub const AFTER_WRONG_CLOCK: Duration = Duration::from_secs(300);

fn limited(step: Duration, validity: Option<Validity>, fraction: f64) -> Duration {
    let longest = validity.map_or(step, Validity::longest_pause);
    step.min(longest).mul_f64(0.9 + 0.2 * fraction.clamp(0.0, 1.0))
}

const MINUTE: Duration = Duration::from_secs(60);
/// A little longer than many records live.
const SIX_MINUTES: Duration = Duration::from_secs(360);
const HOUR: Duration = Duration::from_secs(3_600);
const QUARTER_DAY: Duration = Duration::from_secs(6 * 3_600);
const DAY: Duration = Duration::from_secs(86_400);
const SHORTEST: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(lifetime: Duration, left: Duration, failures: u32) -> u64 {
        let validity = Some(Validity { lifetime, left });
        let pause = after_failure(failures, validity, 0.5);
        assert!(after_failure(failures, validity, 0.0) >= pause.mul_f64(0.899));
        assert!(after_failure(failures, validity, 1.0) <= pause.mul_f64(1.101));
        pause.as_secs()
    }

    #[test]
    fn without_a_certificate_the_ladder_holds() {
        let ladder: Vec<_> = (1..=6).map(|n| after_failure(n, None, 0.5).as_secs()).collect();
        assert_eq!(ladder, [60, 600, 6_000, 86_400, 86_400, 86_400]);
    }

    #[test]
    fn the_pause_by_lifetime_time_left_and_failures() {
        for (lifetime, left, pauses) in [
            // As at the beginning of renewal: the ladder, where a quarter of what is left allows it.
            (90 * DAY, 30 * DAY, [60, 600, 6_000, 86_400]),
            (45 * DAY, 15 * DAY, [60, 600, 6_000, 86_400]),
            (160 * HOUR, 80 * HOUR, [60, 600, 6_000, 48_000]),
            (45 * DAY, 18 * DAY, [60, 600, 6_000, 86_400]),
            (45 * DAY, 16 * DAY, [60, 600, 6_000, 43_200]),
            (45 * DAY, 15 * DAY + HOUR, [60, 600, 6_000, 21_600]),
            (HOUR, HOUR / 2, [60, 450, 450, 450]),
            (10 * MINUTE, 5 * MINUTE, [60, 75, 75, 75]),
            // Close to the end: never below a floor that suits the lifetime.
            (90 * DAY, 2 * DAY, [60, 600, 6_000, 43_200]),
            (90 * DAY, HOUR, [60, 600, 3_600, 3_600]),
            (160 * HOUR, HOUR, [60, 600, 3_600, 3_600]),
            (HOUR, 2 * MINUTE, [36, 36, 36, 36]),
            (10 * MINUTE, MINUTE, [15, 15, 15, 15]),
            (10 * MINUTE, Duration::from_secs(4), [10, 10, 10, 10]),
            // Expired.
            (90 * DAY, Duration::ZERO, [60, 600, 6_000, 86_400]),
            (160 * HOUR, Duration::ZERO, [60, 600, 6_000, 57_600]),
            (HOUR, Duration::ZERO, [60, 360, 360, 360]),
            (10 * MINUTE, Duration::ZERO, [60, 60, 60, 60]),
        ] {
            let found = [1, 2, 3, 4].map(|failures| seconds(lifetime, left, failures));
            assert_eq!(found, pauses, "lifetime {lifetime:?}, left {left:?}");
        }
    }

    #[test]
    fn a_certificate_of_ten_minutes_is_tried_several_times_before_it_expires() {
        let (mut left, mut failures) = (5 * MINUTE, 0);
        while !left.is_zero() {
            failures += 1;
            let validity = Validity {
                lifetime: 10 * MINUTE,
                left,
            };
            left = left.saturating_sub(after_failure(failures, Some(validity), 0.5));
        }
        assert!((8..20).contains(&failures), "{failures} attempts");
    }

    #[test]
    fn dns_is_asked_again_soon_and_then_every_hour() {
        let pauses: Vec<_> = (1..=11)
            .map(|n| after_dns_check(n, None, None, 0.5).as_secs())
            .collect();
        assert_eq!(
            pauses,
            [10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 3_600, 3_600]
        );
        assert_eq!(after_dns_check(u32::MAX, None, None, 0.5), HOUR);
    }

    #[test]
    fn what_will_be_right_at_a_known_time_is_looked_at_then_and_in_between() {
        let short = Some(Validity {
            lifetime: HOUR,
            left: 8 * MINUTE,
        });
        for (checks, end, validity, pause) in [
            (1, Duration::ZERO, None, SHORTEST),
            (1, Duration::from_secs(5), None, SHORTEST),
            (1, 5 * MINUTE, None, 5 * MINUTE),
            (1, HOUR, None, SIX_MINUTES),
            (6, HOUR, None, SIX_MINUTES),
            (7, HOUR, None, Duration::from_secs(640)),
            (20, 20 * MINUTE, None, 20 * MINUTE),
            (20, DAY, None, HOUR),
            (1, HOUR, short, 2 * MINUTE),
        ] {
            let found = after_dns_check(checks, Some(end), validity, 0.5);
            assert_eq!(found, pause, "{checks} {end:?} {validity:?}");
        }
    }

    #[test]
    fn what_the_server_asks_for_is_kept_sane() {
        let now = Timestamp::from_unix_seconds(1_795_219_200);
        assert_eq!(not_before(now + HOUR, now, 0.0), now + HOUR);
        assert_eq!(not_before(now + HOUR, now, 1.0), now + HOUR + MINUTE);
        assert_eq!(not_before(now - HOUR, now, 1.0), now);
        assert_eq!(not_before(now + 400 * DAY, now, 0.0), now + 7 * DAY);
    }
}
