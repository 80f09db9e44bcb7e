//! What the file has in tables, changed at run time; and files applied.
//!
//! A resource's body is its table of the file as JSON. Every answer has an `ETag`; `If-Match` makes a change depend on
//! what was read, and `If-None-Match: *` on there being none yet.

use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::admin::access::Right;
use crate::admin::route::Route;
use crate::admin::{Operations, Problem, api};
use crate::clock::Timestamp;
use crate::config::{ResourceId, ResourceKind, ResourceTable};
use crate::inventory::Caller;

/// One resource as it is in force.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Resource {
    /// Its name.
    pub name: String,
    /// Its keys, exactly as in the file.
    pub keys: ResourceTable,
    /// Tells this state of it from every other one.
    pub etag: String,
    /// How it differs from the file, if it does.
    pub drift: Option<Drift>,
    /// Of a policy that comes with certgate: its dated name, under which it never changes. It can be looked at only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built_in: Option<String>,
    /// Of a CA bundle: what it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contents: Option<CaBundleSummary>,
}

/// What a CA bundle holds, in short.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct CaBundleSummary {
    /// Which contents.
    #[serde(flatten)]
    pub version: api::CaBundleVersion,
    /// How many CA certificates.
    pub certificates: usize,
    /// How many CRLs.
    pub crls: usize,
}

/// A resource that is not in force as the file says.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Drift {
    /// Which, as `listeners/web`.
    pub resource: String,
    /// `changed`, `added` or `removed` at run time; `kept`: the file asks for less authentication, which was not done.
    pub change: String,
    /// Who did it.
    pub by: Option<String>,
    /// When.
    pub at: Option<Timestamp>,
}

/// `POST /v1/apply`: bring the gateway to these files.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ApplyRequest {
    /// The files, in the order of their names.
    pub files: Vec<FileText>,
    /// Let listeners ask less of their clients than they do.
    #[serde(default)]
    pub allow_downgrade: bool,
    /// Only say what would change.
    #[serde(default)]
    pub dry_run: bool,
}

/// One file of a configuration.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FileText {
    /// Its path; relative paths in it start at its directory.
    pub path: String,
    /// What it holds.
    pub text: String,
}

/// What files change.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ApplyReport {
    /// Whether it was done.
    pub applied: bool,
    /// The tables that differ between what is in force before and after.
    pub changes: Vec<TableChange>,
    /// What was changed at run time and stays so.
    pub drift: Vec<Drift>,
    /// Whom listeners with mutual authentication let in that they did not before, what they check no longer, and what was allowed
    /// by `allow_downgrade`, a line for each.
    #[serde(default)]
    pub loosened: Vec<String>,
    /// What an operator should look at because of it, a line for each, as in `/v1/status`: a CRL that is out of date or soon will
    /// be, a certificate of a CA bundle that counts for nothing.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Why it is refused without `allow_downgrade`, a line for each listener.
    pub downgrades: Vec<String>,
}

/// A table that changes.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct TableChange {
    /// Which, as `listeners/web` or `log`.
    pub table: String,
    /// `added`, `changed` or `removed`.
    pub change: String,
    /// The keys that differ, where it is changed.
    pub keys: Vec<KeyChange>,
}

/// A key that changes.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct KeyChange {
    /// Its name.
    pub key: String,
    /// Its value before; absent where there was none.
    pub before: Option<Value>,
    /// Its value after.
    pub after: Option<Value>,
}

/// What is asked to become of a resource.
#[derive(Clone, Debug)]
pub enum Edit {
    /// It goes.
    Delete,
    /// Some keys change: a JSON merge patch (RFC 7396).
    Patch(ResourceTable),
    /// These are its keys.
    Put(ResourceTable),
}

/// What must be so for a change to be made (RFC 9110 §13.1), and what may come of it.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// `If-Match`: it is as one of these entity tags says.
    pub if_match: Option<String>,
    /// `If-None-Match`: it is as none of them says; with `*` there is none yet.
    pub if_none_match: Option<String>,
    /// `allow_downgrade`: other listeners than the one that is changed may come to ask less of clients.
    pub allow_downgrade: bool,
}

