//! What the clients offer, and how they know the proxy's certificate.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, Tls12Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme, version};

/// The key exchange that is offered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Group {
    X25519,
    X25519MlKem768,
}

/// Who a connection is.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) name: ServerName<'static>,
}

/// Clients that offer TLS 1.3 with AES-128-GCM and one group.
pub(crate) struct Sessions {
    configs: Vec<Arc<ClientConfig>>,
}

impl Sessions {
    /// `slots` clients, each with its own memory of tickets if `resume`; else none has any.
    pub(crate) fn new(group: Group, resume: bool, slots: usize) -> Self {
        let template = config(group);
        let configs = (0..slots.max(1)).map(|_| {
            let mut config = template.clone();
            if resume {
                config.resumption =
                    Resumption::in_memory_sessions(4).tls12_resumption(Tls12Resumption::Disabled);
            }
            Arc::new(config)
        });
        Self {
            configs: configs.collect(),
        }
    }

    /// One client that takes only a certificate in which `text` stands, whatever it asks for.
    pub(crate) fn expecting(text: &str) -> Self {
        let mut config = config(Group::X25519);
        let verifier = Contains {
            text: Some(text.to_owned()),
        };
        config.dangerous().set_certificate_verifier(Arc::new(verifier));
        Self {
            configs: vec![Arc::new(config)],
        }
    }

    /// The client of `slot`, asking for `name`.
    pub(crate) fn identity(&self, slot: usize, name: &ServerName<'static>) -> Identity {
        Identity {
            config: self.configs[slot % self.configs.len()].clone(),
            name: name.clone(),
        }
    }
}

fn config(group: Group) -> ClientConfig {
    let group = match group {
        Group::X25519 => aws_lc_rs::kx_group::X25519,
        Group::X25519MlKem768 => aws_lc_rs::kx_group::X25519MLKEM768,
    };
    let provider = CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![group],
        ..aws_lc_rs::default_provider()
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&version::TLS13])
        .expect("the suite is one of TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Contains { text: None }))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config
}

/// Looks for the name, or a text instead of it, in the certificate and verifies nothing: that would cost the generator more than all the rest,
/// and the proxy nothing.
#[derive(Debug)]
struct Contains {
    text: Option<String>,
}

impl ServerCertVerifier for Contains {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let name = name.to_str();
        let text = self.text.as_deref().unwrap_or(&name);
        match end_entity.windows(text.len()).any(|part| part == text.as_bytes()) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(Error::InvalidCertificate(CertificateError::NotValidForName)),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::RSA_PSS_SHA256,
        ]
    }
}
