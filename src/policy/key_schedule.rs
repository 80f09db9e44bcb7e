//! The key schedule of TLS 1.3 (RFC 8446 §7.1): HKDF (RFC 5869) and HMAC (RFC 2104) of one-shot digests.
//!
//! A full handshake computes some forty HMACs of a few bytes each. Through the interface for messages of any length most
//! of their time goes to contexts that are allocated, copied and freed; a digest of a whole message that lies on the
//! stack needs none. AWS-LC's digests remain, with what they know of each processor.

use std::sync::LazyLock;

use aws_lc_rs::digest::{self, Algorithm, Context, Digest};
use rustls::crypto::hash::HashAlgorithm;
use rustls::crypto::hmac::Tag;
use rustls::crypto::tls13::{Hkdf, HkdfExpander, OkmBlock, OutputLengthError};
use rustls::{CipherSuiteCommon, SupportedCipherSuite, Tls13CipherSuite};
use zeroize::optimization_barrier;

/// Every cipher suite of rustls' provider, those of TLS 1.3 with this key schedule.
pub(super) static CIPHER_SUITES: LazyLock<Vec<SupportedCipherSuite>> = LazyLock::new(|| {
    let all = rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES.iter();
    all.map(|suite| scheduled(*suite)).collect()
});

/// rustls wants suites that live as long as the process. There are three.
fn scheduled(suite: SupportedCipherSuite) -> SupportedCipherSuite {
    let SupportedCipherSuite::Tls13(theirs) = suite else {
        return suite;
    };
    let hkdf_provider: &dyn Hkdf = match theirs.common.hash_provider.algorithm() {
        HashAlgorithm::SHA256 => &KeySchedule(&digest::SHA256),
        HashAlgorithm::SHA384 => &KeySchedule(&digest::SHA384),
        _ => theirs.hkdf_provider,
    };
    SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
        common: CipherSuiteCommon { ..theirs.common },
        hkdf_provider,
        ..*theirs
    })))
}

