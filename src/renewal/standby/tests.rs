use super::*;
use crate::certificate::{CertificateName, RenewalWindow, RevocationReason};
use crate::inventory::CertificateState;
use crate::renewal::schedule::Jitter;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

fn now() -> Timestamp {
    Timestamp::from_unix_seconds(1_795_219_200)
}

fn leaf(from: Timestamp, to: Timestamp) -> Leaf {
    Leaf {
        names: vec![],
        not_before: from,
        not_after: to,
        serial: String::new(),
        issuer: String::new(),
        key: String::new(),
        fingerprint: String::new(),
    }
}

fn current(obtained_at: Timestamp, to: Timestamp, renew_at: Timestamp) -> CurrentCertificate {
    CurrentCertificate {
        leaf: leaf(obtained_at, to),
        issuer: "one".into(),
        obtained_at,
        renew_at: Some(renew_at),
        suggested: None,
        ask_at: None,
        revoked: None,
    }
}

/// One of 90 days, of which so much is left.
fn sound(left: Duration) -> CertificateRecord {
    let mut record = CertificateRecord::wanted(CertificateName::parse("www").unwrap());
    let end = now() + left;
    record.current = Some(current(end - 90 * DAY, end, end - 30 * DAY));
    record.state = CertificateState::Valid;
    record
}

fn failing(left: Duration) -> CertificateRecord {
    let mut record = sound(left);
    record.failures = 4;
    record.state = CertificateState::BackingOff {
        error: "the CA is down".into(),
        next_attempt: now() + HOUR,
    };
    record
}

fn revoked() -> CertificateRecord {
    let mut record = sound(50 * DAY);
    record.current.as_mut().unwrap().revoked = Some(RevocationReason::KeyCompromise);
    record
}

/// Its CA has wanted it gone by yesterday.
fn unwanted(record: CertificateRecord) -> CertificateRecord {
    suggested(record, now() - 2 * DAY, now() - DAY)
}

/// Its CA has suggested to renew it when about a third is left.
fn as_usual(record: CertificateRecord) -> CertificateRecord {
    let third = record.current.as_ref().unwrap().leaf.not_after - 30 * DAY;
    suggested(record, third - DAY, third + DAY)
}

fn suggested(mut record: CertificateRecord, start: Timestamp, end: Timestamp) -> CertificateRecord {
    record.current.as_mut().unwrap().suggested = Some(RenewalWindow {
        start,
        end,
        explanation: None,
    });
    record
}

fn missing() -> CertificateRecord {
    CertificateRecord::wanted(CertificateName::parse("www").unwrap())
}

/// The same with the spare in its place for so long.
fn replaced(mut record: CertificateRecord, by_operator: bool, since: Duration) -> CertificateRecord {
    record.stand_in = Some(StandIn {
        since: now() - since,
        by_operator,
        reason: String::new(),
    });
    record
}

#[test]
fn which_of_the_two_is_served_by_what_has_happened_to_them() {
    let attempt = |mut record: CertificateRecord| {
        record.state = CertificateState::Obtaining { since: now() };
        record
    };
    let table = [
        // The certificate is served, the spare is sound: what is found, and what follows.
        ("sound", sound(50 * DAY), Some(sound(20 * DAY)), None),
        ("fails, with time", failing(20 * DAY), Some(sound(20 * DAY)), None),
        (
            "near its end, not failing",
            sound(5 * HOUR),
            Some(sound(20 * DAY)),
            None,
        ),
        (
            "near its end and failing",
            failing(5 * HOUR),
            Some(sound(20 * DAY)),
            Some("cannot be renewed"),
        ),
        (
            "the same, trying again",
            attempt(failing(5 * HOUR)),
            Some(sound(20 * DAY)),
            Some("cannot be renewed"),
        ),
        (
            "expired",
            sound(Duration::ZERO),
            Some(sound(20 * DAY)),
            Some("it expired"),
        ),
        (
            "revoked",
            revoked(),
            Some(sound(20 * DAY)),
            Some("it was revoked (key-compromise)"),
        ),
        (
            "missing",
            missing(),
            Some(sound(20 * DAY)),
            Some("there is none yet"),
        ),
        (
            "unwanted, not failing",
            unwanted(sound(50 * DAY)),
            Some(sound(20 * DAY)),
            None,
        ),
        (
            "unwanted and failing",
            unwanted(failing(50 * DAY)),
            Some(sound(20 * DAY)),
            Some("its CA wanted it replaced"),
        ),
        (
            "past its usual window and failing, with time",
            as_usual(failing(25 * DAY)),
            Some(sound(20 * DAY)),
            None,
        ),
        (
            "past its usual window and failing, with less than a quarter",
            as_usual(failing(22 * DAY)),
            Some(sound(20 * DAY)),
            Some("its CA wanted it replaced"),
        ),
        // A spare that is no better.
        ("revoked, no spare", revoked(), None, None),
        ("revoked, spare missing", revoked(), Some(missing()), None),
        ("revoked, spare revoked", revoked(), Some(revoked()), None),
        (
            "revoked, spare expired",
            revoked(),
            Some(sound(Duration::ZERO)),
            None,
        ),
    ];
    for (what, primary, spare, expected) in table {
        let now = now() + Duration::from_secs(1);
        let switch = switch(&primary, spare.as_ref(), now);
        match (&switch, expected) {
            (None, None) => {}
            (Some(switch), Some(reason)) => {
                assert!(switch.reason.contains(reason), "{what}: {}", switch.reason);
                let stand_in = switch.stand_in.as_ref().expect("the spare");
                assert!(!stand_in.by_operator && stand_in.since == now, "{what}");
            }
            _ => panic!("{what}: {switch:?}"),
        }
    }
}

