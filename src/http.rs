//! Plain HTTP on an `http` listener: answers HTTP-01 challenges (RFC 8555 §8.3), serves the CRLs of the gateway's own CAs,
//! and sends everything else to HTTPS.

mod crl;
mod redirect;
mod serve;
mod token;

pub use self::crl::{CrlTable, PublishedCrl};
pub use self::serve::serve_connection;
pub use self::token::TokenTable;
