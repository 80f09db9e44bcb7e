//! The last acknowledged revision, kept beside the database.
//!
//! sled takes damage at the end of its log for a torn write and quietly comes up with an earlier state. The number in
//! this file, written after each sync and before the writer is told, shows it. The file itself is not synced: after
//! a power failure it may be behind the database, which is harmless, but never ahead of it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::layout::open_private;
use crate::{Revision, StoreError};

pub(super) struct Acknowledged {
    path: PathBuf,
    file: File,
}

impl Acknowledged {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self {
            path: path.into(),
            file: open_private(path)?,
        })
    }

    /// The revision written last; zero when there is none or it cannot be read.
    pub(super) fn read(&self) -> Revision {
        let mut bytes = [0; 12];
        if self.file.read_exact_at(&mut bytes, 0).is_err() {
            return Revision::default();
        }
        let [a, b, c, d, e, f, g, h, checksum @ ..] = bytes;
        let revision = [a, b, c, d, e, f, g, h];
        if crc32c::crc32c(&revision) != u32::from_le_bytes(checksum) {
            return Revision::default();
        }
        Revision::new(u64::from_le_bytes(revision))
    }

    pub(super) fn write(&self, revision: Revision) -> Result<(), StoreError> {
        let revision = revision.value().to_le_bytes();
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&revision);
        bytes[8..].copy_from_slice(&crc32c::crc32c(&revision).to_le_bytes());
        self.file
            .write_all_at(&bytes, 0)
            .map_err(StoreError::io(&self.path, "could not be written"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_last_is_read_and_nonsense_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acknowledged");
        let file = Acknowledged::open(&path).unwrap();
        assert_eq!(file.read(), Revision::default());
        for revision in [1, u64::MAX, 7] {
            file.write(Revision::new(revision)).unwrap();
            assert_eq!(Acknowledged::open(&path).unwrap().read(), Revision::new(revision));
        }
        std::fs::write(&path, [0xff; 12]).unwrap();
        assert_eq!(file.read(), Revision::default());
    }
}
