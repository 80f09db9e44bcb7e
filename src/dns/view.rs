//! Points of view: what one resolver says, and what the servers of the zones themselves say.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use hickory_resolver::config::ResolverConfig;
use hickory_resolver::proto::dnssec::rdata::DNSSECRData;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::evidence::{AUTHORITATIVE, LookupFailure};
use super::presentation::{absolute, fully_qualified, written};
use super::question::{Manner, Reply, SERVFAIL, ask, is_out_of_reach};
use super::zone::{DNS_PORT, NameServer, Zone};
use crate::config::GatewayConfig;
use crate::name::DnsName;

/// Everything that one check asks, until its deadline. Nothing is remembered longer.
pub(super) struct Questions {
    pub(super) resolvers: Vec<SocketAddr>,
    pub(super) name_servers: BTreeMap<Name, Vec<SocketAddr>>,
    pub(super) deadline: Instant,
    /// How many servers of a zone are asked.
    pub(super) most_servers: usize,
    /// Where the servers of zones listen that the configuration does not name.
    pub(super) port: u16,
    zones: Arc<Mutex<HashMap<Name, Option<Zone>>>>,
    /// Zones for which no resolver has an answer.
    unreached: Arc<Mutex<HashMap<Name, Zone>>>,
    /// Servers that have not answered. They are not waited for again.
    silent: Arc<Mutex<HashMap<SocketAddr, LookupFailure>>>,
    /// The last failure of each server, as one of a zone, for the name that this is about.
    troubles: Mutex<HashMap<(Name, SocketAddr), LookupFailure>>,
    /// The names for which a resolver had an answer.
    resolved: Mutex<BTreeSet<Name>>,
    turns: Arc<Semaphore>,
}

/// Who is asked.
#[derive(Clone, Debug)]
pub(super) enum View {
    /// The servers of the zone that the checked name is in, and of those that its aliases lead to.
    Authoritative(Zone),
    /// One resolver.
    Resolver(SocketAddr),
}

/// What one server said.
pub(super) struct Voice {
    pub(super) by: String,
    pub(super) said: Result<Reply, LookupFailure>,
}

impl View {
    /// How it is called in verdicts.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Authoritative(_) => AUTHORITATIVE.to_owned(),
            Self::Resolver(address) => address.to_string(),
        }
    }
}

impl Questions {
    /// Prepares to ask the resolvers of `gateway`, or those of `/etc/resolv.conf` when it names none. The file is
    /// read each time, so a changed one needs no restart.
    ///
    /// # Errors
    /// Why there is nobody to ask.
    pub(super) fn new(gateway: &GatewayConfig, deadline: Instant) -> Result<Self, String> {
        let resolvers = match gateway.resolvers.as_slice() {
            [] => {
                let (config, _) = read_system_conf().map_err(|error| error.to_string())?;
                system_resolvers(&config)
            }
            resolvers => resolvers.to_vec(),
        };
        let name_servers = gateway.name_servers.iter();
        let name_servers = name_servers.filter_map(|(zone, servers)| {
            // A name that was checked is one that the library takes, too.
            Some((fully_qualified(zone.as_str()).ok()?, servers.clone()))
        });
        Ok(Self {
            resolvers,
            name_servers: name_servers.collect(),
            deadline,
            most_servers: SERVERS_OF_A_CHECK,
            port: DNS_PORT,
            zones: Arc::default(),
            unreached: Arc::default(),
            silent: Arc::default(),
            troubles: Mutex::default(),
            resolved: Mutex::default(),
            turns: Arc::new(Semaphore::new(QUESTIONS_AT_A_TIME)),
        })
    }

    /// The same, with as many as `most` servers of a zone.
    pub(super) fn of_servers(mut self, most: usize) -> Self {
        self.most_servers = most;
        self
    }

    /// The same, with as many questions at a time as `turns` has, together with others who take them.
    pub(super) fn taking_turns(mut self, turns: Arc<Semaphore>) -> Self {
        self.turns = turns;
        self
    }

    /// The same for one name of several: what goes wrong for it is its own.
    pub(super) fn of_one_name(&self) -> Self {
        Self {
            resolvers: self.resolvers.clone(),
            name_servers: self.name_servers.clone(),
            deadline: self.deadline,
            most_servers: self.most_servers,
            port: self.port,
            zones: self.zones.clone(),
            unreached: self.unreached.clone(),
            silent: self.silent.clone(),
            troubles: Mutex::default(),
            resolved: Mutex::default(),
            turns: self.turns.clone(),
        }
    }

