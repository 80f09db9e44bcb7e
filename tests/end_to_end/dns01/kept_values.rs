//! acme-dns keeps two values of an account: what needs more at a time takes turns, or several rounds.

use std::time::Duration;

use certgate::admin::api::Status;

use super::{NAMES, Scene, ZONE};
use crate::peer::{TlsClient, says_hello};
use crate::support::acme_dns::AcmeDns;
use crate::support::name_server::NameServer;
use crate::support::primary::private;

/// A scene in which all of `names` are delegated to one account, and the file for it.
async fn delegated(hosts: [u8; 2], names: &[&str]) -> (Scene, AcmeDns, String) {
    let zone = NameServer::of(ZONE, hosts[0]).await;
    let world = NameServer::resolver(hosts[1]).await;
    world.add("example.test SOA 1");
    // Orders that do not wait for each other are all at it before the first of them is seen.
    let acme_dns = AcmeDns::behind(&world, Duration::from_secs(1)).await;
    for name in names {
        for server in [&zone, &world] {
            server.add(&format!(
                "_acme-challenge.{name} CNAME {}",
                acme_dns.full_domain()
            ));
        }
    }
    let scene = Scene::new(world.address());
    private(&scene.home.path("acme-dns.json"), &acme_dns.accounts(names));
    let dns = format!(
        "provider = \"acme-dns\", server = \"{}\", accounts_file = \"acme-dns.json\", propagation_timeout = \"40s\"",
        acme_dns.url()
    );
    let (here, there) = ([zone.address()], [acme_dns.name_server()]);
    let zones = [(ZONE, &here[..]), ("auth.test", &there[..])];
    let config = scene.config(&dns, &zones).await;
    (scene, acme_dns, config)
}

/// That no attempt has failed.
fn in_order(status: &Status) {
    for certificate in &status.certificates {
        assert!(
            certificate.published && certificate.reason.is_none(),
            "{certificate:?}"
        );
    }
}

#[tokio::test]
async fn two_kinds_of_key_and_another_certificate_are_obtained_at_once_by_one_account() {
    let (scene, acme_dns, config) = delegated([65, 66], &[ZONE, "www.example.test"]).await;
    let config = config.replace(
        &format!("domains = {NAMES:?}\nissuer"),
        &format!("domains = {NAMES:?}\nkey_type = [\"ecdsa-p256\", \"rsa-2048\"]\nissuer"),
    ) + "[certificates.other]\ndomains = [\"www.example.test\"]\nissuer = \"pebble\"\n";
    let gateway = scene.home.start(&config).await;
    for name in ["www", "www.rsa", "other"] {
        gateway.published(name).await;
    }
    scene.serves_both(&gateway).await;
    in_order(&gateway.client().status().await.expect("it answers"));
    assert_eq!((scene.pebble.orders(), acme_dns.updates()), (3, 5));
}

#[tokio::test]
async fn a_certificate_with_more_names_at_one_account_than_it_keeps_is_validated_in_rounds() {
    let names = ["a.example.test", "b.example.test", "c.example.test", ZONE];
    let (scene, acme_dns, config) = delegated([67, 68], &names).await;
    let config = config.replace(
        &format!("domains = {NAMES:?}"),
        "domains = [\"*.example.test\", \"example.test\", \"a.example.test\", \"b.example.test\", \"c.example.test\"]",
    );
    let gateway = scene.home.start(&config).await;
    gateway.published("www").await;
    let client = TlsClient::trusting(&scene.pebble.issuing_root());
    says_hello(&client, scene.tls, &["any.example.test", "c.example.test"]).await;
    in_order(&gateway.client().status().await.expect("it answers"));
    assert_eq!((scene.pebble.orders(), acme_dns.updates()), (1, 5));
}
