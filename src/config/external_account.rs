//! The customer of a CA that an account there belongs to.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

/// `external_account` of an ACME issuer (RFC 8555 §7.3.4).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExternalAccountConfig {
    /// The key's name.
    pub key_id: String,
    /// The file with the key, base64url.
    pub hmac_key_file: PathBuf,
}

impl ExternalAccountConfig {
    /// The key in the text of such a file; `None` where it is none. Secret.
    pub fn decode(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let text = str::from_utf8(text.trim_ascii()).ok()?.trim_end_matches('=');
        let key = URL_SAFE_NO_PAD.decode(text).map(Zeroizing::new).ok()?;
        (key.len() >= Self::KEY_MIN).then_some(key)
    }

    /// Half of what SHA-256 can use (RFC 2104 §3); CAs give 32 bytes and more.
    pub const KEY_MIN: usize = 16;
}
