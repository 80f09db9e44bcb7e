//! The CA certificates that client certificates are verified against.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{PemObject, SectionKind};
use x509_parser::prelude::{FromDer, X509Certificate};

/// One CA certificate at least, each fit to verify with. Immutable.
#[derive(Clone)]
pub struct CaBundle {
    name: String,
    roots: Arc<RootCertStore>,
}

impl CaBundle {
    /// Reads the files of the bundle `name`. Blocks on the file system.
    ///
    /// # Errors
    /// [`CaBundleError`] names the file, and the block within it, that cannot be used. Nothing is skipped: a
    /// bundle is taken whole or not at all.
    pub fn load(name: &str, files: &[PathBuf]) -> Result<Self, CaBundleError> {
        let mut roots = RootCertStore::empty();
        for file in files {
            let text = std::fs::read(file).map_err(|source| CaBundleError::Unreadable {
                bundle: name.to_owned(),
                file: file.clone(),
                source,
            })?;
            let fail = |problem| CaBundleError::Unusable {
                bundle: name.to_owned(),
                file: file.clone(),
                problem,
            };
            add(&mut roots, &text).map_err(fail)?;
        }
        Ok(Self {
            name: name.to_owned(),
            roots: Arc::new(roots),
        })
    }

    /// The bundle's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The trust anchors; never empty.
    pub fn roots(&self) -> &Arc<RootCertStore> {
        &self.roots
    }
}

impl fmt::Debug for CaBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CaBundle({}, {} certificates)", self.name, self.roots.len())
    }
}

/// Why a CA bundle cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CaBundleError {
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
    #[error("block {block}: is not a certificate but {found}; only CA certificates may stand here")]
    OtherBlock {
        /// Its block.
        block: usize,
        /// Its kind.
        found: &'static str,
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

fn add(roots: &mut RootCertStore, text: &[u8]) -> Result<(), CaBundleProblem> {
    let mut found = 0;
    for (index, section) in <(SectionKind, Vec<u8>)>::pem_slice_iter(text).enumerate() {
        let block = index + 1;
        let (kind, der) = section.map_err(|error| CaBundleProblem::Syntax {
            block,
            reason: error.to_string(),
        })?;
        if let Some(found) = other_than_certificate(kind) {
            return Err(CaBundleProblem::OtherBlock { block, found });
        }
        let certificate = match X509Certificate::from_der(&der) {
            Ok(([], certificate)) => certificate,
            _ => return Err(CaBundleProblem::NotACertificate { block }),
        };
        if !certificate.is_ca() {
            return Err(CaBundleProblem::NotACa {
                block,
                subject: certificate.subject().to_string(),
            });
        }
        let added = roots.add(CertificateDer::from(der.as_slice()).into_owned());
        added.map_err(|_| CaBundleProblem::NotACertificate { block })?;
        found = block;
    }
    if found == 0 {
        return Err(CaBundleProblem::Empty);
    }
    Ok(())
}

fn other_than_certificate(kind: SectionKind) -> Option<&'static str> {
    match kind {
        SectionKind::Certificate => None,
        SectionKind::Crl => Some("a CRL"),
        SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => {
            Some("a private key")
        }
        _ => Some("something else"),
    }
}
