//! Places that listeners with mutual authentication have left: whoever listens there next must not ask for less by accident.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::config::ResourceTable;
use crate::inventory::{Inventory, InventoryError, format};

/// A listener with mutual authentication that is no more where it was.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LeftPlace {
    /// The listener.
    pub listener: String,
    /// Its keys, with the address, the port and what it asked of clients.
    pub keys: ResourceTable,
    /// Those of its CA bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<ResourceTable>,
    /// The servers that it led to, as `host:port`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub servers: BTreeSet<String>,
    /// When it went.
    pub at: Timestamp,
}

/// Each by its port and address.
pub type LeftPlaces = BTreeMap<String, LeftPlace>;

impl Inventory {
    /// The places that listeners with mutual authentication have left.
    ///
    /// # Errors
    /// [`InventoryError`], also for a single record that cannot be read: without it another listener might open the
    /// place to everybody.
    pub async fn left_places(&self) -> Result<LeftPlaces, InventoryError> {
        let mut places = LeftPlaces::new();
        for entry in self.store.list(LEFT_PLACES).await?.entries {
            let place = entry.key.strip_prefix(LEFT_PLACES).unwrap_or_default();
            places.insert(place.to_owned(), format::decode(&entry.key, &entry.value)?);
        }
        Ok(places)
    }
}

pub(super) const LEFT_PLACES: &str = "left-places/";
