//! The audit trail as requests pass by: each change is written before it is made, and what came of it before it is
//! answered.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, Uri};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tokio::sync::broadcast;

use crate::admin::Problem;
use crate::admin::client::certificate_path;
use crate::certificate::CertificateName;
use crate::clock::{Clock, Timestamp};
use crate::inventory::{AuditLog, AuditOutcome, AuditRecord, Caller, Inventory, InventoryError};

/// The audit trail of a running gateway.
pub struct AuditTrail {
    log: AuditLog,
    clock: Arc<dyn Clock>,
    written: broadcast::Sender<AuditRecord>,
}

impl AuditTrail {
    /// The trail that is kept in `inventory`.
    pub fn new(inventory: Inventory, clock: Arc<dyn Clock>) -> Self {
        Self {
            log: AuditLog::new(inventory),
            clock,
            written: broadcast::Sender::new(1024),
        }
    }

    /// The time by which everything of the API is judged.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// As [`AuditLog::after`].
    ///
    /// # Errors
    /// The store's.
    pub async fn after(&self, after: Option<u64>, limit: u16) -> Result<Vec<AuditRecord>, InventoryError> {
        self.log.after(after, limit).await
    }

    /// Each record from now on, once it is known what came of it.
    pub fn subscribe(&self) -> broadcast::Receiver<AuditRecord> {
        self.written.subscribe()
    }

    /// Writes that `caller` asks for this change. Nothing may be changed before this has been written.
    pub(super) async fn begin(
        &self,
        caller: Caller,
        method: &Method,
        uri: &Uri,
        before: Option<Value>,
    ) -> Result<AuditRecord, Problem> {
        let mut record = AuditRecord {
            number: 0,
            at: self.clock.now(),
            caller,
            method: method.to_string(),
            resource: shortened(resource(uri.path())),
            action: shortened(&action(method, uri)),
            before,
            after: None,
            outcome: AuditOutcome::Begun,
            status: None,
            detail: None,
        };
        match self.log.append(&mut record).await {
            Ok(()) => Ok(record),
            Err(error) => Err(Problem::unavailable(format!(
                "the audit trail cannot be written, so nothing was done: {}",
                crate::cause::with_causes(&error)
            ))),
        }
    }

    /// Writes what the gateway has done by itself to a certificate, and tells everybody who listens.
    pub(crate) async fn note(&self, certificate: &CertificateName, action: &str, detail: String) {
        let mut record = AuditRecord {
            number: 0,
            at: self.clock.now(),
            caller: Caller {
                name: "certgate".to_owned(),
                ..Caller::default()
            },
            method: String::new(),
            resource: certificate_path(certificate, ""),
            action: action.to_owned(),
            before: None,
            after: None,
            outcome: AuditOutcome::Done,
            status: None,
            detail: Some(shortened(&detail)),
        };
        match self.log.append(&mut record).await {
            // Nobody listening is no error.
            Ok(()) => drop(self.written.send(record)),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(%certificate, action, error, "it is not in the audit trail");
            }
        }
    }

    /// Writes what came of it, and tells everybody who listens.
    pub(super) async fn end(
        &self,
        mut record: AuditRecord,
        status: StatusCode,
        detail: Option<String>,
        after: Option<Value>,
    ) -> Result<(), Problem> {
        record.outcome = match status {
            status if status.is_success() => AuditOutcome::Done,
            status if status.is_client_error() => AuditOutcome::Refused,
            _ => AuditOutcome::Failed,
        };
        record.after = after;
        record.status = Some(status.as_u16());
        record.detail = detail.as_deref().map(shortened);
        tracing::info!(
            number = record.number,
            caller = record.caller.name,
            method = record.method,
            resource = record.resource,
            action = record.action,
            status = status.as_u16(),
            detail = record.detail,
            "a change was asked for at the admin API"
        );
        let written = self.log.amend(&record).await;
        // Nobody listening is no error.
        let _ = self.written.send(record);
        written.map_err(|error| {
            Problem::internal(&error).because(
                "the request was carried out, but what came of it could not be written into the audit trail",
            )
        })
    }
}

/// What the API itself says of the resource at `path`; nothing where there is none. Secrets are left out.
pub(super) async fn snapshot(routes: &TowerToHyperService<Router>, path: &str) -> Option<Value> {
    let request = Request::get(resource(path)).body(Body::empty()).ok()?;
    let Ok(response) = routes.call(request).await;
    if response.status() != StatusCode::OK {
        return None;
    }
    let body = to_bytes(response.into_body(), READ_BYTES).await;
    let Ok(body) = body else {
        return Some(Value::from("[too long to be read]"));
    };
    serde_json::from_slice(&body)
        .ok()
        .map(|value| condensed(without_secrets(value)))
}

