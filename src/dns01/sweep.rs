//! What attempts have left in zones.

use crate::cause::with_causes;
use crate::config::GatewayConfig;
use crate::dns::{Authorities, Seen};
use crate::dns01::{Claims, Dns01, Dns01Error};
use crate::inventory::PlacedRecord;

/// A record that could not be removed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Leftover {
    /// The record.
    pub record: PlacedRecord,
    /// Why it could not.
    pub reason: String,
}

impl Dns01 {
    /// Removes `records`, which earlier attempts have left in zones: its own, and those that were put there in the same
    /// way. What is in use is left alone; gives those that could not be removed and are not known to be gone.
    pub async fn sweep(&self, records: &[PlacedRecord]) -> Vec<Leftover> {
        let mut left = Vec::new();
        let mut silence = None;
        for record in records {
            let Some(_held) = self.claims.hold(&record.value) else {
                continue;
            };
            let taken = match (&silence, record.provider == self.way) {
                // A server that does not answer is not waited for as often as it has records.
                (Some(reason), _) => Err(String::clone(reason)),
                (None, true) => self.take_away(record).await.map_err(|error| {
                    let reason = with_causes(&error);
                    silence = error.is_silence().then(|| reason.clone());
                    reason
                }),
                (None, false) => self
                    .take_away_of_others(record)
                    .await
                    .map_err(|error| with_causes(&error)),
            };
            if let Err(reason) = taken
                && !self.is_forgotten(record).await
            {
                left.push(Leftover {
                    record: record.clone(),
                    reason,
                });
            }
        }
        left
    }

    /// Forgets a record that cannot be removed where somebody else has done it; not so early that it may yet have to come
    /// to the servers that are asked.
    async fn is_forgotten(&self, record: &PlacedRecord) -> bool {
        self.clock.now().since(record.placed_at) >= self.propagation_timeout
            && is_absent(&self.authorities, record).await
            && self.inventory.forget_placed_record(record).await.is_ok()
    }

    /// Has a record taken out of its zone that was put there in another way. What removes nothing there may say that all is
    /// well, so the zone's servers are asked.
    async fn take_away_of_others(&self, record: &PlacedRecord) -> Result<(), Dns01Error> {
        self.provider.remove(record).await?;
        if !is_absent(&self.authorities, record).await {
            return Err(Dns01Error::StillThere {
                owner: record.owner.clone(),
                placed_by: record.provider.clone(),
                asked: self.way.clone(),
            });
        }
        Ok(self.inventory.forget_placed_record(record).await?)
    }

    /// Has a record taken out of its zone, and forgets it.
    pub(super) async fn take_away(&self, record: &PlacedRecord) -> Result<(), Dns01Error> {
        let removed = match self.provider.remove(record).await {
            Ok(()) => self
                .inventory
                .forget_placed_record(record)
                .await
                .map_err(Into::into),
            Err(error) => Err(error),
        };
        removed.inspect_err(|error| {
            let (owner, error) = (&record.owner, with_causes(error));
            tracing::warn!(
                owner,
                error,
                "a TXT record could not be removed; it is tried again"
            );
        })
    }
}

/// Whether every server of its zone says that it has the record no more; not while it is in use.
pub async fn is_gone(gateway: Option<&GatewayConfig>, claims: &Claims, record: &PlacedRecord) -> bool {
    let Some(_held) = claims.hold(&record.value) else {
        return false;
    };
    is_absent(&Authorities::new(gateway), record).await
}

async fn is_absent(authorities: &Authorities, record: &PlacedRecord) -> bool {
    let Ok(place) = authorities.place(&record.owner).await else {
        return false;
    };
    let sightings = authorities.sightings(&place, &record.value).await;
    !sightings.is_empty() && sightings.iter().all(|sighting| sighting.seen == Seen::Absent)
}
