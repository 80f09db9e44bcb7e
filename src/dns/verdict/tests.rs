//! The judgement as tables: what was found against what should be.

use proptest::prelude::*;

use super::*;
use crate::dns::LookupFailure;

const V4: &str = "203.0.113.10";
const V6: &str = "2001:db8::10";
const OTHER_V4: &str = "198.51.100.7";
const OTHER_V6: &str = "2001:db8::99";

#[test]
fn each_family_is_judged_by_itself() {
    let (both, only_v4) = ([V4, V6], [V4]);
    for (ours, a, aaaa, expected) in [
        (&both[..], &[V4][..], &[V6][..], "go"),
        (&both, &[V4], &[], "go"),
        (&both, &[], &[V6], "go"),
        (&both, &[], &[], "stop"),
        (&both, &[V4], &[OTHER_V6], "stop"),
        (&both, &[OTHER_V4], &[V6], "stop"),
        (&both, &[V4, OTHER_V4], &[V6], "stop"),
        (&only_v4, &[V4], &[], "go"),
        (&only_v4, &[V4], &[V6], "stop"),
        (&only_v4, &[], &[V6], "stop"),
    ] {
        let verdict = judge(&www(), &target(ours, None), &at_name(found(a), found(aaaa)));
        assert_eq!(
            verdict.to_string(),
            expected,
            "ours {ours:?}, A {a:?}, AAAA {aaaa:?}"
        );
    }
}

#[test]
fn an_unanswered_family_waits_unless_the_other_is_known_to_be_wrong() {
    let silent = || AddressAnswer::Unanswered(LookupFailure::TimedOut);
    for (a, aaaa, expected) in [
        (found(&[V4]), silent(), "wait"),
        (silent(), found(&[]), "wait"),
        (silent(), silent(), "wait"),
        (silent(), found(&[OTHER_V6]), "stop"),
        (AddressAnswer::NoSuchName, silent(), "wait"),
    ] {
        let verdict = judge(&www(), &target(&[V4, V6], None), &at_name(a, aaaa));
        assert_eq!(verdict.to_string(), expected);
    }
}

#[test]
fn a_chain_is_judged_by_its_addresses_and_by_the_hostname_where_there_are_none() {
    let edge = &["edge.example.net"][..];
    let further = &["edge.example.net", "host7.example.net"][..];
    let elsewhere = &["elsewhere.example.net"][..];
    for (ours, chain, a, aaaa, expected) in [
        (&[V4][..], edge, &[V4][..], &[][..], "go"),
        (&[V4], edge, &[OTHER_V4], &[], "stop"),
        (&[V4], edge, &[V4], &[OTHER_V6], "stop"),
        (&[V4, V6], edge, &[V4], &[OTHER_V6], "stop"),
        (&[V4, V6], edge, &[V4], &[], "go"),
        (&[V4], further, &[OTHER_V4], &[], "stop"),
        (&[], edge, &[OTHER_V4], &[OTHER_V6], "go"),
        (&[], further, &[OTHER_V4], &[], "go"),
        (&[V4], elsewhere, &[V4], &[], "go"),
        (&[V4], elsewhere, &[OTHER_V4], &[], "stop"),
    ] {
        let target = target(ours, Some("edge.example.net"));
        let verdict = judge(&www(), &target, &alias(chain, addresses(a, aaaa)));
        assert_eq!(verdict.to_string(), expected, "{ours:?} {chain:?} {a:?} {aaaa:?}");
    }
}

#[test]
fn the_hostname_itself_is_judged_by_its_addresses() {
    let ours = target(&[V4], Some("www.example.com"));
    let stale = judge(&www(), &ours, &at_name(found(&[V4]), found(&[OTHER_V6])));
    assert_eq!(changes(&stale), ["remove: www.example.com. IN AAAA 2001:db8::99"]);
}

