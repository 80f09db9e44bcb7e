//! How records are written: JSON, in an envelope that tells its format.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::inventory::InventoryError;

/// The format this certgate writes, and the newest it reads.
pub(super) const FORMAT: u32 = 1;

/// A record as bytes.
pub(super) fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>, InventoryError> {
    serde_json::to_vec(&Envelope {
        format: FORMAT,
        record,
    })
    .map_err(|source| InventoryError::Unwritable { source })
}

/// The record in `bytes`, found under `key`.
pub(super) fn decode<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, InventoryError> {
    // The parser's own message may quote the text, and the text may hold a secret: only the place is kept.
    let unreadable = |error: serde_json::Error| InventoryError::Unreadable {
        key: key.to_owned(),
        line: error.line(),
        column: error.column(),
    };
    let Header { format } = serde_json::from_slice(bytes).map_err(unreadable)?;
    if format > FORMAT {
        return Err(InventoryError::NewerFormat {
            key: key.to_owned(),
            found: format,
            known: FORMAT,
        });
    }
    let envelope: Envelope<T> = serde_json::from_slice(bytes).map_err(unreadable)?;
    Ok(envelope.record)
}

#[derive(Deserialize)]
struct Header {
    format: u32,
}

#[derive(Deserialize, Serialize)]
struct Envelope<T> {
    format: u32,
    record: T,
}
