//! Files beside the store: written whole or not at all, and the CA files that were good last.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{SHA256, digest};

use crate::config::Config;

/// Puts `content` into the place of whatever is in `file`: durable, and closed to other users.
pub(super) fn write(file: &Path, content: &[u8]) -> io::Result<()> {
    // Two writers of one file do not write into each other's.
    static WRITERS: AtomicU64 = AtomicU64::new(0);
    let writer = WRITERS.fetch_add(1, Ordering::Relaxed);
    let unready = file.with_extension(format!("{writer}.tmp"));
    let directory = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let mut written = options.open(&unready)?;
    let done = written
        .write_all(content)
        .and_then(|()| written.sync_all())
        .and_then(|()| fs::rename(&unready, file))
        .and_then(|()| File::open(directory)?.sync_all());
    if done.is_err() {
        // Nobody else has a use for it; that it stays is the smaller trouble.
        let _ = fs::remove_file(&unready);
    }
    done
}

/// A name that is a file's own: made of `parts`, whatever they hold.
pub(super) fn name(parts: &str, extension: &str) -> String {
    let name = digest(&SHA256, parts.as_bytes());
    let name = name.as_ref().iter().take(16).map(|octet| format!("{octet:02x}"));
    name.collect::<String>() + extension
}

/// What the files of one CA bundle held when they were good last.
pub(super) struct LastGood {
    directory: PathBuf,
    bundle: String,
}

impl LastGood {
    pub(super) fn of(store: &Path, bundle: &str) -> Self {
        Self {
            directory: store.join(DIRECTORY),
            bundle: bundle.to_owned(),
        }
    }

    /// Where the copy of `file` is, if there is one.
    pub(super) fn copy_of(&self, file: &Path) -> PathBuf {
        let parts = format!("{}\n{}", self.bundle, file.display());
        self.directory.join(name(&parts, ".pem"))
    }

    /// Whether `file` is a copy.
    pub(super) fn has(&self, file: &Path) -> bool {
        file.starts_with(&self.directory)
    }

    /// Keeps what has been read from files, now that it is known to be good.
    pub(super) fn keep(&self, contents: &BTreeMap<PathBuf, Vec<u8>>) -> io::Result<()> {
        for (file, content) in contents {
            let copy = self.copy_of(file);
            if fs::read(&copy).is_ok_and(|known| known == *content) {
                continue;
            }
            write(&copy, content)?;
        }
        Ok(())
    }
}

/// Removes the copies of files that `config` does not have: whoever takes them into a bundle again some day means what they
/// hold then.
pub(super) fn forget_others(config: &Config) {
    let store = &config.store.path;
    let wanted = config.ca_bundles.values().flat_map(|bundle| {
        let last_good = LastGood::of(store, &bundle.name);
        let files = bundle.files.iter().chain(&bundle.crl_files);
        files.map(move |file| last_good.copy_of(file))
    });
    let wanted: Vec<_> = wanted.collect();
    let found = fs::read_dir(store.join(DIRECTORY))
        .into_iter()
        .flatten()
        .flatten();
    for file in found.map(|entry| entry.path()) {
        if !wanted.contains(&file)
            && let Err(error) = fs::remove_file(&file)
        {
            tracing::warn!(file = %file.display(), %error, "a file that is of no use any more cannot be removed");
        }
    }
}

const DIRECTORY: &str = "ca-files";
