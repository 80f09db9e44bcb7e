//! Early data (RFC 8446 §4.2.10), which the gateway never accepts: openssl sends it with a ticket of another server, as
//! clients do whose server was replaced by the gateway.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use certgate::certificate::{CaBundle, CaBundleSources};
use certgate::config::{Authentication, ListenerConfig};
use certgate::listener::{ListenerSettings, Service};
use certgate::metrics::Outcome;
use certgate::policy;
use certgate::tls::ServerTls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use crate::harness::{NAME, Stand, backend, server_group, until, within};

const REJECTED: &str = "Early data was rejected";
/// By its group, for which openssl guesses a wrong one first.
const RETRY: [&str; 2] = ["-groups", "P-521:X25519"];

#[tokio::test]
async fn early_data_is_passed_over_and_the_request_after_it_is_answered() {
    let client = Client::new().await;
    let stand = Stand::new(&[answering().await]);
    let fragmented = ["-max_send_frag", "512"];
    let cases: [(usize, &[&str]); 10] = [
        (1_500, &[]),
        (6_000, &[]),
        (12_000, &[]),
        (16_000, &[]),
        (1_500, &fragmented),
        (6_000, &fragmented),
        (12_000, &fragmented),
        (6_000, &RETRY),
        (16_000, &RETRY),
        (12_000, &[RETRY, fragmented].concat()),
    ];
    for (length, arguments) in cases {
        let said = client.ask(&stand, length, arguments).await;
        for expected in [REJECTED, "New, TLSv1.3", ANSWER] {
            assert!(said.contains(expected), "{length}, {arguments:?}: {said}");
        }
    }
    stand.ended(Outcome::Closed, 10).await;
}

#[tokio::test]
async fn early_data_without_end_ends_the_handshake_with_an_alert() {
    const BAD_RECORD_MAC: &str = "alert number 20";
    const UNEXPECTED_MESSAGE: &str = "alert number 10";
    let client = Client::new().await;
    let stand = Stand::new(&[answering().await]);
    let cases: [(&[&str], &str); 3] = [
        (&[], BAD_RECORD_MAC),
        (&["-max_send_frag", "1024"], BAD_RECORD_MAC),
        (&RETRY, UNEXPECTED_MESSAGE),
    ];
    for (count, (arguments, alert)) in (1..).zip(cases) {
        let said = client.ask(&stand, 100_000, arguments).await;
        assert!(said.contains(alert), "{arguments:?}: {said}");
        assert!(!said.contains(ANSWER), "{arguments:?}: {said}");
        stand.ended(Outcome::HandshakeFailed, count).await;
    }
}

#[tokio::test]
async fn a_client_certificate_in_several_records_is_put_together_also_after_early_data() {
    let client = Client::new().await;
    let stand = Stand::new(&[]);
    let ca = CertifiedIssuer::self_signed(authority(), KeyPair::generate().unwrap()).unwrap();
    let asking = mutual(&stand, &ca.pem(), answering().await);
    stand.running.replace(asking);

    // Three records of the size below, and more.
    let names: Vec<_> = (0..40)
        .map(|number| format!("client-number-{number:02}.partner.example"))
        .collect();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(names)
        .unwrap()
        .signed_by(&key, &ca)
        .unwrap();
    let (certificate_file, key_file) = (client.path("client.pem"), client.path("client.key"));
    fs::write(&certificate_file, certificate.pem()).unwrap();
    fs::write(&key_file, key.serialize_pem()).unwrap();
    let identity = [
        "-max_send_frag",
        "512",
        "-cert",
        certificate_file.to_str().unwrap(),
        "-key",
        key_file.to_str().unwrap(),
    ];
    for length in [1_500, 12_000] {
        let said = client.ask(&stand, length, &identity).await;
        for expected in [REJECTED, ANSWER] {
            assert!(said.contains(expected), "{length}: {said}");
        }
    }
}

