//! Who can change a zone.

use async_trait::async_trait;

use crate::dns01::Dns01Error;
use crate::inventory::PlacedRecord;
use crate::name::DnsName;

/// Puts records into zones, and takes them away.
#[async_trait]
pub(super) trait Provider: Send + Sync {
    /// Adds the record beside others of the same owner. Ends in bounded time.
    async fn place(&self, record: &PlacedRecord) -> Result<(), Dns01Error>;

    /// The owner of records for `domain`, where it keeps no more than [`VALUES_KEPT`](super::VALUES_KEPT) values and takes
    /// each further one in the place of the oldest, so that orders have to take turns at it.
    async fn narrow_owner(&self, domain: &DnsName) -> Result<Option<String>, Dns01Error> {
        let _ = domain;
        Ok(None)
    }

    /// Whether records go by themselves, so that none is ever left in a zone.
    fn cleans_up_itself(&self) -> bool {
        false
    }

    /// Takes this one record away; also one that is not there. Ends in bounded time.
    async fn remove(&self, record: &PlacedRecord) -> Result<(), Dns01Error>;

    /// Finds out whether `place` would do it, and changes no zone; nothing is kept of a name that no certificate wants.
    /// Says in what way, as the end of a sentence.
    async fn rehearse(&self, record: &PlacedRecord, is_wanted: bool) -> Result<String, Dns01Error>;
}
