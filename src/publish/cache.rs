//! What is loaded, and what leaves when there is more than there is room for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use certgate_store::Revision;

use crate::certificate::{CertificateName, Credential};

/// The entries of the table, with an approximation of when each was last used: the clock algorithm.
#[derive(Debug)]
pub(super) struct Cache {
    most_bytes: usize,
    bytes: usize,
    held: BTreeMap<CertificateName, Held>,
    /// Each name at least once, the next to be looked at first.
    hand: VecDeque<CertificateName>,
    pinned: BTreeSet<CertificateName>,
}

#[derive(Debug)]
struct Held {
    bytes: usize,
    /// Of the record; `None` for a credential that is served without one.
    revision: Option<Revision>,
}

impl Cache {
    /// Holds nothing yet, and some `most_bytes` later.
    pub(super) fn new(most_bytes: usize) -> Self {
        Self {
            most_bytes,
            bytes: 0,
            held: BTreeMap::new(),
            hand: VecDeque::new(),
            pinned: BTreeSet::new(),
        }
    }

    /// `credential` is the entry `name` now.
    pub(super) fn insert(
        &mut self,
        name: &CertificateName,
        credential: &Credential,
        revision: Option<Revision>,
    ) {
        let bytes = size(credential);
        match self.held.insert(name.clone(), Held { bytes, revision }) {
            Some(before) => self.bytes -= before.bytes,
            None => self.hand.push_back(name.clone()),
        }
        self.bytes += bytes;
        // What was removed and came again is there twice.
        if self.hand.len() > 2 * self.held.len() + SLACK {
            self.hand = self.held.keys().cloned().collect();
        }
    }

    /// There is no entry `name` any more.
    pub(super) fn remove(&mut self, name: &CertificateName) {
        if let Some(held) = self.held.remove(name) {
            self.bytes -= held.bytes;
        }
        self.pinned.remove(name);
    }

    /// The entry `name` is never evicted.
    pub(super) fn pin(&mut self, name: &CertificateName) {
        self.pinned.insert(name.clone());
    }

    /// Whether there is an entry `name`.
    pub(super) fn holds(&self, name: &CertificateName) -> bool {
        self.held.contains_key(name)
    }

    /// Whether the entry `name` is that of the record of `revision`.
    pub(super) fn is_current(&self, name: &CertificateName, revision: Revision) -> bool {
        let held = self.held.get(name);
        held.is_some_and(|held| held.revision == Some(revision))
    }

    /// The entries after one name, up to another or to the end.
    pub(super) fn between(
        &self,
        after: Option<&CertificateName>,
        to: Option<&CertificateName>,
    ) -> Vec<CertificateName> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let to = to.map_or(Bound::Unbounded, Bound::Included);
        let held = self.held.range::<CertificateName, _>((from, to));
        held.map(|(name, _)| name.clone()).collect()
    }

    /// Whether something may be loaded that nobody has asked for yet.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < self.most_bytes / 4 * 3
    }

    /// What has to leave, the least recently used of it; it is forgotten here. `was_used` tells whether an entry was
    /// used since it was last asked about, or is to be treated so.
    pub(super) fn evict(&mut self, was_used: impl Fn(&CertificateName) -> bool) -> Vec<CertificateName> {
        let mut evicted = Vec::new();
        // Twice around: the first time everything may have been used.
        for _ in 0..2 * self.hand.len() {
            if self.bytes <= self.most_bytes {
                break;
            }
            let Some(name) = self.hand.pop_front() else { break };
            if !self.held.contains_key(&name) {
                continue;
            }
            if self.pinned.contains(&name) || was_used(&name) {
                self.hand.push_back(name);
                continue;
            }
            self.remove(&name);
            evicted.push(name);
        }
        evicted
    }
}

/// Bytes that a credential takes in memory, roughly.
fn size(credential: &Credential) -> usize {
    let chain = credential.certified_key().cert.iter();
    chain.map(|certificate| certificate.len()).sum::<usize>() + KEY_AND_REST
}

const SLACK: usize = 64;
/// A key ready to sign, what the leaf says, and the places in the table; measured with ECDSA.
const KEY_AND_REST: usize = 3_000;
