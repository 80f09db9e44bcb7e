//! What a reader of the inventory has to read again.

use std::collections::BTreeSet;

use certgate_store::Hint;

use crate::certificate::CertificateName;
use crate::inventory::certificate_of_key;

/// The certificates whose records or credentials may have changed since they were read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Stale {
    /// Any of them.
    Everything,
    /// These.
    Names(BTreeSet<CertificateName>),
}

impl Stale {
    /// Adds what a hint of the store is about.
    pub fn add_hint(&mut self, hint: &Hint) {
        match hint {
            Hint::Keys(keys) => self.add(keys.iter().filter_map(|key| certificate_of_key(key))),
            Hint::Unknown => *self = Self::Everything,
        }
    }

    /// Adds certificates.
    pub fn add(&mut self, more: impl IntoIterator<Item = CertificateName>) {
        if let Self::Names(names) = self {
            names.extend(more);
        }
    }
}

impl Default for Stale {
    /// Nothing.
    fn default() -> Self {
        Self::Names(BTreeSet::new())
    }
}
