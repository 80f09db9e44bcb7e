//! The versions of a certificate: which there were, the way back to the one before, and the spare in its place.

use std::collections::BTreeSet;

use certgate_store::{Batch, Expect, Lease};
use serde::{Deserialize, Serialize};

use crate::certificate::{CertificateName, CredentialPem};
use crate::clock::Timestamp;
use crate::inventory::order::ORDERS;
use crate::inventory::{
    CREDENTIALS, CertificateRecord, CurrentCertificate, Inventory, InventoryError, Notice,
    PREVIOUS_CREDENTIALS, StandIn, TRIES, Versioned, format, key,
};

/// How many versions before the present one are remembered.
pub const PAST_VERSIONS: usize = 10;

/// A certificate that another has taken the place of.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct PastCertificate {
    /// What it was.
    pub certificate: CurrentCertificate,
    /// When another took its place.
    pub replaced_at: Timestamp,
}

impl Inventory {
    /// The versions before the present one, the newest first.
    ///
    /// # Errors
    /// [`InventoryError`] when they cannot be read.
    pub async fn past_versions(
        &self,
        name: &CertificateName,
    ) -> Result<Vec<PastCertificate>, InventoryError> {
        let known = self.read::<Vec<PastCertificate>>(&key(HISTORY, name)).await?;
        Ok(known.map(|known| known.value).unwrap_or_default())
    }

    /// The chain and key before the present ones, where there are any.
    ///
    /// # Errors
    /// [`InventoryError::Credential`] when what is there is not a chain and a key.
    pub async fn previous_credential(
        &self,
        name: &CertificateName,
    ) -> Result<Option<CredentialPem>, InventoryError> {
        self.credential_at(key(PREVIOUS_CREDENTIALS, name)).await
    }

    /// Puts the credential before the present one back, as `record` describes it; the present one takes its place. All
    /// of it or nothing, durable on return.
    ///
    /// # Errors
    /// [`InventoryError::Conflict`] when the record is no longer that of `known`, or there is nothing to go back to.
    pub async fn roll_back(
        &self,
        known: &Versioned<CertificateRecord>,
        record: &CertificateRecord,
    ) -> Result<(), InventoryError> {
        let name = &record.name;
        let (present, previous) = (key(CREDENTIALS, name), key(PREVIOUS_CREDENTIALS, name));
        let (Some(from), Some(to)) = (self.store.get(&present).await?, self.store.get(&previous).await?)
        else {
            return Err(InventoryError::Conflict { key: previous });
        };
        let batch = Batch::new()
            .put(
                key(super::CERTIFICATES, name),
                format::encode(record)?,
                Expect::Revision(known.revision),
            )
            .put(present, to.value, Expect::Revision(from.revision))
            .put(previous, from.value, Expect::Revision(to.revision));
        let batch = self.with_names(batch, record, Some(&known.value)).await?;
        let batch = self.with_history(batch, record, Some(&known.value)).await?;
        self.commit(batch).await.map(drop)
    }

    /// Forgets a certificate: its record, its credentials and its order. None of them need exist.
    ///
    /// # Errors
    /// The store's.
    pub async fn remove_certificate(&self, name: &CertificateName) -> Result<(), InventoryError> {
        let prefixes = [
            super::CERTIFICATES,
            CREDENTIALS,
            PREVIOUS_CREDENTIALS,
            ORDERS,
            HISTORY,
            STAND_INS,
        ];
        let known = self.certificate(name).await.unwrap_or_default();
        let batch = prefixes.into_iter().fold(Batch::new(), |batch, prefix| {
            batch.delete(key(prefix, name), Expect::Any)
        });
        let known = known.as_ref().map(|known| &known.value);
        let batch = super::told::without(batch, name);
        self.commit(super::names::without(batch, name, known))
            .await
            .map(drop)
    }

    /// Forgets the record of `known`, for which nothing was obtained, and its order. Durable on return.
    ///
    /// # Errors
    /// [`InventoryError::Conflict`] when the record is another one by now or there is a credential,
    /// [`LeaseLost`](InventoryError::LeaseLost) when `lease` is gone; nothing is forgotten then.
    pub async fn remove_unobtained(
        &self,
        known: &Versioned<CertificateRecord>,
        lease: &Lease,
    ) -> Result<(), InventoryError> {
        let name = &known.value.name;
        let batch = Batch::new()
            .delete(key(super::CERTIFICATES, name), Expect::Revision(known.revision))
            .delete(key(CREDENTIALS, name), Expect::Absent)
            .delete(key(ORDERS, name), Expect::Any);
        let batch = super::told::without(batch, name);
        self.commit(batch.under(lease)).await.map(drop)
    }

