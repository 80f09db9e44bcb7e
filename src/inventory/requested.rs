//! Certificates that were asked for at run time; they are wanted as those of the configuration file are.

use certgate_store::{Batch, Expect};

use crate::certificate::{CertificateName, DesiredCertificate};
use crate::inventory::{Inventory, InventoryError, format, key};

impl Inventory {
    /// Every certificate that was asked for at run time, sorted by name. One that does not parse is left out and
    /// reported in the log.
    ///
    /// # Errors
    /// [`InventoryError`] when the store cannot be read.
    pub async fn requested(&self) -> Result<Vec<DesiredCertificate>, InventoryError> {
        let listing = self.store.list(REQUESTED).await?;
        let decode = |entry: certgate_store::Entry| match format::decode(&entry.key, &entry.value) {
            Ok(desired) => Some(desired),
            Err(error) => {
                tracing::error!(key = entry.key, %error, "a request for a certificate cannot be read");
                None
            }
        };
        Ok(listing.entries.into_iter().filter_map(decode).collect())
    }

    /// Asks for a certificate, or changes what was asked for.
    ///
    /// # Errors
    /// [`InventoryError`] when it cannot be written.
    pub async fn save_requested(&self, desired: &DesiredCertificate) -> Result<(), InventoryError> {
        let value = format::encode(desired)?;
        self.commit(Batch::new().put(key(REQUESTED, &desired.name), value, Expect::Any))
            .await
            .map(drop)
    }

    /// Asks for it no more. What was obtained stays.
    ///
    /// # Errors
    /// [`InventoryError`] when it cannot be written.
    pub async fn remove_requested(&self, name: &CertificateName) -> Result<(), InventoryError> {
        self.commit(Batch::new().delete(key(REQUESTED, name), Expect::Any))
            .await
            .map(drop)
    }
}

pub(super) const REQUESTED: &str = "requested/";
