//! Why a CRL cannot be checked against, in words: what was found, and what is allowed.

use webpki::Error;

/// What the reader of CRLs has found. Its own words are names of its code.
pub(super) fn in_words(error: &Error) -> &'static str {
    match error {
        Error::UnsupportedCrlIssuingDistributionPoint => {
            "it is limited to a part of what its CA has issued (issuingDistributionPoint, RFC 5280 §5.2.5) without the full name of \
             a distribution point, so nobody can tell to which; give one with a full name there, or the CRL of everything"
        }
        Error::UnsupportedIndirectCrl => {
            "it is an indirect CRL, which speaks for other CAs too (RFC 5280 §5.2.5); give the CRL of each CA by itself"
        }
        Error::UnsupportedRevocationReasonsPartitioning => {
            "it has only some reasons of revocation (onlySomeReasons, RFC 5280 §5.2.5); give one that has all of them"
        }
        Error::UnsupportedDeltaCrl => {
            "it is a delta CRL, which has only what is new (RFC 5280 §5.2.4); give the complete one"
        }
        Error::UnsupportedCrlVersion => "it is not of version 2, which alone is read (RFC 5280 §5.1.2.1)",
        Error::InvalidCrlNumber => "its number (cRLNumber, RFC 5280 §5.2.3) is none of at most 20 octets",
        Error::UnsupportedCriticalExtension => {
            "it has a critical extension that is not known, so nobody can tell what it means (RFC 5280 §5.2)"
        }
        Error::UnsupportedRevocationReason => {
            "an entry has a reason of revocation that there is not (RFC 5280 §5.3.1)"
        }
        Error::InvalidSerialNumber => {
            "an entry has a serial number that no certificate can have (RFC 5280 §4.1.2.2)"
        }
        Error::SignatureAlgorithmMismatch => {
            "it names two different signature algorithms (RFC 5280 §5.1.1.2)"
        }
        Error::MalformedExtensions => {
            "one of its extensions is damaged, or limits it to attribute certificates (RFC 5280 §5.2)"
        }
        _ => "it is damaged: what is there is not the DER of a CRL (RFC 5280 §5.1)",
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
        CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope, IsCa, KeyIdMethod, KeyPair,
        SerialNumber,
    };
    use time::OffsetDateTime;

    use super::super::{CaBundle, CaBundleSources, crls_problem};
    use crate::certificate::crl_to_pem;

    /// A CRL of one distribution point and of users only, and its CA.
    fn limited() -> (Vec<u8>, String) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let at = |seconds| OffsetDateTime::from_unix_timestamp(seconds).unwrap();
        let params = CertificateRevocationListParams {
            this_update: at(1_795_219_200),
            next_update: at(1_795_305_600),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: Some(CrlIssuingDistributionPoint {
                distribution_point: CrlDistributionPoint {
                    uris: vec!["http://crl.test/".to_owned()],
                },
                scope: Some(CrlScope::UserCertsOnly),
            }),
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        (params.signed_by(&issuer).unwrap().der().to_vec(), issuer.pem())
    }

    /// `der` with `to` where it has the octets `from`.
    fn changed(der: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
        let at = der.windows(from.len()).position(|window| window == from).unwrap();
        let mut der = der.to_vec();
        der[at..at + to.len()].copy_from_slice(to);
        der
    }

    fn said(der: &[u8], ca: &str) -> String {
        let crls = crl_to_pem(der);
        assert_eq!(
            crls_problem(crls.as_bytes()),
            None,
            "as PEM there is nothing wrong with it"
        );
        let sources = CaBundleSources {
            certificates_pem: Some(ca),
            crls_pem: Some(&crls),
            ..CaBundleSources::default()
        };
        match CaBundle::load("partners", &sources) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_crl_of_a_scope_that_cannot_be_checked_is_refused_in_words() {
        let (der, ca) = limited();
        assert_eq!(
            said(&der, &ca),
            "",
            "of one distribution point and of users it may be"
        );
        let users_only = [0x81, 1, 0xff];
        for (der, says) in [
            (
                changed(&der, &users_only, &[0x84]),
                "an indirect CRL, which speaks for other CAs too",
            ),
            (
                changed(&der, &users_only, &[0x85]),
                "limits it to attribute certificates",
            ),
            (
                changed(&der, &users_only, &[0x83, 1, 0]),
                "only some reasons of revocation",
            ),
            (
                // The name of the distribution point, relative to the issuer's.
                changed(&der, &[0xa0, 0x14, 0xa0, 0x12], &[0xa0, 0x14, 0xa1]),
                "without the full name of a distribution point",
            ),
            (
                changed(&der, &[0x55, 0x1d, 0x1c], &[0x55, 0x1d, 0x1b]),
                "a delta CRL",
            ),
            (
                changed(&der, &[0x55, 0x1d, 0x1c], &[0x55, 0x1d, 0x7f]),
                "a critical extension",
            ),
            (changed(&der, &[0x30], &[0x31]), "is not the DER of a CRL"),
        ] {
            let said = said(&der, &ca);
            assert!(
                said.contains("CRL 1: cannot be used: ") && said.contains(says),
                "{said}"
            );
            assert!(
                !said.contains("Unsupported") && !said.contains("Malformed"),
                "{said}"
            );
        }
    }
}
