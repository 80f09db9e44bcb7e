//! The same against a real ACME server.

use std::sync::Arc;
use std::time::Duration;

use certgate::certificate::{CredentialPem, KeyType};
use certgate::clock::SystemClock;
use certgate::config::{AcmeConfig, ChallengeType};
use certgate::inventory::Inventory;
use certgate::issuer::{AcmeIssuer, IssueError, IssueRequest, Issuer, Limits};
use certgate_store::MemoryStore;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::fixture::{Answers, Steps, desired, eventually, www};
use crate::support::pebble::{Pebble, PebbleOptions};

struct World {
    pebble: Pebble,
    config: AcmeConfig,
    inventory: Inventory,
    answers: Arc<Answers>,
    steps: Steps,
}

impl World {
    async fn start(refused_nonces: u8) -> Self {
        let (answers, listener) = (
            Arc::<Answers>::default(),
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
        );
        let pebble = Pebble::start(&PebbleOptions {
            http_port: listener.local_addr().unwrap().port(),
            certificate_validity: Some(Duration::from_secs(3600)),
            nonce_rejections: refused_nonces,
            ..PebbleOptions::default()
        });
        tokio::spawn(serve(listener, answers.clone()));
        let config = AcmeConfig {
            directory: pebble.directory(),
            contact: vec!["mailto:ops@example.com".to_owned()],
            challenges: vec![ChallengeType::Http01],
            root_ca_file: Some(pebble.https_ca_file()),
            caa_identities: Vec::new(),
            dns: None,
        };
        Self {
            pebble,
            config,
            inventory: Inventory::new(Arc::new(MemoryStore::new())),
            answers,
            steps: Steps::default(),
        }
    }

    fn issuer(&self) -> AcmeIssuer {
        let (inventory, solver) = (self.inventory.clone(), self.answers.clone());
        AcmeIssuer::new(
            "pebble",
            &self.config,
            inventory,
            solver,
            Arc::new(SystemClock),
            Limits::default(),
        )
    }

    async fn issue(
        &self,
        issuer: &AcmeIssuer,
        desired: &certgate::certificate::DesiredCertificate,
    ) -> Result<CredentialPem, IssueError> {
        let name = format!("certificate/{}", desired.name);
        let lease = self
            .inventory
            .lease(&name, Duration::from_secs(600))
            .await
            .unwrap()
            .unwrap();
        let request = IssueRequest {
            desired,
            lease: &lease,
            challenges: &Default::default(),
            progress: &self.steps,
        };
        let result = issuer.issue(&request).await;
        self.inventory.release_lease(lease).await.unwrap();
        result
    }

    async fn verify(&self, pem: &CredentialPem, name: &'static str) {
        let mut roots = rustls::RootCertStore::empty();
        let root = self.pebble.issuing_root();
        roots
            .add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(roots.into(), provider);
        let (leaf, intermediates) = pem.chain().split_first().unwrap();
        let name = ServerName::try_from(name).unwrap();
        let verified =
            verifier
                .build()
                .unwrap()
                .verify_server_cert(leaf, intermediates, &name, &[], UnixTime::now());
        verified.unwrap();
    }
}

async fn serve(listener: TcpListener, answers: Arc<Answers>) {
    while let Ok((mut tcp, _)) = listener.accept().await {
        let mut request = vec![0; 4096];
        let Ok(read) = tcp.read(&mut request).await else {
            continue;
        };
        let request = String::from_utf8_lossy(&request[..read]).into_owned();
        let answer = answers
            .in_place
            .lock()
            .unwrap()
            .iter()
            .find(|c| request.contains(&c.token))
            .cloned();
        let answer = answer.map_or(
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
            |challenge| {
                let text = challenge.key_authorization;
                format!(
                    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{text}",
                    text.len()
                )
            },
        );
        let _ = tcp.write_all(answer.as_bytes()).await;
    }
}

#[tokio::test]
async fn pebble_issues_every_kind_of_key_by_http_01() {
    let world = World::start(5).await;
    let issuer = world.issuer();
    for key_type in [KeyType::EcdsaP256, KeyType::EcdsaP384, KeyType::Rsa2048] {
        let mut wanted = www();
        wanted.key_type = key_type;
        let pem = world.issue(&issuer, &wanted).await.unwrap();
        world.verify(&pem, "www.example.com").await;
    }
    assert_eq!(world.answers.left(), 0);
}

#[tokio::test]
async fn a_third_of_the_nonces_refused_by_pebble_is_outlasted() {
    let world = World::start(30).await;
    let issuer = world.issuer();
    for n in 0..5 {
        let wanted = desired(&format!("c{n}"), &["a.example.com", "b.example.com"]);
        world.issue(&issuer, &wanted).await.unwrap();
    }
}

#[tokio::test]
async fn pebble_is_asked_for_no_second_order_when_the_url_of_the_first_was_lost() {
    let world = World::start(5).await;
    for name in ["a", "b", "c", "d"] {
        let domain = format!("{name}.example.com");
        world
            .issue(&world.issuer(), &desired(name, &[&domain]))
            .await
            .unwrap();
    }
    world
        .answers
        .hold
        .store(true, std::sync::atomic::Ordering::SeqCst);
    let wanted = www();
    let issuer = world.issuer();
    tokio::select! {
        result = world.issue(&issuer, &wanted) => panic!("{result:?}"),
        () = eventually("an answer is asked for", || world.answers.presented().len() == 5) => {}
    }
    world
        .answers
        .hold
        .store(false, std::sync::atomic::Ordering::SeqCst);

    let journal = world.inventory.order(&wanted.name).await.unwrap().unwrap();
    let url = journal.order_url.clone().unwrap();
    let mut intent = journal;
    intent.order_url = None;
    let lease = world
        .inventory
        .lease("test", Duration::from_secs(600))
        .await
        .unwrap()
        .unwrap();
    world
        .inventory
        .save_order(&wanted.name, &intent, &lease)
        .await
        .unwrap();

    // The lease of the attempt that was given up is still held; one of another name is as good here.
    let request = IssueRequest {
        desired: &wanted,
        lease: &lease,
        challenges: &Default::default(),
        progress: &world.steps,
    };
    let pem = world.issuer().issue(&request).await.unwrap();
    world.verify(&pem, "example.com").await;
    let journal = world.inventory.order(&wanted.name).await.unwrap().unwrap();
    assert_eq!(journal.order_url, Some(url));
}

#[tokio::test]
async fn a_name_that_is_not_answered_for_fails_with_pebbles_reason() {
    let world = World::start(5).await;
    world
        .answers
        .lose
        .store(true, std::sync::atomic::Ordering::SeqCst);
    let error = world.issue(&world.issuer(), &www()).await.unwrap_err();
    let IssueError::OrderInvalid { failures, .. } = &error else {
        panic!("{error}")
    };
    assert!(!failures.is_empty());
    assert!(
        error.to_string().contains("by http-01") && error.to_string().contains("404"),
        "{error}"
    );
    assert!(world.inventory.order(&www().name).await.unwrap().is_none());
}
