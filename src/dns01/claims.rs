//! Who has to do with a record at the moment: nobody takes away what somebody else is about to use.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::dns::Place;
use crate::dns01::turn::Turns;
use crate::inventory::PlacedRecord;

/// The records of a process that are in use, by their values. Clones share them.
#[derive(Clone, Default)]
pub struct Claims(Arc<Shared>);

#[derive(Default)]
struct Shared {
    held: Mutex<HashMap<String, Holder>>,
    freed: Notify,
    turns: Turns,
}

/// What somebody has put into a zone.
#[derive(Clone)]
pub(super) struct Claimed {
    pub(super) record: PlacedRecord,
    pub(super) place: Place,
}

enum Holder {
    /// An attempt; with what it has placed, or was about to.
    Attempt(Option<Box<Claimed>>),
    /// Somebody who cleans up.
    Sweep,
}

/// A claim for as long as it lives.
pub(super) struct Held<'a> {
    claims: &'a Claims,
    value: String,
}

impl Claims {
    /// Waits until no record is in use any more.
    pub async fn settled(&self) {
        self.until(|held| held.is_empty()).await;
    }

    /// The turns at owners that keep few values.
    pub(super) fn turns(&self) -> &Turns {
        &self.0.turns
    }

    /// Claims the record with `value` for an attempt, once nobody else has it.
    pub(super) async fn claim(&self, value: &str) {
        self.until(|held| {
            if held.contains_key(value) {
                return false;
            }
            held.insert(value.to_owned(), Holder::Attempt(None));
            true
        })
        .await;
    }

    /// Claims it for who cleans up, unless somebody has it.
    pub(super) fn hold(&self, value: &str) -> Option<Held<'_>> {
        let mut held = self.held();
        if held.contains_key(value) {
            return None;
        }
        held.insert(value.to_owned(), Holder::Sweep);
        Some(Held {
            claims: self,
            value: value.to_owned(),
        })
    }

    pub(super) fn remember(&self, value: &str, claimed: Claimed) {
        if let Some(Holder::Attempt(slot)) = self.held().get_mut(value) {
            *slot = Some(Box::new(claimed));
        }
    }

    pub(super) fn recall(&self, value: &str) -> Option<Claimed> {
        match self.held().get(value) {
            Some(Holder::Attempt(Some(claimed))) => Some(Claimed::clone(claimed)),
            _ => None,
        }
    }

    /// Ends the claim of an attempt.
    pub(super) fn release(&self, value: &str) {
        let mut held = self.held();
        if let Some(Holder::Attempt(_)) = held.get(value) {
            held.remove(value);
            self.0.freed.notify_waiters();
        }
    }

    async fn until(&self, mut holds: impl FnMut(&mut HashMap<String, Holder>) -> bool) {
        loop {
            // Before the look: what is freed after it is not missed.
            let freed = self.0.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if holds(&mut self.held()) {
                return;
            }
            freed.await;
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<String, Holder>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.claims.held().remove(&self.value);
        self.claims.0.freed.notify_waiters();
    }
}
