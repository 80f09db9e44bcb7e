//! The routes of the API and what they do.

use std::convert::Infallible;
use std::sync::{Arc, LazyLock};

use axum::Json;
use axum::extract::{Path as UrlPath, Query, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::admin::access::Right;
use crate::admin::certificate_edits::OrderQuery;
use crate::admin::page::PageQuery;
use crate::admin::route::Route;
use crate::admin::{
    AuditTrail, Operations, Problem, accounts, api, calendar, certificate_edits, exports, handshakes, hooks,
    issuers, openapi, resources, versions,
};
use crate::certificate::CertificateName;
use crate::metrics::CONTENT_TYPE;

/// Every route of the API.
pub(super) fn routes() -> Vec<Route> {
    let mut routes = vec![
        Route::get(
            "/v1/status",
            "One screen: listeners, certificates, backends, last errors",
            status,
        )
        .answers::<api::Status>(),
        Route::get(
            "/v1/certificates",
            "The certificate store, sorted by name",
            certificates,
        )
        .query::<PageQuery>()
        .answers::<Vec<api::Certificate>>(),
        Route::get(
            "/v1/certificates/{name}",
            "One entry of the certificate store",
            certificate,
        )
        .answers::<api::Certificate>()
        .tagged(),
        Route::post("/v1/certificates/{name}/renew", "Obtain a new one now", renew)
            .query::<OrderQuery>()
            .answers_nothing(202)
            .refuses(&[409]),
        Route::get(
            "/v1/certificates/{name}/export",
            "The chain, and the private key if asked for, which needs the right to operate",
            export,
        )
        .needs(for_export)
        .query::<ExportQuery>()
        .answers::<api::CertificateExport>()
        .refuses(&[503]),
        Route::get(
            "/v1/issuers/{name}/root",
            "The root certificate of a local CA",
            root,
        )
        .answers_text(&["application/pem-certificate-chain"]),
        Route::post("/v1/dns-checks", "What DNS says about names", dns_checks)
            .read_only()
            .takes::<api::DnsCheckRequest>()
            .answers::<Vec<api::DomainVerdict>>(),
        Route::get(
            "/v1/audit",
            "Who asked for which change, and what came of it; oldest first",
            audit,
        )
        .query::<AuditQuery>()
        .answers::<Vec<api::AuditRecord>>(),
        Route::get(
            "/v1/events",
            "Server-sent events: `step`, `obtained`, `renewed`, `failed`, `blocked`, `expiring`, `activated`, `drifted` and \
             `restored` with an Event, `audit` with an AuditRecord, `missed` with the number of those that a slow reader was not sent",
            events,
        )
        .answers_text(&["text/event-stream"]),
        Route::get("/v1/openapi.json", "This document", document).answers::<serde_json::Value>(),
        Route::get("/metrics", "Every metric, for Prometheus", metrics).answers_text(&[CONTENT_TYPE]),
        Route::get("/healthz", "Whether the gateway runs", || async { "ok\n" })
            .open()
            .answers_text(&[TEXT]),
        Route::get(
            "/readyz",
            "Whether every listener has a certificate to serve",
            readyz,
        )
        .open()
        .answers_text(&[TEXT])
        .refuses(&[503]),
    ];
    routes.extend(certificate_edits::routes());
    routes.extend(exports::routes());
    routes.extend(hooks::routes());
    routes.extend(issuers::routes());
    routes.extend(resources::routes());
    routes.extend(accounts::routes());
    routes.extend(calendar::routes());
    routes.extend(handshakes::routes());
    routes.extend(versions::routes());
    routes
}

type Shared = State<Arc<dyn Operations>>;

async fn status(State(operations): Shared) -> Result<Json<api::Status>, Problem> {
    operations.status().await.map(Json)
}

async fn certificates(
    State(operations): Shared,
    Query(query): Query<PageQuery>,
) -> Result<Json<Vec<api::Certificate>>, Problem> {
    operations.certificates(&query.try_into()?).await.map(Json)
}

async fn certificate(State(operations): Shared, UrlPath(name): UrlPath<String>) -> Result<Response, Problem> {
    operations
        .certificate(&checked(&name)?)
        .await
        .map(shown_certificate)
}

/// One entry, with its entity tag.
pub(super) fn shown_certificate(certificate: api::Certificate) -> Response {
    let etag = certificate.etag.clone().unwrap_or_default();
    ([(header::ETAG, etag)], Json(certificate)).into_response()
}

async fn renew(
    State(operations): Shared,
    UrlPath(name): UrlPath<String>,
    Query(query): Query<OrderQuery>,
) -> Result<StatusCode, Problem> {
    operations.renew(&checked(&name)?, query.even_if).await?;
    Ok(StatusCode::ACCEPTED)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ExportQuery {
    /// The private key as well.
    #[serde(default)]
    with_key: bool,
}

/// A query that does not parse gets no key, but a refusal.
fn for_export(uri: &Uri) -> Right {
    match Query::<ExportQuery>::try_from_uri(uri) {
        Ok(Query(ExportQuery { with_key: true })) => Right::Operate,
        _ => Right::Read,
    }
}

async fn export(
    State(operations): Shared,
    UrlPath(name): UrlPath<String>,
    Query(query): Query<ExportQuery>,
) -> Result<Json<api::CertificateExport>, Problem> {
    operations
        .export(&checked(&name)?, query.with_key)
        .await
        .map(Json)
}

async fn root(State(operations): Shared, UrlPath(name): UrlPath<String>) -> Result<Response, Problem> {
    // What no issuer can be called is no key of the store either.
    if CertificateName::parse(&name).is_err() {
        return Err(Problem::not_found("there is no issuer of such a name"));
    }
    let pem = operations.local_ca_root(&name).await?;
    Ok(([(header::CONTENT_TYPE, "application/pem-certificate-chain")], pem).into_response())
}

async fn dns_checks(
    State(operations): Shared,
    Json(request): Json<api::DnsCheckRequest>,
) -> Result<Json<Vec<api::DomainVerdict>>, Problem> {
    operations.dns_check(request).await.map(Json)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AuditQuery {
    /// Only records with a greater number; without it: the newest ones.
    after: Option<u64>,
    /// At most so many.
    #[serde(default = "AuditQuery::usual")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u16,
}

impl AuditQuery {
    fn usual() -> u16 {
        100
    }
}

async fn audit(
    State(trail): State<Arc<AuditTrail>>,
    Query(query): Query<AuditQuery>,
) -> Result<Json<Vec<api::AuditRecord>>, Problem> {
    if !(1..=1000).contains(&query.limit) {
        return Err(Problem::bad_request(format!(
            "`limit` is {}; 1 to 1000 are allowed",
            query.limit
        )));
    }
    let records = trail.after(query.after, query.limit).await;
    records.map(Json).map_err(|error| Problem::internal(&error))
}

async fn document() -> Response {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| openapi::document(&routes()).to_string());
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}

async fn events(State(operations): Shared, State(trail): State<Arc<AuditTrail>>) -> Response {
    let certificates = told(operations.events(), |event: &api::Event| event.kind.clone());
    let audit = told(trail.subscribe(), |_| "audit".to_owned());
    let all = stream::select(Box::pin(certificates), Box::pin(audit));
    Sse::new(all).keep_alive(KeepAlive::default()).into_response()
}

/// What comes from `receiver`, as events whose names `kind` says. A reader that fell behind is told how many it has
/// missed, and goes on with what is new.
fn told<T: Clone + Serialize>(
    receiver: Receiver<T>,
    kind: impl Fn(&T) -> String + Clone,
) -> impl Stream<Item = Result<axum::response::sse::Event, Infallible>> {
    stream::unfold((receiver, kind), |(mut receiver, kind)| async move {
        let (kind_of_it, data) = match receiver.recv().await {
            Ok(event) => (kind(&event), serde_json::to_string(&event)),
            Err(RecvError::Lagged(missed)) => (
                "missed".to_owned(),
                serde_json::to_string(&api::Missed { missed }),
            ),
            Err(RecvError::Closed) => return None,
        };
        let event = axum::response::sse::Event::default().event(kind_of_it);
        Some((Ok(event.data(data.unwrap_or_default())), (receiver, kind)))
    })
}

async fn metrics(State(operations): Shared) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], operations.metrics().await).into_response()
}