/// openssl with a ticket, got for [`NAME`] from a server of openssl that takes early data.
struct Client(TempDir);

impl Client {
    async fn new() -> Self {
        let client = Self(TempDir::new().unwrap());
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
        let (certificate, key) = (client.path("server.pem"), client.path("server.key"));
        fs::write(&certificate, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();

        let mut server = openssl()
            .args(["s_server", "-accept", "127.0.0.1:0", "-tls1_3", "-early_data"])
            .args(["-max_early_data", "200000", "-cert"])
            .arg(&certificate)
            .arg("-key")
            .arg(&key)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
        let address = loop {
            let line = within(lines.next_line()).await.unwrap().expect("an address");
            if let Some(address) = line.strip_prefix("ACCEPT ") {
                break address.to_owned();
            }
        };
        let ticket = client.ticket();
        let mut getting = openssl()
            .args(["s_client", "-tls1_3", "-servername", NAME, "-connect", &address])
            .arg("-sess_out")
            .arg(&ticket)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        until("a ticket", || {
            fs::read_to_string(&ticket)
                .is_ok_and(|pem| pem.trim_end().ends_with("-----END SSL SESSION PARAMETERS-----"))
        })
        .await;
        // Its end of input; it may just be writing the second ticket in the place of the first.
        drop(getting.stdin.take());
        within(getting.wait()).await.unwrap();
        client
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::join(self.0.path(), name)
    }

    fn ticket(&self) -> PathBuf {
        self.path("ticket.pem")
    }

    /// Sends `length` bytes of early data and then [`QUESTION`]; all that openssl says until the connection ends.
    async fn ask(&self, stand: &Stand, length: usize, arguments: &[&str]) -> String {
        let early = self.path("early");
        fs::write(&early, vec![b'e'; length]).unwrap();
        let mut asking = openssl()
            .args(["s_client", "-tls1_3", "-ign_eof", "-servername", NAME, "-connect"])
            .arg(stand.address().to_string())
            .arg("-sess_in")
            .arg(self.ticket())
            .arg("-early_data")
            .arg(&early)
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = asking.stdin.take().unwrap();
        // Where the handshake fails, nobody reads it.
        let _ = input.write_all(QUESTION).await;
        drop(input);
        let output = within(asking.wait_with_output()).await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        text(&output.stdout) + &text(&output.stderr)
    }
}

fn openssl() -> Command {
    let mut openssl = Command::new("openssl");
    openssl
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    openssl
}

/// A backend that answers [`QUESTION`] and nothing else.
async fn answering() -> std::net::SocketAddr {
    backend(|mut stream| async move {
        let mut question = [0; QUESTION.len()];
        if stream.read_exact(&mut question).await.is_ok() && question == QUESTION {
            let _ = stream.write_all(ANSWER.as_bytes()).await;
        }
        let _ = stream.shutdown().await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await
}

fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// The settings of `stand` with clients that need a certificate of this CA.
fn mutual(stand: &Stand, ca_pem: &str, server: std::net::SocketAddr) -> ListenerSettings {
    let config = ListenerConfig {
        authentication: Authentication::Mutual {
            client_ca: "partners".to_owned(),
        },
        ..ListenerConfig::clone(&stand.running.settings().config)
    };
    let sources = CaBundleSources {
        certificates_pem: Some(ca_pem),
        ..CaBundleSources::default()
    };
    let bundle = CaBundle::load("partners", &sources).unwrap();
    let tls = ServerTls::build(
        &config,
        policy::built_in(&config.policy).unwrap(),
        Some(&bundle),
        stand.published.clone(),
        stand.challenges.clone(),
    );
    ListenerSettings {
        config: Arc::new(config),
        service: Service::Tls {
            tls: Arc::new(tls.unwrap()),
            server_group: server_group([(server, 1)], &stand.metrics),
        },
    }
}

const ANSWER: &str = "forty-two, that is";
const QUESTION: &[u8] = b"which one?\n";
