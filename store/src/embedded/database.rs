//! The one file that speaks to sled.
//!
//! sled panics on some damage instead of returning an error, so every call is guarded; a panic is damage like any other.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::frame::{Head, PART_BYTES, SEGMENT_BYTES, Totals};
use super::layout::{restrict, sync_dir};
use crate::{Entry, Revision, StoreError};

/// An open sled database. The caller sees to it that nobody reads while [`Database::apply`] runs.
pub(super) struct Database {
    db: sled::Db,
    /// sled's own file, to sync what sled only hands to the kernel.
    log: File,
    path: PathBuf,
    totals: Mutex<Totals>,
}

/// One entry to change: what is there, and what is to be there instead.
pub(super) struct Edit {
    pub(super) key: String,
    pub(super) old: Option<Head>,
    pub(super) new: Option<(Head, Vec<u8>)>,
}

/// Why sled could not do something.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The bytes on disk are not what was written.
    Damage(String),
    /// The operating system refused; the database may be fine.
    Io(io::Error),
    /// A handle of this process that is just going away still has the database open.
    Locked,
    /// sled did not get as far as reading entries.
    Unopened(String),
}

impl Database {
    /// Makes an empty database in a directory of its own.
    pub(super) fn create(path: &Path, cache_bytes: u64) -> Result<Self, Trouble> {
        let database = Self::attach(path, cache_bytes)?;
        let totals = database.totals().encode();
        database.db.insert(TOTALS_KEY, &totals).map_err(Trouble::from)?;
        database.flush()?;
        sync_dir(path).map_err(|error| Trouble::Io(io::Error::other(error)))?;
        Ok(database)
    }

    /// Opens what [`Database::create`] made. May hang on damage.
    pub(super) fn open(path: &Path, cache_bytes: u64) -> Result<Self, Trouble> {
        let database = Self::attach(path, cache_bytes)?;
        let totals = database.read_totals()?;
        *database.totals.lock().unwrap_or_else(PoisonError::into_inner) = totals;
        Ok(database)
    }

    /// Opens whatever is there, to save from it what can be saved.
    pub(super) fn open_damaged(path: &Path, cache_bytes: u64) -> Result<Self, Trouble> {
        Self::attach(path, cache_bytes)
    }

    fn attach(path: &Path, cache_bytes: u64) -> Result<Self, Trouble> {
        let private = |error| Trouble::Io(io::Error::other(error));
        restrict(path).map_err(private)?;
        let config = sled::Config::new()
            .path(path)
            .cache_capacity(cache_bytes)
            .segment_size(SEGMENT_BYTES)
            .flush_every_ms(None);
        let db = catch_unwind(AssertUnwindSafe(|| config.open()))
            .map_err(|_| Trouble::Unopened("sled panicked over it".into()))?
            .map_err(|error| match Trouble::from(error) {
                Trouble::Damage(reason) => Trouble::Unopened(reason),
                other => other,
            })?;
        restrict(path).map_err(private)?;
        let log = File::open(path.join("db")).map_err(Trouble::Io)?;
        Ok(Self {
            db,
            log,
            path: path.into(),
            totals: Mutex::default(),
        })
    }

    pub(super) fn totals(&self) -> Totals {
        *self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The totals as they are on disk.
    pub(super) fn read_totals(&self) -> Result<Totals, Trouble> {
        let totals = self
            .db
            .get(TOTALS_KEY)?
            .ok_or_else(|| damage("the totals are missing"))?;
        Totals::decode(&totals).map_err(damage)
    }

    /// What is known of the entry under `key`, without reading all of its value.
    pub(super) fn head(&self, key: &str) -> Result<Option<Head>, StoreError> {
        self.guard(key, || {
            let Some(record) = self.db.get(entry_key(key))? else {
                return Ok(None);
            };
            let (head, _) = Head::decode(key, &record).map_err(damage)?;
            Ok(Some(head))
        })
    }

    pub(super) fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.guard(key, || {
            let Some(record) = self.db.get(entry_key(key))? else {
                return Ok(None);
            };
            self.assemble(key.into(), &record).map(|(entry, _)| Some(entry))
        })
    }

