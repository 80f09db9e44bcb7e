use std::collections::BTreeMap;

use super::*;
use crate::certificate::{CertificateName, KeyType, Leaf, RevocationReason};
use crate::inventory::CurrentCertificate;
use crate::name::NamePattern;
use crate::renewal::gate::Refusal;
use crate::renewal::schedule::Jitter;
use crate::renewal::{back_off, outcome};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const DIGEST: &str = "wanted";

fn now() -> Timestamp {
    Timestamp::from_unix_seconds(1_795_219_200)
}

fn desired() -> DesiredCertificate {
    DesiredCertificate {
        name: CertificateName::parse("www").unwrap(),
        domains: vec![NamePattern::parse("a.example").unwrap()],
        issuers: ["one", "two", "three"].map(str::to_owned).into(),
        key_type: KeyType::EcdsaP256,
        reuse_key: false,
        tags: BTreeMap::new(),
        spare_of: None,
    }
}

/// What is against an issuer.
#[derive(Clone, Copy)]
enum Against {
    /// So many failures, and a rest of so long.
    Failures(u32, Duration),
    /// A failure that waiting does not mend.
    Hopeless,
    /// It asked not to be asked for so long.
    Held(Duration),
    /// So many failures, the last so long ago.
    Before(u32, Duration),
}

/// What it is about, the time left, what is against whom; whose turn it is, and after how long.
type Row<'a> = (
    &'a str,
    Option<Duration>,
    &'a [(&'a str, Against)],
    (&'a str, Duration),
);

/// A certificate with so much time left, or none.
fn record(left: Option<Duration>, against: &[(&str, Against)]) -> CertificateRecord {
    let mut record = CertificateRecord::wanted(CertificateName::parse("www").unwrap());
    record.pursued = DIGEST.into();
    record.current = left.map(|left| CurrentCertificate {
        leaf: Leaf {
            names: vec![],
            not_before: now() - 60 * DAY,
            not_after: now() + left,
            serial: String::new(),
            issuer: String::new(),
            key: String::new(),
            fingerprint: String::new(),
        },
        issuer: "one".into(),
        obtained_at: now() - 60 * DAY,
        renew_at: Some(now()),
        suggested: None,
        ask_at: None,
        revoked: None,
    });
    for (issuer, against) in against {
        let setback = |failures, last, rests_until, is_hopeless| Setback {
            failures,
            last,
            rests_until,
            is_hopeless,
        };
        let setback = match *against {
            Against::Failures(failures, rest) => setback(failures, now(), now() + rest, false),
            Against::Hopeless => setback(1, now(), now() + DAY, true),
            Against::Before(failures, ago) => setback(failures, now() - ago, now() - ago + MINUTE, false),
            Against::Held(time) => {
                record.held_until.insert((*issuer).into(), now() + time);
                continue;
            }
        };
        record.setbacks.insert((*issuer).into(), setback);
    }
    record
}

fn turn_of(record: &CertificateRecord) -> (String, Duration) {
    let turn = turn(&desired(), DIGEST, Some(record), now()).unwrap();
    (turn.issuer, turn.free_at.since(now()))
}

