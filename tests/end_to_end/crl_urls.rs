//! CRLs from URLs: got in time, kept over restarts, and no client is let in on the word of one that is missing.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use certgate::clock::{Clock, SystemClock};
use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};
use serde_json::json;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::client_authority::ClientAuthority;
use crate::gateway::PATIENCE;
use crate::peer::TlsClient;
use crate::runtime::Stage;

const ALICE: u64 = 11;
const BOB: u64 = 12;

#[tokio::test]
async fn a_newer_crl_at_its_url_refuses_whom_it_names_and_an_older_one_takes_nothing_back() {
    let (stage, pki, web) = scene().await;
    web.serves(pki.crl(1, &[]));
    pki.is_required(&stage, &web).await.expect("changed");
    let (alice, bob) = (pki.client(&stage, ALICE).await, pki.client(&stage, BOB).await);
    assert!(is_let_in(&stage, &alice).await && is_let_in(&stage, &bob).await);

    web.serves(pki.crl(2, &[BOB]));
    comes_to(&stage, &bob, false).await;
    assert!(is_let_in(&stage, &alice).await);
    let shown = stage.done(&["ca-bundle", "show", "urls"]).await;
    assert!(
        shown.contains("crl authority") && shown.contains("REVOKED"),
        "{shown}"
    );

    // As from a cache that is behind.
    web.serves(pki.crl(1, &[]));
    web.is_asked_again().await;
    assert!(!is_let_in(&stage, &bob).await);
    web.serves(b"<html>gone</html>".to_vec());
    warns(&stage, "no CRL from").await;
    assert!(!is_let_in(&stage, &bob).await && is_let_in(&stage, &alice).await);
}

#[tokio::test]
async fn a_change_to_a_url_without_a_crl_is_refused_and_changes_nothing() {
    let (stage, pki, web) = scene().await;
    for (content, says) in [
        (None, "404"),
        (Some(b"nonsense".to_vec()), "holds no CRL"),
        (
            Some(ClientAuthority::new("crl authority").crl(1, &[])),
            "signature is not by",
        ),
        (
            Some(ClientAuthority::new("another").crl(1, &[])),
            "not in the bundle",
        ),
    ] {
        *web.content.lock().expect("unpoisoned") = content;
        let refused = pki.is_required(&stage, &web).await.expect_err("refused");
        assert!(refused.contains(says) && refused.contains(&web.url), "{refused}");
    }
    assert_eq!(stage.seen().await, "one-way");
}

#[tokio::test]
async fn a_crl_that_was_had_counts_after_a_restart_and_one_that_never_was_refuses_everybody() {
    let (mut stage, pki, web) = scene().await;
    web.serves(pki.crl(1, &[BOB]));
    pki.is_required(&stage, &web).await.expect("changed");
    let (alice, bob) = (pki.client(&stage, ALICE).await, pki.client(&stage, BOB).await);
    *web.content.lock().expect("unpoisoned") = None;
    stage.killed_and_started().await;
    assert!(is_let_in(&stage, &alice).await && !is_let_in(&stage, &bob).await);
    warns(&stage, "404").await;

    std::fs::remove_dir_all(stage.home.path("store/fetched-crls")).expect("it was there");
    stage.killed_and_started().await;
    assert!(!is_let_in(&stage, &alice).await);
    warns(&stage, "could not be had yet").await;
    web.serves(pki.crl(1, &[BOB]));
    comes_to(&stage, &alice, true).await;
    assert!(!is_let_in(&stage, &bob).await);
}

#[tokio::test]
async fn what_one_ca_has_revoked_stays_so_when_its_crl_is_older_or_missing_and_goes_with_the_ca() {
    let (stage, pki, web) = scene().await;
    let other = ClientAuthority::new("other authority");
    let file = stage
        .home
        .write("other.pem", &other.0.pem())
        .display()
        .to_string();
    stage.done(&["ca-bundle", "add", "urls", &file]).await;
    let both = |one: Vec<u8>, another: Vec<u8>| [pem(&one), pem(&another)].concat().into_bytes();
    web.serves(both(pki.crl(4, &[BOB]), other.crl(20, &[])));
    pki.is_required(&stage, &web).await.expect("changed");
    let (bob, alice) = (pki.client(&stage, BOB).await, other.client(&stage, ALICE).await);
    assert!(!is_let_in(&stage, &bob).await && is_let_in(&stage, &alice).await);

    for (older, number) in [(Some(pki.crl(3, &[])), 21), (None, 22)] {
        let newer = other.crl(number, &[ALICE]);
        web.serves(older.map_or_else(|| newer.clone(), |older| both(older, newer.clone())));
        web.is_asked_again().await;
        comes_to(&stage, &alice, false).await;
        assert!(!is_let_in(&stage, &bob).await, "with number {number}");
    }

    // The CA leaves the bundle: what was had of it stands in nobody's way.
    let keys = json!({ "certificates_pem": other.0.pem() });
    let id = certgate::config::ResourceId::new(certgate::config::ResourceKind::CaBundle, "urls");
    let client = stage.gateway.client();
    client
        .patch_resource(&id, &crate::runtime::table(keys), None)
        .await
        .expect("the CA is gone");
    let contents = client.ca_bundle_contents("urls").await.expect("contents");
    assert_eq!((contents.certificates.len(), contents.crls.len()), (1, 1));
}