    /// The entries whose key starts with `prefix`, in order.
    pub(super) fn entries(&self, prefix: &str) -> Entries<'_> {
        Entries {
            database: self,
            iter: self.db.scan_prefix(entry_key(prefix)),
            from_end: false,
            broken: None,
        }
    }

    /// The entries after `key`, in order.
    pub(super) fn entries_after(&self, key: &str) -> Entries<'_> {
        let mut start = entry_key(key);
        start.push(0);
        Entries {
            database: self,
            iter: self.db.range(start..AFTER_ENTRIES.into()),
            from_end: false,
            broken: None,
        }
    }

    /// Makes all edits and sets the revision, or nothing. Durable only after [`Database::sync`].
    pub(super) fn apply(&self, edits: Vec<Edit>, revision: Revision) -> Result<(), StoreError> {
        let mut totals = self.totals();
        totals.revision = revision;
        let mut batch = sled::Batch::default();
        for edit in edits {
            let old_parts = edit.old.as_ref().map_or(0, Head::further_parts);
            let new_parts = edit.new.as_ref().map_or(0, |(head, _)| head.further_parts());
            if let Some(head) = &edit.old {
                totals.subtract(head);
            }
            match &edit.new {
                Some((head, value)) => {
                    totals.add(head);
                    batch.insert(entry_key(&edit.key), head.encode(value));
                    for (number, part) in (1..).zip(value.chunks(PART_BYTES).skip(1)) {
                        batch.insert(part_key(&edit.key, number), part);
                    }
                }
                None => batch.remove(entry_key(&edit.key)),
            }
            for number in new_parts + 1..=old_parts {
                batch.remove(part_key(&edit.key, number));
            }
        }
        batch.insert(TOTALS_KEY, &totals.encode());
        self.guard("a batch", || Ok(self.db.apply_batch(batch)?))?;
        *self.totals.lock().unwrap_or_else(PoisonError::into_inner) = totals;
        Ok(())
    }

    /// Returns when all that was applied is on the disk.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.guard("the log", || self.flush())
    }

    /// sled's flush only starts the write-back; the sync waits for it and for the disk's own cache.
    fn flush(&self) -> Result<(), Trouble> {
        self.db.flush()?;
        self.log.sync_all().map_err(Trouble::Io)
    }

    fn assemble(&self, key: String, record: &[u8]) -> Result<(Entry, Head), Trouble> {
        let (head, inline) = Head::decode(&key, record).map_err(damage)?;
        let mut value = inline.to_vec();
        for number in 1..=head.further_parts() {
            let part = self.db.get(part_key(&key, number))?;
            value.extend_from_slice(&part.ok_or_else(|| damage("a part of the value is missing"))?);
        }
        head.check_value(&value).map_err(damage)?;
        Ok((
            Entry {
                key,
                value,
                revision: head.revision,
            },
            head,
        ))
    }

    fn guard<T>(&self, what: &str, call: impl FnOnce() -> Result<T, Trouble>) -> Result<T, StoreError> {
        let result = catch_unwind(AssertUnwindSafe(call));
        let trouble = match result {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(trouble)) => trouble,
            Err(_) => damage("sled panicked over it"),
        };
        Err(trouble.into_error(&self.path, what))
    }
}

/// Keys, each with its entry. A damaged record is an error and the next one follows; after damage to sled's own
/// structure nothing follows.
pub(super) struct Entries<'db> {
    database: &'db Database,
    iter: sled::Iter,
    from_end: bool,
    broken: Option<StoreError>,
}

impl Entries<'_> {
    /// The same entries, last first.
    pub(super) fn reversed(mut self) -> Self {
        self.from_end = true;
        self
    }

    /// Whether nothing follows because nothing more can be read.
    pub(super) fn broken(&self) -> bool {
        self.broken.is_some()
    }

    /// Fails if the entries have ended because nothing more could be read.
    pub(super) fn finish(self) -> Result<(), StoreError> {
        self.broken.map_or(Ok(()), Err)
    }
}

impl Iterator for Entries<'_> {
    type Item = (String, Result<(Entry, Head), StoreError>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.broken() {
            return None;
        }
        let (iter, from_end) = (&mut self.iter, self.from_end);
        let step = self.database.guard("the tree", || {
            let step = if from_end { iter.next_back() } else { iter.next() };
            step.transpose().map_err(Trouble::from)
        });
        match step {
            Ok(None) => None,
            Ok(Some((key, record))) => {
                let key = String::from_utf8_lossy(key.get(1..).unwrap_or_default()).into_owned();
                let entry = self
                    .database
                    .guard(&key, || self.database.assemble(key.clone(), &record));
                Some((key, entry))
            }
            Err(error) => {
                self.broken = Some(error);
                None
            }
        }
    }
}

impl Trouble {
    pub(super) fn into_error(self, path: &Path, what: &str) -> StoreError {
        match self {
            Self::Damage(reason) | Self::Unopened(reason) => StoreError::Damaged {
                path: path.into(),
                what: what.into(),
                reason,
            },
            Self::Io(source) => StoreError::Io {
                path: path.into(),
                doing: "the database failed",
                source,
            },
            Self::Locked => StoreError::AlreadyRunning {
                path: path.into(),
                pid: None,
            },
        }
    }
}

impl From<sled::Error> for Trouble {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(error) if error.to_string().contains("could not acquire lock") => Self::Locked,
            sled::Error::Io(error) => match error.kind() {
                // How sled tells of a file that ends too early or holds what cannot be.
                io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                    Self::Damage(error.to_string())
                }
                _ => Self::Io(error),
            },
            sled::Error::Corruption { at: Some(at), .. } => Self::Damage(format!("corrupted data at {at:?}")),
            sled::Error::Corruption { at: None, .. } => Self::Damage("corrupted data".into()),
            other => Self::Damage(other.to_string()),
        }
    }
}

fn damage(flaw: &str) -> Trouble {
    Trouble::Damage(flaw.into())
}

fn entry_key(key: &str) -> Vec<u8> {
    [b"e", key.as_bytes()].concat()
}

/// Keys contain no zero byte, so the parts of one key are never those of another.
fn part_key(key: &str, number: u32) -> Vec<u8> {
    [b"p", key.as_bytes(), b"\0", &number.to_be_bytes()].concat()
}

const TOTALS_KEY: &[u8] = b"totals";
const AFTER_ENTRIES: &[u8] = b"f";
