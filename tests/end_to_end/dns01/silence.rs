//! A server that takes updates and says nothing.

use certgate::admin::api::Status;
use tokio::net::TcpListener;

use super::{KEY, Scene, ZONE, rfc2136};
use crate::support::primary::{Kind, Primary};

#[tokio::test]
async fn a_silent_server_is_named_in_status_and_holds_no_other_issuer_back() {
    let primary = Primary::start(Kind::Bind, &[(ZONE, "", true)]);
    let scene = Scene::new(primary.address());
    // Connections are made by the kernel, and nobody reads.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let server = silent.local_addr().expect("an address");
    let zones = [(ZONE, &[primary.address()][..])];
    let config = scene.config(&rfc2136(&primary, ""), &zones).await;
    let names: Vec<_> = (0..30).map(|number| format!("n{number}.example.test")).collect();
    let config = format!(
        "{config}[issuers.dead]\nkind = \"acme\"\ndirectory = \"{}\"\nagree_to_terms = true\nroot_ca_file = {:?}\n\
         dns = {{ provider = \"rfc2136\", server = \"{server}\", tsig_name = \"{KEY}\", tsig_key_file = {:?} }}\n\
         [certificates.many]\ndomains = {names:?}\nissuer = \"dead\"\n",
        scene.pebble.directory(),
        scene.pebble.https_ca_file(),
        primary.key_file(),
    );
    let gateway = scene.home.start(&config).await;
    scene.serves_both(&gateway).await;
    let tried = format!("{server} did not answer to the update of the zone {ZONE} for _acme-challenge.n");
    let blocked = |status: &Status| {
        let many = status.certificates.iter().find(|one| one.name.as_str() == "many");
        many.is_some_and(|many| many.state == "blocked")
    };
    let status = gateway.status_until("waits for the server", blocked).await;
    let many = status.certificates.iter().find(|one| one.name.as_str() == "many");
    let reason = many.and_then(|many| many.reason.clone()).expect("a reason");
    for part in [tried.as_str(), "no answer by TCP within 4 s", "n29.example.test"] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    assert_eq!(scene.pebble.orders(), 1, "that of `www`");
}
