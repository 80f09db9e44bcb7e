//! A store on a local disk, in one directory that one process owns.
//!
//! sled keeps the entries; around it stands what sled 0.34 lacks: a commit that is on the disk when it is
//! acknowledged, records that show when they are not what was written, snapshots outside the database, and a
//! start that comes up with the newest good state instead of an error or a panic. In the directory:
//!
//! | name | what |
//! | --- | --- |
//! | `lock` | held while a process uses the store; contains its pid |
//! | `db/` | the sled database |
//! | `acknowledged` | the last acknowledged revision: shows when the database has lost its end |
//! | `snapshots/` | the newest snapshots, each whole in one file, and what has changed after them |
//! | `damaged-1/` … | what was found damaged, kept for whoever wants to look |
//!
//! All of it is closed to other users, whatever the umask.
//!
//! **Memory** is bounded: sled's cache has a fixed size, and what grows with the number of entries is only
//! sled's page table. **Opening** reads sled's table of pages, not the entries. A database of up to 32 MiB
//! is then verified before anything is served. A larger one is verified in the background, as part of the
//! snapshot written after each start; until then a damaged record is noticed when it is read. **Snapshots**
//! are full copies, so the pause between them grows with their cost; of a large store what has changed is written
//! instead, until that has grown to a part of the whole.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{RwLock, mpsc, oneshot};

use crate::hint::Announcer;
use crate::key::check_key;
use crate::lease::check_names;
use crate::{Batch, Entry, Hints, Lease, Listing, Revision, Store, StoreError};

mod acknowledged;
mod changes;
mod database;
mod frame;
mod keeper;
mod layout;
mod lock;
mod rebuild;
mod recovery;
mod series;
mod snapshot;
mod sweep;
mod writer;

pub use recovery::Recovery;

use changes::Changes;
use database::Database;
use keeper::{Request, Wake};
use layout::Layout;
use lock::ProcessLock;
use sweep::Sweep;
use writer::Job;

/// A store on a local disk. Dropping it closes it: the call returns when the last commit is done and the
/// directory is free for the next process.
pub struct EmbeddedStore {
    /// Taken on drop, which tells the writer to end.
    jobs: Option<mpsc::Sender<Job>>,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// How an embedded store is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// Memory for sled's cache, in bytes.
    pub cache_bytes: u64,
    /// How long after a change the snapshot is written that contains it, unless snapshots cost so much that a
    /// longer pause is due.
    pub snapshot_delay: Duration,
    /// How many snapshots are kept; at least one.
    pub snapshots_kept: usize,
    /// The size of a whole snapshot, in bytes, from which on the next ones only hold what has changed.
    pub changes_from_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache_bytes: 32 << 20,
            snapshot_delay: Duration::from_secs(2),
            snapshots_kept: 3,
            changes_from_bytes: 1 << 20,
        }
    }
}

/// What reading every record has shown.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Verification {
    /// How many entries there are.
    pub entries: u64,
    /// The bytes of all values read.
    pub bytes: u64,
    /// What is damaged or missing; empty when all is well.
    pub damaged: Vec<String>,
    /// The latest commit seen.
    pub revision: Revision,
}

impl EmbeddedStore {
    /// Opens the store in the directory `path`, which is created if need be.
    ///
    /// Blocks until the store is usable, which takes longer when it must be rebuilt. The [`Recovery`] tells
    /// whether anything was wrong; it is logged as well, but somebody should be shown it.
    ///
    /// # Errors
    /// [`StoreError::AlreadyRunning`] when a process has it open, [`StoreError::Damaged`] when it is damaged
    /// and there is nothing left to rebuild it from, [`StoreError::Io`] when the operating system refuses.
    pub fn open(path: &Path, options: Options) -> Result<(Self, Recovery), StoreError> {
        let layout = Layout::create(path)?;
        let lock = ProcessLock::take(&layout.lock(), path)?;
        let opened = recovery::open(&layout, &options)?;
        let shared = Arc::new(Shared {
            database: opened.database,
            gate: RwLock::new(()),
            sweep: Mutex::new(None),
            changes: Mutex::default(),
            announcer: Announcer::new(),
            wake: Wake::default(),
            layout,
            _lock: lock,
        });
        if opened.saved.is_none() {
            shared.wake.changed();
        } else {
            shared.changes().restart();
        }
        let (jobs, waiting) = mpsc::channel(WAITING_JOBS);
        let mut store = Self {
            jobs: Some(jobs),
            shared: shared.clone(),
            threads: Vec::new(),
        };
        store.spawn("store-writer", {
            let shared = shared.clone();
            move || writer::run(shared, opened.acknowledged, waiting)
        })?;
        store.spawn("store-keeper", move || {
            keeper::run(&shared, &options, opened.saved)
        })?;
        Ok((store, opened.recovery))
    }

