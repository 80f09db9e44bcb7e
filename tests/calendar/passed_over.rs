//! Certificates of two issuers, of which DNS lets only the second sign.

use std::collections::BTreeMap;

use certgate::certificate::{DesiredCertificate, Leaf, RenewalWindow};
use certgate::clock::Timestamp;
use certgate::config::RateLimits;
use certgate::inventory::{CertificateRecord, Source};
use certgate::issuer::ledger::{Bucket, Ledger, OrderKind};
use certgate::renewal::{Forecast, Jitter, Present, forecast};

use crate::fleet::{DAY, Fleet, HOUR, LIFETIME, start};

/// `count` names, each of two issuers; the first has no order left for hours.
fn planned(count: usize, record: impl Fn(&DesiredCertificate) -> CertificateRecord) -> Forecast {
    let mut desired = Fleet::new(count).desired;
    for desired in &mut desired {
        desired.issuers = vec!["first".into(), "second".into()];
    }
    let rules = RateLimits::LetsEncrypt;
    let quota = Bucket::Orders.quota(rules).expect("a limit");
    let mut first = Ledger::new(rules);
    first.note(Bucket::Orders, quota.emptied(start(), start() + HOUR * 9));
    let present = Present {
        now: start(),
        records: desired.iter().map(record).collect(),
        desired,
        ledgers: BTreeMap::from([("first".into(), first), ("second".into(), Ledger::new(rules))]),
        lifetimes: BTreeMap::from([("second".into(), LIFETIME)]),
        hindrances: BTreeMap::new(),
    };
    forecast(present, start() + DAY * 20, Jitter::new(3))
}

/// As a look at DNS has left it.
fn looked_at(desired: &DesiredCertificate) -> CertificateRecord {
    CertificateRecord {
        pursued: desired.digest(),
        passed_over: BTreeMap::from([("first".into(), start() - DAY)]),
        ..CertificateRecord::wanted(desired.name.clone())
    }
}

#[test]
fn an_order_is_planned_where_it_is_placed() {
    let forecast = planned(4, looked_at);
    let at: Vec<_> = forecast.steps.iter().map(|step| step.at).collect();
    assert_eq!(at, [start(); 4]);
    for step in &forecast.steps {
        assert_eq!((step.issuer.as_str(), step.order), ("second", OrderKind::New));
        assert!(
            step.limit.as_ref().is_some_and(|limit| limit.left > 0),
            "{step:?}"
        );
    }

    // Without that, it is the first that is asked, when it may be.
    let forecast = planned(4, |desired| CertificateRecord::wanted(desired.name.clone()));
    let first = &forecast.steps[0];
    assert_eq!((first.issuer.as_str(), first.at), ("first", start() + HOUR * 9));
}

#[test]
fn a_renewal_that_the_ca_suggests_is_one_of_the_issuer_that_has_signed() {
    let window = |from: Timestamp| RenewalWindow {
        start: from,
        end: from + DAY,
        explanation: None,
    };
    let forecast = planned(3, |desired| {
        let leaf = Leaf {
            names: desired.domains.clone(),
            not_before: start() - DAY * 20,
            not_after: start() + DAY * 25,
            serial: String::new(),
            issuer: String::new(),
            key: String::new(),
            fingerprint: String::new(),
        };
        let mut record = CertificateRecord {
            digest: desired.digest(),
            ..looked_at(desired)
        };
        let imported =
            CertificateRecord::imported(desired.name.clone(), Source::Issued, leaf, start() - DAY * 20);
        (record.current, record.state) = (imported.current, imported.state);
        let current = record.current.as_mut().expect("a certificate");
        current.issuer = "second".into();
        current.renew_at = Some(start() + HOUR);
        current.suggested = Some(window(start()));
        record
    });
    let steps: Vec<_> = forecast
        .steps
        .iter()
        .map(|step| (step.issuer.as_str(), step.order, step.at, step.limit.clone()))
        .collect();
    let expected = ("second", OrderKind::Replacement, start() + HOUR, None);
    assert_eq!(steps, [expected.clone(), expected.clone(), expected]);
}
