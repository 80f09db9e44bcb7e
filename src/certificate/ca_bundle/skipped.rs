//! Certificates of a bundle that count for nothing: which, where they stand, and why.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::authorities::{Found, by_trust};
use crate::certificate::leaf::describe_key;
use crate::clock::Timestamp;

/// A certificate that is left out, while others of its bundle count.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Skipped {
    /// The file, or the key of the configuration.
    pub file: PathBuf,
    /// Its block there, counted from 1.
    pub block: usize,
    /// Its subject.
    pub subject: String,
    /// Why.
    pub reason: SkipReason,
}

/// Why a certificate is left out.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SkipReason {
    /// The same is there before it.
    #[error("is the same as block {block} of {}", file.display())]
    Duplicate {
        /// Where.
        file: PathBuf,
        /// Its block there.
        block: usize,
    },
    /// A root that is not valid any more. Of intermediates this is looked at in each handshake.
    #[error("expired at {at}")]
    Expired {
        /// Since when.
        at: Timestamp,
    },
    /// Nothing that it has signed could be verified.
    #[error(
        "has a key that nothing is verified with: {key}; RSA of 2048 to 8192 bits, ECDSA on P-256, P-384 or P-521, and Ed25519 can be"
    )]
    UnusableKey {
        /// Its key, for people.
        key: String,
    },
}

impl Skipped {
    /// Whether the same certificate counts elsewhere.
    pub(super) fn is_duplicate(&self) -> bool {
        matches!(self.reason, SkipReason::Duplicate { .. })
    }
}

/// The certificates of a bundle by what they are good for.
pub(super) struct SortedOut {
    /// All of them, each once, in the order of their content.
    pub(super) authorities: Vec<CertificateDer<'static>>,
    /// Those that are trusted for themselves, and count.
    pub(super) anchors: Vec<CertificateDer<'static>>,
    /// Those that others of the bundle have issued, and that count.
    pub(super) intermediates: Vec<CertificateDer<'static>>,
    pub(super) skipped: Vec<Skipped>,
}

/// Tells roots from intermediates, and leaves out what counts for nothing at `now`.
pub(super) fn sort_out(found: Vec<Found>, now: Timestamp) -> SortedOut {
    let mut skipped = Vec::new();
    let mut places = BTreeMap::<Vec<u8>, (PathBuf, usize)>::new();
    for Found { der, file, block } in found {
        match places.get(der.as_ref()) {
            None => drop(places.insert(der.to_vec(), (file, block))),
            Some((first, first_block)) => skipped.push(Skipped {
                subject: subject(&der),
                reason: SkipReason::Duplicate {
                    file: first.clone(),
                    block: *first_block,
                },
                file,
                block,
            }),
        }
    }
    let authorities: Vec<_> = places.keys().cloned().map(CertificateDer::from).collect();
    // All of them are looked at for that: an intermediate does not become a root because its own is skipped.
    let (mut intermediates, mut anchors) = by_trust(&authorities);
    let mut counts = |der: &CertificateDer<'static>, is_root| {
        let Some(reason) = useless(der, is_root, now) else {
            return true;
        };
        let place = places.get(der.as_ref()).cloned();
        let (file, block) = place.unwrap_or_default();
        skipped.push(Skipped {
            file,
            block,
            subject: subject(der),
            reason,
        });
        false
    };
    intermediates.retain(|der| counts(der, false));
    anchors.retain(|der| counts(der, true));
    SortedOut {
        authorities,
        anchors,
        intermediates,
        skipped,
    }
}

/// Why nobody can be verified with a certificate at `now`, if so.
fn useless(der: &CertificateDer<'_>, is_root: bool, now: Timestamp) -> Option<SkipReason> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    if !has_usable_key(der, &certificate) {
        let key = describe_key(&certificate);
        return Some(SkipReason::UnusableKey { key });
    }
    let at = not_after(der)?;
    (is_root && now > at).then_some(SkipReason::Expired { at })
}

/// The last moment of a certificate's validity.
pub(super) fn not_after(der: &CertificateDer<'_>) -> Option<Timestamp> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let seconds = certificate.validity().not_after.timestamp();
    Some(Timestamp::from_unix_seconds(seconds))
}

/// The subject of a certificate, for people.
fn subject(der: &CertificateDer<'_>) -> String {
    let parsed = X509Certificate::from_der(der);
    parsed.map_or_else(|_| String::new(), |(_, parsed)| parsed.subject().to_string())
}

