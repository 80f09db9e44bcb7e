//! A listener that accepts: its settings, its open connections, and the way to its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};

use crate::backend::ServerGroup;
use crate::config::ListenerConfig;
use crate::http::{CrlTable, TokenTable};
use crate::metrics::{Limit, ListenerMetrics};
use crate::tls::{Counts, ServerTls};

use super::admitted::{Admission, Admissions};
use super::tallies::Tallies;

/// A listener that accepts connections. When dropped it stops accepting; what is open goes on to its end.
#[derive(Debug)]
pub struct RunningListener {
    local_addr: SocketAddr,
    shared: Arc<Shared>,
    stage: watch::Sender<Stage>,
}

impl RunningListener {
    pub(super) fn new(
        local_addr: SocketAddr,
        settings: ListenerSettings,
        metrics: Arc<ListenerMetrics>,
        workers: usize,
    ) -> (Self, Arc<Shared>) {
        let shared = Arc::new(Shared {
            settings: ArcSwap::from_pointee(settings),
            metrics,
            tallies: Tallies::new(workers),
            open: AtomicUsize::new(0),
            admissions: Arc::default(),
            accepting: AtomicUsize::new(0),
            is_gone: AtomicBool::new(false),
            fewer: Notify::new(),
        });
        let running = Self {
            local_addr,
            shared: shared.clone(),
            stage: watch::Sender::new(Stage::Accepting),
        };
        (running, shared)
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The settings of the next connection.
    pub fn settings(&self) -> Arc<ListenerSettings> {
        self.shared.settings.load_full()
    }

    /// Gives the next connection these settings. Open ones keep theirs. Name and address stay what they are.
    pub fn replace(&self, settings: ListenerSettings) {
        self.shared.settings.store(Arc::new(settings));
    }

    /// Those whose handshake has not begun are treated by what `successor` treats its clients by; without one they are
    /// refused. For a listener that accepts no more because it was changed: nobody who waits gets what held before.
    pub fn succeeded_by(&self, successor: Option<Arc<ListenerSettings>>) {
        self.shared.is_gone.store(successor.is_none(), Ordering::Release);
        if let Some(settings) = successor {
            self.shared.settings.store(settings);
        }
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.shared.open.load(Ordering::Acquire)
    }

    /// What the clients of the latest handshakes offered.
    pub fn hellos(&self) -> Counts {
        self.shared.tallies.counts()
    }

    /// The connections that are open and past their handshake.
    pub fn admissions(&self) -> Vec<Arc<Admission>> {
        self.shared.admissions.all()
    }

    /// Accepts what the system has queued already, then no more, and gives up the address. Open connections go on.
    pub fn stop_accepting(&self) {
        self.stage.send_if_modified(|stage| {
            let was_accepting = *stage == Stage::Accepting;
            if was_accepting {
                *stage = Stage::Draining;
            }
            was_accepting
        });
    }

    /// Waits until it has stopped accepting and given up its address.
    pub async fn stopped(&self) {
        self.fewer_until(|shared| shared.accepting.load(Ordering::Acquire) == 0)
            .await;
    }

    /// Waits until it has stopped accepting and the last connection has ended.
    pub async fn drained(&self) {
        self.fewer_until(|shared| {
            let idle = shared.open.load(Ordering::Acquire) == 0;
            idle && shared.accepting.load(Ordering::Acquire) == 0
        })
        .await;
    }

    async fn fewer_until(&self, done: impl Fn(&Shared) -> bool) {
        let shared = &self.shared;
        let mut fewer = std::pin::pin!(shared.fewer.notified());
        loop {
            // Registered before the look, so that a change in between is not missed.
            fewer.as_mut().enable();
            if done(shared) {
                return;
            }
            fewer.as_mut().await;
            fewer.set(shared.fewer.notified());
        }
    }

    /// Stops accepting and cuts every open connection: both its peers see a reset.
    pub fn close_all(&self) {
        self.stage.send_replace(Stage::Closing);
    }

    pub(super) fn stage(&self) -> watch::Receiver<Stage> {
        self.stage.subscribe()
    }
}

/// What a connection is treated by; never changed, only replaced.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// Timeouts and limits.
    pub config: Arc<ListenerConfig>,
    /// What it speaks.
    pub service: Service,
}

/// What a listener speaks, with what it needs for that.
#[derive(Clone, Debug)]
pub enum Service {
    /// Plain HTTP: challenges, CRLs and redirects.
    Http {
        /// The challenges that are pending.
        tokens: Arc<TokenTable>,
        /// The CRLs of the gateway's own CAs.
        crls: Arc<CrlTable>,
    },
    /// TLS, ended here.
    Tls {
        /// Who is served what.
        tls: Arc<ServerTls>,
        /// Where the plaintext goes.
        server_group: Arc<ServerGroup>,
    },
}

/// How far a listener is on the way to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stage {
    Accepting,
    Draining,
    Closing,
}

/// What all workers know of one listener.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: ArcSwap<ListenerSettings>,
    pub(super) metrics: Arc<ListenerMetrics>,
    pub(super) tallies: Tallies,
    open: AtomicUsize,
    pub(super) admissions: Arc<Admissions>,
    accepting: AtomicUsize,
    is_gone: AtomicBool,
    fewer: Notify,
}

impl Shared {
    /// Whether no handshake may begin any more.
    pub(super) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Acquire)
    }

    /// A place for one connection, or the limit that leaves none.
    pub(super) fn admit(self: &Arc<Self>, limit: Option<usize>) -> Result<Permit, Limit> {
        let before = self.open.fetch_add(1, Ordering::AcqRel);
        let permit = Permit(self.clone());
        if limit.is_some_and(|limit| before >= limit) {
            return Err(Limit::MaxConnections);
        }
        Ok(permit)
    }

    /// Held by a worker for as long as it has the listener's socket open.
    pub(super) fn accepting(self: &Arc<Self>) -> Accepting {
        self.accepting.fetch_add(1, Ordering::AcqRel);
        Accepting(self.clone())
    }
}

/// The place of one connection; travels inside it, and is free again when it is dropped.
#[derive(Debug)]
pub(super) struct Permit(Arc<Shared>);

impl Drop for Permit {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.fewer.notify_waiters();
        }
    }
}

/// One worker's socket.
#[derive(Debug)]
pub(super) struct Accepting(Arc<Shared>);

impl Drop for Accepting {
    fn drop(&mut self) {
        if self.0.accepting.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.fewer.notify_waiters();
        }
    }
}
