//! Plain HTTP on an `http` listener: answers HTTP-01 challenges (RFC 8555 §8.3) and sends everything else to HTTPS.

mod redirect;
mod serve;
mod token;

pub use self::serve::serve_connection;
pub use self::token::TokenTable;
