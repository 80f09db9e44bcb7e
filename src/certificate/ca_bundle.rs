//! The CA certificates that client certificates are verified against, and what those CAs have revoked.

mod authorities;
mod error;
mod revocation;
mod skipped;
mod stray;
mod unfit_crl;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use authorities::{add, by_subject};
use skipped::{SortedOut, sort_out};

use crate::certificate::Leaf;
use crate::certificate::leaf::hex;
use crate::clock::Timestamp;

pub use error::{CaBundleError, CaBundleProblem, CrlProblem};
pub use revocation::{MAX_CRL_BYTES, Revocation, RevocationList, RevocationLists, crls_problem};
pub use skipped::{SkipReason, Skipped};
pub use stray::{SkippedLines, SkippedText};

/// What is wrong with a PEM text that should hold CA certificates, and nothing else.
pub fn ca_certificates_problem(text: &[u8]) -> Option<CaBundleProblem> {
    add(&mut Vec::new(), Path::new(""), text).err()
}

/// What a bundle is made of. PEM text that is given itself is called by its key in messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct CaBundleSources<'a> {
    /// PEM files with CA certificates.
    pub files: &'a [PathBuf],
    /// CA certificates.
    pub certificates_pem: Option<&'a str>,
    /// Files with CRLs of those CAs, PEM or DER.
    pub crl_files: &'a [PathBuf],
    /// CRLs.
    pub crls_pem: Option<&'a str>,
    /// Files with CRLs that were got from elsewhere, and must be there. What is in them of CAs that have left the bundle
    /// meanwhile is passed over.
    pub fetched_crls: &'a [PathBuf],
    /// Roots that have expired by now do not count.
    pub now: Timestamp,
}

/// A certificate of a bundle, for people.
#[derive(Clone, Debug)]
pub struct Authority {
    /// Its subject.
    pub subject: String,
    /// Whether it is trusted for itself; otherwise as far as another one of the bundle says.
    pub is_root: bool,
    /// What it says beside that.
    pub leaf: Leaf,
}

/// Reads a file of a bundle.
pub type FileReader<'r> = dyn FnMut(&Path) -> io::Result<Vec<u8>> + 'r;

