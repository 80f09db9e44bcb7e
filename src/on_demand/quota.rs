//! So many in any window of time, and no more.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Counts exactly: it remembers when each was taken, so two windows side by side never hold twice as many between them.
#[derive(Debug)]
pub(super) struct Quota {
    most: usize,
    window: Duration,
    taken: VecDeque<Instant>,
}

impl Quota {
    /// `most` in each `window`.
    pub(super) fn new(most: usize, window: Duration) -> Self {
        Self {
            most,
            window,
            taken: VecDeque::new(),
        }
    }

    /// Takes one at `now`; false when there is none left.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        while self
            .taken
            .front()
            .is_some_and(|first| now.duration_since(*first) >= self.window)
        {
            self.taken.pop_front();
        }
        let is_left = self.taken.len() < self.most;
        if is_left {
            self.taken.push_back(now);
        }
        is_left
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn what_was_taken_comes_back_when_the_window_has_moved_past_it() {
        let (mut quota, start) = (Quota::new(2, MINUTE), Instant::now());
        let mut take = |seconds| quota.take(start + Duration::from_secs(seconds));
        assert_eq!(
            [take(0), take(30), take(59), take(60), take(61), take(90)],
            [true, true, false, true, false, true]
        );
    }

    proptest! {
        #[test]
        fn no_window_holds_more_than_it_may(
            most in 1..5_usize,
            steps in proptest::collection::vec(0..40_u64, 1..200),
        ) {
            let (mut quota, start, mut seconds) = (Quota::new(most, MINUTE), Instant::now(), 0);
            let mut taken = Vec::new();
            for step in steps {
                seconds += step;
                if quota.take(start + Duration::from_secs(seconds)) {
                    taken.push(seconds);
                }
            }
            for from in &taken {
                let within = taken.iter().filter(|at| (*from..*from + 60).contains(*at));
                prop_assert!(within.count() <= most);
            }
            prop_assert!(quota.taken.len() <= most);
        }
    }
}
