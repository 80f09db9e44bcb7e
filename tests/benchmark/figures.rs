//! Medians, spreads, digits, and the time that is left.

use std::time::Duration;

use crate::measure::Measure;
use crate::pace::{left, spoken};
use crate::scenario::Scenario;
use crate::statistics::Samples;
use crate::table::number;

#[test]
fn the_median_is_the_middle_or_between_the_two_in_the_middle() {
    for (values, median) in [
        (vec![], None),
        (vec![7.0], Some(7.0)),
        (vec![9.0, 1.0], Some(5.0)),
        (vec![9.0, 1.0, 2.0], Some(2.0)),
        (vec![4.0, 1.0, 3.0, 2.0], Some(2.5)),
    ] {
        assert_eq!(Samples::from(values.clone()).median(), median, "{values:?}");
    }
}

#[test]
fn samples_stay_in_the_order_of_the_rounds() {
    let mut samples = Samples::default();
    for value in [3.0, 1.0, 2.0] {
        samples.push(value);
    }
    assert_eq!(samples.values(), [3.0, 1.0, 2.0]);
    assert_eq!((samples.min(), samples.max()), (Some(1.0), Some(3.0)));
}

#[test]
fn the_spread_is_from_the_least_to_the_most_in_hundredths_of_the_median() {
    assert_eq!(Samples::from(vec![80.0, 100.0, 110.0]).spread(), Some(30.0));
    assert_eq!(Samples::from(vec![80.0]).spread(), Some(0.0));
    assert_eq!(Samples::default().spread(), None);
}

#[test]
fn three_digits_count() {
    for (value, text) in [
        (0.0, "0"),
        (0.3125, "0.312"),
        (0.9997, "1.00"),
        (1.5, "1.50"),
        (9.996, "10.0"),
        (12.34, "12.3"),
        (99.96, "100"),
        (1168.4, "1168"),
    ] {
        assert_eq!(number(value), text);
    }
}

#[test]
fn scenarios_and_measures_have_names_of_their_own() {
    for scenario in Scenario::all() {
        assert_eq!(Scenario::named(&scenario.name()), Some(*scenario));
    }
    for measure in Measure::ALL {
        assert_eq!(Measure::named(measure.key()), Some(*measure));
    }
    assert_eq!(Scenario::named("certs-10k"), Some(Scenario::Certs10k));
    assert_eq!(
        (Scenario::named("nothing"), Measure::named("nothing")),
        (None, None)
    );
}

#[test]
fn the_time_left_is_that_of_the_rounds_that_are_over() {
    let seconds = Duration::from_secs;
    assert_eq!(left(seconds(30), &[], 5), None);
    assert_eq!(left(seconds(70), &[seconds(60)], 5), Some(seconds(230)));
    // The first one has made the certificates.
    let over = [seconds(300), seconds(60), seconds(40)];
    assert_eq!(left(seconds(410), &over, 5), Some(seconds(90)));
    // The last one takes longer than the others.
    assert_eq!(
        left(seconds(500), &[seconds(100), seconds(100)], 3),
        Some(Duration::ZERO)
    );
}

#[test]
fn times_are_spoken_in_minutes_and_seconds() {
    assert_eq!(spoken(Duration::from_millis(6_600)), "7 s");
    assert_eq!(spoken(Duration::from_secs(723)), "12 min 3 s");
}
