//! The thread that keeps snapshots: soon after changes, but never more than a small part of its time.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::frame::Totals;
use super::layout::open_private;
use super::series::Extent;
use super::snapshot::SnapshotWriter;
use super::sweep::{Seen, sweep};
use super::{Options, Shared, Verification, changes, series};
use crate::{Revision, StoreError};

/// What somebody waits for.
pub(super) enum Request {
    /// A snapshot, or the changes since the last one.
    Checkpoint(oneshot::Sender<Result<(), StoreError>>),
    Snapshot(oneshot::Sender<Result<Revision, StoreError>>),
    Verify(oneshot::Sender<Result<Verification, StoreError>>),
}

/// How the keeper learns that there is work.
#[derive(Default)]
pub(super) struct Wake {
    agenda: Mutex<Agenda>,
    news: Condvar,
    stop: AtomicBool,
}

#[derive(Default)]
struct Agenda {
    /// When the first change since the last snapshot was made.
    changed: Option<Instant>,
    requests: VecDeque<Request>,
}

impl Wake {
    pub(super) fn changed(&self) {
        let mut agenda = self.agenda();
        if agenda.changed.is_none() {
            agenda.changed = Some(Instant::now());
            self.news.notify_one();
        }
    }

    pub(super) fn request(&self, request: Request) {
        self.agenda().requests.push_back(request);
        self.news.notify_one();
    }