#[test]
fn the_spare_makes_room_again_by_who_put_it_there_and_what_has_happened_to_the_two() {
    let old = || sound(50 * DAY);
    let new = || sound(90 * DAY);
    let table = [
        // By itself: until there is a new certificate.
        (replaced(old(), false, HOUR), Some(sound(20 * DAY)), None),
        (
            replaced(new(), false, HOUR),
            Some(sound(20 * DAY)),
            Some("there is a new one"),
        ),
        (replaced(revoked(), false, HOUR), Some(sound(20 * DAY)), None),
        // By an operator: until the operator says so.
        (replaced(old(), true, HOUR), Some(sound(20 * DAY)), None),
        (replaced(new(), true, HOUR), Some(sound(20 * DAY)), None),
        // Whoever it was, a bad spare makes room for a sound certificate.
        (
            replaced(old(), true, HOUR),
            Some(revoked()),
            Some("of the spare: it was revoked"),
        ),
        (
            replaced(old(), true, HOUR),
            Some(failing(HOUR)),
            Some("of the spare: it expires"),
        ),
        (replaced(old(), false, HOUR), None, Some("no spare any more")),
        (replaced(failing(HOUR), false, HOUR), None, None),
        (replaced(revoked(), true, HOUR), Some(revoked()), None),
    ];
    for (primary, spare, expected) in table {
        let switch = switch(&primary, spare.as_ref(), now());
        match (&switch, expected) {
            (None, None) => {}
            (Some(switch), Some(reason)) => {
                assert!(
                    switch.stand_in.is_none() && switch.reason.contains(reason),
                    "{}",
                    switch.reason
                );
            }
            _ => panic!("{expected:?}: {switch:?}"),
        }
    }
}

#[test]
fn a_spare_is_renewed_halfway_between_two_renewals_of_the_certificate() {
    let at = |days: f64| now() + DAY.mul_f64(days);
    for (what, primary, obtained, lifetime, expected) in [
        // The certificate is renewed at 60, 120, 180 …
        ("obtained together", (0.0, 90.0, 60.0), 0.0, 90.0, 30.0),
        (
            "next, before the certificate's",
            (0.0, 90.0, 60.0),
            30.0,
            90.0,
            87.0,
        ),
        ("next, after it", (60.0, 150.0, 120.0), 30.0, 90.0, 87.0),
        ("obtained late", (0.0, 90.0, 60.0), 55.0, 90.0, 90.0),
        (
            "obtained just before halfway",
            (0.0, 90.0, 60.0),
            29.0,
            90.0,
            86.0,
        ),
        // Of other lifetimes: where there is a point nearby.
        (
            "a short spare beside a long certificate",
            (0.0, 90.0, 60.0),
            0.0,
            6.0,
            3.0,
        ),
        ("a short one near halfway", (0.0, 90.0, 60.0), 27.0, 6.0, 30.0),
        (
            "a long spare beside a short certificate",
            (0.0, 6.0, 3.0),
            0.0,
            90.0,
            55.5,
        ),
    ] {
        let (from, to, renew_at) = primary;
        let primary = current(at(from), at(to), at(renew_at));
        let spare = leaf(at(obtained), at(obtained + lifetime));
        let usual = match lifetime < 10.0 {
            true => at(obtained + lifetime / 2.0),
            false => at(obtained + lifetime * 2.0 / 3.0 - 3.0),
        };
        let found = renewal_point(&spare, at(obtained), usual, &primary);
        let days = found.since(now()).as_secs_f64() / DAY.as_secs_f64();
        assert!(
            (days - expected).abs() < 0.01,
            "{what}: {days}, expected: {expected}"
        );
    }
}

