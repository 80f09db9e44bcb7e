//! When a name that has a certificate is looked at again, and when it is to be told that nothing is known of it: pure
//! functions.

use std::time::Duration;

use crate::clock::Timestamp;

/// What the last look brought.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LastCheck {
    /// When it was.
    pub at: Timestamp,
    /// Whether everything was as it should be.
    pub good: bool,
}

/// When the names of a certificate are looked at again.
///
/// `renew_at` is when its successor will be ordered, which looks by itself; `fraction`, from 0 to 1, spreads the
/// certificates of one gateway apart. Names that are right are looked at every 12 hours, and at least eight times
/// before a renewal that is nearer than that; names that are not, every half hour, so that it is known soon when
/// they are.
pub fn next_check(
    last: Option<LastCheck>,
    renew_at: Option<Timestamp>,
    now: Timestamp,
    fraction: f64,
) -> Timestamp {
    let spread = |span: Duration| span.mul_f64(fraction.clamp(0.0, 1.0));
    let Some(last) = last else {
        return now + spread(FIRST);
    };
    let pause = match (last.good, renew_at) {
        (false, _) => WRONG,
        (true, None) => RIGHT,
        (true, Some(renew_at)) => (renew_at.since(last.at) / LOOKS).clamp(SHORTEST, RIGHT),
    };
    // A clock that was set back would put the next look off for as long.
    let from = last.at.min(now);
    from + pause + spread(pause / 10)
}

/// Looks one after the other that have found nothing out for sure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Waiting {
    /// When the first of them was.
    pub since: Timestamp,
    /// How many there were.
    pub looks: u32,
}

/// Whether that is no hitch any more, and has to be told before the next order fails of it.
///
/// It lasts a day, or, where the end of it is known, as long as resolvers remember anything; but no longer than half the
/// time that there was until `renew_at`, and several looks in any case: a night without a gateway is one look.
pub fn is_lasting(
    waiting: Waiting,
    until: Option<Timestamp>,
    renew_at: Option<Timestamp>,
    now: Timestamp,
) -> bool {
    let patience = match until {
        Some(_) => LONGEST_MEMORY,
        None => DAY,
    };
    let patience = renew_at.map_or(patience, |renew_at| {
        patience.min(renew_at.since(waiting.since) / 2)
    });
    waiting.looks >= SEVERAL && now.since(waiting.since) >= patience
}

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Resolvers keep no record longer, whatever its lifetime says.
const LONGEST_MEMORY: Duration = Duration::from_secs(7 * 24 * 3600);
const SEVERAL: u32 = 4;

const FIRST: Duration = Duration::from_secs(60);
const RIGHT: Duration = Duration::from_secs(12 * 3600);
const WRONG: Duration = Duration::from_secs(1800);
const SHORTEST: Duration = Duration::from_secs(600);
const LOOKS: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;
    const HOUR: i64 = 3600;

    #[test]
    fn the_next_look_is_when_it_is_useful() {
        for (last, renew_in, fraction, expected) in [
            (None, Some(60 * 24 * HOUR), 0.0, 0),
            (None, None, 0.5, 30),
            (Some((0, true)), None, 0.0, 12 * HOUR),
            (Some((0, true)), Some(60 * 24 * HOUR), 0.0, 12 * HOUR),
            (Some((0, true)), Some(60 * 24 * HOUR), 1.0, 12 * HOUR + 72 * 60),
            (Some((0, true)), Some(48 * HOUR), 0.0, 6 * HOUR),
            (Some((0, true)), Some(8 * HOUR), 0.0, HOUR),
            (Some((0, true)), Some(60), 0.0, 600),
            (Some((0, true)), Some(-HOUR), 0.0, 600),
            (Some((0, false)), Some(60 * 24 * HOUR), 0.0, HOUR / 2),
            (Some((-HOUR, false)), None, 0.0, -HOUR / 2),
            (Some((24 * HOUR, true)), None, 0.0, 12 * HOUR),
        ] {
            let at = |seconds: i64| Timestamp::from_unix_seconds(NOW + seconds);
            let last_check = last.map(|(seconds, good)| LastCheck {
                at: at(seconds),
                good,
            });
            let next = next_check(last_check, renew_in.map(at), at(0), fraction);
            assert_eq!(next, at(expected), "{last:?} {renew_in:?} {fraction}");
        }
    }

    #[test]
    fn a_wait_lasts_after_a_day_and_sooner_where_the_renewal_is_near() {
        let far = Some(60 * 24 * HOUR);
        for (ago, looks, until, renew_in, expected) in [
            (24 * HOUR, 48, None, far, true),
            (24 * HOUR - 1, 48, None, far, false),
            (24 * HOUR, 3, None, far, false),
            (24 * HOUR, 4, None, None, true),
            (0, 4, None, None, false),
            (2 * HOUR, 4, None, Some(3 * HOUR), false),
            (2 * HOUR, 4, None, Some(2 * HOUR), true),
            (2 * HOUR, 3, None, Some(2 * HOUR), false),
            (HOUR, 4, None, Some(-2 * HOUR), true),
            (48 * HOUR, 96, Some(HOUR), far, false),
            (7 * 24 * HOUR, 300, Some(HOUR), far, true),
            (2 * HOUR, 4, Some(HOUR), Some(2 * HOUR), true),
            (-HOUR, 4, None, far, false),
        ] {
            let at = |seconds: i64| Timestamp::from_unix_seconds(NOW + seconds);
            let waiting = Waiting {
                since: at(-ago),
                looks,
            };
            let lasts = is_lasting(waiting, until.map(at), renew_in.map(at), at(0));
            assert_eq!(lasts, expected, "{ago} {looks} {until:?} {renew_in:?}");
        }
    }
}