/// What a running gateway can be asked of its resources.
#[async_trait]
pub trait ResourceOperations: Send + Sync + 'static {
    /// Those of one kind that are in force, sorted by name.
    fn resources(&self, kind: ResourceKind) -> Vec<Resource>;

    /// Changes one, for the caller `by`, where `conditions` hold. What is acknowledged is durable, and in force for the
    /// next handshake. Nothing when it is gone.
    async fn change(
        self: Arc<Self>,
        id: ResourceId,
        edit: Edit,
        conditions: Conditions,
        by: String,
    ) -> Result<Option<Resource>, Problem>;

    /// The CA certificates and CRLs of a bundle that are in force.
    fn ca_bundle_contents(&self, name: &str) -> Result<api::CaBundleContents, Problem>;

    /// Judges the open connections of a listener once more. Unless `dry_run`, those that would not be let in now are
    /// closed, so many each second.
    async fn recheck(
        self: Arc<Self>,
        listener: String,
        dry_run: bool,
        per_second: u16,
    ) -> Result<api::Recheck, Problem>;

    /// Brings the gateway to files, or says what that would change.
    async fn apply(self: Arc<Self>, request: ApplyRequest) -> Result<ApplyReport, Problem>;
}

type Shared = State<Arc<dyn Operations>>;

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    let apply = Route::post(
        "/v1/apply",
        "Bring the gateway to files, or ask what that would change",
        apply,
    )
    .takes::<ApplyRequest>()
    .up_to(LARGEST_CONFIGURATION)
    .answers::<ApplyReport>()
    .refuses(&[409]);
    let recheck = Route::post(
        "/v1/listeners/{name}/recheck",
        "Which open connections would not be let in now; unless `dry_run`, they are closed",
        recheck,
    )
    .needs(for_recheck)
    .query::<RecheckQuery>()
    .answers::<api::Recheck>()
    .refuses(&[409]);
    let contents = Route::get(
        "/v1/ca-bundles/{name}/contents",
        "The CA certificates and CRLs that are in force",
        contents,
    )
    .answers::<api::CaBundleContents>();
    let mut routes = vec![apply, recheck, contents];
    for kind in [
        ResourceKind::CaBundle,
        ResourceKind::Listener,
        ResourceKind::Policy,
        ResourceKind::ServerGroup,
    ] {
        routes.extend(looks(kind));
        routes.extend(changes(kind));
    }
    routes
}

/// To look at those of one kind.
fn looks(kind: ResourceKind) -> [Route; 2] {
    let all = format!("/v1/{}", kind.path());
    let one = format!("{all}/{{name}}");
    let list = async move |State(operations): Shared| Json(operations.resources(kind));
    let show = async move |State(operations): Shared, Path(name): Path<String>| {
        found(&operations, &ResourceId::new(kind, name)).map(shown)
    };
    [
        Route::get(all, "Those that are in force, sorted by name", list).answers::<Vec<Resource>>(),
        Route::get(one, "One of them: its keys, as in the file", show)
            .answers_schema(kind.schema())
            .tagged(),
    ]
}

/// To change one of a kind.
pub(super) fn changes(kind: ResourceKind) -> [Route; 3] {
    let one = format!("/v1/{}/{{name}}", kind.path());
    let id = move |name| ResourceId::new(kind, name);
    let put = async move |State(operations): Shared,
                          Path(name): Path<String>,
                          Query(query): Query<ChangeQuery>,
                          Extension(caller): Extension<Caller>,
                          headers: HeaderMap,
                          body: Bytes| {
        let edit = Edit::Put(table(&body)?);
        change(operations, id(name), edit, query.conditions(&headers)?, caller).await
    };
    let patch = async move |State(operations): Shared,
                            Path(name): Path<String>,
                            Query(query): Query<ChangeQuery>,
                            Extension(caller): Extension<Caller>,
                            headers: HeaderMap,
                            body: Bytes| {
        let edit = Edit::Patch(table(&body)?);
        change(operations, id(name), edit, query.conditions(&headers)?, caller).await
    };
    let delete = async move |State(operations): Shared,
                             Path(name): Path<String>,
                             Query(query): Query<ChangeQuery>,
                             Extension(caller): Extension<Caller>,
                             headers: HeaderMap| {
        let conditions = query.conditions(&headers)?;
        change(operations, id(name), Edit::Delete, conditions, caller).await
    };
    let allowing = |route: Route, kinds: &[ResourceKind]| match kinds.contains(&kind) {
        true => route.query::<ChangeQuery>(),
        false => route,
    };
    let leading = [ResourceKind::Listener, ResourceKind::ServerGroup];
    let put = Route::put(one.clone(), "These are its keys, for the next handshake", put)
        .takes_schema(kind.schema())
        .answers_schema(kind.schema())
        .refuses(&[409])
        .tagged();
    let patch = Route::patch(one.clone(), "Some keys change, and those that are null go", patch)
        .takes_patch()
        .answers_schema(kind.schema())
        .refuses(&[409])
        .tagged();
    let delete = Route::delete(one, "It goes, unless something names it", delete)
        .answers_nothing(204)
        .refuses(&[409, 422])
        .tagged();
    [
        allowing(put, &leading),
        allowing(patch, &leading),
        allowing(delete, &[ResourceKind::Listener]),
    ]
}

