//! Private keys: kinds, generation, and the one form in which they move.

use std::fmt;
use std::str::FromStr;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The kinds of key a certificate can be asked for.
#[derive(
    Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum KeyType {
    /// ECDSA on NIST P-256: the smallest and fastest that every client verifies.
    #[default]
    #[serde(rename = "ecdsa-p256")]
    EcdsaP256,
    /// ECDSA on NIST P-384.
    #[serde(rename = "ecdsa-p384")]
    EcdsaP384,
    /// RSA of 2048 bits, for clients that cannot verify ECDSA.
    #[serde(rename = "rsa-2048")]
    Rsa2048,
    /// RSA of 3072 bits.
    #[serde(rename = "rsa-3072")]
    Rsa3072,
    /// RSA of 4096 bits.
    #[serde(rename = "rsa-4096")]
    Rsa4096,
}

impl KeyType {
    /// Every kind, in the order in which messages list them.
    pub const ALL: [Self; 5] = [
        Self::EcdsaP256,
        Self::EcdsaP384,
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
    ];

    /// As a [`Leaf`](crate::certificate::Leaf) shows it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ECDSA P-256",
            Self::EcdsaP384 => "ECDSA P-384",
            Self::Rsa2048 => "RSA 2048",
            Self::Rsa3072 => "RSA 3072",
            Self::Rsa4096 => "RSA 4096",
        }
    }

    /// Whether it is RSA of some size.
    pub const fn is_rsa(self) -> bool {
        matches!(self, Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096)
    }

    /// The word for its kind in names of what belongs to it: `rsa` or `ecdsa`.
    pub const fn family(self) -> &'static str {
        if self.is_rsa() { "rsa" } else { "ecdsa" }
    }

    /// The name in configuration and output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::EcdsaP384 => "ecdsa-p384",
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa3072 => "rsa-3072",
            Self::Rsa4096 => "rsa-4096",
        }
    }
}

/// A private key in PKCS#8 (RFC 5958); wiped from memory when dropped, and never printed.
#[derive(Clone)]
pub struct PrivateKey(Zeroizing<Vec<u8>>);

impl PrivateKey {
    /// Makes a new key. RSA takes up to a second: call it where blocking is allowed.
    ///
    /// # Errors
    /// [`KeyError`] when the cryptographic library refuses.
    pub fn generate(key_type: KeyType) -> Result<Self, KeyError> {
        use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, RsaKeySize};
        let pair = match key_type {
            KeyType::EcdsaP256 => rcgen::KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            KeyType::EcdsaP384 => rcgen::KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
            KeyType::Rsa2048 => rcgen::KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
            KeyType::Rsa3072 => rcgen::KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_3072),
            KeyType::Rsa4096 => rcgen::KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096),
        };
        let pair = pair.map_err(|source| KeyError {
            doing: "generate",
            source,
        })?;
        Ok(Self(Zeroizing::new(pair.serialize_der())))
    }

    /// Takes over a key that is in PKCS#8 already.
    pub fn from_pkcs8(der: Vec<u8>) -> Self {
        Self(Zeroizing::new(der))
    }

    /// The PKCS#8 document. Secret.
    pub fn pkcs8(&self) -> &[u8] {
        &self.0
    }

    /// The form that rustls loads.
    pub fn to_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.0.to_vec()))
    }

    /// The key as a signer of certificates and requests.
    ///
    /// # Errors
    /// [`KeyError`] when the key is of a kind that cannot sign those.
    pub fn to_key_pair(&self) -> Result<rcgen::KeyPair, KeyError> {
        rcgen::KeyPair::try_from(self.pkcs8()).map_err(|source| KeyError {
            doing: "load",
            source,
        })
    }
}

impl PrivateKey {
    /// A signing request in PEM (RFC 2986) that shows who has the key, and says nothing else.
    ///
    /// # Errors
    /// [`KeyError`] when the key is of a kind that cannot sign it.
    pub fn to_request_pem(&self) -> Result<String, KeyError> {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let request = params.serialize_request(&self.to_key_pair()?);
        request
            .and_then(|request| request.pem())
            .map_err(|source| KeyError {
                doing: "sign a request with",
                source,
            })
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(secret)")
    }
}

/// A private key could not be made or used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} the private key")]
pub struct KeyError {
    doing: &'static str,
    source: rcgen::Error,
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for KeyType {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|key_type| key_type.as_str() == text)
            .ok_or_else(|| {
                format!(
                    "`{text}` is no key type; allowed are {}",
                    Self::ALL.map(Self::as_str).join(", ")
                )
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_key_loads_again_and_is_never_printed() {
        for key_type in [KeyType::EcdsaP256, KeyType::EcdsaP384, KeyType::Rsa2048] {
            let key = PrivateKey::generate(key_type).unwrap();
            assert!(key.to_key_pair().is_ok());
            assert_eq!(format!("{key:?}"), "PrivateKey(secret)");
        }
    }

    #[test]
    fn key_types_read_back_as_written() {
        for key_type in KeyType::ALL {
            assert_eq!(key_type.as_str().parse(), Ok(key_type));
            assert_eq!(
                serde_json::to_string(&key_type).unwrap(),
                format!("\"{key_type}\"")
            );
        }
    }
}
