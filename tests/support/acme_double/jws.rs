//! Signed requests (RFC 8555 §6.2), as far as a server must look at them.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// A request whose form is right; its signature is still to be checked.
pub(super) struct Jws {
    pub(super) protected: Value,
    /// `Null` for a POST-as-GET.
    pub(super) payload: Value,
    signed: String,
    signature: Vec<u8>,
}

impl Jws {
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let outer: Value = serde_json::from_slice(body).ok()?;
        let part = |name: &str| outer.get(name)?.as_str();
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        let payload = match part("payload")? {
            "" => Value::Null,
            text => serde_json::from_slice(&decode(text)?).ok()?,
        };
        Some(Self {
            protected: serde_json::from_slice(&decode(part("protected")?)?).ok()?,
            payload,
            signed: format!("{}.{}", part("protected")?, part("payload")?),
            signature: decode(part("signature")?)?,
        })
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.protected.get(name)?.as_str()
    }

    /// The key that a new account comes with, as an uncompressed point.
    pub(super) fn jwk(&self) -> Option<Vec<u8>> {
        let coordinate = |name: &str| {
            URL_SAFE_NO_PAD
                .decode(self.protected.get("jwk")?.get(name)?.as_str()?)
                .ok()
        };
        let mut point = vec![4];
        point.extend(coordinate("x")?);
        point.extend(coordinate("y")?);
        Some(point)
    }

    pub(super) fn is_signed_by(&self, point: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        self.header("alg") == Some("ES256") && key.verify(self.signed.as_bytes(), &self.signature).is_ok()
    }
}

/// The thumbprint of a key (RFC 7638), as key authorizations end with it.
pub(super) fn thumbprint(point: &[u8]) -> String {
    let (x, y) = point[1..].split_at(32);
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    let jwk = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, jwk.as_bytes());
    URL_SAFE_NO_PAD.encode(digest)
}
