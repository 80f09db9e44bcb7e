//! Snapshot files: all entries in one file that needs no database to be read.
//!
//! A file begins with a line that names its format. Records follow: an entry, or the key of an entry that is gone (a
//! later record about a key replaces an earlier one), and at the end the totals and a CRC-32C of the whole file.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::frame::{TOTALS_BYTES, Totals};
use super::layout::{entries, open_private, remove_file, sync_dir};
use crate::{Entry, MAX_KEY_BYTES, MAX_VALUE_BYTES, Revision, StoreError};

/// A snapshot being written. Not there for anybody until [`SnapshotWriter::finish`].
pub(super) struct SnapshotWriter {
    dir: PathBuf,
    unfinished: PathBuf,
    file: Checksummed<BufWriter<File>>,
}

impl SnapshotWriter {
    pub(super) fn begin(dir: &Path) -> Result<Self, StoreError> {
        let unfinished = dir.join(UNFINISHED);
        remove_file(&unfinished)?;
        let file = BufWriter::with_capacity(BUFFER_BYTES, open_private(&unfinished)?);
        let mut writer = Self {
            dir: dir.into(),
            unfinished,
            file: Checksummed {
                inner: file,
                checksum: 0,
            },
        };
        writer.write(&[MAGIC])?;
        Ok(writer)
    }

    pub(super) fn entry(&mut self, entry: &Entry) -> Result<(), StoreError> {
        // Keys and values were checked against their limits when they were committed.
        self.write(&[
            &[ENTRY],
            &(entry.key.len() as u16).to_le_bytes(),
            entry.key.as_bytes(),
            &entry.revision.value().to_le_bytes(),
            &(entry.value.len() as u32).to_le_bytes(),
            &entry.value,
        ])
    }

    pub(super) fn gone(&mut self, key: &str) -> Result<(), StoreError> {
        self.write(&[&[GONE], &(key.len() as u16).to_le_bytes(), key.as_bytes()])
    }

    /// Makes the snapshot durable and removes those older than the newest `kept`.
    pub(super) fn finish(mut self, totals: &Totals, kept: usize) -> Result<PathBuf, StoreError> {
        self.write(&[&[END], &totals.encode()])?;
        let checksum = self.file.checksum.to_le_bytes();
        let path = self.dir.join(format!("{:020}{SUFFIX}", totals.revision.value()));
        self.write(&[&checksum])?;
        let file = self
            .file
            .inner
            .into_inner()
            .map_err(io::IntoInnerError::into_error);
        file.and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&self.unfinished, &path))
            .map_err(StoreError::io(&self.unfinished, "could not be made a snapshot"))?;
        sync_dir(&self.dir)?;
        for old in newest_first(&self.dir)?.iter().skip(kept.max(1)) {
            remove_file(old)?;
        }
        Ok(path)
    }

    fn write(&mut self, parts: &[&[u8]]) -> Result<(), StoreError> {
        let written = parts.iter().try_for_each(|part| self.file.write_all(part));
        written.map_err(StoreError::io(&self.unfinished, "could not be written"))
    }
}

/// One record of a snapshot.
pub(super) enum Recorded {
    Entry(Entry),
    Gone(String),
}

/// Reads a snapshot. Only when this returns the totals, what was shown is what was written.
pub(super) fn read(
    path: &Path,
    mut visit: impl FnMut(Recorded) -> Result<(), StoreError>,
) -> Result<Totals, StoreError> {
    let file = File::open(path).map_err(StoreError::io(path, "could not be opened"))?;
    let file = BufReader::with_capacity(BUFFER_BYTES, file);
    let mut records = Records {
        path,
        file: Checksummed {
            inner: file,
            checksum: 0,
        },
    };
    if &records.bytes::<{ MAGIC.len() }>()? != MAGIC {
        return Err(records.damaged("it is not a snapshot of this format"));
    }
    loop {
        match records.bytes::<1>()? {
            [ENTRY] => {
                let key = records.key()?;
                let revision = Revision::new(u64::from_le_bytes(records.bytes()?));
                let length = u32::from_le_bytes(records.bytes()?);
                let value = records.vec(length as usize, MAX_VALUE_BYTES)?;
                visit(Recorded::Entry(Entry { key, value, revision }))?;
            }
            [GONE] => visit(Recorded::Gone(records.key()?))?,
            [END] => {
                let totals = Totals::decode(&records.bytes::<TOTALS_BYTES>()?);
                let computed = records.file.checksum;
                if u32::from_le_bytes(records.bytes()?) != computed {
                    return Err(records.damaged("its checksum does not fit"));
                }
                return totals.map_err(|flaw| records.damaged(flaw));
            }
            _ => return Err(records.damaged("it contains an unknown record")),
        }
    }
}