    /// Says whether the spares of these certificates are served in their place; of all of them, or of none. In the same
    /// commit is what `notice` tells of each, where another one is served from then on. Durable on return; what was told.
    ///
    /// # Errors
    /// [`InventoryError::Conflict`] when somebody else keeps changing them, and the store's.
    pub async fn stand_in(
        &self,
        names: &[CertificateName],
        stand_in: Option<&StandIn>,
        notice: impl Fn(&CertificateRecord) -> Notice,
    ) -> Result<Vec<Notice>, InventoryError> {
        for tries_left in (0..TRIES).rev() {
            let (mut batch, mut told) = (Batch::new(), Vec::new());
            for name in names {
                let (known, expect) = match self.certificate(name).await? {
                    Some(known) => (known.value, Expect::Revision(known.revision)),
                    None => (CertificateRecord::wanted(name.clone()), Expect::Absent),
                };
                if known.stand_in.is_some() != stand_in.is_some() {
                    let notice = notice(&known);
                    batch = notice.put(batch)?;
                    told.push(notice);
                }
                let record = CertificateRecord {
                    stand_in: stand_in.cloned(),
                    ..known
                };
                batch = batch.put(key(super::CERTIFICATES, name), format::encode(&record)?, expect);
                batch = match stand_in {
                    Some(_) => batch.put(key(STAND_INS, name), Vec::new(), Expect::Any),
                    None => batch.delete(key(STAND_INS, name), Expect::Any),
                };
            }
            match self.commit(batch).await {
                Err(InventoryError::Conflict { .. }) if tries_left > 0 => {}
                done => return done.map(|_| told),
            }
        }
        Ok(Vec::new())
    }

    /// The certificates that their spares are served in place of, and perhaps some that once were.
    ///
    /// # Errors
    /// The store's.
    pub async fn stand_ins(&self) -> Result<BTreeSet<CertificateName>, InventoryError> {
        let listing = self.store.list(STAND_INS).await?;
        let names = listing.entries.iter().filter_map(|entry| {
            let name = entry.key.strip_prefix(STAND_INS)?;
            CertificateName::parse(name).ok()
        });
        Ok(names.collect())
    }

    /// The fingerprint of what is to be served as `name`; `None` where there is nothing.
    ///
    /// # Errors
    /// [`InventoryError`] when that cannot be read.
    pub async fn served(&self, name: &CertificateName) -> Result<Option<String>, InventoryError> {
        let fingerprint = |record: CertificateRecord| Some(record.current?.leaf.fingerprint);
        let Some(known) = self.certificate(name).await? else {
            return Ok(None);
        };
        if let (Some(_), Ok(spare)) = (&known.value.stand_in, name.spare())
            && let Some(spare) = self.certificate(&spare).await?
        {
            return Ok(fingerprint(spare.value));
        }
        Ok(fingerprint(known.value))
    }

    /// `batch` with what is remembered of `known`, where `record` takes its place with another certificate.
    pub(super) async fn with_history(
        &self,
        batch: Batch,
        record: &CertificateRecord,
        known: Option<&CertificateRecord>,
    ) -> Result<Batch, InventoryError> {
        let fingerprint = |record: &CertificateRecord| {
            let current = record.current.as_ref();
            current.map(|current| current.leaf.fingerprint.clone())
        };
        let Some(replaced) = known.and_then(|known| known.current.clone()) else {
            return Ok(batch);
        };
        let next = fingerprint(record);
        if next.as_ref() == Some(&replaced.leaf.fingerprint) {
            return Ok(batch);
        }
        // A history that cannot be read begins anew: it must not stand in the way of a renewal.
        let mut past = match self.past_versions(&record.name).await {
            Err(error @ InventoryError::Store { .. }) => return Err(error),
            past => past.unwrap_or_default(),
        };
        past.retain(|past| Some(&past.certificate.leaf.fingerprint) != next.as_ref());
        past.insert(
            0,
            PastCertificate {
                certificate: replaced,
                replaced_at: record
                    .current
                    .as_ref()
                    .map_or(Timestamp::default(), |next| next.obtained_at),
            },
        );
        past.truncate(PAST_VERSIONS);
        Ok(batch.put(key(HISTORY, &record.name), format::encode(&past)?, Expect::Any))
    }
}

/// The beginning of the keys of what is remembered of certificates that were replaced.
pub(super) const HISTORY: &str = "history/";
/// The beginning of the keys of certificates that their spares are served in place of.
pub(super) const STAND_INS: &str = "stand-ins/";
