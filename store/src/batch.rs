//! Conditional writes: several changes that happen together or not at all.

use std::collections::BTreeSet;

use crate::key::check_key;
use crate::{Lease, Revision, StoreError};

/// The largest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 1 << 20;

/// The most changes in one batch.
pub const MAX_BATCH_CHANGES: usize = 1024;

/// What a change expects to find under its key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expect {
    /// Nothing: the key must not exist.
    Absent,
    /// Whatever is there, also nothing.
    Any,
    /// The entry as it was last changed by this commit.
    Revision(Revision),
}

/// Changes to be committed together.
///
/// Values of one batch may have 16 MiB together. Built by chaining:
/// `Batch::new().put("a", value, Expect::Absent).delete("b", Expect::Any).under(&lease)`.
#[derive(Clone, Default)]
pub struct Batch {
    pub(crate) changes: Vec<Change>,
    pub(crate) lease: Option<Lease>,
}

#[derive(Clone)]
pub(crate) struct Change {
    pub(crate) key: String,
    /// The new value; `None` deletes.
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) expect: Expect,
}

impl Batch {
    /// A batch that changes nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes `value` under `key`.
    #[must_use]
    pub fn put(mut self, key: impl Into<String>, value: impl Into<Vec<u8>>, expect: Expect) -> Self {
        self.changes.push(Change {
            key: key.into(),
            value: Some(value.into()),
            expect,
        });
        self
    }

    /// Removes the entry under `key`. With [`Expect::Any`] an absent key is fine.
    #[must_use]
    pub fn delete(mut self, key: impl Into<String>, expect: Expect) -> Self {
        self.changes.push(Change {
            key: key.into(),
            value: None,
            expect,
        });
        self
    }

    /// Commits only if `lease`, with its very token, is still held at that moment.
    #[must_use]
    pub fn under(mut self, lease: &Lease) -> Self {
        self.lease = Some(lease.clone());
        self
    }

    /// How many changes there are.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there is no change. Such a batch may still be committed: it checks its lease and takes a revision.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// What can be said about the batch before looking into the store.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if self.changes.len() > MAX_BATCH_CHANGES {
            return Err(StoreError::BatchTooLarge {
                what: "changes",
                found: self.changes.len(),
                allowed: MAX_BATCH_CHANGES,
            });
        }
        let mut seen = BTreeSet::new();
        let mut bytes = 0;
        for change in &self.changes {
            check_key(&change.key)?;
            if !seen.insert(&change.key) {
                return Err(StoreError::RepeatedKey {
                    key: change.key.clone(),
                });
            }
            let size = change.value.as_ref().map_or(0, Vec::len);
            if size > MAX_VALUE_BYTES {
                return Err(StoreError::TooLarge {
                    key: change.key.clone(),
                    found: size,
                    allowed: MAX_VALUE_BYTES,
                });
            }
            bytes += size;
        }
        if bytes > MAX_BATCH_BYTES {
            return Err(StoreError::BatchTooLarge {
                what: "bytes",
                found: bytes,
                allowed: MAX_BATCH_BYTES,
            });
        }
        Ok(())
    }
}

impl Change {
    /// Compares the expectation with the revision found under the key.
    pub(crate) fn check(&self, found: Option<Revision>) -> Result<(), StoreError> {
        let holds = match self.expect {
            Expect::Absent => found.is_none(),
            Expect::Any => true,
            Expect::Revision(expected) => found == Some(expected),
        };
        if holds {
            return Ok(());
        }
        Err(StoreError::Conflict {
            key: self.key.clone(),
            expected: self.expect,
            found,
        })
    }
}

const MAX_BATCH_BYTES: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_changes_a_key_twice_is_refused() {
        let batch = Batch::new().put("a", "1", Expect::Any).delete("a", Expect::Any);
        assert!(matches!(batch.check(), Err(StoreError::RepeatedKey { key }) if key == "a"));
    }

    #[test]
    fn limits_are_told_with_what_was_found() {
        let value = Batch::new().put("a", vec![0; MAX_VALUE_BYTES + 1], Expect::Any);
        assert!(
            matches!(value.check(), Err(StoreError::TooLarge { found, .. }) if found == MAX_VALUE_BYTES + 1)
        );

        let bytes = (0..17).fold(Batch::new(), |batch, n| {
            batch.put(n.to_string(), vec![0; MAX_VALUE_BYTES], Expect::Any)
        });
        assert!(matches!(
            bytes.check(),
            Err(StoreError::BatchTooLarge { what: "bytes", .. })
        ));

        let changes =
            (0..=MAX_BATCH_CHANGES).fold(Batch::new(), |batch, n| batch.delete(n.to_string(), Expect::Any));
        assert!(matches!(
            changes.check(),
            Err(StoreError::BatchTooLarge { what: "changes", .. })
        ));
    }
}