#[test]
fn whose_turn_it_is_by_what_is_against_whom_and_what_the_certificate_can_wait() {
    use Against::{Before, Failures, Held, Hopeless};
    let month = Some(30 * DAY);
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let table: &[Row] = &[
        ("nothing is against anybody", month, &[], ("one", Duration::ZERO)),
        (
            "nothing, and there is none yet",
            None,
            &[],
            ("one", Duration::ZERO),
        ),
        // The first gets three tries while there is time.
        (
            "one failure",
            month,
            &[("one", Failures(1, MINUTE))],
            ("one", MINUTE),
        ),
        (
            "two",
            month,
            &[("one", Failures(2, minutes(10)))],
            ("one", minutes(10)),
        ),
        (
            "three",
            month,
            &[("one", Failures(3, minutes(100)))],
            ("two", Duration::ZERO),
        ),
        ("hopeless", month, &[("one", Hopeless)], ("two", Duration::ZERO)),
        // None while there is not.
        (
            "one failure, none there",
            None,
            &[("one", Failures(1, MINUTE))],
            ("two", Duration::ZERO),
        ),
        (
            "one failure, expired",
            Some(Duration::ZERO),
            &[("one", Failures(1, MINUTE))],
            ("two", Duration::ZERO),
        ),
        (
            "two minutes left",
            Some(minutes(2)),
            &[("one", Failures(1, MINUTE))],
            ("two", Duration::ZERO),
        ),
        // A rate limit is waited for as long as the certificate can.
        ("held for a day", month, &[("one", Held(DAY))], ("one", DAY)),
        (
            "held for eight",
            month,
            &[("one", Held(8 * DAY))],
            ("two", Duration::ZERO),
        ),
        (
            "held, none there",
            None,
            &[("one", Held(HOUR))],
            ("two", Duration::ZERO),
        ),
        (
            "held, two days left",
            Some(2 * DAY),
            &[("one", Held(DAY))],
            ("two", Duration::ZERO),
        ),
        // On through the list.
        (
            "two of three",
            month,
            &[("one", Failures(3, DAY)), ("two", Hopeless)],
            ("three", Duration::ZERO),
        ),
        (
            "the second waits",
            month,
            &[("one", Hopeless), ("two", Failures(1, MINUTE))],
            ("two", MINUTE),
        ),
        // All of them fail: the one that may soonest.
        (
            "all have failed",
            month,
            &[
                ("one", Failures(5, DAY)),
                ("two", Failures(3, HOUR)),
                ("three", Failures(4, 2 * HOUR)),
            ],
            ("two", HOUR),
        ),
        (
            "all are held, none there",
            None,
            &[
                ("one", Held(3 * HOUR)),
                ("two", Held(2 * HOUR)),
                ("three", Held(2 * HOUR)),
            ],
            ("two", 2 * HOUR),
        ),
        (
            "all, of which one is hopeless",
            None,
            &[
                ("one", Hopeless),
                ("two", Failures(4, DAY + HOUR)),
                ("three", Held(2 * DAY)),
            ],
            ("one", DAY),
        ),
        // Of earlier renewals.
        (
            "failed three days ago",
            month,
            &[("one", Before(2, 3 * DAY))],
            ("one", Duration::ZERO),
        ),
        (
            "thrice three days ago",
            month,
            &[("one", Before(3, 3 * DAY))],
            ("two", Duration::ZERO),
        ),
        (
            "thrice, long forgotten",
            month,
            &[("one", Before(3, 8 * DAY))],
            ("one", Duration::ZERO),
        ),
    ];
    for (what, left, against, (issuer, after)) in table {
        let found = turn_of(&record(*left, against));
        assert_eq!(found, ((*issuer).to_owned(), *after), "{what}");
    }
}

#[test]
fn an_operator_ends_our_own_pauses_and_does_not_wait_for_a_server() {
    let mut requested = record(Some(30 * DAY), &[("one", Against::Failures(3, HOUR))]);
    requested.renew_requested = true;
    assert_eq!(turn_of(&requested), ("one".into(), Duration::ZERO));
    let mut held = record(Some(30 * DAY), &[("one", Against::Held(MINUTE))]);
    held.renew_requested = true;
    assert_eq!(turn_of(&held), ("two".into(), Duration::ZERO));
}

#[test]
fn a_revoked_certificate_waits_for_nobody() {
    let mut revoked = record(Some(30 * DAY), &[("one", Against::Failures(1, MINUTE))]);
    if let Some(current) = &mut revoked.current {
        current.revoked = Some(RevocationReason::KeyCompromise);
    }
    assert_eq!(turn_of(&revoked), ("two".into(), Duration::ZERO));
}

#[test]
fn what_is_wanted_otherwise_begins_with_the_first() {
    let mut other = record(Some(30 * DAY), &[("one", Against::Hopeless)]);
    other.pursued = "something else".into();
    assert_eq!(turn_of(&other), ("one".into(), Duration::ZERO));
}

