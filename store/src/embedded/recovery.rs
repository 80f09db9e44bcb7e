//! Opening a store, whatever a crash or a bad disk has made of it.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::Options;
use super::acknowledged::Acknowledged;
use super::database::{Database, Trouble};
use super::frame::Totals;
use super::layout::{Layout, create_private_dir, entries, remove_file};
use super::series::{Extent, Series};
use super::{rebuild, series};
use crate::{Revision, StoreError};

/// What it took to open a store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Recovery {
    /// There was no store; there is one now.
    Created,
    /// Nothing was wrong.
    Clean,
    /// Files of the database that only speed up its opening were damaged. Nothing was lost.
    Replayed {
        /// Where these files are now.
        set_aside: PathBuf,
    },
    /// The end of the database was missing. What is left is whole.
    Shortened {
        /// Commits after this one are lost.
        lost_after: Revision,
        /// The last commit that had been acknowledged.
        acknowledged: Revision,
    },
    /// The database was damaged. It was built anew from the newest good snapshot and from whatever newer
    /// entries could still be read.
    Rebuilt {
        /// What was wrong.
        reason: String,
        /// Where the damaged database is now; `None` when it was missing.
        damaged: Option<PathBuf>,
        /// The snapshot used; `None` when there was no good one.
        snapshot: Option<Revision>,
        /// How many newer entries were saved from the damaged database.
        salvaged: u64,
        /// Keys whose records are damaged: they are as in the snapshot, or gone. The first hundred.
        unreadable: Vec<String>,
        /// Changes committed after this revision may be lost or, if they were deletions, undone. `None` when
        /// every acknowledged change is there, as far as the acknowledged revision tells: after a power failure
        /// it may be some seconds old.
        lost_after: Option<Revision>,
    },
}

impl Recovery {
    /// Whether there is nothing an operator need know.
    pub fn is_clean(&self) -> bool {
        matches!(self, Self::Created | Self::Clean)
    }
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created => write!(f, "the store was created"),
            Self::Clean => write!(f, "the store was opened"),
            Self::Replayed { set_aside } => {
                write!(
                    f,
                    "damaged index files were moved to {}; nothing was lost",
                    set_aside.display()
                )
            }
            Self::Shortened {
                lost_after,
                acknowledged,
            } => {
                write!(
                    f,
                    "the database has lost its end: commits {} to {acknowledged} are gone",
                    lost_after.next()
                )
            }
            Self::Rebuilt {
                reason,
                damaged,
                snapshot,
                salvaged,
                unreadable,
                lost_after,
            } => {
                write!(f, "the database was damaged ({reason}) and was rebuilt from ")?;
                match snapshot {
                    Some(revision) => write!(f, "the snapshot of revision {revision}")?,
                    None => write!(f, "no snapshot")?,
                }
                write!(f, " and {salvaged} newer entries")?;
                if !unreadable.is_empty() {
                    write!(f, "; unreadable: {}", unreadable.join(", "))?;
                }
                match lost_after {
                    Some(revision) => write!(f, "; changes after revision {revision} may be lost")?,
                    None => write!(f, "; nothing acknowledged was lost")?,
                }
                if let Some(path) = damaged {
                    write!(f, "; the damaged database is kept in {}", path.display())?;
                }
                Ok(())
            }
        }
    }
}

pub(super) struct Opened {
    pub(super) database: Database,
    pub(super) acknowledged: Acknowledged,
    pub(super) recovery: Recovery,
    /// The newest snapshot, if it is of this very state and the state is verified; otherwise one is due.
    pub(super) saved: Option<Extent>,
}

/// Opens the store. The caller holds its lock.
pub(super) fn open(layout: &Layout, options: &Options) -> Result<Opened, StoreError> {
    finish_interrupted(layout)?;
    let acknowledged = Acknowledged::open(&layout.acknowledged())?;
    let (database, recovery) = find_database(layout, options, acknowledged.read())?;
    if !recovery.is_clean() {
        tracing::error!(store = %layout.root().display(), "{recovery}");
    }
    let revision = database.totals().revision;
    acknowledged.write(revision)?;
    remove_file(&layout.suspect())?;
    let saved = match verified_at_open(layout) {
        true => series::extent(&layout.snapshots(), revision)?,
        false => None,
    };
    Ok(Opened {
        database,
        acknowledged,
        recovery,
        saved,
    })
}

