//! The journal of an order, so that a crash resumes it instead of placing another.

use certgate_store::{Batch, Expect, Lease};
use serde::{Deserialize, Serialize};

use crate::certificate::{CertificateName, PrivateKey};
use crate::clock::Timestamp;
use crate::inventory::{Inventory, InventoryError, format, key, secret};

/// An order under way (RFC 8555 §7.1.3). Written before the CA is asked for it, again once it has a URL, and removed
/// in the batch that installs its certificate.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct OrderRecord {
    /// The issuer, by its name in the configuration.
    pub issuer: String,
    /// The account it was placed with.
    pub account_url: String,
    /// Its URL; `None` while it is an intent that may or may not have reached the CA.
    pub order_url: Option<String>,
    /// The key of the certificate asked for.
    #[serde(with = "secret::pkcs8")]
    pub key: PrivateKey,
    /// What it is for ([`DesiredCertificate::digest`](crate::certificate::DesiredCertificate::digest)).
    pub digest: String,
    /// When it was begun.
    pub created_at: Timestamp,
}

impl Inventory {
    /// The order under way for a certificate.
    ///
    /// # Errors
    /// [`InventoryError::Unreadable`] when the journal is damaged; a new order may then replace it.
    pub async fn order(&self, name: &CertificateName) -> Result<Option<OrderRecord>, InventoryError> {
        Ok(self.read(&key(ORDERS, name)).await?.map(|order| order.value))
    }

    /// Writes the journal. Durable on return.
    ///
    /// # Errors
    /// [`InventoryError::LeaseLost`] when the certificate's lease is gone.
    pub async fn save_order(
        &self,
        name: &CertificateName,
        order: &OrderRecord,
        lease: &Lease,
    ) -> Result<(), InventoryError> {
        let batch = Batch::new().put(key(ORDERS, name), format::encode(order)?, Expect::Any);
        self.commit(batch.under(lease)).await.map(drop)
    }

    /// Ends the journal of an order that leads nowhere.
    ///
    /// # Errors
    /// [`InventoryError::LeaseLost`] when the certificate's lease is gone.
    pub async fn remove_order(&self, name: &CertificateName, lease: &Lease) -> Result<(), InventoryError> {
        let batch = Batch::new().delete(key(ORDERS, name), Expect::Any);
        self.commit(batch.under(lease)).await.map(drop)
    }
}

pub(super) const ORDERS: &str = "orders/";
