//! What is in force of each table of the configuration that may be changed at run time.

use std::collections::BTreeMap;
use std::fmt;

use certgate_store::{Batch, Expect};
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::config::{ResourceId, ResourceKind, ResourceTable};
use crate::inventory::left_place::LEFT_PLACES;
use crate::inventory::{Inventory, InventoryError, LeftPlaces, format, key};

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

/// Everything that is known of resources, those that have gone included.
#[derive(Clone, Copy, Debug)]
pub struct ResourceState<'s> {
    /// Of each resource.
    pub records: &'s ResourceRecords,
    /// Where listeners with mutual authentication were.
    pub left: &'s LeftPlaces,
}

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
        before: ResourceState<'_>,
        after: ResourceState<'_>,
    ) -> Result<(), InventoryError> {
        // A place is remembered before anybody else can have it, and forgotten when somebody has.
        let is_place = |_: &_, _: &_| true;
        let mut changes = written(LEFT_PLACES, before.left, after.left, is_place)?;
        changes.extend(written(RESOURCES, before.records, after.records, is_kept)?);
        changes.extend(removed(RESOURCES, before.records, after.records, is_kept));
        changes.extend(removed(LEFT_PLACES, before.left, after.left, is_place));
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

/// What is to be written where `before` becomes `after`, of which only some is kept.
fn written<N: Ord + fmt::Display, T: PartialEq + Serialize>(
    prefix: &str,
    before: &BTreeMap<N, T>,
    after: &BTreeMap<N, T>,
    is_kept: impl Fn(&N, &T) -> bool,
) -> Result<Vec<Change>, InventoryError> {
    let differ = after
        .iter()
        .filter(|(name, record)| is_kept(name, record) && before.get(*name) != Some(*record));
    differ
        .map(|(name, record)| Ok((key(prefix, name), Some(format::encode(record)?))))
        .collect()
}

/// What is to be removed then.
fn removed<N: Ord + fmt::Display, T>(
    prefix: &str,
    before: &BTreeMap<N, T>,
    after: &BTreeMap<N, T>,
    is_kept: impl Fn(&N, &T) -> bool,
) -> Vec<Change> {
    let stays = |name| after.get(name).is_some_and(|record| is_kept(name, record));
    let gone = before
        .iter()
        .filter(|(name, record)| is_kept(name, record) && !stays(name));
    gone.map(|(name, _)| (key(prefix, name), None)).collect()
}

/// A key, and what is written there; nothing where it is removed.
type Change = (String, Option<Vec<u8>>);

/// What the file said of a certificate or an issuer counts only where it is not in force: of the others there may be tens of
/// thousands, and they are in the file.
fn is_kept(id: &ResourceId, record: &ResourceRecord) -> bool {
    let is_weighed = !matches!(id.kind, ResourceKind::Certificate | ResourceKind::Issuer);
    is_weighed || record.live != Live::AsApplied
}

const RESOURCES: &str = "resources/";
/// Of the changes that a batch may hold; with the largest values together they fit into one.
const MOST_AT_ONCE: usize = 16;