#[test]
fn every_end_of_a_chain_has_its_obstacle() {
    let name = "www.example.com".to_owned();
    let far = "far.example.org".to_owned();
    for (end, expected) in [
        (
            ChainEnd::Loop,
            Obstacle::Loop {
                name: name.clone(),
                again: far.clone(),
            },
        ),
        (
            ChainEnd::NoSuchName,
            Obstacle::DanglingAlias {
                name: name.clone(),
                target: far.clone(),
            },
        ),
        (
            ChainEnd::TooLong,
            Obstacle::TooLong {
                name: name.clone(),
                limit: MAX_CHAIN,
            },
        ),
        (
            addresses(&[], &[]),
            Obstacle::DanglingAlias {
                name,
                target: far.clone(),
            },
        ),
        (
            ChainEnd::Unanswered(LookupFailure::TimedOut),
            Obstacle::Unanswered {
                from: "it".to_owned(),
                owner: far,
                record: RecordType::Cname,
                failure: LookupFailure::TimedOut,
            },
        ),
    ] {
        let verdict = judge(&www(), &target(&[V4], None), &alias(&["far.example.org"], end));
        let (Verdict::Stop { obstacles, .. } | Verdict::Wait { obstacles, .. }) = verdict else {
            panic!("{verdict}: {expected}");
        };
        assert_eq!(obstacles, [expected]);
    }
}

#[test]
fn the_remedy_is_what_the_zone_needs_and_no_more() {
    let edge = Some("edge.example.net");
    for (ours, evidence, expected) in [
        (
            target(&[V4, V6], None),
            at_name(found(&[OTHER_V4]), found(&[])),
            &[
                "remove: www.example.com. IN A 198.51.100.7",
                "www.example.com. IN A 203.0.113.10",
                "www.example.com. IN AAAA 2001:db8::10",
            ][..],
        ),
        (
            target(&[V4, V6], None),
            at_name(found(&[OTHER_V4]), found(&[V6])),
            &[
                "remove: www.example.com. IN A 198.51.100.7",
                "www.example.com. IN A 203.0.113.10",
            ],
        ),
        (
            target(&[V4], edge),
            at_name(found(&[V4, OTHER_V4]), found(&[])),
            &["remove: www.example.com. IN A 198.51.100.7"],
        ),
        (
            target(&[], edge),
            at_name(found(&[OTHER_V4]), found(&[])),
            &[
                "remove: www.example.com. IN A 198.51.100.7",
                "www.example.com. IN CNAME edge.example.net.",
            ],
        ),
        (
            target(&[V4], None),
            alias(&["old.example.org"], addresses(&[OTHER_V4], &[])),
            &[
                "remove: www.example.com. IN CNAME old.example.org.",
                "www.example.com. IN A 203.0.113.10",
            ],
        ),
        (
            target(&[V4], edge),
            alias(&["edge.example.net"], ChainEnd::NoSuchName),
            &["edge.example.net. IN A 203.0.113.10"],
        ),
        (
            target(&[V4, V6], edge),
            alias(&["edge.example.net"], addresses(&[V4], &[OTHER_V6])),
            &[
                "remove: edge.example.net. IN AAAA 2001:db8::99",
                "edge.example.net. IN AAAA 2001:db8::10",
            ],
        ),
        (
            target(&[V4], edge),
            alias(
                &["edge.example.net", "host7.example.net"],
                addresses(&[OTHER_V4], &[]),
            ),
            &[
                "remove: edge.example.net. IN CNAME host7.example.net.",
                "edge.example.net. IN A 203.0.113.10",
            ],
        ),
        (
            target(&[V4], edge),
            alias(&["edge.example.net", "gone.example.net"], ChainEnd::NoSuchName),
            &[
                "remove: edge.example.net. IN CNAME gone.example.net.",
                "edge.example.net. IN A 203.0.113.10",
            ],
        ),
    ] {
        assert_eq!(changes(&judge(&www(), &ours, &evidence)), expected);
    }
}

#[test]
fn an_address_of_a_family_the_gateway_lacks_says_so() {
    let verdict = judge(&www(), &target(&[V4], None), &at_name(found(&[V4]), found(&[V6])));
    assert_eq!(
        verdict.reason(),
        "www.example.com has the AAAA record 2001:db8::10, which is not an address of this gateway \
         (it has none for IPv6, which a CA tries first)"
    );
}

