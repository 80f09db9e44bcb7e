//! When a name that has a certificate is looked at again: a pure function.

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
}
