//! What the operator wants.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use crate::certificate::KeyType;
use crate::name::NamePattern;

/// The name of an entry of the certificate store: `www`, or `sites/shop` for one that a directory gave.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct CertificateName(Arc<str>);

impl CertificateName {
    /// Checks `text`: letters, digits, `.`, `_` and `-`, one `/` at most, 128 octets at most.
    ///
    /// # Errors
    /// [`CertificateNameError`] with the text.
    pub fn parse(text: &str) -> Result<Self, CertificateNameError> {
        let part = |part: &str| {
            !part.is_empty()
                && !part.starts_with('.')
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
        };
        let sound = text.len() <= 128
            && match text.split_once('/') {
                Some((directory, name)) => part(directory) && part(name),
                None => part(text),
            };
        if sound {
            Ok(Self(text.into()))
        } else {
            Err(CertificateNameError {
                text: text.to_owned(),
            })
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The entry for the same names with a key of another algorithm: `www.rsa` beside `www`.
    ///
    /// # Errors
    /// [`CertificateNameError`] when that is too long for a name.
    pub fn companion(&self, key_type: KeyType) -> Result<Self, CertificateNameError> {
        Self::parse(&format!("{self}.{}", key_type.family()))
    }

    /// Every entry that may be for the same names with a key of another algorithm.
    pub fn companions(&self) -> Vec<Self> {
        let companions = [KeyType::Rsa2048, KeyType::EcdsaP256].map(|key_type| self.companion(key_type));
        companions.into_iter().flatten().collect()
    }

    /// The entry for the same names from another CA: `www.spare` beside `www`.
    ///
    /// # Errors
    /// [`CertificateNameError`] when that is too long for a name.
    pub fn spare(&self) -> Result<Self, CertificateNameError> {
        Self::parse(&format!("{self}.spare"))
    }
}

/// A text that cannot name a certificate.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "`{text}` cannot name a certificate; allowed are letters, digits, `.`, `_` and `-`, at most 128 of them, and one `/` \
     after the name of a certificate directory"
)]
pub struct CertificateNameError {
    /// The text as it was found.
    pub text: String,
}

/// One certificate that the gateway obtains and keeps renewed.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct DesiredCertificate {
    /// The entry's name.
    pub name: CertificateName,
    /// The names it must be valid for; never empty, the first one is shown in lists.
    pub domains: Vec<NamePattern>,
    /// The issuers that may sign it, tried in this order; never empty.
    pub issuers: Vec<String>,
    /// The kind of its key.
    pub key_type: KeyType,
    /// Whether a renewed one keeps the key of the one before.
    #[serde(default)]
    pub reuse_key: bool,
    /// The operator's own labels.
    pub tags: BTreeMap<String, String>,
    /// The certificate in whose place it is served, when that itself should not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spare_of: Option<CertificateName>,
}

impl DesiredCertificate {
    /// Identity by content: what makes an issued certificate the right one. The order of the domains, whether the
    /// key is kept, and the tags do not count.
    pub fn digest(&self) -> String {
        let mut domains: Vec<_> = self.domains.iter().map(ToString::to_string).collect();
        domains.sort();
        domains.dedup();
        let mut content = format!(
            "{}\n{}\n{}",
            domains.join(" "),
            self.issuers.join(" "),
            self.key_type
        );
        if let Some(primary) = &self.spare_of {
            content.push_str(&format!("\nspare of {primary}"));
        }
        let hash = digest::digest(&digest::SHA256, content.as_bytes());
        hash.as_ref()[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

impl Borrow<str> for CertificateName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for CertificateName {
    type Err = CertificateNameError;
    fn from_str(text: &str) -> Result<Self, CertificateNameError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for CertificateName {
    type Error = CertificateNameError;
    fn try_from(text: String) -> Result<Self, CertificateNameError> {
        Self::parse(&text)
    }
}

impl From<CertificateName> for String {
    fn from(name: CertificateName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_name_is_safe_in_paths_and_keys() {
        for sound in ["www", "sites/shop.example.com", "a_b-c"] {
            assert!(CertificateName::parse(sound).is_ok(), "{sound}");
        }
        for broken in [
            "",
            "/",
            "a/",
            "/a",
            "a/b/c",
            "..",
            ".hidden",
            "a b",
            "ü",
            &"a".repeat(129),
        ] {
            assert!(CertificateName::parse(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn identity_is_by_content_and_not_by_order_or_tags() {
        let desired = |domains: &[&str], tags: &[(&str, &str)]| DesiredCertificate {
            name: CertificateName::parse("www").unwrap(),
            domains: domains.iter().map(|d| NamePattern::parse(d).unwrap()).collect(),
            issuers: vec!["internal".into()],
            key_type: KeyType::EcdsaP256,
            reuse_key: false,
            tags: tags
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            spare_of: None,
        };
        let digest = desired(&["a.example", "b.example"], &[]).digest();
        assert_eq!(
            digest,
            desired(&["b.example", "a.example"], &[("team", "web")]).digest()
        );
        assert_ne!(digest, desired(&["a.example"], &[]).digest());
    }
}
