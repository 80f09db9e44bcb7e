//! The certificates that are served, by entry and by name.

use std::cmp::Reverse;
use std::hash::{Hash, Hasher};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use imbl::{OrdMap, OrdSet};
use rustls::SignatureScheme;

use super::index::{NameIndex, StoredNames};
use crate::certificate::{CertificateName, Credential};
use crate::name::NamePattern;

/// Every certificate that is ready to serve. Immutable: a change gives another table that shares all the rest
/// with this one, at a cost that does not depend on how many there are.
///
/// It may hold a part of what is stored. Then it knows for which names and defaults it has all there is, and about the
/// others it gives no answer: see [`Lookup`].
#[derive(Clone, Debug, Default)]
pub struct CertificateTable {
    entries: OrdMap<CertificateName, Arc<[Arc<Candidate>]>>,
    names: NameIndex,
    /// The beginnings of entry names of which the first that is stored is here.
    firsts: OrdSet<Box<str>>,
}

/// What a table that holds a part has to be given before it can answer.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Lookup {
    /// This entry.
    Entry(CertificateName),
    /// The first entry, by name, whose name begins so.
    First(Box<str>),
    /// Every certificate for this server name, by the name itself and by a wildcard.
    Name(Box<str>),
    /// This entry as it is stored now, which a moment ago was not there.
    New(CertificateName),
}

impl CertificateTable {
    /// A table without a certificate; there are none elsewhere either.
    pub fn new() -> Self {
        let mut table = Self::default();
        table.names.know(table.names.stored_names(), true);
        table
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

    /// This table without the entry `name`, which is stored nevertheless.
    #[must_use]
    pub fn evicting(&self, name: &CertificateName) -> Self {
        let mut next = self.clone();
        let evicted = next.entries.remove(name);
        for candidate in evicted.iter().flat_map(|candidates| candidates.iter()) {
            next.names.evict(candidate);
        }
        next
    }

    /// This table, which has all that is stored for the server name `name`.
    #[must_use]
    pub fn complete(&self, name: &str) -> Self {
        let mut next = self.clone();
        next.names.complete(name);
        next
    }

    /// This table, which has the first of the stored entries whose name begins with `prefix`, if there are any.
    #[must_use]
    pub fn with_first(&self, prefix: &str) -> Self {
        let mut next = self.clone();
        next.firsts.insert(prefix.into());
        next
    }

    /// This table, of whose entries none is known to be the first of anything.
    #[must_use]
    pub fn without_firsts(&self) -> Self {
        let mut next = self.clone();
        next.firsts.clear();
        next
    }

    /// The beginnings of entry names whose first entry is here, and is `name`.
    pub fn firsts_of(&self, name: &CertificateName) -> Vec<Box<str>> {
        let is_first = |prefix: &str| match self.first_entry(prefix) {
            Some([first, ..]) => first.certificate == *name,
            _ => false,
        };
        let firsts = self.firsts.iter();
        firsts.filter(|prefix| is_first(prefix)).cloned().collect()
    }

    /// A collection of names for [`knowing`](Self::knowing), without any yet.
    pub fn stored_names(&self) -> StoredNames {
        self.names.stored_names()
    }

    /// This table, knowing the names of all that is stored: these and no others. Whether every certificate is in it is
    /// `is_whole`.
    #[must_use]
    pub fn knowing(&self, names: StoredNames, is_whole: bool) -> Self {
        let mut next = self.clone();
        next.names.know(names, is_whole);
        next
    }

    /// The entries with `pattern` among their names.
    pub fn entries_for(&self, pattern: &NamePattern) -> Vec<CertificateName> {
        self.names.entries_for(pattern)
    }

    /// Whether all that is stored for `pattern` is here.
    pub fn is_complete(&self, pattern: &NamePattern) -> bool {
        self.names.is_complete_for(pattern)
    }

    /// Whether the names of all that is stored are known, and so whatever there is room for is here.
    pub fn knows_all_names(&self) -> bool {
        self.names.knows_all_names()
    }

    /// Whether every certificate that is stored is here.
    pub fn is_whole(&self) -> bool {
        self.names.is_whole()
    }

    /// Whether the entry `name` was chosen since it was last asked for.
    pub fn was_used(&self, name: &CertificateName) -> bool {
        let candidates = self.entry(name).iter();
        candidates.fold(false, |used, candidate| used | candidate.was_used())
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

    /// The first entry, by name, whose name begins with `prefix`; `None` when it may not be here.
    pub(super) fn first_entry(&self, prefix: &str) -> Option<&[Arc<Candidate>]> {
        if !self.is_whole() && !self.firsts.contains(prefix) {
            return None;
        }
        let from = (Bound::Included(prefix), Bound::Unbounded);
        Some(match self.entries.range::<_, str>(from).next() {
            Some((name, candidates)) if name.as_str().starts_with(prefix) => candidates,
            _ => &[],
        })
    }

    pub(super) fn names(&self) -> &NameIndex {
        &self.names
    }
}

/// One credential of an entry, with what the choice among several needs to know.
#[derive(Debug)]
pub struct Candidate {
    pub(super) certificate: CertificateName,
    pub(super) credential: Credential,
    key: KeyKind,
    used: AtomicBool,
    /// The last round in which a handshake used it, where that is told.
    used_in: AtomicU32,
}

impl Candidate {
    pub(super) fn new(certificate: CertificateName, credential: Credential) -> Self {
        let key = KeyKind::of(&credential);
        Self {
            certificate,
            credential,
            key,
            used: AtomicBool::new(false),
            used_in: AtomicU32::new(0),
        }
    }

    /// Its entry in the table.
    pub fn certificate(&self) -> &CertificateName {
        &self.certificate
    }

    /// Chain and key.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// What a client must be able to verify.
    pub fn key(&self) -> KeyKind {
        self.key
    }

    /// It was chosen.
    pub(super) fn use_it(&self) {
        // A line of memory that all workers read is written only when that changes it.
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it is chosen for the first time in `round`.
    pub(super) fn is_first_use_in(&self, round: u32) -> bool {
        self.used_in.load(Ordering::Relaxed) != round && self.used_in.swap(round, Ordering::Relaxed) != round
    }

    fn was_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
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
pub enum KeyKind {
    /// RSA, which signs by several schemes.
    Rsa,
    /// Any other kind has just one.
    Scheme(SignatureScheme),
}

impl Hash for KeyKind {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Rsa => state.write_u16(0),
            Self::Scheme(scheme) => state.write_u16((*scheme).into()),
        }
    }
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
