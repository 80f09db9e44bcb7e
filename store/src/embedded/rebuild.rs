//! A new database: an empty one, or one made of a snapshot and what a damaged database still gives.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::time::Duration;

use super::Options;
use super::database::{Database, Edit, Entries};
use super::frame::{Head, Totals};
use super::layout::{Layout, create_private_dir};
use super::recovery::{Recovery, attempt, patience};
use super::series::Series;
use super::snapshot::Recorded;
use crate::{Entry, Revision, StoreError};

/// Puts an empty database in place. It appears whole or not at all.
pub(super) fn create(layout: &Layout, options: &Options) -> Result<(), StoreError> {
    drop(begin(layout, options)?);
    layout.rename(&layout.rebuilding(), &layout.database())
}

/// Puts a rebuilt database in place and the damaged one aside. At every moment of this a crash is made good
/// by the next start.
pub(super) fn rebuild(
    layout: &Layout,
    options: &Options,
    acknowledged: Revision,
    reason: String,
) -> Result<Recovery, StoreError> {
    let saved = Series::newest_good(&layout.snapshots())?;
    let mut load = Load::new(begin(layout, options)?);
    if let Some(saved) = &saved {
        load.saved(saved)?;
    }
    let snapshot = saved.map(|saved| saved.totals.revision);
    let base = snapshot.unwrap_or_default();
    let salvage = load.salvage(layout, options, base)?;
    if snapshot.is_none() && salvage.entries == 0 {
        return Err(StoreError::Damaged {
            path: layout.database(),
            what: "database".into(),
            reason: format!(
                "{reason}; there is no good snapshot and nothing could be saved: put a backup in its place, or move \
                 {} away to begin anew",
                layout.root().display()
            ),
        });
    }
    let last = acknowledged.max(salvage.totals.map(|totals| totals.revision).unwrap_or_default());
    let complete = load.holds(salvage.totals.filter(|totals| totals.revision >= acknowledged))
        || (acknowledged > Revision::default() && base >= last);
    load.finish(leap(last.max(load.database.totals().revision)))?;

    layout.rename(&layout.rebuilding(), &layout.rebuilt())?;
    let damaged = layout.database().is_dir().then(|| layout.next_damaged());
    if let Some(damaged) = &damaged {
        layout.rename(&layout.database(), damaged)?;
    }
    layout.rename(&layout.rebuilt(), &layout.database())?;
    Ok(Recovery::Rebuilt {
        reason,
        damaged,
        snapshot,
        salvaged: salvage.entries,
        unreadable: salvage.unreadable,
        lost_after: (!complete).then_some(base),
    })
}

/// A revision that no lost commit can have had, so that revisions and lease tokens never come twice.
pub(super) fn leap(revision: Revision) -> Revision {
    Revision::new(revision.value().saturating_add(1 << 32))
}

fn begin(layout: &Layout, options: &Options) -> Result<Database, StoreError> {
    let path: PathBuf = layout.rebuilding();
    layout.remove_dir(&path)?;
    create_private_dir(&path)?;
    Database::create(&path, options.cache_bytes).map_err(|trouble| trouble.into_error(&path, "database"))
}

/// A new database being filled.
struct Load {
    database: Database,
    waiting: Vec<Edit>,
    waiting_keys: BTreeSet<String>,
    waiting_bytes: usize,
}

/// What a damaged database has given.
#[derive(Default)]
struct Salvage {
    entries: u64,
    unreadable: Vec<String>,
    /// What it says of itself, if it does.
    totals: Option<Totals>,
}

enum Found {
    Entry(Entry),
    Totals(Totals),
    Unreadable(String),
}

impl Load {
    fn new(database: Database) -> Self {
        Self {
            database,
            waiting: Vec::new(),
            waiting_keys: BTreeSet::new(),
            waiting_bytes: 0,
        }
    }

    fn saved(&mut self, saved: &Series) -> Result<(), StoreError> {
        saved.read(|recorded| match recorded {
            Recorded::Entry(entry) => self.put(entry),
            Recorded::Gone(key) => self.edit(key, None),
        })?;
        self.flush(saved.totals.revision)?;
        if !self.holds(Some(saved.totals)) {
            tracing::error!(path = %saved.path().display(), "the snapshot does not hold what it says it does");
        }
        Ok(())
    }

