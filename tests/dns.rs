//! The dns room against a real name server on loopback.

#[path = "dns/addresses.rs"]
mod addresses;
#[path = "dns/aliases.rs"]
mod aliases;
#[path = "dns/delegations.rs"]
mod delegations;
#[path = "dns/notes.rs"]
mod notes;
#[path = "dns/servers.rs"]
mod servers;
#[path = "dns/signed.rs"]
mod signed;
mod support;
#[path = "dns/world.rs"]
mod world;
#[path = "dns/zone_file.rs"]
mod zone_file;
#[path = "dns/zones.rs"]
mod zones;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use certgate::clock::Timestamp;
use certgate::config::GatewayConfig;
use certgate::dns::{
    Change, Conditions, DnsChecker, DomainVerdict, LookupFailure, Obstacle, RowState, Verdict,
};
use certgate::name::{DnsName, NamePattern};
use support::mock_dns::MockDns;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_795_219_200);
const OURS: &str = "203.0.113.10";
const OURS_V6: &str = "2001:db8::10";

#[tokio::test]
async fn a_name_with_our_address_is_a_go() {
    let dns = MockDns::start(None);
    dns.set_addresses("www.example.com", &[OURS]);
    let verdict = check(&dns, "www.example.com").await;
    assert_eq!(verdict.verdict, Verdict::Go, "{verdict}");
    assert!(
        verdict
            .rows
            .iter()
            .any(|row| row.found == OURS && row.state == RowState::Right)
    );
}

#[tokio::test]
async fn a_name_with_anothers_address_stops_and_names_the_records_to_change() {
    let dns = MockDns::start(None);
    dns.set_addresses("www.example.com", &["198.51.100.7"]);
    let verdict = check(&dns, "www.example.com").await;
    assert_eq!(
        remedy(&verdict),
        [
            "remove: www.example.com. IN A 198.51.100.7",
            "www.example.com. IN A 203.0.113.10",
        ]
    );
}

#[tokio::test]
async fn a_stale_aaaa_beside_a_right_a_stops() {
    let dns = MockDns::start(None);
    dns.set_addresses("www.example.com", &[OURS, "2001:db8::99"]);
    let verdict = check(&dns, "www.example.com").await;
    assert_eq!(
        remedy(&verdict),
        ["remove: www.example.com. IN AAAA 2001:db8::99"]
    );
    assert!(
        verdict.reason_text.contains("AAAA record 2001:db8::99"),
        "{verdict}"
    );
}

#[tokio::test]
async fn a_name_that_is_put_right_is_a_go_at_the_next_check() {
    let dns = MockDns::start(None);
    let checker = checker(&dns);
    let name = DnsName::parse("www.example.com").unwrap();
    dns.set_addresses("www.example.com", &["198.51.100.7"]);
    assert!(
        !checker
            .check(&name, &Conditions::default(), NOW)
            .await
            .verdict
            .allows_order()
    );
    dns.set_addresses("www.example.com", &[OURS]);
    assert_eq!(
        checker.check(&name, &Conditions::default(), NOW).await.verdict,
        Verdict::Go
    );
}

#[tokio::test]
async fn both_families_of_ours_are_a_go() {
    let dns = MockDns::start(None);
    dns.set_addresses("www.example.com", &[OURS, OURS_V6]);
    let mut gateway = gateway(dns.address());
    gateway.addresses.push(OURS_V6.parse().unwrap());
    let verdict = check_against(&gateway, "www.example.com").await;
    assert_eq!(verdict.verdict, Verdict::Go, "{verdict}");
}

#[tokio::test]
async fn an_alias_of_our_hostname_is_a_go_whatever_it_resolves_to_where_no_addresses_are_given() {
    let dns = MockDns::start(None);
    dns.set_cname("www.example.com", "lb.example.com");
    dns.set_cname("lb.example.com", "edge.example.net");
    dns.set_addresses("edge.example.net", &["10.0.0.1"]);
    let mut gateway = gateway(dns.address());
    gateway.addresses.clear();
    let verdict = check_against(&gateway, "www.example.com").await;
    assert_eq!(verdict.verdict, Verdict::Go, "{verdict}");
    let found: Vec<_> = verdict.rows.iter().map(|row| row.found.as_str()).collect();
    assert_eq!(
        found,
        ["lb.example.com", "edge.example.net", "10.0.0.1", "none", "none"]
    );
}

