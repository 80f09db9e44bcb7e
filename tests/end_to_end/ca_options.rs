//! What a CA can be asked for, and what clients of the gateway see of it.

use std::time::Duration;

use certgate::admin::api::Status;
use certgate::certificate::Leaf;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::ca_faults::{self, WWW};
use crate::gateway::{Home, free_address};
use crate::issuance;
use crate::peer::{TlsClient, backend};
use crate::support::acme_double::{Endpoint, SHORTLIVED, Window};
use crate::support::pebble::{Pebble, PebbleOptions};

#[tokio::test]
async fn the_certificate_of_the_configured_profile_is_served() {
    let scene = ca_faults::Scene::new().await;
    scene.ca.change(|ca| ca.profiles = vec!["classic", "shortlived"]);
    let home = Home::new();
    let config = scene.config_with_www(&home, backend("hello").await);
    let profile = "kind = \"acme\"\nprofile = \"shortlived\"\n";
    let gateway = home.start(&config.replace("kind = \"acme\"\n", profile)).await;
    gateway.published("www").await;
    let leaf = served(&scene).await;
    assert_eq!(leaf.not_after.since(leaf.not_before), SHORTLIVED);
    assert_eq!(scene.ca.orders()[0].profile.as_deref(), Some("shortlived"));
}

#[tokio::test]
async fn the_chain_to_the_preferred_root_is_served() {
    let names = [WWW];
    let tls = free_address();
    let pebble = Pebble::start(&PebbleOptions {
        alternate_roots: 2,
        tls_port: tls.port(),
        ..PebbleOptions::default()
    });
    pebble.dns.set_addresses(WWW, &[&tls.ip().to_string()]);
    let http = free_address();
    let scene = issuance::Scene { pebble, tls, http };
    let home = Home::new();
    let config = scene.config(&names, "tls-alpn-01", &[backend("hello").await]);
    let roots = [0, 1, 2].map(|number| scene.pebble.root(number));
    let preferred = format!(
        "kind = \"acme\"\npreferred_chain = {:?}\n",
        common_name(&roots[2])
    );
    let gateway = home.start(&config.replace("kind = \"acme\"\n", &preferred)).await;
    gateway.published("www").await;

    let client = TlsClient::trusting(&roots[2]);
    let stream = client
        .connect(scene.tls, WWW)
        .await
        .expect("it leads to the preferred root");
    let chain = stream.get_ref().1.peer_certificates().expect("a verified server");
    let last = Leaf::parse(chain.last().expect("a chain")).expect("a certificate");
    assert!(last.issuer.contains(&common_name(&roots[2])), "{}", last.issuer);
    for other in &roots[..2] {
        let refused = TlsClient::trusting(other).connect(scene.tls, WWW).await;
        assert!(refused.is_err(), "it leads to another root, too");
    }
}

#[tokio::test]
async fn a_preferred_chain_that_the_ca_does_not_have_is_told_with_the_one_that_it_has() {
    let scene = ca_faults::Scene::new().await;
    let home = Home::new();
    let config = scene.config_with_www(&home, backend("hello").await);
    let preferred = "kind = \"acme\"\npreferred_chain = \"No Such Root\"\n";
    let gateway = home.start(&config.replace("kind = \"acme\"\n", preferred)).await;
    gateway.published("www").await;
    let log = home.log();
    for part in [
        "no chain to `No Such Root`, the `preferred_chain` of the issuer",
        "Its chains lead to: `ACME double`",
    ] {
        assert!(log.contains(part), "{log}");
    }
}

#[tokio::test]
async fn a_certificate_that_the_ca_wants_replaced_now_is_renewed_and_the_new_one_is_served() {
    let scene = ca_faults::Scene::new().await;
    scene.ca.change(|ca| {
        ca.lifetime = LIFETIME;
        // It has begun, and is over soon.
        ca.renewal_window = Some(Window { start: -60, end: 1 });
    });
    let home = Home::new();
    let config = scene.config_with_www(&home, backend("hello").await);
    let gateway = home.start(&config).await;
    gateway.published("www").await;
    let first = served(&scene).await;

    let suggested = |status: &Status| status.certificates[0].suggested_window.is_some();
    gateway.status_until("knows of the window", suggested).await;
    // There is nothing more to say of the next one.
    scene.ca.change(|ca| {
        ca.renewal_window = Some(Window {
            start: 86_400,
            end: 90_000,
        })
    });
    let renewed = |status: &Status| {
        let www = &status.certificates[0];
        www.published && www.serial.as_ref() != Some(&first.serial)
    };
    let status = gateway.status_until("has renewed it", renewed).await;
    let second = served(&scene).await;
    assert_eq!(Some(&second.serial), status.certificates[0].serial.as_ref());
    let since = second.not_before.since(first.not_before);
    assert!(
        since < LIFETIME / 4,
        "{since:?}: long before half of its lifetime, when it would have been renewed without the window"
    );

    let orders = scene.ca.orders();
    assert_eq!((orders.len(), &orders[0].replaces), (2, &None));
    let replaced = orders[1].replaces.as_deref().expect("it says what it replaces");
    let (_, serial) = replaced.split_once('.').expect("key and serial number");
    assert_eq!(serial, base64url_of_hex(&first.serial));
    assert!(scene.ca.count(Endpoint::RenewalInfo) >= 1);
}

/// A tenth of it is the shortest time between two renewals, whatever the CA says.
const LIFETIME: Duration = Duration::from_secs(40);

/// The certificate that a client is served.
async fn served(scene: &ca_faults::Scene) -> Leaf {
    let client = TlsClient::trusting(&scene.ca.issuing_root());
    let (answer, leaf) = client.ask(scene.tls, WWW).await.expect("it is served");
    assert!(answer.ends_with("hello"), "{answer}");
    leaf
}

fn common_name(root: &str) -> String {
    let der = CertificateDer::from_pem_slice(root.as_bytes()).expect("PEM");
    let (_, certificate) = X509Certificate::from_der(&der).expect("a certificate");
    let mut names = certificate.subject().iter_common_name();
    let name = names.next().expect("a common name");
    name.as_str().expect("text").to_owned()
}

/// A serial number as RFC 9773 §4.1 writes it, from the form of `status`.
fn base64url_of_hex(serial: &str) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    let digits: Vec<_> = serial.chars().filter(char::is_ascii_hexdigit).collect();
    let octets = digits.chunks(2).map(|pair| {
        let text: String = pair.iter().collect();
        u8::from_str_radix(&text, 16).expect("two digits")
    });
    URL_SAFE_NO_PAD.encode(octets.collect::<Vec<_>>())
}
