//! What an issuer or a certificate can be configured to ask a CA for.

use certgate::certificate::{Credential, KeyType};
use certgate::config::ExternalAccountConfig;
use certgate::issuer::{Account, FailureClass, IssueError};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::fixture::{Gateway, desired, www};
use crate::support::acme_double::Endpoint;
use crate::support::pebble::PebbleOptions;
use crate::world::World;

#[tokio::test]
async fn the_configured_profile_is_ordered() {
    let mut gateway = Gateway::start().await;
    gateway
        .ca
        .change(|ca| ca.profiles = vec!["classic", "shortlived"]);
    gateway.config.profile = Some("shortlived".to_owned());
    gateway.issue(&www()).await.unwrap();
    assert_eq!(gateway.ca.orders()[0].profile.as_deref(), Some("shortlived"));
}

#[tokio::test]
async fn a_profile_that_the_ca_has_not_stops_before_an_order_and_names_those_there_are() {
    for (profiles, says) in [
        (vec!["classic", "shortlived"], "classic, shortlived"),
        (vec![], "nothing"),
    ] {
        let mut gateway = Gateway::start().await;
        gateway.ca.change(|ca| ca.profiles = profiles);
        gateway.config.profile = Some("tiny".to_owned());
        let error = gateway.issue(&www()).await.unwrap_err();
        assert_eq!(error.class(), FailureClass::Stop);
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(gateway.ca.count(Endpoint::NewOrder), 0);
    }
}

const HMAC_KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";

#[tokio::test]
async fn an_account_that_must_be_bound_is_bound_to_the_customer() {
    let options = PebbleOptions {
        external_account: Some(("kid-1".to_owned(), HMAC_KEY.to_owned())),
        ..PebbleOptions::default()
    };
    let mut world = World::with(options).await;
    let error = world.issue(&world.issuer(), &www()).await.unwrap_err();
    assert_eq!(error.class(), FailureClass::Stop);
    assert!(error.to_string().contains("externalAccountRequired"), "{error}");

    let files = tempfile::tempdir().unwrap();
    let hmac_key_file = files.path().join("hmac.key");
    let key_id = "kid-1".to_owned();
    world.config.external_account = Some(ExternalAccountConfig {
        key_id,
        hmac_key_file: hmac_key_file.clone(),
    });
    let error = world.issue(&world.issuer(), &www()).await.unwrap_err();
    assert!(matches!(error, IssueError::ExternalAccount { .. }), "{error}");

    std::fs::write(&hmac_key_file, HMAC_KEY.to_lowercase()).unwrap();
    let error = world.issue(&world.issuer(), &www()).await.unwrap_err();
    assert!(!error.to_string().contains(HMAC_KEY), "{error}");

    std::fs::write(&hmac_key_file, format!("{HMAC_KEY}\n")).unwrap();
    let pem = world.issue(&world.issuer(), &www()).await.unwrap();
    world.verify(&pem, "www.example.com").await;
}

fn common_name(pem: &str) -> String {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    let mut names = certificate.subject().iter_common_name();
    names.next().unwrap().as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_chain_to_the_preferred_root_is_taken_and_a_root_that_is_not_there_costs_nothing() {
    let options = PebbleOptions {
        alternate_roots: 2,
        ..PebbleOptions::default()
    };
    let mut world = World::with(options).await;
    for number in 0..3 {
        let root = world.pebble.root(number);
        world.config.preferred_chain = Some(common_name(&root));
        let name = format!("c{number}");
        let pem = world
            .issue(&world.issuer(), &desired(&name, &["www.example.com"]))
            .await
            .unwrap();
        world.verify_by(&root, &pem, "www.example.com");
        Credential::from_pem(&pem).unwrap();
    }
    world.config.preferred_chain = Some("No Such Root".to_owned());
    let pem = world.issue(&world.issuer(), &www()).await.unwrap();
    world.verify(&pem, "www.example.com").await;
}

#[tokio::test]
async fn a_name_that_pebble_blocks_stops_and_says_which() {
    let options = PebbleOptions {
        blocked_domains: vec!["blocked.example.com".to_owned()],
        ..PebbleOptions::default()
    };
    let world = World::with(options).await;
    let wanted = desired("www", &["www.example.com", "blocked.example.com"]);
    let error = world.issue(&world.issuer(), &wanted).await.unwrap_err();
    assert_eq!(error.class(), FailureClass::Stop);
    assert!(error.to_string().contains("blocked.example.com"), "{error}");
}

#[tokio::test]
async fn what_pebble_has_validated_already_is_not_answered_again() {
    let options = PebbleOptions {
        authorization_reuse: 100,
        ..PebbleOptions::default()
    };
    let world = World::with(options).await;
    let issuer = world.issuer();
    world.issue(&issuer, &www()).await.unwrap();
    let answered = world.answers.presented().len();
    world
        .issue(&issuer, &desired("again", &["www.example.com", "example.com"]))
        .await
        .unwrap();
    assert_eq!(world.answers.presented().len(), answered);
}

#[tokio::test]
async fn international_names_and_a_hundred_of_them_fit_into_one_certificate() {
    let world = World::with(PebbleOptions {
        always_valid: true,
        ..PebbleOptions::default()
    })
    .await;
    let mut names: Vec<_> = (0..99).map(|n| format!("n{n}.example.com")).collect();
    names.push("bücher.example.com".to_owned());
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut wanted = desired("many", &names);
    wanted.key_type = KeyType::EcdsaP384;
    let pem = world.issue(&world.issuer(), &wanted).await.unwrap();
    world.verify(&pem, "xn--bcher-kva.example.com").await;
    assert_eq!(Credential::from_pem(&pem).unwrap().leaf().names.len(), 100);
    assert!(world.issuer().info().await.unwrap().is_some());
}