/// Ends what a crash during an earlier opening has left half done.
fn finish_interrupted(layout: &Layout) -> Result<(), StoreError> {
    layout.remove_dir(&layout.rebuilding())?;
    series::clean(&layout.snapshots())?;
    if layout.rebuilt().is_dir() {
        if layout.database().is_dir() {
            layout.remove_dir(&layout.rebuilt())?;
        } else {
            layout.rename(&layout.rebuilt(), &layout.database())?;
        }
    }
    // sled takes these for whole ones and then fails.
    for path in sled_snapshots(layout)? {
        if path
            .extension()
            .is_some_and(|extension| extension == "generating")
        {
            remove_file(&path)?;
        }
    }
    Ok(())
}

fn find_database(
    layout: &Layout,
    options: &Options,
    acknowledged: Revision,
) -> Result<(Database, Recovery), StoreError> {
    if !layout.database().is_dir() {
        let newest = series::newest_revision(&layout.snapshots())?;
        if newest.is_none() && acknowledged == Revision::default() {
            rebuild::create(layout, options)?;
            return Ok((reopened(layout, options)?, Recovery::Created));
        }
        return rebuilt(layout, options, acknowledged, "its directory is missing".into());
    }
    let defect = match inspect(layout, options, acknowledged)? {
        Ok(found) => return Ok(found),
        Err(defect) => defect,
    };
    if let Defect::Unopened(_) = defect
        && let Some(set_aside) = set_index_aside(layout)?
        && let Ok((database, recovery)) = inspect(layout, options, acknowledged)?
    {
        let recovery = if recovery.is_clean() {
            Recovery::Replayed { set_aside }
        } else {
            recovery
        };
        return Ok((database, recovery));
    }
    let (Defect::Damaged(reason) | Defect::Unopened(reason)) = defect;
    rebuilt(layout, options, acknowledged, reason)
}

/// Moves sled's own snapshots away, so that it reads its whole log instead. Only for a database that cannot
/// be opened with them: whatever sled then takes for the end of the log, it blanks all that follows.
fn set_index_aside(layout: &Layout) -> Result<Option<PathBuf>, StoreError> {
    let snapshots = sled_snapshots(layout)?;
    if snapshots.is_empty() {
        return Ok(None);
    }
    let set_aside = layout.next_damaged();
    create_private_dir(&set_aside)?;
    for path in &snapshots {
        layout.rename(path, &set_aside.join(path.file_name().unwrap_or_default()))?;
    }
    Ok(Some(set_aside))
}

/// What is wrong with a database.
enum Defect {
    Damaged(String),
    Unopened(String),
}

/// Opens the database if it is sound, perhaps but for its end; otherwise tells what is wrong with it. An
/// error is when neither could be done.
fn inspect(
    layout: &Layout,
    options: &Options,
    acknowledged: Revision,
) -> Result<Result<(Database, Recovery), Defect>, StoreError> {
    let path = layout.database();
    let named = series::newest_revision(&layout.snapshots())?;
    let (thorough, cache_bytes, dir) = (verified_at_open(layout), options.cache_bytes, path.clone());
    let opened = attempt(patience(&path), move || {
        let database = Database::open(&dir, cache_bytes)?;
        let revision = database.totals().revision;
        let behind = revision < acknowledged || named > Some(revision);
        if thorough || behind {
            verify(&database)?;
        }
        Ok((database, behind))
    });
    let (database, behind) = match opened {
        Ok(opened) => opened,
        Err(Trouble::Damage(reason)) => return Ok(Err(Defect::Damaged(reason))),
        Err(Trouble::Unopened(reason)) => return Ok(Err(Defect::Unopened(reason))),
        Err(other) => return Err(other.into_error(&path, "database")),
    };
    let revision = database.totals().revision;
    if behind {
        let saved = Series::newest_good(&layout.snapshots())?.map(|saved| saved.totals.revision);
        if saved > Some(revision) {
            let saved = saved.unwrap_or_default();
            return Ok(Err(Defect::Damaged(format!(
                "it ends at revision {revision}, but there is a snapshot of revision {saved}"
            ))));
        }
    }
    if revision < acknowledged {
        database.apply(Vec::new(), rebuild::leap(acknowledged))?;
        database.sync()?;
        return Ok(Ok((
            database,
            Recovery::Shortened {
                lost_after: revision,
                acknowledged,
            },
        )));
    }
    Ok(Ok((database, Recovery::Clean)))
}

