//! The CA certificates that client certificates are verified against.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

/// One CA certificate at least, each fit to verify with. Immutable.
#[derive(Clone)]
pub struct CaBundle {
    name: String,
    roots: Arc<RootCertStore>,
}

impl CaBundle {
    /// Reads the files of the bundle called `name`, and the certificates that it holds itself. Blocks on the file
    /// system.
    ///
    /// # Errors
    /// [`CaBundleError`] names the file, and the block within it, that cannot be used. Nothing is skipped: a
    /// bundle is taken whole or not at all.
    pub fn load(
        name: &str,
        files: &[PathBuf],
        certificates_pem: Option<&str>,
    ) -> Result<Self, CaBundleError> {
        let mut roots = RootCertStore::empty();
        for file in files {
            let text = std::fs::read(file).map_err(|source| CaBundleError::Unreadable {
                bundle: name.to_owned(),
                file: file.clone(),
                source,
            })?;
            add(&mut roots, &text).map_err(|problem| CaBundleError::Unusable {
                bundle: name.to_owned(),
                file: file.clone(),
                problem,
            })?;
        }
        if let Some(text) = certificates_pem {
            add(&mut roots, text.as_bytes()).map_err(|problem| CaBundleError::Unusable {
                bundle: name.to_owned(),
                file: "certificates_pem".into(),
                problem,
            })?;
        }
        if roots.is_empty() {
            return Err(CaBundleError::NoFiles {
                bundle: name.to_owned(),
            });
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

/// By the CA certificates, in their order.
impl PartialEq for CaBundle {
    fn eq(&self, other: &Self) -> bool {
        self.roots.roots == other.roots.roots
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

fn add(roots: &mut RootCertStore, text: &[u8]) -> Result<(), CaBundleProblem> {
    // The PEM reader passes over labels that it does not know; here each one is looked at.
    let others = labels(text).enumerate().find(|(_, label)| label != "CERTIFICATE");
    if let Some((index, found)) = others {
        return Err(CaBundleProblem::OtherBlock {
            block: index + 1,
            found,
        });
    }
    let mut found = 0;
    for (index, section) in CertificateDer::pem_slice_iter(text).enumerate() {
        let block = index + 1;
        let der = section.map_err(|error| CaBundleProblem::Syntax {
            block,
            reason: error.to_string(),
        })?;
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
        let added = roots.add(der.clone());
        added.map_err(|_| CaBundleProblem::NotACertificate { block })?;
        found = block;
    }
    if found == 0 {
        return Err(CaBundleProblem::Empty);
    }
    Ok(())
}

/// The labels of the PEM blocks (RFC 7468 §2), in order.
fn labels(text: &[u8]) -> impl Iterator<Item = String> {
    text.split(|byte| *byte == b'\n').filter_map(|line| {
        let label = line
            .trim_ascii()
            .strip_prefix(b"-----BEGIN ")?
            .strip_suffix(b"-----")?;
        Some(String::from_utf8_lossy(label).into_owned())
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa};
    use tempfile::TempDir;

    use super::*;
    use crate::certificate::{CredentialPem, KeyType, PrivateKey};

    fn certificate(common_name: &str, is_ca: IsCa) -> CredentialPem {
        let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.is_ca = is_ca;
        params.distinguished_name.push(DnType::CommonName, common_name);
        let signed = params.self_signed(&key.to_key_pair().unwrap()).unwrap();
        CredentialPem::new(vec![signed.der().clone()], &key)
    }

    fn ca(common_name: &str) -> String {
        certificate(common_name, IsCa::Ca(BasicConstraints::Unconstrained)).chain_to_pem()
    }

    fn load(texts: &[&str]) -> Result<CaBundle, CaBundleError> {
        let directory = TempDir::new().unwrap();
        let write = |(index, text): (usize, &&str)| {
            let file = directory.path().join(format!("{index}.pem"));
            std::fs::write(&file, text).unwrap();
            file
        };
        let files: Vec<_> = texts.iter().enumerate().map(write).collect();
        CaBundle::load("partners", &files, None)
    }

    #[test]
    fn a_bundle_holds_every_ca_certificate_of_its_files() {
        let (one, two, three) = (ca("one"), ca("two"), ca("three"));
        let bundle = load(&[&format!("# partners\n{one}{two}"), &three]).unwrap();
        assert_eq!((bundle.name(), bundle.roots().len()), ("partners", 3));
    }

    #[test]
    fn a_bundle_without_files_is_refused() {
        assert!(matches!(load(&[]), Err(CaBundleError::NoFiles { .. })));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let error = CaBundle::load("partners", &["/nowhere/root.pem".into()], None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "CA bundle `partners`: cannot read /nowhere/root.pem"
        );
        assert!(std::error::Error::source(&error).is_some());
    }

    #[test]
    fn a_file_with_anything_but_ca_certificates_is_refused_with_the_block() {
        let good = ca("good");
        let leaf = certificate("a leaf", IsCa::ExplicitNoCa);
        let cut = &good[..good.len() - 30];
        let block = |label: &str| format!("{good}-----BEGIN {label}-----\nMAA=\n-----END {label}-----\n");
        let other = |label: &str| CaBundleProblem::OtherBlock {
            block: 2,
            found: label.to_owned(),
        };
        for (text, expected) in [
            (String::new(), CaBundleProblem::Empty),
            ("no PEM at all".to_owned(), CaBundleProblem::Empty),
            (
                format!("{good}{}", leaf.chain_to_pem()),
                CaBundleProblem::NotACa {
                    block: 2,
                    subject: "CN=a leaf".to_owned(),
                },
            ),
            (
                block("CERTIFICATE"),
                CaBundleProblem::NotACertificate { block: 2 },
            ),
            (block("PRIVATE KEY"), other("PRIVATE KEY")),
            (block("X509 CRL"), other("X509 CRL")),
            (block("TRUSTED CERTIFICATE"), other("TRUSTED CERTIFICATE")),
        ] {
            match load(&[&good, &text]).unwrap_err() {
                CaBundleError::Unusable { file, problem, .. } => {
                    assert_eq!(problem, expected);
                    assert!(file.ends_with("1.pem"));
                }
                other => panic!("{other}"),
            }
        }
        let damaged = load(&[&format!("{good}{cut}")]).unwrap_err();
        assert!(
            matches!(
                &damaged,
                CaBundleError::Unusable {
                    problem: CaBundleProblem::Syntax { block: 2, .. },
                    ..
                }
            ),
            "{damaged}"
        );
    }
}