/// The newest snapshot that can be read to its end, with its totals.
pub(super) fn newest_good(dir: &Path) -> Result<Option<(PathBuf, Totals)>, StoreError> {
    for path in newest_first(dir)? {
        match read(&path, |_| Ok(())) {
            Ok(totals) => return Ok(Some((path, totals))),
            Err(error) => tracing::error!(%error, "a snapshot is damaged, trying the one before it"),
        }
    }
    Ok(None)
}

/// The revision of the newest snapshot, as its name says.
pub(super) fn newest_revision(dir: &Path) -> Result<Option<Revision>, StoreError> {
    let newest = newest_first(dir)?.into_iter().next();
    Ok(newest.and_then(|path| {
        let name = path.file_name()?.to_str()?.strip_suffix(SUFFIX)?;
        name.parse().ok().map(Revision::new)
    }))
}

/// Removes what a crash has left unfinished.
pub(super) fn clean(dir: &Path) -> Result<(), StoreError> {
    remove_file(&dir.join(UNFINISHED))
}

fn newest_first(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut paths = entries(dir)?;
    paths.retain(|path| path.to_str().is_some_and(|path| path.ends_with(SUFFIX)));
    paths.reverse();
    Ok(paths)
}

struct Records<'path, R> {
    path: &'path Path,
    file: Checksummed<R>,
}

impl<R: Read> Records<'_, R> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn vec(&mut self, length: usize, limit: usize) -> Result<Vec<u8>, StoreError> {
        if length > limit {
            return Err(self.damaged("it contains a record of impossible length"));
        }
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn key(&mut self) -> Result<String, StoreError> {
        let length = u16::from_le_bytes(self.bytes()?);
        let key = self.vec(length.into(), MAX_KEY_BYTES)?;
        String::from_utf8(key).map_err(|_| self.damaged("it contains an impossible key"))
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), StoreError> {
        self.file.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.damaged("it ends too early"),
            _ => StoreError::io(self.path, "could not be read")(error),
        })
    }

    fn damaged(&self, reason: &str) -> StoreError {
        StoreError::Damaged {
            path: self.path.into(),
            what: "snapshot".into(),
            reason: reason.into(),
        }
    }
}

/// Keeps the CRC-32C of all that went through.
struct Checksummed<T> {
    inner: T,
    checksum: u32,
}

impl<W: Write> Checksummed<W> {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.checksum = crc32c::crc32c_append(self.checksum, bytes);
        self.inner.write_all(bytes)
    }
}

impl<R: Read> Checksummed<R> {
    fn read_exact(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.inner.read_exact(bytes)?;
        self.checksum = crc32c::crc32c_append(self.checksum, bytes);
        Ok(())
    }
}

const MAGIC: &[u8; 20] = b"certgate snapshot 1\n";
const SUFFIX: &str = ".snapshot";
const UNFINISHED: &str = "unfinished";
const BUFFER_BYTES: usize = 64 << 10;

const ENTRY: u8 = 1;
const GONE: u8 = 2;
const END: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn written(dir: &Path, revision: u64) -> PathBuf {
        let mut writer = SnapshotWriter::begin(dir).unwrap();
        let value = revision.to_le_bytes().to_vec();
        writer
            .entry(&Entry {
                key: "a".into(),
                value,
                revision: Revision::new(revision),
            })
            .unwrap();
        writer.gone("b").unwrap();
        writer
            .finish(
                &Totals {
                    revision: Revision::new(revision),
                    count: 1,
                    digest: 0,
                },
                3,
            )
            .unwrap()
    }

    #[test]
    fn only_the_newest_snapshots_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let all: Vec<_> = (1..=5).map(|revision| written(dir.path(), revision)).collect();
        assert_eq!(
            newest_first(dir.path()).unwrap(),
            [&all[4], &all[3], &all[2]].map(Clone::clone)
        );
        assert_eq!(newest_revision(dir.path()).unwrap(), Some(Revision::new(5)));
    }

    #[test]
    fn a_snapshot_cut_or_flipped_anywhere_gives_way_to_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (written(dir.path(), 1), written(dir.path(), 2));
        let whole = fs::read(&new).unwrap();
        assert_eq!(newest_good(dir.path()).unwrap().unwrap().0, new);
        for at in 0..whole.len() {
            fs::write(&new, &whole[..at]).unwrap();
            assert_eq!(newest_good(dir.path()).unwrap().unwrap().0, old, "cut at {at}");
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            fs::write(&new, &flipped).unwrap();
            assert_eq!(
                newest_good(dir.path()).unwrap().unwrap().0,
                old,
                "flipped at {at}"
            );
        }
    }
}
