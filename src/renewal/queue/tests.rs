use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::certificate::KeyType;
use crate::config::RateLimits;
use crate::name::NamePattern;
use crate::renewal::plan::Reason;
use crate::renewal::waiting::Rank;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
/// One more order of the account after so long, and one more certificate for a registered domain.
const NEXT_ORDER: Duration = Duration::from_secs(36);
const NEXT_OF_DOMAIN: Duration = Duration::from_secs(12_096);

fn now() -> Timestamp {
    Timestamp::from_unix_seconds(1_795_219_200)
}

/// A queue, and what is desired of the names in it.
#[derive(Default)]
struct Scene {
    queue: Queue,
    keys: BTreeMap<CertificateName, Key>,
    desired: BTreeMap<CertificateName, DesiredCertificate>,
}

impl Scene {
    fn put(&mut self, issuer: &str, name: &str, domain: &str, at: Timestamp, turn: Waiting) {
        let desired = DesiredCertificate {
            name: CertificateName::parse(name).unwrap(),
            domains: vec![NamePattern::parse(domain).unwrap()],
            issuers: vec![issuer.to_owned()],
            key_type: KeyType::EcdsaP256,
            reuse_key: false,
            tags: BTreeMap::new(),
            spare_of: None,
        };
        let next = Next {
            at,
            reason: Reason::Missing,
            issuer: issuer.to_owned(),
            again: false,
        };
        let key = match self.keys.get(&desired.name) {
            Some(key) => *key,
            None => self.queue.admit(&desired.name),
        };
        self.keys.insert(desired.name.clone(), key);
        self.queue.put(key, next, at, turn, 0);
        self.desired.insert(desired.name.clone(), desired);
    }

    /// An order for a registered domain of its own, due now.
    fn order(&mut self, issuer: &str, name: &str, rank: Rank) {
        self.put(
            issuer,
            name,
            &format!("{name}.example"),
            now(),
            Waiting::Order(rank),
        );
    }

    /// A renewal that is due now.
    fn renewal(&mut self, issuer: &str, name: &str, wanted_by: Timestamp, suggested: Option<Timestamp>) {
        let turn = Waiting::Renewal { wanted_by, suggested };
        self.put(issuer, name, &format!("{name}.example"), now(), turn);
    }

    /// Let's Encrypt's limits at `issuer`, of which so much is left of one bucket.
    fn limit(&mut self, issuer: &str, bucket: &Bucket, left: u32) {
        let rules = RateLimits::LetsEncrypt;
        let quota = bucket.quota(rules).unwrap();
        let mut ledger = Ledger::new(rules);
        ledger.note(bucket.clone(), now() + quota.refill * (quota.tokens - left));
        self.queue.know_limits(issuer, Some(ledger));
    }

    /// What is begun at that moment, by name, and when to look again.
    fn begin(&mut self, at: Timestamp) -> (Vec<String>, Option<Timestamp>) {
        let (actions, wake) = self.queue.take_due(at, |name| self.desired.get(name));
        let names = actions.iter().map(|action| action.certificate.to_string());
        (names.collect(), wake)
    }

    /// What is begun one after the other, as often as there is something more to wait for.
    fn begin_all(&mut self) -> Vec<String> {
        let (mut begun, mut at) = (Vec::new(), Some(now()));
        for _ in 0..100 {
            let Some(moment) = at else { break };
            let (names, wake) = self.begin(moment);
            begun.extend(names);
            at = wake.map(|wake| wake.max(moment));
        }
        assert_eq!(at, None, "it goes on and on");
        begun
    }

    fn account_for(&mut self, name: &str, cost: Cost) {
        self.queue
            .account_for(&CertificateName::parse(name).unwrap(), cost);
    }
}

fn numbered(prefix: &str, numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|n| format!("{prefix}{n}")).collect()
}

#[test]
fn orders_go_by_urgency_and_each_fourth_new_name_is_one_that_has_failed() {
    let changed = |days: u32| Rank::Changed {
        wanted_by: now() + DAY * days,
    };
    let mut scene = Scene::default();
    scene.limit("ca", &Bucket::Orders, 1);
    for (name, rank) in [
        ("late", changed(60)),
        ("a", Rank::Missing),
        ("b", Rank::Missing),
        ("c", Rank::Missing),
        ("d", Rank::Missing),
        ("failed", Rank::Again),
        ("failed-too", Rank::Again),
        ("failed-three", Rank::Again),
        ("soon", changed(20)),
        ("pressing", changed(6)),
        ("most-pressing", changed(2)),
    ] {
        scene.order("ca", name, rank);
    }
    let begun = scene.begin_all();
    let expected = [
        "most-pressing",
        "pressing",
        "a",
        "failed",
        "b",
        "c",
        "d",
        "failed-three",
        "failed-too",
        "soon",
        "late",
    ];
    assert_eq!(begun, expected);
}

