//! From a client's certificates to a verdict.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::{ClientVerifier, RejectionReason, Verdict};
use crate::certificate::{ClientIdentity, Revocation};
use crate::clock::Timestamp;
use crate::config::ExpiredCrl;

/// What is asked of a chain that is right otherwise.
type PathCheck<'c> = dyn Fn(&VerifiedPath<'_>) -> Result<(), webpki::Error> + 'c;

impl ClientVerifier {
    /// Judges a certificate that came with `sent`, which need not be in order.
    pub(in crate::tls) fn judge(
        &self,
        end_entity: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Verdict {
        let identity = ClientIdentity::parse(end_entity).map(Arc::new);
        let judged = self.verify(end_entity, sent, now).and_then(|with_expired_crl| {
            let identity = identity.clone().ok_or(RejectionReason::Malformed)?;
            match &self.allow {
                Some(allow) if !allow.admits(&identity) => Err(RejectionReason::NotAllowed),
                _ => Ok((identity, with_expired_crl)),
            }
        });
        match judged {
            Ok((identity, with_expired_crl)) => Verdict::Verified {
                identity,
                with_expired_crl,
            },
            Err(reason) => Verdict::Rejected {
                reason,
                claimed: identity,
            },
        }
    }

    /// Everything that the bundle decides; whether it took a CRL that is out of date.
    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<bool, RejectionReason> {
        if self.bundle.is_unavailable() {
            return Err(RejectionReason::BundleUnavailable);
        }
        let leaf = EndEntityCert::try_from(end_entity).map_err(|error| reason(&error))?;
        let chain = self.with_intermediates(end_entity, sent);
        let moment = Timestamp::from_unix_seconds(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
        let with_expired_crl = Cell::new(false);
        let revocation = |path: &VerifiedPath<'_>| {
            let (expired, at) = self.revocation(path, moment)?;
            match (expired, self.expired_crl) {
                (true, ExpiredCrl::Refuse) => Err(webpki::Error::CrlExpired {
                    time: now,
                    next_update: at,
                }),
                (expired, _) => {
                    with_expired_crl.set(expired);
                    Ok(())
                }
            }
        };
        let revocation: &PathCheck<'_> = &revocation;
        let checked = (!self.bundle.revocation().is_empty()).then_some(revocation);
        let verified = leaf.verify_for_usage(
            self.algorithms.all,
            &self.bundle.roots().roots,
            &chain,
            now,
            KeyUsage::client_auth(),
            None,
            checked,
        );
        match verified {
            Ok(_) if weak_key(end_entity) => Err(RejectionReason::WeakKey),
            Ok(_) if !self.can_be_asked_of(&leaf) => Err(RejectionReason::Unsupported),
            Ok(_) if !may_sign(end_entity) => Err(RejectionReason::WrongUsage),
            Ok(_) => Ok(with_expired_crl.get()),
            Err(error) => Err(self.closer(reason(&error), &leaf, end_entity, &chain)),
        }
    }

    /// Whether the key of `leaf` makes one of the signatures that clients are asked for. Who has another one, as for
    /// RSASSA-PSS alone or of Ed448, shows no certificate at all.
    fn can_be_asked_of(&self, leaf: &EndEntityCert<'_>) -> bool {
        let spki = leaf.subject_public_key_info();
        let key = algorithm(content(&spki));
        let mut asked = self
            .algorithms
            .mapping
            .iter()
            .flat_map(|(_, algorithms)| *algorithms);
        asked.any(|algorithm| algorithm.public_key_alg_id().as_ref() == key)
    }

    /// What the client sent, and what the bundle has to complete it.
    fn with_intermediates<'c>(
        &'c self,
        end_entity: &CertificateDer<'_>,
        sent: &'c [CertificateDer<'c>],
    ) -> Vec<CertificateDer<'c>> {
        let borrowed = |der: &'c CertificateDer<'c>| CertificateDer::from(der.as_ref());
        let mut chain: Vec<_> = sent.iter().map(borrowed).collect();
        if !self.bundle.has_intermediates() {
            return chain;
        }
        let mut wanted: BTreeSet<Vec<u8>> = sent.iter().chain([end_entity]).filter_map(issuer).collect();
        // As deep as a path may be.
        for _ in 0..MAX_DEPTH {
            let mut next = BTreeSet::new();
            for certificate in wanted
                .iter()
                .flat_map(|subject| self.bundle.intermediates(subject))
            {
                let certificate = borrowed(certificate);
                if !chain.contains(&certificate) {
                    next.extend(issuer(&certificate));
                    chain.push(certificate);
                }
            }
            if next.is_empty() {
                break;
            }
            wanted = next;
        }
        chain
    }

    /// Whether a CRL over a part of `path` is out of date, and since when; an error when one names a part of it.
    fn revocation(&self, path: &VerifiedPath<'_>, now: Timestamp) -> Result<(bool, UnixTime), webpki::Error> {
        let lists = self.bundle.revocation();
        let leaf: &webpki::Cert<'_> = path.end_entity();
        let certificates: Vec<_> = std::iter::once(leaf)
            .chain(path.intermediate_certificates())
            .collect();
        let keys: Vec<_> = path
            .intermediate_certificates()
            .map(|issuer| issuer.subject_public_key_info())
            .collect();
        let anchor = path.anchor().subject_public_key_info.as_ref();
        let keys = keys.iter().map(|key| content(key)).chain([anchor]);
        let mut expired = None;
        for (certificate, key) in certificates.iter().zip(keys) {
            match lists.status(certificate.issuer(), key, certificate.serial(), now) {
                Revocation::Good => {}
                Revocation::Expired(since) => expired = Some(since),
                Revocation::Revoked => return Err(webpki::Error::CertRevoked),
            }
        }
        let since = expired.map_or(0, Timestamp::unix_seconds);
        let since = UnixTime::since_unix_epoch(std::time::Duration::from_secs(since.try_into().unwrap_or(0)));
        Ok((expired.is_some(), since))
    }

    /// The reason as an operator would put it.
    fn closer(
        &self,
        reason: RejectionReason,
        leaf: &EndEntityCert<'_>,
        end_entity: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
    ) -> RejectionReason {
        let is_self_signed = leaf.issuer() == leaf.subject();
        let is_authority = |subject: &[u8]| {
            let mut roots = self.bundle.roots().roots.iter();
            roots.any(|root| root.subject.as_ref() == subject)
        };
        match reason {
            RejectionReason::UnknownCa | RejectionReason::WrongUsage | RejectionReason::BadSignature
                if is_self_signed && !is_authority(leaf.subject()) =>
            {
                RejectionReason::SelfSigned
            }
            // What cannot be verified with a key that is too weak looks like a wrong signature.
            RejectionReason::BadSignature | RejectionReason::Unsupported
                if weak_key(end_entity) || chain.iter().any(weak_key) =>
            {
                RejectionReason::WeakKey
            }
            reason => reason,
        }
    }
}

