//! Answers to dns-01: for each issuer with a provider, beside those that the listeners give; and what earlier attempts
//! have left in zones.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::sync::watch;

use crate::cause::with_causes;
use crate::clock::Clock;
use crate::config::{ChallengeType, Config, Dns01Config, IssuerConfig};
use crate::dns01::{Answer, Claims, Dns01, Dns01Error};
use crate::gateway::control_plane::ControlPlane;
use crate::inventory::Inventory;
use crate::issuer::{Challenge, ChallengeSolver, SolveError};

/// Gives answers by listeners and by zones.
pub(super) struct WithZones {
    pub(super) listeners: Arc<dyn ChallengeSolver>,
    pub(super) zones: Dns01,
}

/// Who answers dns-01 for `issuer` under `config`, if that has a provider.
pub(super) fn dns01(
    config: &Config,
    issuer: &str,
    inventory: &Inventory,
    clock: &Arc<dyn Clock>,
    claims: &Claims,
) -> Option<Dns01> {
    Some(Dns01::new(
        issuer,
        provider(config, issuer)?,
        config.gateway.as_ref(),
        inventory.clone(),
        clock.clone(),
        claims.clone(),
    ))
}

/// What `config` says of the zones of `issuer`.
pub(super) fn provider<'c>(config: &'c Config, issuer: &str) -> Option<&'c Dns01Config> {
    match config.issuers.get(issuer)? {
        IssuerConfig::Acme(acme) => acme.dns.as_deref(),
        IssuerConfig::LocalCa(_) => None,
    }
}

/// Removes what attempts have left in zones, at the start that what a crash has left, and goes on until told to stop.
pub(super) async fn keep_clean(control: Arc<ControlPlane>, mut stop: watch::Receiver<bool>) {
    let mut desired = control.desired.subscribe();
    let mut pause = FIRST_PAUSE;
    loop {
        desired.mark_unchanged();
        let left = sweep(&control).await;
        pause = match left {
            0 => FIRST_PAUSE,
            _ => LONGEST_PAUSE.min(pause * 2),
        };
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

/// Waits until nothing is in use in zones any more, where that does not take long: what is left then is removed at the
/// next start.
pub(super) async fn settle(claims: &Claims) {
    let _ = tokio::time::timeout(LAST_CLEANING, claims.settled()).await;
}

async fn sweep(control: &ControlPlane) -> usize {
    let records = match control.inventory.placed_records().await {
        Ok(records) => records,
        Err(error) => {
            tracing::warn!(error = with_causes(&error), "what is left in zones is not known");
            return 1;
        }
    };
    let config = control.config.load_full();
    let mut left = 0;
    let issuers: BTreeSet<_> = records.iter().map(|record| record.issuer.as_str()).collect();
    for issuer in issuers {
        let Some(zones) = dns01(
            &config,
            issuer,
            &control.inventory,
            &control.clock,
            &control.claims,
        ) else {
            for record in records.iter().filter(|record| record.issuer == issuer) {
                let (owner, value) = (&record.owner, &record.value);
                tracing::warn!(
                    issuer,
                    "remove by hand, for the issuer has no `dns` any more: {owner}. IN TXT \"{value}\""
                );
            }
            left += 1;
            continue;
        };
        match zones.sweep().await {
            Ok(failed) => left += failed,
            Err(error) => {
                left += 1;
                tracing::warn!(error = with_causes(&error), "what is left in zones is not known");
            }
        }
    }
    left
}

#[async_trait]
impl ChallengeSolver for WithZones {
    async fn present(&self, challenge: &Challenge) -> Result<(), SolveError> {
        match challenge.kind {
            ChallengeType::Dns01 => {
                let value = value(challenge);
                self.zones
                    .place(answer(challenge, &value))
                    .await
                    .map_err(unsolved)
            }
            _ => self.listeners.present(challenge).await,
        }
    }

    async fn in_force(&self, challenge: &Challenge) -> Result<(), SolveError> {
        match challenge.kind {
            ChallengeType::Dns01 => {
                let value = value(challenge);
                let seen = self.zones.wait_until_seen(answer(challenge, &value)).await;
                seen.map_err(unsolved)
            }
            _ => self.listeners.in_force(challenge).await,
        }
    }

    async fn clear(&self, challenge: &Challenge) {
        match challenge.kind {
            ChallengeType::Dns01 => self.zones.remove(&value(challenge)).await,
            _ => self.listeners.clear(challenge).await,
        }
    }
}

/// What the record holds (RFC 8555 §8.4).
fn value(challenge: &Challenge) -> String {
    URL_SAFE_NO_PAD.encode(challenge.digest)
}

fn answer<'a>(challenge: &'a Challenge, value: &'a str) -> Answer<'a> {
    Answer {
        domain: &challenge.domain,
        value,
        token: &challenge.token,
        key_authorization: &challenge.key_authorization,
    }
}

fn unsolved(error: Dns01Error) -> SolveError {
    SolveError {
        reason: with_causes(&error),
    }
}

const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
const LAST_CLEANING: Duration = Duration::from_secs(10);
