//! A local CA's clients over the years: what it has signed stays good, what it has revoked stays revoked.

use std::sync::Arc;
use std::time::Duration;

use certgate::certificate::{CaBundle, CaBundleSources, KeyType, PrivateKey, Revocation, RevocationReason};
use certgate::clock::Clock;
use certgate::issuer::{
    ClientAuthority, ClientCaError, ClientRequest, ClientRequestProblem, IssueError, IssuedClient,
};
use certgate::name::{DnsName, NamePattern};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::local_ca::{DAY, World};

impl World {
    async fn issue_client(&self, dns: &str, days: u32) -> Result<IssuedClient, ClientCaError> {
        let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        let request = ClientRequest {
            csr_pem: key.to_request_pem().unwrap(),
            common_name: "alice".to_owned(),
            dns: vec![NamePattern::parse(dns).unwrap()],
            uri: vec!["spiffe://example/alice".to_owned()],
            email: Vec::new(),
            days,
        };
        self.ca().issue_client(request, None).await
    }

    async fn revoke(&self, client: &IssuedClient) -> ClientAuthority {
        let ca = self.ca();
        let revoked = ca.revoke_client(&client.record.serial, RevocationReason::Superseded);
        revoked.await.unwrap().1
    }

    /// Whether a server lets `client` in that holds what the CA is now.
    async fn lets_in(&self, client: &IssuedClient) -> bool {
        let authority = self.ca().client_authority().await.unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(der(&authority.root_pem).remove(0)).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
            .with_crls([authority.crl.der.into()])
            .only_check_end_entity_revocation()
            .enforce_revocation_expiration()
            .build()
            .unwrap();
        let chain = der(&client.chain_pem);
        // As a bundle does, in the place of what the client has from of old.
        let intermediates = der(&authority.certificate_pem);
        let now = Duration::from_secs(self.clock.now().unix_seconds().try_into().unwrap());
        let verified =
            verifier.verify_client_cert(&chain[0], &intermediates, UnixTime::since_unix_epoch(now));
        verified.is_ok()
    }
}

fn der(pem: &str) -> Vec<CertificateDer<'static>> {
    let all = CertificateDer::pem_slice_iter(pem.as_bytes());
    all.collect::<Result<_, _>>().unwrap()
}

#[tokio::test]
async fn a_crl_is_in_date_at_any_time_and_says_the_same_until_the_next_is_due() {
    let world = World::new();
    assert_eq!(world.ca().known_client_authority().await.unwrap(), None);
    let client = world.issue_client("alice.example", 1800).await.unwrap();
    let first = world.ca().client_authority().await.unwrap();
    assert_eq!(first.crl.number, 1);
    world.clock.advance(3 * DAY);
    assert_eq!(world.ca().client_authority().await.unwrap(), first);
    world.clock.advance(DAY);
    let second = world.ca().client_authority().await.unwrap();
    assert_eq!(second.crl.number, 2);
    assert_eq!(second.crl.this_update, world.clock.now());
    assert!(world.lets_in(&client).await);
    let revoked = world.revoke(&client).await;
    assert_eq!(revoked.crl.number, 3);
    assert!(!world.lets_in(&client).await);
    for _ in 0..30 {
        world.clock.advance(50 * DAY);
        assert!(!world.lets_in(&client).await, "it stays revoked");
        let authority = world.ca().client_authority().await.unwrap();
        assert!(world.clock.now() < authority.due(world.clock.now()));
    }
    world.clock.advance(400 * DAY);
    let long_after = world.ca().client_authority().await.unwrap();
    assert!(
        long_after.crl.der.len() < revoked.crl.der.len(),
        "it has expired anyway"
    );
}