#[test]
fn as_many_orders_are_begun_as_tokens_are_left_and_then_one_after_each_refill() {
    let mut scene = Scene::default();
    scene.limit("ca", &Bucket::Orders, 3);
    for name in numbered("n", 0..6) {
        scene.order("ca", &name, Rank::Missing);
    }
    assert_eq!(
        scene.begin(now()),
        (numbered("n", 0..3), Some(now() + NEXT_ORDER))
    );
    assert_eq!(scene.begin(now() + NEXT_ORDER - SECOND).0, [""; 0]);
    assert_eq!(scene.begin(now() + NEXT_ORDER).0, ["n3"]);
    assert_eq!(scene.begin(now() + NEXT_ORDER * 3), (numbered("n", 4..6), None));
}

#[test]
fn renewals_go_by_urgency_a_few_at_once_and_then_at_a_pace() {
    let mut scene = Scene::default();
    for n in 0..40 {
        let wanted_by = now() + DAY * (100 - n);
        scene.renewal("ca", &format!("usual{n:02}"), wanted_by, None);
    }
    scene.renewal("ca", "within-a-day", now() + HOUR * 20, None);
    scene.renewal("ca", "within-the-hour", now() + HOUR / 2, None);
    for n in 0..5 {
        let end = now() + HOUR * (n + 1);
        scene.renewal("ca", &format!("suggested{n}"), now() + DAY * 200, Some(end));
    }
    let (begun, wake) = scene.begin(now());
    let mut expected = numbered("suggested", 0..5);
    // What is wanted soonest first.
    expected.extend(numbered("usual", 17..40));
    expected.extend(["within-a-day".to_owned(), "within-the-hour".to_owned()]);
    assert_eq!(begun, expected);
    let pace = SECOND * 30;
    assert_eq!(wake, Some(now() + pace));
    assert_eq!(
        scene.begin(now() + pace),
        (vec!["usual16".into()], Some(now() + pace * 2))
    );
    // What cannot wait does not, whatever the CA suggests.
    scene.renewal("ca", "urgent", now() + HOUR / 2, None);
    for (name, end) in [("soon", HOUR), ("in-good-time", HOUR / 4)] {
        scene.renewal("ca", name, now() + DAY * 20, Some(now() + end));
    }
    scene.renewal("ca", "as-urgent", now() + HOUR, Some(now() + HOUR / 2));
    let later = now() + pace + SECOND;
    assert_eq!(
        scene.begin(later),
        (vec!["as-urgent".into(), "urgent".into()], Some(later + pace))
    );
    assert_eq!(scene.begin(later + pace).0, ["in-good-time"]);
    assert_eq!(scene.begin(later + pace * 2).0, ["soon"]);
    assert_eq!(scene.begin(later + pace * 3).0, ["usual15"]);
}

#[test]
fn renewals_pass_orders_that_wait_for_limits() {
    let mut scene = Scene::default();
    scene.limit("ca", &Bucket::Orders, 0);
    scene.order("ca", "new", Rank::Missing);
    scene.renewal("ca", "suggested", now() + DAY * 20, Some(now() + HOUR));
    scene.renewal("ca", "usual", now() + DAY * 20, None);
    let until = now() + NEXT_ORDER;
    assert_eq!(
        scene.begin(now()),
        (vec!["suggested".into(), "usual".into()], Some(until))
    );
    // They have cost nothing.
    assert_eq!(scene.begin(until), (vec!["new".into()], None));
}

#[test]
fn an_issuer_or_a_domain_that_is_to_be_left_alone_holds_up_no_other() {
    let mut scene = Scene::default();
    let until = now() + HOUR * 6;
    let emptied = |bucket: Bucket| {
        let quota = bucket.quota(RateLimits::LetsEncrypt).unwrap();
        let mut ledger = Ledger::new(RateLimits::LetsEncrypt);
        ledger.note(bucket, quota.emptied(now(), until));
        Some(ledger)
    };
    // As a 429 with Retry-After leaves it: of the account at the one, of a domain at the other.
    scene.queue.know_limits("one", emptied(Bucket::Orders));
    let shop = Bucket::Domain("shop.example".into());
    scene.queue.know_limits("two", emptied(shop));
    let missing = Waiting::Order(Rank::Missing);
    scene.order("one", "held", Rank::Missing);
    scene.put("two", "a-of-shop", "www.shop.example", now(), missing);
    scene.order("two", "b", Rank::Missing);
    scene.order("three", "c", Rank::Missing);
    scene.put("two", "later", "later.example", now() + HOUR, missing);
    assert_eq!(
        scene.begin(now()),
        (vec!["b".into(), "c".into()], Some(now() + HOUR))
    );
    assert_eq!(scene.begin(now() + HOUR), (vec!["later".into()], Some(until)));
    assert_eq!(
        scene.begin(until),
        (vec!["a-of-shop".into(), "held".into()], None)
    );
}

