//! The key of one direction, the numbers of its records, and what TLS 1.2 and 1.3 do differently with them.

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Algorithm, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey,
};
use aws_lc_rs::error::Unspecified;
use rustls::crypto::cipher::AeadKey;
use rustls::{ConnectionTrafficSecrets, Error, ProtocolVersion};

/// Protects the records of one direction under one key.
pub(super) struct Protection {
    pub(super) form: Form,
    pub(super) sequence: u64,
    iv: [u8; NONCE_LEN],
    algorithm: &'static Algorithm,
    secret: AeadKey,
    /// Ready for use, which takes ten times the room of the secret.
    key: Option<LessSafeKey>,
}

/// What a protected record looks like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    /// RFC 5246 with RFC 7905: the nonce is implied, the type is outside.
    Tls12,
    /// RFC 5288: half of the nonce goes along.
    Tls12Gcm,
    /// RFC 8446: the nonce is implied, the type is inside.
    Tls13,
}

impl Protection {
    pub(super) fn new(
        version: ProtocolVersion,
        (sequence, secrets): (u64, ConnectionTrafficSecrets),
    ) -> Result<Self, Error> {
        use ConnectionTrafficSecrets::*;
        let (algorithm, is_gcm, secret, iv) = match secrets {
            Aes128Gcm { key, iv } => (&AES_128_GCM, true, key, iv),
            Aes256Gcm { key, iv } => (&AES_256_GCM, true, key, iv),
            Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, false, key, iv),
            _ => return Err(Error::General("a cipher without records of ours".to_owned())),
        };
        let form = match version {
            ProtocolVersion::TLSv1_3 => Form::Tls13,
            _ if is_gcm => Form::Tls12Gcm,
            _ => Form::Tls12,
        };
        let unusable =
            || Error::General("the key or the nonce of the session is of the wrong size".to_owned());
        let mut protection = Self {
            form,
            sequence,
            iv: iv.as_ref().try_into().map_err(|_| unusable())?,
            algorithm,
            secret,
            key: None,
        };
        protection.key().map_err(|_| unusable())?;
        Ok(protection)
    }

    /// The key, made ready if it is not.
    pub(super) fn key(&mut self) -> Result<&LessSafeKey, Unspecified> {
        if self.key.is_none() {
            let key = UnboundKey::new(self.algorithm, self.secret.as_ref())?;
            self.key = Some(LessSafeKey::new(key));
        }
        self.key.as_ref().ok_or(Unspecified)
    }

    /// Gives up the room that the ready key takes, until it is needed again.
    pub(super) fn doze(&mut self) {
        self.key = None;
    }

    /// The nonce of the record with the number `sequence` (RFC 8446 §5.3).
    pub(super) fn nonce(&self) -> [u8; NONCE_LEN] {
        let mut nonce = self.iv;
        for (byte, number) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= number;
        }
        nonce
    }

    /// The nonce of a record that brings its half of it along.
    pub(super) fn nonce_with(&self, explicit: &[u8]) -> Nonce {
        let mut nonce = self.iv;
        nonce[4..].copy_from_slice(explicit);
        Nonce::assume_unique_for_key(nonce)
    }

    /// What is authenticated beside the content of a TLS 1.2 record (RFC 5246 §6.2.3.3).
    pub(super) fn tls12_aad(&self, kind: u8, plaintext: u16) -> [u8; 13] {
        let mut aad = [0; 13];
        aad[..8].copy_from_slice(&self.sequence.to_be_bytes());
        aad[8..11].copy_from_slice(&[kind, 3, 3]);
        aad[11..].copy_from_slice(&plaintext.to_be_bytes());
        aad
    }
}

impl Form {
    /// Bytes of a nonce between header and content.
    pub(super) fn explicit_nonce(self) -> usize {
        match self {
            Self::Tls12Gcm => 8,
            Self::Tls12 | Self::Tls13 => 0,
        }
    }

    /// Bytes after the content: the type where it is inside, and the tag.
    pub(super) fn suffix(self) -> usize {
        match self {
            Self::Tls12 | Self::Tls12Gcm => TAG,
            Self::Tls13 => 1 + TAG,
        }
    }

    /// The most bytes after the header.
    pub(super) fn largest_payload(self) -> usize {
        match self {
            Self::Tls12 | Self::Tls12Gcm => super::LARGEST_PLAINTEXT + 2048,
            Self::Tls13 => super::LARGEST_PLAINTEXT + 256,
        }
    }
}

pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const APPLICATION_DATA: u8 = 23;
/// Of all the suites there are.
pub(super) const TAG: usize = 16;