/// By the algorithms that signatures are verified with.
fn has_usable_key(der: &CertificateDer<'_>, certificate: &X509Certificate<'_>) -> bool {
    let Ok(anchor) = webpki::anchor_from_trusted_cert(der) else {
        return false;
    };
    let key = anchor.subject_public_key_info.as_ref();
    let is_known = webpki::ALL_VERIFICATION_ALGS.iter().any(|algorithm| {
        let identifier = algorithm.public_key_alg_id();
        let length = u8::try_from(identifier.len()).ok();
        key.get(1).copied() == length && key.get(2..).is_some_and(|rest| rest.starts_with(&identifier))
    });
    let is_sized = match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => (2048..=8192).contains(&key.key_size()),
        _ => true,
    };
    is_known && is_sized
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
    use time::OffsetDateTime;

    use super::super::{CaBundle, CaBundleError, CaBundleSources};
    use super::*;
    use crate::certificate::{CredentialPem, KeyType, PrivateKey};

    const NOW: i64 = 1_795_219_200;

    fn params(common_name: &str, until: i64) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = OffsetDateTime::from_unix_timestamp(until).unwrap();
        params
    }

    fn root(common_name: &str, until: i64) -> CertifiedIssuer<'static, KeyPair> {
        let key = KeyPair::generate().unwrap();
        CertifiedIssuer::self_signed(params(common_name, until), key).unwrap()
    }

    fn load(files: &[&str], directory: &Path) -> Result<CaBundle, CaBundleError> {
        let write = |(index, text): (usize, &&str)| {
            let file = directory.join(format!("{index}.pem"));
            std::fs::write(&file, text).unwrap();
            file
        };
        let files: Vec<_> = files.iter().enumerate().map(write).collect();
        let sources = CaBundleSources {
            files: &files,
            now: Timestamp::from_unix_seconds(NOW),
            ..CaBundleSources::default()
        };
        CaBundle::load("partners", &sources)
    }

    /// A certificate whose key is on a curve that nobody knows: the last octet of P-256's identifier is another one.
    fn unknown_curve(root: &CertifiedIssuer<'static, KeyPair>) -> String {
        let mut der = root.der().to_vec();
        let p256 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
        let at = der.windows(p256.len()).position(|window| window == p256).unwrap();
        der[at + p256.len() - 1] = 0x06;
        let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        CredentialPem::new(vec![der.into()], &key).chain_to_pem()
    }

    #[test]
    fn what_counts_for_nothing_is_skipped_with_its_place_and_reason_while_something_counts() {
        let directory = tempfile::tempdir().unwrap();
        let (good, expired) = (root("good", NOW + 9), root("expired", NOW - 1));
        let odd = unknown_curve(&root("odd", NOW + 9));
        let below = params("below", NOW + 9);
        let below = below.signed_by(&KeyPair::generate().unwrap(), &expired).unwrap();
        let many = [good.pem(), good.pem(), expired.pem(), below.pem()].concat();
        let bundle = load(&[&many, &(good.pem() + &odd)], directory.path()).unwrap();
        assert_eq!((bundle.roots().len(), bundle.authority_count()), (1, 2));
        assert!(bundle.has_intermediates(), "one without its root is no root");
        let mut found: Vec<_> = bundle
            .skipped()
            .iter()
            .map(|skipped| {
                let file = skipped.file.file_name().unwrap().to_string_lossy();
                format!("{file} {} {} {}", skipped.block, skipped.subject, skipped.reason)
            })
            .collect();
        found.sort();
        let first = directory.path().join("0.pem");
        let same = format!("CN=good is the same as block 1 of {}", first.display());
        assert_eq!(found.len(), 4);
        assert_eq!(found[0], format!("0.pem 2 {same}"));
        assert_eq!(found[1], "0.pem 3 CN=expired expired at 2026-11-20T23:59:59Z");
        assert_eq!(found[2], format!("1.pem 1 {same}"));
        assert!(
            found[3].starts_with("1.pem 2 CN=odd has a key that nothing is verified with: "),
            "{found:?}"
        );
        assert_eq!(bundle.first_expiry(), Some(Timestamp::from_unix_seconds(NOW + 9)));
        // What is skipped makes no other bundle of it.
        assert_eq!(
            bundle,
            load(&[&(below.pem() + &good.pem()), &expired.pem()], directory.path()).unwrap()
        );
    }

    #[test]
    fn a_bundle_of_which_every_root_is_skipped_is_refused_with_one_of_them() {
        let directory = tempfile::tempdir().unwrap();
        let expired = root("expired", NOW - 1).pem();
        let error = load(&[&[expired.clone(), expired].concat()], directory.path()).unwrap_err();
        assert_eq!(error.skipped().len(), 2, "the same one twice");
        let unavailable = CaBundle::unavailable("partners", error.skipped());
        assert_eq!(unavailable.skipped(), error.skipped());
        let text = error.to_string();
        let says = "has no root that counts: `CN=expired`, block 1 of ";
        assert!(
            text.contains(says) && text.ends_with("expired at 2026-11-20T23:59:59Z"),
            "{text}"
        );
    }
}
