//! Which snapshot files there are, and which of them together are the newest good state.
//!
//! A whole snapshot, `REVISION.snapshot`, may be followed by files of what has changed since,
//! `SINCE-REVISION.changes`, each beginning where the one before ends.

use std::fs;
use std::path::{Path, PathBuf};

use super::frame::Totals;
use super::layout::{entries, remove_file};
use super::snapshot::{Recorded, UNFINISHED, read};
use crate::{Revision, StoreError};

/// A whole snapshot and the changes after it.
#[derive(Clone, Debug)]
pub(super) struct Series {
    files: Vec<PathBuf>,
    /// What the store held at its end.
    pub(super) totals: Totals,
}

impl Series {
    /// The newest whole snapshot that can be read to its end, with the changes after it as far as they can be.
    pub(super) fn newest_good(dir: &Path) -> Result<Option<Self>, StoreError> {
        let listing = Listing::of(dir)?;
        for (_, path) in listing.wholes.iter().rev() {
            match read(path, |_| Ok(())) {
                Ok(totals) => {
                    let files = vec![path.clone()];
                    return Ok(Some(Self { files, totals }.followed(&listing)));
                }
                Err(error) => tracing::error!(%error, "a snapshot is damaged, trying the one before it"),
            }
        }
        Ok(None)
    }

    fn followed(mut self, listing: &Listing) -> Self {
        while let Some((_, until, path)) = listing.changes_since(self.totals.revision) {
            match read(path, |_| Ok(())) {
                Ok(totals) if totals.revision == *until && *until > self.totals.revision => {
                    self.files.push(path.clone());
                    self.totals = totals;
                }
                Ok(_) => break,
                Err(error) => {
                    tracing::error!(%error, "changes after a snapshot are damaged, doing without them");
                    break;
                }
            }
        }
        self
    }

    /// Where it begins.
    pub(super) fn path(&self) -> &Path {
        &self.files[0]
    }

    /// Shows its records in the order in which they were written.
    pub(super) fn read(
        &self,
        mut visit: impl FnMut(Recorded) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.files
            .iter()
            .try_for_each(|path| read(path, &mut visit).map(drop))
    }
}

/// How much the series that ends at `revision` holds, as the names of its files say; `None` if there is none.
pub(super) fn extent(dir: &Path, revision: Revision) -> Result<Option<Extent>, StoreError> {
    let listing = Listing::of(dir)?;
    let bytes = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    let Some((start, path)) = listing.wholes.last() else {
        return Ok(None);
    };
    let mut extent = Extent {
        until: *start,
        whole_bytes: bytes(path),
        changes: 0,
        changes_bytes: 0,
    };
    while let Some((_, until, path)) = listing.changes_since(extent.until)
        && *until > extent.until
    {
        extent.add(*until, bytes(path));
    }
    Ok((extent.until == revision).then_some(extent))
}

/// The size of a series.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) until: Revision,
    pub(super) whole_bytes: u64,
    pub(super) changes: usize,
    pub(super) changes_bytes: u64,
}

impl Extent {
    pub(super) fn add(&mut self, until: Revision, bytes: u64) {
        self.until = until;
        self.changes += 1;
        self.changes_bytes += bytes;
    }
}

/// The newest revision that a snapshot or changes hold, as their names say.
pub(super) fn newest_revision(dir: &Path) -> Result<Option<Revision>, StoreError> {
    let listing = Listing::of(dir)?;
    let wholes = listing.wholes.iter().map(|(revision, _)| *revision);
    let changes = listing.changes.iter().map(|(_, until, _)| *until);
    Ok(wholes.chain(changes).max())
}

/// Removes all but the newest `kept` whole snapshots, and the changes that follow none of these.
pub(super) fn remove_older(dir: &Path, kept: usize) -> Result<(), StoreError> {
    let listing = Listing::of(dir)?;
    let older = listing.wholes.len().saturating_sub(kept.max(1));
    let oldest_kept = listing.wholes.get(older).map(|(revision, _)| *revision);
    for (_, path) in &listing.wholes[..older] {
        remove_file(path)?;
    }
    for (since, _, path) in &listing.changes {
        if Some(*since) < oldest_kept {
            remove_file(path)?;
        }
    }
    Ok(())
}

/// Removes what a crash has left unfinished.
pub(super) fn clean(dir: &Path) -> Result<(), StoreError> {
    remove_file(&dir.join(UNFINISHED))
}

/// The name of a whole snapshot of `revision`.
pub(super) fn whole(revision: Revision) -> String {
    format!("{:020}{WHOLE}", revision.value())
}

/// The name of the changes after `since` until `until`.
pub(super) fn changes(since: Revision, until: Revision) -> String {
    format!("{:020}-{:020}{CHANGES}", since.value(), until.value())
}