/// HKDF with one hash function.
struct KeySchedule(&'static Algorithm);

impl Hkdf for KeySchedule {
    fn extract_from_zero_ikm(&self, salt: Option<&[u8]>) -> Box<dyn HkdfExpander> {
        self.extract_from_secret(salt, &ZEROES[..self.0.output_len()])
    }

    fn extract_from_secret(&self, salt: Option<&[u8]>, secret: &[u8]) -> Box<dyn HkdfExpander> {
        let salt = HmacKey::new(self.0, salt.unwrap_or(&ZEROES[..self.0.output_len()]));
        Box::new(HmacKey::new(self.0, salt.sign(secret, &[], &[]).as_ref()))
    }

    fn expander_for_okm(&self, okm: &OkmBlock) -> Box<dyn HkdfExpander> {
        Box::new(HmacKey::new(self.0, okm.as_ref()))
    }

    fn hmac_sign(&self, key: &OkmBlock, message: &[u8]) -> Tag {
        HmacKey::new(self.0, key.as_ref()).sign(message, &[], &[])
    }
}

const ZEROES: [u8; digest::MAX_OUTPUT_LEN] = [0; digest::MAX_OUTPUT_LEN];

/// The longest block of a hash function here, SHA-384's.
const MAX_BLOCK: usize = 128;

/// A block and what a key schedule signs: labels, transcripts and shared secrets. More than that goes through a context.
const USUAL: usize = 256;

/// A secret that others are derived from, as HMAC begins with it.
struct HmacKey {
    hash: &'static Algorithm,
    inner: [u8; MAX_BLOCK],
    outer: [u8; MAX_BLOCK],
}

impl HmacKey {
    fn new(hash: &'static Algorithm, secret: &[u8]) -> Self {
        if secret.len() > hash.block_len() {
            return Self::new(hash, digest::digest(hash, secret).as_ref());
        }
        let (mut inner, mut outer) = ([0x36; MAX_BLOCK], [0x5c; MAX_BLOCK]);
        for (n, byte) in secret.iter().enumerate() {
            inner[n] ^= byte;
            outer[n] ^= byte;
        }
        Self { hash, inner, outer }
    }

    /// The HMAC of `first`, the parts of `middle` and `last`.
    fn sign(&self, first: &[u8], middle: &[&[u8]], last: &[u8]) -> Tag {
        let inner = self.digest(&self.inner, first, middle, last);
        Tag::new(self.digest(&self.outer, inner.as_ref(), &[], &[]).as_ref())
    }

    fn digest(&self, block: &[u8; MAX_BLOCK], first: &[u8], middle: &[&[u8]], last: &[u8]) -> Digest {
        let block = &block[..self.hash.block_len()];
        let each = |take: &mut dyn FnMut(&[u8])| {
            take(block);
            take(first);
            for part in middle {
                take(part);
            }
            take(last);
        };
        let mut length = 0;
        each(&mut |part| length += part.len());
        if length > USUAL {
            let mut context = Context::new(self.hash);
            each(&mut |part| context.update(part));
            return context.finish();
        }
        let (mut whole, mut end) = ([0; USUAL], 0);
        each(&mut |part| {
            whole[end..end + part.len()].copy_from_slice(part);
            end += part.len();
        });
        let digest = digest::digest(self.hash, &whole[..end]);
        forget(&mut whole);
        digest
    }
}

impl HkdfExpander for HmacKey {
    fn expand_slice(&self, info: &[&[u8]], output: &mut [u8]) -> Result<(), OutputLengthError> {
        let mut term = Tag::new(&[]);
        for (chunk, n) in output.chunks_mut(self.hash.output_len()).zip(1_u16..) {
            let n = u8::try_from(n).map_err(|_| OutputLengthError)?;
            term = self.sign(term.as_ref(), info, &[n]);
            chunk.copy_from_slice(&term.as_ref()[..chunk.len()]);
        }
        Ok(())
    }

    fn expand_block(&self, info: &[&[u8]]) -> OkmBlock {
        let mut block = [0; digest::MAX_OUTPUT_LEN];
        let block = &mut block[..self.hash.output_len()];
        self.expand_slice(info, block).expect("one block is not too long");
        let okm = OkmBlock::new(block);
        forget(block);
        okm
    }

    fn hash_len(&self) -> usize {
        self.hash.output_len()
    }
}

impl Drop for HmacKey {
    fn drop(&mut self) {
        forget(&mut self.inner);
        forget(&mut self.outer);
    }
}

/// As `zeroize` does it, but not a byte at a time: that would take as long as what is saved.
fn forget(secret: &mut [u8]) {
    secret.fill(0);
    optimization_barrier(secret);
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES;

    use super::*;

    /// Ours and that of rustls' provider, for each suite of TLS 1.3.
    fn pairs() -> impl Iterator<Item = (&'static dyn Hkdf, &'static dyn Hkdf)> {
        let hkdf = |suite: &SupportedCipherSuite| match suite {
            SupportedCipherSuite::Tls13(suite) => Some(suite.hkdf_provider),
            SupportedCipherSuite::Tls12(_) => None,
        };
        let both = CIPHER_SUITES.iter().zip(ALL_CIPHER_SUITES);
        both.filter_map(move |(ours, theirs)| Some((hkdf(ours)?, hkdf(theirs)?)))
    }

    fn expanded(expander: &dyn HkdfExpander, info: &[&[u8]], length: usize) -> Option<(Vec<u8>, Vec<u8>)> {
        let mut slice = vec![0; length];
        expander.expand_slice(info, &mut slice).ok()?;
        Some((slice, expander.expand_block(info).as_ref().to_vec()))
    }

    #[test]
    fn every_suite_is_there_and_those_of_tls_1_3_have_this_key_schedule() {
        assert_eq!(*CIPHER_SUITES, ALL_CIPHER_SUITES);
        assert_eq!(pairs().count(), 3);
        for (ours, theirs) in pairs() {
            assert!(!std::ptr::addr_eq(ours, theirs));
        }
    }

    proptest! {
        #[test]
        fn it_derives_what_the_provider_of_rustls_derives(
            salt in proptest::option::of(vec(any::<u8>(), 0..200)),
            secret in vec(any::<u8>(), 0..600),
            info in vec(vec(any::<u8>(), 0..120), 0..6),
            okm in vec(any::<u8>(), 1..=OkmBlock::MAX_LEN),
            length in prop_oneof![0..100_usize, 8_000..13_000_usize],
        ) {
            let info: Vec<_> = info.iter().map(Vec::as_slice).collect();
            let okm = OkmBlock::new(&okm);
            for (ours, theirs) in pairs() {
                let derived = |hkdf: &dyn Hkdf| {
                    let from_zero = hkdf.extract_from_zero_ikm(salt.as_deref());
                    let from_secret = hkdf.extract_from_secret(salt.as_deref(), &secret);
                    let from_okm = hkdf.expander_for_okm(&okm);
                    let signed = hkdf.hmac_sign(&okm, &secret).as_ref().to_vec();
                    let all = [from_zero, from_secret, from_okm];
                    (all.map(|expander| (expander.hash_len(), expanded(&*expander, &info, length))), signed)
                };
                prop_assert_eq!(derived(ours), derived(theirs));
            }
        }
    }
}
