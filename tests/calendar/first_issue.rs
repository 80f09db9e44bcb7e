//! 100,000 names for which there is no certificate yet: the account's limit paces them.

use std::collections::BTreeMap;

use certgate::config::RateLimits;
use certgate::issuer::ledger::{Ledger, OrderKind};
use certgate::renewal::{Jitter, Present, forecast};

use crate::fleet::{DAY, Fleet, HOUR, LIFETIME, start};

const COUNT: usize = 100_000;

#[test]
fn a_hundred_thousand_new_names_are_obtained_as_fast_as_the_ca_allows_and_as_the_plan_says() {
    let mut fleet = Fleet::new(COUNT);
    let present = Present {
        now: start(),
        desired: fleet.desired.clone(),
        records: Vec::new(),
        ledgers: BTreeMap::from([("ca".to_owned(), Ledger::new(RateLimits::LetsEncrypt))]),
        lifetimes: BTreeMap::from([("ca".to_owned(), LIFETIME)]),
        hindrances: BTreeMap::new(),
    };
    let planned = forecast(present, start() + DAY * 75, Jitter::new(3));
    let orders: Vec<_> = planned
        .steps
        .iter()
        .filter(|step| step.order == OrderKind::New)
        .collect();
    let last = orders.last().unwrap();
    let within = |days: u32| {
        orders
            .iter()
            .filter(|order| order.at < start() + DAY * days)
            .count()
    };
    println!(
        "{COUNT} new names as `certgate plan` sees it: {} are begun within 42 days, the last of {} after {:.1} days; \
         {} steps in 75 days",
        within(42),
        orders.len(),
        last.at.since(start()).as_secs_f64() / 86_400.0,
        planned.steps.len()
    );
    assert_eq!(orders.len(), COUNT);
    assert!(planned.unserved.is_empty() && planned.late.is_empty());
    // 300 in three hours; the last ones wait for the limit of their registered domain.
    assert!(within(42) > COUNT * 97 / 100);
    assert!(orders[..200].is_sorted_by_key(|step| &step.certificate));

    fleet.know_limits();
    fleet.ca.failing = 20;
    let outage = start() + DAY * 20;
    fleet.ca.outage = Some(outage..outage + HOUR * 36);
    fleet.live(start() + DAY * 120);
    println!(
        "and with failures of one of fifty, and an outage of 36 hours: {} signed in 120 days, {} refused by a limit, \
         {:.1} % of the lifetime left at least",
        fleet.ca.signed,
        fleet.ca.refused.len(),
        fleet.least_left.min(fleet.least_left_now()) * 100.0
    );
    assert_eq!(fleet.obtained.iter().flatten().count(), COUNT);
    assert_eq!(fleet.ca.refused.first(), None);
    assert!(fleet.least_left.min(fleet.least_left_now()) >= 1.0 / 3.0);
}
