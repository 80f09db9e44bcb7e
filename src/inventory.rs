//! Typed records over the store: certificates and what is known of them, credentials, orders, accounts, local CAs.
//!
//! | key | value |
//! | --- | --- |
//! | `certificates/NAME` | [`CertificateRecord`] |
//! | `credentials/NAME` | chain and key as one PEM text, written in the same batch as the record that describes it |
//! | `previous-credentials/NAME` | the credential before that one |
//! | `history/NAME` | [`PastCertificate`]s: what is known of the versions before |
//! | `stand-ins/NAME` | nothing: the spare of the certificate is served in its place, as its record says |
//! | `names/PATTERN/NAME` | nothing: the certificate is for this name. Perhaps it no longer is; then it says so itself |
//! | `orders/NAME` | [`OrderRecord`]: the journal of an order under way |
//! | `accounts/ISSUER` | [`AccountRecord`] |
//! | `local-cas/ISSUER` | [`LocalCaRecord`] |
//! | `client-certificates/ISSUER/SERIAL` | [`ClientCertificateRecord`]: signed by a local CA for a client |
//! | `crls/ISSUER` | [`CrlRecord`] without the CRL itself, written in the same batch as the revocation it is made for |
//! | `crl-pieces/ISSUER/NUMBER/PIECE` | the CRL, in pieces that fit; of the newest number only |
//! | `ca-bundle-versions` | [`BundleVersion`] of each CA bundle |
//! | `audit/NUMBER` | [`AuditRecord`] |
//! | `placed/ISSUER/VALUE` | [`PlacedRecord`]: a record in a zone that is to be taken away again |
//! | `notices/ID` | [`Notice`]: what has happened and is to be told, written in the same batch as what it tells of |
//! | `deliveries/HOOK/ID` | [`Delivery`]: a notice on its way to a hook, in the place of the notice itself |
//! | `given-up/HOOK` | [`GivenUp`]: what the hook was not told |
//! | `told-expiring/NAME`, `drift/NAME` | what was told and is not told again; since when nothing is known of names in DNS |
//! | `exports/DIGEST` | [`ExportRecord`], by the digest of the directory's path |
//! | `requested/NAME` | [`DesiredCertificate`](crate::certificate::DesiredCertificate), asked for at run time |
//! | `uses/NAME` | [`UseRecord`]: when a certificate that was obtained on demand was last used |
//! | `resources/KIND/NAME` | [`ResourceRecord`]: what is in force of a table of the configuration |
//! | `left-places/PORT/ADDRESS` | [`LeftPlace`]: a listener with mutual authentication was there |
//!
//! A record that does not parse, or that a newer certgate wrote, is reported and left as it is.

mod acme_dns;
mod audit;
mod authority;
mod bundle_version;
mod certificate;
mod certificates;
mod client_certificate;
mod delivery;
mod error;
mod export;
mod format;
mod install;
mod left_place;
mod names;
mod notice;
mod on_demand;
mod order;
mod placed;
mod rate_limit;
mod requested;
mod resource;
mod secret;
mod stale;
mod told;
mod versions;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use certgate_store::{Batch, Entry, Expect, Hints, Lease, Revision, Store};
use zeroize::Zeroizing;

pub use acme_dns::AcmeDnsAccount;
pub use audit::{AUDIT_RECORDS, AuditLog, AuditOutcome, AuditRecord, Caller};
pub use authority::{AccountRecord, CaPair, LocalCaRecord};
pub use bundle_version::BundleVersion;
pub use certificate::{CertificateRecord, CertificateState, CurrentCertificate, Setback, Source, StandIn};
pub use certificates::Certificates;
pub use client_certificate::{ClientCertificateRecord, CrlRecord, Revoked};
pub use delivery::{Delivery, GivenUp, may_be_told};
pub use error::InventoryError;
pub use export::ExportRecord;
pub use left_place::{LeftPlace, LeftPlaces};
pub use notice::Notice;
pub use on_demand::UseRecord;
pub use order::OrderRecord;
pub use placed::PlacedRecord;
pub use resource::{Changed, Live, ResourceRecord, ResourceRecords, ResourceState};
pub use secret::Secret;
pub use stale::Stale;
pub use told::{Drift, ToldExpiring};
pub use versions::{PAST_VERSIONS, PastCertificate};

