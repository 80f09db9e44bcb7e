use std::collections::BTreeMap;

use super::*;
use crate::certificate::{KeyType, Leaf};
use crate::inventory::{CurrentCertificate, Source};
use crate::issuer::FailureClass;
use crate::name::NamePattern;
use crate::renewal::agenda::Desired;
use crate::renewal::gate::Refusal;
use crate::renewal::outcome::{self, Failure};
use crate::renewal::schedule::Jitter;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const JITTER: Jitter = Jitter::new(1);

fn now() -> Timestamp {
    Timestamp::from_unix_seconds(1_795_219_200)
}

fn desired(name: &str, domain: &str, issuers: &[&str]) -> Desired {
    let certificate = DesiredCertificate {
        name: CertificateName::parse(name).unwrap(),
        domains: vec![NamePattern::parse(domain).unwrap()],
        issuers: issuers.iter().map(|issuer| (*issuer).to_owned()).collect(),
        key_type: KeyType::EcdsaP256,
        reuse_key: false,
        tags: BTreeMap::new(),
        spare_of: None,
    };
    let digest = certificate.digest();
    Desired {
        certificate,
        digest,
        key: 0,
    }
}

fn www() -> Desired {
    desired("www", "a.example", &["one"])
}

fn leaf(not_after: Timestamp) -> Leaf {
    Leaf {
        names: vec![],
        not_before: now() - HOUR,
        not_after,
        serial: "1".into(),
        issuer: "one".into(),
        key: "ECDSA P-256".into(),
        fingerprint: "f".into(),
    }
}

/// Obtained now, renewed after 60 of 90 days.
fn valid(desired: &Desired) -> CertificateRecord {
    let mut record = CertificateRecord::wanted(desired.certificate.name.clone());
    let leaf = leaf(now() + 90 * DAY);
    outcome::obtained(&mut record, &desired.digest, leaf, "one", now(), now() + 60 * DAY);
    record
}

fn fail(
    record: CertificateRecord,
    desired: &Desired,
    class: FailureClass,
    at: Timestamp,
) -> CertificateRecord {
    let failure = Failure {
        issuer: "one".into(),
        error: "no".into(),
        class,
        ca_time: None,
    };
    outcome::failed(record, desired, &failure, at, JITTER)
}

fn plan_at(desired: &Desired, record: Option<&CertificateRecord>, now: Timestamp) -> Plan {
    let records = record.map(|record| (record.name.clone(), record.clone()));
    plan(
        std::slice::from_ref(&desired.certificate),
        &records.into_iter().collect(),
        now,
    )
}

fn reason(desired: &Desired, record: Option<&CertificateRecord>, now: Timestamp) -> Option<Reason> {
    plan_at(desired, record, now)
        .actions
        .first()
        .map(|action| action.next.reason)
}

fn wake(desired: &Desired, record: Option<&CertificateRecord>, now: Timestamp) -> Option<Timestamp> {
    plan_at(desired, record, now).wake
}

#[test]
fn what_is_missing_is_obtained_and_what_is_not_wanted_is_left_alone() {
    let www = www();
    assert_eq!(reason(&www, None, now()), Some(Reason::Missing));
    let other = valid(&desired("other", "b.example", &["one"]));
    let records = BTreeMap::from([(other.name.clone(), other)]);
    let plan = plan(&[], &records, now() + 365 * DAY);
    assert!(plan.actions.is_empty() && plan.wake.is_none());
}

#[test]
fn a_valid_certificate_waits_for_its_renewal_point() {
    let (www, renew_at) = (www(), now() + 60 * DAY);
    let record = valid(&www);
    assert_eq!(reason(&www, Some(&record), renew_at - MINUTE), None);
    assert_eq!(wake(&www, Some(&record), now()), Some(renew_at));
    assert_eq!(reason(&www, Some(&record), renew_at), Some(Reason::Due));
}

#[test]
fn other_names_another_key_type_or_another_issuer_are_obtained_at_once() {
    let record = valid(&www());
    let mut rsa = www();
    rsa.certificate.key_type = KeyType::Rsa2048;
    rsa.digest = rsa.certificate.digest();
    for changed in [
        rsa,
        desired("www", "b.example", &["one"]),
        desired("www", "a.example", &["two"]),
    ] {
        assert_eq!(reason(&changed, Some(&record), now()), Some(Reason::Changed));
    }
    let files = CertificateRecord::imported(record.name.clone(), Source::Files, leaf(now() + DAY), now());
    assert_eq!(reason(&www(), Some(&files), now()), Some(Reason::Changed));
}

