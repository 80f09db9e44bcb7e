//! Issuers, and what the gateway's own CAs sign for clients. The key of a client is made where it is used: a signing
//! request comes, and a certificate goes.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::accounts::{IssuerAccount, RateLimit};
use crate::admin::page::PageQuery;
use crate::admin::resources::{Drift, changes};
use crate::admin::route::Route;
use crate::admin::{Operations, Page, Problem};
use crate::certificate::RevocationReason;
use crate::clock::Timestamp;
use crate::config::{ResourceKind, ResourceTable};
use crate::name::NamePattern;

/// Who signs.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[schemars(rename = "IssuerStatus")]
pub struct Issuer {
    /// Its name.
    pub name: String,
    /// `acme` or `local-ca`.
    pub kind: String,
    /// The CA's directory; absent for a local CA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// The account there, once it is registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<IssuerAccount>,
    /// What was used of the CA's rate limits, by what was counted here; the scarcest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rate_limits: Vec<RateLimit>,
    /// What there is of a CA of the gateway's own.
    pub local_ca: Option<LocalCa>,
    /// Its keys, as in the file. Secrets are in files, which only have their names here.
    pub keys: ResourceTable,
    /// Tells these keys from every other ones.
    pub etag: String,
    /// How they differ from the file, if they do.
    pub drift: Option<Drift>,
}

/// A CA of the gateway's own.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct LocalCa {
    /// The root's common name; before it is made, the one that it will have.
    pub common_name: String,
    /// The common name that the next root will have, where the configuration says another one by now: a root keeps its name
    /// until it is replaced towards its end, for clients know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_common_name: Option<String>,
    /// SHA-256 of the root, in lower-case hex; absent before it is made.
    pub root_fingerprint: Option<String>,
    /// The root's end.
    pub root_not_after: Option<Timestamp>,
    /// What it has signed for clients; absent before there is a CA for them.
    pub clients: Option<Clients>,
}

/// What a CA has signed for clients.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Clients {
    /// Certificates that are good.
    pub valid: usize,
    /// Certificates that were revoked.
    pub revoked: usize,
    /// Certificates that have come to their end without that.
    pub expired: usize,
    /// The number of the newest CRL.
    pub crl_number: u64,
    /// When it was signed.
    pub crl_this_update: Timestamp,
    /// After that it says nothing of what is still good; the next one is signed in time.
    pub crl_next_update: Timestamp,
    /// Where it is found from outside, as certificates say; absent where the gateway has no name or no `http` listener.
    pub crl_url: Option<String>,
}

/// A certificate that a local CA has signed for a client.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ClientCertificate {
    /// Its serial number, in lower-case hex.
    pub serial: String,
    /// `valid`, `revoked` or `expired`.
    pub state: String,
    /// The subject's common name.
    pub common_name: String,
    /// DNS names among the subject's alternative names.
    pub dns: Vec<String>,
    /// URIs there.
    pub uri: Vec<String>,
    /// Mail addresses there.
    pub email: Vec<String>,
    /// SHA-256 of it, in lower-case hex.
    pub fingerprint: String,
    /// When it was signed.
    pub issued_at: Timestamp,
    /// The last moment of its validity.
    pub not_after: Timestamp,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
    /// Why.
    pub revocation_reason: Option<RevocationReason>,
}

/// `POST /v1/issuers/{name}/certificates`: sign for a client.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificateRequest {
    /// A signing request in PEM (RFC 2986). Its key is certified; its subject and extensions are not looked at.
    pub csr_pem: String,
    /// The subject's common name.
    pub common_name: String,
    /// DNS names of the client.
    #[serde(default)]
    pub dns: Vec<NamePattern>,
    /// URIs of the client, as a SPIFFE ID.
    #[serde(default)]
    pub uri: Vec<String>,
    /// Mail addresses of the client.
    #[serde(default)]
    pub email: Vec<String>,
    /// Days of its validity, up to 1826.
    #[serde(default = "ClientCertificateRequest::usual_days")]
    pub days: u32,
}

impl ClientCertificateRequest {
    /// A year.
    pub(crate) fn usual_days() -> u32 {
        365
    }
}

/// A certificate as it is handed out.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct IssuedClientCertificate {
    /// What is kept of it.
    pub certificate: ClientCertificate,
    /// The certificate and the CA that has signed it, in PEM.
    pub certificate_pem: String,
}

/// `POST /v1/certificates/{name}/revoke`, and `POST /v1/issuers/{name}/certificates/{serial}/revoke`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RevocationRequest {
    /// Why.
    #[serde(default)]
    pub reason: RevocationReason,
}

