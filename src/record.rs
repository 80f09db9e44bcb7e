//! TLS records after the handshake: opened and sealed in place, in buffers that belong to somebody else.
//!
//! rustls shakes hands; its connection keeps some 8 KiB for the rest of its life, and its records go through
//! allocations of their own. So once the handshake is complete [`Session::new`] takes the keys over, rustls stays
//! behind only to derive the next ones, and a session that waits holds its keys and nothing else.
//!
//! What a client may send from then on is application data, alerts, and in TLS 1.3 `key_update`; everything else ends
//! the session with the alert that RFC 8446 and RFC 5246 ask for. See [`RecordError`].

mod error;
mod key_update;
mod open;
mod protection;
mod seal;
mod session;

pub use error::RecordError;
pub use session::{Opened, Session};

/// The most plaintext that one record holds (RFC 8446 §5.1).
pub const LARGEST_PLAINTEXT: usize = 1 << 14;

/// The most bytes of a record that is not whole yet: header and the largest payload of TLS 1.2 (RFC 5246 §6.2.3).
pub const LARGEST_RECORD: usize = HEADER + LARGEST_PLAINTEXT + 2048;

const HEADER: usize = 5;

#[cfg(test)]
mod tests;
