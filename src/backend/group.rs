//! A server group: picks a server, connects, and goes on to the next one when that fails.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::ServerGroupConfig;
use crate::metrics::Metrics;

use super::MOST_UNSENT;
use super::address::Addresses;
use super::balance::Balance;

/// The servers that connections of a listener go to.
#[derive(Debug)]
pub struct ServerGroup {
    name: Arc<str>,
    servers: Vec<Arc<Server>>,
    balance: Mutex<Balance>,
    metrics: Arc<Metrics>,
}

impl ServerGroup {
    /// All servers in use. Names are looked up in the background, on the tokio runtime this is called in, for as
    /// long as the group is in use.
    pub fn new(config: &ServerGroupConfig, metrics: Arc<Metrics>) -> Arc<Self> {
        for server in &config.servers {
            metrics.backend_up(&config.name, &server.address, true);
        }
        Arc::new_cyclic(|owner| Self {
            name: config.name.clone(),
            servers: config
                .servers
                .iter()
                .map(|server| {
                    Arc::new(Server {
                        address: server.address.as_str().into(),
                        last_error: ArcSwapOption::empty(),
                        addresses: Addresses::new(&server.address, owner.clone()),
                    })
                })
                .collect(),
            balance: Mutex::new(Balance::new(config.servers.iter().map(|server| server.weight))),
            metrics,
        })
    }

    /// The group's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Connects to the server whose turn it is, or to the next one that takes the connection. Each server has
    /// `connect_timeout` for all its addresses.
    ///
    /// # Errors
    /// [`BackendError`] when no server took it, with the error of each.
    pub async fn connect(&self, connect_timeout: Duration) -> Result<Connected, BackendError> {
        let mut tried = Vec::new();
        let mut attempts = Vec::new();
        loop {
            let picked = self.balance().pick(&tried, Instant::now());
            let Some((position, server)) = picked.and_then(|p| Some((p, self.servers.get(p)?))) else {
                return Err(BackendError {
                    server_group: self.name.clone(),
                    attempts,
                });
            };
            let attempt = timeout(connect_timeout, server.connect()).await;
            match attempt.unwrap_or(Err(AttemptError::TimedOut {
                after: connect_timeout,
            })) {
                Ok(stream) => {
                    self.succeeded(position, server);
                    let server = server.clone();
                    return Ok(Connected { stream, server });
                }
                Err(error) => {
                    self.failed(position, server, &error);
                    tried.push(position);
                    let server = server.address.clone();
                    attempts.push(FailedAttempt { server, error });
                }
            }
        }
    }

    /// The server whose turn it is for the next connection. The turn is not taken.
    pub fn next(&self) -> Option<Arc<str>> {
        let mut balance = self.balance().clone();
        let position = balance.pick(&[], Instant::now())?;
        Some(self.servers.get(position)?.address.clone())
    }

    /// How each server stands, in the order of the configuration.
    pub fn servers(&self) -> Vec<ServerStatus> {
        let balance = self.balance();
        let status = |(position, server): (usize, &Arc<Server>)| ServerStatus {
            address: server.address.clone(),
            is_up: balance.is_in_use(position),
            last_error: server.last_error.load_full().map(|error| error.to_string()),
        };
        self.servers.iter().enumerate().map(status).collect()
    }

    fn succeeded(&self, position: usize, server: &Server) {
        let back = self.balance().succeeded(position);
        if back {
            server.last_error.store(None);
            self.metrics.backend_up(&self.name, &server.address, true);
            tracing::info!(server_group = %self.name, server = %server.address, "backend is in use again");
        }
    }

    fn failed(&self, position: usize, server: &Server, error: &AttemptError) {
        // Also where it is this machine's: somebody has to hear of it.
        server.last_error.store(Some(Arc::new(error.to_string())));
        if error.is_our_own() {
            return;
        }
        let rest = self.balance().failed(position, Instant::now());
        if let Some(rest) = rest {
            self.metrics.backend_up(&self.name, &server.address, false);
            tracing::warn!(
                server_group = %self.name,
                server = %server.address,
                %error,
                seconds = rest.as_secs_f32(),
                "backend rests after failures"
            );
        }
    }

    fn balance(&self) -> MutexGuard<'_, Balance> {
        self.balance.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a server stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerStatus {
    /// `host:port` as configured.
    pub address: Arc<str>,
    /// Whether connections go to it as a matter of course; if not, it rests after failures.
    pub is_up: bool,
    /// The last error in reaching it, until it is back.
    pub last_error: Option<String>,
}

/// One server of a group.
#[derive(Debug)]
pub struct Server {
    address: Arc<str>,
    last_error: ArcSwapOption<String>,
    addresses: Addresses,
}

impl Server {
    /// `host:port` as configured.
    pub fn address(&self) -> &Arc<str> {
        &self.address
    }

    async fn connect(&self) -> Result<TcpStream, AttemptError> {
        let addresses = self
            .addresses
            .current()
            .await
            .map_err(|error| AttemptError::Unresolved { error })?;
        let mut last = AttemptError::Unresolved {
            error: Arc::new(io::ErrorKind::NotFound.into()),
        };
        for address in addresses.iter().copied() {
            match connect_to(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = AttemptError::Failed { address, error },
            }
        }
        Err(last)
    }
}

/// A connection to a server, with `TCP_NODELAY`.
#[derive(Debug)]
pub struct Connected {
    /// The connection.
    pub stream: TcpStream,
    /// The server it goes to.
    pub server: Arc<Server>,
}

/// No server of a group took the connection.
#[derive(Debug)]
pub struct BackendError {
    /// The group.
    pub server_group: Arc<str>,
    /// One for each server, in the order in which they were tried.
    pub attempts: Vec<FailedAttempt>,
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no server of group `{}` took the connection",
            self.server_group
        )?;
        let mut separator = ": ";
        for FailedAttempt { server, error } in &self.attempts {
            write!(f, "{separator}{server} {error}")?;
            separator = ", ";
        }
        Ok(())
    }
}

