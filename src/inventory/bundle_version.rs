//! How often what CA bundles hold has changed.

use std::collections::BTreeMap;

use certgate_store::{Batch, Expect};
use serde::{Deserialize, Serialize};

use crate::inventory::{Inventory, InventoryError, format};

/// What a CA bundle holds.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct BundleVersion {
    /// 1 for the first contents, and one more with each change.
    pub version: u64,
    /// Tells the contents from all others.
    pub digest: String,
}

impl Inventory {
    /// The versions of CA bundles, by their names; those of bundles that are no more, too.
    ///
    /// # Errors
    /// [`InventoryError::Unreadable`] when the record is damaged.
    pub async fn bundle_versions(&self) -> Result<BTreeMap<String, BundleVersion>, InventoryError> {
        let known = self.read(BUNDLE_VERSIONS).await?;
        Ok(known.map(|known| known.value).unwrap_or_default())
    }

    /// Writes them. Durable on return.
    ///
    /// # Errors
    /// [`InventoryError`] when they cannot be written.
    pub async fn save_bundle_versions(
        &self,
        versions: &BTreeMap<String, BundleVersion>,
    ) -> Result<(), InventoryError> {
        let batch = Batch::new().put(BUNDLE_VERSIONS, format::encode(versions)?, Expect::Any);
        self.commit(batch).await.map(drop)
    }
}

const BUNDLE_VERSIONS: &str = "ca-bundle-versions";
