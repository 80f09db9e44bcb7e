//! How many certificates are obtained from an issuer at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One lane for each issuer: one that hangs holds up no other. Within a lane most places are kept for names that have
/// not failed: however many names hang, they do so once, and from then on share the few places left to them.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: Mutex<HashMap<String, Lane>>,
    width: usize,
}

#[derive(Clone, Debug)]
struct Lane {
    places: Arc<Semaphore>,
    again: Arc<Semaphore>,
}

/// A place in a lane, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _place: Option<OwnedSemaphorePermit>,
    _again: Option<OwnedSemaphorePermit>,
}

impl Lanes {
    /// Lanes of `width` places each.
    pub(super) fn new(width: usize) -> Self {
        Self {
            lanes: Mutex::default(),
            width: width.max(1),
        }
    }

    /// Waits for a place in the lane of `issuer`; `again` for a name that has failed before.
    pub(super) async fn enter(&self, issuer: &str, again: bool) -> Place {
        let lane = self.lane(issuer);
        // An error would say that the semaphore was closed, and nothing closes it.
        let again = match again {
            true => lane.again.acquire_owned().await.ok(),
            false => None,
        };
        Place {
            _place: lane.places.acquire_owned().await.ok(),
            _again: again,
        }
    }

    fn lane(&self, issuer: &str) -> Lane {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes
            .entry(issuer.to_owned())
            .or_insert_with(|| Lane {
                places: Arc::new(Semaphore::new(self.width)),
                again: Arc::new(Semaphore::new(self.width.div_ceil(4))),
            })
            .clone()
    }
}