/// Of what is long its length and its digest: by that it can be told from what was before, and from what somebody has.
fn condensed(value: Value) -> Value {
    let value = with_short_texts(value);
    let text = value.to_string();
    match text.len() > SNAPSHOT_BYTES {
        true => abridged(text.as_bytes()),
        false => value,
    }
}

fn with_short_texts(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(with_short_texts).collect(),
        Value::Object(fields) => {
            let short = fields
                .into_iter()
                .map(|(key, value)| (key, with_short_texts(value)));
            Value::Object(short.collect())
        }
        Value::String(text) if text.len() > TEXT_BYTES => abridged(text.as_bytes()),
        other => other,
    }
}

fn abridged(octets: &[u8]) -> Value {
    let digest = digest(&SHA256, octets);
    let digest: String = digest
        .as_ref()
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect();
    Value::from(format!("[{} octets, SHA-256 {digest}]", octets.len()))
}

/// `/v1/KIND/NAME` of a path that may go on with an action.
fn resource(path: &str) -> &str {
    let end = path.match_indices('/').nth(3).map_or(path.len(), |(end, _)| end);
    &path[..end]
}

/// With what was asked for beside it, as in `renew?even_if=dns`.
fn action(method: &Method, uri: &Uri) -> String {
    let path = uri.path();
    let mut action = match path[resource(path).len()..].strip_prefix('/') {
        Some(action) => action.to_owned(),
        None => method.as_str().to_ascii_lowercase(),
    };
    if let Some(query) = uri.query().filter(|query| !query.is_empty()) {
        action.push('?');
        action.push_str(query);
    }
    action
}

/// No answer of the API that is kept here has a secret in it; should one ever get one, it goes no further.
fn without_secrets(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(without_secrets).collect(),
        Value::Object(fields) => {
            let kept = fields.into_iter().map(|(key, value)| {
                let is_secret = ["key_pem", "token", "password", "hmac_key"].contains(&key.as_str());
                let value = if is_secret {
                    Value::from(SECRET)
                } else {
                    without_secrets(value)
                };
                (key, value)
            });
            Value::Object(kept.collect())
        }
        Value::String(text) if text.contains("PRIVATE KEY") => Value::from(SECRET),
        other => other,
    }
}

fn shortened(detail: &str) -> String {
    match detail.char_indices().nth(DETAIL_CHARACTERS) {
        Some((end, _)) => format!("{}…", &detail[..end]),
        None => detail.to_owned(),
    }
}

const SECRET: &str = "[secret]";
/// Of a resource at most, so that the whole trail has some 160 MiB at most.
const SNAPSHOT_BYTES: usize = 8 << 10;
/// Of a text in it.
const TEXT_BYTES: usize = 1 << 10;
/// What is looked at of an answer; more than a body of a request may have.
const READ_BYTES: usize = 16 << 20;
const DETAIL_CHARACTERS: usize = 1000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_is_a_resource_and_perhaps_an_action() {
        for (method, path, expected) in [
            (
                Method::PUT,
                "/v1/certificates/www",
                ("/v1/certificates/www", "put"),
            ),
            (
                Method::POST,
                "/v1/certificates/www/renew",
                ("/v1/certificates/www", "renew"),
            ),
            (
                Method::POST,
                "/v1/certificates/sites%2Fa/renew",
                ("/v1/certificates/sites%2Fa", "renew"),
            ),
            (Method::POST, "/v1/reload", ("/v1/reload", "post")),
            (
                Method::PUT,
                "/v1/certificates/www?even_if=dns",
                ("/v1/certificates/www", "put?even_if=dns"),
            ),
        ] {
            let uri: Uri = path.parse().unwrap();
            assert_eq!((resource(uri.path()), action(&method, &uri).as_str()), expected);
        }
    }

    #[test]
    fn a_secret_goes_into_no_snapshot() {
        let shown = without_secrets(json!({
            "name": "www",
            "key_pem": "anything",
            "chain": ["-----BEGIN PRIVATE KEY-----\nMC4C", "-----BEGIN CERTIFICATE-----"],
        }));
        assert_eq!(
            shown,
            json!({ "name": "www", "key_pem": SECRET, "chain": [SECRET, "-----BEGIN CERTIFICATE-----"] })
        );
    }

    #[test]
    fn of_what_is_long_a_snapshot_has_length_and_digest() {
        let long = "a".repeat(1_000_000);
        let shown = condensed(json!({ "files": ["a.pem"], "certificates_pem": long }));
        let digest = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
        let text = format!("[1000000 octets, SHA-256 {digest}]");
        assert_eq!(shown, json!({ "files": ["a.pem"], "certificates_pem": text }));
        let many: Vec<_> = (0..10_000).map(|number| format!("{number}.pem")).collect();
        let shown = condensed(json!({ "files": many })).to_string();
        assert!(shown.len() < 200 && shown.contains("octets, SHA-256"), "{shown}");
    }
}
