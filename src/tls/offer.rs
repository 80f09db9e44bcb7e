//! What a client offers in its ClientHello, as far as it has a name.
//!
//! Nothing here tells one client from another of its kind: no server name, no random value, no session, no address, no
//! order and no unknown value. So a count of offers may be kept and shown.

mod hello;
mod known;

use rustls::SignatureScheme;

pub use self::hello::client_hello;
use self::known::{CIPHER_SUITES, GROUPS, Known, Numbers, PROTOCOLS, SIGNATURE_SCHEMES, VERSIONS};
use super::KeyKind;
use super::selection::RSA;
use crate::policy::{Agreement, CertificateKey, Client, Element, Policy, Refusal, openssl_name};

/// Sets of what one kind of client offers.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Offer {
    versions: Numbers<1>,
    cipher_suites: Numbers<{ Self::SUITE_WORDS }>,
    groups: Numbers<1>,
    signature_schemes: Numbers<1>,
    protocols: Numbers<1>,
}

impl Offer {
    const SUITE_WORDS: usize = 6;

    /// Reads a ClientHello, from the header of the handshake message on (RFC 8446 §4.1.2); nothing when it is not one.
    pub fn read(message: &[u8]) -> Option<Self> {
        let mut offer = Self::default();
        let mut message = Reader(message);
        if message.octet()? != CLIENT_HELLO {
            return None;
        }
        let mut hello = message.vector::<3>()?;
        let legacy_version = hello.number()?;
        hello.take(RANDOM)?;
        hello.vector::<1>()?;
        offer.cipher_suites.extend(&CIPHER_SUITES, hello.vector::<2>()?);
        hello.vector::<1>()?;
        let mut has_versions = false;
        // A hello of TLS 1.2 may end before them.
        let mut extensions = hello.vector::<2>().unwrap_or(Reader(&[]));
        while !extensions.0.is_empty() {
            let kind = extensions.number()?;
            let mut body = extensions.vector::<2>()?;
            match kind {
                SUPPORTED_GROUPS => offer.groups.extend(&GROUPS, body.vector::<2>()?),
                SIGNATURE_ALGORITHMS => offer
                    .signature_schemes
                    .extend(&SIGNATURE_SCHEMES, body.vector::<2>()?),
                APPLICATION_PROTOCOLS => offer.add_protocols(body.vector::<2>()?)?,
                SUPPORTED_VERSIONS => {
                    has_versions = true;
                    let mut versions = body.vector::<1>()?;
                    while let Some(version) = versions.number() {
                        offer.add_version(version);
                    }
                }
                _ => {}
            }
        }
        if !has_versions {
            // The newest one that it speaks, and TLS 1.2 at most (RFC 8446 §4.2.1).
            offer.add_version(legacy_version.min(TLS_1_2));
        }
        Some(offer)
    }

