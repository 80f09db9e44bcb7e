//! An issuer's answers, the zones they go into, and a clock.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use certgate::cause::with_causes;
use certgate::clock::{Clock, ManualClock, SystemClock, Timestamp};
use certgate::config::{Dns01Config, DnsProvider, GatewayConfig, HmacAlgorithm, Rfc2136Config, TsigConfig};
use certgate::dns01::{Answer, Claims, Dns01};
use certgate::inventory::Inventory;
use certgate::name::DnsName;
use certgate_store::MemoryStore;

use crate::support::primary::{KEY, Kind, Primary};

/// The zone of most tests, and where its challenges are looked for.
pub(crate) const ZONE: &str = "example.test";
pub(crate) const OWNER: &str = "_acme-challenge.example.test";

/// Values as challenges have them.
pub(crate) const ONE: &str = "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0";
pub(crate) const OTHER: &str = "9uG7h3Xn6cWn9kSVLzVNvJuBSgoFvHR0Nq2LAqwhYAc";

/// What an issuer works with.
pub(crate) struct World {
    pub(crate) inventory: Inventory,
    pub(crate) gateway: GatewayConfig,
    pub(crate) config: Dns01Config,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) claims: Claims,
}

/// A server that holds [`ZONE`] and lets its key change it.
pub(crate) fn primary(kind: Kind) -> Primary {
    Primary::start(kind, &[(ZONE, "", true)])
}

/// Updates to `server`, signed with `key` of `key_file`.
pub(crate) fn rfc2136(server: SocketAddr, key: &str, key_file: PathBuf) -> DnsProvider {
    DnsProvider::Rfc2136(Rfc2136Config {
        server,
        tsig: TsigConfig {
            name: DnsName::parse(key).unwrap(),
            algorithm: HmacAlgorithm::Sha256,
            key_file,
        },
    })
}

impl World {
    /// Answers by updates to `primary`, which is the only server of [`ZONE`].
    pub(crate) fn of(primary: &Primary) -> Self {
        let provider = rfc2136(primary.address(), KEY, primary.key_file());
        Self::with(provider, &[(ZONE, &[primary.address()])])
    }

    /// Answers by `provider`; these servers speak for these zones, and the first one resolves.
    pub(crate) fn with(provider: DnsProvider, zones: &[(&str, &[SocketAddr])]) -> Self {
        let name_servers = zones
            .iter()
            .map(|(zone, servers)| (DnsName::parse(zone).unwrap(), servers.to_vec()));
        Self {
            inventory: Inventory::new(Arc::new(MemoryStore::new())),
            gateway: GatewayConfig {
                resolvers: vec![zones[0].1[0]],
                name_servers: name_servers.collect(),
                ..GatewayConfig::default()
            },
            config: Dns01Config {
                provider,
                propagation_timeout: Duration::from_secs(20),
            },
            clock: Arc::new(SystemClock),
            claims: Claims::default(),
        }
    }

    /// A clock that stands, so much after the right one.
    pub(crate) fn ahead(mut self, seconds: i64) -> Self {
        let now = SystemClock.now().unix_seconds();
        self.clock = Arc::new(ManualClock::new(Timestamp::from_unix_seconds(now + seconds)));
        self
    }

    /// Who answers, as a process that has just started has it.
    pub(crate) fn dns01(&self) -> Dns01 {
        Dns01::new(
            "ca",
            &self.config,
            Some(&self.gateway),
            self.inventory.clone(),
            self.clock.clone(),
            self.claims.clone(),
        )
    }

    /// What placing a record for `domain` brings.
    pub(crate) async fn place(&self, domain: &str, value: &str) -> Result<(), String> {
        let domain = DnsName::parse(domain).unwrap();
        let placed = self.dns01().place(answer(&domain, value)).await;
        placed.map_err(|error| with_causes(&error))
    }

    /// What waiting for it brings.
    pub(crate) async fn wait(&self, domain: &str, value: &str) -> Result<(), String> {
        let domain = DnsName::parse(domain).unwrap();
        let seen = self.dns01().wait_until_seen(answer(&domain, value)).await;
        seen.map_err(|error| with_causes(&error))
    }

    /// What would be done for `domain`, or the error.
    pub(crate) async fn rehearse(&self, domain: &str) -> Result<String, String> {
        self.rehearse_all(&[domain]).await.pop().unwrap()
    }

    /// The same for several names at once.
    pub(crate) async fn rehearse_all(&self, domains: &[&str]) -> Vec<Result<String, String>> {
        let domains = domains.iter().map(|domain| DnsName::parse(domain).unwrap());
        let rehearsed = self.dns01().rehearse(domains.collect(), true).await;
        let said = |one: Result<_, _>| one.map_err(|error| with_causes(&error));
        rehearsed.into_iter().map(said).collect()
    }

    /// Has removed what is known to be left; gives how many records could not be.
    pub(crate) async fn sweep(&self) -> usize {
        let records = self.inventory.placed_records().await.unwrap();
        self.dns01().sweep(&records).await.len()
    }

    /// How many records the store knows of.
    pub(crate) async fn known(&self) -> usize {
        self.inventory.placed_records().await.unwrap().len()
    }
}

fn answer<'a>(domain: &'a DnsName, value: &'a str) -> Answer<'a> {
    Answer {
        domain,
        value,
        token: "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ",
        key_authorization: "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ.9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI",
    }
}