fn pem(der: &[u8]) -> String {
    certgate::certificate::crl_to_pem(der)
}

async fn scene() -> (Stage, ClientAuthority, Web) {
    (
        Stage::new("").await,
        ClientAuthority::new("crl authority"),
        Web::start().await,
    )
}

async fn is_let_in(stage: &Stage, client: &TlsClient) -> bool {
    client.ask(stage.listen, "localhost").await.is_ok()
}

async fn comes_to(stage: &Stage, client: &TlsClient, let_in: bool) {
    let begun = Instant::now();
    while is_let_in(stage, client).await != let_in {
        assert!(begun.elapsed() < PATIENCE, "never let in: {let_in}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn warns(stage: &Stage, of: &str) {
    let is_there =
        |status: &certgate::admin::api::Status| status.warnings.iter().any(|line| line.contains(of));
    stage.gateway.status_until("warns", is_there).await;
}

impl ClientAuthority {
    fn crl(&self, number: u64, revoked: &[u64]) -> Vec<u8> {
        let now = SystemClock.now().unix_seconds();
        let at = |seconds| OffsetDateTime::from_unix_timestamp(seconds).expect("a moment");
        let revoked = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: at(now - 60),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: at(now - 60),
            next_update: at(now + 86_400),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.0).expect("signed").der().to_vec()
    }

    async fn client(&self, stage: &Stage, serial: u64) -> TlsClient {
        let shown = self.sign(|params| params.serial_number = Some(SerialNumber::from(serial)));
        let root = stage
            .gateway
            .client()
            .local_ca_root("internal")
            .await
            .expect("a root");
        TlsClient::presenting(&root, Some(shown))
    }

    /// Has the listener demand certificates of this CA, whose CRL is at `web`.
    async fn is_required(&self, stage: &Stage, web: &Web) -> Result<(), String> {
        let file = stage.home.write("authority.pem", &self.pem());
        let file = file.display().to_string();
        let add = ["ca-bundle", "add", "urls", &file, "--crl-url", &web.url];
        let (code, _, errors) = stage.command(&add).await;
        if code != 0 {
            return Err(errors);
        }
        let often = json!({ "crl_refresh": "10s" });
        let id = certgate::config::ResourceId::new(certgate::config::ResourceKind::CaBundle, "urls");
        let client = stage.gateway.client();
        let patched = client
            .patch_resource(&id, &crate::runtime::table(often), None)
            .await;
        patched.map_err(|error| error.to_string())?;
        stage
            .patch(json!({ "authentication": "mutual", "client_ca": "urls" }))
            .await
            .map(drop)
    }
}

/// A web server with one file, or none.
pub(crate) struct Web {
    pub(crate) url: String,
    content: Content,
    asked: Arc<Mutex<usize>>,
}

type Content = Arc<Mutex<Option<Vec<u8>>>>;

impl Web {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address: SocketAddr = listener.local_addr().expect("bound");
        let (content, asked) = (Content::default(), Arc::<Mutex<usize>>::default());
        let web = Self {
            url: format!("http://{address}/authority.crl"),
            content: content.clone(),
            asked: asked.clone(),
        };
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 2048]).await;
                *asked.lock().expect("unpoisoned") += 1;
                let content = content.lock().expect("unpoisoned").clone();
                let status = if content.is_some() {
                    "200 OK"
                } else {
                    "404 Not Found"
                };
                let body = content.unwrap_or_default();
                let head = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
            }
        });
        web
    }

    pub(crate) fn serves(&self, content: Vec<u8>) {
        *self.content.lock().expect("unpoisoned") = Some(content);
    }

    /// Twice: the first request may have been on its way already.
    async fn is_asked_again(&self) {
        let asked = || *self.asked.lock().expect("unpoisoned");
        let (before, begun) = (asked(), Instant::now());
        while asked() < before + 2 {
            assert!(begun.elapsed() < PATIENCE, "asked no more");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
