//! What a local CA has signed for clients, what of it is revoked, and its newest CRL. No client's key is ever here.

use certgate_store::{Batch, Expect, MAX_VALUE_BYTES, Revision};
use serde::{Deserialize, Serialize};

use crate::certificate::RevocationReason;
use crate::clock::Timestamp;
use crate::inventory::{Inventory, InventoryError, PAGE, TRIES, Versioned, format, key};

/// A certificate that a local CA has signed for a client.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct ClientCertificateRecord {
    /// Its serial number, in lower-case hex; no other certificate of the CA has it.
    pub serial: String,
    /// The subject's common name.
    pub common_name: String,
    /// DNS names among the subject's alternative names.
    pub dns: Vec<String>,
    /// URIs there.
    pub uri: Vec<String>,
    /// Mail addresses there.
    pub email: Vec<String>,
    /// SHA-256 of the certificate, in lower-case hex.
    pub fingerprint: String,
    /// When it was signed.
    pub issued_at: Timestamp,
    /// The last moment of its validity.
    pub not_after: Timestamp,
    /// When and why it was revoked, if it was.
    pub revoked: Option<Revoked>,
}

/// When and why a certificate was revoked.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Revoked {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: RevocationReason,
}

/// The newest CRL of a local CA for clients (RFC 5280 §5).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CrlRecord {
    /// Its number; greater than that of every one before.
    pub number: u64,
    /// When it was signed.
    pub this_update: Timestamp,
    /// After that it says nothing of what is still good.
    pub next_update: Timestamp,
    /// The CRL itself; empty where it was lost, and has to be signed anew.
    pub der: Vec<u8>,
}

/// What is kept of it beside its pieces.
#[derive(Deserialize, Serialize)]
struct CrlHead {
    number: u64,
    this_update: Timestamp,
    next_update: Timestamp,
    /// How many pieces there are.
    #[serde(default)]
    pieces: usize,
}

impl Inventory {
    /// A certificate that `issuer` has signed for a client.
    ///
    /// # Errors
    /// [`InventoryError::Unreadable`] when the record is damaged.
    pub async fn client_certificate(
        &self,
        issuer: &str,
        serial: &str,
    ) -> Result<Option<Versioned<ClientCertificateRecord>>, InventoryError> {
        self.read(&certificate_key(issuer, serial)).await
    }

    /// Everything that `issuer` has signed for clients, by serial number.
    ///
    /// # Errors
    /// [`InventoryError`], also for a single record that cannot be read: what is left out might be revoked.
    pub async fn client_certificates(
        &self,
        issuer: &str,
    ) -> Result<Vec<ClientCertificateRecord>, InventoryError> {
        let mut records = Vec::new();
        loop {
            let after = records
                .last()
                .map(|last: &ClientCertificateRecord| last.serial.clone());
            let after = after.unwrap_or_default();
            let page = self.client_certificates_after(issuer, &after, PAGE).await?;
            let is_last = page.len() < PAGE;
            records.extend(page);
            if is_last {
                return Ok(records);
            }
        }
    }

