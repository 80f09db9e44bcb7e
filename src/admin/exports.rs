//! Certificates as files for other programs: how far each export has come.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::route::Route;
use crate::admin::{Operations, Problem};
use crate::certificate::CertificateName;
use crate::clock::Timestamp;

/// One certificate in one directory.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Export {
    /// The certificate; where it has keys of two kinds, each is exported by itself.
    pub certificate: CertificateName,
    /// Where its files are.
    pub directory: String,
    /// SHA-256, in lower-case hex, of the certificate that the last attempt was about; absent before the first one.
    pub fingerprint: Option<String>,
    /// Attempts with that certificate.
    pub attempts: u32,
    /// When that was written, and its command had run; absent where the last attempt has failed, or is under way.
    pub done_at: Option<Timestamp>,
    /// When the next attempt is due; absent when it is done or given up.
    pub next_attempt: Option<Timestamp>,
    /// Why the last attempt failed.
    pub error: Option<String>,
}

/// What a running gateway can be asked of its exports.
#[async_trait]
pub trait ExportOperations: Send + Sync + 'static {
    /// Every export, sorted by certificate and directory.
    async fn exports(&self) -> Result<Vec<Export>, Problem>;
}

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    let summary = "Which certificates are files for other programs, and what came of the last attempt";
    vec![Route::get("/v1/exports", summary, exports).answers::<Vec<Export>>()]
}

async fn exports(State(operations): State<Arc<dyn Operations>>) -> Result<Json<Vec<Export>>, Problem> {
    operations.exports().await.map(Json)
}
