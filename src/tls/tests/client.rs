//! The client's end of a connection.

use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, HandshakeKind, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::client::TlsStream;

use crate::certificate::{CredentialPem, Leaf};

/// What a client is able to do; it takes any certificate, so that tests see which one they are given.
pub(super) struct Client {
    pub(super) provider: CryptoProvider,
    pub(super) versions: Vec<&'static rustls::SupportedProtocolVersion>,
    pub(super) schemes: Vec<SignatureScheme>,
    pub(super) alpn: Vec<&'static [u8]>,
    pub(super) credential: Option<CredentialPem>,
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
    pub(super) fn version(version: &'static rustls::SupportedProtocolVersion) -> Self {
        Self {
            versions: vec![version],
            ..Self::default()
        }
    }

    pub(super) fn build(self) -> Arc<ClientConfig> {
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
pub(super) fn hello(client: &Arc<ClientConfig>, name: &str) -> Vec<u8> {
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

/// What a client can say of a connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) version: &'static str,
    pub(super) suite: &'static str,
    pub(super) group: &'static str,
    pub(super) alpn: Option<Vec<u8>>,
    pub(super) resumed: bool,
    pub(super) tickets: u32,
    pub(super) certificate: CertificateDer<'static>,
}

impl Session {
    pub(super) fn leaf(&self) -> Leaf {
        Leaf::parse(&self.certificate).unwrap()
    }
}

pub(super) async fn call<F>(connect: F) -> Result<Session, rustls::Error>
where
    F: Future<Output = io::Result<TlsStream<DuplexStream>>>,
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

pub(super) fn tls_error(error: io::Error) -> rustls::Error {
    let text = error.to_string();
    let tls = error
        .into_inner()
        .and_then(|inner| inner.downcast::<rustls::Error>().ok());
    tls.map_or(rustls::Error::General(text), |error| *error)
}
