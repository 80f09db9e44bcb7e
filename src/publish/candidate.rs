//! Whether what the store holds may be served in place of what is served.

use certgate_store::Revision;

use crate::cause::with_causes;
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
    /// A spare, which is served as this certificate or not at all.
    SpareOf(CertificateName),
}

/// Reads one certificate and checks that it is whole: key and chain fit, and they are what the record describes. Where its
/// spare is to be served in its place, it is that which is read.
pub(super) async fn read(inventory: &Inventory, name: &CertificateName) -> Result<Stored, Unfit> {
    let record = inventory.certificate(name).await?;
    let known = record.as_ref().map(|record| &record.value);
    if let Some(primary) = known.and_then(|record| record.spare_of.clone()) {
        return Ok(Stored::SpareOf(primary));
    }
    if known.is_some_and(|record| record.stand_in.is_some())
        && let Ok(spare) = name.spare()
        && let Some(stored) = read_spare(inventory, &spare).await?
    {
        return Ok(stored);
    }
    read_whole(inventory, name, record).await
}

/// Reads a spare that is to be served; `None` where it cannot be, and the certificate itself is better than nothing.
async fn read_spare(inventory: &Inventory, spare: &CertificateName) -> Result<Option<Stored>, Unfit> {
    let record = inventory.certificate(spare).await;
    let read = match record {
        Ok(record) => read_whole(inventory, spare, record).await,
        Err(source) => Err(source.into()),
    };
    match read {
        Err(Unfit::Inventory {
            source: source @ InventoryError::Store { .. },
        }) => Err(source.into()),
        Ok(ready @ Stored::Ready(..)) => Ok(Some(ready)),
        Ok(_) => Ok(None),
        Err(error) => {
            let error = with_causes(&error);
            tracing::error!(certificate = %spare, error, "the spare cannot be served; the certificate itself is");
            Ok(None)
        }
    }
}

async fn read_whole(
    inventory: &Inventory,
    name: &CertificateName,
    first: Option<Versioned<CertificateRecord>>,
) -> Result<Stored, Unfit> {
    let mut record = first;
    let mut reads = 1;
    loop {
        let pem = inventory.credential(name).await?;
        match check(record, pem) {
            // Record and credential are two reads; between them a new pair may have been written.
            Err(Unfit::Missing | Unfit::NotAsRecorded { .. }) if reads < READS => {
                record = inventory.certificate(name).await?;
                reads += 1;
            }
            checked => return checked,
        }
    }
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