#[test]
fn of_a_crowd_at_one_limit_as_many_are_begun_as_it_has_room_for() {
    let mut scene = Scene::default();
    scene.limit("ca", &Bucket::Domain("shop.example".into()), 2);
    for n in 0..5 {
        let domain = format!("n{n}.shop.example");
        scene.put(
            "ca",
            &format!("n{n}"),
            &domain,
            now(),
            Waiting::Order(Rank::Missing),
        );
    }
    let next = now() + NEXT_OF_DOMAIN;
    assert_eq!(scene.begin(now()), (numbered("n", 0..2), Some(next)));
    assert_eq!(
        scene.begin(next),
        (vec!["n2".into()], Some(next + NEXT_OF_DOMAIN))
    );
    let last = next + NEXT_OF_DOMAIN * 2;
    assert_eq!(scene.begin(last), (numbered("n", 3..5), None));
}

#[test]
fn what_an_attempt_did_not_cost_is_there_for_others_at_once() {
    let shop = Bucket::Domain("shop.example".into());
    for (bucket, cost, is_given_back) in [
        (&shop, Cost::Nothing, true),
        (&shop, Cost::Order, true),
        (&shop, Cost::All, false),
        (&Bucket::Orders, Cost::Nothing, true),
        (&Bucket::Orders, Cost::Order, false),
        (&Bucket::Orders, Cost::All, false),
    ] {
        let mut scene = Scene::default();
        scene.limit("ca", bucket, 1);
        for name in ["a", "b"] {
            let domain = format!("{name}.shop.example");
            scene.put("ca", name, &domain, now(), Waiting::Order(Rank::Missing));
        }
        assert_eq!(scene.begin(now()).0, ["a"]);
        scene.account_for("a", cost);
        let later = now() + SECOND;
        let (begun, wake) = scene.begin(later);
        assert_eq!(begun == ["b"], is_given_back, "{bucket}, {cost:?}: {begun:?}");
        assert_eq!(wake.is_none(), is_given_back, "{bucket}, {cost:?}");
        // It is accounted for once.
        scene.account_for("a", Cost::Nothing);
        scene.order("ca", "c", Rank::Missing);
        let is_of_account = *bucket == Bucket::Orders;
        assert_eq!(
            scene.begin(later).0 == ["c"],
            !is_of_account,
            "{bucket}, {cost:?}"
        );
    }
}

#[test]
fn a_new_count_of_the_limits_forgets_nothing_that_was_begun() {
    let mut scene = Scene::default();
    scene.limit("ca", &Bucket::Orders, 2);
    for name in numbered("n", 0..4) {
        scene.order("ca", &name, Rank::Missing);
    }
    assert_eq!(scene.begin(now()).0, numbered("n", 0..2));
    // The store has seen neither of both.
    scene.limit("ca", &Bucket::Orders, 2);
    assert_eq!(scene.begin(now()).0, [""; 0]);
    scene.account_for("n0", Cost::All);
    scene.account_for("n1", Cost::All);
    scene.limit("ca", &Bucket::Orders, 1);
    assert_eq!(scene.begin(now()).0, ["n2"]);
    // Where no limits are known, nothing waits for them.
    scene.queue.know_limits("ca", None);
    scene.order("ca", "n4", Rank::Missing);
    assert_eq!(scene.begin(now()), (numbered("n", 3..5), None));
}

#[test]
fn the_first_order_of_an_issuer_waits_until_its_account_may_be_registered() {
    let quota = Bucket::Registrations.quota(RateLimits::LetsEncrypt).unwrap();
    let until = now() + HOUR;
    let mut ledger = Ledger::new(RateLimits::LetsEncrypt).without_account();
    ledger.note(Bucket::Registrations, quota.emptied(now(), until));
    let mut scene = Scene::default();
    scene.queue.know_limits("ca", Some(ledger));
    for name in numbered("n", 0..3) {
        scene.order("ca", &name, Rank::Missing);
    }
    scene.renewal("ca", "renewal", now() + DAY * 20, None);
    assert_eq!(scene.begin(now()), (Vec::new(), Some(until)));
    // One account serves all of them.
    let all = ["n0", "n1", "n2", "renewal"];
    assert_eq!(scene.begin(until).0, all);
    for name in all {
        scene.account_for(name, Cost::Order);
    }
    scene.order("ca", "n3", Rank::Missing);
    assert_eq!(scene.begin(until), (vec!["n3".into()], None));
}

