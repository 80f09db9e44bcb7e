//! Answers to dns-01: for each issuer with a provider, beside those that the listeners give.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::cause::with_causes;
use crate::clock::Clock;
use crate::config::{ChallengeType, Config, Dns01Config, IssuerConfig};
use crate::dns::DomainVerdict;
use crate::dns01::{Answer, Claims, Dns01, Dns01Error, VALUES_KEPT};
use crate::inventory::Inventory;
use crate::issuer::{Challenge, ChallengeSolver, Round, SolveError};
use crate::name::DnsName;

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

/// The verdicts with what the provider of dns-01 would do for each.
pub(super) async fn rehearsed(
    zones: &Dns01,
    mut verdicts: Vec<DomainVerdict>,
    is_wanted: bool,
) -> Vec<DomainVerdict> {
    let by_dns01 = |verdict: &DomainVerdict| verdict.challenges.contains(&ChallengeType::Dns01);
    let concerned = verdicts.iter().filter(|verdict| by_dns01(verdict));
    let domains = concerned.map(|verdict| verdict.domain.base().clone()).collect();
    let mut ways = zones.rehearse(domains, is_wanted).await.into_iter();
    for verdict in verdicts.iter_mut().filter(|verdict| by_dns01(verdict)) {
        match ways.next() {
            Some(Ok(way)) => verdict
                .notes
                .push(format!("{}: {way}", ChallengeType::Dns01.word())),
            Some(Err(error)) => {
                *verdict = verdict
                    .clone()
                    .without_dns01(&with_causes(&error), error.remedy());
            }
            None => {}
        }
    }
    verdicts
}

/// Waits until nothing is in use in zones any more, where that does not take long: what is left then is removed at the
/// next start.
pub(super) async fn settle(claims: &Claims) {
    let _ = tokio::time::timeout(LAST_CLEANING, claims.settled()).await;
}

#[async_trait]
impl ChallengeSolver for WithZones {
    async fn round(&self, challenges: &[Challenge]) -> Result<Round, (DnsName, SolveError)> {
        let mut together = Vec::new();
        let mut values = BTreeMap::<String, usize>::new();
        for challenge in challenges {
            let owner = match challenge.kind {
                ChallengeType::Dns01 => self.zones.narrow_owner(&challenge.domain).await,
                _ => Ok(None),
            };
            if let Some(owner) = owner.map_err(|error| (challenge.domain.clone(), unsolved(error)))? {
                let values = values.entry(owner).or_default();
                if *values == VALUES_KEPT {
                    continue;
                }
                *values += 1;
            }
            together.push(challenge.clone());
        }
        Ok(Round {
            challenges: together,
            turn: Box::new(self.zones.turn(values.into_keys().collect()).await),
        })
    }

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

const LAST_CLEANING: Duration = Duration::from_secs(10);