async fn readyz(State(operations): Shared) -> Result<&'static str, Problem> {
    if operations.is_ready().await {
        Ok("ready\n")
    } else {
        Err(Problem::unavailable(
            "not ready: a listener has no certificate to serve yet",
        ))
    }
}

pub(super) fn checked(name: &str) -> Result<CertificateName, Problem> {
    CertificateName::parse(name).map_err(|error| Problem::bad_request(error.to_string()))
}

const TEXT: &str = "text/plain; charset=utf-8";

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use tokio::sync::broadcast;

    use super::*;

    #[tokio::test]
    async fn a_slow_reader_is_told_how_many_it_has_missed_and_goes_on_with_the_rest() {
        let sender = broadcast::Sender::new(2);
        let events = told(sender.subscribe(), |_| "number".to_owned());
        for number in 1..=5 {
            sender.send(number).unwrap();
        }
        drop(sender);
        let body = Sse::new(events).into_response().into_body();
        let text = to_bytes(body, 1 << 10).await.unwrap();
        assert_eq!(
            String::from_utf8_lossy(&text),
            "event: missed\ndata: {\"missed\":3}\n\nevent: number\ndata: 4\n\nevent: number\ndata: 5\n\n"
        );
    }

    #[test]
    fn only_who_may_operate_gets_a_private_key_however_the_query_is_written() {
        for (query, expected) in [
            ("", Right::Read),
            ("?with_key=false", Right::Read),
            ("?with_key=true", Right::Operate),
            ("?with%5Fkey=tru%65", Right::Operate),
            // Refused by the handler, which reads it in the same way.
            ("?with_key=true&with_key=true", Right::Read),
            ("?with_key=maybe", Right::Read),
        ] {
            let uri: Uri = format!("/v1/certificates/www/export{query}").parse().unwrap();
            assert_eq!(for_export(&uri), expected, "{query}");
        }
    }

    #[test]
    fn what_may_be_done_without_a_token_or_the_right_to_operate_is_a_short_list() {
        let with = |right| {
            let routes = routes().into_iter();
            let uri = Uri::from_static("/");
            routes
                .filter(|route| (route.right)(&uri) == right)
                .map(|route| format!("{} {}", route.method, route.path))
                .collect::<Vec<_>>()
        };
        assert_eq!(with(Right::Open), ["GET /healthz", "GET /readyz"]);
        let mut changing = with(Right::Read);
        changing.retain(|route| !route.starts_with("GET "));
        assert_eq!(
            changing,
            ["POST /v1/dns-checks", "POST /v1/listeners/{name}/explain"]
        );
    }
}
