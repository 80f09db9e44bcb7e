//! A fresh TLS connection as a client makes it: what the server shows, whether that can be verified, and what it answers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_platform_verifier::Verifier;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Failure;
use crate::certificate::{CredentialPem, Leaf};

/// Makes connections that have nothing in common: no session is resumed, for a resumed one would show no certificate.
pub(super) struct Prober {
    trust: Arc<Trust>,
    shown: Option<Arc<CertifiedKey>>,
    alpn: Vec<Vec<u8>>,
}

/// What one connection has shown.
pub(super) struct Seen {
    /// The server's certificate; absent where it did not come to that.
    pub(super) leaf: Option<Leaf>,
    /// Whose root it was verified by, or why it cannot be; absent where there is none.
    pub(super) verdict: Option<Result<String, String>>,
    /// As in `TLSv1_3`.
    pub(super) version: Option<String>,
    pub(super) cipher_suite: Option<String>,
    pub(super) group: Option<String>,
    pub(super) alpn: Option<String>,
    /// Whether the client was asked for a certificate.
    pub(super) is_asked: bool,
    /// What came back for an HTTP request, where one was sent.
    pub(super) answer: Option<Answer>,
    /// Why the connection failed, where it did.
    pub(super) error: Option<String>,
    pub(super) connected_after: Option<Duration>,
    pub(super) shaken_hands_after: Option<Duration>,
    pub(super) ended_after: Duration,
}

/// An answer, as far as it can be read.
pub(super) struct Answer {
    /// The status of HTTP and its reason; the beginning of whatever else it is.
    pub(super) status: String,
    /// The value of `Server`.
    pub(super) server: Option<String>,
    /// The first line of the body.
    pub(super) body: Option<String>,
}

impl Prober {
    /// Trusts `roots`, each with the name of its CA, and the CAs of this system if it is told to.
    pub(super) fn new(roots: &[(String, String)], and_system: bool) -> Result<Self, Failure> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut own = Vec::new();
        for (name, pem) in roots {
            let mut store = RootCertStore::empty();
            store.add(CertificateDer::from_pem_slice(pem.as_bytes())?)?;
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone());
            own.push((name.clone(), verifier.build()?));
        }
        let system = match and_system {
            true => Verifier::new(provider.clone()).ok(),
            false => None,
        };
        Ok(Self {
            trust: Arc::new(Trust {
                own,
                system,
                provider,
            }),
            shown: None,
            alpn: Vec::new(),
        })
    }

    /// Offers these application protocols.
    pub(super) fn offering(self, protocols: &[String]) -> Self {
        let alpn = protocols.iter().map(|protocol| protocol.clone().into_bytes());
        Self {
            alpn: alpn.collect(),
            ..self
        }
    }

    /// Shows this certificate to servers that ask for one.
    pub(super) fn presenting(self, pem: &CredentialPem) -> Result<Self, Failure> {
        let (chain, key) = (pem.chain().to_vec(), pem.key().clone_key());
        let shown = CertifiedKey::from_der(chain, key, &self.trust.provider)?;
        Ok(Self {
            shown: Some(Arc::new(shown)),
            ..self
        })
    }

    /// Makes a connection to `address`, as `host:port`, for the server `name`.
    pub(super) async fn connection(&self, address: &str, name: &ServerName<'static>) -> Seen {
        let observer = Arc::new(Observer {
            trust: self.trust.clone(),
            shown: self.shown.clone(),
            found: Mutex::new(None),
            is_asked: AtomicBool::new(false),
        });
        let mut seen = Seen::nothing();
        let begun = Instant::now();
        let attempt = self.attempt(address, name, &observer, &mut seen, begun);
        match timeout(PATIENCE, attempt).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => seen.error = Some(crate::cause::with_causes(&*error)),
            Err(_) => seen.error = Some(format!("nothing came for {} s", PATIENCE.as_secs())),
        }
        seen.ended_after = begun.elapsed();
        seen.is_asked = observer.is_asked.load(Ordering::Relaxed);
        let found = observer
            .found
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        (seen.leaf, seen.verdict) = match found {
            Some((leaf, verdict)) => (leaf, Some(verdict)),
            None => (None, None),
        };
        seen
    }

    async fn attempt(
        &self,
        address: &str,
        name: &ServerName<'static>,
        observer: &Arc<Observer>,
        seen: &mut Seen,
        begun: Instant,
    ) -> Result<(), Failure> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        seen.connected_after = Some(begun.elapsed());
        let mut config = ClientConfig::builder_with_provider(self.trust.provider.clone())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(observer.clone())
            .with_client_cert_resolver(observer.clone());
        config.resumption = Resumption::disabled();
        config.alpn_protocols.clone_from(&self.alpn);
        let connector = TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect(name.clone(), stream).await?;
        seen.shaken_hands_after = Some(begun.elapsed());
        let session = stream.get_ref().1;
        seen.version = session.protocol_version().map(|version| format!("{version:?}"));
        let suite = session.negotiated_cipher_suite();
        seen.cipher_suite = suite.map(|suite| format!("{:?}", suite.suite()));
        let group = session.negotiated_key_exchange_group();
        seen.group = group.map(|group| format!("{:?}", group.name()));
        let alpn = session.alpn_protocol().map(String::from_utf8_lossy);
        seen.alpn = alpn.map(std::borrow::Cow::into_owned);
        match seen.alpn.as_deref() {
            None | Some("http/1.1" | "http/1.0") => {
                let host = name.to_str();
                let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
                stream.write_all(request.as_bytes()).await?;
                let text = read(&mut stream).await?;
                // A server that has gone needs no word of it.
                let _ = stream.shutdown().await;
                if text.is_empty() {
                    return Err("the connection was closed without an answer".into());
                }
                seen.answer = Some(Answer::read(&String::from_utf8_lossy(&text)));
            }
            // Nothing is said in it; but who is refused after the handshake is told so now (RFC 8446 §4.4.2.4).
            Some(_) => {
                stream.shutdown().await?;
                read(&mut stream).await?;
            }
        }
        Ok(())
    }
}

