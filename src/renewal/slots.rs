//! Which moments are taken by renewals, so that each new one finds a quiet one.

use std::collections::VecDeque;
use std::time::Duration;

use crate::certificate::{CertificateName, Leaf};
use crate::clock::Timestamp;
use crate::renewal::schedule::{self, Jitter};

/// The seconds that are taken by renewals.
///
/// No two renewals fall into the same second while there is room. Where many certificates were obtained together and
/// the hours of the usual window fill up, some are renewed earlier, so that after one lifetime at most the load is even.
#[derive(Debug)]
pub(super) struct Slots {
    /// From the hour `first` on, up to the last that has ever had some.
    hours: VecDeque<Option<Box<Hour>>>,
    first: i64,
    count: usize,
}

/// The seconds of an hour: a bit for each that is taken.
#[derive(Debug)]
struct Hour {
    seconds: [u64; (HOUR / 64 + 1) as usize],
    count: usize,
}

impl Slots {
    /// Those from `now` on: nothing is taken.
    pub(super) fn new(now: Timestamp) -> Self {
        let (first, ..) = place(now);
        Self {
            hours: VecDeque::new(),
            first,
            count: 0,
        }
    }

    /// Marks the second of a renewal that stands already; `false` where it was marked. What has passed is of no account, and
    /// nothing crowds in the far future.
    pub(super) fn take(&mut self, renew_at: Timestamp) -> bool {
        let (hour, word, bit) = place(renew_at);
        let Some(index) = self.index(hour).filter(|index| *index < FARTHEST) else {
            return true;
        };
        if index >= self.hours.len() {
            self.hours.resize_with(index + 1, || None);
        }
        let Some(hour) = self.hours.get_mut(index) else {
            return true;
        };
        let hour = hour.get_or_insert_default();
        let Some(word) = hour.seconds.get_mut(word).filter(|word| **word & bit == 0) else {
            return false;
        };
        *word |= bit;
        hour.count += 1;
        self.count += 1;
        true
    }

    /// Gives up that of a renewal that will not be then.
    pub(super) fn give_back(&mut self, renew_at: Timestamp) {
        let (hour, word, bit) = place(renew_at);
        if let Some(index) = self.index(hour)
            && let Some(Some(hour)) = self.hours.get_mut(index)
            && let Some(word) = hour.seconds.get_mut(word)
            && *word & bit != 0
        {
            *word &= !bit;
            hour.count -= 1;
            self.count -= 1;
        }
    }

    /// Chooses the renewal point of a certificate installed at `obtained_at`: in the usual window, or before it where
    /// that is crowded, and in a second of its own if one is found with a few draws.
    pub(super) fn choose(
        &mut self,
        name: &CertificateName,
        leaf: &Leaf,
        obtained_at: Timestamp,
        jitter: Jitter,
    ) -> Timestamp {
        self.forget(obtained_at);
        let fraction = |draw| jitter.fraction(name, obtained_at, draw);
        let crowded = self.crowded(leaf, obtained_at);
        let load = |point: Timestamp| self.load(point);
        let usual = schedule::renewal_point(leaf, obtained_at, fraction(0));
        let mut best = (load(usual), usual);
        for draw in 1..=WIDENED {
            if best.0 < crowded {
                break;
            }
            let widened = f64::from(draw) / f64::from(WIDENED);
            let point = schedule::early_point(leaf, obtained_at, fraction(draw), widened);
            best = best.min((load(point), point));
        }
        let point = best.1;
        // A second nearby is as quiet, and another hour is not.
        let nearby = |draw| {
            let span = NEARBY.min(point.since(obtained_at) / 100);
            point - span.mul_f64(fraction(WIDENED + draw))
        };
        let mut chosen = point;
        for draw in 1..=DRAWS {
            if self.take(chosen) {
                return chosen;
            }
            chosen = nearby(draw);
        }
        point
    }

    /// How many renewals are more than an hour should have: by what is marked between now and the end of the window.
    fn crowded(&self, leaf: &Leaf, obtained_at: Timestamp) -> usize {
        let latest = schedule::latest_point(leaf, obtained_at);
        let hours = (latest.since(obtained_at).as_secs() / HOUR).max(1);
        let even = self.count as f64 / hours as f64;
        ((even * UNEVEN) as usize).max(FEW)
    }

    /// How many are taken in the hour of `point`.
    fn load(&self, point: Timestamp) -> usize {
        let (hour, ..) = place(point);
        match self.index(hour).and_then(|index| self.hours.get(index)) {
            Some(Some(hour)) => hour.count,
            _ => 0,
        }
    }

    /// Where `hour` stands; `None` where it has passed.
    fn index(&self, hour: i64) -> Option<usize> {
        usize::try_from(hour.checked_sub(self.first)?).ok()
    }