#[tokio::test]
async fn the_ca_for_clients_keeps_its_key_over_a_new_root_and_other_constraints() {
    let mut world = World::new();
    let lasting = world.issue_client("alice.corp.example", 1826).await.unwrap();
    let gone = world.issue_client("bob.corp.example", 1826).await.unwrap();
    world.revoke(&gone).await;
    let before = world.ca().client_authority().await.unwrap();
    world.config.permitted_domains = vec![DnsName::parse("corp.example").unwrap()];
    let after = world.ca().client_authority().await.unwrap();
    assert_ne!(after.certificate_pem, before.certificate_pem);
    assert!(world.lets_in(&lasting).await && !world.lets_in(&gone).await);
    let refused = world.issue_client("alice.example.com", 1).await.unwrap_err();
    assert!(
        matches!(refused, ClientCaError::Ca(IssueError::NotPermitted { .. })),
        "{refused}"
    );

    world.clock.advance(5 * 366 * DAY - 100 * DAY);
    world.config.certificate_lifetime = 6 * 366 * DAY;
    let renewed = world.ca().client_authority().await.unwrap();
    assert_ne!(renewed.root_pem, before.root_pem);
    assert!(world.lets_in(&lasting).await && !world.lets_in(&gone).await);
    let chain = der(&renewed.certificate_pem);
    let (_, authority) = X509Certificate::from_der(&chain[0]).unwrap();
    let usage = authority.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth && !usage.any);
    assert_eq!(
        authority
            .basic_constraints()
            .unwrap()
            .unwrap()
            .value
            .path_len_constraint,
        Some(0)
    );
}

#[tokio::test]
async fn what_would_outlive_the_root_is_not_signed() {
    let world = World::new();
    world.ca().root_pem().await.unwrap();
    world.clock.advance(9 * 366 * DAY);
    let refused = world.issue_client("alice.example", 1826).await.unwrap_err();
    assert!(
        matches!(
            refused,
            ClientCaError::Request(ClientRequestProblem::OutlivesRoot { .. })
        ),
        "{refused}"
    );
    world.issue_client("alice.example", 30).await.unwrap();
}

#[tokio::test]
async fn of_revocations_at_once_none_is_lost() {
    let world = World::new();
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(world.issue_client("alice.example", 10).await.unwrap());
    }
    let revocations = clients.iter().map(|client| world.revoke(client));
    let authorities = futures_util::future::join_all(revocations).await;
    let newest = authorities
        .iter()
        .max_by_key(|authority| authority.crl.number)
        .unwrap();
    assert_eq!(newest.crl.number, 4);
    for client in &clients {
        assert!(!world.lets_in(client).await);
    }
}

#[tokio::test]
async fn a_bundle_takes_the_newer_crl_of_the_local_ca_and_no_older_one() {
    let world = World::new();
    let client = world.issue_client("alice.example", 10).await.unwrap();
    let before = world.ca().client_authority().await.unwrap();
    let pem = format!("{}{}", before.root_pem, before.certificate_pem);
    let sources = CaBundleSources {
        certificates_pem: Some(&pem),
        ..CaBundleSources::default()
    };
    let bundle = CaBundle::load("staff", &sources).unwrap();
    let issuer = der(&before.certificate_pem).remove(0);
    let bundle = bundle.with_crl(&before.crl.der, &issuer).unwrap();
    let after = world.revoke(&client).await;
    let newer = bundle.with_crl(&after.crl.der, &issuer).unwrap();
    assert_ne!(newer, bundle, "sessions belong to one of them");
    assert_eq!(newer.with_crl(&before.crl.der, &issuer).unwrap(), newer);
    assert_eq!(newer.revocation().iter().count(), 1);
    let (_, leaf) = X509Certificate::from_der(&der(&client.chain_pem)[0])
        .map(|(rest, leaf)| (rest.len(), leaf.raw_serial().to_vec()))
        .unwrap();
    let (_, authority) = X509Certificate::from_der(&issuer).unwrap();
    let anchor = content(authority.subject().as_raw());
    let key = content(authority.public_key().raw);
    let asked = |bundle: &CaBundle| bundle.revocation().status(anchor, key, &leaf, world.clock.now());
    assert_eq!(
        (asked(&bundle), asked(&newer)),
        (Revocation::Good, Revocation::Revoked)
    );

    let stranger = World::new().ca().client_authority().await.unwrap();
    let error = bundle.with_crl(&stranger.crl.der, &issuer).unwrap_err();
    assert!(error.to_string().contains("signature is not by"), "{error}");
}

/// What is inside of a DER value whose length takes one octet.
fn content(der: &[u8]) -> &[u8] {
    assert!(der[1] < 0x80);
    &der[2..]
}
