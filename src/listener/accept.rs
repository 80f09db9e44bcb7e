//! The accept loop of one listener on one worker, and the owner of the connections it accepted.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::connection;
use super::running::{Accepting, Shared, Stage};

/// Accepts until the listener is stopped, then waits for the connections to end, or cuts them when told to.
pub(super) async fn run(
    socket: TcpListener,
    shared: Arc<Shared>,
    accepting: Accepting,
    mut stage: watch::Receiver<Stage>,
) {
    let mut connections = JoinSet::new();
    let mut backoff = Backoff::default();
    while *stage.borrow_and_update() == Stage::Accepting {
        tokio::select! {
            biased;
            changed = stage.changed() => if changed.is_err() {
                break;
            },
            Some(ended) = connections.join_next() => report_panic(ended),
            accepted = socket.accept() => if let Some(pause) = backoff.after(&accepted) {
                tokio::select! {
                    _ = stage.changed() => {}
                    () = sleep(pause) => {}
                }
            } else {
                admit(accepted, &shared, &mut connections);
            },
        }
    }
    if let Err(error) = empty_queue(socket, &shared, &mut connections).await {
        tracing::error!(%error, "connections that waited to be accepted are lost");
    }
    drop(accepting);
    let cut = async {
        if stage.wait_for(|stage| *stage == Stage::Closing).await.is_err() {
            // Nobody is left who could ask for it.
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = cut => connections.shutdown().await,
        () = async { while let Some(ended) = connections.join_next().await { report_panic(ended) } } => {}
    }
}

/// Closing a socket resets the connections in its queue, so the queue is emptied first. The runtime may not have
/// heard of the last of them yet: the system is asked itself.
async fn empty_queue(
    socket: TcpListener,
    shared: &Arc<Shared>,
    connections: &mut JoinSet<()>,
) -> io::Result<()> {
    let socket = socket.into_std()?;
    let mut backoff = Backoff::default();
    loop {
        let accepted = socket.accept();
        if matches!(&accepted, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
            return Ok(());
        }
        if let Some(pause) = backoff.after(&accepted) {
            if pause == LONGEST_PAUSE {
                return accepted.map(|_| ());
            }
            sleep(pause).await;
            continue;
        }
        let accepted = accepted.and_then(|(stream, source)| {
            stream.set_nonblocking(true)?;
            Ok((TcpStream::from_std(stream)?, source))
        });
        admit(accepted, shared, connections);
    }
}

fn admit(accepted: io::Result<(TcpStream, SocketAddr)>, shared: &Arc<Shared>, connections: &mut JoinSet<()>) {
    // A peer that is gone already is no event.
    let Ok((stream, source)) = accepted else { return };
    let settings = shared.settings.load_full();
    match shared.admit(settings.config.max_connections) {
        Ok(permit) => {
            connections.spawn(connection::run(stream, source, settings, shared.clone(), permit));
        }
        Err(limit) => shared.metrics.limited(limit),
    }
}

fn report_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection panicked");
    }
}

/// The wait after an accept error of our own; without it a full descriptor table is a busy loop.
#[derive(Debug, Default)]
struct Backoff {
    failures: u32,
}

impl Backoff {
    /// How long to wait before the next accept; a success resets it, an error of the peer's does not count.
    fn after<T>(&mut self, accepted: &io::Result<T>) -> Option<Duration> {
        let error = match accepted {
            Ok(_) => {
                self.failures = 0;
                return None;
            }
            Err(error) if is_the_peers(error) => return None,
            Err(error) => error,
        };
        let pause = (FIRST_PAUSE * 2u32.pow(self.failures.min(16))).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        tracing::error!(%error, seconds = pause.as_secs_f32(), "cannot accept connections");
        Some(pause)
    }
}

/// Whether an accept error belongs to the connection that would have been accepted (accept(2), "Error handling").
fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionReset
            | HostUnreachable
            | Interrupted
            | NetworkDown
            | NetworkUnreachable
            | PermissionDenied
            | TimedOut
            | WouldBlock
    )
}

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(error: impl Into<io::Error>) -> io::Result<()> {
        Err(error.into())
    }

    #[test]
    fn our_own_errors_slow_the_loop_down_until_a_success() {
        const EMFILE: i32 = 24;
        let mut backoff = Backoff::default();
        let full = || failure(io::Error::from_raw_os_error(EMFILE));
        assert_eq!(backoff.after(&full()), Some(FIRST_PAUSE));
        assert_eq!(backoff.after(&full()), Some(FIRST_PAUSE * 2));
        for _ in 0..30 {
            backoff.after(&full());
        }
        assert_eq!(backoff.after(&full()), Some(LONGEST_PAUSE));
        assert_eq!(backoff.after(&Ok(())), None);
        assert_eq!(backoff.after(&full()), Some(FIRST_PAUSE));
    }

    #[test]
    fn a_peer_that_is_gone_slows_nothing_down() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.after(&failure(io::ErrorKind::ConnectionAborted)), None);
        assert_eq!(backoff.after(&failure(io::ErrorKind::ConnectionReset)), None);
    }
}
