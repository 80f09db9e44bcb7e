//! What was told already, so that neither a restart nor another look tells it again; written with the notice.

use std::collections::BTreeSet;

use certgate_store::{Batch, Expect};
use serde::{Deserialize, Serialize};

use crate::certificate::CertificateName;
use crate::config::Fraction;
use crate::inventory::{Inventory, InventoryError, Notice, format, key};
use crate::name::NamePattern;

/// What was told of a certificate's end.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct ToldExpiring {
    /// SHA-256 of the certificate, in lower-case hex.
    pub fingerprint: String,
    /// What was left of its life.
    pub left: Fraction,
}

impl Inventory {
    /// What was told of the end of the certificate under `name`, or of one that was there before it.
    ///
    /// # Errors
    /// [`InventoryError::Unreadable`] when the record is damaged.
    pub async fn told_expiring(
        &self,
        name: &CertificateName,
    ) -> Result<Option<ToldExpiring>, InventoryError> {
        Ok(self.read(&key(EXPIRING, name)).await?.map(|told| told.value))
    }

    /// Writes `notice`, and that it was told. Durable on return.
    ///
    /// # Errors
    /// The store's.
    pub async fn tell_expiring(
        &self,
        name: &CertificateName,
        told: &ToldExpiring,
        notice: &Notice,
    ) -> Result<(), InventoryError> {
        let batch = Batch::new().put(key(EXPIRING, name), format::encode(told)?, Expect::Any);
        self.commit(notice.put(batch)?).await.map(drop)
    }

    /// The names of `certificate` of which it was told that DNS is not as it should be.
    ///
    /// # Errors
    /// [`InventoryError::Unreadable`] when the record is damaged.
    pub async fn told_drifted(
        &self,
        certificate: &CertificateName,
    ) -> Result<BTreeSet<NamePattern>, InventoryError> {
        let told = self.read(&key(DRIFTED, certificate)).await?;
        Ok(told.map(|told| told.value).unwrap_or_default())
    }

    /// Writes `notices`, and that `drifted` are the names of which it was told. Durable on return.
    ///
    /// # Errors
    /// The store's.
    pub async fn tell_drifted(
        &self,
        certificate: &CertificateName,
        drifted: &BTreeSet<NamePattern>,
        notices: &[Notice],
    ) -> Result<(), InventoryError> {
        let place = key(DRIFTED, certificate);
        let mut batch = match drifted.is_empty() {
            true => Batch::new().delete(place, Expect::Any),
            false => Batch::new().put(place, format::encode(drifted)?, Expect::Any),
        };
        for notice in notices {
            batch = notice.put(batch)?;
        }
        self.commit(batch).await.map(drop)
    }
}

/// Forgets it together with the certificate.
pub(super) fn without(batch: Batch, certificate: &CertificateName) -> Batch {
    [EXPIRING, DRIFTED].into_iter().fold(batch, |batch, prefix| {
        batch.delete(key(prefix, certificate), Expect::Any)
    })
}

const EXPIRING: &str = "told-expiring/";
const DRIFTED: &str = "told-drifted/";