impl Seen {
    fn nothing() -> Self {
        Self {
            leaf: None,
            verdict: None,
            version: None,
            cipher_suite: None,
            group: None,
            alpn: None,
            is_asked: false,
            answer: None,
            error: None,
            connected_after: None,
            shaken_hands_after: None,
            ended_after: Duration::ZERO,
        }
    }

    /// Whether it came to its end with a certificate that could be verified.
    pub(super) fn is_good(&self) -> bool {
        self.error.is_none() && matches!(self.verdict, Some(Ok(_)))
    }
}

impl Answer {
    fn read(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let first = lines.next().unwrap_or_default();
        let status = match first.split_once(' ') {
            Some((version, status)) if version.starts_with("HTTP/") => status,
            _ => first,
        };
        let headers = lines.filter_map(|line| line.split_once(':'));
        let mut servers = headers.filter(|(name, _)| name.eq_ignore_ascii_case("server"));
        let line = |text: &str| {
            let text = text.lines().next().unwrap_or_default().trim();
            let plain = text.chars().filter(|c| !c.is_control()).take(SHOWN);
            plain.collect::<String>()
        };
        Self {
            status: line(status),
            server: servers.next().map(|(_, server)| line(server)),
            body: Some(line(body)).filter(|body| !body.is_empty()),
        }
    }
}

/// What comes until the end, or until enough has come, or nothing more does.
async fn read(stream: &mut TlsStream<TcpStream>) -> Result<Vec<u8>, Failure> {
    let mut found = Vec::new();
    let mut part = vec![0; 4 << 10];
    while found.len() < ENOUGH {
        let patience = if found.is_empty() { PATIENCE } else { SILENCE };
        let length = match timeout(patience, stream.read(&mut part)).await {
            Err(_) => break,
            // Not every server says that it is at its end.
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
            Ok(length) => length?,
        };
        if length == 0 {
            break;
        }
        found.extend(part.iter().take(length));
    }
    Ok(found)
}

/// By whom servers are verified.
#[derive(Debug)]
struct Trust {
    own: Vec<(String, Arc<WebPkiServerVerifier>)>,
    system: Option<Verifier>,
    provider: Arc<CryptoProvider>,
}

impl Trust {
    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<String, String> {
        let mut refused = None;
        for (ca, verifier) in &self.own {
            match verifier.verify_server_cert(leaf, intermediates, name, &[], now) {
                Ok(_) => return Ok(format!("the local CA `{ca}`")),
                // Another CA's, then.
                Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {}
                Err(error) => refused = Some(error),
            }
        }
        let by_system = self.system.as_ref();
        let by_system =
            by_system.map(|system| system.verify_server_cert(leaf, intermediates, name, &[], now));
        match (refused, by_system) {
            (_, Some(Ok(_))) => Ok("the CAs of this system".to_owned()),
            (Some(error), _) | (None, Some(Err(error))) => Err(error.to_string()),
            (None, None) => Err("no local CA of the gateway has signed it".to_owned()),
        }
    }
}

/// Notes what a handshake shows, and lets it go on whatever that is: it is to be told, and nothing is entrusted to the
/// connection.
#[derive(Debug)]
struct Observer {
    trust: Arc<Trust>,
    shown: Option<Arc<CertifiedKey>>,
    found: Mutex<Option<Found>>,
    is_asked: AtomicBool,
}

/// The server's certificate, if it can be read, and whose root has verified it, or why none has.
type Found = (Option<Leaf>, Result<String, String>);

impl ServerCertVerifier for Observer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict = self.trust.judge(end_entity, intermediates, server_name, now);
        let found = (Leaf::parse(end_entity).ok(), verdict);
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.trust.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.trust.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.trust.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

impl ResolvesClientCert for Observer {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.is_asked.store(true, Ordering::Relaxed);
        self.shown.clone()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// For a whole connection.
const PATIENCE: Duration = Duration::from_secs(30);
/// After something has come.
const SILENCE: Duration = Duration::from_secs(2);
/// Octets of an answer.
const ENOUGH: usize = 16 << 10;
/// Characters of a line of it.
const SHOWN: usize = 80;
