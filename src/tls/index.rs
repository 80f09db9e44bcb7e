//! From a name to the certificates that are valid for it.

use std::hash::{BuildHasher, RandomState};
use std::slice;
use std::sync::Arc;

use imbl::OrdMap;

use super::table::Candidate;

/// A persistent index over the names in the certificates themselves.
///
/// It is keyed by a secret hash of the name, not by the name: 40 bytes for a name instead of 70 (by name, sorted)
/// or up to 200 (by name, hashed), and three times faster than sorted names. What a hash leads to is compared
/// with the name asked for, so that a collision costs a comparison and is never served.
#[derive(Clone, Debug, Default)]
pub(super) struct NameIndex {
    slots: OrdMap<u64, Slot>,
    hasher: RandomState,
}

/// The candidates of a hash, the preferred one first.
#[derive(Clone, Debug)]
enum Slot {
    One(Arc<Candidate>),
    Several(Arc<[Arc<Candidate>]>),
}

impl NameIndex {
    /// Adds a candidate under each of its names.
    pub(super) fn insert(&mut self, candidate: &Arc<Candidate>) {
        for pattern in &candidate.credential.leaf().names {
            let hash = self.hash(pattern.is_wildcard(), pattern.base().as_str());
            let mut candidates = self.others(hash, candidate);
            candidates.push(candidate.clone());
            candidates.sort_by(|a, b| a.preference().cmp(&b.preference()));
            self.put(hash, candidates);
        }
    }

    /// Removes a candidate from under each of its names.
    pub(super) fn remove(&mut self, candidate: &Arc<Candidate>) {
        for pattern in &candidate.credential.leaf().names {
            let hash = self.hash(pattern.is_wildcard(), pattern.base().as_str());
            self.put(hash, self.others(hash, candidate));
        }
    }

    /// The candidates that hold `name` itself, the preferred one first. `name` is in lower case.
    pub(super) fn exact<'t>(&'t self, name: &'t str) -> impl Iterator<Item = &'t Candidate> {
        self.find(false, name)
    }

    /// The candidates that hold a wildcard for `name`, the preferred one first.
    pub(super) fn wildcard<'t>(&'t self, name: &'t str) -> impl Iterator<Item = &'t Candidate> {
        let parent = name.split_once('.').map(|(_, parent)| parent);
        parent.into_iter().flat_map(|parent| self.find(true, parent))
    }

    fn find<'t>(&'t self, wildcard: bool, base: &'t str) -> impl Iterator<Item = &'t Candidate> {
        let holds = move |candidate: &&Candidate| {
            let mut names = candidate.credential.leaf().names.iter();
            names.any(|pattern| pattern.is_wildcard() == wildcard && pattern.base().as_str() == base)
        };
        let slot = self.slots.get(&self.hash(wildcard, base));
        slot.map_or(&[][..], Slot::candidates)
            .iter()
            .map(Arc::as_ref)
            .filter(holds)
    }

    fn others(&self, hash: u64, candidate: &Arc<Candidate>) -> Vec<Arc<Candidate>> {
        let all = self.slots.get(&hash).map_or(&[][..], Slot::candidates);
        all.iter()
            .filter(|other| !Arc::ptr_eq(other, candidate))
            .cloned()
            .collect()
    }

    fn put(&mut self, hash: u64, mut candidates: Vec<Arc<Candidate>>) {
        match (candidates.len(), candidates.pop()) {
            (1, Some(only)) => self.slots.insert(hash, Slot::One(only)),
            (_, Some(last)) => {
                candidates.push(last);
                self.slots.insert(hash, Slot::Several(candidates.into()))
            }
            (_, None) => self.slots.remove(&hash),
        };
    }

    fn hash(&self, wildcard: bool, base: &str) -> u64 {
        self.hasher.hash_one((wildcard, base))
    }
}

impl Slot {
    fn candidates(&self) -> &[Arc<Candidate>] {
        match self {
            Self::One(candidate) => slice::from_ref(candidate),
            Self::Several(candidates) => candidates,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::{CertificateName, Credential, CredentialPem, KeyType, PrivateKey};

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
        let hash = index.hash(false, "b.example");
        index.put(hash, vec![a.clone()]);
        assert_eq!(index.exact("b.example").count(), 0);
        index.insert(&b);
        let found: Vec<_> = index.exact("b.example").collect();
        assert!(matches!(found[..], [only] if std::ptr::eq(only, b.as_ref())));
        index.remove(&b);
        assert!(matches!(index.slots.get(&hash), Some(Slot::One(left)) if Arc::ptr_eq(left, &a)));
    }

    #[test]
    fn a_removed_certificate_leaves_nothing_behind() {
        let (a, wildcard) = (candidate("a.example"), candidate("*.b.example"));
        let mut index = NameIndex::default();
        index.insert(&a);
        index.insert(&wildcard);
        assert_eq!(
            (
                index.exact("a.example").count(),
                index.wildcard("x.b.example").count()
            ),
            (1, 1)
        );
        assert_eq!(
            (
                index.exact("b.example").count(),
                index.wildcard("a.example").count()
            ),
            (0, 0)
        );
        index.remove(&a);
        index.remove(&wildcard);
        assert!(index.slots.is_empty());
    }
}
