//! Sealing records in place.

use std::io::IoSliceMut;

use aws_lc_rs::aead::{Aad, Nonce};

use super::protection::{Form, Protection, TAG};
use super::{HEADER, LARGEST_PLAINTEXT, RecordError};

/// Seals the records of one direction.
pub(super) struct Sealer(pub(super) Protection);

impl Sealer {
    /// Where in `buffer` plaintext is to be put for [`seal_all`](Self::seal_all): a slice for each record.
    pub(super) fn slots<'b>(&self, buffer: &'b mut [u8]) -> impl Iterator<Item = IoSliceMut<'b>> {
        let prefix = self.prefix();
        buffer
            .chunks_exact_mut(self.stride())
            .map(move |slot| IoSliceMut::new(&mut slot[prefix..prefix + LARGEST_PLAINTEXT]))
    }

    /// Seals `length` bytes of application data that fill the slots of `buffer` one after the other. The records are
    /// at its beginning then, without a gap; their length is returned.
    pub(super) fn seal_all(
        &mut self,
        kind: u8,
        buffer: &mut [u8],
        length: usize,
    ) -> Result<usize, RecordError> {
        let mut left = length;
        let mut sealed = 0;
        for slot in buffer.chunks_exact_mut(self.stride()) {
            let plaintext = left.min(LARGEST_PLAINTEXT);
            sealed += self.seal(kind, slot, plaintext)?;
            left -= plaintext;
            if left == 0 {
                break;
            }
        }
        debug_assert_eq!(left, 0, "more than the slots hold");
        Ok(sealed)
    }

    /// A record with a short message, at the end of `out`.
    pub(super) fn append(&mut self, kind: u8, message: &[u8], out: &mut Vec<u8>) -> Result<(), RecordError> {
        let start = out.len();
        out.resize(start + self.prefix() + message.len() + self.0.form.suffix(), 0);
        let record = &mut out[start..];
        record[self.prefix()..][..message.len()].copy_from_slice(message);
        self.seal(kind, record, message.len()).map(drop)
    }

    /// Seals the first `length` bytes after the prefix of `slot`; how long the record is.
    fn seal(&mut self, kind: u8, slot: &mut [u8], length: usize) -> Result<usize, RecordError> {
        let (prefix, form) = (self.prefix(), self.0.form);
        let whole = prefix + length + form.suffix();
        let nonce = self.0.nonce();
        let (header, content) = slot[..whole].split_at_mut(prefix);
        let content_length = content.len() + form.explicit_nonce();
        let outside = if form == Form::Tls13 {
            super::protection::APPLICATION_DATA
        } else {
            kind
        };
        let [high, low] = u16::try_from(content_length).unwrap_or(u16::MAX).to_be_bytes();
        header[..HEADER].copy_from_slice(&[outside, 3, 3, high, low]);
        header[HEADER..].copy_from_slice(&nonce[12 - form.explicit_nonce()..]);
        let (text, tag) = content.split_at_mut(content.len() - TAG);
        if let (Form::Tls13, Some(inside)) = (form, text.last_mut()) {
            *inside = kind;
        }
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tls12_aad = self.0.tls12_aad(kind, u16::try_from(length).unwrap_or(u16::MAX));
        let aad = if form == Form::Tls13 {
            &header[..HEADER]
        } else {
            &tls12_aad
        };
        let key = self.0.key().map_err(|_| RecordError::KeyExhausted)?;
        let sealed = key.seal_in_place_separate_tag(nonce, Aad::from(aad), text);
        tag.copy_from_slice(sealed.map_err(|_| RecordError::KeyExhausted)?.as_ref());
        self.0.sequence += 1;
        Ok(whole)
    }

    fn prefix(&self) -> usize {
        HEADER + self.0.form.explicit_nonce()
    }

    fn stride(&self) -> usize {
        self.prefix() + LARGEST_PLAINTEXT + self.0.form.suffix()
    }
}