/// Whether a certificate's key is RSA of less than 2048 bits.
pub(super) fn weak_key(certificate: &CertificateDer<'_>) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return false;
    };
    matches!(certificate.public_key().parsed(), Ok(PublicKey::RSA(key)) if key.key_size() < 2048)
}

/// Whether a certificate's key may make the signature of a handshake (RFC 8446 §4.4.2.2, RFC 5246 §7.4.6).
fn may_sign(certificate: &CertificateDer<'_>) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return false;
    };
    match certificate.key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.digital_signature()),
        Err(_) => false,
    }
}

fn issuer(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    Some(certificate.issuer().to_vec())
}

/// What is inside of a DER value.
fn content(der: &[u8]) -> &[u8] {
    match der {
        [_, length, content @ ..] if *length < 0x80 => content,
        [_, length, rest @ ..] => rest.get(usize::from(length & 0x7f)..).unwrap_or_default(),
        _ => &[],
    }
}

/// The content of the first value in that of a SubjectPublicKeyInfo. Those that are supported are all short.
fn algorithm(spki: &[u8]) -> &[u8] {
    match spki {
        [_, length, rest @ ..] if *length < 0x80 => rest.get(..usize::from(*length)).unwrap_or_default(),
        _ => &[],
    }
}

fn reason(error: &webpki::Error) -> RejectionReason {
    use webpki::Error;
    match error {
        Error::CertExpired { .. } => RejectionReason::Expired,
        Error::CertNotValidYet { .. } => RejectionReason::NotYetValid,
        Error::CertRevoked => RejectionReason::Revoked,
        Error::CrlExpired { .. } => RejectionReason::CrlExpired,
        Error::UnknownIssuer | Error::CertDistrusted => RejectionReason::UnknownCa,
        Error::InvalidSignatureForPublicKey => RejectionReason::BadSignature,
        Error::CaUsedAsEndEntity
        | Error::EmptyEkuExtension
        | Error::EndEntityUsedAsCa
        | Error::RequiredEkuNotFoundContext(_) => RejectionReason::WrongUsage,
        Error::MaximumNameConstraintComparisonsExceeded
        | Error::MaximumPathBuildCallsExceeded
        | Error::MaximumPathDepthExceeded
        | Error::MaximumSignatureChecksExceeded
        | Error::PathLenConstraintViolated => RejectionReason::ChainTooLong,
        Error::NameConstraintViolation => RejectionReason::NameConstraint,
        Error::UnsupportedSignatureAlgorithmContext(context) => {
            match BROKEN
                .iter()
                .any(|oid| context.signature_algorithm_id.starts_with(oid))
            {
                true => RejectionReason::WeakSignature,
                false => RejectionReason::Unsupported,
            }
        }
        Error::UnsupportedCertVersion
        | Error::UnsupportedCriticalExtension
        | Error::UnsupportedNameType
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => RejectionReason::Unsupported,
        _ => RejectionReason::Malformed,
    }
}

/// Signature algorithms with MD5 and SHA-1, as they begin in DER.
const BROKEN: [&[u8]; 4] = [
    // md5WithRSAEncryption, sha1WithRSAEncryption
    &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04],
    &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05],
    // ecdsa-with-SHA1
    &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01],
    // dsa-with-sha1
    &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x03],
];

/// Intermediates in a path; webpki looks at no longer one.
const MAX_DEPTH: usize = 6;
