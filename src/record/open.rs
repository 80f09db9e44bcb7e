//! Opening records in place.

use std::ops::Range;

use aws_lc_rs::aead::{Aad, Nonce};

use super::protection::{APPLICATION_DATA, Form, Protection, TAG};
use super::{HEADER, LARGEST_PLAINTEXT, RecordError};

/// Opens the records of one direction.
pub(super) struct Opener(pub(super) Protection);

/// One record, opened.
pub(super) struct Content {
    /// Its type.
    pub(super) kind: u8,
    /// Where in the record its plaintext is.
    pub(super) plaintext: Range<usize>,
}

impl Opener {
    /// How long the record is that `wire` begins with; `None` while that cannot be told, or it is not whole.
    pub(super) fn whole(&self, wire: &[u8]) -> Result<Option<usize>, RecordError> {
        let [kind, major, _, high, low, ..] = *wire else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        // Types 20 to 24 are all there are; what begins otherwise is no record.
        if !(20..=24).contains(&kind) || major != 3 {
            return Err(RecordError::UnexpectedMessage);
        }
        if length > self.0.form.largest_payload() {
            return Err(RecordError::Overflow { bytes: length });
        }
        Ok((wire.len() >= HEADER + length).then_some(HEADER + length))
    }

    /// Opens a whole record.
    pub(super) fn open(&mut self, record: &mut [u8]) -> Result<Content, RecordError> {
        let form = self.0.form;
        let (header, payload) = record.split_at_mut(HEADER);
        let kind = header[0];
        if form == Form::Tls13 && kind != APPLICATION_DATA {
            return Err(RecordError::UnexpectedMessage);
        }
        let explicit = form.explicit_nonce();
        let length = payload
            .len()
            .checked_sub(explicit + TAG)
            .ok_or(RecordError::BadRecordMac)?;
        let (nonce, sealed) = payload.split_at_mut(explicit);
        let nonce = match form {
            Form::Tls12Gcm => self.0.nonce_with(nonce),
            Form::Tls12 | Form::Tls13 => Nonce::assume_unique_for_key(self.0.nonce()),
        };
        let tls12_aad = self.0.tls12_aad(kind, u16::try_from(length).unwrap_or(u16::MAX));
        let aad: &[u8] = if form == Form::Tls13 { header } else { &tls12_aad };
        let key = self.0.key().map_err(|_| RecordError::BadRecordMac)?;
        let opened = key.open_in_place(nonce, Aad::from(aad), sealed);
        let text: &[u8] = opened.map_err(|_| RecordError::BadRecordMac)?;
        self.0.sequence += 1;
        let (kind, length) = match form {
            Form::Tls13 => inner(text)?,
            Form::Tls12 | Form::Tls12Gcm => (kind, text.len()),
        };
        if length > LARGEST_PLAINTEXT {
            return Err(RecordError::Overflow { bytes: length });
        }
        let start = HEADER + explicit;
        Ok(Content {
            kind,
            plaintext: start..start + length,
        })
    }
}

/// Type and length of what is inside a TLS 1.3 record, whatever the padding (RFC 8446 §5.4).
fn inner(text: &[u8]) -> Result<(u8, usize), RecordError> {
    if text.len() > LARGEST_PLAINTEXT + 1 {
        return Err(RecordError::Overflow { bytes: text.len() });
    }
    let last = text.iter().rposition(|byte| *byte != 0);
    let last = last.ok_or(RecordError::UnexpectedMessage)?;
    Ok((text[last], last))
}
