//! Which moments are taken by renewals, so that each new one finds a quiet one.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::certificate::{CertificateName, Leaf};
use crate::clock::Timestamp;
use crate::renewal::schedule::{self, Jitter};

/// The seconds that are taken by renewals.
///
/// No two renewals fall into the same second while there is room. Where many certificates were obtained together and
/// the hours of the usual window fill up, some are renewed earlier, so that after one lifetime at most the load is even.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// Of each hour that has some, in order.
    hours: BTreeMap<i64, Vec<i64>>,
    count: usize,
}

impl Slots {
    /// Marks the second of a renewal that stands already.
    pub(super) fn take(&mut self, renew_at: Timestamp) {
        let second = renew_at.unix_seconds();
        let hour = self.hours.entry(hour(second)).or_default();
        if let Err(place) = hour.binary_search(&second) {
            hour.insert(place, second);
            self.count += 1;
        }
    }

    /// Gives up that of a renewal that will not be then.
    pub(super) fn give_back(&mut self, renew_at: Timestamp) {
        let second = renew_at.unix_seconds();
        if let Some(hour) = self.hours.get_mut(&hour(second))
            && let Ok(place) = hour.binary_search(&second)
        {
            hour.remove(place);
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
        let load = |point: Timestamp| self.taken(point).len();
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
        let is_free = |point: &Timestamp| self.taken(*point).binary_search(&point.unix_seconds()).is_err();
        // A second nearby is as quiet, and another hour is not.
        let nearby = (0..DRAWS).map(|draw| {
            point
                - NEARBY
                    .min(point.since(obtained_at) / 100)
                    .mul_f64(fraction(WIDENED + 1 + draw))
        });
        let chosen = std::iter::once(point).chain(nearby).find(is_free);
        let chosen = chosen.unwrap_or(point);
        self.take(chosen);
        chosen
    }

    /// How many renewals are more than an hour should have: by what is marked between now and the end of the window.
    fn crowded(&self, leaf: &Leaf, obtained_at: Timestamp) -> usize {
        let latest = schedule::latest_point(leaf, obtained_at);
        let hours = (latest.since(obtained_at).as_secs() / HOUR).max(1);
        let even = self.count as f64 / hours as f64;
        ((even * UNEVEN) as usize).max(FEW)
    }

    /// The seconds that are taken in the hour of `point`.
    fn taken(&self, point: Timestamp) -> &[i64] {
        let hour = hour(point.unix_seconds());
        self.hours.get(&hour).map_or(&[], Vec::as_slice)
    }

    /// Whole hours: what is left of the present one is of no account.
    fn forget(&mut self, now: Timestamp) {
        let present = hour(now.unix_seconds());
        while let Some(first) = self.hours.first_entry().filter(|first| *first.key() < present) {
            self.count -= first.remove().len();
        }
    }
}

fn hour(second: i64) -> i64 {
    second.div_euclid(HOUR as i64)
}

const HOUR: u64 = 3_600;
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
        let (mut slots, leaf) = (Slots::default(), leaf(45 * DAY));
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
        let busiest = slots.hours.values().map(Vec::len).max().unwrap();
        let even = 20_000.0 / (27.0 * 24.0);
        assert!(
            (busiest as f64) < even * 2.0,
            "{busiest} in an hour, {even} on average"
        );
    }

    #[test]
    fn what_is_given_back_is_free_again() {
        let (mut slots, at) = (Slots::default(), start() + Duration::from_secs(DAY));
        slots.take(at);
        slots.take(at);
        slots.give_back(at);
        assert_eq!((slots.count, slots.taken(at).len()), (0, 0));
    }
}
