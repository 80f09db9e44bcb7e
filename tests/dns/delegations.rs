//! Which servers speak for a name, where a resolver does not say it, or is not to be asked.

use certgate::config::GatewayConfig;
use certgate::dns::{Authorities, DnsChecker, DomainVerdict, PlaceError, Verdict};
use certgate::name::NamePattern;
use hickory_resolver::proto::rr::RecordType;

use crate::NOW;
use crate::support::name_server::NameServer;
use crate::world::{WWW, World};

/// Only the resolver says where the zone's servers are, and nobody listens on their port 53.
fn without_name_servers(world: &World) -> GatewayConfig {
    let mut gateway = world.gateway();
    gateway.name_servers.clear();
    gateway
}

// A CA that asks the same resolver would be told for as long as the zone says that there is no such record.
#[tokio::test]
async fn where_a_record_is_to_be_made_no_resolver_is_asked_about_it() {
    let world = World::with(&["www.example.com A 203.0.113.10"]).await;
    let authorities = Authorities::new(Some(&without_name_servers(&world)));
    let error = authorities.place("_acme-challenge.www.example.com").await;
    assert!(
        matches!(&error, Err(PlaceError::Unanswered { zone, .. }) if zone == "example.com"),
        "{error:?}"
    );
    let asked = world.resolver.questions();
    assert!(asked.contains(&(WWW.to_owned(), RecordType::SOA)), "{asked:?}");
    assert!(
        !asked.iter().any(|(name, _)| name.starts_with("_acme-challenge")),
        "{asked:?}"
    );
}

#[tokio::test]
async fn where_a_resolver_only_fails_the_zone_above_says_who_should_be_asked() {
    let world = World::new().await;
    for name in [WWW, "_certgate-reach.example.com"] {
        for record in [RecordType::A, RecordType::CAA, RecordType::CNAME, RecordType::SOA] {
            let question = (name.to_owned(), record);
            world.resolver.change(|state| state.failing.extend([question]));
        }
    }
    let found = check(&without_name_servers(&world), &world).await;
    assert_eq!(found.verdict.to_string(), "wait", "{found}");
    for server in ["ns1.example.com (127.0.0.11)", "ns2.example.com (127.0.0.12)"] {
        let said = format!("{server} could not be asked: connection refused");
        assert!(found.reason_text.contains(&said), "{found}");
        assert!(found.notes.contains(&said), "{found}");
    }
}

#[tokio::test]
async fn servers_that_say_nothing_are_named_whether_a_resolver_says_so_or_waits() {
    let world = World::new().await;
    for server in [&world.ns1, &world.ns2] {
        server.change(|state| state.silent = true);
    }
    let said = |server: &NameServer| format!("{} did not answer in time", server.address());
    let expected = format!(
        "none of the servers of the zone example.com answers: {}, {}",
        said(&world.ns1),
        said(&world.ns2)
    );
    for (lost, waiting) in [(Some("example.com"), None), (None, Some("example.com"))] {
        world
            .resolver
            .change(|state| (state.lost, state.waiting) = (lost, waiting));
        let found = check(&world.gateway(), &world).await;
        assert_eq!(found.verdict.to_string(), "wait", "{found}");
        assert_eq!(found.reason_text, expected, "{found}");
    }
    // What it knows still decides, and then it is no reason to accuse anybody.
    world
        .resolver
        .change(|state| (state.lost, state.waiting) = (None, None));
    world.resolver.add("www.example.com A 203.0.113.10");
    let found = check(&world.gateway(), &world).await;
    assert_eq!(found.verdict, Verdict::Go, "{found}");
}

#[tokio::test]
async fn a_resolver_that_answers_nothing_is_blamed_itself() {
    let world = World::new().await;
    world.resolver.change(|state| state.silent = true);
    let found = check(&without_name_servers(&world), &world).await;
    assert_eq!(found.verdict.to_string(), "wait", "{found}");
    let said = format!("{} did not answer in time", world.resolver.address());
    assert!(found.reason_text.contains(&said), "{found}");
    assert!(!found.reason_text.contains("none of the servers"), "{found}");
}

async fn check(gateway: &GatewayConfig, world: &World) -> DomainVerdict {
    let checker = DnsChecker::new(Some(gateway));
    let names = [NamePattern::parse(WWW).unwrap()];
    let mut verdicts = checker.check_all(&names, &world.conditions(), NOW).await;
    verdicts.pop().unwrap()
}
