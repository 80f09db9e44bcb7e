//! Whether what an issuer gave is what it was asked for.

use crate::certificate::{Credential, CredentialError, CredentialPem, DesiredCertificate, KeyType};
use crate::clock::Timestamp;
use crate::inventory::CertificateRecord;

/// Why a new certificate is not installed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    /// Chain, key, names or validity.
    #[error("the issued certificate is not what was asked for")]
    Credential(#[from] CredentialError),
    /// Another kind of key.
    #[error("the issued certificate has a key of the kind {found}; {wanted} was asked for")]
    Key {
        /// What the certificate says.
        found: String,
        /// What was asked for.
        wanted: KeyType,
    },
    /// The one that is there.
    #[error("the issuer gave the certificate that is there already, serial number {serial}")]
    SameAgain {
        /// Its serial number.
        serial: String,
    },
}

impl Unfit {
    /// Whether the same certificate may fit later: it is the clock that is to be set right.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::Credential(CredentialError::NotYetValid { .. }))
    }
}

/// Compares an answer with the question.
pub(super) fn fit(
    pem: &CredentialPem,
    desired: &DesiredCertificate,
    record: &CertificateRecord,
    now: Timestamp,
) -> Result<Credential, Unfit> {
    let credential = Credential::from_pem(pem)?;
    credential.check(&desired.domains, now)?;
    let leaf = credential.leaf();
    if leaf.key != desired.key_type.label() {
        return Err(Unfit::Key {
            found: leaf.key.clone(),
            wanted: desired.key_type,
        });
    }
    if let Some(current) = &record.current
        && current.leaf.fingerprint == leaf.fingerprint
    {
        return Err(Unfit::SameAgain {
            serial: leaf.serial.clone(),
        });
    }
    Ok(credential)
}
