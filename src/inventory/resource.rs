//! What is in force of each table of the configuration that may be changed at run time.

use std::collections::BTreeMap;

use certgate_store::{Batch, Expect};
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::config::{ResourceId, ResourceKind, ResourceTable};
use crate::inventory::{Inventory, InventoryError, format, key};

/// What is known of one resource.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ResourceRecord {
    /// What the file said when it was last applied; nothing when it did not have the resource.
    pub last_applied: Option<ResourceTable>,
    /// What is in force.
    pub live: Live,
    /// The change at run time that made it so; nothing where the file's text is in force.
    pub changed: Option<Changed>,
}

/// What is in force of a resource.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Live {
    /// What the file said when it was last applied.
    AsApplied,
    /// Nothing: it was removed at run time.
    Removed,
    /// These keys.
    Set(ResourceTable),
}

/// Who changed a resource at run time, and when.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Changed {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// What is known of every resource.
pub type ResourceRecords = BTreeMap<ResourceId, ResourceRecord>;

impl ResourceRecord {
    /// The keys that are in force; nothing when there is no such resource.
    pub fn in_force(&self) -> Option<&ResourceTable> {
        match &self.live {
            Live::AsApplied => self.last_applied.as_ref(),
            Live::Removed => None,
            Live::Set(table) => Some(table),
        }
    }
}

impl Inventory {
    /// What is known of every resource.
    ///
    /// # Errors
    /// [`InventoryError`], also for a single record that cannot be read: without it a listener might come up with
    /// weaker authentication than it had.
    pub async fn resources(&self) -> Result<ResourceRecords, InventoryError> {
        let mut records = BTreeMap::new();
        for entry in self.store.list(RESOURCES).await?.entries {
            let name = entry.key.strip_prefix(RESOURCES).unwrap_or_default();
            let Ok(id) = ResourceId::try_from(name.to_owned()) else {
                tracing::warn!(key = entry.key, "a key that names no resource is left alone");
                continue;
            };
            records.insert(id, format::decode(&entry.key, &entry.value)?);
        }
        Ok(records)
    }

    /// Writes what differs between `before` and `after`. Durable on return.
    ///
    /// # Errors
    /// [`InventoryError`] when it cannot be written.
    pub async fn save_resources(
        &self,
        before: &ResourceRecords,
        after: &ResourceRecords,
    ) -> Result<(), InventoryError> {
        let mut changes: Vec<(String, Option<Vec<u8>>)> = Vec::new();
        for (id, record) in after {
            if is_kept(id, record) && before.get(id) != Some(record) {
                changes.push((key(RESOURCES, id), Some(format::encode(record)?)));
            }
        }
        let stays = |id| after.get(id).is_some_and(|record| is_kept(id, record));
        let gone = before
            .iter()
            .filter(|(id, record)| is_kept(id, record) && !stays(id));
        changes.extend(gone.map(|(id, _)| (key(RESOURCES, id), None)));
        // A part of it leaves each resource as it was or as it is to be; the next start goes on from there.
        for part in changes.chunks(MOST_AT_ONCE) {
            let batch = part.iter().fold(Batch::new(), |batch, (key, value)| match value {
                Some(value) => batch.put(key, value.clone(), Expect::Any),
                None => batch.delete(key, Expect::Any),
            });
            self.commit(batch).await?;
        }
        Ok(())
    }
}

/// What the file said of a certificate or an issuer counts only where it is not in force: of the others there may be tens of
/// thousands, and they are in the file.
fn is_kept(id: &ResourceId, record: &ResourceRecord) -> bool {
    let is_weighed = !matches!(id.kind, ResourceKind::Certificate | ResourceKind::Issuer);
    is_weighed || record.live != Live::AsApplied
}

const RESOURCES: &str = "resources/";
/// Of the changes that a batch may hold; with the largest values together they fit into one.
const MOST_AT_ONCE: usize = 16;