use crate::certificate::{CertificateName, Credential, CredentialPem, RevocationReason};
use crate::clock::Timestamp;

/// The records of one gateway, or of a fleet that shares a store. Cheap to clone.
#[derive(Clone)]
pub struct Inventory {
    store: Arc<dyn Store>,
    holder: Arc<str>,
    leases_taken: Arc<AtomicU64>,
}

/// A record with the revision that wrote it, for a conditional write of its successor.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Versioned<T> {
    /// The record.
    pub value: T,
    /// The commit that wrote it.
    pub revision: Revision,
}

impl Inventory {
    /// The records in `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            holder: format!("{:016x}", holder_number()).into(),
            leases_taken: Arc::default(),
        }
    }

    /// What is known of one certificate; `None` when nothing is.
    ///
    /// # Errors
    /// [`InventoryError::Unreadable`] or [`NewerFormat`](InventoryError::NewerFormat) for a record that is there but
    /// cannot be used.
    pub async fn certificate(
        &self,
        name: &CertificateName,
    ) -> Result<Option<Versioned<CertificateRecord>>, InventoryError> {
        let entry = self.store.get(&key(CERTIFICATES, name)).await?;
        entry.map(|entry| decode_certificate(name, &entry)).transpose()
    }

    /// Writes a record whose credential stays as it is. Durable on return.
    ///
    /// # Errors
    /// [`InventoryError::Conflict`] when `expect` does not hold, [`LeaseLost`](InventoryError::LeaseLost) when `lease`
    /// is gone; nothing is written then.
    pub async fn save_certificate(
        &self,
        record: &CertificateRecord,
        expect: Expect,
        lease: Option<&Lease>,
    ) -> Result<Revision, InventoryError> {
        let batch = self.saved(record, expect)?;
        self.commit(match lease {
            Some(lease) => batch.under(lease),
            None => batch,
        })
        .await
    }

    fn saved(&self, record: &CertificateRecord, expect: Expect) -> Result<Batch, InventoryError> {
        Ok(Batch::new().put(key(CERTIFICATES, &record.name), format::encode(record)?, expect))
    }

    /// Has a new certificate obtained at once, whatever pause of our own there is; false for one that is not known or
    /// that certgate does not renew. Durable on return.
    ///
    /// # Errors
    /// [`InventoryError::Conflict`] when somebody else keeps changing the same certificate, and the store's errors.
    pub async fn request_renewal(&self, name: &CertificateName) -> Result<bool, InventoryError> {
        self.mark_for_renewal(name, false, false).await
    }

    /// As [`request_renewal`](Self::request_renewal), and once without asking DNS; also for a certificate that is yet
    /// to be wanted.
    ///
    /// # Errors
    /// As there.
    pub async fn request_renewal_despite_dns(&self, name: &CertificateName) -> Result<bool, InventoryError> {
        self.mark_for_renewal(name, true, true).await
    }

    /// Has a certificate that there is no record of begun with at once, as an operator wants it.
    ///
    /// # Errors
    /// As [`request_renewal`](Self::request_renewal).
    pub async fn request_first(&self, name: &CertificateName) -> Result<bool, InventoryError> {
        self.mark_for_renewal(name, true, false).await
    }

    async fn mark_for_renewal(
        &self,
        name: &CertificateName,
        also_new: bool,
        despite_dns: bool,
    ) -> Result<bool, InventoryError> {
        for tries_left in (0..TRIES).rev() {
            let (known, expect) = match self.certificate(name).await? {
                Some(known) => (known.value, Expect::Revision(known.revision)),
                None if also_new => (CertificateRecord::wanted(name.clone()), Expect::Absent),
                None => return Ok(false),
            };
            if known.source != Source::Issued {
                return Ok(false);
            }
            let record = CertificateRecord {
                renew_requested: true,
                despite_dns: despite_dns || known.despite_dns,
                // What DNS said may have been put right.
                passed_over: BTreeMap::new(),
                ..known
            };
            match self.save_certificate(&record, expect, None).await {
                Err(InventoryError::Conflict { .. }) if tries_left > 0 => {}
                saved => return saved.map(|_| true),
            }
        }
        Ok(false)
    }

    /// Takes note that the certificate of this fingerprint was revoked, and has another obtained where certgate renews
    /// it. Nothing where another has taken its place already. Durable on return.
    ///
    /// # Errors
    /// As [`request_renewal`](Self::request_renewal).
    pub async fn note_revocation(
        &self,
        name: &CertificateName,
        fingerprint: &str,
        reason: RevocationReason,
    ) -> Result<(), InventoryError> {
        for tries_left in (0..TRIES).rev() {
            let Some(known) = self.certificate(name).await? else {
                return Ok(());
            };
            let mut record = known.value;
            match &mut record.current {
                Some(current) if current.leaf.fingerprint == fingerprint => current.revoked = Some(reason),
                _ => return Ok(()),
            }
            record.renew_requested = record.source == Source::Issued;
            match self
                .save_certificate(&record, Expect::Revision(known.revision), None)
                .await
            {
                Err(InventoryError::Conflict { .. }) if tries_left > 0 => {}
                saved => return saved.map(drop),
            }
        }
        Ok(())
    }

    /// The revision of the newest change of anything in the store.
    ///
    /// # Errors
    /// [`InventoryError::Store`] when the store cannot be asked.
    pub async fn revision(&self) -> Result<Revision, InventoryError> {
        Ok(self.store.revision().await?)
    }

    /// Takes over a certificate that comes from outside, where it differs from what is there; true when it did.
    ///
    /// # Errors
    /// [`InventoryError::Conflict`] when somebody else keeps changing the same certificate, and the store's errors.
    pub async fn import(
        &self,
        name: &CertificateName,
        source: Source,
        pem: &CredentialPem,
        credential: &Credential,
        now: Timestamp,
    ) -> Result<bool, InventoryError> {
        for _ in 1..TRIES {
            match self.import_once(name, source, pem, credential, now).await {
                Err(InventoryError::Conflict { .. }) => {}
                done => return done,
            }
        }
        self.import_once(name, source, pem, credential, now).await
    }

    async fn import_once(
        &self,
        name: &CertificateName,
        source: Source,
        pem: &CredentialPem,
        credential: &Credential,
        now: Timestamp,
    ) -> Result<bool, InventoryError> {
        let text = pem.to_pem();
        let known = self.certificate(name).await?;
        let stored = self.store.get(&key(CREDENTIALS, name)).await?;
        if known.as_ref().is_some_and(|known| known.value.source == source)
            && stored
                .as_ref()
                .is_some_and(|stored| stored.value == text.as_bytes())
        {
            return Ok(false);
        }
        let expect = known
            .as_ref()
            .map_or(Expect::Absent, |known| Expect::Revision(known.revision));
        let record = CertificateRecord::imported(name.clone(), source, credential.leaf().clone(), now);
        let batch = with_credential(&record, pem, expect, stored)?;
        let known = known.as_ref().map(|known| &known.value);
        let batch = self.with_names(batch, &record, known).await?;
        self.commit(self.with_history(batch, &record, known).await?)
            .await?;
        Ok(true)
    }

    /// The chain and key of one certificate; `None` when there are none yet.
    ///
    /// # Errors
    /// [`InventoryError::Credential`] when what is there is not a chain and a key.
    pub async fn credential(&self, name: &CertificateName) -> Result<Option<CredentialPem>, InventoryError> {
        self.credential_at(key(CREDENTIALS, name)).await
    }

    async fn credential_at(&self, key: String) -> Result<Option<CredentialPem>, InventoryError> {
        let Some(entry) = self.store.get(&key).await? else {
            return Ok(None);
        };
        let text = Zeroizing::new(entry.value);
        let pem = CredentialPem::parse(&text).map_err(|source| InventoryError::Credential { key, source })?;
        Ok(Some(pem))
    }

    /// Takes the lease `name` for `ttl`; `None` while anybody else holds it, another task of this process included.
    ///
    /// # Errors
    /// The store's.
    pub async fn lease(&self, name: &str, ttl: Duration) -> Result<Option<Lease>, InventoryError> {
        // A holder of its own for each: the store hands a lease anew to the holder it has, and that would let two
        // tasks of this process in.
        let number = self.leases_taken.fetch_add(1, Ordering::Relaxed);
        let holder = format!("{}-{number}", self.holder);
        Ok(self.store.acquire(name, &holder, ttl).await?)
    }

    /// Lets the lease's time to live begin again.
    ///
    /// # Errors
    /// [`InventoryError::LeaseLost`] when it is gone.
    pub async fn keep_lease(&self, lease: &Lease) -> Result<(), InventoryError> {
        Ok(self.store.keep(lease).await?)
    }

    /// Gives the lease back.
    ///
    /// # Errors
    /// The store's; the lease then ends by its time to live.
    pub async fn release_lease(&self, lease: Lease) -> Result<(), InventoryError> {
        Ok(self.store.release(lease).await?)
    }

    /// Hints about changed keys from now on; [`Stale`] collects what they are about.
    pub fn hints(&self) -> Hints {
        self.store.hints()
    }

    /// Returns once what was written before is kept outside the database as well, where damage to that cannot take it
    /// back.
    ///
    /// # Errors
    /// [`InventoryError`] when it could not be kept so. It is as durable as before.
    pub async fn checkpoint(&self) -> Result<(), InventoryError> {
        Ok(self.store.checkpoint().await?)
    }

    async fn commit(&self, batch: Batch) -> Result<Revision, InventoryError> {
        Ok(self.store.commit(batch).await?)
    }

    async fn read<T: serde::de::DeserializeOwned>(
        &self,
        key: &str,
    ) -> Result<Option<Versioned<T>>, InventoryError> {
        let Some(entry) = self.store.get(key).await? else {
            return Ok(None);
        };
        Ok(Some(Versioned {
            value: format::decode(&entry.key, &Zeroizing::new(entry.value))?,
            revision: entry.revision,
        }))
    }
}

