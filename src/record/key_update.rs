//! The one handshake message that a client may send after the handshake (RFC 8446 §4.6.3).

use super::RecordError;

/// Collects a `key_update`, which may come in pieces but never together with anything else.
#[derive(Debug, Default)]
pub(super) struct KeyUpdate {
    pieces: [u8; LENGTH],
    length: usize,
}

impl KeyUpdate {
    /// Takes the next piece; `Some` when the message is whole: whether the client asks for one in return.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<Option<bool>, RecordError> {
        // What follows in the same record would be under the old key.
        let room = self.pieces.get_mut(self.length..self.length + piece.len());
        let room = room.ok_or(RecordError::UnexpectedMessage)?;
        room.copy_from_slice(piece);
        self.length += piece.len();
        let told = self.length.min(HEADER.len());
        if self.pieces[..told] != HEADER[..told] {
            return Err(RecordError::UnexpectedMessage);
        }
        if self.length < LENGTH {
            return Ok(None);
        }
        let request = self.pieces[LENGTH - 1];
        *self = Self::default();
        match request {
            0 => Ok(Some(false)),
            1 => Ok(Some(true)),
            _ => Err(RecordError::Malformed),
        }
    }

    /// Whether a piece of one has come and the rest has not.
    pub(super) fn is_under_way(&self) -> bool {
        self.length > 0
    }
}

/// Ours, in return or of our own accord; none is asked for.
pub(super) const UPDATE_NOT_REQUESTED: [u8; LENGTH] = [24, 0, 0, 1, 0];

/// Type and length.
const HEADER: [u8; 4] = [24, 0, 0, 1];
const LENGTH: usize = 5;
