//! What is wrong with a PEM text (RFC 7468), told without a word of it: a private key may stand there, even in a file that
//! should hold none, all on one line.

use rustls::pki_types::pem::Error;

/// What a PEM reader found. Its own words quote the line.
pub fn flaw(error: &Error) -> &'static str {
    match error {
        Error::MissingSectionEnd { .. } => "a block has no end",
        Error::IllegalSectionStart { .. } => "the first line of a block is none",
        Error::Base64Decode(_) => "a block is not base64",
        Error::NoItemsFound => "there is no block",
        Error::Io(_) => "it cannot be read to its end",
        _ => "it is damaged",
    }
}