/// The certificate whose record or credential is kept under `key`, if it is such a key.
fn certificate_of_key(key: &str) -> Option<CertificateName> {
    certificate_name(key, CERTIFICATES).or_else(|| certificate_name(key, CREDENTIALS))
}

fn certificate_name(key: &str, prefix: &str) -> Option<CertificateName> {
    CertificateName::parse(key.strip_prefix(prefix)?).ok()
}

fn key(prefix: &str, name: impl std::fmt::Display) -> String {
    format!("{prefix}{name}")
}

fn decode_certificate(
    name: &CertificateName,
    entry: &Entry,
) -> Result<Versioned<CertificateRecord>, InventoryError> {
    let record: CertificateRecord = format::decode(&entry.key, &entry.value)?;
    if record.name != *name {
        return Err(InventoryError::Misplaced {
            key: entry.key.clone(),
            found: record.name,
        });
    }
    Ok(Versioned {
        value: record,
        revision: entry.revision,
    })
}

fn with_credential(
    record: &CertificateRecord,
    pem: &CredentialPem,
    expect: Expect,
    before: Option<Entry>,
) -> Result<Batch, InventoryError> {
    let batch = Batch::new()
        .put(key(CERTIFICATES, &record.name), format::encode(record)?, expect)
        .put(
            key(CREDENTIALS, &record.name),
            pem.to_pem().as_bytes(),
            Expect::Any,
        );
    Ok(match before {
        Some(before) => batch.put(key(PREVIOUS_CREDENTIALS, &record.name), before.value, Expect::Any),
        None => batch,
    })
}

/// Tells this process from every other one that shares the store.
fn holder_number() -> u64 {
    let mut bytes = [0; 8];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes),
        Err(_) => u64::from(std::process::id()),
    }
}

const CERTIFICATES: &str = "certificates/";
const CREDENTIALS: &str = "credentials/";
/// Not below `credentials/`: there a certificate may have any name, also `previous`.
const PREVIOUS_CREDENTIALS: &str = "previous-credentials/";
/// Records read at once.
const PAGE: usize = 256;
/// Others write a record seldom; more conflicts than these are no accident.
const TRIES: usize = 8;

#[cfg(test)]
mod tests;
