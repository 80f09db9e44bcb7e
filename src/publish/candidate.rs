//! Whether what the store holds may be served in place of what is served.

use certgate_store::Revision;

use crate::certificate::{CertificateName, Credential, CredentialError, CredentialPem};
use crate::clock::Timestamp;
use crate::inventory::{CertificateRecord, Inventory, InventoryError, Versioned};

/// Why the store's certificate does not replace the one that is served.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// The chain or the key.
    #[error("its chain and key cannot be served")]
    Credential {
        /// What is wrong with them.
        source: CredentialError,
    },
    /// The record or the credential cannot be read.
    #[error("it cannot be read")]
    Inventory {
        /// Why.
        source: InventoryError,
    },
    /// There is a record, but not what it describes.
    #[error("its record describes a certificate, but its chain and key are missing")]
    Missing,
    /// Record and credential are not about the same certificate.
    #[error("its record describes the certificate {described}, but the chain is that of {found}")]
    NotAsRecorded {
        /// SHA-256 of the certificate in the record.
        described: String,
        /// SHA-256 of the certificate in the chain.
        found: String,
    },
    /// It is not valid now, and what is served is.
    #[error("it is not valid now, from {not_before} to {not_after}, and the one that is served is")]
    Outdated {
        /// The beginning of its validity.
        not_before: Timestamp,
        /// The end of its validity.
        not_after: Timestamp,
    },
}

/// What the store holds for one certificate.
pub(super) enum Stored {
    /// Nothing to serve, and that is as it should be.
    Nothing,
    /// This, which is sound in itself, by the record of this revision.
    Ready(Credential, Revision),
}

/// Reads one certificate and checks that it is whole: key and chain fit, and they are what the record describes.
pub(super) async fn read(inventory: &Inventory, name: &CertificateName) -> Result<Stored, Unfit> {
    let mut last = None;
    // Record and credential are two reads; between them a new pair may have been written.
    for _ in 0..READS {
        let record = inventory.certificate(name).await?;
        let pem = inventory.credential(name).await?;
        match check(record, pem) {
            Err(error @ (Unfit::Missing | Unfit::NotAsRecorded { .. })) => last = Some(error),
            checked => return checked,
        }
    }
    Err(last.unwrap_or(Unfit::Missing))
}

/// Reads the credential of a certificate whose record is of no use, for when there is nothing better to serve.
pub(super) async fn read_without_record(inventory: &Inventory, name: &CertificateName) -> Option<Credential> {
    let pem = inventory.credential(name).await.ok()??;
    Credential::from_pem(&pem).ok()
}

/// Whether `next` may be served in place of `served`: one that is not valid now never replaces one that is.
pub(super) fn may_replace(
    next: &Credential,
    served: Option<&Credential>,
    now: Timestamp,
) -> Result<(), Unfit> {
    let leaf = next.leaf();
    if !leaf.is_valid_at(now) && served.is_some_and(|served| served.leaf().is_valid_at(now)) {
        return Err(Unfit::Outdated {
            not_before: leaf.not_before,
            not_after: leaf.not_after,
        });
    }
    Ok(())
}

fn check(record: Option<Versioned<CertificateRecord>>, pem: Option<CredentialPem>) -> Result<Stored, Unfit> {
    let Some((current, revision)) = record.and_then(|record| Some((record.value.current?, record.revision)))
    else {
        return Ok(Stored::Nothing);
    };
    let credential = Credential::from_pem(&pem.ok_or(Unfit::Missing)?)?;
    let (described, found) = (current.leaf.fingerprint, &credential.leaf().fingerprint);
    if described != *found {
        return Err(Unfit::NotAsRecorded {
            described,
            found: found.clone(),
        });
    }
    Ok(Stored::Ready(credential, revision))
}

impl From<CredentialError> for Unfit {
    fn from(source: CredentialError) -> Self {
        Self::Credential { source }
    }
}

impl From<InventoryError> for Unfit {
    fn from(source: InventoryError) -> Self {
        Self::Inventory { source }
    }
}

const READS: usize = 3;
