//! What there was of a certificate and what is served of it: versions, the way back, the spare, the end.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Json;
use axum::extract::{Path, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::endpoints::checked;
use crate::admin::route::Route;
use crate::admin::{Operations, Problem, api};
use crate::certificate::{CertificateName, RevocationReason};
use crate::clock::Timestamp;

/// `POST /v1/certificates/{name}/activate`: what is to be served.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ActivateRequest {
    /// Which of the two.
    pub serve: Served,
}

/// A certificate, or its spare.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Served {
    /// The certificate itself.
    Primary,
    /// The one from its spare issuer.
    Spare,
}

/// That the spare is served in a certificate's place.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct StandIn {
    /// Since when.
    pub since: Timestamp,
    /// Whether an operator has asked for it: then it lasts until an operator asks for the certificate again.
    pub by_operator: bool,
    /// Why, in words; empty where an operator has asked for it.
    pub reason: String,
}

/// One version of a certificate.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct CertificateVersion {
    /// `present`, `previous` or `past`; only a previous one can be gone back to.
    pub state: String,
    /// The issuer that signed it, by its name in the configuration; where none did, `files` or `imported`.
    pub issuer: String,
    /// Its serial number, in hex.
    pub serial: String,
    /// SHA-256 of it, in hex.
    pub fingerprint: String,
    /// Its key, as in `ECDSA P-256`.
    pub key: String,
    /// When it was installed.
    pub obtained_at: Timestamp,
    /// The last moment of its validity.
    pub not_after: Timestamp,
    /// When another took its place; absent for the present one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_at: Option<Timestamp>,
    /// Why it was revoked, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<RevocationReason>,
}

/// What a running gateway can be asked of the versions of its certificates.
#[async_trait]
pub trait VersionOperations: Send + Sync + 'static {
    /// Serves a certificate or its spare: durable, and in force for the next handshake, when it is acknowledged.
    async fn activate(&self, name: &CertificateName, serve: Served) -> Result<api::Certificate, Problem>;

    /// The versions of a certificate, the present one first.
    async fn history(&self, name: &CertificateName) -> Result<Vec<CertificateVersion>, Problem>;

    /// Puts the version before the present one in its place.
    async fn roll_back(&self, name: &CertificateName) -> Result<api::Certificate, Problem>;
}

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post(
            "/v1/certificates/{name}/activate",
            "Serve the spare in a certificate's place, or the certificate itself again, from the next handshake on",
            activate,
        )
        .takes::<ActivateRequest>()
        .answers::<api::Certificate>()
        .refuses(&[409]),
        Route::get(
            "/v1/certificates/{name}/history",
            "The versions of a certificate, the present one first",
            history,
        )
        .answers::<Vec<CertificateVersion>>(),
        Route::post(
            "/v1/certificates/{name}/rollback",
            "Put the version before the present one in its place",
            roll_back,
        )
        .answers::<api::Certificate>()
        .refuses(&[409]),
    ]
}

type Shared = State<Arc<dyn Operations>>;

async fn activate(
    State(operations): Shared,
    Path(name): Path<String>,
    Json(request): Json<ActivateRequest>,
) -> Result<Json<api::Certificate>, Problem> {
    operations
        .activate(&checked(&name)?, request.serve)
        .await
        .map(Json)
}

async fn history(
    State(operations): Shared,
    Path(name): Path<String>,
) -> Result<Json<Vec<CertificateVersion>>, Problem> {
    operations.history(&checked(&name)?).await.map(Json)
}

async fn roll_back(
    State(operations): Shared,
    Path(name): Path<String>,
) -> Result<Json<api::Certificate>, Problem> {
    operations.roll_back(&checked(&name)?).await.map(Json)
}
