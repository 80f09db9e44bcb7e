//! Why a client certificate is refused, and what the client is told.

use std::sync::Arc;

use rustls::{CertificateError, OtherError};

/// Why a client is refused. The labels are stable: metrics, logs and alarms go by them.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, thiserror::Error)]
pub enum RejectionReason {
    /// A signature is wrong: an issuer's, or the client's own with the key of its certificate.
    #[error("a signature of the client's certificate or chain is wrong")]
    BadSignature,
    /// There is nothing to verify it against.
    #[error("the CA bundle cannot be had, so that nobody can be verified")]
    BundleUnavailable,
    /// More intermediates than an issuer allows, or than are looked at.
    #[error("the client's chain is longer than its issuers or certgate allow")]
    ChainTooLong,
    /// A CRL in the chain is out of date.
    #[error("a CRL that the client's certificate must be checked against is out of date")]
    CrlExpired,
    /// A certificate in the chain is not valid any more.
    #[error("the client's certificate or one above it has expired")]
    Expired,
    /// It is not X.509 as it must be.
    #[error("the client's certificate is malformed")]
    Malformed,
    /// A name that an issuer may not sign for.
    #[error("the client's certificate has a name that its issuer may not sign for")]
    NameConstraint,
    /// The client showed none.
    #[error("the client has shown no certificate")]
    NoCertificate,
    /// Verified, but no pattern of the listener fits it.
    #[error("the client's certificate is good, but nothing in `allow_clients` fits it")]
    NotAllowed,
    /// A certificate in the chain is not valid yet.
    #[error("the client's certificate or one above it is not valid yet")]
    NotYetValid,
    /// A certificate in the chain is on a CRL.
    #[error("the client's certificate or one above it is revoked")]
    Revoked,
    /// Its own issuer, and not in the bundle.
    #[error("the client's certificate is self-signed")]
    SelfSigned,
    /// No chain ends at a root of the bundle.
    #[error("no CA of the bundle has issued the client's certificate, or an intermediate is missing")]
    UnknownCa,
    /// A version, a critical extension or an algorithm that is not supported.
    #[error("the client's chain has an algorithm or a critical extension that is not supported")]
    Unsupported,
    /// An RSA key of less than 2048 bits.
    #[error("the client's chain has an RSA key of less than 2048 bits")]
    WeakKey,
    /// Signed with MD5 or SHA-1.
    #[error("the client's chain is signed with MD5 or SHA-1")]
    WeakSignature,
    /// Not for clients, or a CA's certificate where a client's must be, or the other way round.
    #[error("the client's certificate or one above it is not for this use")]
    WrongUsage,
}

impl RejectionReason {
    /// Every one, in the order of their labels.
    pub const ALL: [Self; 17] = [
        Self::BadSignature,
        Self::BundleUnavailable,
        Self::ChainTooLong,
        Self::CrlExpired,
        Self::Expired,
        Self::Malformed,
        Self::NameConstraint,
        Self::NoCertificate,
        Self::NotAllowed,
        Self::NotYetValid,
        Self::Revoked,
        Self::SelfSigned,
        Self::UnknownCa,
        Self::Unsupported,
        Self::WeakKey,
        Self::WeakSignature,
        Self::WrongUsage,
    ];

    /// The word in labels and log lines.
    pub fn label(self) -> &'static str {
        match self {
            Self::BadSignature => "bad-signature",
            Self::BundleUnavailable => "bundle-unavailable",
            Self::ChainTooLong => "chain-too-long",
            Self::CrlExpired => "crl-expired",
            Self::Expired => "expired",
            Self::Malformed => "malformed",
            Self::NameConstraint => "name-constraint",
            Self::NoCertificate => "no-certificate",
            Self::NotAllowed => "not-allowed",
            Self::NotYetValid => "not-yet-valid",
            Self::Revoked => "revoked",
            Self::SelfSigned => "self-signed",
            Self::UnknownCa => "unknown-ca",
            Self::Unsupported => "unsupported",
            Self::WeakKey => "weak-key",
            Self::WeakSignature => "weak-signature",
            Self::WrongUsage => "wrong-usage",
        }
    }

    /// The error of rustls that has the alert which RFC 8446 §6.2 has for this; rustls chooses alerts by errors.
    pub(super) fn error(self) -> rustls::Error {
        let problem = match self {
            Self::NoCertificate => return rustls::Error::NoCertificatesPresented,
            Self::BadSignature => CertificateError::BadSignature,
            Self::ChainTooLong | Self::SelfSigned | Self::UnknownCa => CertificateError::UnknownIssuer,
            Self::BundleUnavailable | Self::CrlExpired => CertificateError::Other(OtherError(Arc::new(self))),
            Self::Expired => CertificateError::Expired,
            Self::Malformed | Self::NameConstraint | Self::WeakKey | Self::WeakSignature => {
                CertificateError::BadEncoding
            }
            Self::NotAllowed => CertificateError::ApplicationVerificationFailure,
            Self::NotYetValid => CertificateError::NotValidYet,
            Self::Revoked => CertificateError::Revoked,
            Self::Unsupported | Self::WrongUsage => CertificateError::InvalidPurpose,
        };
        rustls::Error::InvalidCertificate(problem)
    }
}
