//! End-entity certificates of a local CA.

use std::time::Duration;

use rcgen::{CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, KeyUsagePurpose, SerialNumber};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use time::OffsetDateTime;

use crate::certificate::{CredentialPem, PrivateKey};
use crate::clock::Timestamp;
use crate::inventory::CaPair;
use crate::issuer::IssueError;
use crate::issuer::local_ca::{authority, signing};
use crate::name::NamePattern;

/// Signs a certificate for TLS servers: subject alternative names alone (RFC 9525), valid for `lifetime` from `now`,
/// and from a little before for clients whose clocks are behind. The chain ends with the issuing CA; the root is
/// what clients have.
pub(super) fn sign(
    issuing: &CaPair,
    domains: &[NamePattern],
    key: &PrivateKey,
    now: Timestamp,
    lifetime: Duration,
) -> Result<CredentialPem, IssueError> {
    let names: Vec<_> = domains.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).map_err(signing)?;
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(serial()?);
    params.not_before = moment(now - LONGEST_BACKDATING.min(lifetime / 10))?;
    params.not_after = moment(now + lifetime)?;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let signer = authority::signer(issuing)?;
    let leaf = params.signed_by(&key.to_key_pair()?, &signer).map_err(signing)?;
    let issuer =
        CertificateDer::from_pem_slice(issuing.certificate.as_bytes()).map_err(|_| IssueError::Garbled {
            doing: "use the local CA in the inventory",
            reason: "its certificate does not parse".to_owned(),
        })?;
    Ok(CredentialPem::new(vec![leaf.der().clone(), issuer], key))
}

/// 127 random bits: positive, and at most 16 bytes long (RFC 5280 §4.1.2.2).
pub(super) fn serial() -> Result<SerialNumber, IssueError> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| signing(rcgen::Error::RingUnspecified))?;
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// A moment as X.509 writes it: in whole seconds.
pub(super) fn moment(at: Timestamp) -> Result<OffsetDateTime, IssueError> {
    let whole = Timestamp::from_unix_seconds(at.unix_seconds());
    whole.to_offset_date_time().ok_or_else(|| IssueError::Garbled {
        doing: "sign",
        reason: format!("{at} is beyond the calendar; is this machine's clock right?"),
    })
}

const LONGEST_BACKDATING: Duration = Duration::from_secs(3600);
