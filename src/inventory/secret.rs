//! Secrets inside records: written into the store, never printed.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::certificate::PrivateKey;

/// A secret text; wiped from memory when dropped.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes over a secret.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text. Secret.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("secret")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// A private key as base64 of its PKCS#8 document, for `#[serde(with = …)]`.
pub(super) mod pkcs8 {
    use super::*;

    pub(in crate::inventory) fn serialize<S: Serializer>(
        key: &PrivateKey,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(STANDARD.encode(key.pkcs8())))
    }

    pub(in crate::inventory) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<PrivateKey, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        match STANDARD.decode(text.as_bytes()) {
            Ok(der) => Ok(PrivateKey::from_pkcs8(der)),
            Err(_) => Err(D::Error::custom("the key is not base64")),
        }
    }
}
