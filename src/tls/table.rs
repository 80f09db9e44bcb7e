//! The certificates that are served, by entry and by name.

use std::cmp::Reverse;
use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;
use rustls::SignatureScheme;

use super::index::NameIndex;
use crate::certificate::{CertificateName, Credential};

/// Every certificate that is ready to serve. Immutable: a change gives another table that shares all the rest
/// with this one, at a cost that does not depend on how many there are.
#[derive(Clone, Debug, Default)]
pub struct CertificateTable {
    entries: OrdMap<CertificateName, Arc<[Arc<Candidate>]>>,
    names: NameIndex,
}

impl CertificateTable {
    /// A table without a certificate.
    pub fn new() -> Self {
        Self::default()
    }

    /// This table with `credentials` as the entry `name`, in place of what the entry was. Several credentials of
    /// an entry are one certificate with keys of different kinds; an entry without any is no entry.
    #[must_use]
    pub fn with(&self, name: CertificateName, credentials: Vec<Credential>) -> Self {
        let mut next = self.without(&name);
        let mut candidates: Vec<_> = credentials
            .into_iter()
            .map(|credential| Arc::new(Candidate::new(name.clone(), credential)))
            .collect();
        candidates.sort_by(|a, b| a.preference().cmp(&b.preference()));
        for candidate in &candidates {
            next.names.insert(candidate);
        }
        if !candidates.is_empty() {
            next.entries.insert(name, candidates.into());
        }
        next
    }

    /// This table without the entry `name`.
    #[must_use]
    pub fn without(&self, name: &CertificateName) -> Self {
        let mut next = self.clone();
        let removed = next.entries.remove(name);
        for candidate in removed.iter().flat_map(|candidates| candidates.iter()) {
            next.names.remove(candidate);
        }
        next
    }

    /// The credentials of an entry, the preferred one first; empty when there is no such entry.
    pub fn get(&self, name: &CertificateName) -> impl Iterator<Item = &Credential> {
        self.entry(name).iter().map(|candidate| &candidate.credential)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn entry(&self, name: &CertificateName) -> &[Arc<Candidate>] {
        self.entries.get(name).map_or(&[], |candidates| candidates)
    }

    /// The first entry, by name, whose name begins with `prefix`.
    pub(super) fn first_entry(&self, prefix: &str) -> &[Arc<Candidate>] {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        match self.entries.range::<_, str>(from).next() {
            Some((name, candidates)) if name.as_str().starts_with(prefix) => candidates,
            _ => &[],
        }
    }

    pub(super) fn names(&self) -> &NameIndex {
        &self.names
    }
}

/// One credential of an entry, with what the choice among several needs to know.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) certificate: CertificateName,
    pub(super) credential: Credential,
    pub(super) key: KeyKind,
}

impl Candidate {
    pub(super) fn new(certificate: CertificateName, credential: Credential) -> Self {
        let key = KeyKind::of(&credential);
        Self {
            certificate,
            credential,
            key,
        }
    }

    /// Sorts before what is served less gladly: RSA, whose signatures cost more; what expires earlier. The rest
    /// only makes the order complete, so that it never depends on the order of insertion.
    pub(super) fn preference(&self) -> impl Ord {
        let leaf = self.credential.leaf();
        (
            self.key == KeyKind::Rsa,
            Reverse(leaf.not_after),
            &self.certificate,
            &leaf.fingerprint,
        )
    }
}

/// What a client must be able to verify.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum KeyKind {
    /// RSA, which signs by several schemes.
    Rsa,
    /// Any other kind has just one.
    Scheme(SignatureScheme),
}

impl KeyKind {
    fn of(credential: &Credential) -> Self {
        let key = &credential.certified_key().key;
        let can_sign = |scheme: &SignatureScheme| key.choose_scheme(&[*scheme]).is_some();
        let scheme = ONE_SCHEME_EACH.into_iter().find(can_sign);
        scheme.map_or(Self::Rsa, Self::Scheme)
    }
}

const ONE_SCHEME_EACH: [SignatureScheme; 7] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::ED25519,
    SignatureScheme::ML_DSA_44,
    SignatureScheme::ML_DSA_65,
    SignatureScheme::ML_DSA_87,
];