#[test]
fn what_is_taken_out_or_put_off_is_not_begun_wherever_it_stands() {
    let mut scene = Scene::default();
    let shop = Bucket::Domain("shop.example".into());
    scene.limit("ca", &shop, 0);
    let missing = Waiting::Order(Rank::Missing);
    for held in ["held", "held-too"] {
        scene.put("ca", held, &format!("{held}.shop.example"), now(), missing);
    }
    scene.put("ca", "later", "later.example", now() + HOUR, missing);
    assert_eq!(
        scene.begin(now()),
        (Vec::new(), Some(now() + HOUR)),
        "{:?}",
        scene.queue
    );
    let key = |name| scene.keys[&CertificateName::parse(name).unwrap()];
    let (held, held_too, later) = (key("held"), key("held-too"), key("later"));
    let taken_out = scene.queue.remove(held);
    assert_eq!(taken_out.map(|next| next.at), Some(now()));
    scene.queue.put_off(held_too, now() + DAY);
    scene.queue.put_off(later, now() + HOUR * 2);
    assert!(scene.queue.remove(held).is_none());
    scene.queue.dismiss(held);
    assert!(scene.queue.remove(held).is_none());
    assert_eq!(scene.begin(now() + HOUR).0, [""; 0]);
    assert_eq!(scene.begin(now() + HOUR * 2).0, ["later"]);
    // What is put off keeps to it, and no more than that.
    assert_eq!(scene.begin(now() + DAY - SECOND).0, [""; 0]);
    assert_eq!(scene.begin(now() + DAY), (vec!["held-too".into()], None));
}

/// Two issuers with accounts at one CA, of whose limit for a registered domain so much is left.
fn at_one_ca(left: u32) -> Scene {
    let mut scene = Scene::default();
    for issuer in ["one", "two"] {
        scene.know(issuer, left);
    }
    scene
}

impl Scene {
    fn know(&mut self, issuer: &str, left: u32) {
        let rules = RateLimits::LetsEncrypt;
        let bucket = Bucket::Domain("a.example".to_owned());
        let quota = bucket.quota(rules).unwrap();
        let mut ledger = Ledger::new(rules).of_ca("ca.example".to_owned());
        ledger.note(bucket, now() + quota.refill * (quota.tokens - left));
        self.queue.know_limits(issuer, Some(ledger));
    }

    /// Orders below the registered domain, due now.
    fn of_domain(&mut self, issuer: &str, names: std::ops::Range<u32>) {
        for n in names {
            let domain = format!("{issuer}{n}.a.example");
            let turn = Waiting::Order(Rank::Missing);
            self.put(issuer, &format!("{issuer}{n}"), &domain, now(), turn);
        }
    }
}

#[test]
fn two_issuers_at_one_ca_use_its_limits_once() {
    let mut scene = at_one_ca(5);
    scene.of_domain("one", 0..3);
    scene.of_domain("two", 0..3);
    let (begun, wake) = scene.begin(now());
    assert_eq!(begun, ["one0", "one1", "one2", "two0", "two1"]);
    assert_eq!(wake, Some(now() + NEXT_OF_DOMAIN));
    assert_eq!(scene.begin_all(), ["two2"]);

    // Each account has orders of its own.
    let mut scene = at_one_ca(50);
    for n in 0..301 {
        scene.order("one", &format!("a{n:03}"), Rank::Missing);
        scene.order("two", &format!("b{n:03}"), Rank::Missing);
    }
    assert_eq!(scene.begin(now()).0.len(), 600);
}

#[test]
fn what_one_issuer_gives_back_is_there_for_another_at_its_ca_and_what_it_has_begun_is_not() {
    let mut scene = at_one_ca(1);
    scene.of_domain("one", 0..1);
    scene.of_domain("two", 0..1);
    assert_eq!(scene.begin(now()).0, ["one0"]);
    // By the store, which has not counted the order of the other one yet.
    scene.know("two", 1);
    assert_eq!(scene.begin(now()).0, [""; 0]);
    scene.account_for("one0", Cost::Nothing);
    assert_eq!(scene.begin(now()).0, ["two0"]);
}
