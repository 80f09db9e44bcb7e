//! Snapshot files: all entries, or those that have changed, in one file that needs no database to be read.
//!
//! A file begins with a line that names its format. Records follow: an entry, or the key of an entry that is
//! gone (a later record about a key replaces an earlier one), and at the end the totals and a CRC-32C of the
//! whole file.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::frame::{TOTALS_BYTES, Totals};
use super::layout::{open_private, remove_file, sync_dir};
use super::series;
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

    /// Makes the snapshot durable: a whole one, or the changes `since` the one before.
    pub(super) fn finish(mut self, totals: &Totals, since: Option<Revision>) -> Result<PathBuf, StoreError> {
        self.write(&[&[END], &totals.encode()])?;
        let checksum = self.file.checksum.to_le_bytes();
        self.write(&[&checksum])?;
        let path = self.dir.join(match since {
            None => series::whole(totals.revision),
            Some(since) => series::changes(since, totals.revision),
        });
        let file = self
            .file
            .inner
            .into_inner()
            .map_err(io::IntoInnerError::into_error);
        file.and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&self.unfinished, &path))
            .map_err(StoreError::io(&self.unfinished, "could not be made a snapshot"))?;
        sync_dir(&self.dir)?;
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
/// A file being written; worthless after a crash.
pub(super) const UNFINISHED: &str = "unfinished";
const BUFFER_BYTES: usize = 64 << 10;

const ENTRY: u8 = 1;
const GONE: u8 = 2;
const END: u8 = 3;
