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
    /// way. What is in use is left alone; gives those that could not be removed.
    pub async fn sweep(&self, records: &[PlacedRecord]) -> Vec<Leftover> {
        let mut left = Vec::new();
        for record in records {
            let Some(_held) = self.claims.hold(&record.value) else {
                continue;
            };
            let taken = match record.provider == self.way {
                true => self.take_away(record).await,
                false => self.take_away_of_others(record).await,
            };
            if let Err(error) = taken {
                left.push(Leftover {
                    record: record.clone(),
                    reason: with_causes(&error),
                });
            }
        }
        left
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
