//! Records that attempts have left in zones: taken away by whoever can, and shown to the operator until they are gone.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::sync::watch;

use crate::cause::with_causes;
use crate::config::{Config, DnsProvider};
use crate::dns01::{self, Leftover};
use crate::gateway::control_plane::ControlPlane;
use crate::gateway::zones;
use crate::inventory::{InventoryError, PlacedRecord};

/// Removes what attempts have left in zones, at the start that what a crash has left, and goes on until told to stop.
pub(super) async fn keep_clean(control: Arc<ControlPlane>, mut stop: watch::Receiver<bool>) {
    let mut desired = control.desired.subscribe();
    let mut pause = FIRST_PAUSE;
    loop {
        desired.mark_unchanged();
        let left = control.sweep().await.unwrap_or_else(|error| {
            vec![format!(
                "what is left in zones is not known: {}",
                with_causes(&error)
            )]
        });
        pause = match left.is_empty() {
            true => FIRST_PAUSE,
            false => LONGEST_PAUSE.min(pause * 2),
        };
        control.note_leftovers(left);
        tokio::select! {
            // Ends by the word, or with whoever could give it.
            _ = stop.wait_for(|stop| *stop) => return,
            // A changed configuration may have the provider that was missing.
            changed = desired.changed() => match changed {
                Ok(()) => pause = FIRST_PAUSE,
                Err(_) => return,
            },
            () = tokio::time::sleep(pause) => {}
        }
    }
}

impl ControlPlane {
    /// What is left in zones, each with what to do about it.
    pub(super) fn leftovers(&self) -> Vec<String> {
        self.leftovers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn note_leftovers(&self, left: Vec<String>) {
        let mut known = self.leftovers.lock().unwrap_or_else(PoisonError::into_inner);
        for line in left.iter().filter(|line| !known.contains(line)) {
            tracing::warn!("{line}");
        }
        *known = left;
    }

    /// Has removed what can be removed; gives what is left, in words. A server that does not answer holds back no records
    /// but its own.
    async fn sweep(&self) -> Result<Vec<String>, InventoryError> {
        let config = self.config.load_full();
        let mut by_issuer = BTreeMap::<_, Vec<_>>::new();
        for record in self.inventory.placed_records().await? {
            let issuer = responsible(&config, &record);
            by_issuer.entry(issuer).or_default().push(record);
        }
        let sweeps = by_issuer.into_iter().map(|(issuer, records)| {
            let config = &config;
            async move {
                match issuer {
                    Some(issuer) => Ok(self.sweep_of(config, issuer, &records).await),
                    None => self.look_after(config, &records).await,
                }
            }
        });
        let left = try_join_all(sweeps).await?;
        Ok(left.into_iter().flatten().collect())
    }

    async fn sweep_of(&self, config: &Config, issuer: &str, records: &[PlacedRecord]) -> Vec<String> {
        match zones::dns01(config, issuer, &self.inventory, &self.clock, &self.claims) {
            Some(zones) => zones.sweep(records).await.iter().map(stuck).collect(),
            None => Vec::new(),
        }
    }

    /// Forgets those of `records`, which nobody can take away, that somebody has.
    async fn look_after(
        &self,
        config: &Config,
        records: &[PlacedRecord],
    ) -> Result<Vec<String>, InventoryError> {
        let mut left = Vec::new();
        for record in records {
            match dns01::is_gone(config.gateway.as_ref(), &self.claims, record).await {
                true => self.inventory.forget_placed_record(record).await?,
                false => left.push(orphaned(record)),
            }
        }
        Ok(left)
    }
}

/// The issuer that can take `record` away: the one that has put it there, or one that works in the same way; else the
/// first, in the way it works now.
fn responsible<'c>(config: &'c Config, record: &PlacedRecord) -> Option<&'c str> {
    let suited = config.issuers.keys().filter_map(|issuer| {
        let provider = &zones::provider(config, issuer)?.provider;
        let works_the_same = provider.to_string() == record.provider;
        // One that never removes anything would only forget it.
        let rank = match (works_the_same, *issuer == record.issuer) {
            _ if matches!(provider, DnsProvider::AcmeDns(_)) => None,
            (true, true) => Some(0),
            (true, false) => Some(1),
            (false, true) => Some(2),
            (false, false) => None,
        };
        Some((rank?, issuer.as_str()))
    });
    suited.min().map(|(_, issuer)| issuer)
}

fn orphaned(record: &PlacedRecord) -> String {
    let PlacedRecord {
        issuer,
        domain,
        zone,
        provider,
        ..
    } = record;
    format!(
        "a TXT record that `{issuer}` has put into the zone {zone} to prove the right to {domain} is still there, and no \
         issuer takes it away: none has `dns` by {provider} any more. Configure one, or remove: {}",
        record.written()
    )
}

fn stuck(leftover: &Leftover) -> String {
    let Leftover { record, reason } = leftover;
    format!(
        "a TXT record that `{}` has put into the zone {} to prove the right to {} could not be taken away, which is \
         tried again: {reason}. Mend that, or remove: {}",
        record.issuer,
        record.zone,
        record.domain,
        record.written()
    )
}

const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