    pub(super) fn zones(&self) -> MutexGuard<'_, HashMap<Name, Option<Zone>>> {
        lock(&self.zones)
    }

    /// The nearest zone that holds `name` of those for which no resolver has an answer.
    pub(super) fn unreached(&self, name: &Name) -> Option<Zone> {
        let zones = lock(&self.unreached);
        nearest(zones.values(), name).cloned()
    }

    pub(super) fn note_unreached(&self, zone: &Zone) {
        lock(&self.unreached).insert(zone.apex.clone(), zone.clone());
    }

    /// The zone that holds `name`, where none of its servers has said anything. Where a resolver has an answer for one of its
    /// names, they may only be out of reach from here.
    pub(super) fn silent_zone(&self, name: &Name) -> Option<Zone> {
        let (zones, unreached) = (self.zones(), lock(&self.unreached));
        let zone = nearest(zones.values().flatten().chain(unreached.values()), name)?;
        let is_resolved = !unreached.contains_key(&zone.apex)
            && lock(&self.resolved).iter().any(|name| zone.apex.zone_of(name));
        let mut servers = zone.servers.iter();
        let is_silent = servers.all(|server| self.trouble(zone, server).is_some());
        (is_silent && !is_resolved).then(|| zone.clone())
    }

    /// Whether `server` has not answered before.
    pub(super) fn is_silent(&self, server: &NameServer) -> bool {
        lock(&self.silent).contains_key(&server.address)
    }

    /// Takes note of who has not answered, unless there was no time left to wait for it.
    pub(super) fn note_silence(&self, server: &NameServer, failure: &LookupFailure) {
        if self.is_late() {
            return;
        }
        lock(&self.silent).insert(server.address, failure.clone());
    }

    fn is_late(&self) -> bool {
        Instant::now() >= self.deadline
    }

    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed, which alone would be an error.
        self.turns.acquire().await.ok()
    }

    /// Asks everybody that `view` stands for.
    pub(super) async fn hear(&self, view: &View, name: &Name, record: RecordType) -> Vec<Voice> {
        match view {
            View::Resolver(resolver) => vec![self.hear_resolver(*resolver, name, record).await],
            View::Authoritative(zone) if zone.apex.zone_of(name) => self.hear_zone(zone, name, record).await,
            View::Authoritative(_) => match self.zone(name).await {
                Some(zone) => self.hear_zone(&zone, name, record).await,
                None => self.hear_resolvers(name, record).await,
            },
        }
    }

    /// Asks every resolver.
    pub(super) async fn hear_resolvers(&self, name: &Name, record: RecordType) -> Vec<Voice> {
        let asked = self.resolvers.iter();
        join_all(asked.map(|resolver| self.hear_resolver(*resolver, name, record))).await
    }

    /// What went wrong with a server when it was asked as one of `zone`.
    pub(super) fn trouble(&self, zone: &Zone, server: &NameServer) -> Option<LookupFailure> {
        lock(&self.troubles)
            .get(&(zone.apex.clone(), server.address))
            .cloned()
    }

    async fn hear_zone(&self, zone: &Zone, name: &Name, record: RecordType) -> Vec<Voice> {
        let asked = zone.servers.iter();
        join_all(asked.map(|server| self.hear_server(zone, server, name, record))).await
    }

    async fn hear_server(&self, zone: &Zone, server: &NameServer, name: &Name, record: RecordType) -> Voice {
        let _turn = self.turn().await;
        let known = lock(&self.silent).get(&server.address).cloned();
        let said = match known {
            Some(failure) => Err(failure),
            None => ask(server.address, name, record, Manner::Authoritative, self.deadline).await,
        };
        if let Err(failure) = &said {
            if is_silence(failure) {
                self.note_silence(server, failure);
            }
            if !self.is_late() {
                lock(&self.troubles).insert((zone.apex.clone(), server.address), failure.clone());
            }
        }
        Voice {
            by: server.to_string(),
            said,
        }
    }

    async fn hear_resolver(&self, resolver: SocketAddr, name: &Name, record: RecordType) -> Voice {
        let _turn = self.turn().await;
        let mut said = ask(resolver, name, record, Manner::Recursive, self.deadline).await;
        if let Err(LookupFailure::ResponseCode { code, explanation }) = &said
            && code == SERVFAIL
            && !explanation.as_deref().is_some_and(is_out_of_reach)
            && let Some(bogus) = self.bogus(resolver, name, record, explanation.clone()).await
        {
            // What has come in meanwhile was late, and not wrong.
            said = match ask(resolver, name, record, Manner::Recursive, self.deadline).await {
                Err(LookupFailure::ResponseCode { .. }) => Err(bogus),
                said => said,
            };
        }
        if said.is_ok() {
            lock(&self.resolved).insert(name.clone());
        }
        Voice {
            by: resolver.to_string(),
            said,
        }
    }

    /// Whether the resolver would answer if it did not check signatures: then it is these that are wrong.
    async fn bogus(
        &self,
        resolver: SocketAddr,
        name: &Name,
        record: RecordType,
        explanation: Option<String>,
    ) -> Option<LookupFailure> {
        let unchecked = |name: Name, record| async move {
            ask(resolver, &name, record, Manner::Unchecked, self.deadline).await
        };
        unchecked(name.clone(), record).await.ok()?;
        let soa = unchecked(name.clone(), RecordType::SOA).await.ok();
        let zone = soa.and_then(|reply| {
            let mut records = reply.records.into_iter().chain(reply.authorities);
            records.find(|found| found.record_type() == RecordType::SOA && found.name.zone_of(name))
        });
        let zone = zone.map_or_else(|| name.clone(), |soa| soa.name);
        let ds = unchecked(zone.clone(), RecordType::DS).await;
        Some(LookupFailure::Bogus {
            zone: written(&zone),
            ds: ds
                .iter()
                .flat_map(|reply| &reply.records)
                .filter_map(delegation_signer)
                .map(|data| format!("{} IN DS {data}", absolute(&written(&zone))))
                .collect(),
            explanation,
        })
    }
}

