//! Reading every entry while commits go on, and ending with what the store held at one moment.
//!
//! The sweep reads a few entries at a time. Commits between two steps are followed: what they change behind the cursor
//! is noted, so that the totals of what was seen can be compared with those of the store at the end, and so that
//! a snapshot can put the changed entries right.

use std::collections::BTreeSet;

use super::Shared;
use super::database::Edit;
use super::frame::{Head, Totals};
use crate::{Entry, StoreError};

/// A sweep under way; commits report to it.
#[derive(Default)]
pub(super) struct Sweep {
    /// The key up to which everything was seen.
    cursor: String,
    seen: Totals,
    changed: BTreeSet<String>,
}

/// What a sweep shows its visitor.
pub(super) enum Seen<'a> {
    Entry(&'a Entry),
    /// This entry was shown before and is gone.
    Gone(&'a str),
    /// This record cannot be read.
    Damaged(StoreError),
}

impl Sweep {
    /// Called for each edit of a commit, between two steps.
    pub(super) fn follow(&mut self, edit: &Edit) {
        if edit.key.as_str() > self.cursor.as_str() {
            return;
        }
        if let Some(head) = &edit.old {
            self.seen.subtract(head);
        }
        if let Some((head, _)) = &edit.new {
            self.seen.add(head);
        }
        self.changed.insert(edit.key.clone());
    }

    fn pass(&mut self, key: &str, head: &Head) {
        self.seen.add(head);
        self.cursor = key.into();
    }
}

/// Shows every entry to `visit`, then those changed meanwhile again. Returns the totals of the store at the end, and
/// whether what was seen adds up to them.
pub(super) fn sweep(
    shared: &Shared,
    mut visit: impl FnMut(Seen<'_>) -> Result<(), StoreError>,
) -> Result<(Totals, bool), StoreError> {
    *shared.sweep() = Some(Sweep::default());
    let outcome = run(shared, &mut visit);
    *shared.sweep() = None;
    outcome
}

fn run(
    shared: &Shared,
    visit: &mut dyn FnMut(Seen<'_>) -> Result<(), StoreError>,
) -> Result<(Totals, bool), StoreError> {
    let mut readable = true;
    let mut cursor = String::new();
    loop {
        let step = read_step(shared, &cursor);
        for seen in step.entries {
            match seen {
                Ok(entry) => visit(Seen::Entry(&entry))?,
                Err(error) => {
                    readable = false;
                    visit(Seen::Damaged(error))?;
                }
            }
        }
        match step.next {
            Next::From(key) => cursor = key,
            Next::CatchUp => break,
            Next::Stop => return Ok((shared.database.totals(), false)),
        }
    }
    let (totals, adds_up) = catch_up(shared, visit)?;
    Ok((totals, readable && adds_up))
}

struct Step {
    entries: Vec<Result<Entry, StoreError>>,
    next: Next,
}

enum Next {
    /// There may be more after this key.
    From(String),
    /// All was seen.
    CatchUp,
    /// Nothing more can be read.
    Stop,
}

/// Reads a few entries, with no commit in between.
fn read_step(shared: &Shared, cursor: &str) -> Step {
    let _gate = shared.gate.blocking_read();
    let mut sweep = shared.sweep();
    let Some(sweep) = sweep.as_mut() else {
        return Step {
            entries: Vec::new(),
            next: Next::Stop,
        };
    };
    let mut step = Step {
        entries: Vec::new(),
        next: Next::CatchUp,
    };
    let mut bytes = 0;
    let mut entries = shared.database.entries_after(cursor);
    for (key, found) in entries.by_ref() {
        match found {
            Ok((entry, head)) => {
                bytes += entry.value.len();
                sweep.pass(&key, &head);
                step.entries.push(Ok(entry));
            }
            Err(error) => step.entries.push(Err(error)),
        }
        if step.entries.len() == STEP_ENTRIES || bytes > STEP_BYTES {
            step.next = Next::From(key);
            return step;
        }
    }
    if entries.broken() {
        step.next = Next::Stop;
    }
    // From here on every commit is behind the cursor.
    sweep.cursor = END.into();
    step
}

/// Shows what was changed behind the cursor, until nothing is left at the end of a step.
fn catch_up(
    shared: &Shared,
    visit: &mut dyn FnMut(Seen<'_>) -> Result<(), StoreError>,
) -> Result<(Totals, bool), StoreError> {
    loop {
        let gate = shared.gate.blocking_read();
        let mut guard = shared.sweep();
        let Some(sweep) = guard.as_mut() else {
            return Ok((shared.database.totals(), false));
        };
        let rest = sweep.changed.iter().nth(STEP_ENTRIES).cloned();
        let rest = rest.map_or_else(BTreeSet::new, |key| sweep.changed.split_off(&key));
        let done = rest.is_empty();
        let keys = std::mem::replace(&mut sweep.changed, rest);
        let seen = sweep.seen;
        drop(guard);
        let totals = shared.database.totals();
        let found: Vec<_> = keys.iter().map(|key| (key, shared.database.get(key))).collect();
        drop(gate);
        for (key, entry) in found {
            match entry {
                Ok(Some(entry)) => visit(Seen::Entry(&entry))?,
                Ok(None) => visit(Seen::Gone(key))?,
                Err(error) => visit(Seen::Damaged(error))?,
            }
        }
        if done {
            return Ok((totals, seen.same_entries(&totals)));
        }
    }
}

/// Sorts after every key.
const END: &str = "\u{7f}";

/// How much is read between two commits at most.
const STEP_ENTRIES: usize = 512;
const STEP_BYTES: usize = 1 << 20;
