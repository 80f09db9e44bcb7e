//! The zone's own primary server, by dynamic updates (RFC 2136) signed with a shared key (RFC 8945).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hickory_resolver::proto::op::Message;
use hickory_resolver::proto::rr::rdata::tsig::TsigAlgorithm;
use hickory_resolver::proto::rr::{Name, TSigner};
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::config::{HmacAlgorithm, Rfc2136Config, TsigConfig};
use crate::dns01::Dns01Error;
use crate::dns01::exchange::exchange;
use crate::dns01::provider::Provider;
use crate::dns01::update::{Asked, Change, Refusal, answers, refusal, update};
use crate::inventory::PlacedRecord;

/// A server that takes updates.
pub(super) struct Rfc2136 {
    config: Rfc2136Config,
    clock: Arc<dyn Clock>,
}

impl Rfc2136 {
    pub(super) fn new(config: &Rfc2136Config, clock: Arc<dyn Clock>) -> Self {
        Self {
            config: config.clone(),
            clock,
        }
    }

    async fn send(
        &self,
        record: &PlacedRecord,
        change: Change,
        patience: Duration,
    ) -> Result<(), Dns01Error> {
        let signer = signer(&self.config.tsig).await?;
        let now = self.clock.now();
        let seconds = u64::try_from(now.unix_seconds()).unwrap_or(0);
        let unwritable = |error: hickory_resolver::proto::ProtoError| Dns01Error::Unwritable {
            owner: record.owner.clone(),
            reason: error.to_string(),
        };
        let mut message = update(record, change).map_err(unwritable)?;
        let verifier = message.finalize(&signer, seconds).map_err(unwritable)?;
        let sent = message.to_vec().map_err(unwritable)?;
        let answer = exchange(self.config.server, &sent, patience)
            .await
            .map_err(|error| self.unreachable(record, &error))?;
        let parsed = Message::from_vec(&answer).map_err(|error| self.unreachable(record, &error))?;
        if !answers(&parsed, message.metadata.id) {
            return Err(self.unreachable(record, &"what came is no answer to it"));
        }
        // Before the signature: a refusal for want of the right key has none (RFC 8945 §5.2).
        let TsigConfig {
            name,
            algorithm,
            key_file,
        } = &self.config.tsig;
        let asked = Asked {
            record,
            key: name.as_str(),
            algorithm: algorithm.word(),
            key_file: &key_file.display().to_string(),
            now,
        };
        if let Some(Refusal { code, meaning }) = refusal(&parsed, asked) {
            return Err(Dns01Error::Refused {
                server: self.config.server.to_string(),
                zone: record.zone.clone(),
                code,
                meaning,
            });
        }
        let verified = verifier.map(|mut verifier| verifier.verify(&answer).map(drop));
        match verified {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(self.not_signed(record, &error)),
            None => Err(self.not_signed(record, &"nothing to compare it with")),
        }
    }

    fn unreachable(&self, record: &PlacedRecord, reason: &dyn std::fmt::Display) -> Dns01Error {
        Dns01Error::Unreachable {
            server: self.config.server.to_string(),
            zone: record.zone.clone(),
            owner: record.owner.clone(),
            reason: reason.to_string(),
        }
    }

    fn not_signed(&self, record: &PlacedRecord, reason: &dyn std::fmt::Display) -> Dns01Error {
        Dns01Error::NotSigned {
            server: self.config.server.to_string(),
            zone: record.zone.clone(),
            key: self.config.tsig.name.to_string(),
            reason: reason.to_string(),
        }
    }
}

#[async_trait]
impl Provider for Rfc2136 {
    async fn place(&self, record: &PlacedRecord) -> Result<(), Dns01Error> {
        self.send(record, Change::Add, PATIENCE).await
    }

    async fn remove(&self, record: &PlacedRecord) -> Result<(), Dns01Error> {
        self.send(record, Change::Remove, PATIENCE).await
    }

    // To remove what is not there takes the same right, and changes nothing.
    async fn rehearse(&self, record: &PlacedRecord, _is_wanted: bool) -> Result<String, Dns01Error> {
        self.send(record, Change::Remove, REHEARSAL_PATIENCE).await?;
        let Rfc2136Config { server, tsig } = &self.config;
        Ok(format!(
            "which {server} would take, signed with the key `{}`",
            tsig.name
        ))
    }
}

/// Signs with the key as it is in its file now.
async fn signer(config: &TsigConfig) -> Result<TSigner, Dns01Error> {
    let unusable = |reason: String| Dns01Error::Secret {
        file: config.key_file.clone(),
        reason,
    };
    let text = tokio::fs::read(&config.key_file).await;
    let text = text
        .map(Zeroizing::new)
        .map_err(|error| unusable(error.to_string()))?;
    let key = TsigConfig::decode(&text);
    let key = key.ok_or_else(|| unusable("there is no base64 key in it".to_owned()))?;
    let name = Name::from_ascii(format!("{}.", config.name)).map_err(|error| unusable(error.to_string()))?;
    let algorithm = match config.algorithm {
        HmacAlgorithm::Sha256 => TsigAlgorithm::HmacSha256,
        HmacAlgorithm::Sha384 => TsigAlgorithm::HmacSha384,
        HmacAlgorithm::Sha512 => TsigAlgorithm::HmacSha512,
    };
    TSigner::new(key.to_vec(), algorithm, name, FUDGE).map_err(|error| unusable(error.to_string()))
}

const PATIENCE: Duration = Duration::from_secs(10);

/// Before an order others wait, too.
const REHEARSAL_PATIENCE: Duration = Duration::from_secs(4);

/// Seconds that the two clocks may differ (RFC 8945 §10).
const FUDGE: u16 = 300;
