//! CRLs of a local CA: when the next one is due, and what it says (RFC 5280 §5).

use std::time::Duration;

use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevocationReason as Reason, RevokedCertParams, SerialNumber,
};

use crate::certificate::RevocationReason;
use crate::clock::Timestamp;
use crate::inventory::{CaPair, ClientCertificateRecord, CrlRecord};
use crate::issuer::IssueError;
use crate::issuer::local_ca::{authority, leaf, signing};

/// When the CRL after `known` is to be signed: at half its time, so that a gateway which is down for days, or a reader
/// that looks seldom, has one in date all the same. At once where there is none, where it was lost, or where it comes from
/// the future, because the clock was wrong when it was signed.
pub(super) fn due(known: Option<&CrlRecord>, now: Timestamp) -> Timestamp {
    match known {
        Some(known) if known.this_update <= now && !known.der.is_empty() => {
            known.this_update + known.next_update.since(known.this_update) / 2
        }
        _ => now,
    }
}

/// Signs the CRL after `known`: what of `certificates` is revoked, and would not have expired anyway by the end of the
/// CRL before.
pub(super) fn sign(
    clients: &CaPair,
    known: Option<&CrlRecord>,
    certificates: &[ClientCertificateRecord],
    now: Timestamp,
) -> Result<CrlRecord, IssueError> {
    let number = known.map_or(1, |known| known.number.saturating_add(1));
    // In whole seconds, as it stands there.
    let this_update = Timestamp::from_unix_seconds(now.unix_seconds());
    let next_update = this_update + LIFETIME;
    let mut revoked_certs = Vec::new();
    for certificate in certificates {
        let Some(revoked) = certificate.revoked else {
            continue;
        };
        // One CRL must name it that was made after its end (RFC 5280 §3.3).
        if certificate.not_after + LIFETIME < now {
            continue;
        }
        revoked_certs.push(RevokedCertParams {
            serial_number: SerialNumber::from(octets(&certificate.serial)?),
            revocation_time: leaf::moment(revoked.at)?,
            reason_code: reason(revoked.reason),
            invalidity_date: None,
        });
    }
    let list = CertificateRevocationListParams {
        this_update: leaf::moment(this_update)?,
        next_update: leaf::moment(next_update)?,
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs,
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&authority::signer(clients)?).map_err(signing)?;
    Ok(CrlRecord {
        number,
        this_update,
        next_update,
        der: list.der().to_vec(),
    })
}

fn reason(reason: RevocationReason) -> Option<Reason> {
    match reason {
        // It should be absent then (RFC 5280 §5.3.1).
        RevocationReason::Unspecified => None,
        RevocationReason::KeyCompromise => Some(Reason::KeyCompromise),
        RevocationReason::AffiliationChanged => Some(Reason::AffiliationChanged),
        RevocationReason::Superseded => Some(Reason::Superseded),
        RevocationReason::CessationOfOperation => Some(Reason::CessationOfOperation),
        RevocationReason::PrivilegeWithdrawn => Some(Reason::PrivilegeWithdrawn),
    }
}

fn octets(serial: &str) -> Result<Vec<u8>, IssueError> {
    let digits = serial.as_bytes().chunks(2);
    let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits
        .map(octet)
        .collect::<Option<_>>()
        .ok_or_else(|| IssueError::Garbled {
            doing: "sign a CRL",
            reason: format!("`{}` is no serial number", serial.escape_debug()),
        })
}

const LIFETIME: Duration = Duration::from_secs(7 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crl_is_made_anew_at_half_its_time_and_never_left_to_expire() {
        const DAY: i64 = 86_400;
        let at = |day: i64| Timestamp::from_unix_seconds(1_800_000_000 + day * DAY);
        let signed = CrlRecord {
            number: 3,
            this_update: at(0),
            next_update: at(8),
            der: vec![0x30],
        };
        let lost = CrlRecord {
            der: Vec::new(),
            ..signed.clone()
        };
        for (known, now, expected) in [
            (None, at(5), at(5)),
            (Some(&signed), at(0), at(4)),
            (Some(&signed), at(3), at(4)),
            (Some(&signed), at(5), at(4)),
            (Some(&signed), at(100), at(4)),
            (Some(&signed), at(-1), at(-1)),
            (Some(&lost), at(3), at(3)),
        ] {
            assert_eq!(due(known, now), expected, "{now}");
        }
    }
}