/// One CA certificate at least, each fit to verify with, and the CRLs of some of them. Immutable.
///
/// Roots are trusted. A certificate that another one of the bundle has issued is an intermediate: it completes what
/// clients send, but is believed only as far as its issuer says, so that its issuer can revoke it. The order in which
/// files and certificates were given makes no difference. What is no CA certificate is refused; a CA certificate that
/// counts for nothing is skipped, and listed.
#[derive(Clone)]
pub struct CaBundle {
    name: String,
    /// In the order of their content.
    certificates: Arc<[CertificateDer<'static>]>,
    /// The same, and those that are skipped: no CRL is.
    crl_issuers: Arc<[CertificateDer<'static>]>,
    skipped: Arc<[Skipped]>,
    skipped_text: Arc<[SkippedText]>,
    first_expiry: Option<Timestamp>,
    roots: Arc<RootCertStore>,
    /// By their subjects, without tag and length.
    intermediates: Arc<HashMap<Vec<u8>, Vec<CertificateDer<'static>>>>,
    revocation: Arc<RevocationLists>,
    digest: [u8; 32],
}

impl CaBundle {
    /// Makes the bundle called `name`. Blocks on the file system.
    ///
    /// # Errors
    /// [`CaBundleError`] names the file, and the block within it, that cannot be used.
    pub fn load(name: &str, sources: &CaBundleSources<'_>) -> Result<Self, CaBundleError> {
        Self::load_with(name, sources, &mut |file| std::fs::read(file))
    }

    /// The same by way of `reader`, which is asked for each of `files` and `crl_files` once.
    ///
    /// # Errors
    /// As [`load`](Self::load) has them.
    pub fn load_with(
        name: &str,
        sources: &CaBundleSources<'_>,
        reader: &mut FileReader<'_>,
    ) -> Result<Self, CaBundleError> {
        let CaBundleSources {
            files,
            certificates_pem,
            crl_files,
            crls_pem,
            fetched_crls,
            now,
        } = *sources;
        let (mut found, mut skipped_text) = (Vec::new(), Vec::new());
        let mut pass_over = |file: &Path, lines: SkippedLines| {
            let file = file.to_owned();
            skipped_text.extend((!lines.is_empty()).then_some(SkippedText { file, lines }));
        };
        let unusable = |file: &Path, problem| CaBundleError::Unusable {
            bundle: name.to_owned(),
            file: file.to_owned(),
            problem,
        };
        for file in files {
            let text = read(name, file, reader)?;
            let lines = add(&mut found, file, &text).map_err(|problem| unusable(file, problem))?;
            pass_over(file, lines);
        }
        if let Some(text) = certificates_pem {
            let key = Path::new("certificates_pem");
            let lines = add(&mut found, key, text.as_bytes()).map_err(|problem| unusable(key, problem))?;
            pass_over(key, lines);
        }
        if found.is_empty() {
            return Err(CaBundleError::NoFiles {
                bundle: name.to_owned(),
            });
        }
        let SortedOut {
            authorities,
            anchors,
            intermediates,
            skipped,
        } = sort_out(found, now);
        let mut certificates = [&anchors[..], &intermediates[..]].concat();
        certificates.sort_by(|one, other| one.as_ref().cmp(other.as_ref()));
        let first_expiry = anchors.iter().filter_map(skipped::not_after).min();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(anchors);
        if roots.is_empty() {
            let bundle = name.to_owned();
            let is_telling = skipped.iter().any(|skipped| !skipped.is_duplicate());
            return Err(match is_telling {
                true => CaBundleError::NothingUsable { bundle, skipped },
                false => CaBundleError::NoRoot { bundle },
            });
        }
        let mut revocation = RevocationLists::default();
        let unusable = |file: &Path, problem| CaBundleError::UnusableCrl {
            bundle: name.to_owned(),
            file: file.to_owned(),
            problem,
        };
        for file in crl_files {
            revocation::check_size(file).map_err(|problem| unusable(file, problem))?;
            let content = read(name, file, reader)?;
            let added = revocation.add(&content, &authorities);
            pass_over(file, added.map_err(|problem| unusable(file, problem))?);
        }
        if let Some(text) = crls_pem {
            let (key, added) = (
                Path::new("crls_pem"),
                revocation.add(text.as_bytes(), &authorities),
            );
            pass_over(key, added.map_err(|problem| unusable(key, problem))?);
        }
        for file in fetched_crls {
            let content = std::fs::read(file).unwrap_or_default();
            revocation.add_known(&content, &authorities);
        }
        revocation.settle();
        Ok(Self {
            name: name.to_owned(),
            roots: Arc::new(roots),
            intermediates: Arc::new(by_subject(intermediates)),
            revocation: Arc::new(revocation),
            digest: digest_of(certificates.iter().map(AsRef::as_ref)),
            certificates: certificates.into(),
            crl_issuers: authorities.into(),
            skipped: skipped.into(),
            skipped_text: skipped_text.into(),
            first_expiry,
        })
    }

    /// A bundle in the place of one that cannot be had: it vouches for nobody. `skipped` is what would be in it, and counts
    /// for nothing.
    pub fn unavailable(name: &str, skipped: &[Skipped]) -> Self {
        Self {
            name: name.to_owned(),
            certificates: Arc::default(),
            crl_issuers: Arc::default(),
            skipped: skipped.into(),
            skipped_text: Arc::default(),
            first_expiry: None,
            roots: Arc::new(RootCertStore::empty()),
            intermediates: Arc::default(),
            revocation: Arc::default(),
            digest: digest_of(std::iter::empty()),
        }
    }

    /// Whether it stands in the place of one that cannot be had.
    pub fn is_unavailable(&self) -> bool {
        self.roots.is_empty()
    }

    /// The same bundle with one more CRL, in DER, of the CA whose certificate is `issuer`; where it has one of that CA already,
    /// the newer counts. Reads no file.
    ///
    /// # Errors
    /// [`CaBundleError::UnusableCrl`] when it is not a CRL that this CA has signed.
    pub fn with_crl(&self, der: &[u8], issuer: &CertificateDer<'static>) -> Result<Self, CaBundleError> {
        let revocation = self.revocation.with(der, issuer);
        let revocation = revocation.map_err(|problem| CaBundleError::UnusableCrl {
            bundle: self.name.clone(),
            file: "of the local CA".into(),
            problem,
        })?;
        Ok(Self {
            revocation: Arc::new(revocation),
            ..self.clone()
        })
    }

    /// The newest CRL of each CA in `new`, PEM or DER, which was had from `origin`, and in `known`, which was had there before;
    /// as PEM. In `known`, what is of no CA of the bundle is passed over. Reads no file.
    ///
    /// # Errors
    /// [`CaBundleError::UnusableCrl`] when one of `new` is not signed by a CA of the bundle.
    pub fn newest_crls(
        &self,
        new: &[u8],
        known: &[u8],
        origin: &str,
    ) -> Result<(String, RevocationLists), CaBundleError> {
        revocation::newest(new, known, &self.crl_issuers).map_err(|problem| CaBundleError::UnusableCrl {
            bundle: self.name.clone(),
            file: origin.into(),
            problem,
        })
    }

    /// Every certificate of it, roots and intermediates, in the order of their content.
    pub fn authorities(&self) -> impl Iterator<Item = Authority> {
        self.certificates.iter().filter_map(|certificate| {
            let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
            let same_subject = self.intermediates.values().flatten();
            Some(Authority {
                subject: parsed.subject().to_string(),
                is_root: !same_subject
                    .into_iter()
                    .any(|intermediate| intermediate == certificate),
                leaf: Leaf::parse(certificate).ok()?,
            })
        })
    }

    /// The certificates that are left out, and why.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// The text outside the blocks of its files, which is passed over.
    pub fn skipped_text(&self) -> &[SkippedText] {
        &self.skipped_text
    }

    /// When the first of its roots expires; it counts until the bundle is made anew.
    pub fn first_expiry(&self) -> Option<Timestamp> {
        self.first_expiry
    }

    /// How many certificates it has.
    pub fn authority_count(&self) -> usize {
        self.certificates.len()
    }

    /// The bundle's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The trust anchors; empty only where it is [unavailable](Self::is_unavailable).
    pub fn roots(&self) -> &Arc<RootCertStore> {
        &self.roots
    }

    /// Whether it has certificates that are believed only as far as an issuer of theirs says.
    pub fn has_intermediates(&self) -> bool {
        !self.intermediates.is_empty()
    }

    /// Such certificates with this subject, given as its content without tag and length.
    pub fn intermediates(&self, subject: &[u8]) -> &[CertificateDer<'static>] {
        self.intermediates.get(subject).map_or(&[], Vec::as_slice)
    }

    /// What the CAs have revoked.
    pub fn revocation(&self) -> &RevocationLists {
        &self.revocation
    }

    /// SHA-256 over the CA certificates and the CRLs that count, whatever the order in which they were given, in
    /// lower-case hex: the same for the same contents, on every gateway.
    pub fn contents_digest(&self) -> String {
        hex(&digest_of(
            [&self.digest[..], &self.revocation.digest()].into_iter(),
        ))
    }

    /// SHA-256 over the CA certificates.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }
}

/// By the CA certificates and the CRLs.
impl PartialEq for CaBundle {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest && self.revocation.digest() == other.revocation.digest()
    }
}

impl fmt::Debug for CaBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "CaBundle({}, {} roots, {} intermediates, {} CRLs)",
            self.name,
            self.roots.len(),
            self.intermediates.values().map(Vec::len).sum::<usize>(),
            self.revocation.iter().count()
        )
    }
}

fn read(bundle: &str, file: &Path, reader: &mut FileReader<'_>) -> Result<Vec<u8>, CaBundleError> {
    reader(file).map_err(|source| CaBundleError::Unreadable {
        bundle: bundle.to_owned(),
        file: file.to_owned(),
        source,
    })
}

/// SHA-256 over all of `parts`, each with its length before it.
fn digest_of<'p>(parts: impl Iterator<Item = &'p [u8]>) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
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
        let sources = CaBundleSources {
            files: &files,
            ..CaBundleSources::default()
        };
        CaBundle::load("partners", &sources)
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
        let sources = CaBundleSources {
            files: &["/nowhere/root.pem".into()],
            ..CaBundleSources::default()
        };
        let error = CaBundle::load("partners", &sources).unwrap_err();
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
