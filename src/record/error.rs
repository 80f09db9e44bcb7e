//! Why a session ends before both sides have said that it does.

use rustls::AlertDescription;

/// What a client did, or what cannot go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RecordError {
    /// A record does not open under the key: it was changed on its way, or is not the next one.
    #[error("a record does not open under the session's key")]
    BadRecordMac,
    /// The client says that it cannot go on.
    #[error("the client sent the alert {0:?}")]
    FatalAlert(AlertDescription),
    /// A sequence of TLS 1.2 records is as long as the key is good for, and there is no way to change it.
    #[error("as many records as one key is good for have been sent, and TLS 1.2 cannot change it")]
    KeyExhausted,
    /// A message that is not what its length says.
    #[error("the client sent a message that cannot be decoded")]
    Malformed,
    /// Larger than RFC 8446 §5 and RFC 5246 §6.2 allow.
    #[error("the client sent a record of {bytes} bytes, more than the protocol allows")]
    Overflow {
        /// Of its payload.
        bytes: usize,
    },
    /// What let the client in does so no more.
    #[error("the client is no longer admitted")]
    NoLongerAdmitted,
    /// A handshake after the handshake (TLS 1.2); it is never granted.
    #[error("the client tried to renegotiate")]
    Renegotiation,
    /// Records that carry nothing, one after the other.
    #[error("the client sent too many records without content")]
    TooManyEmptyRecords,
    /// Changes of the key without any data in between.
    #[error("the client changed its key too often")]
    TooManyKeyUpdates,
    /// Warnings without end (TLS 1.2).
    #[error("the client sent too many warnings")]
    TooManyWarnings,
    /// A type of record or message that has no place after the handshake.
    #[error("the client sent a message that has no place there")]
    UnexpectedMessage,
}

impl RecordError {
    /// The last words to the client, as level and description; `None` when it has said the last word itself.
    pub(super) fn alert(self) -> Option<(u8, AlertDescription)> {
        use AlertDescription as Alert;
        Some(match self {
            Self::FatalAlert(_) => return None,
            Self::BadRecordMac => (FATAL, Alert::BadRecordMac),
            Self::KeyExhausted => (FATAL, Alert::InternalError),
            Self::Malformed => (FATAL, Alert::DecodeError),
            Self::NoLongerAdmitted => (FATAL, Alert::AccessDenied),
            Self::Overflow { .. } => (FATAL, Alert::RecordOverflow),
            // By RFC 5246 §7.2.2 never fatal; the connection ends nevertheless.
            Self::Renegotiation => (WARNING, Alert::NoRenegotiation),
            Self::TooManyEmptyRecords
            | Self::TooManyKeyUpdates
            | Self::TooManyWarnings
            | Self::UnexpectedMessage => (FATAL, Alert::UnexpectedMessage),
        })
    }
}

pub(super) const WARNING: u8 = 1;
pub(super) const FATAL: u8 = 2;
