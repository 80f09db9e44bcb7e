//! Aliases that are not simply a CNAME record of the name: those of a DNAME record or a wildcard, one of the root, and CAA
//! records at the other end of one.

use std::collections::BTreeMap;

use certgate::config::{ChallengeType, GatewayConfig};
use certgate::dns::{Conditions, DnsChecker, DomainVerdict, RecordType, Verdict};
use certgate::name::DnsName;
use hickory_resolver::proto::rr::RecordType as Kind;

use crate::support::primary::{self, Primary};
use crate::world::World;
use crate::{NOW, OURS, remedy};

#[tokio::test]
async fn a_name_below_a_dname_is_put_right_at_its_other_end_or_by_taking_that_away() {
    for kind in [primary::Kind::Bind, primary::Kind::Knot] {
        let zones = [
            ("test", "", false),
            ("example.test", "old IN DNAME new.other.test.", false),
            ("other.test", "www.new IN A 198.51.100.7", false),
        ];
        let primary = Primary::start(kind, &zones);
        let found = check(&primary, "www.old.example.test").await;
        assert_eq!(
            remedy(&found),
            [
                "remove: www.new.other.test. IN A 198.51.100.7",
                "www.new.other.test. IN A 203.0.113.10",
            ],
            "{kind:?}: {found}"
        );
        let Verdict::Stop { alternative, .. } = &found.verdict else {
            panic!("{found}");
        };
        let alternative: Vec<_> = alternative.iter().map(ToString::to_string).collect();
        assert_eq!(
            alternative,
            [
                "remove: old.example.test. IN DNAME new.other.test.",
                "www.old.example.test. IN A 203.0.113.10",
            ],
            "{kind:?}: {found}"
        );
        let rows: Vec<_> = found
            .rows
            .iter()
            .map(|row| (row.record, row.owner.as_str()))
            .collect();
        assert!(
            rows.contains(&(RecordType::Dname, "old.example.test")),
            "{rows:?}"
        );
        assert!(
            !rows.iter().any(|(record, _)| *record == RecordType::Cname),
            "{rows:?}"
        );
        assert_eq!(found.rows[0].found, "new.other.test");
        let told = "www.old.example.test is an alias by the DNAME record of old.example.test: every name below that stands \
                    for the same one below new.other.test";
        assert!(found.notes.iter().any(|note| note.starts_with(told)), "{found}");

        let nowhere = check(&primary, "mail.old.example.test").await;
        assert!(
            nowhere
                .reason_text
                .contains("mail.old.example.test is an alias of mail.new.other.test, which has no address"),
            "{nowhere}"
        );
    }
}

#[tokio::test]
async fn a_loop_is_named_with_the_record_to_remove_however_the_name_is_proven() {
    for kind in [primary::Kind::Bind, primary::Kind::Knot] {
        let records = "www IN CNAME a\na IN CNAME b\nb IN CNAME a\nself IN CNAME self";
        let zones = [("test", "", false), ("example.test", records, false)];
        let primary = Primary::start(kind, &zones);
        for challenges in [
            &[ChallengeType::Dns01][..],
            &[ChallengeType::Dns01, ChallengeType::Http01],
        ] {
            let conditions = Conditions {
                challenges: Some(challenges.to_vec()),
                ..Conditions::default()
            };
            for (name, again, record) in [
                ("www", "a", "www.example.test. IN CNAME a.example.test."),
                ("self", "self", "self.example.test. IN CNAME self.example.test."),
            ] {
                let name = format!("{name}.example.test");
                let found = check_under(&primary, &name, &conditions).await;
                assert_eq!(found.verdict.to_string(), "stop", "{kind:?}: {found}");
                let said = format!("the CNAME chain of {name} never ends: {again}.example.test is met twice");
                assert_eq!(found.reason_text, said, "{kind:?}: {found}");
                assert_eq!(remedy(&found), [format!("remove: {record}")], "{kind:?}: {found}");
            }
        }
    }
}