#[test]
fn while_the_first_fails_each_renewal_tries_it_once_and_then_the_second() {
    let mut record = record(Some(30 * DAY), &[]);
    let mut asked = Vec::new();
    let mut at = now();
    for _renewal in 0..3 {
        loop {
            let turn = turn(&desired(), DIGEST, Some(&record), at).unwrap();
            at = turn.free_at;
            asked.push(turn.issuer.clone());
            if turn.issuer == "two" {
                succeeded(&mut record, "two");
                break;
            }
            let setback = failed(record.setbacks.get("one").copied(), false, at, |_| MINUTE);
            record.setbacks.insert("one".into(), setback);
        }
        at = at + 3 * DAY;
        if let Some(current) = &mut record.current {
            current.leaf.not_after = at + 30 * DAY;
        }
    }
    assert_eq!(asked, ["one", "one", "one", "two", "one", "two", "one", "two"]);
    // After a week of peace it has three tries again.
    at = at + 8 * DAY;
    let again = failed(record.setbacks.get("one").copied(), false, at, |_| MINUTE);
    assert_eq!(again.failures, 1);
}

#[test]
fn where_dns_is_against_one_the_others_that_do_not_rest_may_be_asked() {
    let month = Some(30 * DAY);
    let of = |against: &[(&str, Against)]| {
        let record = record(month, against);
        candidates(&desired(), DIGEST, &record, &turn_of(&record).0, now()).issuers
    };
    assert_eq!(of(&[]), ["one", "two", "three"]);
    assert_eq!(of(&[("two", Against::Failures(1, MINUTE))]), ["one", "three"]);
    assert_eq!(
        of(&[("two", Against::Hopeless), ("three", Against::Held(HOUR))]),
        ["one"]
    );
    assert_eq!(of(&[("two", Against::Before(3, HOUR))]), ["one", "two", "three"]);
    assert_eq!(of(&[("one", Against::Hopeless)]), ["two", "three"]);
}

/// A certificate of a month that `issuers` were passed over for, so long ago.
fn passed_over(issuers: &[&str], before: Duration, against: &[(&str, Against)]) -> CertificateRecord {
    let mut record = record(Some(30 * DAY), against);
    let seen = issuers
        .iter()
        .map(|issuer| ((*issuer).to_owned(), now() - before));
    record.passed_over = seen.collect();
    record
}

#[test]
fn an_issuer_that_dns_was_against_has_its_turn_after_those_that_may_sign() {
    for (issuers, against, expected, after) in [
        (&["one"][..], &[][..], "two", Duration::ZERO),
        (&["one", "two"], &[], "three", Duration::ZERO),
        // One that has failed often, and may be asked, comes before one that may not sign.
        (
            &["one", "three"],
            &[("two", Against::Before(3, HOUR))],
            "two",
            Duration::ZERO,
        ),
        // With nobody else to ask DNS is looked at again, as it may be right by now.
        (
            &["one"],
            &[("two", Against::Hopeless), ("three", Against::Held(8 * DAY))],
            "one",
            Duration::ZERO,
        ),
        (&["one", "two", "three"], &[], "one", Duration::ZERO),
    ] {
        let record = passed_over(issuers, 20 * DAY, against);
        assert_eq!(turn_of(&record), (expected.into(), after), "{issuers:?}");
    }
    let mut despite = passed_over(&["one"], 20 * DAY, &[]);
    despite.despite_dns = true;
    assert_eq!(turn_of(&despite).0, "one");
    let mut other = passed_over(&["one"], 20 * DAY, &[]);
    other.pursued = "something else".into();
    assert_eq!(turn_of(&other).0, "one");
}

#[test]
fn dns_is_looked_at_again_for_an_issuer_that_was_passed_over_unless_that_was_just_now() {
    for (before, expected) in [
        (20 * DAY, &["one", "two", "three"][..]),
        (MINUTE, &["one", "two", "three"]),
        (MINUTE / 2, &["two", "three"]),
    ] {
        let record = passed_over(&["one"], before, &[]);
        assert_eq!(
            candidates(&desired(), DIGEST, &record, "two", now()).issuers,
            expected,
            "{before:?}"
        );
    }
    // Seen under a clock that has been set back since.
    let mut record = passed_over(&["one"], Duration::ZERO, &[]);
    record.passed_over.insert("one".into(), now() + DAY);
    assert_eq!(
        candidates(&desired(), DIGEST, &record, "two", now()).issuers[0],
        "one"
    );
    // It rests for another reason: whose turn it is now goes first.
    let resting = passed_over(&["one"], DAY, &[("one", Against::Failures(1, MINUTE))]);
    assert_eq!(
        candidates(&desired(), DIGEST, &resting, "two", now()).issuers,
        ["two", "three"]
    );
    record.despite_dns = true;
    assert_eq!(
        candidates(&desired(), DIGEST, &record, "two", now()).issuers,
        ["two"]
    );
}

