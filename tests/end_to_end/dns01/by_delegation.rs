//! Nobody tells certgate which servers a zone has: it finds them from the zone above, at port 53, as the CA's resolver
//! does, which remembers for a minute that there is no record.

use super::{NAMES, OWNER, Scene, ZONE, rfc2136};
use crate::gateway::Gateway;
use crate::peer::{TlsClient, says_hello};
use crate::support::own_network::in_own_network;
use crate::support::primary::Primary;
use crate::support::resolver::Resolver;
use crate::support::secondary::Secondary;

/// The root of a world, and the resolver that everybody asks, the CA too.
struct World {
    _root: Primary,
    resolver: Resolver,
    scene: Scene,
}

impl World {
    /// In which `test` hands its zones on by these records.
    fn new(delegations: &str) -> Self {
        let root = Primary::at(
            10,
            &[
                (".", "test. IN NS ns1.test.\nns1.test. IN A 127.0.0.10", false),
                ("test", delegations, false),
            ],
        );
        let resolver = Resolver::at(11, &root);
        Self {
            _root: root,
            scene: Scene::new(resolver.address()),
            resolver,
        }
    }

    /// A gateway that obtains `names` by updates of `primary`, and is told of the resolver alone.
    async fn gateway(&self, primary: &Primary, names: &[&str]) -> Gateway {
        let resolver = self.resolver.address();
        let told = format!("addresses = [\"192.0.2.1\"]\nresolvers = [\"{resolver}\"]");
        let config = self.scene.config_of(&told, &rfc2136(primary, ""), names).await;
        self.scene.home.start(&config).await
    }

    /// Has the certificate from the first order, after the CA has looked at `owners` by the resolver.
    async fn is_obtained_at_once(&self, gateway: &Gateway, owners: &[&str]) {
        gateway.published("www").await;
        let pebble = &self.scene.pebble;
        assert_eq!((pebble.orders(), pebble.invalid_orders()), (1, 0));
        for owner in owners {
            assert_ne!(self.resolver.questions(owner), 0, "{owner}");
        }
    }
}

#[test]
fn no_resolver_is_asked_about_a_record_before_every_server_of_the_zone_has_it() {
    in_own_network(
        no_resolver_is_asked_about_a_record_before_every_server_of_the_zone_has_it,
        async {
            let servers = "example IN NS ns1.example\nexample IN NS ns2.example\n\
                           ns1.example IN A 127.0.0.20\nns2.example IN A 127.0.0.21";
            let world = World::new(servers);
            let second = "@ IN NS ns2\nns2 IN A 127.0.0.21";
            let primary = Primary::at(20, &[(ZONE, second, true)]);
            let lagging = Secondary::at(21, &primary, &[ZONE]);
            let gateway = world.gateway(&primary, &NAMES).await;
            primary.texts_become(OWNER, 2).await;
            // The one that lags was found, too, and is asked for both values again and again.
            lagging.is_asked(OWNER, 4).await;
            assert_eq!(world.resolver.questions(OWNER), 0);
            assert_ne!(world.resolver.questions(ZONE), 0, "it tells what it is asked");
            lagging.catch_up(ZONE).await;
            world.is_obtained_at_once(&gateway, &[OWNER]).await;
            world.scene.serves_both(&gateway).await;
            primary.texts_become(OWNER, 0).await;
        },
    );
}

#[test]
fn a_challenge_name_that_is_a_zone_of_its_own_or_leads_to_one_is_found_through_the_zone_above() {
    in_own_network(
        a_challenge_name_that_is_a_zone_of_its_own_or_leads_to_one_is_found_through_the_zone_above,
        async {
            let world = World::new(
                "handed IN NS ns1.handed\nns1.handed IN A 127.0.0.30\n\
                 alias IN NS ns1.alias\nns1.alias IN A 127.0.0.30\n\
                 dyn IN NS ns1.dyn\nns1.dyn IN A 127.0.0.31",
            );
            let owner = "_acme-challenge.handed.test";
            let hands_on = "_acme-challenge IN NS ns1._acme-challenge\nns1._acme-challenge IN A 127.0.0.31";
            let leads_on = "_acme-challenge IN CNAME answers.dyn.test.";
            let static_zones = [("handed.test", hands_on, false), ("alias.test", leads_on, false)];
            let above = Primary::at(30, &static_zones);
            let below = Primary::at(31, &[(owner, "", true), ("dyn.test", "", true)]);
            let names = ["handed.test", "*.handed.test", "alias.test"];
            let gateway = world.gateway(&below, &names).await;
            let aliased = "_acme-challenge.alias.test";
            world.is_obtained_at_once(&gateway, &[owner, aliased]).await;
            let client = TlsClient::trusting(&world.scene.pebble.issuing_root());
            says_hello(&client, world.scene.tls, &["any.handed.test", "alias.test"]).await;
            for owner in [owner, "answers.dyn.test"] {
                below.texts_become(owner, 0).await;
            }
            for zone in ["handed.test", "alias.test"] {
                assert_eq!(above.serial(zone), 1, "{zone} was changed");
            }
        },
    );
}