#[tokio::test]
async fn a_wildcard_that_leads_into_itself_is_the_record_to_remove_whichever_name_is_asked_about() {
    for kind in [primary::Kind::Bind, primary::Kind::Knot] {
        let records = "* IN CNAME a";
        let zones = [("test", "", false), ("example.test", records, false)];
        let primary = Primary::start(kind, &zones);
        let removed = "remove: *.example.test. IN CNAME a.example.test.".to_owned();
        for name in ["www", "a", "deep.down"] {
            let name = format!("{name}.example.test");
            let found = check(&primary, &name).await;
            let changes = [removed.clone(), format!("{name}. IN A {OURS}")];
            assert_eq!(remedy(&found), changes, "{kind:?}: {found}");
            let told = format!("{name} seems to have no record of its own: *.example.test answers for it");
            assert!(
                found.notes.iter().any(|note| note.starts_with(&told)),
                "{kind:?}: {found}"
            );
            let conditions = Conditions {
                challenges: Some(vec![ChallengeType::Dns01]),
                ownership: Some("verify=1".to_owned()),
                ..Conditions::default()
            };
            let found = check_under(&primary, &name, &conditions).await;
            let text = format!("_certgate.{name}. IN TXT \"verify=1\"");
            assert_eq!(remedy(&found), [removed.clone(), text], "{kind:?}: {found}");
        }
    }
}

#[tokio::test]
async fn a_wildcard_that_is_the_only_record_of_our_hostname_goes_before_none_of_its_own() {
    let world = World::with(&["*.example.com CNAME edge.example.com"]).await;
    for name in ["www.example.com", "edge.example.com"] {
        let found = world.examine(name, &world.conditions()).await;
        assert_eq!(found.verdict.to_string(), "stop", "{found}");
        let addresses = [
            "edge.example.com. IN A 203.0.113.10",
            "edge.example.com. IN AAAA 2001:db8::10",
        ];
        assert_eq!(remedy(&found), addresses, "{found}");
    }
}

#[tokio::test]
async fn a_loop_in_the_place_of_the_owners_text_is_named_with_the_record_to_remove() {
    for kind in [primary::Kind::Bind, primary::Kind::Knot] {
        let records = format!(
            "www IN A {OURS}\nself IN A {OURS}\nfar IN A {OURS}\nwww.above IN A {OURS}\n\
             _certgate.www IN CNAME a\na IN CNAME b\nb IN CNAME a\n_certgate.self IN CNAME _certgate.self\n\
             _certgate.far IN CNAME text.other.test.\n_certgate.above IN CNAME a"
        );
        let zones = [
            ("test", "", false),
            ("example.test", records.as_str(), false),
            ("other.test", "text IN TXT verify=1", false),
        ];
        let primary = Primary::start(kind, &zones);
        let conditions = Conditions {
            ownership: Some("verify=1".to_owned()),
            ..Conditions::default()
        };
        for (name, owner, again, target) in [
            ("www", "_certgate.www", "a", "a"),
            ("self", "_certgate.self", "_certgate.self", "_certgate.self"),
            ("www.above", "_certgate.above", "a", "a"),
        ] {
            let (name, owner) = (format!("{name}.example.test"), format!("{owner}.example.test"));
            let found = check_under(&primary, &name, &conditions).await;
            assert_eq!(found.verdict.to_string(), "stop", "{kind:?}: {found}");
            let said = format!("the CNAME chain of {owner} never ends: {again}.example.test is met twice");
            assert_eq!(found.reason_text, said, "{kind:?}: {found}");
            let changes = [
                format!("remove: {owner}. IN CNAME {target}.example.test."),
                format!("{owner}. IN TXT \"verify=1\""),
            ];
            assert_eq!(remedy(&found), changes, "{kind:?}: {found}");
        }
        let found = check_under(&primary, "far.example.test", &conditions).await;
        assert_eq!(found.verdict, Verdict::Go, "{kind:?}: {found}");
    }
}

