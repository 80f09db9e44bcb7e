//! What handshakes have asked for and no longer do.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::certificate::ON_DEMAND_DIRECTORY;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::gateway::control_plane::ControlPlane;
use crate::inventory::{InventoryError, Source, UseRecord};

/// The time until the next look.
pub(super) fn pause(config: &Config) -> Duration {
    (unused_after(config) / PARTS).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
}

impl ControlPlane {
    /// Writes down which certificates were used, and removes those that were not for too long.
    pub(super) async fn sweep_unused(&self) -> Result<(), InventoryError> {
        let after = unused_after(&self.config.load());
        let used = self.data_plane.demands.take_used();
        let known = self.inventory.uses().await?;
        let now = self.clock.now();
        let is_stale = |record: &&UseRecord| now.since(record.last_used) >= after / PARTS;
        let stale = known.iter().filter(is_stale);
        let (used, unused): (Vec<_>, Vec<_>) = stale.partition(|record| used.contains(&record.certificate));
        let used: Vec<_> = used
            .into_iter()
            .map(|record| record.certificate.clone())
            .collect();
        self.inventory.note_uses(&used, now).await?;
        let over = unused
            .into_iter()
            .filter(|record| is_over(record.last_used, self.started_at, now, after));
        let over: Vec<_> = over
            .map(|UseRecord { certificate, last_used }| {
                tracing::info!(%certificate, %last_used, "removed: no handshake has asked for it for {} s", after.as_secs());
                certificate.clone()
            })
            .collect();
        match over.is_empty() {
            true => Ok(()),
            false => self.forget_on_demand(&over).await,
        }
    }

    /// Removes certificates that were obtained on demand and are not wanted: those that a crash has left in the midst of
    /// being forgotten.
    pub(super) async fn remove_leftovers(&self) -> Result<(), InventoryError> {
        let prefix = format!("{ON_DEMAND_DIRECTORY}/");
        let (mut stored, mut after): (Vec<_>, _) = (Vec::new(), None);
        loop {
            let page = self.inventory.certificates_after(&prefix, after.as_ref(), PAGE);
            let records = page.await?.records;
            let is_last = records.len() < PAGE;
            after = records.last().map(|record| record.value.name.clone());
            let issued = records
                .into_iter()
                .filter(|record| record.value.source == Source::Issued);
            stored.extend(issued.map(|record| record.value.name));
            if is_last {
                break;
            }
        }
        // Read after them: whatever is stored was wanted before.
        let wanted = self.inventory.uses().await?;
        let wanted: BTreeSet<_> = wanted.into_iter().map(|record| record.certificate).collect();
        for name in stored.iter().filter(|name| !wanted.contains(*name)) {
            self.inventory.remove_certificate(name).await?;
        }
        Ok(())
    }
}

/// One certificate serves all listeners, so the one that keeps it longest decides.
fn unused_after(config: &Config) -> Duration {
    let on_demand = config
        .listeners
        .values()
        .filter_map(|listener| listener.on_demand.as_ref());
    let longest = on_demand.map(|on_demand| on_demand.unused_after).max();
    longest.unwrap_or(LONG_ENOUGH)
}

/// Whether a certificate that was `last_used` then is to be removed. While the gateway was down nobody could ask for it,
/// so after a start there is some time for that.
fn is_over(last_used: Timestamp, started_at: Timestamp, now: Timestamp, after: Duration) -> bool {
    // A use is written down when it is later than the one before by a part.
    now.since(last_used) > after + after / PARTS && now.since(started_at) > after.min(GRACE)
}

/// Looks in the time in which a certificate may be unused.
const PARTS: u32 = 8;
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
const GRACE: Duration = Duration::from_secs(86_400);
/// Where no listener says it any more.
const LONG_ENOUGH: Duration = Duration::from_secs(30 * 86_400);

const PAGE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_over_when_it_was_not_asked_for_while_somebody_could_have() {
        const HOUR: Duration = Duration::from_secs(3600);
        const DAY: Duration = Duration::from_secs(86_400);
        let used = Timestamp::from_unix_seconds(1_800_000_000);
        let is_over = |used_ago: Duration, up: Duration, after| {
            let now = used + used_ago;
            is_over(used, now - up, now, after)
        };
        assert!(!is_over(29 * DAY, 60 * DAY, 30 * DAY));
        assert!(
            !is_over(31 * DAY, 60 * DAY, 30 * DAY),
            "the last use may not have been written down"
        );
        assert!(is_over(34 * DAY, 60 * DAY, 30 * DAY));
        assert!(!is_over(40 * DAY, 2 * HOUR, 30 * DAY), "it has just come back");
        assert!(is_over(40 * DAY, 25 * HOUR, 30 * DAY));
        assert!(is_over(2 * HOUR, 2 * HOUR, HOUR));
        assert!(!is_over(2 * HOUR, HOUR / 2, HOUR));
    }
}