async fn change(
    operations: Arc<dyn Operations>,
    id: ResourceId,
    edit: Edit,
    conditions: Conditions,
    caller: Caller,
) -> Result<Response, Problem> {
    let changed = operations.change(id, edit, conditions, caller.name).await?;
    Ok(changed.map_or_else(|| StatusCode::NO_CONTENT.into_response(), shown))
}

/// What a request says must be so.
pub(super) fn conditions(headers: &HeaderMap) -> Result<Conditions, Problem> {
    Ok(Conditions {
        if_match: tags(headers, &header::IF_MATCH)?,
        if_none_match: tags(headers, &header::IF_NONE_MATCH)?,
        allow_downgrade: false,
    })
}

fn tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, Problem> {
    let lines = headers.get_all(name).iter().map(|value| value.to_str());
    let lines: Result<Vec<_>, _> = lines.collect();
    let lines = lines.map_err(|_| Problem::bad_request(format!("`{name}` holds no entity tags")))?;
    Ok((!lines.is_empty()).then(|| lines.join(", ")))
}

async fn apply(
    State(operations): Shared,
    Json(request): Json<ApplyRequest>,
) -> Result<Json<ApplyReport>, Problem> {
    operations.apply(request).await.map(Json)
}

async fn contents(
    State(operations): Shared,
    Path(name): Path<String>,
) -> Result<Json<api::CaBundleContents>, Problem> {
    operations.ca_bundle_contents(&name).map(Json)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ChangeQuery {
    /// Let clients come without a certificate to the place or the servers of a listener with mutual authentication, by another
    /// one than it: one that is changed, or one that is left when it goes. To have a listener ask for less itself needs no leave.
    #[serde(default)]
    allow_downgrade: bool,
}

impl ChangeQuery {
    fn conditions(&self, headers: &HeaderMap) -> Result<Conditions, Problem> {
        Ok(Conditions {
            allow_downgrade: self.allow_downgrade,
            ..conditions(headers)?
        })
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RecheckQuery {
    /// Only say which.
    #[serde(default)]
    dry_run: bool,
    /// How many are closed each second.
    #[serde(default = "RecheckQuery::usual")]
    #[schemars(range(min = 1, max = 10000))]
    per_second: u16,
}

impl RecheckQuery {
    fn usual() -> u16 {
        100
    }
}

/// To look at them is no change.
fn for_recheck(uri: &Uri) -> Right {
    match Query::<RecheckQuery>::try_from_uri(uri) {
        Ok(Query(RecheckQuery { dry_run: true, .. })) => Right::Read,
        _ => Right::Operate,
    }
}

async fn recheck(
    State(operations): Shared,
    Path(name): Path<String>,
    Query(query): Query<RecheckQuery>,
) -> Result<Json<api::Recheck>, Problem> {
    if !(1..=10_000).contains(&query.per_second) {
        return Err(Problem::bad_request(format!(
            "`per_second` is {}; 1 to 10000 are allowed",
            query.per_second
        )));
    }
    let rechecked = operations.recheck(name, query.dry_run, query.per_second);
    rechecked.await.map(Json)
}

fn found(operations: &Arc<dyn Operations>, id: &ResourceId) -> Result<Resource, Problem> {
    let mut all = operations.resources(id.kind).into_iter();
    all.find(|resource| resource.name == id.name)
        .ok_or_else(|| absent(id))
}

/// Says that there is no such resource.
pub(crate) fn absent(id: &ResourceId) -> Problem {
    Problem::not_found(format!("there is no {} `{}`", id.kind.noun(), id.name))
}

fn shown(resource: Resource) -> Response {
    let is_built_in = resource.built_in.is_some();
    let mut response = ([(header::ETAG, resource.etag)], Json(resource.keys)).into_response();
    if is_built_in {
        let looks = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(header::ALLOW, looks);
    }
    response
}

/// The body as the keys of a resource.
pub(super) fn table(body: &[u8]) -> Result<ResourceTable, Problem> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(table)) => Ok(table),
        Ok(_) => Err(Problem::bad_request(
            "the body must be a JSON object with the resource's keys",
        )),
        Err(error) => Err(Problem::bad_request(format!("the body is not JSON: {error}"))),
    }
}

/// Octets; of tens of thousands of certificates.
const LARGEST_CONFIGURATION: usize = 16 << 20;
