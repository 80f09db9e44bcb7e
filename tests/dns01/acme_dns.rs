//! acme-dns keeps two values of an account, so orders that place some there come one after the other.

use std::collections::BTreeSet;
use std::time::Duration;

use certgate::config::{AcmeDnsConfig, DnsProvider};
use certgate::dns01::Turn;
use certgate::name::DnsName;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::support::acme_dns::AcmeDns;
use crate::support::name_server::NameServer;
use crate::support::primary::private;
use crate::world::{ONE, OTHER, OWNER, World, ZONE};

/// Values of another order.
const THIRD: &str = "pFYQ5e6U1oG7uV8mE7qkNlZ3jXxC0wT2rB9sHdKaIyM";
const FOURTH: &str = "zK2mW8nP4qR6tV0xY3aC5eG7iL9oS1uD-fH_jJbNvQw";

/// An account to which [`ZONE`] and another name are delegated.
struct Delegated {
    acme_dns: AcmeDns,
    world: World,
    _folder: TempDir,
}

impl Delegated {
    async fn new(host: u8) -> Self {
        let resolver = NameServer::resolver(host).await;
        let zone = NameServer::of(ZONE, host).await;
        resolver.add("example.test SOA 1");
        let acme_dns = AcmeDns::start(&resolver).await;
        for owner in [OWNER, "_acme-challenge.www.example.test"] {
            zone.add(&format!("{owner} CNAME {}", acme_dns.full_domain()));
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("acme-dns.json");
        private(&file, &acme_dns.accounts(&[ZONE, "www.example.test"]));
        let provider = DnsProvider::AcmeDns(AcmeDnsConfig {
            server: acme_dns.url().to_owned(),
            accounts_file: Some(file),
        });
        let (here, there) = ([zone.address()], [acme_dns.name_server()]);
        let mut world = World::with(provider, &[(ZONE, &here), ("auth.test", &there)]);
        world.gateway.resolvers = vec![resolver.address()];
        Self {
            acme_dns,
            world,
            _folder: folder,
        }
    }

    /// The turn of an order for `domain`.
    async fn turn(&self, domain: &str) -> Turn {
        let dns01 = self.world.dns01();
        let owner = dns01
            .narrow_owner(&DnsName::parse(domain).unwrap())
            .await
            .unwrap();
        dns01.turn(BTreeSet::from([owner.expect("few values")])).await
    }
}

#[tokio::test]
async fn two_orders_at_one_account_do_not_take_each_other_s_values() {
    let delegated = Delegated::new(35).await;
    let world = &delegated.world;
    let first = delegated.turn(ZONE).await;
    for value in [ONE, OTHER] {
        world.place(ZONE, value).await.unwrap();
    }
    let second = delegated.turn("www.example.test");
    tokio::pin!(second);
    let early = timeout(Duration::from_millis(200), &mut second).await;
    assert!(early.is_err(), "two orders were at one account");
    world.wait(ZONE, ONE).await.unwrap();
    assert_eq!(delegated.acme_dns.texts(), [OTHER, ONE]);
    for value in [ONE, OTHER] {
        world.dns01().remove(value).await;
    }
    drop(first);
    let _second = second.await;
    for value in [THIRD, FOURTH] {
        world.place("www.example.test", value).await.unwrap();
    }
    assert_eq!(
        delegated.acme_dns.texts(),
        [THIRD, FOURTH],
        "and not two of one second"
    );
}

#[tokio::test]
async fn an_order_that_is_given_up_or_panics_is_nobody_s_hindrance() {
    let delegated = Delegated::new(36).await;
    let first = delegated.turn(ZONE).await;
    let given_up = timeout(Duration::from_millis(50), delegated.turn(ZONE)).await;
    assert!(given_up.is_err(), "it waits");
    let panicked = tokio::spawn(async move {
        let _first = first;
        panic!("on purpose");
    });
    assert!(panicked.await.is_err());
    let next = timeout(Duration::from_secs(60), delegated.turn(ZONE)).await;
    assert!(next.is_ok(), "the turn has ended with who had it");
}
