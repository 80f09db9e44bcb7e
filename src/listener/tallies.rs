//! What the clients of a listener offer, counted by each worker for itself.

use std::cell::Cell;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::tls::{Counts, Fate, Offer, Tally};

use super::client_hello;

/// One tally for each worker. A lock that nobody else wants costs some nanoseconds; the others want it for as long as it
/// takes to copy a tally, when an operator asks.
#[derive(Debug)]
pub(super) struct Tallies {
    of_workers: Box<[Shard]>,
}

/// Apart from its neighbours in memory, so that workers do not wait for each other's writes.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<Tally>);

impl Tallies {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            of_workers: (0..workers).map(|_| Shard::default()).collect(),
        }
    }

    /// Counts the ClientHello that `received` begins with, on the worker that it came to.
    pub(super) fn note(&self, received: &[u8], fate: Fate) {
        let offer = client_hello::message(received).and_then(|message| Offer::read(&message));
        let shard = self.of_workers.get(WORKER.get()).or(self.of_workers.first());
        if let (Some(offer), Some(Shard(tally))) = (offer, shard) {
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            tally.note(offer, fate, Instant::now);
        }
    }

    /// What all workers have counted.
    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for Shard(tally) in &self.of_workers {
            let of_worker = tally.lock().unwrap_or_else(PoisonError::into_inner).counts();
            counts.add(&of_worker);
        }
        counts
    }
}

/// From now on the thread is the worker at this position.
pub(super) fn work_as(position: usize) {
    WORKER.set(position);
}

thread_local! {
    static WORKER: Cell<usize> = const { Cell::new(0) };
}