    /// The protocol versions as OpenSSL writes them, the newest first. A client without the extension of TLS 1.3 names
    /// its newest only.
    pub fn versions(&self) -> impl Iterator<Item = &'static str> + use<> {
        let versions = self.versions.iter().rev();
        versions.filter_map(|number| VERSIONS.get(number).copied())
    }

    /// The cipher suites.
    pub fn cipher_suites(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.cipher_suites.iter().map(|number| CIPHER_SUITES.name(number))
    }

    /// The key exchange groups.
    pub fn groups(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.groups.iter().map(|number| GROUPS.name(number))
    }

    /// The signature schemes that it verifies.
    pub fn signature_schemes(&self) -> impl Iterator<Item = &'static str> + use<> {
        let schemes = self.signature_schemes.iter();
        schemes.map(|number| SIGNATURE_SCHEMES.name(number))
    }

    /// The application protocols.
    pub fn protocols(&self) -> impl Iterator<Item = &'static str> + use<> {
        let protocols = self.protocols.iter();
        protocols.filter_map(|number| PROTOCOLS.get(number).copied())
    }

    /// What a handshake comes to under `policy` with a certificate that has a `key` of this kind.
    ///
    /// # Errors
    /// [`Misfit`].
    pub fn meet(&self, policy: &Policy, key: KeyKind) -> Result<Agreement, Misfit> {
        let suits = match key {
            KeyKind::Rsa => CertificateKey::Rsa,
            KeyKind::Scheme(_) => CertificateKey::Ecdsa,
        };
        let agreed = self.client().meet(policy, suits)?;
        let signs = |scheme: SignatureScheme| {
            let number = SIGNATURE_SCHEMES.number(scheme.into());
            number.is_some_and(|number| self.signature_schemes.iter().any(|has| has == number))
        };
        let is_signed = match key {
            KeyKind::Scheme(scheme) => signs(scheme),
            // The old kind of RSA signatures is for TLS 1.2 only (RFC 8446 §4.2.3).
            KeyKind::Rsa => {
                let is_new = agreed.version == "TLSv1.3";
                RSA.into_iter()
                    .any(|scheme| signs(scheme) && (!is_new || is_pss(scheme)))
            }
        };
        match is_signed {
            true => Ok(agreed),
            false => Err(Misfit::Signature { key: suits }),
        }
    }

    fn client(&self) -> Client {
        let texts = |names: &mut dyn Iterator<Item = &'static str>| names.map(ToOwned::to_owned).collect();
        let suite = |name: &'static str| match Element::named(name) {
            Some(suite) => openssl_name(suite),
            None => name.to_owned(),
        };
        Client {
            name: String::new(),
            versions: texts(&mut self.versions()),
            cipher_suites: self.cipher_suites().map(suite).collect(),
            groups: texts(&mut self.groups()),
            source: String::new(),
        }
    }

    fn add_version(&mut self, version: u16) {
        let [major, minor] = version.to_be_bytes();
        if major == 3 && usize::from(minor) < VERSIONS.len() {
            self.versions.insert(minor.into());
        }
    }

    fn add_protocols(&mut self, mut names: Reader<'_>) -> Option<()> {
        // Nobody has as many, but whoever wants to make work.
        for _ in 0..MOST_PROTOCOLS {
            if names.0.is_empty() {
                break;
            }
            let name = names.vector::<1>()?.0;
            if let Some(number) = PROTOCOLS.iter().position(|known| known.as_bytes() == name) {
                self.protocols.insert(number);
            }
        }
        Some(())
    }
}

/// Why a handshake cannot succeed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Misfit {
    /// The policy refuses what is offered.
    #[error(transparent)]
    Policy(#[from] Refusal),
    /// The client verifies no signature of the certificate's key.
    #[error("it verifies no signature of {} certificate", match key { CertificateKey::Ecdsa => "an ECDSA", CertificateKey::Rsa => "an RSA" })]
    Signature {
        /// The kind of the key.
        key: CertificateKey,
    },
}

impl Misfit {
    /// In one word: `version`, `cipher-suite`, `group` or `signature`.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Policy(Refusal::Version { .. }) => "version",
            Self::Policy(Refusal::Suite { .. }) => "cipher-suite",
            Self::Policy(Refusal::Group { .. }) => "group",
            Self::Signature { .. } => "signature",
        }
    }
}

impl<const WORDS: usize> Numbers<WORDS> {
    fn extend(&mut self, known: &Known, mut values: Reader<'_>) {
        while let Some(value) = values.number() {
            if let Some(number) = known.number(value) {
                self.insert(number);
            }
        }
    }
}

fn is_pss(scheme: SignatureScheme) -> bool {
    use SignatureScheme::*;
    matches!(scheme, RSA_PSS_SHA256 | RSA_PSS_SHA384 | RSA_PSS_SHA512)
}

/// What is left of a message.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn octet(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// What follows its length of `LENGTH` octets.
    fn vector<const LENGTH: usize>(&mut self) -> Option<Self> {
        let octets = self.take(LENGTH)?.iter();
        let length = octets.fold(0, |length, octet| length << 8 | usize::from(*octet));
        self.take(length).map(Self)
    }
}

const APPLICATION_PROTOCOLS: u16 = 16;
const CLIENT_HELLO: u8 = 1;
const MOST_PROTOCOLS: usize = 32;
/// Octets of it in a hello.
const RANDOM: usize = 32;
const SIGNATURE_ALGORITHMS: u16 = 13;
const SUPPORTED_GROUPS: u16 = 10;
const SUPPORTED_VERSIONS: u16 = 43;
const TLS_1_2: u16 = 0x0303;
