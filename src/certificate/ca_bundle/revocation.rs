//! Certificate revocation lists (RFC 5280 §5), checked once when they are read and asked at each handshake.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use webpki::OwnedCertRevocationList;
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::authorities::{labels, signed_by};
use super::digest_of;
use super::error::CrlProblem;
use super::stray::{SkippedLines, outside};
use super::unfit_crl::in_words;
use crate::certificate::crl_to_pem;
use crate::clock::Timestamp;
use crate::pem::flaw;

/// What the CAs of a bundle have revoked. A CA that has given no CRL has revoked nothing.
#[derive(Clone, Debug, Default)]
pub struct RevocationLists {
    lists: Vec<Arc<RevocationList>>,
    /// One that has not been had yet could name anybody.
    is_awaiting: bool,
    digest: [u8; 32],
}

/// One CRL whose signature was good.
#[derive(Debug)]
pub struct RevocationList {
    /// Who has issued it, for people.
    pub issuer: String,
    /// When it was made.
    pub this_update: Timestamp,
    /// When the next one is due; after that it says nothing of what is still good.
    pub next_update: Timestamp,
    /// How many certificates are on it.
    pub entries: usize,
    list: webpki::CertRevocationList<'static>,
    number: Option<Vec<u8>>,
    key: Vec<u8>,
    der_digest: [u8; 32],
}

/// By their content.
impl PartialEq for RevocationList {
    fn eq(&self, other: &Self) -> bool {
        self.der_digest == other.der_digest
    }
}

/// What the CRLs of a CA say of a certificate of that CA.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Revocation {
    /// There is a CRL, and the certificate is not on it; or there is none.
    Good,
    /// A CRL is out of date since then, so that nobody knows.
    Expired(Timestamp),
    /// The certificate is on a CRL, be it out of date or not.
    Revoked,
}

