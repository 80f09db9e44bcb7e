//! What was told already, so that neither a restart nor another look tells it again; written with the notice.

use std::collections::{BTreeMap, BTreeSet};

use certgate_store::{Batch, Expect, MAX_BATCH_CHANGES};
use serde::{Deserialize, Serialize};

use crate::certificate::CertificateName;
use crate::clock::Timestamp;
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

/// What is known of names in DNS that have a certificate.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
pub struct Drift {
    /// Those of which it was told that a renewal would fail.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub told: BTreeSet<NamePattern>,
    /// Those that have led here, though their right is proven by dns-01.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub pointed: BTreeSet<NamePattern>,
    /// Those of which it was told that they do not any more, which stops no renewal.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub told_astray: BTreeSet<NamePattern>,
    /// Since when nothing is known for sure of those.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub waiting: BTreeMap<NamePattern, Timestamp>,
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

    /// Writes each notice, and that it was told of its certificate. Durable on return.
    ///
    /// # Errors
    /// The store's; some may have been told then, each whole.
    pub async fn tell_expiring(&self, told: &[(Notice, ToldExpiring)]) -> Result<(), InventoryError> {
        for some in told.chunks(MAX_BATCH_CHANGES / 2) {
            let mut batch = Batch::new();
            for (notice, told) in some {
                let place = key(EXPIRING, &notice.certificate);
                batch = notice.put(batch.put(place, format::encode(told)?, Expect::Any))?;
            }
            self.commit(batch).await?;
        }
        Ok(())
    }

    /// What is known of `certificate`'s names in DNS.
    ///
    /// # Errors
    /// [`InventoryError::Unreadable`] when the record is damaged.
    pub async fn drift(&self, certificate: &CertificateName) -> Result<Drift, InventoryError> {
        let drift = self.read(&key(DRIFT, certificate)).await?;
        Ok(drift.map(|drift| drift.value).unwrap_or_default())
    }

    /// Writes `notices`, and what is known by then of `certificate`'s names. Durable on return.
    ///
    /// # Errors
    /// The store's.
    pub async fn tell_drift(
        &self,
        certificate: &CertificateName,
        drift: &Drift,
        notices: &[Notice],
    ) -> Result<(), InventoryError> {
        let place = key(DRIFT, certificate);
        let mut batch = match *drift == Drift::default() {
            true => Batch::new().delete(place, Expect::Any),
            false => Batch::new().put(place, format::encode(drift)?, Expect::Any),
        };
        for notice in notices {
            batch = notice.put(batch)?;
        }
        self.commit(batch).await.map(drop)
    }
}

/// Forgets it together with the certificate.
pub(super) fn without(batch: Batch, certificate: &CertificateName) -> Batch {
    [EXPIRING, DRIFT].into_iter().fold(batch, |batch, prefix| {
        batch.delete(key(prefix, certificate), Expect::Any)
    })
}

const EXPIRING: &str = "told-expiring/";
const DRIFT: &str = "drift/";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use certgate_store::{MemoryStore, Store};

    use super::*;
    use crate::config::HookEvent;

    #[tokio::test]
    async fn a_thousand_that_expire_at_once_are_told_in_a_few_commits_and_each_is_remembered() {
        let store = Arc::new(MemoryStore::new());
        let inventory = Inventory::new(store.clone());
        let name = |number| CertificateName::parse(&format!("site{number:04}")).unwrap();
        let told = ToldExpiring {
            fingerprint: "aa".to_owned(),
            left: Fraction::parse("1/3").unwrap(),
        };
        let at = Timestamp::from_unix_seconds(1_800_000_000);
        let news: Vec<_> = (0..1000)
            .map(|number| Notice::new(HookEvent::Expiring, name(number), at, "soon".to_owned()))
            .map(|notice| (notice, told.clone()))
            .collect();
        let before = store.list("").await.unwrap().revision;
        inventory.tell_expiring(&news).await.unwrap();
        let after = store.list("").await.unwrap().revision;
        assert!(after.value() - before.value() <= 2, "{before} to {after}");
        assert_eq!(inventory.notices(2000).await.unwrap().len(), 1000);
        assert_eq!(inventory.told_expiring(&name(999)).await.unwrap(), Some(told));
    }
}
