//! Hooks: what they are yet to be told, what they were not told, and a try.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Json;
use axum::extract::{Path, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::route::Route;
use crate::admin::{Operations, Problem};
use crate::certificate::CertificateName;
use crate::clock::Timestamp;

/// Who is told what happens to certificates.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Hook {
    /// Its name.
    pub name: String,
    /// `command` or `webhook`.
    pub kind: String,
    /// The command, or the URL as far as its host.
    pub target: String,
    /// What it is told of.
    pub events: Vec<String>,
    /// How many notices it is yet to be told.
    pub waiting: usize,
    /// When the next attempt is due; absent where nothing waits.
    pub next_attempt: Option<Timestamp>,
    /// Why the last attempt failed, of those whose notices still wait.
    pub error: Option<String>,
    /// What it was not told, since it last was told something.
    pub given_up: Option<GivenUpNotices>,
}

/// Notices that a hook was not told.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct GivenUpNotices {
    /// How many.
    pub count: u64,
    /// When the last of them was given up.
    pub at: Timestamp,
    /// What that was about.
    pub event: String,
    /// Which certificate it was about.
    pub certificate: CertificateName,
    /// Why its last attempt failed.
    pub error: String,
}

/// `POST /v1/hooks/{name}/test`.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct HookTest {
    /// Why it was not told; absent when it was.
    pub error: Option<String>,
    /// How long it took.
    pub milliseconds: u64,
}

/// What a running gateway can be asked of its hooks.
#[async_trait]
pub trait HookOperations: Send + Sync + 'static {
    /// Every hook, sorted by name.
    async fn hooks(&self) -> Result<Vec<Hook>, Problem>;

    /// Tells one of them, once and at once, that somebody tries it.
    async fn test_hook(&self, name: &str) -> Result<HookTest, Problem>;
}

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/v1/hooks", "Who is told what happens to certificates", hooks).answers::<Vec<Hook>>(),
        Route::post(
            "/v1/hooks/{name}/test",
            "Tell a hook, once and at once, that somebody tries it",
            test,
        )
        .answers::<HookTest>(),
    ]
}

type Shared = State<Arc<dyn Operations>>;

async fn hooks(State(operations): Shared) -> Result<Json<Vec<Hook>>, Problem> {
    operations.hooks().await.map(Json)
}

async fn test(State(operations): Shared, Path(name): Path<String>) -> Result<Json<HookTest>, Problem> {
    operations.test_hook(&name).await.map(Json)
}
