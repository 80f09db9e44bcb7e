//! From a name to the certificates that are valid for it.

use std::hash::{BuildHasher, RandomState};
use std::slice;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use super::table::Candidate;
use crate::certificate::CertificateName;
use crate::name::NamePattern;

/// A persistent index over the names in the certificates themselves.
///
/// It is keyed by a secret hash of the name, not by the name: 40 bytes for a name instead of 70 (by name, sorted)
/// or up to 200 (by name, hashed), and three times faster than sorted names. What a hash leads to is compared
/// with the name asked for, so that a collision costs a comparison and is never served.
///
/// Not every certificate need be loaded. A name is answered only when all that the store has for it is known to be
/// here; otherwise the choice could fall on the wrong one.
#[derive(Clone, Debug, Default)]
pub(super) struct NameIndex {
    slots: OrdMap<u64, Slot>,
    /// The hashes of all names that the store has a certificate for, and perhaps of some more; `None` until they are
    /// known.
    stored: Option<OrdSet<u64>>,
    /// Whether everything is here, whatever the slots say.
    is_whole: bool,
    hasher: RandomState,
}

/// The candidates of a hash, the preferred one first.
#[derive(Clone, Debug)]
struct Slot {
    candidates: Candidates,
    /// Whether the store has no others.
    is_complete: bool,
}

#[derive(Clone, Debug)]
enum Candidates {
    One(Arc<Candidate>),
    Several(Arc<[Arc<Candidate>]>),
}

impl NameIndex {
    /// Adds a candidate under each of its names.
    pub(super) fn insert(&mut self, candidate: &Arc<Candidate>) {
        for pattern in &candidate.credential.leaf().names {
            let hash = self.hash(pattern.is_wildcard(), pattern.base().as_str());
            let is_complete = self.is_complete(hash);
            let mut candidates = self.others(hash, candidate);
            candidates.push(candidate.clone());
            candidates.sort_by(|a, b| a.preference().cmp(&b.preference()));
            self.put(hash, candidates, is_complete);
            if let Some(stored) = &mut self.stored {
                stored.insert(hash);
            }
        }
    }

    /// Removes a candidate, which the store has no longer, from under each of its names.
    pub(super) fn remove(&mut self, candidate: &Arc<Candidate>) {
        for pattern in &candidate.credential.leaf().names {
            let hash = self.hash(pattern.is_wildcard(), pattern.base().as_str());
            let is_complete = self.is_complete(hash);
            self.put(hash, self.others(hash, candidate), is_complete);
        }
    }

    /// Forgets a candidate that the store still has.
    pub(super) fn evict(&mut self, candidate: &Arc<Candidate>) {
        self.is_whole = false;
        for pattern in &candidate.credential.leaf().names {
            let hash = self.hash(pattern.is_wildcard(), pattern.base().as_str());
            self.put(hash, self.others(hash, candidate), false);
        }
    }

    /// All that the store has for the server name `name` is here now, by the name itself and by a wildcard.
    pub(super) fn complete(&mut self, name: &str) {
        for (is_wildcard, base) in [(false, name), (true, parent(name))] {
            let hash = self.hash(is_wildcard, base);
            let candidates = self.candidates(hash).to_vec();
            self.put(hash, candidates, true);
        }
    }

    /// A collection of names for [`know`](Self::know), without any yet.
    pub(super) fn stored_names(&self) -> StoredNames {
        StoredNames {
            hashes: OrdSet::new(),
            hasher: self.hasher.clone(),
        }
    }

    /// From now on it is known that the store has certificates for these names and no others; whether all of them are
    /// here is `is_whole`.
    pub(super) fn know(&mut self, names: StoredNames, is_whole: bool) {
        self.stored = Some(names.hashes);
        self.is_whole = is_whole;
        // What was asked for and is not stored need not be remembered any more.
        let nothing = self.slots.iter().filter(|(_, slot)| slot.is_nothing());
        let nothing: Vec<_> = nothing.map(|(hash, _)| *hash).collect();
        for hash in nothing {
            self.slots.remove(&hash);
        }
    }

