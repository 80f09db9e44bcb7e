//! Which servers speak for a name, where a resolver does not say it, or is not to be asked.

use certgate::config::GatewayConfig;
use certgate::dns::{Authorities, DnsChecker, PlaceError};
use certgate::name::NamePattern;
use hickory_resolver::proto::rr::RecordType;

use crate::NOW;
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
    for record in [RecordType::A, RecordType::CAA, RecordType::CNAME, RecordType::SOA] {
        let question = (WWW.to_owned(), record);
        world.resolver.change(|state| state.failing.extend([question]));
    }
    let checker = DnsChecker::new(Some(&without_name_servers(&world)));
    let names = [NamePattern::parse(WWW).unwrap()];
    let found = checker.check_all(&names, &world.conditions(), NOW).await;
    assert_eq!(found[0].verdict.to_string(), "wait", "{}", found[0]);
    let about = |server: &str| found[0].notes.iter().any(|note| note.starts_with(server));
    assert!(about("ns1.example.com (127.0.0.11)"), "{}", found[0]);
    assert!(about("ns2.example.com (127.0.0.12)"), "{}", found[0]);
}
