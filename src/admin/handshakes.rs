//! What clients of a listener offer, what a policy would make of them, and what a handshake would get.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Json;
use axum::extract::{Path, Query, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::route::Route;
use crate::admin::{Operations, Problem, api};
use crate::certificate::CertificateName;
use crate::clock::Timestamp;
use crate::name::NamePattern;

/// What the clients of the latest handshakes offered: how many of them each thing. Nothing tells one client from another
/// of its kind.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ClientHellos {
    /// The listener.
    pub listener: String,
    /// Handshakes that were counted.
    pub handshakes: u64,
    /// Since when; absent where there was none.
    pub since: Option<Timestamp>,
    /// Those of them of which nothing more is known: there are more kinds of offers than are kept.
    pub unknown: u64,
    /// Protocol versions.
    pub versions: Vec<Offered>,
    /// Cipher suites.
    pub cipher_suites: Vec<Offered>,
    /// Key exchange groups.
    pub groups: Vec<Offered>,
    /// Signature schemes.
    pub signature_schemes: Vec<Offered>,
    /// Application protocols.
    pub alpn: Vec<Offered>,
}

/// How many handshakes something was offered in.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Offered {
    /// What.
    pub name: String,
    /// In how many.
    pub handshakes: u64,
}

/// What a policy would have made of the latest handshakes.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct PolicyPreview {
    /// The listener.
    pub listener: String,
    /// The policy, by its dated name where it is built in.
    pub policy: String,
    /// The policy that is in force.
    pub in_force: String,
    /// Handshakes that were counted.
    pub handshakes: u64,
    /// Since when; absent where there was none.
    pub since: Option<Timestamp>,
    /// Those of them that the policy would have refused.
    pub would_fail: u64,
    /// Those of them that the policy in force refuses.
    pub fail_now: u64,
    /// Those of them of which nothing can be said: there are more kinds of offers than are kept.
    pub unknown: u64,
    /// Why the policy would have refused them, the most usual reason first.
    pub reasons: Vec<PreviewReason>,
    /// Those that are refused whatever the policy is, by why.
    pub regardless: Vec<Offered>,
}

/// Handshakes that would have failed for one reason.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct PreviewReason {
    /// `version`, `cipher-suite`, `group` or `signature`.
    pub reason: String,
    /// In words about the client.
    pub detail: String,
    /// How many.
    pub handshakes: u64,
    /// How many of them the policy in force refuses as well.
    pub fail_now: u64,
    /// What such clients offered, the most usual first; at most eight kinds.
    pub offers: Vec<OfferedTogether>,
}

/// What one kind of client offers.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct OfferedTogether {
    /// In how many handshakes.
    pub handshakes: u64,
    /// Protocol versions, the newest first.
    pub versions: Vec<String>,
    /// Cipher suites, in no order of preference; likewise everything below.
    pub cipher_suites: Vec<String>,
    /// Key exchange groups.
    pub groups: Vec<String>,
    /// Signature schemes.
    pub signature_schemes: Vec<String>,
    /// Application protocols.
    pub alpn: Vec<String>,
}

/// `POST /v1/listeners/{name}/explain`: a client.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    /// The name it asks for.
    pub server_name: Option<String>,
    /// The beginning of a well-known client's name, as `policy explain` lists them; absent: the first of them.
    pub client: Option<String>,
    /// The application protocols it offers, in its order.
    #[serde(default)]
    pub alpn: Vec<String>,
    /// The certificate it would show, with its intermediates. Never a private key.
    pub client_certificate_pem: Option<String>,
}

/// What a handshake would get, and why.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Explanation {
    /// The listener.
    pub listener: String,
    /// The name that is asked for.
    pub server_name: Option<String>,
    /// The well-known client.
    pub client: String,
    /// `served`, `refused`, or `challenge` where it is taken for a CA's look at an ACME challenge.
    pub outcome: String,
    /// Why it is refused.
    pub reason: Option<String>,
    /// What the client is told then, as RFC 8446 §6 calls it.
    pub alert: Option<String>,
    /// The certificate, where it comes to one.
    pub certificate: Option<ExplainedCertificate>,
    /// What the policy makes of it.
    pub policy: ExplainedPolicy,
    /// The application protocol that is agreed on.
    pub alpn: Option<String>,
    /// What becomes of the client's certificate.
    pub authentication: ExplainedAuthentication,
    /// Where the connection goes.
    pub backend: ExplainedBackend,
}

