//! The API on its socket.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::FromRef;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;

use crate::admin::access::Origin;
use crate::admin::guard::guarded;
use crate::admin::{Admission, AuditTrail, Operations, endpoints};
use crate::config::AdminConfig;

/// What every route can use.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) operations: Arc<dyn Operations>,
    pub(super) trail: Arc<AuditTrail>,
    pub(super) admission: Admission,
}

impl FromRef<Api> for Arc<dyn Operations> {
    fn from_ref(api: &Api) -> Self {
        api.operations.clone()
    }
}

impl FromRef<Api> for Arc<AuditTrail> {
    fn from_ref(api: &Api) -> Self {
        api.trail.clone()
    }
}

/// The served admin API. Dropping it closes what it listens on, and removes the socket's file.
#[derive(Debug)]
pub struct Server {
    socket: Option<PathBuf>,
    _listening: JoinSet<()>,
}

impl Server {
    /// Listens where `config` says, and serves `operations` there: on a Unix socket with mode 0600, which replaces one
    /// that nobody answers at, and on TCP addresses, to whom `admission` lets in.
    ///
    /// # Errors
    /// [`ServerError`] when another process answers there, or it cannot be had.
    pub async fn start(
        config: &AdminConfig,
        admission: Admission,
        operations: Arc<dyn Operations>,
        trail: Arc<AuditTrail>,
    ) -> Result<Self, ServerError> {
        let api = Api {
            operations,
            trail,
            admission: admission.clone(),
        };
        let routes = TowerToHyperService::new(guarded(&endpoints::routes(), &api));
        let mut addresses = Vec::new();
        for address in &config.addresses {
            let fail = |source| ServerError::Listen {
                address: *address,
                source,
            };
            addresses.push(TcpListener::bind(address).await.map_err(fail)?);
        }
        let mut listening = JoinSet::new();
        if let Some(socket) = &config.socket {
            listening.spawn(serve_socket(listen(socket).await?, routes.clone()));
        }
        for listener in addresses {
            listening.spawn(serve_address(listener, admission.clone(), routes.clone()));
        }
        Ok(Self {
            socket: config.socket.clone(),
            _listening: listening,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(socket) = &self.socket {
            let _ = fs::remove_file(socket);
        }
    }
}

type Routes = TowerToHyperService<Router>;

async fn serve_socket(listener: UnixListener, routes: Routes) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = listener.accept().await.and_then(|(stream, _)| {
            let peer = stream.peer_cred()?;
            Ok((stream, peer))
        });
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let origin = Origin::Socket {
            uid: peer.uid(),
            gid: peer.gid(),
            pid: peer.pid(),
        };
        connections.spawn(serve(stream, origin, routes.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve_address(listener: TcpListener, admission: Admission, routes: Routes) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= CONNECTIONS {
            connections.join_next().await;
        }
        let Ok((stream, address)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let (tls, routes) = (admission.tls(), routes.clone());
        connections.spawn(async move {
            let Some(tls) = tls else {
                let shown = Arc::from([]);
                return serve(stream, Origin::Tcp { address, shown }, routes).await;
            };
            match tls.accept(stream).await {
                Ok((stream, shown)) => {
                    serve(stream, Origin::Tcp { address, shown }, routes).await;
                }
                Err(error) => tracing::info!(%address, %error, "a TLS handshake at the admin API has failed"),
            }
        });
    }
}

/// Serves one connection to its end.
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, origin: Origin, routes: Routes) {
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(origin.clone());
        routes.call(request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the admin API has ended early");
    }
}

async fn listen(socket: &Path) -> Result<UnixListener, ServerError> {
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
    Ok(listener)
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
    /// A TCP address cannot be had.
    #[error("cannot listen on {address} for the admin API")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// Connections by TCP at a time; the next one waits to be accepted.
const CONNECTIONS: usize = 256;

/// For the head of a request.
const HEADER_TIME: Duration = Duration::from_secs(30);

const HEADER_BYTES: usize = 32 << 10;

/// After a failed accept, as without file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

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
