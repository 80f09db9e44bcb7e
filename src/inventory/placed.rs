//! Records that were put into zones, so that a crash leaves none there for ever.

use certgate_store::{Batch, Entry, Expect};
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::inventory::{Inventory, InventoryError, Secret, format, key};
use crate::name::DnsName;

/// A TXT record that answers a dns-01 challenge (RFC 8555 §8.4). Written before the record is put into its zone, and
/// removed once it is gone from there.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct PlacedRecord {
    /// The issuer whose provider has put it there, by its name in the configuration.
    pub issuer: String,
    /// How that was done, as far as it tells one way from another. Not secret.
    #[serde(default)]
    pub provider: String,
    /// The name that it proves the right to.
    pub domain: DnsName,
    /// Its owner, without the closing dot.
    pub owner: String,
    /// The zone of its owner.
    pub zone: String,
    /// What it holds: base64url of a SHA-256 digest.
    pub value: String,
    /// The challenge's token.
    pub token: String,
    /// The challenge's key authorization (RFC 8555 §8.1), of which the value is the digest.
    pub key_authorization: Secret,
    /// When it was about to be put there.
    pub placed_at: Timestamp,
}

impl PlacedRecord {
    /// In zone-file form.
    pub fn written(&self) -> String {
        format!("{}. IN TXT \"{}\"", self.owner, self.value)
    }
}

impl Inventory {
    /// Every record that may be in a zone. One that does not parse is left out and reported in the log.
    ///
    /// # Errors
    /// [`InventoryError::Store`] when the store fails.
    pub async fn placed_records(&self) -> Result<Vec<PlacedRecord>, InventoryError> {
        let listing = self.store.list(PLACED).await?;
        let decode = |entry: Entry| match format::decode(&entry.key, &entry.value) {
            Ok(record) => Some(record),
            Err(error) => {
                tracing::error!(key = entry.key, %error, "what is known of a record in a zone cannot be read");
                None
            }
        };
        Ok(listing.entries.into_iter().filter_map(decode).collect())
    }

    /// Writes that a record is about to be put into its zone. Durable on return.
    ///
    /// # Errors
    /// [`InventoryError`] when it cannot be written; the record is not to be put there then.
    pub async fn save_placed_record(&self, record: &PlacedRecord) -> Result<(), InventoryError> {
        let batch = Batch::new().put(placed_key(record), format::encode(record)?, Expect::Any);
        self.commit(batch).await.map(drop)
    }

    /// Forgets a record that is gone from its zone.
    ///
    /// # Errors
    /// [`InventoryError`] when that cannot be written.
    pub async fn forget_placed_record(&self, record: &PlacedRecord) -> Result<(), InventoryError> {
        let batch = Batch::new().delete(placed_key(record), Expect::Any);
        self.commit(batch).await.map(drop)
    }
}

fn placed_key(record: &PlacedRecord) -> String {
    key(PLACED, format_args!("{}/{}", record.issuer, record.value))
}

const PLACED: &str = "placed/";
