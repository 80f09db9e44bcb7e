//! Certificates that cannot be replaced in time, because the account's limit does not allow it.

use std::collections::BTreeMap;
use std::time::Duration;

use certgate::certificate::{DesiredCertificate, Leaf};
use certgate::config::RateLimits;
use certgate::inventory::{CertificateRecord, Source};
use certgate::issuer::ledger::{Bucket, Ledger, OrderKind};
use certgate::renewal::{Hindrance, Jitter, Left, Present, forecast};

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
        hindrances: BTreeMap::new(),
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

#[test]
fn what_is_held_back_is_told_with_its_reason_and_counted_nowhere() {
    let fleet = Fleet::new(4);
    let [missing, due, later, other] = &fleet.desired[..] else {
        panic!("four of them")
    };
    let record = |desired: &DesiredCertificate, renew_at| {
        let leaf = Leaf {
            names: desired.domains.clone(),
            not_before: start() - DAY,
            not_after: start() + LIFETIME,
            serial: String::new(),
            issuer: String::new(),
            key: String::new(),
            fingerprint: String::new(),
        };
        let mut record = CertificateRecord::imported(desired.name.clone(), Source::Issued, leaf, start());
        record.digest = desired.digest();
        record.pursued = desired.digest();
        let current = record.current.as_mut().unwrap();
        (current.issuer, current.renew_at, current.ask_at) = ("ca".to_owned(), Some(renew_at), Some(start()));
        record
    };
    let hindrance = |desired: &DesiredCertificate| {
        let hindrance = Hindrance {
            reason: format!("{} leads elsewhere", desired.name),
            remedy: Vec::new(),
        };
        (desired.name.clone(), hindrance)
    };
    let renew_at = start() + DAY * 10;
    let present = Present {
        now: start(),
        desired: fleet.desired.clone(),
        records: vec![record(due, renew_at), record(later, start() + DAY * 40)],
        ledgers: BTreeMap::new(),
        lifetimes: BTreeMap::new(),
        hindrances: [missing, due, later].map(hindrance).into(),
    };
    let planned = forecast(present, start() + DAY * 30, Jitter::new(3));
    let held: Vec<_> = planned
        .held_back
        .iter()
        .map(|held| (held.at, &held.certificate, held.hindrance.reason.as_str()))
        .collect();
    assert_eq!(
        held,
        [
            (
                start(),
                &missing.name,
                format!("{} leads elsewhere", missing.name).as_str()
            ),
            (
                renew_at,
                &due.name,
                format!("{} leads elsewhere", due.name).as_str()
            ),
        ]
    );
    assert!(planned.steps.iter().all(|step| step.certificate == other.name) && !planned.steps.is_empty());
    assert!(
        planned.unserved.is_empty() && planned.late.is_empty(),
        "{planned:?}"
    );
}

#[test]
fn the_first_order_of_an_account_is_planned_for_when_it_may_be_registered() {
    let fleet = Fleet::new(3);
    let rules = RateLimits::LetsEncrypt;
    let quota = Bucket::Registrations.quota(rules).expect("a limit");
    let mut ledger = Ledger::new(rules).without_account();
    ledger.note(Bucket::Registrations, quota.emptied(start(), start() + HOUR));
    let present = Present {
        now: start(),
        desired: fleet.desired.clone(),
        records: Vec::new(),
        ledgers: BTreeMap::from([("ca".to_owned(), ledger)]),
        lifetimes: BTreeMap::new(),
        hindrances: BTreeMap::new(),
    };
    let planned = forecast(present, start() + DAY, Jitter::new(3));
    let at: Vec<_> = planned.steps.iter().map(|step| (step.at, step.due_at)).collect();
    assert_eq!(at, [(start() + HOUR, Some(start())); 3]);
    let registration = Left {
        limit: "new accounts from one address".to_owned(),
        left: 1,
        allowed: 10,
    };
    assert_eq!(planned.steps[0].limit, Some(registration.clone()));
    assert!(planned.steps[1].limit.is_some() && planned.steps[1].limit != Some(registration));
}
