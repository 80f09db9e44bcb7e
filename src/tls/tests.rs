//! What the tests of this room share: a CA, credentials of it, and both ends of a handshake.

mod alpn;
mod challenge;
mod handshake;
mod mutual;
mod select;
mod swap;

use std::io;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::Acceptor;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, HandshakeKind, SignatureScheme};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::{LazyConfigAcceptor, TlsConnector, client, server};

use super::*;
use crate::certificate::{CaBundle, CertificateName, Credential, CredentialPem, KeyType, Leaf, PrivateKey};
use crate::config::{
    AlpnMismatch, Authentication, CertificateSelector, ListenerConfig, Protocol, UnknownSni,
};
use crate::policy::built_in;

/// The CA of a test: a key, and a certificate that may sign.
struct Ca {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    fn new(name: &str) -> Self {
        // A key of its own: CAs of one name differ by it.
        let key = PrivateKey::generate(KeyType::EcdsaP256)
            .unwrap()
            .to_key_pair()
            .unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    /// A chain for `names` that ends `days` after the year 2100 began.
    fn sign(&self, names: &[&str], key_type: KeyType, days: i64) -> CredentialPem {
        let mut params =
            CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).unwrap();
        params.not_before = OffsetDateTime::UNIX_EPOCH;
        params.not_after = OffsetDateTime::from_unix_timestamp(4_102_444_800 + days * 86_400).unwrap();
        self.sign_params(&params, key_type)
    }

    fn sign_params(&self, params: &CertificateParams, key_type: KeyType) -> CredentialPem {
        let key = key(key_type);
        let leaf = params
            .signed_by(&key.to_key_pair().unwrap(), &self.issuer)
            .unwrap();
        CredentialPem::new(vec![leaf.der().clone()], key)
    }

    /// A bundle of this CA alone.
    fn bundle(&self, name: &str) -> CaBundle {
        let file = tempfile::NamedTempFile::new().unwrap();
        let pem = CredentialPem::new(vec![self.certificate.clone()], key(KeyType::EcdsaP256)).chain_to_pem();
        std::fs::write(file.path(), pem).unwrap();
        CaBundle::load(name, &[file.path().to_owned()]).unwrap()
    }

    fn credential(&self, names: &[&str], key_type: KeyType, days: i64) -> Credential {
        Credential::from_pem(&self.sign(names, key_type, days)).unwrap()
    }
}

/// One key for each kind: what is tested here is never the key itself, and RSA takes long to generate.
fn key(key_type: KeyType) -> &'static PrivateKey {
    static P256: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate(KeyType::EcdsaP256).unwrap());
    static P384: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate(KeyType::EcdsaP384).unwrap());
    static RSA: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate(KeyType::Rsa2048).unwrap());
    match key_type {
        KeyType::EcdsaP256 => &P256,
        KeyType::EcdsaP384 => &P384,
        _ => &RSA,
    }
}

/// A listener's TLS and what it reads its certificates from.
struct Gateway {
    published: Arc<PublishedCertificates>,
    challenges: Arc<ChallengeTable>,
    tls: ServerTls,
}

impl Gateway {
    fn new(listener: &ListenerConfig, client_ca: Option<&CaBundle>, entries: &[(&str, Credential)]) -> Self {
        let published = Arc::new(PublishedCertificates::new());
        published.publish(table(entries));
        let challenges = Arc::new(ChallengeTable::new());
        let policy = built_in(&listener.policy).unwrap();
        let tls =
            ServerTls::build(listener, policy, client_ca, published.clone(), challenges.clone()).unwrap();
        Self {
            published,
            challenges,
            tls,
        }
    }

    /// What the gateway decides about the first message of `client`.
    fn decide(&self, client: &Arc<ClientConfig>, name: &str) -> Decision {
        self.decide_bytes(&hello(client, name))
    }

    fn decide_bytes(&self, hello: &[u8]) -> Decision {
        let mut acceptor = Acceptor::default();
        acceptor.read_tls(&mut &*hello).unwrap();
        let accepted = acceptor.accept().ok().flatten().unwrap();
        self.tls.decide(&accepted.client_hello())
    }

    /// A whole connection: the handshake, then a byte there and back.
    async fn connect(&self, client: &Arc<ClientConfig>, name: &'static str) -> Ends {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let name = ServerName::try_from(name).unwrap();
        let connector = TlsConnector::from(client.clone());
        let both = async { tokio::join!(self.serve(far), call(connector.connect(name, near))) };
        let (server, client) = tokio::time::timeout(Duration::from_secs(20), both).await.unwrap();
        Ends { server, client }
    }

    async fn serve(&self, socket: DuplexStream) -> Result<(), rustls::Error> {
        let mut start = LazyConfigAcceptor::new(Acceptor::default(), socket)
            .await
            .map_err(tls_error)?;
        let config = match self.tls.decide(&start.client_hello()) {
            Decision::Challenge(config) | Decision::Handshake(config) => config,
            Decision::Refuse(refusal) => {
                start.io.write_all(&refusal.alert_record()).await.unwrap();
                return Err(rustls::Error::General(refusal.to_string()));
            }
        };
        let mut stream: server::TlsStream<_> = start.into_stream(config).await.map_err(tls_error)?;
        let byte = stream.read_u8().await.map_err(tls_error)?;
        stream.write_u8(byte).await.map_err(tls_error)?;
        stream.shutdown().await.map_err(tls_error)
    }
}

