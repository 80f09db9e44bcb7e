//! The CA's directory (RFC 8555 §7.1.1), as far as instant-acme does not look at it.

use std::collections::BTreeMap;

use http::{Method, Request};
use instant_acme::BodyWrapper;
use serde::Deserialize;

use crate::issuer::acme::account::Session;
use crate::issuer::acme::http::{AcmeHttp, RequestFailure};

/// Where the CA's resources are.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Directory {
    pub(super) new_nonce: String,
    /// Where it says when to renew (RFC 9773 §3).
    pub(super) renewal_info: Option<String>,
    /// Where a key takes the place of another (RFC 8555 §7.3.5).
    pub(super) key_change: Option<String>,
    #[serde(default)]
    pub(super) meta: Meta,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Meta {
    /// What can be ordered, each with what it is (draft-aaron-acme-profiles §3).
    #[serde(default)]
    pub(super) profiles: BTreeMap<String, serde_json::Value>,
    /// A list of names, if it is one: what is wrong here keeps no certificate from being obtained.
    #[serde(default)]
    pub(super) caa_identities: serde_json::Value,
}

impl Session {
    /// The directory; fetched once for each session.
    pub(super) async fn directory(&self) -> Result<&Directory, RequestFailure> {
        let fetch = || fetch(&self.http, &self.directory_url);
        self.resources.get_or_try_init(fetch).await
    }

    /// A fresh nonce (RFC 8555 §7.2). No cache may answer for the CA here.
    pub(super) async fn nonce(&self) -> Result<String, RequestFailure> {
        let url = &self.directory().await?.new_nonce;
        let answer = self.http.send(request(url, Method::HEAD)?).await?;
        let nonce = answer
            .headers()
            .get("replay-nonce")
            .and_then(|nonce| nonce.to_str().ok());
        nonce
            .map(ToOwned::to_owned)
            .ok_or_else(|| RequestFailure::broken(url, "there is no nonce"))
    }
}

/// The directory at `url`.
pub(super) async fn fetch(http: &AcmeHttp, url: &str) -> Result<Directory, RequestFailure> {
    let answer = http.send(request(url, Method::GET)?).await?;
    serde_json::from_slice(answer.body()).map_err(|_| RequestFailure::broken(url, "this is no directory"))
}

/// A request without a body.
pub(super) fn request(
    url: &str,
    method: Method,
) -> Result<Request<BodyWrapper<hyper::body::Bytes>>, RequestFailure> {
    let request = Request::builder()
        .method(method)
        .uri(url)
        .body(BodyWrapper::default());
    request.map_err(|_| RequestFailure::broken(url, "this is no URL"))
}
