//! What has changed since the last snapshot, so that the next one need hold nothing else.

use std::collections::BTreeSet;
use std::mem;
use std::path::PathBuf;

use super::Shared;
use super::database::Edit;
use super::frame::Totals;
use super::snapshot::SnapshotWriter;
use crate::{Revision, StoreError};

/// The keys changed since the last snapshot was begun.
#[derive(Default)]
pub(super) struct Changes {
    keys: BTreeSet<String>,
    is_complete: bool,
}

impl Changes {
    /// Forgets what was changed: a whole snapshot begins.
    pub(super) fn restart(&mut self) {
        *self = Self {
            keys: BTreeSet::new(),
            is_complete: true,
        };
    }

    /// Called for each commit, by the writer.
    pub(super) fn note(&mut self, edits: &[Edit]) {
        if !self.is_complete {
            return;
        }
        self.keys.extend(edits.iter().map(|edit| edit.key.clone()));
        if self.keys.len() > MOST_KEYS {
            self.give_up();
        }
    }

    /// Only a whole snapshot will do.
    pub(super) fn give_up(&mut self) {
        *self = Self::default();
    }

    /// Whether every change is noted.
    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }

    fn take_some(&mut self) -> BTreeSet<String> {
        let rest = self.keys.iter().nth(STEP_KEYS).cloned();
        let rest = rest.map_or_else(BTreeSet::new, |key| self.keys.split_off(&key));
        mem::replace(&mut self.keys, rest)
    }
}

/// Writes what was changed since `since`; returns the totals of the store as they are with it. After an error only a
/// whole snapshot will do.
pub(super) fn write(shared: &Shared, since: Revision) -> Result<(Totals, PathBuf), StoreError> {
    let mut writer = SnapshotWriter::begin(&shared.layout.snapshots())?;
    loop {
        // What is changed again between two steps is noted again, and a later record replaces an earlier one.
        let gate = shared.gate.blocking_read();
        let mut changes = shared.changes();
        let keys = changes.take_some();
        let (is_last, is_complete) = (changes.keys.is_empty(), changes.is_complete);
        drop(changes);
        let totals = shared.database.totals();
        let found: Vec<_> = keys.iter().map(|key| (key, shared.database.get(key))).collect();
        drop(gate);
        if !is_complete || shared.wake.stopped() {
            return Err(StoreError::Closed);
        }
        for (key, entry) in found {
            match entry? {
                Some(entry) => writer.entry(&entry)?,
                None => writer.gone(key)?,
            }
        }
        if is_last {
            let path = writer.finish(&totals, Some(since))?;
            return Ok((totals, path));
        }
    }
}

/// So many keys are a few MiB.
const MOST_KEYS: usize = 50_000;
/// How much is read between two commits at most.
const STEP_KEYS: usize = 256;
