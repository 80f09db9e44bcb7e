//! To which generation of a listener's authentication a session belongs.

use rustls::version::{TLS12, TLS13};

use super::*;
use crate::certificate::AllowedClients;

const BOTH: [&rustls::SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

fn authenticated(authentication: Authentication) -> ListenerConfig {
    ListenerConfig {
        authentication,
        ..listener()
    }
}

fn mutual() -> ListenerConfig {
    authenticated(Authentication::Mutual {
        client_ca: "partners".into(),
    })
}

fn observing() -> ListenerConfig {
    authenticated(Authentication::Observe {
        client_ca: "partners".into(),
    })
}

fn start(listener: &ListenerConfig, partners: &Ca) -> Gateway {
    let www = Ca::new("server").credential(&["www.example.com"], KeyType::EcdsaP256, 0);
    Gateway::new(listener, Some(&partners.bundle("partners")), &[("www", www)])
}

impl Gateway {
    /// The same gateway after a reload that gives its listener this configuration.
    fn reloaded(mut self, listener: &ListenerConfig, partners: &Ca) -> Self {
        let policy = built_in(&listener.policy).unwrap();
        let bundle = partners.bundle("partners");
        let (published, challenges) = (self.published.clone(), self.challenges.clone());
        let tls = ServerTls::build(listener, policy, Some(&bundle), published, challenges).unwrap();
        self.tls = tls.continuing(&self.tls);
        self
    }
}

#[tokio::test]
async fn a_session_outlives_a_reload_that_changes_something_else() {
    let partners = Ca::new("partners");
    let mut changed = listener();
    changed.idle_timeout = Duration::from_secs(1);
    for version in BOTH {
        let gateway = start(&listener(), &partners);
        let client = Client::version(version).build();
        assert!(
            !gateway
                .connect(&client, "www.example.com")
                .await
                .session()
                .resumed
        );
        let gateway = gateway.reloaded(&changed, &partners);
        assert!(
            gateway
                .connect(&client, "www.example.com")
                .await
                .session()
                .resumed
        );
    }
}

#[tokio::test]
async fn a_session_from_before_a_change_of_authentication_is_not_resumed_not_even_after_the_way_back() {
    let partners = Ca::new("partners");
    for version in BOTH {
        for between in [mutual(), observing()] {
            let gateway = start(&listener(), &partners);
            let client = Client::version(version).build();
            gateway.connect(&client, "www.example.com").await.session();
            let gateway = gateway.reloaded(&between, &partners);
            let ends = gateway.connect(&client, "www.example.com").await;
            let reason = ends.verdict.as_ref().and_then(Verdict::rejection);
            assert_eq!(reason, Some(RejectionReason::NoCertificate));
            match between.authentication {
                Authentication::Observe { .. } => assert!(!ends.session().resumed),
                _ => assert!(ends.client.is_err()),
            }

            let client = Client::version(version).build();
            let gateway = start(&listener(), &partners);
            gateway.connect(&client, "www.example.com").await.session();
            let gateway = gateway
                .reloaded(&between, &partners)
                .reloaded(&listener(), &partners);
            assert!(
                !gateway
                    .connect(&client, "www.example.com")
                    .await
                    .session()
                    .resumed
            );
        }
    }
}

#[tokio::test]
async fn a_session_is_not_resumed_under_another_policy() {
    let partners = Ca::new("partners");
    let gateway = start(&listener(), &partners);
    let client = Client::version(&TLS13).build();
    gateway.connect(&client, "www.example.com").await.session();
    let mut modern = listener();
    modern.policy = "modern".to_owned();
    let gateway = gateway.reloaded(&modern, &partners);
    assert!(
        !gateway
            .connect(&client, "www.example.com")
            .await
            .session()
            .resumed
    );
}

#[tokio::test]
async fn an_observing_listener_lets_everybody_in_and_says_who_would_not_be() {
    let partners = Ca::new("partners");
    let gateway = start(&observing(), &partners);
    let stranger = Ca::new("strangers").sign(&["client"], KeyType::EcdsaP256, 0);
    let partner = partners.sign(&["client"], KeyType::EcdsaP256, 0);
    for version in BOTH {
        for (credential, label) in [
            (None, "no-certificate"),
            (Some(stranger.clone()), "unknown-ca"),
            (Some(partner.clone()), "verified"),
        ] {
            let client = Client {
                credential,
                ..Client::version(version)
            };
            let client = client.build();
            for _ in 0..2 {
                let ends = gateway.connect(&client, "www.example.com").await;
                assert_eq!(ends.verdict.as_ref().map(Verdict::label), Some(label));
                let session = ends.session();
                assert_eq!((session.resumed, session.tickets), (false, 0));
            }
        }
    }
}

#[test]
fn a_generation_changes_with_all_that_decides_about_clients_and_nothing_else() {
    let (one, other) = (Ca::new("one"), Ca::new("other"));
    let generation = |listener: &ListenerConfig, ca: &Ca| start(listener, ca).tls.generation();
    let named = |name: &str, listener: ListenerConfig| ListenerConfig {
        name: name.into(),
        ..listener
    };
    let mut allowing = mutual();
    allowing.allow_clients = Some(Arc::new(AllowedClients {
        common_name: vec!["a".to_owned()],
        ..Default::default()
    }));
    let mut lenient = mutual();
    lenient.expired_crl = ExpiredCrl::Accept;
    let all = [
        generation(&listener(), &one),
        generation(&mutual(), &one),
        generation(&mutual(), &other),
        generation(&observing(), &one),
        generation(&allowing, &one),
        generation(&lenient, &one),
        generation(&named("second", listener()), &one),
        generation(&named("second", mutual()), &one),
    ];
    for (position, generation) in all.iter().enumerate() {
        assert!(!all[..position].contains(generation), "{position}");
    }
    let mut slower = mutual();
    slower.idle_timeout = Duration::from_secs(1);
    assert_eq!(generation(&slower, &one), generation(&mutual(), &one));
    assert_eq!(generation(&listener(), &one), generation(&listener(), &other));
}