#[tokio::test]
async fn an_alias_of_a_name_below_a_dname_is_the_record_to_change_itself() {
    let zones = [
        ("test", "", false),
        (
            "example.test",
            "old IN DNAME new.example.test.\nwww IN CNAME a.old",
            false,
        ),
    ];
    let primary = Primary::start(primary::Kind::Bind, &zones);
    let found = check(&primary, "www.example.test").await;
    assert_eq!(
        remedy(&found),
        [
            "remove: www.example.test. IN CNAME a.old.example.test.",
            "www.example.test. IN A 203.0.113.10",
        ],
        "{found}"
    );
    assert!(
        found
            .notes
            .iter()
            .any(|note| note
                .starts_with("a.old.example.test is an alias by the DNAME record of old.example.test")),
        "{found}"
    );
}

#[tokio::test]
async fn a_name_that_leads_here_through_a_dname_is_a_go() {
    let records = format!("old IN DNAME new.example.test.\nwww.new IN A {OURS}");
    let zones = [("test", "", false), ("example.test", records.as_str(), false)];
    let primary = Primary::start(primary::Kind::Bind, &zones);
    let found = check(&primary, "www.old.example.test").await;
    assert_eq!(found.verdict, Verdict::Go, "{found}");
}

#[tokio::test]
async fn an_alias_of_the_root_is_said_to_be_one() {
    let world = World::with(&["www.example.com CNAME ."]).await;
    let found = world.check().await;
    assert!(
        found
            .reason_text
            .contains("www.example.com is an alias of the root of DNS (`.`), which has no address"),
        "{found}"
    );
    assert_eq!(
        remedy(&found),
        [
            "remove: www.example.com. IN CNAME .",
            "www.example.com. IN CNAME edge.example.com.",
        ]
    );
    let of_the_root = (String::new(), Kind::A);
    assert!(!world.resolver.questions().contains(&of_the_root));
}

