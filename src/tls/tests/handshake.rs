//! Policies and server names, by whole handshakes.

use rustls::AlertDescription;
use rustls::crypto::aws_lc_rs::cipher_suite::{TLS13_AES_128_GCM_SHA256, TLS13_CHACHA20_POLY1305_SHA256};
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::version::{TLS12, TLS13};

use super::*;
use crate::policy::Policy;

fn www() -> (&'static str, Credential) {
    let names = ["www.example.com", "example.com"];
    ("www", Ca::new("ca").credential(&names, KeyType::EcdsaP256, 0))
}

#[tokio::test]
async fn modern_refuses_tls_1_2_and_speaks_tls_1_3() {
    let mut listener = listener();
    listener.policy = "modern".into();
    let gateway = Gateway::new(&listener, None, &[www()]);
    let refused = gateway
        .connect(&Client::version(&TLS12).build(), "www.example.com")
        .await;
    assert_eq!(refused.alert(), AlertDescription::ProtocolVersion);
    let session = gateway
        .connect(&Client::default().build(), "www.example.com")
        .await
        .session();
    assert_eq!(session.version, "TLSv1_3");
}

#[tokio::test]
async fn intermediate_speaks_tls_1_2_and_1_3() {
    let gateway = Gateway::new(&listener(), None, &[www()]);
    for (version, name) in [(&TLS12, "TLSv1_2"), (&TLS13, "TLSv1_3")] {
        let client = Client::version(version).build();
        let session = gateway.connect(&client, "www.example.com").await.session();
        assert_eq!(session.version, name);
    }
}

#[tokio::test]
async fn a_client_that_prefers_x25519mlkem768_gets_it_and_any_other_gets_what_it_has() {
    let gateway = Gateway::new(&listener(), None, &[www()]);
    let session = gateway
        .connect(&Client::default().build(), "www.example.com")
        .await
        .session();
    assert_eq!(session.group, "X25519MLKEM768");
    let mut old = Client::default();
    old.provider.kx_groups = vec![kx_group::SECP384R1];
    let session = gateway.connect(&old.build(), "www.example.com").await.session();
    assert_eq!(session.group, "secp384r1");
}

/// rustls as a client lists the classical group first here, and sends a key share for nothing else.
#[tokio::test]
async fn preferring_post_quantum_gives_it_to_clients_that_offer_it_last_and_keeps_out_nobody() {
    let with = |groups| {
        let mut client = Client::default();
        client.provider.kx_groups = groups;
        client.build()
    };
    let reluctant = with(vec![kx_group::X25519, kx_group::X25519MLKEM768]);
    let classical = with(vec![kx_group::SECP256R1]);
    let old = {
        let mut client = Client::version(&TLS12);
        client.provider.kx_groups = vec![kx_group::X25519, kx_group::X25519MLKEM768];
        client.build()
    };
    let mut listener = listener();
    for (policy, expected) in [
        ("intermediate", ["X25519", "secp256r1", "X25519"]),
        (
            "post-quantum-preferred",
            ["X25519MLKEM768", "secp256r1", "X25519"],
        ),
    ] {
        listener.policy = policy.into();
        let gateway = Gateway::new(&listener, None, &[www()]);
        for (client, group) in [&reluctant, &classical, &old].into_iter().zip(expected) {
            let session = gateway.connect(client, "www.example.com").await.session();
            assert_eq!(session.group, group, "{policy}");
        }
    }
}

#[test]
fn a_ticket_is_as_good_with_the_preferred_key_exchange_as_without() {
    let mut listener = listener();
    listener.policy = "post-quantum-preferred".into();
    let gateway = Gateway::new(&listener, None, &[www()]);
    let config = |client: Client| match gateway.decide(&client.build(), "www.example.com") {
        Decision::Handshake { config, .. } => config,
        other => panic!("{other:?}"),
    };
    let preferred = config(Client::default());
    let other = config(Client::version(&TLS12));
    assert!(!Arc::ptr_eq(&preferred, &other));
    assert!(Arc::ptr_eq(&preferred.ticketer, &other.ticketer));
}

