//! Certificates that handshakes have asked for: wanted as those asked for at run time are, for as long as they are used.

use certgate_store::{Batch, Entry, Expect};
use serde::{Deserialize, Serialize};

use crate::certificate::{CertificateName, DesiredCertificate};
use crate::clock::Timestamp;
use crate::inventory::requested::REQUESTED;
use crate::inventory::{Inventory, InventoryError, format, key};

/// When a certificate that was obtained on demand was last used.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct UseRecord {
    /// The certificate.
    pub certificate: CertificateName,
    /// The last time that a handshake is known to have asked for it; it may be somewhat later.
    pub last_used: Timestamp,
}

impl Inventory {
    /// Asks for a certificate that a handshake has asked for at `now`.
    ///
    /// # Errors
    /// [`InventoryError`] when it cannot be written.
    pub async fn want_on_demand(
        &self,
        desired: &DesiredCertificate,
        now: Timestamp,
    ) -> Result<(), InventoryError> {
        let wanted = format::encode(desired)?;
        let batch = Batch::new().put(key(REQUESTED, &desired.name), wanted, Expect::Any);
        self.commit(with_use(batch, &desired.name, now)?).await.map(drop)
    }

    /// The last uses of all that are wanted on demand, sorted by name. One that does not parse is left out and reported in
    /// the log.
    ///
    /// # Errors
    /// [`InventoryError`] when the store cannot be read.
    pub async fn uses(&self) -> Result<Vec<UseRecord>, InventoryError> {
        let listing = self.store.list(USES).await?;
        let decode = |entry: Entry| match format::decode(&entry.key, &entry.value) {
            Ok(record) => Some(record),
            Err(error) => {
                tracing::error!(key = entry.key, %error, "when a certificate was last used cannot be read");
                None
            }
        };
        Ok(listing.entries.into_iter().filter_map(decode).collect())
    }

    /// Handshakes have used these at `now`.
    ///
    /// # Errors
    /// [`InventoryError`] when it cannot be written; a part of it may have been then.
    pub async fn note_uses(&self, names: &[CertificateName], now: Timestamp) -> Result<(), InventoryError> {
        for part in names.chunks(MOST_AT_ONCE) {
            let mut batch = Batch::new();
            for name in part {
                batch = with_use(batch, name, now)?;
            }
            self.commit(batch).await?;
        }
        Ok(())
    }

    /// Asks for them no more. What was obtained stays.
    ///
    /// # Errors
    /// [`InventoryError`] when it cannot be written; a part of it may have been then.
    pub async fn remove_on_demand(&self, names: &[CertificateName]) -> Result<(), InventoryError> {
        for part in names.chunks(MOST_AT_ONCE / 2) {
            let batch = part.iter().fold(Batch::new(), |batch, name| {
                let batch = batch.delete(key(REQUESTED, name), Expect::Any);
                batch.delete(key(USES, name), Expect::Any)
            });
            self.commit(batch).await?;
        }
        Ok(())
    }
}

fn with_use(batch: Batch, name: &CertificateName, now: Timestamp) -> Result<Batch, InventoryError> {
    let record = UseRecord {
        certificate: name.clone(),
        last_used: now,
    };
    Ok(batch.put(key(USES, name), format::encode(&record)?, Expect::Any))
}

const USES: &str = "uses/";
/// Of the changes that a batch may hold.
const MOST_AT_ONCE: usize = 400;
