//! The certificates of a bundle: read from PEM, and told apart by what trusts them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use webpki::EndEntityCert;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::CaBundleProblem;
use super::stray::{SkippedLines, outside};
use crate::pem::flaw;

/// A CA certificate, and where it was found.
pub(super) struct Found {
    pub(super) der: CertificateDer<'static>,
    pub(super) file: PathBuf,
    /// Counted from 1.
    pub(super) block: usize,
}

/// Adds the CA certificates of a PEM text, in which nothing else may be but text for people, whose lines are given back.
pub(super) fn add(
    authorities: &mut Vec<Found>,
    file: &Path,
    text: &[u8],
) -> Result<SkippedLines, CaBundleProblem> {
    let skipped = outside(text).map_err(|stray| CaBundleProblem::Syntax {
        block: stray.block,
        reason: stray.to_string(),
    })?;
    // The PEM reader passes over labels that it does not know; here each one is looked at.
    let others = labels(text).enumerate().find(|(_, label)| label != "CERTIFICATE");
    if let Some((index, found)) = others {
        return Err(CaBundleProblem::OtherBlock {
            block: index + 1,
            found,
        });
    }
    let mut found = 0;
    for (index, section) in CertificateDer::pem_slice_iter(text).enumerate() {
        let block = index + 1;
        let der = section.map_err(|error| CaBundleProblem::Syntax {
            block,
            reason: flaw(&error).to_owned(),
        })?;
        let certificate = match X509Certificate::from_der(&der) {
            Ok(([], certificate)) => certificate,
            _ => return Err(CaBundleProblem::NotACertificate { block }),
        };
        if !certificate.is_ca() {
            return Err(CaBundleProblem::NotACa {
                block,
                subject: certificate.subject().to_string(),
            });
        }
        let usable = webpki::anchor_from_trusted_cert(&der).is_ok();
        if !usable {
            return Err(CaBundleProblem::NotACertificate { block });
        }
        authorities.push(Found {
            der: der.clone(),
            file: file.to_owned(),
            block,
        });
        found = block;
    }
    if found == 0 {
        return Err(CaBundleProblem::Empty);
    }
    Ok(skipped)
}

/// Those that another one has issued, and the others.
pub(super) fn by_trust(
    authorities: &[CertificateDer<'static>],
) -> (Vec<CertificateDer<'static>>, Vec<CertificateDer<'static>>) {
    let mut by_subject = HashMap::<Vec<u8>, Vec<&CertificateDer<'_>>>::new();
    for authority in authorities {
        if let Ok((_, certificate)) = X509Certificate::from_der(authority) {
            let subject = certificate.subject().as_raw().to_vec();
            by_subject.entry(subject).or_default().push(authority);
        }
    }
    let is_issued_here = |authority: &CertificateDer<'static>| {
        let Ok((_, certificate)) = X509Certificate::from_der(authority) else {
            return false;
        };
        let issuer = certificate.issuer().as_raw();
        let message = certificate.tbs_certificate.as_ref();
        let signature = &certificate.signature_value.data;
        issuer != certificate.subject().as_raw()
            && by_subject
                .get(issuer)
                .into_iter()
                .flatten()
                .any(|issuer| signed_by(issuer, message, signature))
    };
    authorities.iter().cloned().partition(is_issued_here)
}

pub(super) fn by_subject(
    certificates: Vec<CertificateDer<'static>>,
) -> HashMap<Vec<u8>, Vec<CertificateDer<'static>>> {
    let mut by_subject = HashMap::<_, Vec<_>>::new();
    for certificate in certificates {
        if let Ok(parsed) = webpki::anchor_from_trusted_cert(&certificate) {
            let subject = parsed.subject.as_ref().to_vec();
            by_subject
                .entry(subject)
                .or_default()
                .push(certificate.into_owned());
        }
    }
    by_subject
}

/// Whether `signature` over `message` is by the key of the certificate `signer`, in a way that is trusted today.
pub(super) fn signed_by(signer: &CertificateDer<'_>, message: &[u8], signature: &[u8]) -> bool {
    let Ok(signer) = EndEntityCert::try_from(signer) else {
        return false;
    };
    webpki::ALL_VERIFICATION_ALGS
        .iter()
        .any(|algorithm| signer.verify_signature(*algorithm, message, signature).is_ok())
}

/// The labels of the PEM blocks (RFC 7468 §2), in order. What can be none is not told: a key may stand there, all on one line.
pub(super) fn labels(text: &[u8]) -> impl Iterator<Item = String> {
    text.split(|byte| *byte == b'\n').filter_map(|line| {
        let label = line
            .trim_ascii()
            .strip_prefix(b"-----BEGIN ")?
            .strip_suffix(b"-----")?;
        let is_label = |octet: &u8| octet.is_ascii_uppercase() || octet.is_ascii_digit() || *octet == b' ';
        let is_known = label.len() <= LONGEST_LABEL && label.iter().all(is_label);
        let label = if is_known { label } else { b"(no label)" };
        Some(String::from_utf8_lossy(label).into_owned())
    })
}

const LONGEST_LABEL: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_that_can_be_none_is_not_told() {
        let key = "-----BEGIN PRIVATE KEY-----\rMIGHAgEAMBMG\r-----END PRIVATE KEY-----\n";
        let text = format!("-----BEGIN CERTIFICATE-----\n{key}-----BEGIN X509 CRL-----\n");
        let found: Vec<_> = labels(text.as_bytes()).collect();
        assert_eq!(found, ["CERTIFICATE", "(no label)", "X509 CRL"]);
    }
}