#[tokio::test]
async fn requiring_post_quantum_refuses_everybody_else() {
    let mut listener = listener();
    listener.policy = "post-quantum-required".into();
    let gateway = Gateway::new(&listener, None, &[www()]);
    let session = gateway
        .connect(&Client::default().build(), "www.example.com")
        .await;
    assert_eq!(session.session().group, "X25519MLKEM768");
    let mut classical = Client::default();
    classical.provider.kx_groups = vec![kx_group::X25519, kx_group::SECP256R1];
    let refused = gateway.connect(&classical.build(), "www.example.com").await;
    assert_eq!(refused.alert(), AlertDescription::HandshakeFailure);
    let refused = gateway
        .connect(&Client::version(&TLS12).build(), "www.example.com")
        .await;
    assert_eq!(refused.alert(), AlertDescription::ProtocolVersion);
}

#[tokio::test]
async fn the_clients_order_of_suites_decides_unless_the_policy_says_otherwise() {
    let client = || {
        let mut client = Client::version(&TLS13);
        client.provider.cipher_suites = vec![TLS13_CHACHA20_POLY1305_SHA256, TLS13_AES_128_GCM_SHA256];
        client.build()
    };
    let mut gateway = Gateway::new(&listener(), None, &[www()]);
    let session = gateway.connect(&client(), "www.example.com").await.session();
    assert_eq!(session.suite, "TLS13_CHACHA20_POLY1305_SHA256");

    let text = include_str!("../../../policies/modern-2026-11.toml");
    let text = text.replace("ignore_client_order = false", "ignore_client_order = true");
    let own = Policy::parse("own", &text).unwrap();
    let (published, challenges) = (gateway.published.clone(), gateway.challenges.clone());
    gateway.tls = ServerTls::build(&listener(), &own, None, published, challenges).unwrap();
    let session = gateway.connect(&client(), "www.example.com").await.session();
    assert_eq!(session.suite, "TLS13_AES_128_GCM_SHA256");
}

#[tokio::test]
async fn an_unknown_name_and_none_get_the_first_certificate_or_the_alert_as_the_listener_says() {
    let ca = Ca::new("ca");
    let first = ca.credential(&["first.example"], KeyType::EcdsaP256, 0);
    let entries = [
        ("a", ca.credential(&["a.example"], KeyType::EcdsaP256, 0)),
        ("first", first.clone()),
    ];
    let mut nameless = ClientConfig::clone(&Client::default().build());
    nameless.enable_sni = false;
    let clients = [Client::default().build(), Arc::new(nameless)];

    let mut listener = listener();
    listener.certificates = vec![
        CertificateSelector::Named(entry("first")),
        CertificateSelector::All,
    ];
    let default = Gateway::new(&listener, None, &entries);
    listener.unknown_sni = UnknownSni::Refuse;
    let refuse = Gateway::new(&listener, None, &entries);
    for client in clients {
        let session = default.connect(&client, "unknown.example").await.session();
        assert_eq!(session.leaf(), *first.leaf());
        let refused = refuse.connect(&client, "unknown.example").await;
        assert_eq!(refused.alert(), AlertDescription::UnrecognisedName);
        assert_eq!(Refusal::UnknownName.alert_record(), [0x15, 3, 3, 0, 2, 2, 0x70]);
    }
    let known = refuse
        .connect(&Client::default().build(), "a.example")
        .await
        .session();
    assert_eq!(known.leaf().names[0].to_string(), "a.example");
}

#[tokio::test]
async fn with_nothing_published_every_client_is_refused_and_none_gets_a_stand_in() {
    for unknown_sni in [UnknownSni::Default, UnknownSni::Refuse] {
        let mut listener = listener();
        listener.unknown_sni = unknown_sni;
        let gateway = Gateway::new(&listener, None, &[]);
        let refused = gateway
            .connect(&Client::default().build(), "www.example.com")
            .await;
        match unknown_sni {
            UnknownSni::Default => assert_eq!(refused.alert(), AlertDescription::InternalError),
            UnknownSni::Refuse => assert_eq!(refused.alert(), AlertDescription::UnrecognisedName),
        }
    }
}