#[tokio::test]
async fn a_stale_aaaa_of_our_hostname_stops_its_aliases_where_addresses_are_given() {
    let dns = MockDns::start(None);
    dns.set_cname("www.example.com", "edge.example.net");
    dns.set_addresses("edge.example.net", &[OURS, "2001:db8::99"]);
    let verdict = check(&dns, "www.example.com").await;
    assert_eq!(
        remedy(&verdict),
        ["remove: edge.example.net. IN AAAA 2001:db8::99"],
        "the hostname's own record, and not the alias"
    );
    let states: Vec<_> = verdict
        .rows
        .iter()
        .map(|row| (row.found.as_str(), row.state))
        .collect();
    assert!(
        states.contains(&("edge.example.net", RowState::Right)),
        "{states:?}"
    );
    assert!(states.contains(&("2001:db8::99", RowState::Wrong)), "{states:?}");
    dns.set_addresses("edge.example.net", &[OURS]);
    let verdict = check(&dns, "www.example.com").await;
    assert_eq!(verdict.verdict, Verdict::Go, "{verdict}");
}

#[tokio::test]
async fn an_apex_that_holds_the_addresses_of_our_hostname_is_a_go() {
    let dns = MockDns::start(None);
    dns.set_addresses("edge.example.net", &[OURS]);
    dns.set_addresses("example.com", &[OURS]);
    dns.set_addresses("example.org", &["198.51.100.7"]);
    let mut gateway = gateway(dns.address());
    gateway.addresses.clear();
    let right = check_against(&gateway, "example.com").await;
    assert_eq!(right.verdict, Verdict::Go, "{right}");
    let wrong = check_against(&gateway, "example.org").await;
    assert!(matches!(wrong.verdict, Verdict::Stop { .. }), "{wrong}");
}

#[tokio::test]
async fn a_chain_that_ends_nowhere_stops() {
    let dns = MockDns::start(None);
    dns.set_cname("www.example.com", "gone.example.com");
    let verdict = check(&dns, "www.example.com").await;
    let expected = Obstacle::DanglingAlias {
        name: "www.example.com".into(),
        target: "gone.example.com".into(),
    };
    assert_eq!(obstacles(&verdict), [expected]);
    assert_eq!(
        remedy(&verdict),
        [
            "remove: www.example.com. IN CNAME gone.example.com.",
            "www.example.com. IN CNAME edge.example.net.",
        ]
    );
}

#[tokio::test]
async fn a_chain_that_comes_back_to_itself_stops() {
    let dns = MockDns::start(None);
    dns.set_cname("www.example.com", "a.example.com");
    dns.set_cname("a.example.com", "b.example.com");
    dns.set_cname("b.example.com", "a.example.com");
    let verdict = check(&dns, "www.example.com").await;
    let expected = Obstacle::Loop {
        name: "www.example.com".into(),
        again: "a.example.com".into(),
    };
    assert_eq!(obstacles(&verdict), [expected]);
}

#[tokio::test]
async fn a_chain_of_eight_is_followed_and_one_of_nine_is_not() {
    let dns = MockDns::start(None);
    for link in 0..9 {
        dns.set_cname(
            &format!("c{link}.example.com"),
            &format!("c{}.example.com", link + 1),
        );
    }
    dns.set_addresses("c9.example.com", &[OURS]);
    let eight = check(&dns, "c1.example.com").await;
    assert_eq!(eight.verdict, Verdict::Go, "{eight}");
    let nine = check(&dns, "c0.example.com").await;
    assert!(
        matches!(obstacles(&nine)[..], [Obstacle::TooLong { limit: 8, .. }]),
        "{nine}"
    );
}

#[tokio::test]
async fn a_servfail_is_a_reason_to_wait() {
    let dns = MockDns::start(None);
    dns.set_addresses("www.example.com", &[OURS]);
    dns.set_servfail("www.example.com");
    let verdict = check(&dns, "www.example.com").await;
    assert!(matches!(verdict.verdict, Verdict::Wait { .. }), "{verdict}");
    assert!(verdict.reason_text.contains("SERVFAIL"), "{verdict}");
}

