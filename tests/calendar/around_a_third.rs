//! A fleet whose CA suggests to renew when about a third of the lifetime is left, as Let's Encrypt does.

use certgate::config::Fraction;

use crate::fleet::{DAY, Fleet, HOUR, LIFETIME, start};

const COUNT: usize = 2_000;

#[test]
fn renewals_follow_a_window_around_a_third_left_and_an_outage_there_brings_no_alarm() {
    let mut fleet = Fleet::new(COUNT);
    fleet.ca.suggest_as_lets_encrypt();
    fleet.ca.failing = 20;
    fleet.live(start() + DAY * 150);
    assert_eq!(fleet.served(), COUNT);
    let before = fleet.least_left;
    let outage = fleet.rehearsal.now();
    fleet.ca.outage = Some(outage..outage + HOUR * 36);
    fleet.ca.hours.clear();
    fleet.live(start() + DAY * 365);

    let signed = fleet.ca.signed as f64 / COUNT as f64;
    let least_left = fleet.least_left.min(fleet.least_left_now());
    let busiest = fleet.ca.busiest_hour();
    println!(
        "{COUNT} certificates of 45 days, with windows from 34.3 to 32.3 % of the lifetime left, one order of fifty fails:\n\
         \x20 {:.1} % of the lifetime was left at least in 150 days, {:.1} % with an outage of 36 hours after them\n\
         \x20 {signed:.2} signed for each in a year, {busiest} in the busiest hour",
        before * 100.0,
        least_left * 100.0,
    );
    assert!(fleet.ca.refused.is_empty(), "{:?}", fleet.ca.refused.first());
    // They neither come earlier than the CA wants them, nor ever near the first alarm.
    assert!(
        (12.5..=13.1).contains(&signed),
        "{signed}, and not one, and another each 30 days"
    );
    assert!((1.0 / 3.0..0.35).contains(&before), "{before}");
    let [first, ..] = Fraction::USUAL_EXPIRING;
    let alarm = first.of(LIFETIME).as_secs_f64() / LIFETIME.as_secs_f64();
    assert!(least_left > alarm + 0.04, "{least_left}");
}
