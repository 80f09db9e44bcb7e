//! Why a CA bundle cannot be used, down to the block of a file.

use std::path::{Path, PathBuf};

use super::Skipped;

/// Why a CA bundle cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CaBundleError {
    /// It has no file at all.
    #[error("CA bundle `{bundle}` has no files; without a CA certificate nobody could be let in")]
    NoFiles {
        /// The bundle.
        bundle: String,
    },
    /// A file of it cannot be read.
    #[error("CA bundle `{bundle}`: cannot read {}", file.display())]
    Unreadable {
        /// The bundle.
        bundle: String,
        /// The file.
        file: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A file of it holds something else.
    #[error("CA bundle `{bundle}`: {} {problem}", file.display())]
    Unusable {
        /// The bundle.
        bundle: String,
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: CaBundleProblem,
    },
    /// Every certificate of it was issued by another one of it, in a circle.
    #[error("CA bundle `{bundle}` has no root: each of its certificates is issued by another one of it")]
    NoRoot {
        /// The bundle.
        bundle: String,
    },
    /// Every root of it is skipped.
    #[error("CA bundle `{bundle}` has no root that counts: {}", one_of(skipped))]
    NothingUsable {
        /// The bundle.
        bundle: String,
        /// Everything that is skipped, one at least that is no duplicate.
        skipped: Vec<Skipped>,
    },
    /// A CRL file of it cannot be used.
    #[error("CA bundle `{bundle}`: CRL file {} {problem}", file.display())]
    UnusableCrl {
        /// The bundle.
        bundle: String,
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: CrlProblem,
    },
}

impl CaBundleError {
    /// The file that is to blame, where it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Unreadable { file, .. } | Self::Unusable { file, .. } | Self::UnusableCrl { file, .. } => {
                Some(file)
            }
            Self::NoFiles { .. } | Self::NoRoot { .. } | Self::NothingUsable { .. } => None,
        }
    }

    /// The word for what is wrong; stays the same from version to version.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoFiles { .. } => "empty-ca-bundle",
            Self::Unreadable { .. } => "unreadable-file",
            Self::Unusable { problem, .. } => problem.code(),
            Self::NoRoot { .. } | Self::NothingUsable { .. } => "no-root",
            Self::UnusableCrl { problem, .. } => problem.code(),
        }
    }

    /// The certificates that count for nothing, where that is why.
    pub fn skipped(&self) -> &[Skipped] {
        match self {
            Self::NothingUsable { skipped, .. } => skipped,
            _ => &[],
        }
    }
}

/// One that shows why, for people.
fn one_of(skipped: &[Skipped]) -> String {
    let mut useless = skipped.iter().rev().filter(|skipped| !skipped.is_duplicate());
    let one = useless.next().map(|one| {
        let (file, block) = (one.file.display(), one.block);
        format!("`{}`, block {block} of {file}, {}", one.subject, one.reason)
    });
    one.unwrap_or_default()
}

/// What is wrong with a file of CRLs. They are counted from 1.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CrlProblem {
    /// Neither PEM blocks of CRLs nor one CRL in DER.
    #[error("holds no CRL: neither a `-----BEGIN X509 CRL-----` block nor DER")]
    Empty,
    /// It is larger than any CRL that could be checked in time.
    #[error("has {size} bytes; at most {limit} are read")]
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// The largest allowed, in bytes.
        limit: u64,
    },
    /// A block of another kind.
    #[error("block {block}: is `{found}`; only `X509 CRL` may stand here")]
    OtherBlock {
        /// Its block.
        block: usize,
        /// Its label.
        found: String,
    },
    /// Damaged PEM.
    #[error("block {block}: is damaged PEM: {reason}")]
    Syntax {
        /// Its block.
        block: usize,
        /// What the PEM reader found.
        reason: String,
    },
    /// Not a CRL that can be checked against.
    #[error("CRL {crl}: cannot be used: {reason}")]
    NotACrl {
        /// Which one of the file.
        crl: usize,
        /// What the reader of CRLs found: damage, a delta CRL, an indirect CRL.
        reason: String,
    },
    /// Nobody in the bundle has issued it.
    #[error(
        "CRL {crl}: is issued by `{issuer}`, which is not in the bundle; add that CA's certificate to `files`"
    )]
    ForeignIssuer {
        /// Which one of the file.
        crl: usize,
        /// Who has issued it.
        issuer: String,
    },
    /// The bundle has its issuer, but not with the key that signed it.
    #[error(
        "CRL {crl}: its signature is not by the key of `{issuer}` in the bundle, or in a way that is not trusted"
    )]
    BadSignature {
        /// Which one of the file.
        crl: usize,
        /// Who has issued it, as it says.
        issuer: String,
    },
    /// Its issuer may not sign CRLs.
    #[error("CRL {crl}: `{issuer}` may not sign CRLs (keyUsage without cRLSign, RFC 5280 §4.2.1.3)")]
    NotACrlSigner {
        /// Which one of the file.
        crl: usize,
        /// Who has issued it.
        issuer: String,
    },
}

impl CrlProblem {
    fn code(&self) -> &'static str {
        match self {
            Self::Empty => "no-crl-in-file",
            Self::TooLarge { .. } => "too-large",
            Self::OtherBlock { .. } => "other-block",
            Self::Syntax { .. } => "damaged-pem",
            Self::NotACrl { .. } => "unusable-crl",
            Self::ForeignIssuer { .. } => "foreign-crl",
            Self::BadSignature { .. } => "bad-crl-signature",
            Self::NotACrlSigner { .. } => "not-a-crl-signer",
        }
    }
}

impl CaBundleProblem {
    fn code(&self) -> &'static str {
        match self {
            Self::Empty => "no-certificate-in-file",
            Self::NotACa { .. } => "not-a-ca",
            Self::NotACertificate { .. } => "not-a-certificate",
            Self::OtherBlock { .. } => "other-block",
            Self::Syntax { .. } => "damaged-pem",
        }
    }
}

/// What is wrong with a file of a CA bundle. Blocks are counted from 1.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CaBundleProblem {
    /// Without a single certificate.
    #[error("holds no `-----BEGIN CERTIFICATE-----` block; at least one CA certificate is needed")]
    Empty,
    /// A certificate that may not sign others. As a trust anchor it could, all the same.
    #[error(
        "block {block}: `{subject}` is not a CA certificate (basicConstraints, RFC 5280 §4.2.1.9); list its issuer's"
    )]
    NotACa {
        /// Its block.
        block: usize,
        /// Its subject.
        subject: String,
    },
    /// A `CERTIFICATE` block that is not X.509.
    #[error("block {block}: is not an X.509 certificate")]
    NotACertificate {
        /// Its block.
        block: usize,
    },
    /// A block of another kind. A private key does not belong here, and a CRL would not be looked at.
    #[error("block {block}: is `{found}`; only `CERTIFICATE` may stand here")]
    OtherBlock {
        /// Its block.
        block: usize,
        /// Its label.
        found: String,
    },
    /// Damaged PEM.
    #[error("block {block}: is damaged PEM: {reason}")]
    Syntax {
        /// Its block.
        block: usize,
        /// What the PEM reader found.
        reason: String,
    },
}
