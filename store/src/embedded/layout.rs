//! Where the files of an embedded store are, and that nobody else can read them.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::StoreError;

/// The directory of one store.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Creates what is missing. An existing `root` keeps its mode: it may be more than ours. Everything in it that is
    /// ours is closed to others, whatever the umask says.
    pub(super) fn create(root: &Path) -> Result<Self, StoreError> {
        let layout = Self { root: root.into() };
        if !root.is_dir() {
            create_private_dir(root)?;
        }
        create_private_dir(&layout.snapshots())?;
        sync_dir(root)?;
        Ok(layout)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Held for as long as a process uses the store; contains its pid.
    pub(super) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// The directory that belongs to sled.
    pub(super) fn database(&self) -> PathBuf {
        self.root.join("db")
    }

    /// A database being built; worthless after a crash.
    pub(super) fn rebuilding(&self) -> PathBuf {
        self.root.join("db.rebuilding")
    }

    /// A database built completely, about to become `db`.
    pub(super) fn rebuilt(&self) -> PathBuf {
        self.root.join("db.rebuilt")
    }

    /// Snapshot files, away from the database they are to replace.
    pub(super) fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    /// The last acknowledged revision.
    pub(super) fn acknowledged(&self) -> PathBuf {
        self.root.join("acknowledged")
    }

    /// Exists when a running store found damage: the next start must look at everything.
    pub(super) fn suspect(&self) -> PathBuf {
        self.root.join("suspect")
    }

    /// The first free name for something damaged.
    pub(super) fn next_damaged(&self) -> PathBuf {
        let free = (1..u32::MAX)
            .map(|n| self.root.join(format!("damaged-{n}")))
            .find(|path| !path.exists());
        free.unwrap_or_else(|| self.root.join("damaged"))
    }

    /// Moves a file or directory of the store to another place in it, for good.
    pub(super) fn rename(&self, from: &Path, to: &Path) -> Result<(), StoreError> {
        fs::rename(from, to).map_err(StoreError::io(from, "could not be renamed"))?;
        sync_dir(&self.root)
    }

    /// Removes a directory with all in it, if it is there.
    pub(super) fn remove_dir(&self, path: &Path) -> Result<(), StoreError> {
        absent_is_fine(fs::remove_dir_all(path)).map_err(StoreError::io(path, "could not be removed"))
    }

    /// Bytes in the database and the snapshots.
    pub(super) fn size(&self) -> Result<u64, StoreError> {
        let mut bytes = 0;
        for dir in [self.database(), self.snapshots()] {
            for file in files(&dir)? {
                bytes += fs::metadata(&file).map_or(0, |metadata| metadata.len());
            }
        }
        Ok(bytes)
    }
}

/// Creates a directory with mode 0700, or gives that mode to the one there.
pub(super) fn create_private_dir(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o700)))
        .map_err(StoreError::io(path, "could not be created with mode 0700"))
}

/// Opens a file for reading and writing, created with mode 0600 if need be.
pub(super) fn open_private(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .and_then(|file| file.set_permissions(Permissions::from_mode(0o600)).map(|()| file))
        .map_err(StoreError::io(path, "could not be opened with mode 0600"))
}

/// Closes what another library has created under `dir` to everybody else.
pub(super) fn restrict(dir: &Path) -> Result<(), StoreError> {
    create_private_dir(dir)?;
    for entry in entries(dir)? {
        if entry.is_dir() {
            restrict(&entry)?;
        } else {
            fs::set_permissions(&entry, Permissions::from_mode(0o600))
                .map_err(StoreError::io(&entry, "could not be given mode 0600"))?;
        }
    }
    Ok(())
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(path: &Path) -> Result<(), StoreError> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(StoreError::io(path, "could not be synced"))
}

/// What is in a directory; nothing if there is no such directory.
pub(super) fn entries(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let found = match fs::read_dir(dir) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io(dir, "could not be listed")(error)),
    };
    let mut paths = Vec::new();
    for entry in found {
        paths.push(entry.map_err(StoreError::io(dir, "could not be listed"))?.path());
    }
    paths.sort();
    Ok(paths)
}

/// Removes a file, if it is there.
pub(super) fn remove_file(path: &Path) -> Result<(), StoreError> {
    absent_is_fine(fs::remove_file(path)).map_err(StoreError::io(path, "could not be removed"))
}

/// The files under a directory, at any depth.
fn files(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut found = Vec::new();
    for entry in entries(dir)? {
        if entry.is_dir() {
            found.extend(files(&entry)?);
        } else {
            found.push(entry);
        }
    }
    Ok(found)
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
