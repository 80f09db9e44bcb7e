//! Client authentication and resumption.

use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, Error};

use super::*;

const BOTH: [&rustls::SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

fn mutual() -> ListenerConfig {
    ListenerConfig {
        authentication: Authentication::Mutual {
            client_ca: "partners".into(),
        },
        ..listener()
    }
}

fn gateway(listener: &ListenerConfig, partners: &Ca) -> Gateway {
    let www = Ca::new("server").credential(&["www.example.com"], KeyType::EcdsaP256, 0);
    Gateway::new(listener, Some(&partners.bundle("partners")), &[("www", www)])
}

fn client(
    version: &'static rustls::SupportedProtocolVersion,
    credential: Option<CredentialPem>,
) -> Arc<ClientConfig> {
    let client = Client {
        credential,
        ..Client::version(version)
    };
    client.build()
}

#[test]
fn a_mutual_listener_without_its_bundle_is_an_error_and_never_one_way() {
    let policy = built_in("intermediate").unwrap();
    for bundle in [None, Some(Ca::new("ca").bundle("others"))] {
        let built = ServerTls::build(&mutual(), policy, bundle.as_ref(), Arc::default(), Arc::default());
        let Err(TlsError::MissingClientCa { client_ca, .. }) = built else {
            panic!("{built:?}")
        };
        assert_eq!(client_ca, "partners");
    }
}

#[tokio::test]
async fn a_client_with_a_certificate_of_the_bundle_is_let_in() {
    let partners = Ca::new("partners");
    let gateway = gateway(&mutual(), &partners);
    for version in BOTH {
        let partner = partners.sign(&["client"], KeyType::EcdsaP256, 0);
        gateway
            .connect(&client(version, Some(partner)), "www.example.com")
            .await
            .session();
    }
}

#[tokio::test]
async fn a_client_without_a_certificate_of_the_bundle_is_refused_and_told_why() {
    let partners = Ca::new("partners");
    let gateway = gateway(&mutual(), &partners);
    let stranger = Ca::new("strangers").sign(&["client"], KeyType::EcdsaP256, 0);
    let namesake = Ca::new("partners").sign(&["client"], KeyType::EcdsaP256, 0);
    let mut params = CertificateParams::new(vec!["client".to_owned()]).unwrap();
    params.not_before = OffsetDateTime::UNIX_EPOCH;
    params.not_after = OffsetDateTime::UNIX_EPOCH + Duration::from_secs(86_400);
    let expired = partners.sign_params(&params, KeyType::EcdsaP256);
    for version in BOTH {
        for (credential, alert) in [
            (None, AlertDescription::CertificateRequired),
            (Some(stranger.clone()), AlertDescription::UnknownCA),
            (Some(namesake.clone()), AlertDescription::DecryptError),
            (Some(expired.clone()), AlertDescription::CertificateExpired),
        ] {
            let ends = gateway
                .connect(&client(version, credential), "www.example.com")
                .await;
            assert_eq!(ends.alert(), alert, "{ends:?}");
            match ends.server {
                Err(Error::NoCertificatesPresented | Error::InvalidCertificate(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_mutual_listener_resumes_nothing() {
    let partners = Ca::new("partners");
    let gateway = gateway(&mutual(), &partners);
    for version in BOTH {
        let partner = client(version, Some(partners.sign(&["client"], KeyType::EcdsaP256, 0)));
        for _ in 0..3 {
            let session = gateway.connect(&partner, "www.example.com").await.session();
            assert_eq!(
                (session.resumed, session.tickets),
                (false, 0),
                "{}",
                session.version
            );
        }
    }
}

#[tokio::test]
async fn a_one_way_listener_resumes_by_ticket_and_gives_one_at_a_time() {
    let gateway = gateway(&listener(), &Ca::new("unused"));
    for version in BOTH {
        let client = client(version, None);
        let first = gateway.connect(&client, "www.example.com").await.session();
        assert!(!first.resumed);
        let tickets = u32::from(version.version == rustls::ProtocolVersion::TLSv1_3);
        for _ in 0..2 {
            let session = gateway.connect(&client, "www.example.com").await.session();
            assert_eq!(
                (session.resumed, session.tickets),
                (true, tickets),
                "{}",
                session.version
            );
        }
    }
}

#[tokio::test]
async fn a_ticket_opens_no_other_listener_above_all_no_mutual_one() {
    let partners = Ca::new("partners");
    let (one_way, other) = (gateway(&listener(), &partners), gateway(&listener(), &partners));
    let mutual = gateway(&mutual(), &partners);
    for version in BOTH {
        let client = client(version, None);
        one_way.connect(&client, "www.example.com").await.session();
        let refused = mutual.connect(&client, "www.example.com").await;
        assert_eq!(refused.server, Err(Error::NoCertificatesPresented));

        let client = self::client(version, None);
        one_way.connect(&client, "www.example.com").await.session();
        assert!(!other.connect(&client, "www.example.com").await.session().resumed);
    }
}

#[tokio::test]
async fn a_session_ends_with_its_certificate() {
    let mut listener = listener();
    listener.unknown_sni = UnknownSni::Refuse;
    let gateway = gateway(&listener, &Ca::new("unused"));
    for version in BOTH {
        let client = client(version, None);
        let table = CertificateTable::clone(&gateway.published.load());
        gateway.connect(&client, "www.example.com").await.session();
        gateway.published.publish(table.without(&entry("www")));
        let refused = gateway.connect(&client, "www.example.com").await;
        assert_eq!(refused.alert(), AlertDescription::UnrecognisedName);
        gateway.published.publish(table);
    }
}
