//! Two issuers with accounts at one CA: of what these share there is no more for two than for one.

use std::collections::BTreeMap;

use certgate::config::RateLimits;
use certgate::issuer::ledger::Ledger;
use certgate::name::NamePattern;
use certgate::renewal::{Jitter, Present, forecast};

use crate::fleet::{DAY, Fleet, LIFETIME, start};

#[test]
fn the_plan_for_two_issuers_at_one_ca_has_no_more_room_than_the_ca() {
    let issuers = ["one", "two"];
    let mut desired = Fleet::new(100).desired;
    for (n, desired) in desired.iter_mut().enumerate() {
        desired.domains = vec![NamePattern::parse(&format!("h{n}.shop.com")).unwrap()];
        desired.issuers = vec![issuers[n % 2].to_owned()];
    }
    let ledger = Ledger::new(RateLimits::LetsEncrypt).of_ca("ca.example".to_owned());
    let present = Present {
        now: start(),
        desired,
        records: Vec::new(),
        ledgers: issuers.map(|issuer| (issuer.to_owned(), ledger.clone())).into(),
        lifetimes: issuers.map(|issuer| (issuer.to_owned(), LIFETIME)).into(),
        hindrances: BTreeMap::new(),
    };
    let planned = forecast(present, start() + DAY, Jitter::new(3));
    // 50 certificates for a registered domain, and one more every 12,096 seconds.
    assert_eq!(planned.steps.len(), 50 + 7);
    let (at_once, later) = planned.steps.split_at(50);
    assert!(at_once.iter().all(|step| step.at == start()));
    assert!(
        later
            .iter()
            .all(|step| step.at > start() && step.due_at == Some(start()))
    );
    for (n, step) in at_once.iter().enumerate().skip(1) {
        let limit = step.limit.as_ref().unwrap();
        assert_eq!(limit.limit, "certificates for shop.com");
        assert_eq!((limit.left, limit.allowed), (50 - n as u32, 50));
    }
}