/// Whether there was no answer at all.
pub(super) fn is_silence(failure: &LookupFailure) -> bool {
    matches!(
        failure,
        LookupFailure::TimedOut | LookupFailure::Unreachable { .. }
    )
}

/// The failure to tell of where nobody answered: the one that says most.
pub(super) fn telling(failures: Vec<LookupFailure>) -> LookupFailure {
    let weight = |failure: &LookupFailure| match failure {
        LookupFailure::Bogus { .. } => 0,
        LookupFailure::ResponseCode { .. } => 1,
        LookupFailure::TimedOut | LookupFailure::Unreachable { .. } => 2,
        // Only where it is the same with all of them.
        LookupFailure::Referral | LookupFailure::Lame { .. } => 3,
    };
    let first = failures.into_iter().min_by_key(weight);
    first.unwrap_or(LookupFailure::TimedOut)
}

/// The name of a configured zone or of a certificate as the library has it.
pub(super) fn name_of(name: &DnsName) -> Result<Name, LookupFailure> {
    fully_qualified(name.as_str()).map_err(|error| LookupFailure::Unreachable {
        cause: error.to_string(),
    })
}

/// Of `zones`, the one that `name` is in.
fn nearest<'z>(zones: impl Iterator<Item = &'z Zone>, name: &Name) -> Option<&'z Zone> {
    zones
        .filter(|zone| zone.apex.zone_of(name))
        .max_by_key(|zone| zone.apex.num_labels())
}

/// The data of a DS record in zone-file form (RFC 4034 §5.3).
fn delegation_signer(record: &Record) -> Option<String> {
    let RData::DNSSEC(DNSSECRData::DS(ds)) = &record.data else {
        return None;
    };
    let (tag, algorithm, kind) = (ds.key_tag(), u8::from(ds.algorithm()), u8::from(ds.digest_type()));
    let digest: String = ds.digest().iter().map(|byte| format!("{byte:02X}")).collect();
    Some(format!("{tag} {algorithm} {kind} {digest}"))
}

/// What these locks guard is whole after every statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn system_resolvers(config: &ResolverConfig) -> Vec<SocketAddr> {
    let resolvers: BTreeSet<SocketAddr> = config
        .name_servers()
        .iter()
        .map(|server| {
            let port = server
                .connections
                .first()
                .map_or(53, |connection| connection.port);
            SocketAddr::new(server.ip, port)
        })
        .collect();
    resolvers.into_iter().collect()
}

/// More than most zones have; a check need not hear them all.
const SERVERS_OF_A_CHECK: usize = 8;

/// For one check, whatever it is about.
pub(super) const QUESTIONS_AT_A_TIME: usize = 64;