/// The certificate that is served.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ExplainedCertificate {
    /// Its name in the store.
    pub name: CertificateName,
    /// `exact` or `wildcard`: it has the server name; `default`: the listener's.
    pub by: String,
    /// The names it is valid for.
    pub domains: Vec<NamePattern>,
    /// Its key, as in `ECDSA P-256`.
    pub key: String,
    /// Whether the client can verify such a key; if not, it can verify none that there are for the name.
    pub verifiable: bool,
    /// The last moment of its validity.
    pub not_after: Timestamp,
    /// SHA-256 of it, in hex.
    pub fingerprint: String,
}

/// What a policy makes of a client.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ExplainedPolicy {
    /// The policy, by its dated name where it is built in.
    pub name: String,
    /// The protocol version that is agreed on; likewise what follows.
    pub version: Option<String>,
    /// The cipher suite.
    pub cipher_suite: Option<String>,
    /// The key exchange group.
    pub group: Option<String>,
}

/// What becomes of a client's certificate.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ExplainedAuthentication {
    /// `one-way`, `observe` or `mutual`.
    pub mode: String,
    /// The CA bundle that it is checked against.
    pub client_ca: Option<String>,
    /// `verified`, or the reason in the word that metrics have; absent where no certificate is asked for.
    pub verdict: Option<String>,
    /// The reason in words.
    pub detail: Option<String>,
    /// The subject of the certificate.
    pub subject: Option<String>,
    /// Whether the client is let in; where it is only observed, whatever the verdict.
    pub admitted: bool,
}

/// Where a connection goes.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ExplainedBackend {
    /// The server group.
    pub server_group: String,
    /// The server that the next connection goes to.
    pub next: Option<String>,
    /// All of them.
    pub servers: Vec<api::Server>,
}

/// What a running gateway can be asked about handshakes.
#[async_trait]
pub trait HandshakeOperations: Send + Sync + 'static {
    /// What the clients of a listener offer.
    fn client_hellos(&self, listener: &str) -> Result<ClientHellos, Problem>;

    /// What a policy would have made of them: a built-in one, or one of the configuration in force; without one, what the
    /// listener's own does.
    fn preview(&self, listener: &str, policy: Option<&str>) -> Result<PolicyPreview, Problem>;

    /// What a client's handshake would get.
    async fn explain(&self, listener: &str, request: ExplainRequest) -> Result<Explanation, Problem>;
}

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(
            "/v1/listeners/{name}/client-hellos",
            "What the clients of the latest handshakes offered, each kind of thing by itself",
            client_hellos,
        )
        .answers::<ClientHellos>()
        .refuses(&[409]),
        Route::get(
            "/v1/listeners/{name}/preview",
            "How many of the latest handshakes a policy would have refused, and why",
            preview,
        )
        .query::<PreviewQuery>()
        .answers::<PolicyPreview>()
        .refuses(&[409]),
        Route::post(
            "/v1/listeners/{name}/explain",
            "What a handshake would get, and why",
            explain,
        )
        .read_only()
        .takes::<ExplainRequest>()
        .answers::<Explanation>()
        .refuses(&[409]),
    ]
}

type Shared = State<Arc<dyn Operations>>;

async fn client_hellos(
    State(operations): Shared,
    Path(listener): Path<String>,
) -> Result<Json<ClientHellos>, Problem> {
    operations.client_hellos(&listener).map(Json)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PreviewQuery {
    /// The policy; absent: the one in force.
    policy: Option<String>,
}

async fn preview(
    State(operations): Shared,
    Path(listener): Path<String>,
    Query(query): Query<PreviewQuery>,
) -> Result<Json<PolicyPreview>, Problem> {
    operations.preview(&listener, query.policy.as_deref()).map(Json)
}

async fn explain(
    State(operations): Shared,
    Path(listener): Path<String>,
    Json(request): Json<ExplainRequest>,
) -> Result<Json<Explanation>, Problem> {
    operations.explain(&listener, request).await.map(Json)
}
