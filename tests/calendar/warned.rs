//! Certificates that cannot be replaced in time, because the account's limit does not allow it.

use std::collections::BTreeMap;
use std::time::Duration;

use certgate::certificate::Leaf;
use certgate::config::RateLimits;
use certgate::inventory::{CertificateRecord, Source};
use certgate::issuer::ledger::{Ledger, OrderKind};
use certgate::renewal::{Jitter, Left, Present, forecast};

use crate::fleet::{DAY, Fleet, HOUR, LIFETIME, start};

#[test]
fn the_nearest_to_its_end_goes_first_and_the_plan_tells_who_will_be_late() {
    let fleet = Fleet::new(1_000);
    // Imported: the later the name, the sooner a third of the lifetime is left; of all of them within some six hours.
    let records = fleet.desired.iter().enumerate().map(|(n, desired)| {
        let third = start() + HOUR * 6 + Duration::from_secs(1_000 - n as u64);
        let not_after = third + LIFETIME / 3;
        let leaf = Leaf {
            names: desired.domains.clone(),
            not_before: not_after - LIFETIME,
            not_after,
            serial: String::new(),
            issuer: String::new(),
            key: String::new(),
            fingerprint: String::new(),
        };
        CertificateRecord::imported(desired.name.clone(), Source::Imported, leaf, not_after - LIFETIME)
    });
    let present = Present {
        now: start(),
        desired: fleet.desired.clone(),
        records: records.collect(),
        ledgers: BTreeMap::from([("ca".to_owned(), Ledger::new(RateLimits::LetsEncrypt))]),
        lifetimes: BTreeMap::new(),
    };
    let planned = forecast(present, start() + DAY, Jitter::new(3));
    let orders = &planned.steps;
    assert!(orders.iter().all(|step| step.order == OrderKind::New));
    // 300 at once, in no order of their own; one every 36 seconds from then on.
    let names: Vec<_> = orders[300..500].iter().map(|step| &step.certificate).collect();
    assert!(names.is_sorted_by(|one, other| one > other), "{names:?}");
    let waited = &orders[400];
    assert_eq!(waited.due_at, Some(start()));
    let left = Left {
        limit: "orders of the account".to_owned(),
        left: 1,
        allowed: 300,
    };
    assert_eq!(waited.limit, Some(left));
    // 900 of them in six hours.
    assert!((60..=110).contains(&planned.late.len()), "{}", planned.late.len());
    assert!(planned.late.is_sorted() && planned.late[0].0 > start() + HOUR * 6);
}
