//! The threads of the data plane.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::time::interval;

use crate::config::ListenerConfig;
use crate::metrics::Metrics;

use super::bind::{BoundListener, ListenerError};
use super::running::{ListenerSettings, RunningListener};
use super::{accept, tallies};

/// Threads with a single-threaded runtime each. When dropped, every connection on them is cut and they end.
#[derive(Debug)]
pub struct Workers {
    workers: Vec<Worker>,
}

impl Workers {
    /// Starts `count` threads, at least one.
    ///
    /// # Errors
    /// The system's, when it has no thread or no epoll instance left.
    pub fn start(count: usize) -> io::Result<Self> {
        let workers = (0..count.max(1)).map(Worker::start).collect::<io::Result<_>>()?;
        Ok(Self { workers })
    }

    /// Takes the address of `config`, with a socket for every worker. The system queues connections from now on;
    /// none is accepted before [`serve`](Self::serve), and they are refused if the result is dropped.
    ///
    /// # Errors
    /// [`ListenerError`], when the address can't be had.
    pub fn bind(&self, config: &ListenerConfig) -> Result<BoundListener, ListenerError> {
        Self::check_free(config)?;
        self.bind_beside(config)
    }

    /// Whether the address of `config` is free, as [`bind`](Self::bind) asks first.
    ///
    /// # Errors
    /// [`ListenerError`], when somebody listens there, or it can't be had at all.
    pub fn check_free(config: &ListenerConfig) -> Result<(), ListenerError> {
        BoundListener::check_free(config)
    }

    /// As [`bind`](Self::bind), where another listener of this process may be on the address: one that makes room, or
    /// one on all addresses beside one on this.
    ///
    /// # Errors
    /// [`ListenerError`], when the address can't be had.
    pub fn bind_beside(&self, config: &ListenerConfig) -> Result<BoundListener, ListenerError> {
        BoundListener::bind(config, self.workers.iter().map(|worker| &worker.runtime))
    }

    /// Begins to accept on every socket of `bound`.
    pub fn serve(
        &self,
        bound: BoundListener,
        settings: ListenerSettings,
        metrics: &Metrics,
    ) -> RunningListener {
        let metrics = metrics.listener(&settings.config.name);
        let (running, shared) =
            RunningListener::new(bound.local_addr(), settings, metrics, self.workers.len());
        for (worker, socket) in self.workers.iter().zip(bound.into_sockets()) {
            let accepting = shared.accepting();
            let stage = running.stage();
            worker
                .runtime
                .spawn(accept::run(socket, Arc::clone(&shared), accepting, stage));
        }
        running
    }
}

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    fn start(position: usize) -> io::Result<Self> {
        // Plain tasks, no LocalSet: that one runs 61 tasks between two looks at the sockets whatever the interval.
        let runtime = Builder::new_current_thread()
            .enable_all()
            .event_interval(EVENT_INTERVAL)
            .build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name(format!("worker-{position}"))
            .spawn(move || {
                tallies::work_as(position);
                runtime.spawn(heartbeat());
                // Either way the worker's time is over.
                let _ = runtime.block_on(stopped);
            })?;
        Ok(Self {
            runtime: handle,
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a data-plane worker panicked");
        }
    }
}

/// Keeps the runtime's next timer near. Whoever sets one that is due before all others makes the runtime wake itself,
/// by two system calls; so the deadlines of connections, which are seconds away, cost none.
async fn heartbeat() {
    let mut beats = interval(HEARTBEAT);
    loop {
        beats.tick().await;
    }
}

const HEARTBEAT: Duration = Duration::from_millis(250);
/// Tasks run between two looks at the sockets: small, or bulk transfers starve each other.
const EVENT_INTERVAL: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::scratch;

    #[tokio::test]
    async fn a_panic_in_one_connection_leaves_the_worker_and_its_buffers_to_the_others() {
        let workers = Workers::start(1).unwrap();
        let worker = &workers.workers[0].runtime;
        let defect = worker.spawn(async { scratch::with(|_| panic!("a defect")) });
        assert!(defect.await.unwrap_err().is_panic());
        let next = worker.spawn(async { scratch::with(|scratch| scratch.wire.len()) });
        assert!(next.await.unwrap() > 0);
    }
}
