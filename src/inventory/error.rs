//! What can go wrong with records.

use certgate_store::StoreError;

use crate::certificate::{CertificateName, PemProblem};

/// Why a record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// Somebody else changed the record in between. Nothing was written; read it again.
    #[error("{key} was changed by somebody else in the meantime; read it again")]
    Conflict {
        /// The record's key.
        key: String,
    },
    /// What is kept as chain and key is not that.
    #[error(
        "{key} does not hold a chain and its key; it is kept as it is, import or request the certificate again"
    )]
    Credential {
        /// The credential's key.
        key: String,
        /// What is wrong with it.
        source: PemProblem,
    },
    /// The lease under which something was to be written is gone. Nothing was written.
    #[error("lease {name} is no longer held, so nothing was written")]
    LeaseLost {
        /// The lease.
        name: String,
    },
    /// A record lies under the key of another.
    #[error("{key} holds the record of `{found}`; it is left as it is")]
    Misplaced {
        /// The key.
        key: String,
        /// Whose record it is.
        found: CertificateName,
    },
    /// A newer certgate wrote the record.
    #[error(
        "{key} has format {found}, and this certgate reads up to {known}; it is left as it is, run the newer version"
    )]
    NewerFormat {
        /// The record's key.
        key: String,
        /// The format found.
        found: u32,
        /// The newest format known.
        known: u32,
    },
    /// The store failed.
    #[error("the store failed")]
    Store {
        /// What it said.
        source: StoreError,
    },
    /// A record is damaged.
    #[error("{key} is no readable record (line {line}, column {column}); it is left as it is")]
    Unreadable {
        /// The record's key.
        key: String,
        /// Where reading stopped.
        line: usize,
        /// Where in that line.
        column: usize,
    },
    /// A record could not be turned into JSON.
    #[error("the record cannot be written as JSON")]
    Unwritable {
        /// What the writer said.
        source: serde_json::Error,
    },
}

impl From<StoreError> for InventoryError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict { key, .. } => Self::Conflict { key },
            StoreError::LeaseLost { name } => Self::LeaseLost { name },
            source => Self::Store { source },
        }
    }
}
