//! An account of acme-dns that nobody has registered before.

use certgate::admin::api::Status;

use super::{NAMES, OWNER, Scene, ZONE};
use crate::gateway::run;
use crate::support::acme_dns::AcmeDns;
use crate::support::name_server::NameServer;

#[tokio::test]
async fn an_account_of_acme_dns_is_registered_once_and_the_alias_that_it_needs_is_shown() {
    let zone = NameServer::of(ZONE, 51).await;
    let world = NameServer::resolver(52).await;
    world.add("example.test SOA 1");
    let acme_dns = AcmeDns::start(&world).await;
    let scene = Scene::new(world.address());
    let dns = format!("provider = \"acme-dns\", server = \"{}\"", acme_dns.url());
    let (here, there) = ([zone.address()], [acme_dns.name_server()]);
    let zones = [(ZONE, &here[..]), ("auth.test", &there[..])];
    let config = scene.config(&dns, &zones).await;
    let gateway = scene.home.start(&config).await;

    let record = format!("{OWNER}. IN CNAME {}.", acme_dns.full_domain());
    let waits = |status: &Status| {
        let www = &status.certificates[0];
        www.state == "blocked" && www.reason.as_ref().is_some_and(|reason| reason.contains(&record))
    };
    gateway.status_until("says which alias is missing", waits).await;
    assert!(gateway.terminate().await.success());
    let gateway = scene.home.start(&config).await;
    let socket = gateway.socket().display().to_string();
    let (code, shown, _) = run(&["dns", "check", NAMES[0], "--admin", &socket]).await;
    assert!(code == 1 && shown.contains(&record), "{shown}");
    assert_eq!(
        acme_dns.registrations(),
        1,
        "one for the name and its wildcard, in both lives"
    );
    assert_eq!(scene.pebble.orders(), 0);

    let (code, shown, _) = run(&["dns", "check", "other.example.test", "--admin", &socket]).await;
    let says = "one is registered when a certificate wants the name";
    assert!(code == 1 && shown.contains(says), "{shown}");
    assert_eq!(acme_dns.registrations(), 1, "anybody may ask");

    for server in [&zone, &world] {
        server.add(&format!("{OWNER} CNAME {}", acme_dns.full_domain()));
    }
    let (code, output, errors) = run(&["cert", "renew", "www", "--admin", &socket]).await;
    assert_eq!(code, 0, "{output}{errors}");
    scene.serves_both(&gateway).await;
    assert_eq!((acme_dns.registrations(), acme_dns.updates()), (1, 2));
    assert!(
        !scene.home.log().contains("password-of-acme-dns"),
        "no secret in the log"
    );
}
