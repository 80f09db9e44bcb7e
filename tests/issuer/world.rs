//! An issuer, and Pebble with a web server that it validates at.

use std::sync::Arc;
use std::time::Duration;

use certgate::certificate::CredentialPem;
use certgate::clock::SystemClock;
use certgate::config::{AcmeConfig, ChallengeType, RateLimits};
use certgate::inventory::Inventory;
use certgate::issuer::{AcmeIssuer, IssueError, IssueRequest, Issuer, Limits};
use certgate_store::MemoryStore;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::fixture::{Answers, Steps};
use crate::support::pebble::{Pebble, PebbleOptions};

pub(crate) struct World {
    pub(crate) pebble: Pebble,
    pub(crate) config: AcmeConfig,
    pub(crate) inventory: Inventory,
    pub(crate) answers: Arc<Answers>,
    pub(crate) steps: Steps,
}

impl World {
    pub(crate) async fn start(refused_nonces: u8) -> Self {
        Self::with(PebbleOptions {
            nonce_rejections: refused_nonces,
            ..PebbleOptions::default()
        })
        .await
    }

    pub(crate) async fn with(options: PebbleOptions) -> Self {
        let (answers, listener) = (
            Arc::<Answers>::default(),
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
        );
        let pebble = Pebble::start(&PebbleOptions {
            http_port: listener.local_addr().unwrap().port(),
            certificate_validity: Some(Duration::from_secs(3600)),
            ..options
        });
        tokio::spawn(serve(listener, answers.clone()));
        let config = AcmeConfig {
            directory: pebble.directory(),
            contact: vec!["mailto:ops@example.com".to_owned()],
            challenges: vec![ChallengeType::Http01],
            root_ca_file: Some(pebble.https_ca_file()),
            profile: None,
            preferred_chain: None,
            external_account: None,
            rate_limits: RateLimits::None,
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

    pub(crate) fn issuer(&self) -> AcmeIssuer {
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

    pub(crate) async fn issue(
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
            replaces: None,
            challenges: &Default::default(),
            progress: &self.steps,
        };
        let result = issuer.issue(&request).await;
        self.inventory.release_lease(lease).await.unwrap();
        result
    }

    pub(crate) async fn verify(&self, pem: &CredentialPem, name: &'static str) {
        self.verify_by(&self.pebble.issuing_root(), pem, name);
    }

    /// That clients which trust `root` take it.
    pub(crate) fn verify_by(&self, root: &str, pem: &CredentialPem, name: &'static str) {
        let mut roots = rustls::RootCertStore::empty();
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
