//! How servers are reached, and for how long what they said is believed elsewhere.

use std::time::{Duration, Instant};

use certgate::dns::{Conditions, DnsChecker, LookupFailure, Obstacle, Verdict};
use certgate::name::NamePattern;
use futures_util::future::join_all;
use hickory_resolver::proto::rr::RecordType;

use crate::support::name_server::NameServer;
use crate::world::{WWW, World};
use crate::{NOW, gateway, obstacles};

#[tokio::test]
async fn a_resolver_that_only_ipv6_leads_to_is_asked() {
    let world = World::with(&["www.example.com A 203.0.113.10"]).await;
    let resolver = NameServer::resolver_by_ipv6().await;
    resolver.add("www.example.com A 203.0.113.10");
    let mut gateway = world.gateway();
    gateway.resolvers = vec![resolver.address()];
    let names = [NamePattern::parse(WWW).unwrap()];
    let found = DnsChecker::new(Some(&gateway))
        .check_all(&names, &world.conditions(), NOW)
        .await;
    assert_eq!(found[0].verdict, Verdict::Go, "{}", found[0]);
    let said_by = |by: &str| {
        found[0]
            .rows
            .iter()
            .any(|row| row.said_by.iter().any(|said| said == by))
    };
    assert!(said_by(&resolver.address().to_string()), "{:#?}", found[0].rows);
}

#[tokio::test]
async fn that_a_resolver_remembers_a_name_not_to_be_is_waited_for_as_long_as_the_zone_says() {
    let world = World::new().await;
    world.ns1.add("www.example.com A 203.0.113.10");
    world.ns2.add("www.example.com A 203.0.113.10");
    let found = world.check().await;
    // The SOA record lives for 300 s, and its last field says 60 (RFC 2308 §5).
    assert_eq!(
        found.verdict.until(),
        Some(NOW + Duration::from_secs(60)),
        "{found}"
    );
    assert!(
        found.reason_text.contains(
            "still says, for 60 s at most, what was before: www.example.com does not exist (NXDOMAIN)"
        ),
        "{found}"
    );
}

#[tokio::test]
async fn checks_with_one_deadline_end_by_it_however_many_they_are() {
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let started = Instant::now();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(3);
    let checker = DnsChecker::new(Some(&gateway(silent.local_addr().unwrap()))).until(deadline);
    let checks = (0..100).map(|number| {
        let checker = checker.clone();
        async move {
            let names = [NamePattern::parse(&format!("n{number}.example.com")).unwrap()];
            checker
                .check_all(&names, &Conditions::default(), NOW)
                .await
                .remove(0)
        }
    });
    let verdicts = join_all(checks).await;
    assert!(
        started.elapsed() < Duration::from_secs(6),
        "{:?}",
        started.elapsed()
    );
    for verdict in verdicts {
        let is_silence = |obstacle: &Obstacle| {
            let failure = LookupFailure::TimedOut;
            matches!(obstacle, Obstacle::Unanswered { failure: found, .. } if *found == failure)
        };
        assert!(obstacles(&verdict).iter().all(is_silence), "{verdict}");
        assert_eq!(verdict.verdict.to_string(), "wait");
    }
}

#[tokio::test]
async fn a_resolver_that_fails_once_does_not_accuse_the_zones_signatures() {
    let world = World::with(&["www.example.com A 203.0.113.10"]).await;
    for record in [RecordType::A, RecordType::CAA] {
        let question = (WWW.to_owned(), record);
        world
            .resolver
            .change(|state| state.failing_once.extend([question]));
    }
    let found = world.check().await;
    assert_eq!(found.verdict, Verdict::Go, "{found}");
}

#[tokio::test]
async fn servers_from_before_edns_are_asked_without_it() {
    let world = World::with(&["www.example.com A 203.0.113.10"]).await;
    for server in [&world.ns1, &world.ns2, &world.resolver] {
        server.change(|state| state.old = true);
    }
    let found = world.check().await;
    assert_eq!(found.verdict, Verdict::Go, "{found}");
}

#[tokio::test]
async fn servers_that_do_not_agree_on_caa_records_are_waited_for() {
    let world = World::with(&["www.example.com A 203.0.113.10"]).await;
    world.ns1.add(r#"example.com CAA 0 issue "other.example""#);
    let [ns1, ns2] = world.shown();
    let found = world.check().await;
    assert_eq!(found.verdict.to_string(), "wait", "{found}");
    assert!(
        found.reason_text.contains(&format!(
            "the servers of the zone of example.com do not agree on its CAA record: {ns1} says 0 issue \"other.example\", \
             {ns2} says none"
        )),
        "{found}"
    );
}

#[tokio::test]
async fn a_server_that_answers_from_hearsay_is_lame_and_not_believed() {
    let world = World::with(&["www.example.com A 203.0.113.10"]).await;
    world.ns2.remove(WWW);
    world.ns2.add("www.example.com A 198.51.100.7");
    world.ns2.change(|state| state.hearsay = true);
    let found = world.check().await;
    assert_eq!(found.verdict, Verdict::Go, "{found}");
    let [_, ns2] = world.shown();
    let expected = "did not speak for the zone: an answer that is not authoritative; remove: example.com. IN NS \
                    ns2.example.com.";
    assert_eq!(found.notes, [format!("{ns2} {expected}")]);
}

#[tokio::test]
async fn a_closed_port_is_no_timeout() {
    let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let names = [NamePattern::parse(WWW).unwrap()];
    let found = DnsChecker::new(Some(&gateway(address)))
        .check_all(&names, &Conditions::default(), NOW)
        .await;
    assert_eq!(found[0].verdict.to_string(), "wait");
    let said = format!("{address} could not be asked: connection refused");
    assert!(found[0].reason_text.contains(&said), "{}", found[0]);
}

#[tokio::test]
async fn a_text_that_every_server_shows_is_shown_once() {
    let mut world = World::with(&["www.example.com A 203.0.113.10"]).await;
    world.ownership = Some("certgate-verify=5f1c");
    world.add("_certgate.www.example.com TXT certgate-verify=other");
    let found = world.check().await;
    let texts = found.rows.iter().filter(|row| row.record.to_string() == "TXT");
    let texts: Vec<_> = texts.map(|row| row.found.as_str()).collect();
    assert_eq!(texts, ["certgate-verify=other"], "{:#?}", found.rows);
}

#[tokio::test]
async fn two_servers_at_one_address_are_told_apart_by_their_ports() {
    let world = World::with(&["www.example.com A 203.0.113.10"]).await;
    let [first, other] = [NameServer::authority(11).await, NameServer::authority(11).await];
    for server in [&first, &other] {
        server.change(|state| state.lame = true);
    }
    assert_eq!(first.address().ip(), other.address().ip());
    let mut gateway = world.gateway();
    let servers = vec![first.address(), other.address(), world.ns2.address()];
    gateway
        .name_servers
        .values_mut()
        .for_each(|configured| configured.clone_from(&servers));
    let names = [NamePattern::parse(WWW).unwrap()];
    let checker = DnsChecker::new(Some(&gateway));
    let found = checker.check_all(&names, &world.conditions(), NOW).await;
    for server in [first, other] {
        let named = format!("ns1.example.com ({}) ", server.address());
        let mut notes = found[0].notes.iter();
        assert!(notes.any(|note| note.starts_with(&named)), "{}", found[0]);
    }
}