impl RevocationLists {
    /// Whether there is none at all.
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty() && !self.is_awaiting
    }

    /// Each CRL that counts.
    pub fn iter(&self) -> impl Iterator<Item = &RevocationList> {
        self.lists.iter().map(Arc::as_ref)
    }

    /// Whether there is a CRL that has not been had yet.
    pub fn is_awaiting(&self) -> bool {
        self.is_awaiting
    }

    /// SHA-256 over the CRLs that count.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// What is said of the certificate with this `serial`, by the CA with this name and key, at `now`. All
    /// three are the content of their DER, without tag and length; `key` is that of the SubjectPublicKeyInfo.
    pub fn status(&self, issuer: &[u8], key: &[u8], serial: &[u8], now: Timestamp) -> Revocation {
        let mut status = match self.is_awaiting {
            true => Revocation::Expired(now),
            false => Revocation::Good,
        };
        for list in &self.lists {
            if list.list.issuer() != issuer || list.key != key {
                continue;
            }
            match list.list.find_serial(serial) {
                Ok(None) if now <= list.next_update => {}
                Ok(None) => status = Revocation::Expired(list.next_update),
                // An entry that cannot be read could be this one.
                Ok(Some(_)) | Err(_) => return Revocation::Revoked,
            }
        }
        status
    }

    /// Adds the CRLs in `content`, of which each must be signed by one of `authorities`. Lines of text are given back.
    pub(super) fn add(
        &mut self,
        content: &[u8],
        authorities: &[CertificateDer<'static>],
    ) -> Result<SkippedLines, CrlProblem> {
        let (ders, skipped) = split(content)?;
        for (index, der) in ders.iter().enumerate() {
            let list = RevocationList::verify(index + 1, der, authorities)?;
            self.lists.push(Arc::new(list));
        }
        Ok(skipped)
    }

    /// Adds the CRLs in `content` that are by one of `authorities`. Where there is none, one is still to come.
    pub(super) fn add_known(&mut self, content: &[u8], authorities: &[CertificateDer<'static>]) {
        let before = self.lists.len();
        let (found, _) = split(content).unwrap_or_default();
        let lists = found
            .iter()
            .filter_map(|der| RevocationList::verify(1, der, authorities).ok());
        self.lists.extend(lists.map(Arc::new));
        self.is_awaiting |= self.lists.len() == before;
    }

    /// These, and the CRL `der`, which must be signed by `issuer`.
    pub(super) fn with(&self, der: &[u8], issuer: &CertificateDer<'static>) -> Result<Self, CrlProblem> {
        let list = RevocationList::verify(1, der, std::slice::from_ref(issuer))?;
        let mut all = self.clone();
        all.lists.push(Arc::new(list));
        all.settle();
        Ok(all)
    }

    /// Keeps the newest of each CA and each scope, in the order of their content.
    pub(super) fn settle(&mut self) {
        let lists = std::mem::take(&mut self.lists);
        let is_superseded = |list: &Arc<RevocationList>| lists.iter().any(|other| other.supersedes(list));
        let superseded: Vec<bool> = lists.iter().map(is_superseded).collect();
        let kept = lists.into_iter().zip(superseded);
        self.lists = kept.filter(|(_, gone)| !gone).map(|(list, _)| list).collect();
        self.lists.sort_by_key(|list| list.der_digest);
        self.lists.dedup_by_key(|list| list.der_digest);
        let awaiting: Option<&[u8]> = self.is_awaiting.then_some(b"awaiting");
        let lists = self.lists.iter().map(|list| &list.der_digest[..]);
        self.digest = digest_of(lists.chain(awaiting));
    }
}

impl RevocationList {
    fn verify(crl: usize, der: &[u8], authorities: &[CertificateDer<'static>]) -> Result<Self, CrlProblem> {
        let unusable = |reason: String| CrlProblem::NotACrl { crl, reason };
        let list =
            OwnedCertRevocationList::from_der(der).map_err(|error| unusable(in_words(&error).to_owned()))?;
        let (_, parsed) =
            CertificateRevocationList::from_der(der).map_err(|_| unusable("it is damaged".to_owned()))?;
        let next_update = parsed
            .next_update()
            .ok_or_else(|| unusable("it has no nextUpdate".to_owned()))?;
        let issuer = parsed.issuer().to_string();
        let mut problem = CrlProblem::ForeignIssuer {
            crl,
            issuer: issuer.clone(),
        };
        for authority in authorities {
            let Ok((_, certificate)) = X509Certificate::from_der(authority) else {
                continue;
            };
            if certificate.subject().as_raw() != parsed.issuer().as_raw() {
                continue;
            }
            let issuer = issuer.clone();
            if !signed_by(
                authority,
                parsed.tbs_cert_list.as_ref(),
                &parsed.signature_value.data,
            ) {
                problem = CrlProblem::BadSignature { crl, issuer };
                continue;
            }
            let may_sign = match certificate.key_usage() {
                Ok(usage) => usage.is_none_or(|usage| usage.value.crl_sign()),
                Err(_) => false,
            };
            if !may_sign {
                return Err(CrlProblem::NotACrlSigner { crl, issuer });
            }
            let Ok(anchor) = webpki::anchor_from_trusted_cert(authority) else {
                continue;
            };
            return Ok(Self {
                issuer,
                this_update: Timestamp::from_unix_seconds(parsed.last_update().timestamp()),
                next_update: Timestamp::from_unix_seconds(next_update.timestamp()),
                entries: parsed.iter_revoked_certificates().count(),
                list: list.into(),
                number: parsed.crl_number().map(|number| number.to_bytes_be()),
                key: anchor.subject_public_key_info.as_ref().to_vec(),
                der_digest: digest_of(std::iter::once(der)),
            });
        }
        Err(problem)
    }

    /// Whether it says anew what `other` said: the same CA's later one, for the same scope (RFC 5280 §5.2.3).
    fn supersedes(&self, other: &Self) -> bool {
        let same = self.key == other.key
            && self.list.issuer() == other.list.issuer()
            && self.list.issuing_distribution_point() == other.list.issuing_distribution_point();
        let is_later = match (&self.number, &other.number) {
            (Some(ours), Some(theirs)) if ours != theirs => (ours.len(), ours) > (theirs.len(), theirs),
            _ => self.this_update > other.this_update,
        };
        same && is_later
    }
}

/// What is wrong with a PEM text that should hold CRLs, and nothing else, as far as can be told without their issuers.
pub fn crls_problem(text: &[u8]) -> Option<CrlProblem> {
    split(text).err()
}

/// The newest CRL of each CA in `new` and `known`, as PEM and as lists. Of `known` only what is by `authorities`.
pub(super) fn newest(
    new: &[u8],
    known: &[u8],
    authorities: &[CertificateDer<'static>],
) -> Result<(String, RevocationLists), CrlProblem> {
    let mut lists = RevocationLists::default();
    lists.add(new, authorities)?;
    let (mut all, _) = split(new)?;
    for der in split(known).unwrap_or_default().0 {
        if let Ok(list) = RevocationList::verify(1, &der, authorities) {
            lists.lists.push(Arc::new(list));
            all.push(der);
        }
    }
    lists.settle();
    let counts = |der: &Vec<u8>| {
        let digest = digest_of(std::iter::once(&der[..]));
        lists.lists.iter().any(|list| list.der_digest == digest)
    };
    all.sort();
    all.dedup();
    let pem = all.iter().filter(|der| counts(der)).map(|der| crl_to_pem(der));
    Ok((pem.collect(), lists))
}

/// Whether a file of CRLs is small enough to be read.
pub(super) fn check_size(file: &Path) -> Result<(), CrlProblem> {
    let size = std::fs::metadata(file).map_or(0, |metadata| metadata.len());
    match size > MAX_CRL_BYTES {
        true => Err(CrlProblem::TooLarge {
            size,
            limit: MAX_CRL_BYTES,
        }),
        false => Ok(()),
    }
}

/// The CRLs of a file, PEM blocks or one in DER; and its lines of text.
fn split(content: &[u8]) -> Result<(Vec<Vec<u8>>, SkippedLines), CrlProblem> {
    const SEQUENCE: u8 = 0x30;
    if content.first() == Some(&SEQUENCE) && !content.is_ascii() {
        return Ok((vec![content.to_vec()], SkippedLines::default()));
    }
    let skipped = outside(content).map_err(|stray| CrlProblem::Syntax {
        block: stray.block,
        reason: stray.to_string(),
    })?;
    if let Some((index, found)) = labels(content).enumerate().find(|(_, label)| label != "X509 CRL") {
        return Err(CrlProblem::OtherBlock {
            block: index + 1,
            found,
        });
    }
    let mut all = Vec::new();
    for (index, section) in CertificateRevocationListDer::pem_slice_iter(content).enumerate() {
        let der = section.map_err(|error| CrlProblem::Syntax {
            block: index + 1,
            reason: flaw(&error).to_owned(),
        })?;
        all.push(der.to_vec());
    }
    match all.is_empty() {
        true => Err(CrlProblem::Empty),
        false => Ok((all, skipped)),
    }
}

/// Bytes of a file of CRLs: half a million entries.
pub const MAX_CRL_BYTES: u64 = 32 * 1024 * 1024;
