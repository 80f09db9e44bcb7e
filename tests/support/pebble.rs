//! Pebble: a real ACME server (RFC 8555) on loopback, with HTTPS under a CA made for the occasion.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::json;
use tempfile::TempDir;

use super::mock_dns::MockDns;
use super::process::{Process, free_address, two_free_addresses};

/// How the server behaves.
#[derive(Clone, Debug)]
pub(crate) struct PebbleOptions {
    /// Whether authorizations are valid without any look at the challenge.
    pub(crate) always_valid: bool,
    /// How many roots there are beside the first; each has a chain of its own for every certificate.
    pub(crate) alternate_roots: u8,
    /// How often, of 100 new orders, a valid authorization is used again.
    pub(crate) authorization_reuse: u8,
    /// Names that are never issued.
    pub(crate) blocked_domains: Vec<String>,
    /// How long certificates are valid; absent: five years.
    pub(crate) certificate_validity: Option<Duration>,
    /// The name server that it asks, where that is not [`Pebble::dns`].
    pub(crate) dns_server: Option<SocketAddr>,
    /// The name and the base64url HMAC key of a customer; where there is one, every account must be bound.
    pub(crate) external_account: Option<(String, String)>,
    /// Where http-01 is asked.
    pub(crate) http_port: u16,
    /// How many of 100 good nonces are refused with `badNonce`.
    pub(crate) nonce_rejections: u8,
    /// Whether what future versions of the protocol forbid is refused.
    pub(crate) strict: bool,
    /// Where tls-alpn-01 is asked.
    pub(crate) tls_port: u16,
}

impl Default for PebbleOptions {
    fn default() -> Self {
        Self {
            always_valid: false,
            alternate_roots: 0,
            authorization_reuse: 0,
            blocked_domains: Vec::new(),
            certificate_validity: None,
            dns_server: None,
            external_account: None,
            http_port: free_address().port(),
            nonce_rejections: 5,
            strict: false,
            tls_port: free_address().port(),
        }
    }
}

/// A running ACME server, and the DNS it believes in: every name is at 127.0.0.1 unless a test says otherwise.
pub(crate) struct Pebble {
    /// The DNS that it asks.
    pub(crate) dns: MockDns,
    process: Process,
    address: SocketAddr,
    management: SocketAddr,
    folder: TempDir,
}

impl Pebble {
    /// Starts one and waits until it serves its directory.
    pub(crate) fn start(options: &PebbleOptions) -> Self {
        let dns = MockDns::start(Some(Ipv4Addr::LOCALHOST));
        // The ports are free when chosen and may be taken a moment later, so a failed start is tried again.
        for _ in 0..5 {
            let folder = tempfile::tempdir().unwrap();
            let (address, management) = two_free_addresses();
            write_configuration(options, address, management, folder.path());
            let mut process = Process::start(
                Command::new("pebble")
                    .arg("-config")
                    .arg(folder.path().join("pebble.json"))
                    .args([
                        "-dnsserver",
                        &options.dns_server.unwrap_or(dns.address()).to_string(),
                    ])
                    .arg(format!("-strict={}", options.strict))
                    .env("PEBBLE_ALTERNATE_ROOTS", options.alternate_roots.to_string())
                    .env("PEBBLE_AUTHZREUSE", options.authorization_reuse.to_string())
                    .env(
                        "PEBBLE_VA_ALWAYS_VALID",
                        if options.always_valid { "1" } else { "0" },
                    )
                    .env("PEBBLE_VA_NOSLEEP", "1")
                    .env("PEBBLE_WFE_NONCEREJECT", options.nonce_rejections.to_string()),
                folder.path().join("log"),
            );
            let root = folder.path().join("https-ca.pem");
            let serves = || get(address, "/dir", &root).is_ok() && get(management, "/roots/0", &root).is_ok();
            if process.is_ready(Duration::from_secs(15), serves) {
                return Self {
                    dns,
                    process,
                    address,
                    management,
                    folder,
                };
            }
        }
        panic!("pebble was not ready in five attempts");
    }

    /// The directory's URL (RFC 8555 §7.1.1).
    pub(crate) fn directory(&self) -> String {
        format!("https://{}/dir", self.address)
    }

    /// The CA of its HTTPS: what `root_ca_file` should name.
    pub(crate) fn https_ca_file(&self) -> PathBuf {
        self.folder.path().join("https-ca.pem")
    }

    /// The root of the certificates it issues, as PEM; a new one at each start.
    pub(crate) fn issuing_root(&self) -> String {
        self.root(0)
    }

    /// The root of the `number`th chain, as PEM.
    pub(crate) fn root(&self, number: u8) -> String {
        get(
            self.management,
            &format!("/roots/{number}"),
            &self.https_ca_file(),
        )
        .unwrap()
    }

    /// What it says of the certificate with this serial number, as JSON.
    pub(crate) fn certificate_status(&self, serial: &str) -> serde_json::Value {
        let path = format!("/cert-status-by-serial/{serial}");
        let text = get(self.management, &path, &self.https_ca_file()).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// How many orders were placed so far (RFC 8555 §7.4).
    pub(crate) fn orders(&self) -> usize {
        self.log().matches("Added order ").count()
    }

    /// How many orders came to nothing because a challenge did (RFC 8555 §7.1.6), where each has one name.
    pub(crate) fn invalid_orders(&self) -> usize {
        self.log().matches("set INVALID by completed challenge").count()
    }

    /// What it wrote so far.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// Takes it off the air, for good.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }
}

fn write_configuration(options: &PebbleOptions, address: SocketAddr, management: SocketAddr, folder: &Path) {
    write_https_certificate(folder);
    let mut configuration = json!({
        "listenAddress": address,
        "managementListenAddress": management,
        "certificate": folder.join("https.pem"),
        "privateKey": folder.join("https.key"),
        "httpPort": options.http_port,
        "tlsPort": options.tls_port,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": options.external_account.is_some(),
        "domainBlocklist": options.blocked_domains,
    });
    if let Some((key_id, key)) = &options.external_account {
        configuration["externalAccountMACKeys"] = json!({ key_id: key });
    }
    if let Some(validity) = options.certificate_validity {
        configuration["certificateValidityPeriod"] = validity.as_secs().into();
    }
    let file = json!({ "pebble": configuration });
    fs::write(folder.join("pebble.json"), file.to_string()).unwrap();
}

fn write_https_certificate(folder: &Path) {
    let mut root = CertificateParams::default();
    root.distinguished_name
        .push(DnType::CommonName, "Pebble HTTPS root");
    root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let root = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();

    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let mut leaf = CertificateParams::new(names).unwrap();
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().unwrap();
    let leaf = leaf.signed_by(&key, &root).unwrap();

    fs::write(folder.join("https-ca.pem"), root.pem()).unwrap();
    fs::write(folder.join("https.pem"), leaf.pem()).unwrap();
    fs::write(folder.join("https.key"), key.serialize_pem()).unwrap();
}

/// The body at `path`, over HTTPS that is verified against `root`.
fn get(address: SocketAddr, path: &str, root: &Path) -> Result<String, Box<dyn std::error::Error>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(root)?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let configuration = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::from(address.ip());
    let connection = ClientConnection::new(Arc::new(configuration), name)?;
    let socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut stream = StreamOwned::new(connection, socket);
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no end of the header")?;
    if !head.lines().next().is_some_and(|line| line.contains(" 200 ")) {
        return Err(head.to_owned().into());
    }
    Ok(body.to_owned())
}
