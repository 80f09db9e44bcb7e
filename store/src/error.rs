//! What can go wrong with a store.

use std::io;
use std::path::{Path, PathBuf};

use crate::{Expect, Revision};

/// Why a store refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process (or another part of this one) has the store open.
    #[error("the store in {} is already running{}; stop that process or use another path", path.display(), pid_note(*pid))]
    AlreadyRunning {
        /// The directory of the store.
        path: PathBuf,
        /// The process that has it open, when it could be told.
        pid: Option<u32>,
    },

    /// A batch beyond the limits. Nothing was written.
    #[error("batch with {found} {what}, at most {allowed} are allowed: split it")]
    BatchTooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        allowed: usize,
    },

    /// The store is shut down, or being shut down.
    #[error("the store is closed")]
    Closed,

    /// A condition of a batch did not hold. Nothing was written.
    #[error("key {key}: expected {}, found {}", expected_note(*expected), found_note(*found))]
    Conflict {
        /// The key the condition was about.
        key: String,
        /// What the change expected to find.
        expected: Expect,
        /// The revision of the entry found, `None` when there is none.
        found: Option<Revision>,
    },

    /// Stored bytes are not what was written.
    #[error("{what} in {}: {reason}", path.display())]
    Damaged {
        /// The directory or file.
        path: PathBuf,
        /// The record or part of it that is damaged.
        what: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },

    /// A key that cannot be stored.
    #[error("key `{key}` is not valid: {reason}")]
    InvalidKey {
        /// The key, shortened if it is long.
        key: String,
        /// The rule it breaks.
        reason: &'static str,
    },

    /// The operating system refused something.
    #[error("{}: {doing}", path.display())]
    Io {
        /// The file or directory concerned.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },

    /// A lease expired, was released, or went to another holder. Nothing was written.
    #[error("lease {name} is no longer held")]
    LeaseLost {
        /// The name of the lease.
        name: String,
    },

    /// A batch names a key twice. Nothing was written.
    #[error("key {key} appears twice in one batch")]
    RepeatedKey {
        /// The key.
        key: String,
    },

    /// A value beyond the limit. Nothing was written.
    #[error("key {key}: value of {found} bytes, at most {allowed} are allowed")]
    TooLarge {
        /// The key.
        key: String,
        /// The size of the value, in bytes.
        found: usize,
        /// The largest size, in bytes.
        allowed: usize,
    },
}

impl StoreError {
    /// For `map_err`: what was being done to which file when the operating system refused.
    pub(crate) fn io(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            path: path.into(),
            doing,
            source,
        }
    }
}

fn pid_note(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (pid {pid})"))
}

fn expected_note(expected: Expect) -> String {
    match expected {
        Expect::Absent => "no entry".into(),
        Expect::Any => "anything".into(),
        Expect::Revision(revision) => format!("revision {revision}"),
    }
}

fn found_note(found: Option<Revision>) -> String {
    found.map_or_else(|| "no entry".into(), |revision| format!("revision {revision}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_object_and_what_was_found() {
        let conflict = StoreError::Conflict {
            key: "certificates/www".into(),
            expected: Expect::Revision(Revision::new(3)),
            found: None,
        };
        assert_eq!(
            conflict.to_string(),
            "key certificates/www: expected revision 3, found no entry"
        );

        let running = StoreError::AlreadyRunning {
            path: "/var/lib/certgate".into(),
            pid: Some(42),
        };
        assert_eq!(
            running.to_string(),
            "the store in /var/lib/certgate is already running (pid 42); stop that process or use another path"
        );
    }
}
