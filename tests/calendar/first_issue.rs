//! What `certgate plan` says of 100,000 names for which there is no certificate yet: the account's limit paces them.

use std::collections::BTreeMap;

use certgate::config::RateLimits;
use certgate::issuer::ledger::{Ledger, OrderKind};
use certgate::renewal::{Jitter, Present, forecast};

use crate::fleet::{DAY, Fleet, LIFETIME, start};

const COUNT: usize = 100_000;

#[test]
fn a_hundred_thousand_new_names_are_planned_as_fast_as_the_ca_allows() {
    let fleet = Fleet::new(COUNT);
    let present = Present {
        now: start(),
        desired: fleet.desired.clone(),
        records: Vec::new(),
        ledgers: BTreeMap::from([("ca".to_owned(), Ledger::new(RateLimits::LetsEncrypt))]),
        lifetimes: BTreeMap::from([("ca".to_owned(), LIFETIME)]),
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
}