    /// Whole hours: what is left of the present one is of no account.
    fn forget(&mut self, now: Timestamp) {
        let (present, ..) = place(now);
        // Where the clock was set back, those who know of renewals mark them again.
        if present < self.first {
            *self = Self::new(now);
        }
        while self.first < present
            && let Some(passed) = self.hours.pop_front()
        {
            self.first += 1;
            self.count -= passed.map_or(0, |hour| hour.count);
        }
        self.first = present;
    }
}

impl Default for Hour {
    fn default() -> Self {
        Self {
            seconds: [0; (HOUR / 64 + 1) as usize],
            count: 0,
        }
    }
}

/// The hour of a moment, and the word and bit of its second in there.
fn place(at: Timestamp) -> (i64, usize, u64) {
    let second = at.unix_seconds();
    let within = second.rem_euclid(HOUR as i64);
    (
        second.div_euclid(HOUR as i64),
        (within / 64) as usize,
        1 << (within % 64),
    )
}

const HOUR: u64 = 3_600;
/// Hours: ten years.
const FARTHEST: usize = 10 * 365 * 24;
/// So many in an hour are never too many.
const FEW: usize = 30;
/// How far an hour may be above the even load.
const UNEVEN: f64 = 1.25;
/// Draws for a quieter hour, each from a wider window.
const WIDENED: u32 = 12;
/// Draws for a second of its own.
const DRAWS: u32 = 64;
const NEARBY: Duration = Duration::from_secs(HOUR);

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    fn start() -> Timestamp {
        Timestamp::from_unix_seconds(1_795_219_200)
    }

    fn leaf(lifetime: u64) -> Leaf {
        Leaf {
            names: vec![],
            not_before: start(),
            not_after: start() + Duration::from_secs(lifetime),
            serial: String::new(),
            issuer: String::new(),
            key: String::new(),
            fingerprint: String::new(),
        }
    }

    /// The renewal points of `count` certificates of 45 days that were obtained together, in days.
    fn points(count: usize) -> (Slots, Vec<f64>) {
        let (mut slots, leaf) = (Slots::new(start()), leaf(45 * DAY));
        let points = (0..count).map(|n| {
            let name = CertificateName::parse(&format!("c{n}")).unwrap();
            let point = slots.choose(&name, &leaf, start(), Jitter::new(5));
            point.since(start()).as_secs_f64() / DAY as f64
        });
        let points = points.collect();
        (slots, points)
    }

    #[test]
    fn a_thousand_obtained_together_stay_in_the_usual_window_each_in_a_second_of_its_own() {
        let (slots, points) = points(1_000);
        assert!(points.iter().all(|point| (24.7..=27.0).contains(point)));
        assert_eq!(slots.count, 1_000);
    }

    #[test]
    fn of_very_many_obtained_together_some_are_renewed_earlier_and_no_hour_is_crowded() {
        let (slots, points) = points(20_000);
        assert!(points.iter().all(|point| (11.0..=27.0).contains(point)));
        let busiest = slots.hours.iter().flatten().map(|hour| hour.count).max().unwrap();
        let even = 20_000.0 / (27.0 * 24.0);
        assert!(
            (busiest as f64) < even * 2.0,
            "{busiest} in an hour, {even} on average"
        );
    }

    #[test]
    fn what_is_given_back_is_free_again() {
        let (mut slots, at) = (Slots::new(start()), start() + Duration::from_secs(DAY));
        assert!(slots.take(at) && !slots.take(at));
        assert_eq!((slots.count, slots.load(at)), (1, 1));
        slots.give_back(at);
        slots.give_back(at);
        assert_eq!((slots.count, slots.load(at)), (0, 0));
        assert!(slots.take(at));
    }

    #[test]
    fn what_has_passed_and_what_is_far_away_takes_no_second() {
        let mut slots = Slots::new(start());
        let far = start() + Duration::from_secs(20 * 365 * DAY);
        for at in [start() - Duration::from_secs(DAY), far] {
            assert!(slots.take(at) && slots.take(at));
            slots.give_back(at);
            assert_eq!((slots.count, slots.load(at), slots.hours.len()), (0, 0, 0));
        }
    }

    #[test]
    fn hours_that_have_passed_are_forgotten_and_a_clock_that_was_set_back_begins_anew() {
        let mut slots = Slots::new(start());
        let hours = |hours: u64| start() + Duration::from_secs(hours * HOUR);
        assert!(slots.take(hours(2)) && slots.take(hours(5)));
        slots.forget(hours(3));
        assert_eq!(
            (slots.count, slots.load(hours(2)), slots.load(hours(5))),
            (1, 0, 1)
        );
        slots.forget(hours(100));
        assert_eq!((slots.count, slots.hours.len()), (0, 0));
        assert!(slots.take(hours(101)));
        slots.forget(hours(0));
        assert_eq!(slots.count, 0);
        assert!(slots.take(hours(101)) && slots.take(hours(1)));
        assert_eq!((slots.load(hours(101)), slots.load(hours(1))), (1, 1));
    }
}