#[tokio::test]
async fn caa_records_behind_an_alias_hold_and_those_above_its_end_do_not() {
    let alias = [
        "www.example.com CNAME a.far.example.com",
        "a.far.example.com A 203.0.113.10",
    ];
    let world = World::with(&alias).await;
    world.add(r#"far.example.com CAA 0 issue ";""#);
    let found = world.check().await;
    assert_eq!(found.verdict, Verdict::Go, "{found}");

    world.add(r#"a.far.example.com CAA 0 issue "other.example""#);
    let found = world.check().await;
    assert!(
        found
            .reason_text
            .contains("the CAA records of a.far.example.com let no certificate be issued by ca.example"),
        "{found}"
    );
    // Where an alias is, no other record can be.
    assert_eq!(
        remedy(&found),
        [r#"a.far.example.com. IN CAA 0 issue "ca.example""#]
    );
    assert!(
        found.notes.iter().any(|note| note
            .starts_with("www.example.com is an alias of a.far.example.com, so the CAA records there")),
        "{found}"
    );
}

#[tokio::test]
async fn caa_records_behind_aliases_without_an_end_cannot_be_had() {
    let world = World::with(&[
        "loop.example.com CNAME a.example.com",
        "a.example.com CNAME loop.example.com",
        r#"example.com CAA 0 issue "ca.example""#,
    ])
    .await;
    let conditions = Conditions {
        challenges: Some(vec![ChallengeType::Dns01]),
        ..world.conditions()
    };
    let found = world.examine("*.loop.example.com", &conditions).await;
    assert_eq!(found.verdict.to_string(), "stop", "{found}");
    assert!(
        found
            .reason_text
            .contains("the CNAME chain of loop.example.com never ends: loop.example.com is met twice"),
        "{found}"
    );
    assert_eq!(
        remedy(&found),
        ["remove: loop.example.com. IN CNAME a.example.com."]
    );
}

#[tokio::test]
async fn caa_records_that_cannot_be_had_of_an_alias_are_waited_for_though_it_comes_to_an_end() {
    let world = World::with(&[
        "www.example.com CNAME edge.example.com",
        "edge.example.com A 203.0.113.10",
        "edge.example.com AAAA 2001:db8::10",
    ])
    .await;
    for server in [&world.ns1, &world.ns2, &world.resolver] {
        let caa = ("www.example.com".to_owned(), Kind::CAA);
        server.change(|state| state.failing.extend([caa]));
    }
    let found = world.check_name("www.example.com").await;
    assert_eq!(found.verdict.to_string(), "wait", "{found}");
    assert!(found.reason_text.contains("www.example.com CAA: "), "{found}");
    assert!(found.reason_text.contains("answered SERVFAIL"), "{found}");
}

#[tokio::test]
async fn servers_that_do_not_agree_on_an_alias_do_not_agree_on_caa_records_either() {
    let world = World::new().await;
    world.ns1.add("www.example.com CNAME a.example.com");
    world.ns2.add("www.example.com CNAME b.example.com");
    let conditions = Conditions {
        challenges: Some(vec![ChallengeType::Dns01]),
        ..world.conditions()
    };
    let found = world.examine("*.www.example.com", &conditions).await;
    assert_eq!(found.verdict.to_string(), "wait", "{found}");
    assert!(
        found.reason_text.contains("do not agree on its CAA record"),
        "{found}"
    );
    assert!(found.reason_text.contains("says CNAME b.example.com."), "{found}");
}

#[tokio::test]
async fn the_wildcard_that_answers_for_a_name_is_named_however_far_above() {
    let world = World::with(&["*.example.com A 198.51.100.7"]).await;
    let found = world.check_name("a.b.example.com").await;
    let answers = |wildcard: &str| {
        let said = format!("{wildcard} answers for it");
        found.notes.iter().any(|note| note.contains(&said))
    };
    assert!(
        answers(": *.example.com") && !answers("*.b.example.com"),
        "{found}"
    );
}

#[tokio::test]
async fn a_record_that_says_the_same_as_the_wildcard_beside_it_is_to_be_removed() {
    let world = World::with(&["*.example.com A 198.51.100.7", "www.example.com A 198.51.100.7"]).await;
    let found = world.check().await;
    assert_eq!(
        remedy(&found),
        [
            "remove: www.example.com. IN A 198.51.100.7",
            "www.example.com. IN A 203.0.113.10",
            "www.example.com. IN AAAA 2001:db8::10",
        ],
        "{found}"
    );
    assert!(
        !found.notes.iter().any(|note| note.contains("answers for it")),
        "{found}"
    );
}

#[tokio::test]
async fn the_apex_of_a_zone_is_never_told_to_become_an_alias() {
    for records in [&[][..], &["example.com A 198.51.100.7"]] {
        let found = World::with(records).await.check_name("example.com").await;
        let Verdict::Stop {
            remedy, alternative, ..
        } = &found.verdict
        else {
            panic!("{found}");
        };
        assert!(
            remedy
                .iter()
                .any(|change| change.to_string() == "example.com. IN A 203.0.113.10"),
            "{found}"
        );
        assert!(alternative.is_empty(), "{found}");
    }
}

/// As the server of the zones has it, which is asked in a resolver's place, too.
async fn check(primary: &Primary, name: &str) -> DomainVerdict {
    check_under(primary, name, &Conditions::default()).await
}

async fn check_under(primary: &Primary, name: &str, conditions: &Conditions) -> DomainVerdict {
    let zones =
        ["example.test", "other.test"].map(|zone| (DnsName::parse(zone).unwrap(), vec![primary.address()]));
    let gateway = GatewayConfig {
        addresses: vec![OURS.parse().unwrap()],
        resolvers: vec![primary.address()],
        name_servers: BTreeMap::from(zones),
        ..GatewayConfig::default()
    };
    let name = DnsName::parse(name).unwrap();
    DnsChecker::new(Some(&gateway))
        .check(&name, conditions, NOW)
        .await
}
