//! tls-alpn-01.

use rustls::AlertDescription;
use rustls::version::{TLS12, TLS13};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::*;
use crate::name::DnsName;

const DIGEST: [u8; 32] = [7; 32];

/// A validation authority (RFC 8737 §3).
fn validator(versions: &[&'static rustls::SupportedProtocolVersion]) -> Arc<ClientConfig> {
    offering(versions, &[ACME_TLS_ALPN])
}

fn offering(
    versions: &[&'static rustls::SupportedProtocolVersion],
    alpn: &[&'static [u8]],
) -> Arc<ClientConfig> {
    let client = Client {
        versions: versions.to_vec(),
        alpn: alpn.to_vec(),
        ..Client::default()
    };
    client.build()
}

/// The listeners that a challenge may come by: one that refuses unknown names and protocols, and one that is
/// mutual. `www.example.com` is pending, and no certificate holds it.
fn gateways() -> [Gateway; 2] {
    let ca = Ca::new("ca");
    let entries = [("api", ca.credential(&["api.example.com"], KeyType::EcdsaP256, 0))];
    let mut strict = listener();
    strict.unknown_sni = UnknownSni::Refuse;
    strict.alpn = vec![b"h2".to_vec()];
    strict.policy = "modern".into();
    let mut mutual = listener();
    mutual.authentication = Authentication::Mutual {
        client_ca: "partners".into(),
    };
    let bundle = ca.bundle("partners");
    let gateways = [
        Gateway::new(&strict, None, &entries),
        Gateway::new(&mutual, Some(&bundle), &entries),
    ];
    for gateway in &gateways {
        gateway
            .challenges
            .insert(&name("www.example.com"), &DIGEST)
            .unwrap();
    }
    gateways
}

fn name(text: &str) -> DnsName {
    DnsName::parse(text).unwrap()
}

#[tokio::test]
async fn a_pending_challenge_is_answered_whatever_the_listener_demands_of_others() {
    for gateway in gateways() {
        for version in [&TLS12, &TLS13] {
            let session = gateway
                .connect(&validator(&[version]), "www.example.com")
                .await
                .session();
            assert_eq!(session.alpn.as_deref(), Some(ACME_TLS_ALPN));
            let (_, certificate) = X509Certificate::from_der(&session.certificate).unwrap();
            let identifier = certificate
                .extensions()
                .iter()
                .find(|extension| extension.oid.to_id_string() == "1.3.6.1.5.5.7.1.31")
                .unwrap();
            assert!(identifier.critical);
            assert_eq!(identifier.value, [[4, 32].as_slice(), &DIGEST].concat());
            let names = certificate.subject_alternative_name().unwrap().unwrap();
            assert_eq!(names.value.general_names.len(), 1);
            assert_eq!(session.leaf().names[0].to_string(), "www.example.com");
        }
    }
}

#[tokio::test]
async fn a_challenge_connection_is_told_apart_and_cannot_be_resumed() {
    for gateway in gateways() {
        for version in [&TLS12, &TLS13] {
            let validator = validator(&[version]);
            let decision = gateway.decide(&validator, "www.example.com");
            assert!(matches!(decision, Decision::Challenge(_)));
            for _ in 0..2 {
                let session = gateway.connect(&validator, "www.example.com").await.session();
                assert_eq!((session.resumed, session.tickets), (false, 0));
            }
        }
    }
}

#[tokio::test]
async fn a_challenge_that_is_not_pending_is_refused_and_never_served_another_way() {
    let mut nameless = ClientConfig::clone(&validator(&[&TLS13]));
    nameless.enable_sni = false;
    let validator = validator(&[&TLS13]);
    for gateway in gateways() {
        for (client, name) in [
            (&validator, "api.example.com"),
            (&validator, "other.example.com"),
            (&Arc::new(nameless.clone()), "www.example.com"),
        ] {
            let decision = gateway.decide(client, name);
            assert!(
                matches!(decision, Decision::Refuse(Refusal::NoChallenge)),
                "{name}"
            );
        }
        gateway.challenges.remove(&name("www.example.com"));
        let refused = gateway.connect(&validator, "www.example.com").await;
        assert_eq!(refused.alert(), AlertDescription::NoApplicationProtocol);
    }
}

#[tokio::test]
async fn a_pending_challenge_opens_no_way_around_mutual_authentication() {
    let [_, mutual] = gateways();
    let lists: [&[&[u8]]; 4] = [&[], &[b"h2"], &[ACME_TLS_ALPN, b"h2"], &[b"h2", ACME_TLS_ALPN]];
    for alpn in lists {
        let client = offering(&[&TLS13, &TLS12], alpn);
        assert!(matches!(
            mutual.decide(&client, "www.example.com"),
            Decision::Handshake { .. }
        ));
        let ends = mutual.connect(&client, "www.example.com").await;
        assert_eq!(ends.server, Err(rustls::Error::NoCertificatesPresented));
    }
}

#[tokio::test]
async fn a_second_challenge_of_a_name_replaces_the_first() {
    let [gateway, _] = gateways();
    let first = gateway
        .connect(&validator(&[&TLS13]), "www.example.com")
        .await
        .session();
    gateway
        .challenges
        .insert(&name("www.example.com"), &[8; 32])
        .unwrap();
    let second = gateway
        .connect(&validator(&[&TLS13]), "www.example.com")
        .await
        .session();
    assert!(first.certificate.windows(32).any(|window| window == DIGEST));
    assert!(second.certificate.windows(32).any(|window| window == [8; 32]));
}

#[test]
fn the_protocol_of_the_challenge_cannot_be_a_listeners_own() {
    let mut listener = listener();
    listener.alpn = vec![b"h2".to_vec(), ACME_TLS_ALPN.to_vec()];
    let policy = built_in("intermediate").unwrap();
    let built = ServerTls::build(&listener, policy, None, Arc::default(), Arc::default());
    assert!(matches!(built, Err(TlsError::ReservedProtocol { .. })));
}
