//! When something that has failed is tried again.

use std::time::Duration;

/// The pause after `attempts` of at most `allowed` that have failed; `None`: that was the last one.
pub fn after_failure(attempts: u32, allowed: u32) -> Option<Duration> {
    if attempts >= allowed {
        return None;
    }
    let index = usize::try_from(attempts.saturating_sub(1)).ok()?;
    PAUSES.get(index).map(|seconds| Duration::from_secs(*seconds))
}

/// The most attempts that there are pauses for.
pub const MOST_ATTEMPTS: u32 = 10;

/// Seconds: first what a restart of the receiver takes, then what a person needs, over a weekend too.
const PAUSES: [u64; MOST_ATTEMPTS as usize - 1] =
    [1, 10, 60, 600, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 24 * 3600];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_day_and_end_after_the_last_attempt() {
        let pauses = |allowed| -> Vec<u64> {
            (1..)
                .map_while(|attempts| after_failure(attempts, allowed))
                .map(|pause| pause.as_secs())
                .collect()
        };
        for (allowed, expected) in [
            (10, &[1, 10, 60, 600, 3600, 10_800, 21_600, 43_200, 86_400][..]),
            (3, &[1, 10]),
            (1, &[]),
            // More than there are pauses for is no more than that.
            (99, &[1, 10, 60, 600, 3600, 10_800, 21_600, 43_200, 86_400]),
        ] {
            assert_eq!(pauses(allowed), expected, "of {allowed}");
        }
        let two_days = Duration::from_secs(pauses(10).iter().sum());
        assert!(two_days > Duration::from_secs(46 * 3600));
    }
}
