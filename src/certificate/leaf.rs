//! What an end-entity certificate says of itself.

use std::net::IpAddr;

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use crate::clock::Timestamp;
use crate::name::{DnsName, NamePattern};

/// The facts of an end-entity certificate that anything here decides on or shows.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Leaf {
    /// The DNS names and IP addresses of its subject alternative names; the subject's common name does not count (RFC 9525 §2).
    pub names: Vec<NamePattern>,
    /// The first moment of its validity.
    pub not_before: Timestamp,
    /// The last moment of its validity.
    pub not_after: Timestamp,
    /// Its serial number, in lower-case hex.
    pub serial: String,
    /// Its issuer's distinguished name, for people.
    pub issuer: String,
    /// Its public key, for people: `ECDSA P-256`, `RSA 2048`.
    pub key: String,
    /// SHA-256 of the certificate, in lower-case hex.
    pub fingerprint: String,
}

impl Leaf {
    /// Reads a certificate.
    ///
    /// # Errors
    /// [`LeafError`] when it is not one, or has no usable validity.
    pub fn parse(der: &[u8]) -> Result<Self, LeafError> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| LeafError::NotACertificate)?;
        if !rest.is_empty() {
            return Err(LeafError::NotACertificate);
        }
        let validity = certificate.validity();
        let not_before = Timestamp::from_unix_seconds(validity.not_before.timestamp());
        let not_after = Timestamp::from_unix_seconds(validity.not_after.timestamp());
        if not_after <= not_before {
            return Err(LeafError::EmptyValidity {
                not_before,
                not_after,
            });
        }
        let alternative = certificate
            .subject_alternative_name()
            .map_err(|_| LeafError::NotACertificate)?;
        let names = alternative.map_or_else(Vec::new, |extension| {
            let names = extension.value.general_names.iter();
            names.filter_map(pattern).collect()
        });
        Ok(Self {
            names,
            not_before,
            not_after,
            serial: hex(certificate.raw_serial()),
            issuer: certificate.issuer().to_string(),
            key: describe_key(&certificate),
            fingerprint: fingerprint(der),
        })
    }

    /// Whether a client that asks for `name` accepts this certificate's names.
    pub fn covers(&self, name: &DnsName) -> bool {
        self.names.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether it is for all that `domain` stands for.
    pub fn holds(&self, domain: &NamePattern) -> bool {
        match domain {
            NamePattern::Exact(name) => self.covers(name),
            NamePattern::Wildcard(_) => self.names.contains(domain),
        }
    }

    /// Whether it is valid at `now`.
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// How long it is valid in all.
    pub fn lifetime(&self) -> std::time::Duration {
        self.not_after.since(self.not_before)
    }
}

/// Why a document is not a usable end-entity certificate.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LeafError {
    /// Its validity ends before it begins.
    #[error("the certificate's validity is empty: it ends at {not_after} and begins at {not_before}")]
    EmptyValidity {
        /// The beginning.
        not_before: Timestamp,
        /// The end.
        not_after: Timestamp,
    },
    /// It does not parse as X.509 (RFC 5280).
    #[error("the document is not an X.509 certificate")]
    NotACertificate,
}

/// A DNS name or an IP address. A name of the reverse tree is no address (RFC 9525 §6.5): it stands for nothing here.
fn pattern(name: &GeneralName<'_>) -> Option<NamePattern> {
    match name {
        GeneralName::DNSName(name) => NamePattern::parse(name)
            .ok()
            .filter(|name| name.address().is_none()),
        GeneralName::IPAddress(octets) => {
            let address = match octets.len() {
                4 => IpAddr::from(<[u8; 4]>::try_from(*octets).ok()?),
                _ => IpAddr::from(<[u8; 16]>::try_from(*octets).ok()?),
            };
            Some(NamePattern::Exact(DnsName::of_address(address)))
        }
        _ => None,
    }
}

/// A public key, for people.
pub(super) fn describe_key(certificate: &X509Certificate<'_>) -> String {
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => format!("RSA {}", key.key_size()),
        Ok(PublicKey::EC(point)) => format!("ECDSA P-{}", point.key_size()),
        _ => certificate.public_key().algorithm.algorithm.to_id_string(),
    }
}

/// SHA-256 of a certificate, in lower-case hex.
pub(super) fn fingerprint(der: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, der).as_ref())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