/// What is in the directory, oldest first.
struct Listing {
    wholes: Vec<(Revision, PathBuf)>,
    changes: Vec<(Revision, Revision, PathBuf)>,
}

impl Listing {
    fn of(dir: &Path) -> Result<Self, StoreError> {
        let (mut wholes, mut changes) = (Vec::new(), Vec::new());
        for path in entries(dir)? {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if let Some(revision) = name.strip_suffix(WHOLE).and_then(number) {
                wholes.push((revision, path));
            } else if let Some((since, until)) =
                name.strip_suffix(CHANGES).and_then(|name| name.split_once('-'))
                && let (Some(since), Some(until)) = (number(since), number(until))
            {
                changes.push((since, until, path));
            }
        }
        wholes.sort();
        changes.sort();
        Ok(Self { wholes, changes })
    }

    /// Of several, those that reach furthest.
    fn changes_since(&self, revision: Revision) -> Option<&(Revision, Revision, PathBuf)> {
        self.changes.iter().rfind(|(since, _, _)| *since == revision)
    }
}

fn number(digits: &str) -> Option<Revision> {
    digits.parse().ok().map(Revision::new)
}

const WHOLE: &str = ".snapshot";
const CHANGES: &str = ".changes";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Entry;
    use crate::embedded::snapshot::SnapshotWriter;

    fn totals(revision: u64) -> Totals {
        Totals {
            revision: Revision::new(revision),
            count: 1,
            digest: 0,
        }
    }

    fn writer(dir: &Path, revision: u64) -> SnapshotWriter {
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
    }

    fn write_whole(dir: &Path, revision: u64) -> PathBuf {
        let path = writer(dir, revision).finish(&totals(revision), None).unwrap();
        remove_older(dir, 3).unwrap();
        path
    }

    fn write_changes(dir: &Path, since: u64, until: u64) -> PathBuf {
        let since = Some(Revision::new(since));
        writer(dir, until).finish(&totals(until), since).unwrap()
    }

    fn newest_good(dir: &Path) -> u64 {
        Series::newest_good(dir).unwrap().unwrap().totals.revision.value()
    }

    #[test]
    fn only_the_newest_snapshots_are_kept_with_the_changes_after_them() {
        let dir = tempfile::tempdir().unwrap();
        for revision in [1, 3, 5, 7, 9] {
            write_whole(dir.path(), revision);
            write_changes(dir.path(), revision, revision + 1);
        }
        let mut names: Vec<_> = entries(dir.path())
            .unwrap()
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        names.sort();
        let mut expected = Vec::new();
        for revision in [5, 7, 9].map(Revision::new) {
            expected.push(changes(revision, revision.next()));
            expected.push(whole(revision));
        }
        assert_eq!(names, expected);
        assert_eq!(newest_revision(dir.path()).unwrap(), Some(Revision::new(10)));
    }

    #[test]
    fn a_snapshot_cut_or_flipped_anywhere_gives_way_to_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        write_whole(dir.path(), 1);
        let new = write_whole(dir.path(), 2);
        damage_everywhere(&new, || assert_eq!(newest_good(dir.path()), 1));
        assert_eq!(newest_good(dir.path()), 2);
    }

    #[test]
    fn changes_cut_or_flipped_anywhere_are_done_without_and_so_are_those_after_them() {
        let dir = tempfile::tempdir().unwrap();
        write_whole(dir.path(), 1);
        write_changes(dir.path(), 1, 2);
        let damaged = write_changes(dir.path(), 2, 3);
        write_changes(dir.path(), 3, 4);
        damage_everywhere(&damaged, || assert_eq!(newest_good(dir.path()), 2));
        assert_eq!(newest_good(dir.path()), 4);
    }

    #[test]
    fn changes_that_follow_nothing_are_not_used() {
        let dir = tempfile::tempdir().unwrap();
        write_whole(dir.path(), 1);
        write_changes(dir.path(), 2, 3);
        assert_eq!(newest_good(dir.path()), 1);
        assert!(extent(dir.path(), Revision::new(3)).unwrap().is_none());
        write_changes(dir.path(), 1, 2);
        assert_eq!(newest_good(dir.path()), 3);
        assert_eq!(extent(dir.path(), Revision::new(3)).unwrap().unwrap().changes, 2);
    }

    /// Leaves the file as it was.
    fn damage_everywhere(path: &Path, check: impl Fn()) {
        let whole = fs::read(path).unwrap();
        for at in 0..whole.len() {
            fs::write(path, &whole[..at]).unwrap();
            check();
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            fs::write(path, &flipped).unwrap();
            check();
        }
        fs::write(path, whole).unwrap();
    }
}