#[test]
fn a_listener_is_ready_when_its_own_default_is_published() {
    let certificate = || Ca::new("ca").credential(&["a.example"], KeyType::EcdsaP256, 0);
    let mut listener = listener();
    listener.certificates = vec![CertificateSelector::Directory("sites/".into())];
    for (published, ready) in [("other", false), ("sites/a", true)] {
        let gateway = Gateway::new(&listener, None, &[(published, certificate())]);
        assert_eq!(gateway.tls.is_ready(), ready, "{published}");
    }
}

#[tokio::test]
async fn a_listener_serves_only_what_it_names() {
    let ca = Ca::new("ca");
    let entries = [
        ("other", ca.credential(&["other.example"], KeyType::EcdsaP256, 0)),
        ("sites/b", ca.credential(&["b.example"], KeyType::EcdsaP256, 0)),
        ("sites/c", ca.credential(&["c.example"], KeyType::EcdsaP256, 0)),
    ];
    let mut listener = listener();
    listener.certificates = vec![CertificateSelector::Directory("sites/".into())];
    let gateway = Gateway::new(&listener, None, &entries);
    for (asked, served) in [("c.example", "c.example"), ("other.example", "b.example")] {
        let session = gateway.connect(&Client::default().build(), asked).await.session();
        assert_eq!(session.leaf().names[0].to_string(), served);
    }
}

#[test]
fn a_server_name_in_capitals_is_the_same_name_and_one_with_a_closing_dot_is_not() {
    let mut listener = listener();
    listener.unknown_sni = UnknownSni::Refuse;
    let gateway = Gateway::new(&listener, None, &[www()]);
    for (sent, known) in [
        ("WWW.Example.COM", true),
        ("WWW.Example.NET", false),
        // Against RFC 6066 §3, but rustls lets it through.
        ("www.example.com.", false),
    ] {
        let placeholder = "x".repeat(sent.len());
        let mut bytes = hello(&Client::default().build(), &placeholder);
        let at = bytes
            .windows(sent.len())
            .position(|window| window == placeholder.as_bytes());
        bytes[at.unwrap()..][..sent.len()].copy_from_slice(sent.as_bytes());
        let served = matches!(gateway.decide_bytes(&bytes), Decision::Handshake { .. });
        assert_eq!(served, known, "{sent}");
    }
}

#[tokio::test]
async fn each_client_is_served_the_key_it_can_verify() {
    let ca = Ca::new("ca");
    let both = vec![
        ca.credential(&["www.example.com"], KeyType::Rsa2048, 50),
        ca.credential(&["www.example.com"], KeyType::EcdsaP256, 0),
    ];
    let gateway = Gateway::new(&listener(), None, &[]);
    gateway
        .published
        .publish(CertificateTable::new().with(entry("www"), both));

    let with_schemes = |family: &str| Client {
        schemes: Client::default()
            .schemes
            .into_iter()
            .filter(|scheme| scheme.as_str().unwrap().starts_with(family))
            .collect(),
        ..Client::default()
    };
    let with_suites = |family: &str| {
        let mut client = Client::version(&TLS12);
        client
            .provider
            .cipher_suites
            .retain(|suite| suite.suite().as_str().unwrap().contains(family));
        client
    };
    for (client, key) in [
        (Client::default(), "ECDSA P-256"),
        (with_schemes("ECDSA"), "ECDSA P-256"),
        (with_schemes("RSA"), "RSA 2048"),
        (Client::version(&TLS12), "ECDSA P-256"),
        (with_suites("ECDHE_ECDSA"), "ECDSA P-256"),
        (with_suites("ECDHE_RSA"), "RSA 2048"),
    ] {
        let session = gateway
            .connect(&client.build(), "www.example.com")
            .await
            .session();
        assert_eq!(session.leaf().key, key);
    }
}

#[tokio::test]
async fn a_client_that_can_verify_nothing_is_told_so_by_the_handshake() {
    let gateway = Gateway::new(&listener(), None, &[www()]);
    let mut client = Client::version(&TLS12);
    client
        .provider
        .cipher_suites
        .retain(|suite| suite.suite().as_str().unwrap().contains("ECDHE_RSA"));
    let refused = gateway.connect(&client.build(), "www.example.com").await;
    assert_eq!(refused.alert(), AlertDescription::HandshakeFailure);
}
