//! What was written as files for other programs, and whether they know.

use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use certgate_store::{Batch, Expect, Revision};
use serde::{Deserialize, Serialize};

use crate::certificate::CertificateName;
use crate::clock::Timestamp;
use crate::inventory::{Inventory, InventoryError, Versioned, format, key};

/// How far the export of one certificate into one directory has come.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct ExportRecord {
    /// The certificate.
    pub certificate: CertificateName,
    /// What was last begun with: SHA-256 of the certificate, in lower-case hex.
    pub fingerprint: String,
    /// Attempts that were begun; written before each, so that one that ends the gateway is counted as well.
    pub attempts: u32,
    /// When that was exported, and its command had run.
    pub done_at: Option<Timestamp>,
    /// When the next attempt is due; absent when it is done or given up.
    pub next_attempt: Option<Timestamp>,
    /// Why the last one failed.
    pub error: Option<String>,
}

impl Inventory {
    /// How far the export into `directory` has come.
    ///
    /// # Errors
    /// [`InventoryError::Unreadable`] when the record is damaged.
    pub async fn export(&self, directory: &Path) -> Result<Option<Versioned<ExportRecord>>, InventoryError> {
        self.read(&place(directory)).await
    }

    /// Writes how far it has come. Durable on return.
    ///
    /// # Errors
    /// [`InventoryError::Conflict`] when somebody else has it in hand.
    pub async fn save_export(
        &self,
        directory: &Path,
        record: &ExportRecord,
        expect: Expect,
    ) -> Result<Revision, InventoryError> {
        let batch = Batch::new().put(place(directory), format::encode(record)?, expect);
        self.commit(batch).await
    }
}

/// Keys are shorter than paths may be.
fn place(directory: &Path) -> String {
    let name = digest(&SHA256, directory.as_os_str().as_encoded_bytes());
    let name = name.as_ref().iter().map(|octet| format!("{octet:02x}"));
    key(EXPORTS, name.collect::<String>())
}

const EXPORTS: &str = "exports/";
