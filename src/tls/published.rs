//! The pointer between the half that obtains certificates and the half that serves them.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use super::table::CertificateTable;

/// The table that is in force: one for the process. Readers never wait, not even for the writer.
#[derive(Debug, Default)]
pub struct PublishedCertificates(ArcSwap<CertificateTable>);

impl PublishedCertificates {
    /// Nothing published yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The table that is in force now.
    pub fn load(&self) -> Guard<Arc<CertificateTable>> {
        self.0.load()
    }

    /// Puts `table` in force from the next handshake on; handshakes under way are not disturbed.
    ///
    /// The table is to be the one in force with a change, so there may be only one who publishes.
    pub fn publish(&self, table: CertificateTable) {
        self.0.store(Arc::new(table));
    }
}
