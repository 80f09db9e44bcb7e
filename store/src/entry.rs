//! What a store gives back: entries, and the revisions that order them.

use std::fmt;

/// A point in the history of a store. Grows with every commit to any key, also over restarts; it may leap.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Revision(u64);

impl Revision {
    /// The revision written as `value`, for example in an `If-Match` header.
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The revision as a number.
    pub const fn value(self) -> u64 {
        self.0
    }

    /// The revision of the commit after this one.
    pub(crate) const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One key with its value.
#[derive(Clone, Eq, PartialEq)]
pub struct Entry {
    /// Under what it is kept.
    pub key: String,
    /// What is kept.
    pub value: Vec<u8>,
    /// The commit that last changed this entry.
    pub revision: Revision,
}

/// Tells the size of the value only: values hold private keys.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key)
            .field("value", &format_args!("{} bytes", self.value.len()))
            .field("revision", &self.revision)
            .finish()
    }
}

/// The entries under a prefix, as they were at one moment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listing {
    /// Sorted by key.
    pub entries: Vec<Entry>,
    /// The latest commit the entries show.
    pub revision: Revision,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_never_shows_a_value() {
        let entry = Entry {
            key: "keys/a".into(),
            value: b"SECRET".to_vec(),
            revision: Revision(7),
        };
        let shown = format!("{entry:?}");
        assert!(shown.contains("keys/a") && shown.contains("6 bytes"), "{shown}");
        assert!(!shown.contains("SECRET") && !shown.contains("83"), "{shown}");
    }
}
