//! A store that lives and dies with the process.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::hint::Announcer;
use crate::key::check_key;
use crate::lease::{LeaseTable, check_names};
use crate::{Batch, Entry, Hints, Lease, Listing, Revision, Store, StoreError};

/// Entries in memory, for tests and gateways that may forget.
pub struct MemoryStore {
    state: Mutex<State>,
    announcer: Announcer,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<String, (Revision, Vec<u8>)>,
    leases: LeaseTable,
    revision: Revision,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self {
            state: Mutex::default(),
            announcer: Announcer::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change below is checked before the first part of it is made, so a poisoned state is a whole
        // one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        check_key(key)?;
        let state = self.state();
        let found = state.entries.get(key);
        Ok(found.map(|(revision, value)| Entry {
            key: key.into(),
            value: value.clone(),
            revision: *revision,
        }))
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        let state = self.state();
        let entries = state
            .entries
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, (revision, value))| Entry {
                key: key.clone(),
                value: value.clone(),
                revision: *revision,
            })
            .collect();
        Ok(Listing {
            entries,
            revision: state.revision,
        })
    }

    async fn page(&self, prefix: &str, after: &str, limit: usize) -> Result<Listing, StoreError> {
        let state = self.state();
        let first = (Bound::Excluded(after.max(prefix)), Bound::Unbounded);
        let at_prefix = state.entries.get_key_value(prefix).filter(|_| after < prefix);
        let entries = at_prefix
            .into_iter()
            .chain(state.entries.range::<str, _>(first))
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(limit)
            .map(|(key, (revision, value))| Entry {
                key: key.clone(),
                value: value.clone(),
                revision: *revision,
            })
            .collect();
        Ok(Listing {
            entries,
            revision: state.revision,
        })
    }

    async fn commit(&self, batch: Batch) -> Result<Revision, StoreError> {
        batch.check()?;
        let mut state = self.state();
        if let Some(lease) = &batch.lease {
            state.leases.check(lease, Instant::now())?;
        }
        for change in &batch.changes {
            change.check(state.entries.get(&change.key).map(|(revision, _)| *revision))?;
        }
        let revision = state.revision.next();
        let mut keys = Vec::with_capacity(batch.changes.len());
        for change in batch.changes {
            match change.value {
                Some(value) => state.entries.insert(change.key.clone(), (revision, value)),
                None => state.entries.remove(&change.key),
            };
            keys.push(change.key);
        }
        state.revision = revision;
        // Announced under the lock, so that hints come in the order of the commits.
        self.announcer.announce(keys);
        Ok(revision)
    }

    async fn checkpoint(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn hints(&self) -> Hints {
        self.announcer.hints()
    }

    async fn acquire(&self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        check_names(name, holder)?;
        let (mut state, now) = (self.state(), Instant::now());
        if !state.leases.is_free(name, holder, now) {
            return Ok(None);
        }
        let revision = state.revision.next();
        state.revision = revision;
        Ok(Some(state.leases.grant(
            name.into(),
            holder.into(),
            ttl,
            revision,
            now,
        )))
    }

    async fn keep(&self, lease: &Lease) -> Result<(), StoreError> {
        self.state().leases.keep(lease, Instant::now())
    }

    async fn release(&self, lease: Lease) -> Result<(), StoreError> {
        self.state().leases.release(&lease);
        Ok(())
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        Ok(self.state().revision)
    }
}