    /// Reads every record, while the store goes on working. What it finds is also noted for the next start,
    /// which recovers.
    pub async fn verify(&self) -> Result<Verification, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.shared.wake.request(Request::Verify(reply));
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Writes a whole snapshot now and returns the revision it holds.
    pub async fn snapshot(&self) -> Result<Revision, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.shared.wake.request(Request::Snapshot(reply));
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// The size of the database and its snapshots, in bytes.
    pub async fn size_on_disk(&self) -> Result<u64, StoreError> {
        self.read(|shared| shared.layout.size()).await
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
        let thread = std::thread::Builder::new().name(name.into()).spawn(work);
        self.threads.push(thread.map_err(StoreError::io(
            self.shared.layout.root(),
            "no thread could be started",
        ))?);
        Ok(())
    }

    /// Runs a read where it may block: on the disk, and on the sync of a commit under way.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Shared) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = self.shared.clone();
        tokio::task::spawn_blocking(move || read(&shared))
            .await
            .unwrap_or(Err(StoreError::Closed))
    }

    async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Job,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or(StoreError::Closed)?;
        jobs.send(job(reply)).await.map_err(|_| StoreError::Closed)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        check_key(key)?;
        let key = key.to_owned();
        self.read(move |shared| {
            let _gate = shared.gate.blocking_read();
            shared.database.get(&key)
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        let prefix = prefix.to_owned();
        self.read(move |shared| {
            let _gate = shared.gate.blocking_read();
            let mut entries = Vec::new();
            let mut found = shared.database.entries(&prefix);
            for (_, entry) in found.by_ref() {
                entries.push(entry?.0);
            }
            found.finish()?;
            Ok(Listing {
                entries,
                revision: shared.database.totals().revision,
            })
        })
        .await
    }

    async fn page(&self, prefix: &str, after: &str, limit: usize) -> Result<Listing, StoreError> {
        let (prefix, after) = (prefix.to_owned(), after.to_owned());
        self.read(move |shared| {
            let _gate = shared.gate.blocking_read();
            let mut entries = Vec::new();
            let mut found = match after < prefix {
                true => shared.database.entries(&prefix),
                false => shared.database.entries_after(&after),
            };
            for (_, entry) in found.by_ref().take(limit) {
                let entry = entry?.0;
                if !entry.key.starts_with(&prefix) {
                    break;
                }
                entries.push(entry);
            }
            found.finish()?;
            Ok(Listing {
                entries,
                revision: shared.database.totals().revision,
            })
        })
        .await
    }

    async fn commit(&self, batch: Batch) -> Result<Revision, StoreError> {
        batch.check()?;
        self.ask(|reply| Job::Commit { batch, reply }).await
    }

    async fn checkpoint(&self) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.shared.wake.request(Request::Checkpoint(reply));
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    fn hints(&self) -> Hints {
        self.shared.announcer.hints()
    }

    async fn acquire(&self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        check_names(name, holder)?;
        self.ask(|reply| Job::Acquire {
            name: name.into(),
            holder: holder.into(),
            ttl,
            reply,
        })
        .await
    }

    async fn keep(&self, lease: &Lease) -> Result<(), StoreError> {
        self.ask(|reply| Job::Keep {
            lease: lease.clone(),
            reply,
        })
        .await
    }

    async fn release(&self, lease: Lease) -> Result<(), StoreError> {
        self.ask(|reply| Job::Release { lease, reply }).await
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        let _gate = self.shared.gate.read().await;
        Ok(self.shared.database.totals().revision)
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.jobs = None;
        self.shared.wake.stop();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the store has panicked");
            }
        }
    }
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore")
            .field("path", &self.shared.layout.root())
            .finish_non_exhaustive()
    }
}

/// What readers, the writer and the keeper of snapshots share. The lock comes last: it is given up after the
/// database is closed.
struct Shared {
    database: Database,
    /// Readers hold it for reading; the writer for writing, until what it wrote is durable. Fair, so that
    /// neither starves the other.
    gate: RwLock<()>,
    /// The sweep under way. Locked after the gate.
    sweep: Mutex<Option<Sweep>>,
    /// For the next snapshot. Locked after the gate.
    changes: Mutex<Changes>,
    announcer: Announcer,
    wake: Wake,
    layout: Layout,
    _lock: ProcessLock,
}

impl Shared {
    fn sweep(&self) -> MutexGuard<'_, Option<Sweep>> {
        self.sweep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many jobs may wait for the writer before the callers do.
const WAITING_JOBS: usize = 1024;
