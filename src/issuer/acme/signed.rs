//! Requests in the account's name that instant-acme does not make (RFC 8555 §6.2).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::CONTENT_TYPE;
use http::{Method, Request};
use hyper::body::Bytes;
use instant_acme::{AccountCredentials, BodyWrapper};
use serde_json::{Value, json};

use crate::inventory::Secret;
use crate::issuer::IssueError;
use crate::issuer::acme::account::Session;
use crate::issuer::acme::http::RequestFailure;

/// Signs with the account's key.
pub(super) struct Signer<'a> {
    session: &'a Session,
    key: EcdsaKeyPair,
}

impl<'a> Signer<'a> {
    /// A signer for the account of `session`.
    pub(super) fn new(session: &'a Session) -> Result<Self, IssueError> {
        Self::with(session, &session.credentials)
    }

    /// One that signs with the key in `credentials`.
    pub(super) fn with(session: &'a Session, credentials: &Secret) -> Result<Self, IssueError> {
        let broken = || IssueError::Garbled {
            doing: "sign a request",
            reason: "the account's key in the inventory cannot be used".to_owned(),
        };
        let credentials: AccountCredentials =
            serde_json::from_str(credentials.expose()).map_err(|_| broken())?;
        let pkcs8 = credentials.private_key().secret_pkcs8_der();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map_err(|_| broken())?;
        Ok(Self { session, key })
    }

    /// The public key (RFC 7517).
    pub(super) fn jwk(&self) -> Value {
        let point = self.key.public_key().as_ref();
        let coordinate =
            |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(point.get(range).unwrap_or_default());
        json!({"crv": "P-256", "kty": "EC", "x": coordinate(1..33), "y": coordinate(33..65)})
    }

    /// `payload` signed in the name of the key itself, for another request to carry (RFC 8555 §7.3.5).
    pub(super) fn inner(&self, url: &str, payload: &Value) -> Option<Value> {
        let protected = json!({"alg": "ES256", "jwk": self.jwk(), "url": url});
        sign(
            &self.key,
            &protected,
            &URL_SAFE_NO_PAD.encode(payload.to_string()),
        )
    }

    /// Has something done.
    pub(super) async fn post(
        &self,
        doing: &'static str,
        url: &str,
        payload: &Value,
    ) -> Result<http::Response<Bytes>, IssueError> {
        self.send(doing, url, &URL_SAFE_NO_PAD.encode(payload.to_string()))
            .await
    }

    /// Reads a resource (RFC 8555 §6.3).
    pub(super) async fn post_as_get(
        &self,
        doing: &'static str,
        url: &str,
    ) -> Result<http::Response<Bytes>, IssueError> {
        self.send(doing, url, "").await
    }

    async fn send(
        &self,
        doing: &'static str,
        url: &str,
        payload: &str,
    ) -> Result<http::Response<Bytes>, IssueError> {
        let mut tries = NONCE_TRIES;
        let answer = loop {
            let answer = self
                .attempt(url, payload)
                .await
                .map_err(|failure| failure.during(doing))?;
            tries -= 1;
            // What is no success here is a refused nonce.
            if answer.status().is_success() || tries == 0 {
                break answer;
            }
        };
        match answer.status().is_success() {
            true => Ok(answer),
            false => Err(IssueError::Refused {
                doing,
                status: answer.status().as_u16(),
                problem: serde_json::from_slice(answer.body()).ok(),
                excerpt: String::new(),
                retry_after: None,
                page: None,
            }),
        }
    }

    async fn attempt(&self, url: &str, payload: &str) -> Result<http::Response<Bytes>, RequestFailure> {
        let nonce = self.session.nonce().await?;
        let protected = json!({
            "alg": "ES256", "kid": self.session.account.id(), "nonce": nonce, "url": url,
        });
        let body = sign(&self.key, &protected, payload)
            .ok_or_else(|| RequestFailure::broken(url, "the account's key does not sign"))?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(url)
            .header(CONTENT_TYPE, "application/jose+json")
            .body(BodyWrapper::from(body.to_string().into_bytes()));
        let request = request.map_err(|_| RequestFailure::broken(url, "this is no URL"))?;
        self.session.http.send(request).await
    }
}

/// The flattened JWS of `payload`, which is base64url already (RFC 7515 §7.2.2).
fn sign(key: &EcdsaKeyPair, protected: &Value, payload: &str) -> Option<Value> {
    let protected = URL_SAFE_NO_PAD.encode(protected.to_string());
    let signed = format!("{protected}.{payload}");
    let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).ok()?;
    Some(json!({
        "protected": protected, "payload": payload, "signature": URL_SAFE_NO_PAD.encode(signature.as_ref()),
    }))
}

const NONCE_TRIES: usize = 5;
