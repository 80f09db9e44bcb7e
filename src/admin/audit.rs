//! The audit trail as requests pass by: each change is written before it is made, and what came of it before it is
//! answered.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tokio::sync::broadcast;

use crate::admin::Problem;
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
        path: &str,
        before: Option<Value>,
    ) -> Result<AuditRecord, Problem> {
        let mut record = AuditRecord {
            number: 0,
            at: self.clock.now(),
            caller,
            method: method.to_string(),
            resource: shortened(resource(path)),
            action: shortened(&action(method, path)),
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
    let body = to_bytes(response.into_body(), SNAPSHOT_BYTES).await;
    let Ok(body) = body else {
        return Some(Value::from("[too long to be kept here]"));
    };
    serde_json::from_slice(&body).ok().map(without_secrets)
}

/// `/v1/KIND/NAME` of a path that may go on with an action.
fn resource(path: &str) -> &str {
    let end = path.match_indices('/').nth(3).map_or(path.len(), |(end, _)| end);
    &path[..end]
}

fn action(method: &Method, path: &str) -> String {
    match path[resource(path).len()..].strip_prefix('/') {
        Some(action) => action.to_owned(),
        None => method.as_str().to_ascii_lowercase(),
    }
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
/// Of one resource; a trail of longer ones would fill the disk.
const SNAPSHOT_BYTES: usize = 32 << 10;
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
        ] {
            assert_eq!((resource(path), action(&method, path).as_str()), expected);
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
}