#[tokio::test]
async fn a_name_without_records_stops_with_the_records_to_add() {
    let dns = MockDns::start(None);
    let verdict = check(&dns, "www.example.com").await;
    let expected = Obstacle::NoAddress {
        name: "www.example.com".into(),
    };
    assert_eq!(obstacles(&verdict), [expected]);
    assert_eq!(
        verdict.to_string(),
        "www.example.com: stop, declared\n  www.example.com has neither an A nor an AAAA record\n  \
         www.example.com. IN A 203.0.113.10\n  \
         or:\n  \
         www.example.com. IN CNAME edge.example.net.\n  \
         note: the zone's own servers were not asked: no resolver has said which they are"
    );
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_told_from_one_without_records() {
    let resolver = nxdomain_server().await;
    let verdict = check_against(&gateway(resolver), "www.example.com").await;
    let expected = Obstacle::NoSuchName {
        name: "www.example.com".into(),
    };
    assert_eq!(obstacles(&verdict), [expected]);
}

#[tokio::test]
async fn a_resolver_that_is_down_is_a_reason_to_wait() {
    let mut dns = MockDns::start(None);
    let checker = checker(&dns);
    dns.kill();
    let verdict = checker
        .check(
            &DnsName::parse("www.example.com").unwrap(),
            &Conditions::default(),
            NOW,
        )
        .await;
    assert!(
        matches!(&verdict.verdict, Verdict::Wait { obstacles, .. } if obstacles.iter().all(|obstacle| matches!(obstacle, Obstacle::Unanswered { .. }))),
        "{verdict}"
    );
}

#[tokio::test]
async fn a_silent_resolver_ends_the_whole_check_in_bounded_time() {
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let names: Vec<_> = (0..40)
        .map(|n| NamePattern::parse(&format!("n{n}.example.com")).unwrap())
        .collect();
    let started = Instant::now();
    let verdicts = DnsChecker::new(Some(&gateway(silent.local_addr().unwrap())))
        .check_all(&names, &Conditions::default(), NOW)
        .await;
    // The bound is ten; one after the other they would take minutes.
    assert!(started.elapsed() < Duration::from_secs(40));
    assert_eq!(verdicts.len(), names.len());
    for (verdict, name) in verdicts.iter().zip(&names) {
        assert_eq!(&verdict.domain, name);
        let timed_out = |obstacle: &Obstacle| {
            matches!(
                obstacle,
                Obstacle::Unanswered {
                    failure: LookupFailure::TimedOut,
                    ..
                }
            )
        };
        let timed_out = obstacles(verdict).iter().all(timed_out) && !obstacles(verdict).is_empty();
        assert!(timed_out, "{verdict}");
    }
}

#[tokio::test]
async fn nothing_is_asked_without_a_gateway_or_where_checks_are_off() {
    let names = [
        NamePattern::parse("www.example.com").unwrap(),
        NamePattern::parse("*.example.com").unwrap(),
    ];
    for verdict in DnsChecker::new(None)
        .check_all(&names, &Conditions::default(), NOW)
        .await
    {
        assert!(verdict.verdict.allows_order());
        assert!(verdict.reason_text.contains("`[gateway]`"), "{verdict}");
    }
    let nobody = gateway("127.0.0.1:1".parse().unwrap());
    let off = Conditions {
        off: true,
        ..Conditions::default()
    };
    for verdict in DnsChecker::new(Some(&nobody)).check_all(&names, &off, NOW).await {
        assert!(verdict.reason_text.contains("`dns_checks` is off"), "{verdict}");
    }
}

#[tokio::test]
async fn a_verdict_reads_back_from_its_json() {
    let dns = MockDns::start(None);
    dns.set_addresses("www.example.com", &["198.51.100.7", "2001:db8::99"]);
    let verdict = check(&dns, "www.example.com").await;
    let json = serde_json::to_value(&verdict).unwrap();
    assert_eq!(json["verdict"], "stop");
    assert_eq!(json["obstacles"][0]["problem"], "foreign-address");
    assert_eq!(json["remedy"][0]["change"], "remove");
    assert_eq!(json["rows"][0]["record"], "A");
    assert_eq!(serde_json::from_value::<DomainVerdict>(json).unwrap(), verdict);
}

fn gateway(resolver: SocketAddr) -> GatewayConfig {
    GatewayConfig {
        addresses: vec![OURS.parse().unwrap()],
        hostname: Some(DnsName::parse("edge.example.net").unwrap()),
        resolvers: vec![resolver],
        ..GatewayConfig::default()
    }
}

fn checker(dns: &MockDns) -> DnsChecker {
    DnsChecker::new(Some(&gateway(dns.address())))
}

async fn check(dns: &MockDns, name: &str) -> DomainVerdict {
    check_against(&gateway(dns.address()), name).await
}

async fn check_against(gateway: &GatewayConfig, name: &str) -> DomainVerdict {
    DnsChecker::new(Some(gateway))
        .check(&DnsName::parse(name).unwrap(), &Conditions::default(), NOW)
        .await
}

fn obstacles(verdict: &DomainVerdict) -> Vec<Obstacle> {
    match &verdict.verdict {
        Verdict::Stop { obstacles, .. } | Verdict::Wait { obstacles, .. } => obstacles.clone(),
        Verdict::Go | Verdict::Skipped { .. } => Vec::new(),
    }
}

fn remedy(verdict: &DomainVerdict) -> Vec<String> {
    verdict.verdict.remedy().iter().map(Change::to_string).collect()
}

/// A server to which no name exists; `pebble-challtestsrv` cannot say so.
async fn nxdomain_server() -> SocketAddr {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut message = [0; 1500];
        while let Ok((length, client)) = socket.recv_from(&mut message).await {
            message[2] |= 0x80; // QR: this is the answer
            message[3] = 0x83; // RA, RCODE 3
            message[6..12].fill(0); // no records; the question's own additional record goes too
            let question = 12 + message[12..length].iter().position(|octet| *octet == 0).unwrap() + 5;
            socket.send_to(&message[..question], client).await.unwrap();
        }
    });
    address
}