proptest! {
    #[test]
    fn a_go_means_that_every_address_is_ours_and_there_is_one(
        ours in proptest::collection::vec(address(), 0..4),
        found in proptest::collection::vec(address(), 0..4),
    ) {
        let evidence = split(&found);
        let target = Target { addresses: ours.iter().copied().collect(), hostname: None };
        let all_ours = !found.is_empty() && found.iter().all(|address| ours.contains(address));
        prop_assert_eq!(judge(&www(), &target, &evidence) == Verdict::Go, all_ours);
    }

    #[test]
    fn the_order_of_answers_and_of_settings_changes_nothing(
        (ours, shuffled_ours) in shuffled(),
        (found, shuffled_found) in shuffled(),
    ) {
        let target = |addresses: &[IpAddr]| Target {
            addresses: addresses.iter().copied().collect(),
            hostname: None,
        };
        prop_assert_eq!(
            judge(&www(), &target(&ours), &split(&found)),
            judge(&www(), &target(&shuffled_ours), &split(&shuffled_found))
        );
    }

    #[test]
    fn doing_what_the_remedy_says_makes_it_a_go(
        ours in proptest::collection::vec(address(), 1..4),
        found in proptest::collection::vec(address(), 0..4),
    ) {
        let target = Target { addresses: ours.into_iter().collect(), hostname: None };
        let mut zone: BTreeSet<IpAddr> = found.iter().copied().collect();
        let before = judge(&www(), &target, &split(&found));
        for change in before.remedy() {
            let (Change::Add(record) | Change::Remove(record)) = change;
            let address = record.rsplit(' ').next().unwrap().parse().unwrap();
            match change {
                Change::Add(_) => prop_assert!(zone.insert(address)),
                Change::Remove(_) => prop_assert!(zone.remove(&address)),
            }
        }
        let after: Vec<_> = zone.into_iter().collect();
        prop_assert_eq!(judge(&www(), &target, &split(&after)), Verdict::Go);
    }
}

fn address() -> impl Strategy<Value = IpAddr> {
    proptest::sample::select(vec![V4, V6, OTHER_V4, OTHER_V6]).prop_map(|text| text.parse().unwrap())
}

fn shuffled() -> impl Strategy<Value = (Vec<IpAddr>, Vec<IpAddr>)> {
    proptest::collection::vec(address(), 0..5)
        .prop_flat_map(|addresses| (Just(addresses.clone()), Just(addresses).prop_shuffle()))
}

fn split(found: &[IpAddr]) -> Evidence {
    let (a, aaaa): (BTreeSet<_>, BTreeSet<_>) = found.iter().partition(|address| address.is_ipv4());
    at_name(AddressAnswer::Found(a), AddressAnswer::Found(aaaa))
}

fn www() -> DnsName {
    DnsName::parse("www.example.com").unwrap()
}

fn target(addresses: &[&str], hostname: Option<&str>) -> Target {
    Target {
        addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        hostname: hostname.map(|text| DnsName::parse(text).unwrap()),
    }
}

fn found(addresses: &[&str]) -> AddressAnswer {
    AddressAnswer::Found(addresses.iter().map(|text| text.parse().unwrap()).collect())
}

fn addresses(a: &[&str], aaaa: &[&str]) -> ChainEnd {
    ChainEnd::Addresses {
        a: found(a),
        aaaa: found(aaaa),
    }
}

fn at_name(a: AddressAnswer, aaaa: AddressAnswer) -> Evidence {
    Evidence {
        from: "it".to_owned(),
        chain: Vec::new(),
        dnames: Default::default(),
        wildcards: Default::default(),
        end: ChainEnd::Addresses { a, aaaa },
    }
}

fn alias(chain: &[&str], end: ChainEnd) -> Evidence {
    Evidence {
        from: "it".to_owned(),
        chain: chain.iter().map(|link| (*link).to_owned()).collect(),
        dnames: Default::default(),
        wildcards: Default::default(),
        end,
    }
}

fn changes(verdict: &Verdict) -> Vec<String> {
    verdict.remedy().iter().map(Change::to_string).collect()
}
