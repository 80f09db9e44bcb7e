//! Entries of the certificate store, made, changed and deleted.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::admin::endpoints::{checked, shown_certificate};
use crate::admin::resources::{conditions, table};
use crate::admin::route::Route;
use crate::admin::{Conditions, Edit, Operations, Problem, api};
use crate::certificate::CertificateName;
use crate::config::ResourceKind;
use crate::inventory::Caller;

/// What a running gateway can be asked to do with entries of its certificate store.
#[async_trait]
pub trait CertificateOperations: Send + Sync + 'static {
    /// Changes one, for the caller `by`, where `conditions` hold; its next order passes over `even_if`. Keys with
    /// `certificate_pem` are a chain and key that come from elsewhere. Durable when it is acknowledged. Nothing when it is gone.
    async fn change_certificate(
        self: Arc<Self>,
        name: &CertificateName,
        edit: Edit,
        conditions: Conditions,
        even_if: Option<api::Objection>,
        by: String,
    ) -> Result<Option<api::Certificate>, Problem>;
}

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    let one = "/v1/certificates/{name}";
    vec![
        Route::put(
            one,
            "Obtain a certificate with these keys and keep it renewed, or take in one that comes from elsewhere",
            put,
        )
        .query::<OrderQuery>()
        .takes_schema(|generator| {
            let keys = ResourceKind::Certificate.schema()(generator);
            let import = generator.subschema_for::<api::CertificateImport>();
            schemars::json_schema!({ "anyOf": [keys, import] })
        })
        .answers::<api::Certificate>()
        .refuses(&[409])
        .tagged(),
        Route::patch(one, "Some keys change, and those that are null go", patch)
            .query::<OrderQuery>()
            .takes_patch()
            .answers::<api::Certificate>()
            .refuses(&[409])
            .tagged(),
        Route::delete(
            one,
            "Forget a certificate that the configuration does not name, with its key",
            delete,
        )
        .answers_nothing(204)
        .refuses(&[409, 422])
        .tagged(),
    ]
}

type Shared = State<Arc<dyn Operations>>;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OrderQuery {
    /// What is not to hold the next order back; logged, and in the audit trail.
    pub(super) even_if: Option<api::Objection>,
}

async fn put(
    State(operations): Shared,
    Path(name): Path<String>,
    Query(query): Query<OrderQuery>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let edit = Edit::Put(table(&body)?);
    change(operations, &name, edit, query.even_if, &headers, caller).await
}

async fn patch(
    State(operations): Shared,
    Path(name): Path<String>,
    Query(query): Query<OrderQuery>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let edit = Edit::Patch(table(&body)?);
    change(operations, &name, edit, query.even_if, &headers, caller).await
}

async fn delete(
    State(operations): Shared,
    Path(name): Path<String>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    change(operations, &name, Edit::Delete, None, &headers, caller).await
}

async fn change(
    operations: Arc<dyn Operations>,
    name: &str,
    edit: Edit,
    even_if: Option<api::Objection>,
    headers: &HeaderMap,
    caller: Caller,
) -> Result<Response, Problem> {
    let (name, conditions) = (checked(name)?, conditions(headers)?);
    let changed = operations.change_certificate(&name, edit, conditions, even_if, caller.name);
    Ok(match changed.await? {
        Some(certificate) => shown_certificate(certificate),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}