    /// Whether the names of all that is stored are known, here or not.
    pub(super) fn knows_all_names(&self) -> bool {
        self.stored.is_some()
    }

    /// The entries that are here under `pattern`.
    pub(super) fn entries_for(&self, pattern: &NamePattern) -> Vec<CertificateName> {
        let candidates = self.candidates(self.hash(pattern.is_wildcard(), pattern.base().as_str()));
        candidates
            .iter()
            .map(|candidate| candidate.certificate.clone())
            .collect()
    }

    /// Whether all that the store has for `pattern` is here.
    pub(super) fn is_complete_for(&self, pattern: &NamePattern) -> bool {
        self.is_complete(self.hash(pattern.is_wildcard(), pattern.base().as_str()))
    }

    /// Whether everything that the store has is here.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// The candidates that hold `name` itself, the preferred one first. `name` is in lower case. `None` when there may
    /// be others in the store.
    pub(super) fn exact<'t>(&'t self, name: &'t str) -> Option<impl Iterator<Item = &'t Arc<Candidate>>> {
        self.find(false, name)
    }

    /// The candidates that hold a wildcard for `name`, in the same way.
    pub(super) fn wildcard<'t>(&'t self, name: &'t str) -> Option<impl Iterator<Item = &'t Arc<Candidate>>> {
        self.find(true, parent(name))
    }

    fn find<'t>(&'t self, wildcard: bool, base: &'t str) -> Option<impl Iterator<Item = &'t Arc<Candidate>>> {
        let holds = move |candidate: &&Arc<Candidate>| {
            let mut names = candidate.credential.leaf().names.iter();
            names.any(|pattern| pattern.is_wildcard() == wildcard && pattern.base().as_str() == base)
        };
        let hash = self.hash(wildcard, base);
        let is_known = base.is_empty() || self.is_complete(hash);
        is_known.then(|| self.candidates(hash).iter().filter(holds))
    }

    fn is_complete(&self, hash: u64) -> bool {
        let is_not_stored = || self.stored.as_ref().is_some_and(|stored| !stored.contains(&hash));
        self.is_whole
            || match self.slots.get(&hash) {
                Some(slot) => slot.is_complete,
                None => is_not_stored(),
            }
    }

    fn candidates(&self, hash: u64) -> &[Arc<Candidate>] {
        match self.slots.get(&hash).map(|slot| &slot.candidates) {
            Some(Candidates::One(candidate)) => slice::from_ref(candidate),
            Some(Candidates::Several(candidates)) => candidates,
            None => &[],
        }
    }

    fn others(&self, hash: u64, candidate: &Arc<Candidate>) -> Vec<Arc<Candidate>> {
        let all = self.candidates(hash).iter();
        all.filter(|other| !Arc::ptr_eq(other, candidate))
            .cloned()
            .collect()
    }

    fn put(&mut self, hash: u64, mut candidates: Vec<Arc<Candidate>>, is_complete: bool) {
        let candidates = match (candidates.len(), candidates.pop()) {
            (1, Some(only)) => Candidates::One(only),
            (_, Some(last)) => {
                candidates.push(last);
                Candidates::Several(candidates.into())
            }
            (_, None) => {
                self.slots.remove(&hash);
                match &mut self.stored {
                    Some(stored) if is_complete => drop(stored.remove(&hash)),
                    Some(_) => {}
                    // Until the stored names are known, what is not there has to be remembered too.
                    None if is_complete => drop(self.slots.insert(hash, Slot::nothing())),
                    None => {}
                }
                return;
            }
        };
        let slot = Slot {
            candidates,
            is_complete,
        };
        self.slots.insert(hash, slot);
    }

    fn hash(&self, wildcard: bool, base: &str) -> u64 {
        self.hasher.hash_one((wildcard, base))
    }
}

/// The names that the store has certificates for, some 20 bytes each, as one table and its successors know them.
#[derive(Clone, Debug)]
pub struct StoredNames {
    hashes: OrdSet<u64>,
    hasher: RandomState,
}

