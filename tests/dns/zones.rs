//! Verdicts on zones that the test serves: the zone's own servers beside a resolver.

use std::time::{Duration, Instant};

use certgate::config::ChallengeType;
use certgate::dns::{DnsChecker, DomainState, Obstacle, Verdict};
use certgate::name::DnsName;
use hickory_resolver::proto::rr::RecordType;

use crate::support::name_server::NameServer;
use crate::world::{WWW, World};
use crate::{NOW, OURS, obstacles, remedy};

#[tokio::test]
async fn each_zone_has_its_verdict_its_reason_and_the_record_to_change() {
    let nine: Vec<String> = (0..9)
        .map(|link| format!("c{link}.example.com CNAME c{}.example.com", link + 1))
        .collect();
    let mut nine: Vec<&str> = nine.iter().map(String::as_str).collect();
    nine.extend([
        "www.example.com CNAME c0.example.com",
        "c9.example.com A 203.0.113.10",
    ]);
    let right = "www.example.com A 203.0.113.10";
    let forbids = r#"example.com CAA 0 issue "other.example""#;
    for (records, verdict, reason, changes) in [
        (&[right][..], "go", "", &[][..]),
        (
            &["www.example.com A 198.51.100.7"],
            "stop",
            "A record 198.51.100.7, which is not an address of this gateway",
            &[
                "remove: www.example.com. IN A 198.51.100.7",
                "www.example.com. IN A 203.0.113.10",
                "www.example.com. IN AAAA 2001:db8::10",
            ],
        ),
        (
            &[right, "www.example.com AAAA 2001:db8::99"],
            "stop",
            "AAAA record 2001:db8::99",
            &[
                "remove: www.example.com. IN AAAA 2001:db8::99",
                "www.example.com. IN AAAA 2001:db8::10",
            ],
        ),
        (
            &[
                "www.example.com CNAME edge.example.com",
                "edge.example.com A 10.0.0.1",
            ],
            "stop",
            "edge.example.com has the A record 10.0.0.1",
            &[
                "remove: edge.example.com. IN A 10.0.0.1",
                "edge.example.com. IN A 203.0.113.10",
                "edge.example.com. IN AAAA 2001:db8::10",
            ],
        ),
        (
            &[
                "www.example.com CNAME a.example.com",
                "a.example.com CNAME www.example.com",
            ],
            "stop",
            "never ends",
            &[
                "remove: www.example.com. IN CNAME a.example.com.",
                "www.example.com. IN CNAME edge.example.com.",
            ],
        ),
        (
            &["www.example.com CNAME gone.example.com"],
            "stop",
            "an alias of gone.example.com, which has no address",
            &[
                "remove: www.example.com. IN CNAME gone.example.com.",
                "www.example.com. IN CNAME edge.example.com.",
            ],
        ),
        (
            &nine,
            "stop",
            "longer than 8 records",
            &[
                "remove: www.example.com. IN CNAME c0.example.com.",
                "www.example.com. IN CNAME edge.example.com.",
            ],
        ),
        (
            &[],
            "stop",
            "does not exist",
            &[
                "www.example.com. IN A 203.0.113.10",
                "www.example.com. IN AAAA 2001:db8::10",
            ],
        ),
        (
            &[right, r#"www.example.com CAA 0 issue "ca.example""#],
            "go",
            "",
            &[],
        ),
        (
            &[right, r#"www.example.com CAA 0 issue "other.example""#],
            "stop",
            "CAA records of www.example.com let no certificate be issued by ca.example",
            &[r#"www.example.com. IN CAA 0 issue "ca.example""#],
        ),
        (
            &[right, forbids],
            "stop",
            "CAA records of example.com let no certificate be issued by ca.example",
            &[r#"example.com. IN CAA 0 issue "ca.example""#],
        ),
        (
            &[right, forbids, r#"www.example.com CAA 0 issue "ca.example""#],
            "go",
            "",
            &[],
        ),
        (
            &[
                right,
                r#"example.com CAA 0 issue "ca.example; accounturi=https://ca.example/acct/7""#,
            ],
            "go",
            "",
            &[],
        ),
        (
            &[
                right,
                r#"example.com CAA 0 issue "ca.example; accounturi=https://ca.example/acct/1""#,
            ],
            "stop",
            "https://ca.example/acct/1 only, and this gateway's is https://ca.example/acct/7",
            &[r#"example.com. IN CAA 0 issue "ca.example; accounturi=https://ca.example/acct/7""#],
        ),
        (
            &[
                right,
                r#"example.com CAA 0 issue "ca.example; validationmethods=dns-01""#,
            ],
            "stop",
            "http-01: CAA records allow dns-01 only",
            &[r#"example.com. IN CAA 0 issue "ca.example; validationmethods=tls-alpn-01,http-01""#],
        ),
        (
            &[
                right,
                r#"example.com CAA 0 issue "ca.example; accounturi=https://ca.example/acct/7; validationmethods=dns-01""#,
            ],
            "stop",
            "http-01: CAA records allow dns-01 only",
            &[
                r#"example.com. IN CAA 0 issue "ca.example; accounturi=https://ca.example/acct/7; validationmethods=tls-alpn-01,http-01""#,
            ],
        ),
        (
            &[right, r#"example.com CAA 128 tbs "x""#],
            "stop",
            "CAA records of example.com demand that the CA knows the property `tbs`",
            &[r#"remove: example.com. IN CAA 128 tbs "x""#],
        ),
        (
            &[
                right,
                r#"example.com CAA 0 issue "ca.example; validationmethods=http-01""#,
            ],
            "go",
            "",
            &[],
        ),
        (
            &[
                "www.example.com CNAME edge.example.com",
                r#"edge.example.com CAA 0 issue ";""#,
                "edge.example.com A 203.0.113.10",
            ],
            "stop",
            "let no certificate be issued",
            &[r#"edge.example.com. IN CAA 0 issue "ca.example""#],
        ),
    ] {
        let world = World::with(records).await;
        let found = world.check().await;
        assert_eq!(found.verdict.to_string(), verdict, "{records:?}\n{found}");
        assert!(found.reason_text.contains(reason), "{records:?}\n{found}");
        assert_eq!(remedy(&found), changes, "{records:?}\n{found}");
    }
}

#[tokio::test]
async fn caa_records_that_cannot_be_had_are_waited_for() {
    let world = World::with(&["www.example.com A 203.0.113.10"]).await;
    for server in [&world.ns1, &world.ns2, &world.resolver] {
        let caa = ("example.com".to_owned(), RecordType::CAA);
        server.change(|state| state.failing.extend([caa]));
    }
    let found = world.check().await;
    assert!(
        matches!(found.verdict, Verdict::Wait { until: None, .. }),
        "{found}"
    );
    assert!(found.reason_text.contains("example.com CAA: "), "{found}");
    assert!(found.reason_text.contains("answered SERVFAIL"), "{found}");
    assert_eq!(found.state, DomainState::Pointed);
}

#[tokio::test]
async fn only_the_challenges_that_caa_records_allow_are_left() {
    let allowed = r#"example.com CAA 0 issue "ca.example; validationmethods=http-01""#;
    let found = World::with(&["www.example.com A 203.0.113.10", allowed])
        .await
        .check()
        .await;
    assert_eq!(found.challenges, [ChallengeType::Http01]);
    assert!(
        found
            .notes
            .contains(&"tls-alpn-01: CAA records allow http-01 only".to_owned()),
        "{found}"
    );
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_can_be_proven_by_dns_01_and_by_nothing_that_a_ca_connects_for() {
    let world = World::with(&["elsewhere.example.com A 192.0.2.1"]).await;
    let (tls_alpn_01, dns_01) = (ChallengeType::TlsAlpn01, ChallengeType::Dns01);
    let mut conditions = world.conditions();
    conditions.challenges = Some(vec![tls_alpn_01, dns_01]);
    let name = "elsewhere.example.com";

    let found = world.examine(name, &conditions).await;
    assert!(found.verdict.allows_order(), "{found}");
    assert_eq!(found.challenges, [dns_01]);
    assert!(
        found
            .notes
            .contains(&"tls-alpn-01: the name does not lead here".to_owned()),
        "{found}"
    );
    let without = found.without_dns01("the server is silent", None);
    assert!(!without.verdict.allows_order(), "{without}");
    assert_eq!(without.challenges, []);

    // Behind an address translator nobody outside sees what stands here.
    conditions.advisory = true;
    assert_eq!(
        world.examine(name, &conditions).await.challenges,
        [tls_alpn_01, dns_01]
    );
}

#[tokio::test]
async fn a_wildcard_obeys_issuewild_and_needs_dns_01() {
    let world = World::with(&[r#"example.com CAA 0 issuewild ";""#]).await;
    let found = world.check_name("*.example.com").await;
    assert!(
        found.reason_text.contains("CAA records of example.com"),
        "{found}"
    );
    assert!(
        found.reason_text.contains("can only be proven by dns-01"),
        "{found}"
    );
    assert_eq!(
        remedy(&found),
        [r#"example.com. IN CAA 0 issuewild "ca.example""#]
    );
}

#[tokio::test]
async fn a_name_is_owned_once_its_text_is_there_or_above_it() {
    let mut world = World::with(&["www.example.com A 203.0.113.10"]).await;
    world.ownership = Some("certgate-verify=5f1c");
    let found = world.check().await;
    assert_eq!(found.state, DomainState::Declared);
    assert_eq!(found.verdict.to_string(), "stop", "{found}");
    let record = "_certgate.www.example.com. IN TXT \"certgate-verify=5f1c\"";
    assert_eq!(remedy(&found), [record]);

    world.add("_certgate.example.com TXT certgate-verify=5f1c");
    let found = world.check().await;
    assert_eq!(found.verdict, Verdict::Go, "{found}");
    assert_eq!(found.state, DomainState::Issuable);
}

#[tokio::test]
async fn servers_none_of_which_speaks_for_the_zone_are_to_be_taken_out_of_it() {
    let world = World::with(&["www.example.com A 203.0.113.10"]).await;
    world.ns1.change(|state| state.lame = true);
    world.ns2.change(|state| state.lame = true);
    for record in [
        RecordType::CNAME,
        RecordType::A,
        RecordType::AAAA,
        RecordType::CAA,
    ] {
        let question = (WWW.to_owned(), record);
        world.resolver.change(|state| state.failing.extend([question]));
    }
    let found = world.check().await;
    let [ns1, _] = world.shown();
    let lame = |obstacle: &Obstacle| matches!(obstacle, Obstacle::LameDelegation { .. });
    assert!(obstacles(&found).iter().all(lame), "{found}");
    assert!(
        found
            .reason_text
            .contains(&format!("{ns1} did not speak for the zone: REFUSED")),
        "{found}"
    );
    assert_eq!(
        remedy(&found),
        [
            "remove: example.com. IN NS ns1.example.com.",
            "remove: example.com. IN NS ns2.example.com.",
        ]
    );
}

#[tokio::test]
async fn one_lame_server_among_several_is_noted_and_holds_nothing_back() {
    let world = World::with(&["www.example.com A 203.0.113.10"]).await;
    world.ns2.change(|state| state.lame = true);
    let found = world.check().await;
    assert_eq!(found.verdict, Verdict::Go, "{found}");
    let [_, ns2] = world.shown();
    let expected = "did not speak for the zone: REFUSED; remove: example.com. IN NS ns2.example.com.";
    assert_eq!(found.notes, [format!("{ns2} {expected}")]);
}

#[tokio::test]
async fn a_silent_server_is_named_and_holds_up_nobody() {
    let world = World::with(&["www.example.com A 203.0.113.10"]).await;
    world.ns2.change(|state| state.silent = true);
    let silent = NameServer::resolver(14).await;
    silent.change(|state| state.silent = true);
    let mut gateway = world.gateway();
    gateway.resolvers.push(silent.address());
    let started = Instant::now();
    let found = DnsChecker::new(Some(&gateway))
        .check(&DnsName::parse(WWW).unwrap(), &world.conditions(), NOW)
        .await;
    assert!(started.elapsed() < Duration::from_secs(9));
    assert_eq!(found.verdict, Verdict::Go, "{found}");
    let named = |text: &str| {
        let mut notes = found.notes.iter();
        notes.any(|note| note.contains(text) && note.contains("did not answer in time"))
    };
    assert!(named(&world.shown()[1]), "{found}");
    assert!(named(&silent.address().to_string()), "{found}");
}

#[tokio::test]
async fn signatures_that_do_not_verify_are_told_from_other_failures() {
    let world = World::with(&["www.example.com A 203.0.113.10", "example.com DS -"]).await;
    world.resolver.change(|state| state.bogus = Some("example.com"));
    let found = world.check().await;
    assert_eq!(found.verdict.to_string(), "stop", "{found}");
    assert!(
        found.reason_text.contains(
            "the signatures of the zone example.com do not verify (signature expired: RRSIG too old)"
        ),
        "{found}"
    );
    assert!(
        remedy(&found).contains(&"remove: example.com. IN DS 12345 13 2 ABCD".to_owned()),
        "{found}"
    );
}

#[tokio::test]
async fn servers_that_disagree_are_waited_for() {
    let world = World::with(&[]).await;
    world.ns1.add("www.example.com A 203.0.113.10");
    world.ns2.add("www.example.com A 198.51.100.7");
    world.resolver.add("www.example.com A 203.0.113.10");
    let [ns1, ns2] = world.shown();
    let found = world.check().await;
    assert!(matches!(found.verdict, Verdict::Wait { .. }), "{found}");
    assert!(
        found.reason_text.contains(&format!(
            "do not agree on its A record: {ns1} says 203.0.113.10, {ns2} says 198.51.100.7"
        )),
        "{found}"
    );
}

#[tokio::test]
async fn what_a_resolver_still_remembers_is_waited_for_as_long_as_it_may() {
    let world = World::with(&[]).await;
    world.ns1.add("www.example.com A 203.0.113.10");
    world.ns2.add("www.example.com A 203.0.113.10");
    world.resolver.add("www.example.com A 198.51.100.7");
    let found = world.check().await;
    assert_eq!(
        found.verdict.until(),
        Some(NOW + Duration::from_secs(300)),
        "{found}"
    );
    assert!(
        found.reason_text.contains("still says, for 300 s at most"),
        "{found}"
    );
    world.resolver.remove(WWW);
    world.resolver.add("www.example.com A 203.0.113.10");
    assert_eq!(world.check().await.verdict, Verdict::Go);
}

#[tokio::test]
async fn a_wildcard_record_that_hides_a_missing_name_is_seen() {
    let world = World::with(&["*.example.com A 198.51.100.7"]).await;
    let found = world.check().await;
    assert_eq!(
        remedy(&found),
        [
            "www.example.com. IN A 203.0.113.10",
            "www.example.com. IN AAAA 2001:db8::10"
        ],
        "a record of its own goes before the wildcard's"
    );
    assert!(
        found
            .notes
            .iter()
            .any(|note| note.contains("*.example.com answers for it")),
        "{found}"
    );

    let hidden = World::with(&["*.example.com A 203.0.113.10"]).await.check().await;
    assert_eq!(hidden.verdict, Verdict::Go, "{hidden}");
    assert!(
        hidden
            .notes
            .iter()
            .any(|note| note.contains("*.example.com answers for it")),
        "{hidden}"
    );
}

#[tokio::test]
async fn an_answer_without_room_in_a_datagram_is_had_by_tcp() {
    let world = World::with(&["www.example.com A 203.0.113.10"]).await;
    for server in [&world.ns1, &world.ns2, &world.resolver] {
        server.change(|state| state.truncates = true);
    }
    let found = world.check().await;
    assert_eq!(found.verdict, Verdict::Go, "{found}");
}

#[tokio::test]
async fn the_servers_of_a_zone_are_found_through_the_resolvers() {
    let world = World::with(&["www.example.com A 203.0.113.10"]).await;
    // No one answers there: what matters is who is asked.
    for server in ["ns1.example.com", "ns2.example.com"] {
        world.resolver.remove(server);
        world.resolver.add(&format!("{server} A 127.0.0.99"));
    }
    let mut gateway = world.gateway();
    gateway.name_servers.clear();
    let found = DnsChecker::new(Some(&gateway))
        .check(&DnsName::parse(WWW).unwrap(), &world.conditions(), NOW)
        .await;
    assert_eq!(
        found.verdict,
        Verdict::Go,
        "judged by the resolver alone: {found}"
    );
    for server in ["ns1.example.com (127.0.0.99)", "ns2.example.com (127.0.0.99)"] {
        assert!(found.notes.iter().any(|note| note.starts_with(server)), "{found}");
    }
    assert!(world.ns1.questions().is_empty());
}

#[tokio::test]
async fn the_zones_own_servers_are_asked_and_every_record_says_who_said_it() {
    let world = World::with(&["www.example.com A 203.0.113.10"]).await;
    let found = world.check().await;
    let www_a = (WWW.to_owned(), RecordType::A);
    assert!(world.ns1.questions().contains(&www_a) && world.ns2.questions().contains(&www_a));
    let row = found.rows.iter().find(|row| row.found == OURS).expect("a row");
    assert_eq!(
        row.said_by,
        [
            "the zone's servers".to_owned(),
            world.resolver.address().to_string()
        ]
    );
}