/// How both ends of a connection came out of it.
#[derive(Debug)]
struct Ends {
    server: Result<(), rustls::Error>,
    client: Result<Session, rustls::Error>,
}

impl Ends {
    #[track_caller]
    fn session(self) -> Session {
        self.server.unwrap();
        self.client.unwrap()
    }

    /// The alert that the client was sent.
    #[track_caller]
    fn alert(&self) -> rustls::AlertDescription {
        match self.client {
            Err(rustls::Error::AlertReceived(alert)) => alert,
            ref other => panic!("an alert was expected, not {other:?}"),
        }
    }
}

/// What a client can say of a connection.
#[derive(Debug)]
struct Session {
    version: &'static str,
    suite: &'static str,
    group: &'static str,
    alpn: Option<Vec<u8>>,
    resumed: bool,
    tickets: u32,
    certificate: CertificateDer<'static>,
}

impl Session {
    fn leaf(&self) -> Leaf {
        Leaf::parse(&self.certificate).unwrap()
    }
}

async fn call<F>(connect: F) -> Result<Session, rustls::Error>
where
    F: Future<Output = io::Result<client::TlsStream<DuplexStream>>>,
{
    let mut stream = connect.await.map_err(tls_error)?;
    stream.write_u8(b'x').await.map_err(tls_error)?;
    assert_eq!(stream.read_u8().await.map_err(tls_error)?, b'x');
    let (_, connection) = stream.get_ref();
    Ok(Session {
        version: connection.protocol_version().unwrap().as_str().unwrap(),
        suite: connection
            .negotiated_cipher_suite()
            .unwrap()
            .suite()
            .as_str()
            .unwrap(),
        group: connection
            .negotiated_key_exchange_group()
            .map_or("", |group| group.name().as_str().unwrap()),
        alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
        resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        tickets: connection.tls13_tickets_received(),
        certificate: connection.peer_certificates().unwrap()[0].clone(),
    })
}

fn tls_error(error: io::Error) -> rustls::Error {
    let text = error.to_string();
    let tls = error
        .into_inner()
        .and_then(|inner| inner.downcast::<rustls::Error>().ok());
    tls.map_or(rustls::Error::General(text), |error| *error)
}

/// A listener for all certificates that asks nothing of clients; tests change what they are about.
fn listener() -> ListenerConfig {
    ListenerConfig {
        name: "web".into(),
        address: ([127, 0, 0, 1], 0).into(),
        protocol: Protocol::Tls,
        certificates: vec![CertificateSelector::All],
        unknown_sni: UnknownSni::Default,
        policy: "intermediate".into(),
        alpn: Vec::new(),
        alpn_mismatch: AlpnMismatch::Alert,
        authentication: Authentication::OneWay,
        server_group: Some("app".into()),
        idle_timeout: Duration::from_secs(900),
        handshake_timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(5),
        max_connections: None,
        tags: Default::default(),
    }
}

fn entry(name: &str) -> CertificateName {
    CertificateName::parse(name).unwrap()
}

fn table(entries: &[(&str, Credential)]) -> CertificateTable {
    entries
        .iter()
        .fold(CertificateTable::new(), |table, (name, credential)| {
            table.with(entry(name), vec![credential.clone()])
        })
}

/// What a client is able to do; it takes any certificate, so that tests see which one they are given.
struct Client {
    provider: CryptoProvider,
    versions: Vec<&'static rustls::SupportedProtocolVersion>,
    schemes: Vec<SignatureScheme>,
    alpn: Vec<&'static [u8]>,
    credential: Option<CredentialPem>,
}

impl Default for Client {
    fn default() -> Self {
        let provider = aws_lc_rs::default_provider();
        Self {
            schemes: provider.signature_verification_algorithms.supported_schemes(),
            provider,
            versions: vec![&rustls::version::TLS13, &rustls::version::TLS12],
            alpn: Vec::new(),
            credential: None,
        }
    }
}

impl Client {
    fn version(version: &'static rustls::SupportedProtocolVersion) -> Self {
        Self {
            versions: vec![version],
            ..Self::default()
        }
    }

    fn build(self) -> Arc<ClientConfig> {
        let verifier = TakesAnything {
            schemes: self.schemes,
            provider: self.provider.clone(),
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(self.provider))
            .with_protocol_versions(&self.versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match self.credential {
            Some(pem) => builder
                .with_client_auth_cert(pem.chain().to_vec(), pem.key().clone_key())
                .unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(config)
    }
}

/// The first message that `client` sends.
fn hello(client: &Arc<ClientConfig>, name: &str) -> Vec<u8> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut connection = rustls::ClientConnection::new(client.clone(), name).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    bytes
}

#[derive(Debug)]
struct TakesAnything {
    schemes: Vec<SignatureScheme>,
    provider: CryptoProvider,
}

impl ServerCertVerifier for TakesAnything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        or_challenge(rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            algorithms,
        ))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        or_challenge(rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            algorithms,
        ))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

/// webpki does not read a certificate with an acmeIdentifier, which is critical.
fn or_challenge(
    verified: Result<HandshakeSignatureValid, rustls::Error>,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    match verified {
        Err(rustls::Error::InvalidCertificate(CertificateError::Other(_))) => {
            Ok(HandshakeSignatureValid::assertion())
        }
        other => other,
    }
}
