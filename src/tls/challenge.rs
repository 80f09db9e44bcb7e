//! The answering side of tls-alpn-01 (RFC 8737).

use std::sync::Arc;

use arc_swap::ArcSwap;
use imbl::HashMap;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, NoServerSessionStorage};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::certificate::{KeyError, KeyType, PrivateKey};
use crate::name::{DnsName, NamePattern};

/// The protocol identifier of the challenge (RFC 8737 §6.2).
pub const ACME_TLS_ALPN: &[u8] = b"acme-tls/1";

/// The challenges that a CA may ask for now, by name. One for the process: whichever listener the CA reaches
/// answers, whatever that listener demands of clients.
#[derive(Debug, Default)]
pub struct ChallengeTable(ArcSwap<HashMap<DnsName, Arc<ServerConfig>>>);

impl ChallengeTable {
    /// Nothing pending.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers for `name` from now on; `digest` is the SHA-256 of the key authorization (RFC 8555 §8.1). An
    /// earlier challenge of the name is replaced.
    ///
    /// # Errors
    /// [`ChallengeError`] when the certificate of the challenge cannot be made.
    pub fn insert(&self, name: &DnsName, digest: &[u8; 32]) -> Result<(), ChallengeError> {
        let config = Arc::new(challenge_config(name, digest)?);
        self.0.rcu(|pending| pending.update(name.clone(), config.clone()));
        Ok(())
    }

    /// Answers no longer for `name`.
    pub fn remove(&self, name: &DnsName) {
        self.0.rcu(|pending| pending.without(name));
    }

    /// The configuration that answers `hello`: only for a client that offers `acme-tls/1` and nothing else, and
    /// names a name with a pending challenge. It has no way to resume and asks for no client certificate; the
    /// connection is to be closed after the handshake.
    pub fn answer(&self, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
        if !is_challenge(hello) {
            return None;
        }
        self.0.load().get(hello.server_name()?).cloned()
    }
}

/// Whether a client offers `acme-tls/1` and nothing else.
pub(super) fn is_challenge(hello: &ClientHello<'_>) -> bool {
    hello
        .alpn()
        .is_some_and(|mut protocols| protocols.next() == Some(ACME_TLS_ALPN) && protocols.next().is_none())
}

/// The certificate of a challenge could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make the tls-alpn-01 certificate for `{name}`")]
pub struct ChallengeError {
    /// The name that is to be validated.
    pub name: DnsName,
    /// What failed.
    pub source: ChallengeProblem,
}

/// What failed while a challenge's certificate was made.
#[derive(Debug, thiserror::Error)]
pub enum ChallengeProblem {
    /// The certificate.
    #[error(transparent)]
    Certificate(#[from] rcgen::Error),
    /// Its key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The configuration that serves it.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

fn challenge_config(name: &DnsName, digest: &[u8; 32]) -> Result<ServerConfig, ChallengeError> {
    let fail = |source| ChallengeError {
        name: name.clone(),
        source,
    };
    let certified_key = challenge_certificate(name, digest).map_err(fail)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|source| fail(source.into()))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified_key)));
    config.alpn_protocols = vec![ACME_TLS_ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // The listener takes the keys over once the handshake is complete.
    config.enable_secret_extraction = true;
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// RFC 8737 §3: self-signed, the name as its only one, and the digest in a critical acmeIdentifier.
fn challenge_certificate(name: &DnsName, digest: &[u8; 32]) -> Result<CertifiedKey, ChallengeProblem> {
    let key = PrivateKey::generate(KeyType::EcdsaP256)?;
    // The address itself, where it is the name of one (RFC 8738 §6).
    let mut params = CertificateParams::new(vec![NamePattern::Exact(name.clone()).to_string()])?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key.to_key_pair()?)?;
    let signing_key = aws_lc_rs::sign::any_supported_type(&key.to_der())?;
    // Not `from_der`: that reads the certificate, and the reader knows no acmeIdentifier to be critical.
    Ok(CertifiedKey::new(vec![certificate.der().clone()], signing_key))
}