fn rebuilt(
    layout: &Layout,
    options: &Options,
    acknowledged: Revision,
    reason: String,
) -> Result<(Database, Recovery), StoreError> {
    tracing::error!(store = %layout.root().display(), %reason, "the database is damaged and is being rebuilt");
    let recovery = rebuild::rebuild(layout, options, acknowledged, reason)?;
    Ok((reopened(layout, options)?, recovery))
}

/// Opens a database just built.
fn reopened(layout: &Layout, options: &Options) -> Result<Database, StoreError> {
    match inspect(layout, options, Revision::default())? {
        Ok((database, _)) => Ok(database),
        Err(Defect::Damaged(reason) | Defect::Unopened(reason)) => {
            Err(Trouble::Damage(reason).into_error(&layout.database(), "database"))
        }
    }
}

/// Reads every record.
fn verify(database: &Database) -> Result<(), Trouble> {
    let mut seen = Totals::default();
    let mut entries = database.entries("");
    for (key, entry) in entries.by_ref() {
        match entry {
            Ok((_, head)) => seen.add(&head),
            Err(StoreError::Damaged { reason, .. }) => {
                return Err(Trouble::Damage(format!("key {key}: {reason}")));
            }
            Err(other) => return Err(Trouble::Io(std::io::Error::other(other))),
        }
    }
    entries
        .finish()
        .map_err(|error| Trouble::Damage(error.to_string()))?;
    if !seen.same_entries(&database.totals()) {
        return Err(Trouble::Damage("entries are missing or out of date".into()));
    }
    Ok(())
}

/// Does something with sled on a thread of its own, so that a panic or a hang over damage ends nothing but
/// the attempt.
pub(super) fn attempt<T: Send + 'static>(
    patience: Duration,
    work: impl Fn() -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    let (done, outcome) = mpsc::channel();
    let thread = std::thread::Builder::new()
        .name("store-opener".into())
        .spawn(move || {
            let give_up = Instant::now() + LOCK_PATIENCE;
            loop {
                match work() {
                    // A handle of this process that is just being closed by sled's own threads.
                    Err(Trouble::Locked) if Instant::now() < give_up => {
                        std::thread::sleep(Duration::from_millis(5))
                    }
                    outcome => return drop(done.send(outcome)),
                }
            }
        });
    thread.map_err(Trouble::Io)?;
    match outcome.recv_timeout(patience) {
        Ok(outcome) => outcome,
        Err(RecvTimeoutError::Disconnected) => Err(Trouble::Damage("sled panicked over it".into())),
        Err(RecvTimeoutError::Timeout) => Err(Trouble::Damage("sled did not come to an end with it".into())),
    }
}

/// How long opening and verifying may take; generous, for slow disks.
pub(super) fn patience(database: &Path) -> Duration {
    Duration::from_secs(30 + log_bytes(database) / (4 << 20))
}

fn verified_at_open(layout: &Layout) -> bool {
    layout.suspect().exists() || log_bytes(&layout.database()) <= VERIFIED_AT_OPEN_BYTES
}

fn log_bytes(database: &Path) -> u64 {
    fs::metadata(database.join("db")).map_or(0, |metadata| metadata.len())
}

fn sled_snapshots(layout: &Layout) -> Result<Vec<PathBuf>, StoreError> {
    let mut paths = entries(&layout.database())?;
    paths.retain(|path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("snap."))
    });
    Ok(paths)
}

/// Reading so much takes less than 0.1 s, or some 8,000 certificates. Nobody is served before.
const VERIFIED_AT_OPEN_BYTES: u64 = 32 << 20;
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