impl StoredNames {
    /// Adds one.
    pub fn insert(&mut self, pattern: &NamePattern) {
        let name = (pattern.is_wildcard(), pattern.base().as_str());
        self.hashes.insert(self.hasher.hash_one(name));
    }
}

impl Slot {
    fn nothing() -> Self {
        Self {
            candidates: Candidates::Several(Arc::default()),
            is_complete: true,
        }
    }

    fn is_nothing(&self) -> bool {
        matches!(&self.candidates, Candidates::Several(candidates) if candidates.is_empty())
    }
}

/// What a wildcard for `name` is a wildcard of. Where that is nothing, nothing is found, for no name is empty.
fn parent(name: &str) -> &str {
    name.split_once('.').map_or("", |(_, parent)| parent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::{Credential, CredentialPem, KeyType, PrivateKey};

    fn candidate(name: &str) -> Arc<Candidate> {
        let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        let leaf = params.self_signed(&key.to_key_pair().unwrap()).unwrap();
        let pem = CredentialPem::new(vec![leaf.der().clone()], &key);
        let certificate = CertificateName::parse("www").unwrap();
        Arc::new(Candidate::new(certificate, Credential::from_pem(&pem).unwrap()))
    }

    #[test]
    fn a_certificate_is_not_found_by_a_name_that_only_has_the_same_hash() {
        let (a, b) = (candidate("a.example"), candidate("b.example"));
        let mut index = NameIndex::default();
        index.know(index.stored_names(), true);
        let hash = index.hash(false, "b.example");
        index.put(hash, vec![a.clone()], true);
        assert_eq!(index.exact("b.example").unwrap().count(), 0);
        index.insert(&b);
        let found: Vec<_> = index.exact("b.example").unwrap().collect();
        assert!(matches!(found[..], [only] if Arc::ptr_eq(only, &b)));
        index.remove(&b);
        assert!(matches!(index.candidates(hash), [left] if Arc::ptr_eq(left, &a)));
    }

    #[test]
    fn a_removed_certificate_leaves_nothing_behind() {
        let (a, wildcard) = (candidate("a.example"), candidate("*.b.example"));
        let mut index = NameIndex::default();
        index.know(index.stored_names(), true);
        index.insert(&a);
        index.insert(&wildcard);
        let counts = |index: &NameIndex, name| {
            let exact = index.exact(name).map(Iterator::count);
            (exact, index.wildcard(name).map(Iterator::count))
        };
        assert_eq!(counts(&index, "a.example"), (Some(1), Some(0)));
        assert_eq!(counts(&index, "x.b.example"), (Some(0), Some(1)));
        assert_eq!(counts(&index, "b.example"), (Some(0), Some(0)));
        index.remove(&a);
        index.remove(&wildcard);
        assert!(index.slots.is_empty() && index.stored.unwrap().is_empty());
    }

    #[test]
    fn a_name_is_answered_only_once_all_that_is_stored_for_it_is_here() {
        let (one, other) = (candidate("a.example"), candidate("a.example"));
        let pattern = NamePattern::parse("a.example").unwrap();
        for names_are_known in [false, true] {
            let mut index = NameIndex::default();
            if names_are_known {
                let mut names = index.stored_names();
                names.insert(&pattern);
                index.know(names, false);
            }
            let count = |index: &NameIndex, name| index.exact(name).map(Iterator::count);
            assert_eq!(count(&index, "a.example"), None);
            assert_eq!(count(&index, "b.example"), names_are_known.then_some(0));
            index.insert(&one);
            assert_eq!(count(&index, "a.example"), None, "the other is not here");
            index.insert(&other);
            index.complete("a.example");
            index.complete("b.example");
            assert_eq!(
                (count(&index, "a.example"), count(&index, "b.example")),
                (Some(2), Some(0))
            );
            index.evict(&one);
            assert_eq!(count(&index, "a.example"), None);
            index.insert(&one);
            index.complete("a.example");
            index.remove(&one);
            assert_eq!(
                count(&index, "a.example"),
                Some(1),
                "what the store has no more is not missing"
            );
            index.remove(&other);
            assert_eq!(count(&index, "a.example"), Some(0));
        }
    }
}