    /// Takes over entries changed after `base`. The damaged database is read on a thread that may panic or
    /// hang.
    fn salvage(&mut self, layout: &Layout, options: &Options, base: Revision) -> Result<Salvage, StoreError> {
        let mut salvage = Salvage::default();
        let path = layout.database();
        if !path.is_dir() {
            return Ok(salvage);
        }
        let (give, take) = mpsc::sync_channel(64);
        let (patience, cache_bytes, dir) = (patience(&path), options.cache_bytes, path);
        let reader = std::thread::Builder::new()
            .name("store-salvage".into())
            .spawn(move || {
                let reading = attempt(patience, move || {
                    let database = Database::open_damaged(&dir, cache_bytes)?;
                    give_all(&database, base, &give);
                    Ok(())
                });
                if let Err(trouble) = reading {
                    tracing::error!(?trouble, "the damaged database gives nothing more");
                }
            });
        reader.map_err(StoreError::io(layout.root(), "no thread could be started"))?;
        loop {
            match take.recv_timeout(patience + Duration::from_secs(1)) {
                Ok(Found::Entry(entry)) => {
                    let newer = self
                        .database
                        .head(&entry.key)?
                        .is_none_or(|head| head.revision < entry.revision);
                    if newer && !self.waiting_keys.contains(&entry.key) {
                        salvage.entries += 1;
                        self.put(entry)?;
                    }
                }
                Ok(Found::Totals(totals)) => salvage.totals = Some(totals),
                Ok(Found::Unreadable(key)) if salvage.unreadable.len() < UNREADABLE_TOLD => {
                    salvage.unreadable.push(key);
                }
                Ok(Found::Unreadable(_)) => {}
                Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => break,
            }
        }
        let revision = self.database.totals().revision;
        self.flush(revision)?;
        Ok(salvage)
    }

    /// Whether the database holds exactly the entries these totals are of.
    fn holds(&self, totals: Option<Totals>) -> bool {
        totals.is_some_and(|totals| totals.same_entries(&self.database.totals()))
    }

    fn finish(&mut self, revision: Revision) -> Result<(), StoreError> {
        self.flush(revision)
    }

    fn put(&mut self, entry: Entry) -> Result<(), StoreError> {
        let head = Head::new(&entry.key, &entry.value, entry.revision);
        self.edit(entry.key, Some((head, entry.value)))
    }

    fn edit(&mut self, key: String, new: Option<(Head, Vec<u8>)>) -> Result<(), StoreError> {
        let revision = self.database.totals().revision;
        if self.waiting_keys.contains(&key) {
            self.flush(revision)?;
        }
        self.waiting_bytes += new.as_ref().map_or(0, |(_, value)| value.len());
        let revision = new
            .as_ref()
            .map_or(revision, |(head, _)| revision.max(head.revision));
        self.waiting_keys.insert(key.clone());
        self.waiting.push(Edit {
            old: self.database.head(&key)?,
            key,
            new,
        });
        if self.waiting.len() >= WAITING_EDITS || self.waiting_bytes >= WAITING_BYTES {
            self.flush(revision)?;
        }
        Ok(())
    }

    /// Synced every time, since sled keeps in memory what it has not flushed.
    fn flush(&mut self, revision: Revision) -> Result<(), StoreError> {
        self.waiting_keys.clear();
        self.waiting_bytes = 0;
        self.database.apply(std::mem::take(&mut self.waiting), revision)?;
        self.database.sync()
    }
}

/// Sends all that is newer than `base`: forwards as far as it goes, then backwards from the end.
fn give_all(database: &Database, base: Revision, give: &SyncSender<Found>) {
    if let Ok(totals) = database.read_totals() {
        let _ = give.send(Found::Totals(totals));
    }
    let mut forwards = database.entries("");
    let reached = give_some(&mut forwards, base, None, give);
    if forwards.broken() {
        give_some(&mut database.entries("").reversed(), base, Some(&reached), give);
    }
}

/// Returns the last key seen. Stops at the key `until`, before which everything has been seen already.
fn give_some(
    entries: &mut Entries<'_>,
    base: Revision,
    until: Option<&str>,
    give: &SyncSender<Found>,
) -> String {
    let mut last = String::new();
    for (key, entry) in entries {
        if until == Some(key.as_str()) {
            break;
        }
        let found = match entry {
            Ok((entry, _)) if entry.revision > base => Some(Found::Entry(entry)),
            Ok(_) => None,
            Err(_) => Some(Found::Unreadable(key.clone())),
        };
        last = key;
        // Nobody takes any more: the rest is of no use.
        if found.is_some_and(|found| give.send(found).is_err()) {
            break;
        }
    }
    last
}

const UNREADABLE_TOLD: usize = 100;
const WAITING_EDITS: usize = 1000;
const WAITING_BYTES: usize = 4 << 20;