/// What a running gateway can be asked of its issuers.
#[async_trait]
pub trait IssuerOperations: Send + Sync + 'static {
    /// Every issuer, sorted by name.
    async fn issuers(&self) -> Result<Vec<Issuer>, Problem>;

    /// One of them.
    async fn issuer(&self, name: &str) -> Result<Issuer, Problem>;

    /// Makes a local CA that is only configured so far.
    async fn create_local_ca(&self, issuer: &str) -> Result<Issuer, Problem>;

    /// What a local CA has signed for clients, by serial number.
    async fn client_certificates(&self, issuer: &str, page: &Page)
    -> Result<Vec<ClientCertificate>, Problem>;

    /// Signs for a client.
    async fn issue_client_certificate(
        &self,
        issuer: &str,
        request: ClientCertificateRequest,
    ) -> Result<IssuedClientCertificate, Problem>;

    /// Revokes a client certificate. In force for the next handshake, and durable, when it is acknowledged.
    async fn revoke_client_certificate(
        &self,
        issuer: &str,
        serial: &str,
        reason: RevocationReason,
    ) -> Result<ClientCertificate, Problem>;

    /// The newest CRL of a local CA, in PEM.
    async fn crl(&self, issuer: &str) -> Result<String, Problem>;
}

type Shared = State<Arc<dyn Operations>>;

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    let certificates = "/v1/issuers/{name}/certificates";
    let mut routes = vec![
        Route::get("/v1/issuers", "Every issuer, sorted by name", issuers).answers::<Vec<Issuer>>(),
        Route::get(
            "/v1/issuers/{name}",
            "One issuer, with its account at a CA, or what there is of a local one",
            issuer,
        )
        .answers::<Issuer>()
        .tagged(),
        Route::post(
            "/v1/issuers/{name}/root",
            "Make a local CA that is only configured so far",
            create,
        )
        .answers::<Issuer>()
        .refuses(&[409]),
        Route::get(
            certificates,
            "What a local CA has signed for clients, by serial number",
            client_certificates,
        )
        .query::<PageQuery>()
        .answers::<Vec<ClientCertificate>>()
        .refuses(&[409]),
        Route::post(
            certificates,
            "Sign for a client; its key is that of the signing request",
            issue,
        )
        .takes::<ClientCertificateRequest>()
        .answers::<IssuedClientCertificate>()
        .refuses(&[409]),
        Route::post(
            "/v1/issuers/{name}/certificates/{serial}/revoke",
            "Revoke a client certificate, for the next handshake; to do it again changes nothing",
            revoke,
        )
        .takes::<RevocationRequest>()
        .answers::<ClientCertificate>()
        .refuses(&[409]),
        Route::get("/v1/issuers/{name}/crl", "The newest CRL of a local CA", crl)
            .answers_text(&[PEM])
            .refuses(&[409]),
    ];
    routes.extend(changes(ResourceKind::Issuer));
    routes
}

async fn issuers(State(operations): Shared) -> Result<Json<Vec<Issuer>>, Problem> {
    operations.issuers().await.map(Json)
}

async fn issuer(State(operations): Shared, Path(name): Path<String>) -> Result<Response, Problem> {
    let issuer = operations.issuer(&name).await?;
    Ok(([(header::ETAG, issuer.etag.clone())], Json(issuer)).into_response())
}

async fn create(State(operations): Shared, Path(name): Path<String>) -> Result<Json<Issuer>, Problem> {
    operations.create_local_ca(&name).await.map(Json)
}

async fn client_certificates(
    State(operations): Shared,
    Path(name): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Vec<ClientCertificate>>, Problem> {
    let page = query.try_into()?;
    operations.client_certificates(&name, &page).await.map(Json)
}

async fn issue(
    State(operations): Shared,
    Path(name): Path<String>,
    Json(request): Json<ClientCertificateRequest>,
) -> Result<Json<IssuedClientCertificate>, Problem> {
    operations
        .issue_client_certificate(&name, request)
        .await
        .map(Json)
}

async fn revoke(
    State(operations): Shared,
    Path((name, serial)): Path<(String, String)>,
    Json(request): Json<RevocationRequest>,
) -> Result<Json<ClientCertificate>, Problem> {
    operations
        .revoke_client_certificate(&name, &serial, request.reason)
        .await
        .map(Json)
}

async fn crl(State(operations): Shared, Path(name): Path<String>) -> Result<Response, Problem> {
    let pem = operations.crl(&name).await?;
    Ok(([(header::CONTENT_TYPE, PEM)], pem).into_response())
}

const PEM: &str = "application/x-pem-file";
