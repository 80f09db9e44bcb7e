//! What is said beside a verdict is about its own name.

use std::collections::BTreeMap;

use certgate::config::ChallengeType;
use certgate::dns::{Conditions, DnsChecker, Verdict};
use certgate::name::{DnsName, NamePattern};
use hickory_resolver::proto::rr::RecordType;

use crate::NOW;
use crate::world::{WWW, World};

#[tokio::test]
async fn a_broken_delegation_is_noted_for_the_name_that_it_breaks_only() {
    let world = World::with(&[
        "www.example.com A 203.0.113.10",
        "broken.example.com CNAME x.sub.example.com",
        "x.sub.example.com A 203.0.113.10",
    ])
    .await;
    world.ns1.change(|state| {
        let question = |kind| ("x.sub.example.com".to_owned(), kind);
        state
            .failing
            .extend([RecordType::CNAME, RecordType::A, RecordType::AAAA].map(question));
    });
    let names = ["broken.example.com", WWW].map(|name| NamePattern::parse(name).unwrap());
    let checker = DnsChecker::new(Some(&world.gateway()));
    let found = checker.check_all(&names, &world.conditions(), NOW).await;
    let [ns1, _] = world.shown();
    let [broken, www] = &found[..] else {
        panic!("one for each name: {found:?}");
    };
    assert!(
        broken
            .notes
            .iter()
            .any(|note| note.contains(&ns1) && note.contains("SERVFAIL")),
        "{broken}"
    );
    assert_eq!((&www.verdict, &www.notes), (&Verdict::Go, &Vec::new()), "{www}");
}

#[tokio::test]
async fn what_a_server_says_for_another_zone_is_not_said_of_its_own() {
    let world = World::with(&[
        "www.example.com CNAME x.other.test",
        "x.other.test CNAME edge.example.com",
        "edge.example.com A 203.0.113.10",
    ])
    .await;
    let question = ("x.other.test".to_owned(), RecordType::CNAME);
    world.ns1.change(|state| state.failing.extend([question]));
    let mut gateway = world.gateway();
    let both = vec![world.ns1.address(), world.ns2.address()];
    gateway.name_servers = BTreeMap::from([
        (DnsName::parse("example.com").unwrap(), both.clone()),
        (DnsName::parse("other.test").unwrap(), both),
    ]);
    let checker = DnsChecker::new(Some(&gateway));
    let name = DnsName::parse(WWW).unwrap();
    let found = checker.check(&name, &world.conditions(), NOW).await;
    assert_eq!(
        (&found.verdict, &found.notes),
        (&Verdict::Go, &Vec::new()),
        "{found}"
    );
}

#[tokio::test]
async fn a_name_that_dns01_proves_is_ordered_wherever_it_leads_and_said_to_be_not_pointed() {
    let world = World::with(&["www.example.com A 198.51.100.7"]).await;
    let conditions = Conditions {
        challenges: Some(vec![ChallengeType::Dns01]),
        ..world.conditions()
    };
    let found = world.examine(WWW, &conditions).await;
    assert!(
        found
            .to_string()
            .starts_with("www.example.com: go, issuable, not pointed"),
        "{found}"
    );
    let pointed = found.not_pointed.as_ref().expect("why it is not");
    assert!(pointed.reason().contains("198.51.100.7"), "{found}");
    assert_eq!(
        pointed.remedy()[0].to_string(),
        "remove: www.example.com. IN A 198.51.100.7"
    );
    let wildcard = world.examine("*.example.com", &conditions).await;
    assert_eq!(wildcard.not_pointed, None, "{wildcard}");
}

#[tokio::test]
async fn where_dns_01_fails_the_records_that_other_challenges_need_are_named() {
    let world = World::with(&["elsewhere.example.com A 192.0.2.1"]).await;
    let mut conditions = world.conditions();
    let alone = Some(vec![ChallengeType::Dns01]);
    for (challenges, expected) in [
        (alone, "wait"),
        (Some(vec![ChallengeType::Http01, ChallengeType::Dns01]), "stop"),
    ] {
        conditions.challenges = challenges;
        let found = world.examine("elsewhere.example.com", &conditions).await;
        assert_eq!(found.verdict, Verdict::Go, "{found}");
        let found = found.without_dns01("the server refuses", None);
        assert_eq!(found.verdict.to_string(), expected, "{found}");
        assert_eq!(found.state.word(), "declared", "{found}");
        let change = found.verdict.remedy().first().map(ToString::to_string);
        let remove = "remove: elsewhere.example.com. IN A 192.0.2.1".to_owned();
        assert_eq!(change, (expected == "stop").then_some(remove), "{found}");
    }
}