    /// At most `limit` of them, with serial numbers after `after`, which is empty for the first ones.
    ///
    /// # Errors
    /// As [`client_certificates`](Self::client_certificates).
    pub async fn client_certificates_after(
        &self,
        issuer: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<ClientCertificateRecord>, InventoryError> {
        let prefix = certificate_key(issuer, "");
        let after = certificate_key(issuer, after);
        let page = self.store.page(&prefix, &after, limit).await?.entries;
        let records = page.iter().map(|entry| format::decode(&entry.key, &entry.value));
        records.collect()
    }

    /// Notes a certificate that is about to be handed out. Durable on return.
    ///
    /// # Errors
    /// [`InventoryError::Conflict`] when there is one with its serial number.
    pub async fn save_client_certificate(
        &self,
        issuer: &str,
        record: &ClientCertificateRecord,
    ) -> Result<Revision, InventoryError> {
        let key = certificate_key(issuer, &record.serial);
        self.commit(Batch::new().put(key, format::encode(record)?, Expect::Absent))
            .await
    }

    /// The newest CRL of `issuer`.
    ///
    /// # Errors
    /// [`InventoryError::Unreadable`] when the record is damaged.
    pub async fn crl(&self, issuer: &str) -> Result<Option<Versioned<CrlRecord>>, InventoryError> {
        let mut head: Option<Versioned<CrlHead>> = self.read(&key(CRLS, issuer)).await?;
        for _ in 0..TRIES {
            let Some(known) = head else { return Ok(None) };
            let pieces = self
                .store
                .list(&pieces_of(issuer, known.value.number))
                .await?
                .entries;
            let is_whole = !pieces.is_empty() && pieces.len() == known.value.pieces;
            let newer: Option<Versioned<CrlHead>> = self.read(&key(CRLS, issuer)).await?;
            let is_newest = newer.as_ref().map(|newer| newer.revision) == Some(known.revision);
            if is_whole || is_newest {
                let pieces: Vec<_> = pieces.into_iter().map(|piece| piece.value).collect();
                let der = if is_whole { pieces.concat() } else { Vec::new() };
                return Ok(Some(known.with(der)));
            }
            head = newer;
        }
        Ok(head.map(|head| head.with(Vec::new())))
    }

    /// Writes a CRL, in the place of the one that `expect` tells, and the certificate for whose sake there is a new
    /// one, which was read at the revision with it: both or nothing. Durable on return.
    ///
    /// # Errors
    /// [`InventoryError::Conflict`] when either has changed in the meantime, and the store's when the CRL has more than
    /// 15 MiB, which is some 400,000 entries.
    pub async fn save_crl(
        &self,
        issuer: &str,
        crl: &CrlRecord,
        expect: Expect,
        revoked: Option<&Versioned<ClientCertificateRecord>>,
    ) -> Result<Revision, InventoryError> {
        let pieces = crl.der.chunks(MAX_VALUE_BYTES);
        let head = CrlHead {
            number: crl.number,
            this_update: crl.this_update,
            next_update: crl.next_update,
            pieces: pieces.len(),
        };
        let mut batch = Batch::new().put(key(CRLS, issuer), format::encode(&head)?, expect);
        let new = pieces_of(issuer, crl.number);
        let before = self.store.list(&format!("{CRL_PIECES}{issuer}/")).await?.entries;
        for old in before.into_iter().filter(|old| !old.key.starts_with(&new)) {
            batch = batch.delete(old.key, Expect::Any);
        }
        for (index, piece) in pieces.enumerate() {
            batch = batch.put(format!("{new}{index:04}"), piece.to_vec(), Expect::Any);
        }
        if let Some(revoked) = revoked {
            let key = certificate_key(issuer, &revoked.value.serial);
            let value = format::encode(&revoked.value)?;
            batch = batch.put(key, value, Expect::Revision(revoked.revision));
        }
        self.commit(batch).await
    }
}

impl Versioned<CrlHead> {
    fn with(self, der: Vec<u8>) -> Versioned<CrlRecord> {
        let CrlHead {
            number,
            this_update,
            next_update,
            ..
        } = self.value;
        Versioned {
            value: CrlRecord {
                number,
                this_update,
                next_update,
                der,
            },
            revision: self.revision,
        }
    }
}

/// In the order of their numbers.
fn pieces_of(issuer: &str, crl: u64) -> String {
    format!("{CRL_PIECES}{issuer}/{crl:020}/")
}

/// No issuer's name has a slash.
fn certificate_key(issuer: &str, serial: &str) -> String {
    format!("{CLIENT_CERTIFICATES}{issuer}/{serial}")
}

const CLIENT_CERTIFICATES: &str = "client-certificates/";
const CRLS: &str = "crls/";
const CRL_PIECES: &str = "crl-pieces/";
