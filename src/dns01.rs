//! Answers to dns-01 challenges (RFC 8555 §8.4): TXT records, put where a CA's resolver looks, and taken away again.
//!
//! A [`Dns01`] serves one issuer. It finds out where `_acme-challenge.NAME` leads, has a provider put the record there,
//! waits until every server of the zone gives it, and has it removed. The store knows of a record before the zone does,
//! so what a crash leaves in a zone is removed at the next start ([`sweep`](Dns01::sweep)), by whoever can: an issuer may
//! have gone from the configuration meanwhile.

mod acme_dns;
mod claims;
mod error;
mod exchange;
mod exec;
mod propagation;
mod provider;
mod rehearsal;
mod rfc2136;
mod sweep;
mod turn;
mod update;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

pub use claims::Claims;
pub use error::Dns01Error;
pub use sweep::{Leftover, is_gone};
pub use turn::Turn;

use crate::clock::Clock;
use crate::config::{Dns01Config, DnsProvider, GatewayConfig};
use crate::dns::{Authorities, Place};
use crate::dns01::claims::Claimed;
use crate::dns01::propagation::{Progress, Round};
use crate::dns01::provider::Provider;
use crate::inventory::{Inventory, PlacedRecord, Secret};
use crate::name::DnsName;

/// Answers the dns-01 challenges of one issuer.
pub struct Dns01 {
    issuer: String,
    provider: Box<dyn Provider>,
    /// The provider's words in [`PlacedRecord::provider`].
    way: String,
    authorities: Authorities,
    propagation_timeout: Duration,
    inventory: Inventory,
    clock: Arc<dyn Clock>,
    claims: Claims,
}

/// What answers a challenge.
#[derive(Clone, Copy)]
pub struct Answer<'a> {
    /// The name to be validated, without `*.`.
    pub domain: &'a DnsName,
    /// What the record is to hold.
    pub value: &'a str,
    /// The challenge's token.
    pub token: &'a str,
    /// The challenge's key authorization.
    pub key_authorization: &'a str,
}

impl Dns01 {
    /// For the issuer called `issuer`. `claims` are those of the process, so that what replaces this one after a change
    /// of the configuration takes nothing away that is in use.
    pub fn new(
        issuer: &str,
        config: &Dns01Config,
        gateway: Option<&GatewayConfig>,
        inventory: Inventory,
        clock: Arc<dyn Clock>,
        claims: Claims,
    ) -> Self {
        let provider: Box<dyn Provider> = match &config.provider {
            DnsProvider::AcmeDns(config) => Box::new(acme_dns::AcmeDns::new(config, inventory.clone())),
            DnsProvider::Exec(config) => Box::new(exec::Exec::new(config)),
            DnsProvider::Rfc2136(config) => Box::new(rfc2136::Rfc2136::new(config, clock.clone())),
        };
        Self {
            issuer: issuer.to_owned(),
            provider,
            way: config.provider.to_string(),
            authorities: Authorities::new(gateway),
            propagation_timeout: config.propagation_timeout,
            inventory,
            clock,
            claims,
        }
    }

    /// The owner of the record for `domain`, where that has room for [`VALUES_KEPT`] values only: whoever places one has to
    /// have the [`turn`](Self::turn) there.
    ///
    /// # Errors
    /// [`Dns01Error`] that the challenge would meet.
    pub async fn narrow_owner(&self, domain: &DnsName) -> Result<Option<String>, Dns01Error> {
        self.provider.narrow_owner(domain).await
    }

    /// Waits for the turn at all of `owners`, in the order in which it was asked for in this process. It is kept until the
    /// records are removed.
    pub async fn turn(&self, owners: BTreeSet<String>) -> Turn {
        self.claims.turns().take(owners, REST).await
    }

    /// Has the record put into its zone.
    ///
    /// # Errors
    /// [`Dns01Error`]; [`remove`](Self::remove) has to be called all the same.
    pub async fn place(&self, answer: Answer<'_>) -> Result<(), Dns01Error> {
        self.claims.claim(answer.value).await;
        let place = self.authorities.place(&challenge_name(answer.domain)).await?;
        let record = self.record(answer, &place);
        if !self.provider.cleans_up_itself() {
            self.inventory.save_placed_record(&record).await?;
        }
        let claimed = Claimed { record, place };
        self.claims.remember(answer.value, claimed.clone());
        self.provider.place(&claimed.record).await?;
        tracing::debug!(
            owner = claimed.record.owner,
            zone = claimed.record.zone,
            "a TXT record was placed"
        );
        Ok(())
    }

    /// Waits until every server of the zone gives the record that was placed.
    ///
    /// # Errors
    /// [`Dns01Error::NotSeen`] names those that do not give it in time.
    pub async fn wait_until_seen(&self, answer: Answer<'_>) -> Result<(), Dns01Error> {
        let Some(Claimed { place, .. }) = self.claims.recall(answer.value) else {
            return Ok(());
        };
        if place.left_out > 0 {
            let (zone, left_out) = (&place.zone, place.left_out);
            tracing::warn!(zone, left_out, "the zone has more servers than are waited for");
        }
        let begun = tokio::time::Instant::now();
        let mut round = Round::first();
        loop {
            let sightings = self.authorities.sightings(&place, answer.value).await;
            match propagation::judge(&sightings, round) {
                Progress::Complete { unanswered } => {
                    if !unanswered.is_empty() {
                        let servers = unanswered.join("; ");
                        tracing::warn!(
                            owner = place.owner,
                            servers,
                            "going on without servers that say nothing of the record"
                        );
                    }
                    return Ok(());
                }
                Progress::Waiting { lagging } => {
                    if begun.elapsed() + round.pause() > self.propagation_timeout {
                        return Err(Dns01Error::NotSeen {
                            owner: place.owner,
                            servers: lagging,
                            seconds: self.propagation_timeout.as_secs(),
                        });
                    }
                    tokio::time::sleep(round.pause()).await;
                    round = round.next();
                }
            }
        }
    }

    /// Has the record taken out of its zone, if it was put there. What cannot be removed now is removed by a
    /// [`sweep`](Self::sweep).
    pub async fn remove(&self, value: &str) {
        if let Some(Claimed { record, .. }) = self.claims.recall(value) {
            // The next sweep tells of it if it is still there.
            let _ = self.take_away(&record).await;
        }
        self.claims.release(value);
    }

    fn record(&self, answer: Answer<'_>, place: &Place) -> PlacedRecord {
        PlacedRecord {
            issuer: self.issuer.clone(),
            provider: self.way.clone(),
            domain: answer.domain.clone(),
            owner: place.owner.clone(),
            zone: place.zone.clone(),
            value: answer.value.to_owned(),
            token: answer.token.to_owned(),
            key_authorization: Secret::new(answer.key_authorization.to_owned()),
            placed_at: self.clock.now(),
        }
    }
}

/// Where a CA looks (RFC 8555 §8.4).
fn challenge_name(domain: &DnsName) -> String {
    format!("_acme-challenge.{domain}")
}

/// Values that an owner of acme-dns has at a time.
pub const VALUES_KEPT: usize = 2;

/// Between the values of one order and those of the next: acme-dns tells the oldest by the second in which it came.
const REST: Duration = Duration::from_millis(1100);
