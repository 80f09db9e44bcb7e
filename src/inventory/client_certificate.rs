//! What a local CA has signed for clients, what of it is revoked, and its newest CRL. No client's key is ever here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use certgate_store::{Batch, Expect, Revision};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::certificate::RevocationReason;
use crate::clock::Timestamp;
use crate::inventory::{Inventory, InventoryError, PAGE, Versioned, format, key};

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
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct CrlRecord {
    /// Its number; greater than that of every one before.
    pub number: u64,
    /// When it was signed.
    pub this_update: Timestamp,
    /// After that it says nothing of what is still good.
    pub next_update: Timestamp,
    /// The CRL itself.
    #[serde(serialize_with = "write_base64", deserialize_with = "read_base64")]
    pub der: Vec<u8>,
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
        let prefix = certificate_key(issuer, "");
        let (mut records, mut after) = (Vec::new(), String::new());
        loop {
            let page = self.store.page(&prefix, &after, PAGE).await?.entries;
            for entry in &page {
                records.push(format::decode(&entry.key, &entry.value)?);
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after.clone_from(&last.key),
                _ => return Ok(records),
            }
        }
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
        self.read(&key(CRLS, issuer)).await
    }

    /// Writes a CRL, in the place of the one that `expect` tells, and the certificate for whose sake there is a new
    /// one, which was read at the revision with it: both or nothing. Durable on return.
    ///
    /// # Errors
    /// [`InventoryError::Conflict`] when either has changed in the meantime.
    pub async fn save_crl(
        &self,
        issuer: &str,
        crl: &CrlRecord,
        expect: Expect,
        revoked: Option<&Versioned<ClientCertificateRecord>>,
    ) -> Result<Revision, InventoryError> {
        let mut batch = Batch::new().put(key(CRLS, issuer), format::encode(crl)?, expect);
        if let Some(revoked) = revoked {
            let key = certificate_key(issuer, &revoked.value.serial);
            let value = format::encode(&revoked.value)?;
            batch = batch.put(key, value, Expect::Revision(revoked.revision));
        }
        self.commit(batch).await
    }
}

/// No issuer's name has a slash.
fn certificate_key(issuer: &str, serial: &str) -> String {
    format!("{CLIENT_CERTIFICATES}{issuer}/{serial}")
}

fn write_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn read_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map_err(serde::de::Error::custom)
}

const CLIENT_CERTIFICATES: &str = "client-certificates/";
const CRLS: &str = "crls/";