#[test]
fn more_issuers_or_another_order_of_them_wait_for_the_next_renewal() {
    let mut record = valid(&www());
    let current = record.current.as_mut().unwrap();
    current.leaf.names = www().certificate.domains;
    for issuers in [&["one", "two"][..], &["two", "one"]] {
        let longer = desired("www", "a.example", issuers);
        assert_eq!(reason(&longer, Some(&record), now()), None, "{issuers:?}");
        let renewed_at = now() + 60 * DAY;
        assert_eq!(wake(&longer, Some(&record), now()), Some(renewed_at));
        let next = next(&longer.certificate, &longer.digest, Some(&record), renewed_at).unwrap();
        assert_eq!((next.reason, next.issuer.as_str()), (Reason::Due, issuers[0]));
    }
    // Its own is gone; or more has changed.
    for changed in [
        desired("www", "a.example", &["two", "three"]),
        desired("www", "b.example", &["one", "two"]),
    ] {
        assert_eq!(reason(&changed, Some(&record), now()), Some(Reason::Changed));
    }
    let mut rsa = desired("www", "a.example", &["one", "two"]);
    rsa.certificate.key_type = KeyType::Rsa2048;
    rsa.digest = rsa.certificate.digest();
    assert_eq!(reason(&rsa, Some(&record), now()), Some(Reason::Changed));
}

#[test]
fn another_list_of_issuers_has_a_renewal_that_fails_tried_at_once() {
    let mut record = valid(&www());
    record.current.as_mut().unwrap().leaf.names = www().certificate.domains;
    let due = now() + 60 * DAY;
    let record = fail(record, &www(), FailureClass::Stop, due);
    assert_eq!(reason(&www(), Some(&record), due + MINUTE), None);
    let longer = desired("www", "a.example", &["one", "two"]);
    assert_eq!(reason(&longer, Some(&record), due + MINUTE), Some(Reason::Due));
}

#[test]
fn a_failure_waits_and_a_change_of_what_is_wanted_ends_the_wait() {
    let www = www();
    let record = fail(valid(&www), &www, FailureClass::Later, now() + 60 * DAY);
    let at = wake(&www, Some(&record), now() + 60 * DAY).unwrap();
    assert!(at.since(now() + 60 * DAY).abs_diff(MINUTE) <= MINUTE / 10);
    assert_eq!(reason(&www, Some(&record), at), Some(Reason::Retry));
    let other = desired("www", "b.example", &["one"]);
    assert_eq!(
        reason(&other, Some(&record), now() + 60 * DAY),
        Some(Reason::Changed)
    );
}

#[test]
fn an_operator_ends_our_own_pause_but_not_the_servers() {
    let www = www();
    let asked = |class| {
        let mut record = fail(valid(&www), &www, class, now());
        record.renew_requested = true;
        record
    };
    for class in [FailureClass::Later, FailureClass::Stop] {
        assert_eq!(reason(&www, Some(&asked(class)), now()), Some(Reason::Requested));
    }
    let held = asked(FailureClass::At(now() + 6 * HOUR));
    assert_eq!(reason(&www, Some(&held), now()), None);
    let at = wake(&www, Some(&held), now()).unwrap();
    assert!(at >= now() + 6 * HOUR && at <= now() + 6 * HOUR + MINUTE);
    assert_eq!(reason(&www, Some(&held), at), Some(Reason::Requested));
}

#[test]
fn what_the_server_asks_for_never_shortens_our_own_pause() {
    let www = www();
    let mut record = CertificateRecord::wanted(www.certificate.name.clone());
    for pause in [MINUTE, 10 * MINUTE, 100 * MINUTE, DAY] {
        record = fail(
            record,
            &www,
            FailureClass::At(now() + Duration::from_secs(1)),
            now(),
        );
        let at = wake(&www, Some(&record), now() + 2 * MINUTE - MINUTE.mul_f64(1.5)).unwrap();
        assert!(at.since(now()) >= pause.mul_f64(0.9), "{pause:?}");
    }
}