/// Whether the next issuer is looked at for after these looks, `(minute, verdict)`, at the minute after them.
fn is_waiting_over(looks: &[(u64, &str)], at: u64) -> bool {
    let record = looks
        .iter()
        .fold(record(Some(30 * DAY), &[]), |record, (minute, verdict)| {
            let seen = now() + MINUTE * u32::try_from(*minute).unwrap();
            let refusal = Refusal {
                is_definite: *verdict == "stop",
                until: (*verdict == "wait an hour").then_some(seen + HOUR),
                ..Refusal::unknown("the server of the zone does not answer".into())
            };
            outcome::blocked(record, DIGEST, refusal, seen, Jitter::new(1))
        });
    let at = now() + MINUTE * u32::try_from(at).unwrap();
    candidates(&desired(), DIGEST, &record, "one", at).is_waiting_over
}

#[test]
fn what_lets_an_order_wait_is_waited_for_ten_minutes_and_a_second_look() {
    for (looks, at, expected) in [
        (&[][..], 60, false),
        (&[(0, "wait")], 1, false),
        (&[(0, "wait")], 10, true),
        (&[(0, "wait"), (1, "wait"), (5, "wait")], 8, false),
        (&[(0, "wait"), (1, "wait"), (5, "wait")], 10, true),
        // However few looks there are in an hour, and however many were before.
        (&[(0, "wait an hour")], 60, true),
        (&[(0, "stop"), (60, "stop"), (120, "stop")], 180, false),
        (&[(0, "stop"), (60, "stop"), (120, "wait")], 121, false),
        (&[(0, "stop"), (60, "stop"), (120, "wait")], 130, true),
        (&[(0, "wait"), (8, "stop"), (9, "wait")], 12, false),
    ] {
        assert_eq!(is_waiting_over(looks, at), expected, "{looks:?} at {at}");
    }
    let failing: Duration = (1..STRIKES).map(|n| back_off::after_failure(n, None, 0.5)).sum();
    assert!(WAITED.abs_diff(failing) <= 2 * MINUTE);
}

#[test]
fn the_next_issuer_gets_its_turn_after_ten_minutes_whenever_the_wait_for_the_first_would_be_over() {
    for (lasts, expected) in [(None, 7..=8), (Some(HOUR), 3..=3), (Some(DAY), 3..=3)] {
        let (mut at, mut looks) = (now(), 1);
        let mut record = record(Some(30 * DAY), &[]);
        while !candidates(&desired(), DIGEST, &record, "one", at).is_waiting_over {
            let refusal = Refusal {
                until: lasts.map(|lasts| now() + lasts),
                ..Refusal::unknown("a resolver remembers what was before".into())
            };
            record = outcome::blocked(record, DIGEST, refusal, at, Jitter::new(1));
            at = record.state.next_wake().expect("another look");
            looks += 1;
        }
        assert_eq!(at.since(now()), WAITED, "{lasts:?}");
        assert!(expected.contains(&looks), "{looks} looks, {lasts:?}");
    }
}

#[test]
fn what_was_waited_for_says_nothing_of_what_is_wanted_otherwise_and_nothing_is_known_of_an_older_store() {
    let mut blocked = record(Some(30 * DAY), &[]);
    let written = r#"{"kind":"blocked","reason":"no answer","remedy":[],"checks":60,"next_check":"2026-11-21T00:00:00Z"}"#;
    blocked.state = serde_json::from_str(written).unwrap();
    let is_over =
        |record: &CertificateRecord| candidates(&desired(), DIGEST, record, "one", now()).is_waiting_over;
    assert!(!is_over(&blocked));
    blocked = outcome::blocked(
        blocked,
        DIGEST,
        Refusal::unknown(String::new()),
        now() - HOUR,
        Jitter::new(1),
    );
    assert!(is_over(&blocked));
    blocked.pursued = "something else".into();
    assert!(!is_over(&blocked), "that was another certificate");
}
