//! Pebble, the ACME test server of Let's Encrypt, and its DNS, as Debian packages them (`apt-get install pebble`).

#![allow(dead_code, reason = "each test binary that includes this uses a part of it")]

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio_rustls::TlsConnector;

/// What a test decides about Pebble.
pub(crate) struct Options {
    /// Where validations by http-01 go.
    pub(crate) http_port: u16,
    /// Where validations by tls-alpn-01 go.
    pub(crate) tls_port: u16,
    /// The validity of what is issued.
    pub(crate) lifetime: Duration,
    /// The share of good nonces that are refused, in percent.
    pub(crate) refused_nonces: u8,
}

/// A running Pebble with its DNS, where every name has the address 127.0.0.1. Both end when this is dropped.
pub(crate) struct Pebble {
    acme: SocketAddr,
    management: SocketAddr,
    dns_management: SocketAddr,
    files: tempfile::TempDir,
    _pebble: Child,
    _dns: Child,
}

impl Pebble {
    /// Starts both and waits until they answer.
    pub(crate) async fn start(options: Options) -> Self {
        let files = tempfile::tempdir().unwrap();
        write_https_certificate(files.path());
        let [acme, management, dns, dns_management] = free_addresses();
        let config = serde_json::json!({"pebble": {
            "listenAddress": acme,
            "managementListenAddress": management,
            "certificate": files.path().join("https.pem"),
            "privateKey": files.path().join("https.key"),
            "httpPort": options.http_port,
            "tlsPort": options.tls_port,
            "certificateValidityPeriod": options.lifetime.as_secs(),
        }});
        std::fs::write(files.path().join("pebble.json"), config.to_string()).unwrap();
        let mut dns_command = Command::new("pebble-challtestsrv");
        dns_command
            .args([
                "-dns01",
                &dns.to_string(),
                "-management",
                &dns_management.to_string(),
            ])
            .args([
                "-http01",
                "",
                "-https01",
                "",
                "-tlsalpn01",
                "",
                "-defaultIPv6",
                "",
            ]);
        let mut pebble_command = Command::new("pebble");
        pebble_command
            .arg("-config")
            .arg(files.path().join("pebble.json"))
            .args(["-dnsserver", &dns.to_string(), "-strict=false"])
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_WFE_NONCEREJECT", options.refused_nonces.to_string());
        let pebble = Self {
            _dns: spawn(dns_command),
            _pebble: spawn(pebble_command),
            acme,
            management,
            dns_management,
            files,
        };
        for address in [acme, management, dns_management] {
            answers(address).await;
        }
        pebble
    }

    /// The directory's URL.
    pub(crate) fn directory(&self) -> String {
        format!("https://{}/dir", self.acme)
    }

    /// The file with the certificate that clients trust Pebble's own HTTPS by.
    pub(crate) fn https_root_file(&self) -> PathBuf {
        self.files.path().join("https.pem")
    }

    /// The root of what is issued, in PEM; another one at every start.
    pub(crate) async fn issuing_root(&self) -> String {
        let root = CertificateDer::from_pem_file(self.https_root_file()).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(root).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tcp = TcpStream::connect(self.management).await.unwrap();
        let name = ServerName::from(self.management.ip());
        let mut tls = TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await
            .unwrap();
        tls.write_all(b"GET /roots/0 HTTP/1.1\r\nHost: pebble\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut answer = Vec::new();
        // Pebble ends the connection without a closing alert.
        let _ = tls.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// Asks the DNS server's management, for example `add-a` with `{"host": "www.example.com.", "addresses": […]}`.
    pub(crate) async fn dns(&self, command: &str, body: serde_json::Value) {
        let body = body.to_string();
        let request = format!(
            "POST /{command} HTTP/1.1\r\nHost: dns\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut tcp = TcpStream::connect(self.dns_management).await.unwrap();
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

fn spawn(mut command: Command) -> Child {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command.spawn().unwrap_or_else(|error| {
        panic!("cannot start {program}: {error}; this test needs it: apt-get install pebble")
    })
}

async fn answers(address: SocketAddr) {
    let connected = async {
        while TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, connected)
        .await
        .unwrap_or_else(|_| panic!("nobody answers at {address}"));
}

/// Pebble cannot be told to choose its ports itself. They are free now, all at once.
fn free_addresses<const N: usize>() -> [SocketAddr; N] {
    let listeners: [TcpListener; N] =
        std::array::from_fn(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap())
}

fn write_https_certificate(directory: &Path) {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    std::fs::write(
        directory.join("https.pem"),
        params.self_signed(&key).unwrap().pem(),
    )
    .unwrap();
    std::fs::write(directory.join("https.key"), key.serialize_pem()).unwrap();
}
