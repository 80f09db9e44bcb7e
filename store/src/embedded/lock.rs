//! One process per store.

use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::path::Path;

use super::layout::open_private;
use crate::StoreError;

/// Held for as long as the store is open. The lock belongs to the open file, so the kernel frees it when the process
/// ends in any way; what the file says is only for the message, and a file full of nonsense holds up nobody.
#[derive(Debug)]
pub(super) struct ProcessLock {
    _file: File,
}

impl ProcessLock {
    pub(super) fn take(file: &Path, store: &Path) -> Result<Self, StoreError> {
        let mut held = open_private(file)?;
        match held.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::AlreadyRunning {
                    path: store.into(),
                    pid: written_pid(file),
                });
            }
            Err(TryLockError::Error(error)) => {
                return Err(StoreError::io(file, "could not be locked")(error));
            }
        }
        held.set_len(0)
            .and_then(|()| writeln!(held, "{}", std::process::id()))
            .map_err(StoreError::io(file, "could not be written"))?;
        Ok(Self { _file: held })
    }
}

fn written_pid(file: &Path) -> Option<u32> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_taker_is_told_who_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("lock");
        let first = ProcessLock::take(&file, dir.path()).unwrap();
        match ProcessLock::take(&file, dir.path()) {
            Err(StoreError::AlreadyRunning { pid, path }) => {
                assert_eq!((pid, path.as_path()), (Some(std::process::id()), dir.path()));
            }
            other => panic!("{other:?}"),
        }
        drop(first);
        ProcessLock::take(&file, dir.path()).unwrap();
    }

    #[test]
    fn a_lock_file_full_of_nonsense_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("lock");
        std::fs::write(&file, [0; 4096]).unwrap();
        let _held = ProcessLock::take(&file, dir.path()).unwrap();
        assert_eq!(written_pid(&file), Some(std::process::id()));
    }
}
