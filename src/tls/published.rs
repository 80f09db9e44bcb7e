//! The pointer between the half that obtains certificates and the half that serves them.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::{mpsc, oneshot};

use super::table::{CertificateTable, Lookup};

/// The table that is in force: one for the process. Readers never wait, not even for the writer.
#[derive(Debug)]
pub struct PublishedCertificates {
    table: ArcSwap<CertificateTable>,
    lookups: mpsc::Sender<LookupRequest>,
    requests: Mutex<Option<mpsc::Receiver<LookupRequest>>>,
}

/// A handshake that waits for something to be in the table.
#[derive(Debug)]
pub struct LookupRequest {
    /// What.
    pub lookup: Lookup,
    /// Told once it is there, or is known not to be stored. Dropped without a word, it could not be found out.
    pub done: oneshot::Sender<()>,
}

impl PublishedCertificates {
    /// Nothing published yet.
    pub fn new() -> Self {
        Self::with(CertificateTable::new())
    }

    /// Nothing published yet; what is stored is given to the table when it is looked up.
    pub fn cold() -> Self {
        Self::with(CertificateTable::default())
    }

    fn with(table: CertificateTable) -> Self {
        let (lookups, requests) = mpsc::channel(MOST_WAITING);
        Self {
            table: ArcSwap::from_pointee(table),
            lookups,
            requests: Mutex::new(Some(requests)),
        }
    }

    /// The table that is in force now.
    pub fn load(&self) -> Guard<Arc<CertificateTable>> {
        self.table.load()
    }

    /// Puts `table` in force from the next handshake on; handshakes under way are not disturbed.
    ///
    /// The table is to be the one in force with a change, so there may be only one who publishes.
    pub fn publish(&self, table: CertificateTable) {
        self.table.store(Arc::new(table));
    }

    /// Waits until the table has been given what `lookup` asks for; false when that could not be done. For how long is
    /// the caller's to bound.
    pub async fn look_up(&self, lookup: Lookup) -> bool {
        let (done, told) = oneshot::channel();
        let asked = self.lookups.send(LookupRequest { lookup, done }).await;
        asked.is_ok() && told.await.is_ok()
    }

    /// The lookups of handshakes, for the one who publishes; `None` for anybody after the first.
    pub fn requests(&self) -> Option<mpsc::Receiver<LookupRequest>> {
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl Default for PublishedCertificates {
    fn default() -> Self {
        Self::new()
    }
}

/// Handshakes that wait for more than these wait for a place first.
const MOST_WAITING: usize = 1024;