    pub(super) fn stop(&self) {
        let _agenda = self.agenda();
        self.stop.store(true, Ordering::Release);
        self.news.notify_one();
    }

    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Waits for a request, or (`Some(None)`) for changes older than `delay` once `earliest` has come.
    /// `None`: stop.
    fn next(&self, delay: Duration, earliest: Instant) -> Option<Option<Request>> {
        let mut agenda = self.agenda();
        loop {
            if self.stopped() {
                return None;
            }
            if let Some(request) = agenda.requests.pop_front() {
                return Some(Some(request));
            }
            let now = Instant::now();
            let wait = agenda
                .changed
                .map(|since| (since + delay).max(earliest).saturating_duration_since(now));
            agenda = match wait {
                Some(Duration::ZERO) => return Some(None),
                Some(wait) => {
                    self.news
                        .wait_timeout(agenda, wait)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
                None => self.news.wait(agenda).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn agenda(&self) -> MutexGuard<'_, Agenda> {
        self.agenda.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Works until [`Wake::stop`]. `saved` is the newest snapshot, if it is of the state that was opened.
pub(super) fn run(shared: &Shared, options: &Options, saved: Option<Extent>) {
    let mut keeper = Keeper {
        shared,
        options,
        saved,
    };
    let mut earliest = Instant::now();
    while let Some(request) = shared.wake.next(options.snapshot_delay, earliest) {
        match request {
            Some(Request::Checkpoint(reply)) => {
                let written = keeper.write().map(drop);
                if written.is_err() {
                    shared.wake.changed();
                }
                let _ = reply.send(written);
            }
            Some(Request::Verify(reply)) => {
                let _ = reply.send(verify(shared));
            }
            Some(Request::Snapshot(reply)) => {
                let _ = reply.send(keeper.write_whole());
            }
            None => {
                let start = Instant::now();
                match keeper.write() {
                    Ok(_) | Err(StoreError::Closed) => {}
                    Err(error) => {
                        tracing::error!(%error, "no snapshot of the store was written");
                        // Damage does not go away by trying again; a full disk does.
                        if matches!(error, StoreError::Io { .. }) {
                            shared.wake.changed();
                        }
                    }
                }
                earliest = Instant::now() + start.elapsed() * SNAPSHOT_PAUSE;
            }
        }
    }
}

struct Keeper<'a> {
    shared: &'a Shared,
    options: &'a Options,
    /// What the next changes would follow.
    saved: Option<Extent>,
}

impl Keeper<'_> {
    /// Writes what has changed, or all if that would not be much more.
    fn write(&mut self) -> Result<Revision, StoreError> {
        match self.saved {
            Some(saved) if self.may_follow(&saved) => self.write_changes(saved),
            _ => self.write_whole(),
        }
    }

    fn may_follow(&self, saved: &Extent) -> bool {
        self.shared.changes().is_complete()
            && saved.whole_bytes >= self.options.changes_from_bytes
            && saved.changes_bytes <= saved.whole_bytes / CHANGES_SHARE
            && saved.changes < most_changes(saved.whole_bytes)
    }

    fn write_changes(&mut self, mut saved: Extent) -> Result<Revision, StoreError> {
        self.shared.wake.agenda().changed = None;
        if self.shared.database.totals().revision == saved.until {
            return Ok(saved.until);
        }
        self.saved = None;
        let written = changes::write(self.shared, saved.until);
        let (totals, path) = written.inspect_err(|error| {
            self.shared.changes().give_up();
            if matches!(error, StoreError::Damaged { .. }) {
                suspect(self.shared);
            }
        })?;
        saved.add(totals.revision, size(&path));
        self.saved = Some(saved);
        Ok(totals.revision)
    }

    fn write_whole(&mut self) -> Result<Revision, StoreError> {
        self.shared.wake.agenda().changed = None;
        self.saved = None;
        // Before the first look: what is changed meanwhile is written once more by the next changes.
        self.shared.changes().restart();
        let (totals, path) = write_whole(self.shared).inspect_err(|_| self.shared.changes().give_up())?;
        self.saved = Some(Extent {
            until: totals.revision,
            whole_bytes: size(&path),
            changes: 0,
            changes_bytes: 0,
        });
        series::remove_older(&self.shared.layout.snapshots(), self.options.snapshots_kept)?;
        Ok(totals.revision)
    }
}

fn write_whole(shared: &Shared) -> Result<(Totals, PathBuf), StoreError> {
    let mut writer = SnapshotWriter::begin(&shared.layout.snapshots())?;
    let (totals, whole) = sweep(shared, |seen| {
        if shared.wake.stopped() {
            return Err(StoreError::Closed);
        }
        match seen {
            Seen::Entry(entry) => writer.entry(entry),
            Seen::Gone(key) => writer.gone(key),
            Seen::Damaged(error) => {
                suspect(shared);
                Err(error)
            }
        }
    })?;
    if !whole {
        suspect(shared);
        return Err(not_whole(shared));
    }
    // Only a whole snapshot may push out an older one.
    let path = writer.finish(&totals, None)?;
    Ok((totals, path))
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn verify(shared: &Shared) -> Result<Verification, StoreError> {
    let mut found = Verification::default();
    let (totals, whole) = sweep(shared, |seen| {
        if shared.wake.stopped() {
            return Err(StoreError::Closed);
        }
        match seen {
            Seen::Entry(entry) => found.bytes += entry.value.len() as u64,
            Seen::Gone(_) => {}
            Seen::Damaged(error) => found.damaged.push(error.to_string()),
        }
        Ok(())
    })?;
    if !whole {
        suspect(shared);
        if found.damaged.is_empty() {
            found.damaged.push(not_whole(shared).to_string());
        }
    }
    found.entries = totals.count;
    found.revision = totals.revision;
    Ok(found)
}

/// Has the next start look at everything, and recover.
fn suspect(shared: &Shared) {
    let store = shared.layout.root().display();
    tracing::error!(%store, "the store is damaged; it recovers when it is opened again");
    if let Err(error) = open_private(&shared.layout.suspect()) {
        tracing::error!(%error, "the damage could not be noted for the next start");
    }
}

fn not_whole(shared: &Shared) -> StoreError {
    StoreError::Damaged {
        path: shared.layout.database(),
        what: "the set of entries".into(),
        reason: "it is not what was committed; open the store again to recover".into(),
    }
}

/// How many sets of changes follow a whole of so many bytes: one for each MiB, whose share of the next whole takes
/// milliseconds.
fn most_changes(whole_bytes: u64) -> usize {
    usize::try_from(whole_bytes >> 20).map_or(usize::MAX, |most| most.max(FEWEST_MOST_CHANGES))
}

/// After a snapshot its cost is waited out so many times: at most a twentieth of the time goes into
/// snapshots.
const SNAPSHOT_PAUSE: u32 = 19;
/// Changes of more than this part of the whole are not worth keeping apart: a recovery would read them, too.
const CHANGES_SHARE: u64 = 4;
const FEWEST_MOST_CHANGES: usize = 250;