#[test]
fn a_stop_is_looked_at_once_a_day() {
    let www = www();
    let record = fail(valid(&www), &www, FailureClass::Stop, now());
    let at = wake(&www, Some(&record), now()).unwrap();
    assert!(at.since(now()).abs_diff(DAY) <= DAY / 10);
    assert!(matches!(record.state, CertificateState::Stopped { .. }));
}

#[test]
fn what_fails_at_one_issuer_for_good_is_asked_of_the_next_at_once() {
    let www = desired("www", "a.example", &["one", "two"]);
    let fresh = CertificateRecord::wanted(www.certificate.name.clone());
    // Without a certificate nobody waits, neither for a pause of our own nor for one of the CA's.
    for class in [
        FailureClass::Later,
        FailureClass::Stop,
        FailureClass::At(now() + DAY),
    ] {
        let failed = fail(fresh.clone(), &www, class, now());
        assert!(
            matches!(&failed.state, CertificateState::BackingOff { error, .. } if error == "one: no; then `two` is asked")
        );
        let next = next(&www.certificate, &www.digest, Some(&failed), now()).unwrap();
        assert_eq!(
            (next.issuer.as_str(), next.at, next.reason),
            ("two", now(), Reason::Retry)
        );
    }
    // With one that is good for long, the first has its three tries.
    let mut record = valid(&www);
    let mut at = now() + 60 * DAY;
    let mut asked = Vec::new();
    for _ in 0..3 {
        let next = next(&www.certificate, &www.digest, Some(&record), at).unwrap();
        at = at.max(next.at);
        asked.push(next.issuer);
        record = fail(record, &www, FailureClass::Later, at);
    }
    assert_eq!(asked, ["one", "one", "one"]);
    let next = next(&www.certificate, &www.digest, Some(&record), at).unwrap();
    assert_eq!((next.issuer.as_str(), next.at), ("two", at));
}

#[test]
fn where_every_issuer_needs_somebody_s_change_it_stops() {
    let www = desired("www", "a.example", &["one", "two"]);
    let mut record = fail(valid(&www), &www, FailureClass::Stop, now());
    record = outcome::failed(
        record,
        &www,
        &Failure {
            issuer: "two".into(),
            error: "no".into(),
            class: FailureClass::Stop,
            ca_time: None,
        },
        now() + MINUTE,
        JITTER,
    );
    let CertificateState::Stopped { next_check, .. } = record.state else {
        panic!("{:?}", record.state)
    };
    assert!(next_check.since(now()).abs_diff(DAY) <= DAY / 10);
}

#[test]
fn an_attempt_that_a_crash_ended_is_taken_up_at_once() {
    let www = www();
    let first = outcome::obtaining(
        CertificateRecord::wanted(www.certificate.name.clone()),
        &www.digest,
        now(),
    );
    assert_eq!(reason(&www, Some(&first), now()), Some(Reason::Missing));
    let mut forced = valid(&www);
    forced.renew_requested = true;
    let forced = outcome::obtaining(forced, &www.digest, now());
    assert_eq!(reason(&www, Some(&forced), now()), Some(Reason::Requested));
}

#[test]
fn a_change_taken_back_leaves_nothing_to_do() {
    let (www, other) = (www(), desired("www", "b.example", &["one"]));
    for record in [
        fail(valid(&www), &other, FailureClass::Later, now()),
        fail(valid(&www), &other, FailureClass::Stop, now()),
        outcome::obtaining(valid(&www), &other.digest, now()),
    ] {
        assert_eq!(reason(&www, Some(&record), now()), Some(Reason::Settled));
        let settled = outcome::settled(record);
        assert_eq!(settled.state, CertificateState::Valid);
        assert_eq!(wake(&www, Some(&settled), now()), Some(now() + 60 * DAY));
    }
}

