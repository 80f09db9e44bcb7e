//! Challenges, redirects, and what is written down.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use certgate::config::Protocol;
use certgate::http::TokenTable;
use certgate::listener::{ListenerSettings, RunningListener, Service};
use certgate::metrics::Outcome;
use certgate::name::DnsName;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use crate::harness::{NAME, Stand, echo, handed_over, listener_config, server_name, until, within};

#[tokio::test]
async fn a_challenge_is_answered_and_never_forwarded() {
    let (address, mut connections) = handed_over().await;
    let stand = Stand::new(&[address]);
    let name = DnsName::parse(NAME).unwrap();
    stand.challenges.insert(&name, &[7; 32]).unwrap();
    let mut config = stand.client_config();
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    // The challenge certificate is nobody's but the CA's to judge.
    config
        .dangerous()
        .set_certificate_verifier(Arc::new(AnyCertificate));
    let connector = TlsConnector::from(Arc::new(config));
    let mut client = within(connector.connect(server_name(), stand.tcp().await))
        .await
        .unwrap();
    assert_eq!(client.get_ref().1.alpn_protocol(), Some(&b"acme-tls/1"[..]));
    let mut rest = Vec::new();
    within(client.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, b"");
    drop(client);
    stand.ended(Outcome::Challenge, 1).await;

    stand.challenges.remove(&name);
    assert!(
        within(connector.connect(server_name(), stand.tcp().await))
            .await
            .is_err()
    );
    stand.ended(Outcome::Refused, 1).await;
    assert!(connections.try_recv().is_err(), "a challenge reached the backend");
}

#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

#[tokio::test]
async fn an_http_listener_answers_challenges_and_redirects_the_rest() {
    let stand = Stand::new(&[echo().await]);
    let plain = serve_plain(&stand, Duration::from_secs(20));
    let answer = async |request: &str| {
        let mut tcp = TcpStream::connect(plain.local_addr()).await.unwrap();
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        within(tcp.read_to_string(&mut answer)).await.unwrap();
        answer
    };
    let host = "Host: www.example.com:80\r\nConnection: close\r\n\r\n";
    let found = answer(&format!("GET /.well-known/acme-challenge/tok HTTP/1.1\r\n{host}")).await;
    assert!(
        found.starts_with("HTTP/1.1 200 OK\r\n") && found.ends_with("\r\n\r\ntok.thumbprint"),
        "{found}"
    );
    let moved = answer(&format!("GET /a?b HTTP/1.1\r\n{host}")).await;
    assert!(moved.starts_with("HTTP/1.1 308 "), "{moved}");
    assert!(
        moved.contains("location: https://www.example.com/a?b\r\n"),
        "{moved}"
    );
    let broken = answer("no request at all\r\n\r\n").await;
    assert!(broken.starts_with("HTTP/1.1 400 "), "{broken}");
    let counted = stand.metrics.listener("plain");
    until("both are counted", || counted.outcomes(Outcome::Closed) == 2).await;
    until("the broken one too", || {
        counted.outcomes(Outcome::ClientProtocolError) == 1
    })
    .await;
}

#[tokio::test]
async fn who_neither_asks_nor_reads_does_not_keep_a_plain_connection() {
    let stand = Stand::new(&[echo().await]);
    let plain = serve_plain(&stand, Duration::from_millis(300));
    let silent = TcpStream::connect(plain.local_addr()).await.unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut deaf = socket.connect(plain.local_addr()).await.unwrap();
    let request = format!("GET /{} HTTP/1.1\r\nHost: a.example\r\n\r\n", "a".repeat(8000));
    // Until the gateway has had enough, which resets it.
    let asking = async { while deaf.write_all(request.as_bytes()).await.is_ok() {} };
    within(asking).await;
    until("both are closed", || plain.connections() == 0).await;
    drop(silent);
}

#[tokio::test]
async fn a_plain_client_that_says_it_has_no_more_to_ask_is_answered() {
    let stand = Stand::new(&[echo().await]);
    let plain = serve_plain(&stand, Duration::from_secs(20));
    for _ in 0..20 {
        let mut client = TcpStream::connect(plain.local_addr()).await.unwrap();
        let request = b"GET /.well-known/acme-challenge/tok HTTP/1.1\r\nHost: a.example\r\n\r\n";
        client.write_all(request).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = String::new();
        within(client.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.ends_with("\r\n\r\ntok.thumbprint"), "{answer}");
    }
}

/// An `http` listener on which the challenge `tok` is pending.
fn serve_plain(stand: &Stand, handshake_timeout: Duration) -> RunningListener {
    let tokens = Arc::new(TokenTable::new());
    tokens.insert("tok", "tok.thumbprint");
    let mut config = listener_config("plain");
    config.protocol = Protocol::Http;
    config.handshake_timeout = handshake_timeout;
    let bound = stand.workers.bind(&config).unwrap();
    let settings = ListenerSettings {
        config: Arc::new(config),
        service: Service::Http {
            tokens,
            crls: Arc::default(),
        },
    };
    stand.workers.serve(bound, settings, &stand.metrics)
}

#[tokio::test]
async fn a_closed_connection_has_its_line() {
    let log = log();
    let stand = Stand::with(&[echo().await], |config| config.name = "written-down".into());
    stand.echo_works().await;
    stand.ended(Outcome::Closed, 1).await;
    let line = || {
        log.lines()
            .into_iter()
            .find(|line| line["listener"] == "written-down")
    };
    until("the line is written", || line().is_some()).await;
    let line = line().unwrap();
    assert!(
        line["source"].as_str().unwrap().starts_with("127.0.0.1:"),
        "{line}"
    );
    assert!(
        line["backend"].as_str().unwrap().starts_with("127.0.0.1:"),
        "{line}"
    );
    assert!(line["seconds"].as_f64().unwrap() > 0.0, "{line}");
    for (field, value) in [
        ("server_name", serde_json::Value::from(NAME)),
        ("version", "TLSv1_3".into()),
        ("group", "X25519MLKEM768".into()),
        ("resumed", false.into()),
        ("received", 14.into()),
        ("sent", 14.into()),
        ("outcome", "closed".into()),
        ("side", "client".into()),
        ("level", "INFO".into()),
    ] {
        assert_eq!(line[field], value, "{field} of {line}");
    }
}

/// What this process writes to its log; one for all tests that share it.
fn log() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
        log
    })
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn lines(&self) -> Vec<serde_json::Value> {
        let bytes = self.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Write::write(&mut *self.0.lock().unwrap(), bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
