//! Asking: hickory's stub resolver with nothing remembered between two questions.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::ProtoError;
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{self, Name, RData};
use tokio::time::{Instant, timeout_at};

use super::evidence::{AddressAnswer, ChainEnd, Evidence, LookupFailure, MAX_CHAIN};
use crate::name::DnsName;

/// Asks one set of resolvers until a deadline.
pub(super) struct Questions {
    resolver: TokioResolver,
    deadline: Instant,
}

impl Questions {
    /// Prepares to ask `resolvers`, or those of `/etc/resolv.conf` when there are none. The file is read each
    /// time, so a changed one needs no restart.
    pub(super) fn new(resolvers: &[SocketAddr], deadline: Instant) -> Result<Self, NetError> {
        let mut builder = if resolvers.is_empty() {
            TokioResolver::builder_tokio()?
        } else {
            let servers = resolvers.iter().map(name_server).collect();
            let config = ResolverConfig::from_name_servers(servers);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        let options = builder.options_mut();
        options.attempts = RETRIES;
        options.cache_size = 0;
        options.timeout = PATIENCE;
        options.use_hosts_file = ResolveHosts::Never;
        Ok(Self {
            resolver: builder.build()?,
            deadline,
        })
    }

    /// Follows the CNAME records of `name` and asks for both address families at their end.
    pub(super) async fn trace(&self, name: &DnsName) -> Evidence {
        let mut chain = Vec::new();
        let end = match fully_qualified(name) {
            Ok(start) => self.follow(start, &mut chain).await,
            Err(error) => ChainEnd::Unanswered(LookupFailure::Unreachable {
                cause: error.to_string(),
            }),
        };
        Evidence { chain, end }
    }

    // The chain is walked link by link, because a resolver that follows it for us returns nothing at all for a
    // chain that leads nowhere, and where it breaks is what the operator needs to know.
    async fn follow(&self, start: Name, chain: &mut Vec<String>) -> ChainEnd {
        let mut met = BTreeSet::from([start.clone()]);
        let mut current = start;
        loop {
            let target = match self.ask(&current, rr::RecordType::CNAME).await {
                Ok(answer) => target_of(&answer, &current),
                Err(Unresolved::NoSuchName) => return ChainEnd::NoSuchName,
                Err(Unresolved::Unanswered(failure)) => return ChainEnd::Unanswered(failure),
            };
            let Some(target) = target else { break };
            if chain.len() == MAX_CHAIN {
                return ChainEnd::TooLong;
            }
            chain.push(written(&target));
            if !met.insert(target.clone()) {
                return ChainEnd::Loop;
            }
            current = target;
        }
        let (a, aaaa) = tokio::join!(
            self.addresses(&current, rr::RecordType::A),
            self.addresses(&current, rr::RecordType::AAAA)
        );
        ChainEnd::Addresses { a, aaaa }
    }

    async fn addresses(&self, name: &Name, record_type: rr::RecordType) -> AddressAnswer {
        match self.ask(name, record_type).await {
            Ok(answer) => AddressAnswer::Found(answer.iter().filter_map(address_in).collect()),
            Err(Unresolved::NoSuchName) => AddressAnswer::NoSuchName,
            Err(Unresolved::Unanswered(failure)) => AddressAnswer::Unanswered(failure),
        }
    }

    /// The records of the answer; none when the name exists without such a record.
    async fn ask(&self, name: &Name, record_type: rr::RecordType) -> Result<Vec<rr::Record>, Unresolved> {
        let question = self.resolver.lookup(name.clone(), record_type);
        match timeout_at(self.deadline, question).await {
            Ok(Ok(answer)) => Ok(Lookup::answers(&answer).to_vec()),
            Ok(Err(error)) if error.is_nx_domain() => Err(Unresolved::NoSuchName),
            Ok(Err(error)) if has_no_such_record(&error) => Ok(Vec::new()),
            Ok(Err(error)) => Err(Unresolved::Unanswered(failure(&error))),
            Err(_) => Err(Unresolved::Unanswered(LookupFailure::TimedOut)),
        }
    }
}

/// Why a question brought no records.
enum Unresolved {
    NoSuchName,
    Unanswered(LookupFailure),
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let mut udp = ConnectionConfig::udp();
    udp.port = address.port();
    let mut tcp = ConnectionConfig::tcp();
    tcp.port = address.port();
    NameServerConfig::new(address.ip(), true, vec![udp, tcp])
}

fn fully_qualified(name: &DnsName) -> Result<Name, ProtoError> {
    // Without the closing dot the search list of resolv.conf would be tried too.
    Name::from_ascii(format!("{name}."))
}

fn written(name: &Name) -> String {
    name.to_lowercase().to_ascii().trim_end_matches('.').to_owned()
}

fn target_of(answer: &[rr::Record], owner: &Name) -> Option<Name> {
    answer.iter().find_map(|record| match &record.data {
        RData::CNAME(target) if &record.name == owner => Some(target.0.clone()),
        _ => None,
    })
}

fn address_in(record: &rr::Record) -> Option<IpAddr> {
    match &record.data {
        RData::A(address) => Some(address.0.into()),
        RData::AAAA(address) => Some(address.0.into()),
        _ => None,
    }
}

fn has_no_such_record(error: &NetError) -> bool {
    matches!(
        error,
        NetError::Dns(DnsError::NoRecordsFound(found)) if found.response_code == ResponseCode::NoError
    )
}

fn failure(error: &NetError) -> LookupFailure {
    match error {
        NetError::Timeout => LookupFailure::TimedOut,
        NetError::Dns(DnsError::ResponseCode(code)) => LookupFailure::ResponseCode {
            code: mnemonic(*code),
        },
        other => LookupFailure::Unreachable {
            cause: other.to_string(),
        },
    }
}

fn mnemonic(code: ResponseCode) -> String {
    match code {
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        ResponseCode::FormErr => "FORMERR".to_owned(),
        other => other.to_string(),
    }
}

/// For one question to one set of resolvers; a resolver that has to walk from the root needs a second or two.
const PATIENCE: Duration = Duration::from_secs(2);

/// A lost datagram is asked for once more.
const RETRIES: usize = 1;
