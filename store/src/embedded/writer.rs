//! The one thread that writes.
//!
//! Batches that wait while the disk is busy are applied together and share one sync. Readers are kept out
//! until the sync is done, so nobody acts on what a power failure could still take back.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::Shared;
use super::acknowledged::Acknowledged;
use super::database::Edit;
use super::frame::Head;
use crate::lease::LeaseTable;
use crate::{Batch, Lease, Revision, StoreError};

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the writer is asked to do.
pub(super) enum Job {
    Acquire {
        name: String,
        holder: String,
        ttl: Duration,
        reply: Reply<Option<Lease>>,
    },
    Commit {
        batch: Batch,
        reply: Reply<Revision>,
    },
    Keep {
        lease: Lease,
        reply: Reply<()>,
    },
    Release {
        lease: Lease,
        reply: Reply<()>,
    },
}

/// Works until every sender of jobs is gone.
pub(super) fn run(shared: Arc<Shared>, acknowledged: Acknowledged, mut jobs: mpsc::Receiver<Job>) {
    let mut writer = Writer {
        shared,
        acknowledged,
        leases: LeaseTable::default(),
        failure: None,
    };
    while let Some(first) = jobs.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP_JOBS {
            let Ok(job) = jobs.try_recv() else { break };
            group.push(job);
        }
        writer.perform(group);
    }
}

struct Writer {
    shared: Arc<Shared>,
    acknowledged: Acknowledged,
    leases: LeaseTable,
    /// Set when it is unknown what is on the disk. Nothing is written after that: it could be built on sand.
    failure: Option<(io::ErrorKind, String)>,
}

/// Applied, but not synced and therefore not told to anybody.
enum Applied {
    Commit(Revision, Vec<String>, Reply<Revision>),
    Lease(Lease, Reply<Option<Lease>>),
}

impl Writer {
    fn perform(&mut self, group: Vec<Job>) {
        let shared = self.shared.clone();
        let gate = shared.gate.blocking_write();
        let applied: Vec<Applied> = group.into_iter().filter_map(|job| self.apply(job)).collect();
        if applied.is_empty() {
            return;
        }
        if let Err(error) = self.make_durable() {
            self.fail(&error);
        }
        drop(gate);
        for applied in applied {
            let outcome = self.writable();
            // A reply that nobody waits for any more is no reason to stop.
            match applied {
                Applied::Commit(revision, keys, reply) => {
                    if outcome.is_ok() {
                        shared.announcer.announce(keys);
                    }
                    let _ = reply.send(outcome.map(|()| revision));
                }
                Applied::Lease(lease, reply) => {
                    let _ = reply.send(outcome.map(|()| Some(lease)));
                }
            }
        }
        shared.wake.changed();
    }

    fn apply(&mut self, job: Job) -> Option<Applied> {
        let now = Instant::now();
        match job {
            Job::Acquire {
                name,
                holder,
                ttl,
                reply,
            } => {
                if !self.leases.is_free(&name, &holder, now) {
                    let _ = reply.send(Ok(None));
                    return None;
                }
                match self.advance(Vec::new()) {
                    Ok(revision) => Some(Applied::Lease(
                        self.leases.grant(name, holder, ttl, revision, now),
                        reply,
                    )),
                    Err(error) => {
                        let _ = reply.send(Err(error));
                        None
                    }
                }
            }
            Job::Commit { batch, reply } => match self.commit(batch, now) {
                Ok((revision, keys)) => Some(Applied::Commit(revision, keys, reply)),
                Err(error) => {
                    let _ = reply.send(Err(error));
                    None
                }
            },
            Job::Keep { lease, reply } => {
                let _ = reply.send(self.leases.keep(&lease, now));
                None
            }
            Job::Release { lease, reply } => {
                self.leases.release(&lease);
                let _ = reply.send(Ok(()));
                None
            }
        }
    }

    fn commit(&mut self, batch: Batch, now: Instant) -> Result<(Revision, Vec<String>), StoreError> {
        self.writable()?;
        if let Some(lease) = &batch.lease {
            self.leases.check(lease, now)?;
        }
        let database = &self.shared.database;
        let revision = database.totals().revision.next();
        let mut edits = Vec::with_capacity(batch.changes.len());
        for change in batch.changes {
            let old = database.head(&change.key)?;
            change.check(old.map(|head| head.revision))?;
            let new = change
                .value
                .map(|value| (Head::new(&change.key, &value, revision), value));
            edits.push(Edit {
                key: change.key,
                old,
                new,
            });
        }
        let keys = edits.iter().map(|edit| edit.key.clone()).collect();
        Ok((self.advance(edits)?, keys))
    }

    /// Applies edits as the next commit.
    fn advance(&mut self, edits: Vec<Edit>) -> Result<Revision, StoreError> {
        self.writable()?;
        let revision = self.shared.database.totals().revision.next();
        if let Some(sweep) = self.shared.sweep().as_mut() {
            edits.iter().for_each(|edit| sweep.follow(edit));
        }
        self.shared.changes().note(&edits);
        if let Err(error) = self.shared.database.apply(edits, revision) {
            self.fail(&error);
            return Err(error);
        }
        Ok(revision)
    }

    fn make_durable(&self) -> Result<(), StoreError> {
        self.writable()?;
        self.shared.database.sync()?;
        self.acknowledged.write(self.shared.database.totals().revision)
    }

    fn fail(&mut self, error: &StoreError) {
        if self.failure.is_some() {
            return;
        }
        tracing::error!(%error, "the store accepts no more writes until it is opened again");
        let kind = match error {
            StoreError::Io { source, .. } => source.kind(),
            _ => io::ErrorKind::Other,
        };
        let cause = std::error::Error::source(error).map_or_else(String::new, |cause| format!(": {cause}"));
        self.failure = Some((kind, format!("{error}{cause}")));
    }

    fn writable(&self) -> Result<(), StoreError> {
        let Some((kind, reason)) = &self.failure else {
            return Ok(());
        };
        Err(StoreError::Io {
            path: self.shared.layout.database(),
            doing: "writing has failed and is stopped until the store is opened again",
            source: io::Error::new(*kind, reason.clone()),
        })
    }
}

/// How many jobs share one sync at most.
const GROUP_JOBS: usize = 128;
