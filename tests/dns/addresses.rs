//! IP addresses among the names of a certificate.

use certgate::config::ChallengeType;
use certgate::dns::{DnsChecker, DomainState};
use certgate::name::NamePattern;

use crate::support::name_server::NameServer;
use crate::world::{WWW, World};
use crate::{NOW, OURS};

#[tokio::test]
async fn an_address_is_judged_beside_names_and_asked_about_nowhere() {
    let world = World::with(&["www.example.com A 203.0.113.10"]).await;
    let names = [OURS, "192.0.2.1", WWW].map(|name| NamePattern::parse(name).unwrap());
    let checker = DnsChecker::new(Some(&world.gateway()));
    let found = checker.check_all(&names, &world.conditions(), NOW).await;
    let states: Vec<_> = found
        .iter()
        .map(|found| (found.domain.clone(), found.state))
        .collect();
    let [ours, other, www] = names;
    assert_eq!(
        states,
        [
            (ours, DomainState::Issuable),
            (other, DomainState::Declared),
            (www, DomainState::Issuable)
        ]
    );
    assert_eq!(
        found[0].challenges,
        [ChallengeType::TlsAlpn01, ChallengeType::Http01]
    );
    assert!(
        found[1]
            .reason_text
            .contains("192.0.2.1 is not an address of this gateway"),
        "{}",
        found[1]
    );
    let asked = [&world.ns1, &world.ns2, &world.resolver].map(NameServer::questions);
    assert!(
        asked.iter().flatten().all(|(name, _)| !name.ends_with(".arpa")),
        "{asked:?}"
    );
}
