//! The API on its socket.

use std::convert::Infallible;
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path as UrlPath, Query, State};
use axum::http::{StatusCode, header};
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::stream;
use serde::Deserialize;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;

use crate::admin::{Operations, Problem, api};
use crate::certificate::CertificateName;
use crate::metrics::CONTENT_TYPE;

/// A served admin socket. Dropping it closes the socket and removes its file.
#[derive(Debug)]
pub struct Server {
    socket: PathBuf,
    task: JoinHandle<()>,
}

impl Server {
    /// Binds `socket` with mode 0600, replacing one that nobody answers at, and serves `operations` there.
    ///
    /// # Errors
    /// [`ServerError`] when another process answers at it, or it cannot be made.
    pub async fn start(socket: &Path, operations: Arc<dyn Operations>) -> Result<Self, ServerError> {
        if super::is_answered(socket).await {
            return Err(ServerError::InUse {
                socket: socket.to_owned(),
            });
        }
        let fail = |source| ServerError::Bind {
            socket: socket.to_owned(),
            source,
        };
        // Bound under another name and moved into place once it answers.
        let unready = socket.with_extension(format!("{}.tmp", std::process::id()));
        let _ = fs::remove_file(&unready);
        let listener = private(&unready).and_then(answering).map_err(fail)?;
        fs::rename(&unready, socket).map_err(fail)?;
        let router = router(operations);
        let task = tokio::spawn(async move {
            // `axum::serve` handles accept errors itself and never returns.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            socket: socket.to_owned(),
            task,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        let _ = fs::remove_file(&self.socket);
    }
}

/// A socket that only its owner may open, and that nobody can open yet: whatever the umask lets through before the
/// mode is set is refused.
fn private(path: &Path) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(socket)
}

fn answering(socket: Socket) -> io::Result<UnixListener> {
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    UnixListener::from_std(OwnedFd::from(socket).into())
}

/// The admin socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The socket cannot be made.
    #[error("cannot make the admin socket {}", socket.display())]
    Bind {
        /// Its path.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another gateway is there.
    #[error("another gateway answers at the admin socket {}; stop it, or give this one its own `[admin] listen`", socket.display())]
    InUse {
        /// Its path.
        socket: PathBuf,
    },
}

type Shared = State<Arc<dyn Operations>>;

fn router(operations: Arc<dyn Operations>) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/certificates", get(certificates))
        .route("/v1/certificates/{name}", get(certificate).put(put_certificate))
        .route("/v1/certificates/{name}/renew", post(renew))
        .route("/v1/certificates/{name}/export", get(export))
        .route("/v1/issuers/{name}/root", get(root))
        .route("/v1/dns-checks", post(dns_checks))
        .route("/v1/events", get(events))
        .merge(super::resources::router())
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .fallback(|| async { Problem::not_found("the API has no such path") })
        .layer(DefaultBodyLimit::max(1 << 20))
        .with_state(operations)
}

async fn status(State(operations): Shared) -> Result<Json<api::Status>, Problem> {
    operations.status().await.map(Json)
}

async fn certificates(State(operations): Shared) -> Result<Json<Vec<api::Certificate>>, Problem> {
    operations.certificates().await.map(Json)
}

async fn certificate(
    State(operations): Shared,
    UrlPath(name): UrlPath<String>,
) -> Result<Json<api::Certificate>, Problem> {
    operations.certificate(&checked(&name)?).await.map(Json)
}

async fn put_certificate(
    State(operations): Shared,
    UrlPath(name): UrlPath<String>,
    body: Result<Json<serde_json::Value>, JsonRejection>,
) -> Result<Json<api::Certificate>, Problem> {
    let name = checked(&name)?;
    let Json(body) = body.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let refused = |error: serde_json::Error| Problem::bad_request(format!("certificate `{name}`: {error}"));
    if body.get("certificate_pem").is_some() {
        let import = serde_json::from_value(body).map_err(refused)?;
        operations.import(&name, import).await.map(Json)
    } else {
        let request = serde_json::from_value(body).map_err(refused)?;
        operations.request(&name, request).await.map(Json)
    }
}

async fn renew(State(operations): Shared, UrlPath(name): UrlPath<String>) -> Result<StatusCode, Problem> {
    operations.renew(&checked(&name)?).await?;
    Ok(StatusCode::ACCEPTED)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExportQuery {
    #[serde(default)]
    with_key: bool,
}

async fn export(
    State(operations): Shared,
    UrlPath(name): UrlPath<String>,
    query: Result<Query<ExportQuery>, QueryRejection>,
) -> Result<Json<api::CertificateExport>, Problem> {
    let Query(query) = query.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    operations
        .export(&checked(&name)?, query.with_key)
        .await
        .map(Json)
}

async fn root(State(operations): Shared, UrlPath(name): UrlPath<String>) -> Result<Response, Problem> {
    let pem = operations.local_ca_root(&name).await?;
    Ok(([(header::CONTENT_TYPE, "application/pem-certificate-chain")], pem).into_response())
}

async fn dns_checks(
    State(operations): Shared,
    body: Result<Json<api::DnsCheckRequest>, JsonRejection>,
) -> Result<Json<Vec<api::DomainVerdict>>, Problem> {
    let Json(request) = body.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    operations.dns_check(request).await.map(Json)
}

async fn events(State(operations): Shared) -> Response {
    let events = stream::unfold(operations.events(), |mut receiver| async move {
        loop {
            match receiver.recv().await {
                Ok(event) => {
                    let data = serde_json::to_string(&event).unwrap_or_default();
                    let event = axum::response::sse::Event::default().event(event.kind).data(data);
                    return Some((Ok::<_, Infallible>(event), receiver));
                }
                // A reader that fell behind goes on with what is new; the state itself is in /v1/certificates.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}

async fn metrics(State(operations): Shared) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], operations.metrics().await).into_response()
}

async fn readyz(State(operations): Shared) -> Response {
    if operations.is_ready().await {
        "ready\n".into_response()
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "not ready: a listener has no certificate to serve yet\n",
        )
            .into_response()
    }
}

fn checked(name: &str) -> Result<CertificateName, Problem> {
    CertificateName::parse(name).map_err(|error| Problem::bad_request(error.to_string()))
}

/// Callers that may wait to be accepted.
const BACKLOG: i32 = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_can_open_the_socket_before_it_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        let socket = private(&path).unwrap();
        assert!(!crate::admin::is_answered(&path).await);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let _listener = answering(socket).unwrap();
        assert!(crate::admin::is_answered(&path).await);
    }
}