#[test]
fn dns_that_says_no_is_asked_ever_more_seldom_and_counts_no_failure() {
    let www = www();
    let mut record = CertificateRecord::wanted(www.certificate.name.clone());
    let mut at = now();
    let mut pauses = Vec::new();
    for _ in 0..12 {
        record = outcome::blocked(
            record,
            &www.digest,
            Refusal::unknown("elsewhere".into()),
            at,
            JITTER,
        );
        assert_eq!(reason(&www, Some(&record), at), None);
        let next = wake(&www, Some(&record), at).unwrap();
        assert_eq!(reason(&www, Some(&record), next), Some(Reason::Retry));
        pauses.push(next.since(at));
        at = next;
    }
    assert_eq!(record.failures, 0);
    assert!(pauses[0] <= Duration::from_secs(11));
    assert!(pauses[11].abs_diff(HOUR) <= HOUR / 10);
}

#[test]
fn dns_that_will_be_right_at_a_known_time_is_asked_then_and_in_between_within_reason() {
    let www = www();
    for (until, expected) in [
        (-60, 10..=10),
        (5, 10..=10),
        (300, 300..=300),
        (3_600, 324..=396),
        (86_400, 324..=396),
    ] {
        let record = CertificateRecord::wanted(www.certificate.name.clone());
        let until = Timestamp::from_unix_seconds(now().unix_seconds() + until);
        let refusal = Refusal {
            until: Some(until),
            ..Refusal::unknown("stale".into())
        };
        let record = outcome::blocked(record, &www.digest, refusal, now(), JITTER);
        let next = wake(&www, Some(&record), now()).unwrap();
        let pause = next.since(now()).as_secs();
        assert!(expected.contains(&pause), "{pause} s, and not {expected:?}");
    }
}

#[test]
fn before_certgate_was_written_nothing_is_ordered() {
    for now in [0, 1_577_836_800, 1_767_225_599].map(Timestamp::from_unix_seconds) {
        let plan = plan_at(&www(), None, now);
        assert!(plan.actions.is_empty());
        assert_eq!(plan.alarm, Some(ClockAlarm::BeforeCertgate { now }));
        assert_eq!(plan.wake, Some(Timestamp::from_unix_seconds(1_767_225_600)));
    }
}

#[test]
fn a_clock_that_is_set_back_or_forth_neither_orders_again_nor_sleeps_for_years() {
    let www = www();
    let record = valid(&www);
    for back in [HOUR * 2, DAY, 30 * DAY] {
        let plan = plan_at(&www, Some(&record), now() - back);
        assert!(plan.actions.is_empty());
        let obtained_at = now();
        let now = now() - back;
        assert_eq!(plan.alarm, Some(ClockAlarm::BehindStore { now, obtained_at }));
    }
    assert_eq!(reason(&www, Some(&record), now() + DAY), None);

    // A pause that was written while the clock was ten years ahead.
    let ahead = fail(
        CertificateRecord::wanted(record.name),
        &www,
        FailureClass::At(now() + 3_651 * DAY),
        now() + 3_650 * DAY,
    );
    assert_eq!(reason(&www, Some(&ahead), now()), Some(Reason::Retry));
}

#[test]
fn actions_come_in_the_order_in_which_they_were_due() {
    let (first, second) = (
        desired("b", "b.example", &["one"]),
        desired("a", "a.example", &["one"]),
    );
    let mut record = valid(&second);
    if let Some(current) = &mut record.current {
        current.renew_at = Some(now() - MINUTE);
    }
    let mut earlier = valid(&first);
    if let Some(current) = &mut earlier.current {
        current.renew_at = Some(now() - HOUR);
    }
    let records = BTreeMap::from([(record.name.clone(), record), (earlier.name.clone(), earlier)]);
    let plan = plan(&[second.certificate, first.certificate], &records, now());
    let order: Vec<_> = plan
        .actions
        .iter()
        .map(|action| action.certificate.as_str())
        .collect();
    assert_eq!(order, ["b", "a"]);
}

#[test]
fn a_current_certificate_stays_current_through_every_failure() {
    let www = www();
    let mut record = valid(&www);
    let current: Option<CurrentCertificate> = record.current.clone();
    for class in [
        FailureClass::Later,
        FailureClass::Stop,
        FailureClass::At(now() + DAY),
    ] {
        record = fail(record, &www, class, now());
        record = outcome::blocked(record, &www.digest, Refusal::unknown("no".into()), now(), JITTER);
        assert_eq!(
            (&record.current, record.digest.as_str()),
            (&current, www.digest.as_str())
        );
    }
}
