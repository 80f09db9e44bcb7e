//! 100,000 certificates of 45 days, obtained in the same hour, over two years: with failures, an outage of 36 hours, and
//! one of ten of them to be replaced at once.

use std::time::Instant;

use crate::fleet::{DAY, Fleet, HOUR, start};

const COUNT: usize = 100_000;

#[test]
fn a_hundred_thousand_certificates_live_two_years_without_a_limit_hit_or_a_third_undershot() {
    let began = Instant::now();
    let mut fleet = Fleet::new(COUNT);
    fleet.obtain_at_once();
    assert_eq!(fleet.obtained.iter().flatten().count(), COUNT);
    fleet.know_limits();
    fleet.ca.failing = 20;

    let outage = start() + DAY * 200;
    fleet.ca.outage = Some(outage..outage + HOUR * 36);
    let revocation = start() + DAY * 400;
    fleet.live(revocation);
    // Each is asked about within six hours.
    for n in 0..COUNT / 10 {
        fleet.live(revocation + HOUR * 6 * n as u32 / (COUNT as u32 / 10));
        fleet.ca.revoke(n * 10);
        fleet.ask(n * 10);
    }
    let revoked_until = (0..COUNT / 10).map(|n| n * 10);
    let mut replaced_after = None;
    for hour in 6..240 {
        fleet.live(revocation + HOUR * hour);
        let left: Vec<_> = revoked_until.clone().filter(|n| fleet.obtained[*n].unwrap() <= revocation).collect();
        if hour % 24 == 0 { println!("DBG {hour} {} {:?}", left.len(), left.first().map(|n| fleet.rehearsal.record(&fleet.desired[*n].name))); }
        let all = left.is_empty();
        if all && replaced_after.is_none() {
            replaced_after = Some(hour);
        }
    }
    let years = 730;
    fleet.live(start() + DAY * years);

    let orders: u32 = fleet.ca.hours.values().sum();
    let mean = f64::from(orders) / f64::from(years * 24);
    let busiest = *fleet.ca.hours.values().max().unwrap();
    let least_left = fleet.least_left.min(fleet.least_left_now());
    println!(
        "100,000 certificates of 45 days over two years, obtained in one hour, then:\n\
         \x20 {signed} signed, {failed} orders failed, {orders} orders in all\n\
         \x20 {refused} orders refused by a limit\n\
         \x20 {least:.1} % of the lifetime was left at least\n\
         \x20 {mean:.0} orders in an hour on average, {busiest} in the busiest: {ratio:.2} times as many\n\
         \x20 one of ten to be replaced at once: the last one after {replaced_after:?} hours\n\
         \x20 simulated in {elapsed:.1} s",
        signed = fleet.ca.signed,
        failed = fleet.ca.failed,
        refused = fleet.ca.refused.len(),
        least = least_left * 100.0,
        ratio = f64::from(busiest) / mean,
        elapsed = began.elapsed().as_secs_f64(),
    );
    assert_eq!(fleet.ca.refused.first(), None);
    assert!(least_left >= 1.0 / 3.0, "{least_left}");
    assert!(f64::from(busiest) <= 2.0 * mean, "{busiest}");
    assert!(replaced_after.is_some_and(|hours| hours <= 120));
    assert!(began.elapsed().as_secs() < 60);
}