impl std::error::Error for BackendError {}

/// Why one server did not take a connection.
#[derive(Debug)]
pub struct FailedAttempt {
    /// `host:port` as configured.
    pub server: Arc<str>,
    /// What went wrong.
    pub error: AttemptError,
}

/// What went wrong with one server.
#[derive(Debug, thiserror::Error)]
pub enum AttemptError {
    /// The system refused or lost the connection.
    #[error("failed ({address}: {error})")]
    Failed {
        /// The last address that was tried.
        address: SocketAddr,
        /// The system's error.
        error: io::Error,
    },
    /// No answer in time.
    #[error("did not answer within {after:?}")]
    TimedOut {
        /// The time allowed.
        after: Duration,
    },
    /// The name has no address.
    #[error("has no address ({error})")]
    Unresolved {
        /// The resolver's error.
        error: Arc<io::Error>,
    },
}

impl AttemptError {
    /// Whether this machine is out of something, which says nothing about the server.
    fn is_our_own(&self) -> bool {
        const ENOMEM: i32 = 12;
        const ENFILE: i32 = 23;
        const EMFILE: i32 = 24;
        // No local port is free.
        const EADDRNOTAVAIL: i32 = 99;
        const ENOBUFS: i32 = 105;
        let Self::Failed { error, .. } = self else {
            return false;
        };
        matches!(
            error.raw_os_error(),
            Some(ENOMEM | ENFILE | EMFILE | EADDRNOTAVAIL | ENOBUFS)
        )
    }
}

async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // A port of the ephemeral range that nobody listens on can meet itself (simultaneous open).
    if stream.local_addr()? == address {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    stream.set_nodelay(true)?;
    // An upload that the server does not read would fill a buffer of megabytes.
    SockRef::from(&stream).set_tcp_notsent_lowat(MOST_UNSENT)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::ServerConfig;

    const SECOND: Duration = Duration::from_secs(1);

    fn group(servers: &[String], metrics: &Arc<Metrics>) -> Arc<ServerGroup> {
        let server = |address: &String| ServerConfig {
            address: address.clone(),
            weight: 1,
        };
        let config = ServerGroupConfig {
            name: "app".into(),
            servers: servers.iter().map(server).collect(),
        };
        ServerGroup::new(&config, metrics.clone())
    }

    #[tokio::test]
    async fn a_name_is_looked_up_and_every_address_is_tried() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let group = group(&[format!("localhost:{port}")], &Arc::default());
        let connected = group.connect(SECOND * 5).await.unwrap();
        assert_eq!(connected.stream.peer_addr().unwrap().port(), port);
        assert!(connected.stream.nodelay().unwrap());
        let unsent = SockRef::from(&connected.stream).tcp_notsent_lowat();
        assert_eq!(unsent.unwrap(), MOST_UNSENT);
    }

    #[tokio::test]
    async fn a_refused_connection_goes_to_the_next_server() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (closed, up) = (closed_port().await, listener.local_addr().unwrap().to_string());
        let metrics = Arc::new(Metrics::new());
        let group = group(&[closed.clone(), up.clone()], &metrics);
        for _ in 0..8 {
            let connected = group.connect(SECOND).await.unwrap();
            assert_eq!(connected.server.address().as_ref(), up);
        }
        let line = format!(r#"certgate_backend_up{{server_group="app",server="{closed}"}} 0"#);
        assert!(metrics.encode().contains(&line), "{}", metrics.encode());
    }

    #[tokio::test]
    async fn a_server_does_not_rest_for_want_of_our_descriptors_or_ports_and_the_want_is_told() {
        const EMFILE: i32 = 24;
        const EADDRNOTAVAIL: i32 = 99;
        const ECONNREFUSED: i32 = 111;
        for (code, is_up) in [(EMFILE, true), (EADDRNOTAVAIL, true), (ECONNREFUSED, false)] {
            let group = group(&["127.0.0.1:1".to_owned()], &Arc::default());
            let error = AttemptError::Failed {
                address: "127.0.0.1:1".parse().unwrap(),
                error: io::Error::from_raw_os_error(code),
            };
            for _ in 0..3 {
                group.failed(0, &group.servers[0], &error);
            }
            let status = &group.servers()[0];
            assert_eq!(status.is_up, is_up, "{error}");
            assert_eq!(status.last_error, Some(error.to_string()));
        }
    }

    #[tokio::test]
    async fn when_every_server_refuses_the_error_names_each() {
        let (one, other) = (closed_port().await, closed_port().await);
        let group = group(&[one.clone(), other.clone()], &Arc::default());
        let error = group.connect(SECOND).await.unwrap_err();
        assert_eq!(error.attempts.len(), 2);
        let text = error.to_string();
        assert!(
            text.contains("`app`") && text.contains(&one) && text.contains(&other),
            "{text}"
        );
    }

    async fn closed_port() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().to_string()
    }
}
