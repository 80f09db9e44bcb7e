//! Accounts at CAs, what their limits leave, and the revocation of what they have signed.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::endpoints::checked;
use crate::admin::issuers::RevocationRequest;
use crate::admin::route::Route;
use crate::admin::{Operations, Problem, api};
use crate::certificate::{CertificateName, RevocationReason};
use crate::clock::Timestamp;

/// A rate limit of a CA that was used.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct RateLimit {
    /// The issuer.
    pub issuer: String,
    /// What is limited, in words.
    pub limit: String,
    /// How many are left.
    pub left: u32,
    /// How many there are when none was used.
    pub allowed: u32,
    /// When there is one to use; now where there is one.
    pub next_at: Timestamp,
}

/// An account at a CA.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct IssuerAccount {
    /// Its URL, which a CAA record may name as `accounturi` (RFC 8657).
    pub url: String,
    /// Its contact URLs.
    pub contact: Vec<String>,
}

/// What a running gateway can be asked of its accounts.
#[async_trait]
pub trait AccountOperations: Send + Sync + 'static {
    /// Gives the account a new key.
    async fn roll_over(&self, issuer: &str) -> Result<(), Problem>;

    /// Ends the account.
    async fn deactivate(&self, issuer: &str) -> Result<(), Problem>;

    /// Has a certificate revoked, and another obtained in its place where it is wanted still.
    async fn revoke(
        &self,
        name: &CertificateName,
        reason: RevocationReason,
    ) -> Result<api::Certificate, Problem>;
}

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post(
            "/v1/issuers/{name}/rollover",
            "Give the account at the CA a new key",
            roll_over,
        )
        .answers_nothing(204)
        .refuses(&[409, 502]),
        Route::post(
            "/v1/issuers/{name}/deactivate",
            "End the account at the CA for good; the next order registers another",
            deactivate,
        )
        .answers_nothing(204)
        .refuses(&[409, 502]),
        Route::post(
            "/v1/certificates/{name}/revoke",
            "Have the CA revoke a certificate, and obtain another in its place",
            revoke,
        )
        .takes::<RevocationRequest>()
        .answers::<api::Certificate>()
        .refuses(&[409, 502]),
    ]
}

type Shared = State<Arc<dyn Operations>>;

async fn roll_over(State(operations): Shared, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    operations.roll_over(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn deactivate(State(operations): Shared, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    operations.deactivate(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn revoke(
    State(operations): Shared,
    Path(name): Path<String>,
    Json(request): Json<RevocationRequest>,
) -> Result<Json<api::Certificate>, Problem> {
    operations
        .revoke(&checked(&name)?, request.reason)
        .await
        .map(Json)
}