/// 200 renewals of a certificate and its spare: the part of its lifetime after which each spare is renewed, and how far each
/// of those is from the nearest renewal of the certificate, as a part of the shorter lifetime. Where the CAs suggest
/// when to renew it is around a third left.
fn lived(lifetimes: [Duration; 2], is_suggested: [bool; 2], seed: u64) -> Vec<(f64, f64)> {
    let names = ["www", "www.spare"].map(|name| CertificateName::parse(name).unwrap());
    let jitter = Jitter::new(seed);
    let drawn = |n: usize, at: Timestamp, draw| jitter.fraction(&names[n], at, draw);
    let usual =
        |n: usize, at: Timestamp| schedule::renewal_point(&leaf(at, at + lifetimes[n]), at, drawn(n, at, 0));
    let suggested = |n: usize, at: Timestamp| {
        at + lifetimes[n] * 2 / 3 - lifetimes[n] / 100 + (lifetimes[n] / 50).mul_f64(drawn(n, at, 1))
    };
    let next = |at: Timestamp| match is_suggested[0] {
        true => suggested(0, at),
        false => usual(0, at),
    };
    let mut primary = current(now(), now() + lifetimes[0], next(now()));
    let (mut obtained, mut spare_at) = (now(), usual(1, now()));
    let (mut renewals, mut spares) = (vec![now()], Vec::new());
    for _ in 0..200 {
        let renew_at = primary.renew_at.unwrap();
        if renew_at <= spare_at {
            primary = current(renew_at, renew_at + lifetimes[0], next(renew_at));
            renewals.push(renew_at);
            continue;
        }
        spares.push((obtained, spare_at));
        obtained = spare_at;
        let spare = leaf(obtained, obtained + lifetimes[1]);
        spare_at = renewal_point(&spare, obtained, usual(1, obtained), &primary);
        if is_suggested[1] {
            spare_at = spare_at.min(suggested(1, obtained));
        }
    }
    renewals.extend(primary.renew_at);
    let shorter = lifetimes.into_iter().min().unwrap().as_secs_f64();
    let spares = spares.into_iter().map(|(obtained, at)| {
        let distances = renewals
            .iter()
            .map(|renewal| at.since(*renewal).max(renewal.since(at)));
        let age = at.since(obtained).as_secs_f64() / lifetimes[1].as_secs_f64();
        (age, distances.min().unwrap().as_secs_f64() / shorter)
    });
    spares.collect()
}

#[test]
fn over_years_the_renewals_of_the_two_stay_apart_and_no_spare_gets_old() {
    for (what, days, is_suggested, nearest, usual) in [
        // Where both are renewed after 0.575 of their lifetime, halfway is 0.29 of it.
        ("45 days", [45, 45], [false, false], 0.245, 0.27),
        ("90 days", [90, 90], [false, false], 0.245, 0.275),
        (
            "the spare's CA suggests a third left",
            [45, 45],
            [false, true],
            0.245,
            0.27,
        ),
        ("both CAs do", [45, 45], [true, true], 0.185, 0.25),
        ("a short spare", [90, 45], [false, false], 0.17, 0.34),
        ("a short certificate", [45, 90], [false, false], 0.19, 0.25),
    ] {
        for seed in 0..8 {
            let lived = lived(days.map(|days| DAY * days), is_suggested, seed);
            let oldest = lived.iter().map(|(age, _)| *age).fold(0.0, f64::max);
            assert!(
                oldest < 0.635,
                "{what}: a spare was renewed after {oldest} of its lifetime"
            );
            // The first round was together.
            let mut apart: Vec<_> = lived[3..].iter().map(|(_, apart)| *apart).collect();
            apart.sort_by(f64::total_cmp);
            let (least, median) = (apart[0], apart[apart.len() / 2]);
            assert!(
                least > nearest && median > usual,
                "{what}: {least} at least, {median} mostly"
            );
        }
    }
}
