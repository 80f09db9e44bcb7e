//! Zones: where they begin, and the servers that speak for them.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use futures_util::future::{join_all, select_ok};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

use super::evidence::LookupFailure;
use super::presentation::written;
use super::question::{Manner, Reply, SERVFAIL, ask};
use super::view::Questions;

/// A zone and the servers that were asked about it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Zone {
    /// Where it begins (RFC 8499 §7, zone cut).
    pub(super) apex: Name,
    /// Its servers; never empty.
    pub(super) servers: Vec<NameServer>,
    /// How many addresses of servers are left out, for there are too many.
    pub(super) left_out: usize,
}

/// One address of a server of a zone.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct NameServer {
    /// Its name in the zone's NS record; absent where the configuration names a server that the zone does not.
    pub(super) name: Option<String>,
    pub(super) address: SocketAddr,
}

impl fmt::Display for NameServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) if self.address.port() == DNS_PORT => write!(f, "{name} ({})", self.address.ip()),
            // Several may be at one address, with ports of their own.
            Some(name) => write!(f, "{name} ({})", self.address),
            None => self.address.fmt(f),
        }
    }
}

impl Questions {
    /// The zone that `name` is in; `None` where that cannot be found out.
    pub(super) async fn zone(&self, name: &Name) -> Option<Zone> {
        let configured = self.configured_apex(name);
        let apex = match configured {
            Some((apex, _)) => apex.clone(),
            None => match self.apex(name).await {
                Ok(apex) => apex?,
                // A resolver fails so where no server of the zone answers it, and above that there may be some that do.
                Err(LookupFailure::ResponseCode { code, .. })
                    if code == SERVFAIL && name.num_labels() > 1 =>
                {
                    return Box::pin(self.zone_by_delegation(name)).await;
                }
                Err(_) => return None,
            },
        };
        self.zone_at(&apex, configured.map(|(_, addresses)| addresses))
            .await
    }

    /// The same for a name that is about to be made: no resolver is asked about it. The CA may ask the same one, and what
    /// that is told not to be there it remembers for longer than an order takes (RFC 2308 §5).
    pub(super) async fn zone_by_delegation(&self, name: &Name) -> Option<Zone> {
        if self.configured_apex(name).is_some() || name.num_labels() < 2 {
            return self.zone(name).await;
        }
        let mut zone = self.zone(&name.base_name()).await?;
        while let Some(below) = self.zone_below(&zone, name).await {
            zone = below;
        }
        Some(zone)
    }

    /// The zone below `zone` that `name` is in, by the word of the servers of `zone`.
    async fn zone_below(&self, zone: &Zone, name: &Name) -> Option<Zone> {
        let is_below = |record: &Record| {
            let owner = &record.name;
            *owner != zone.apex && zone.apex.zone_of(owner) && owner.zone_of(name)
        };
        let hands_on = |record: &&Record| record.record_type() == RecordType::NS && is_below(record);
        let asked = zone.servers.iter().map(|server| {
            Box::pin(async move {
                let _turn = self.turn().await;
                let record = RecordType::SOA;
                let reply = ask(server.address, name, record, Manner::Delegation, self.deadline).await?;
                match reply.authoritative || reply.authorities.iter().any(|record| hands_on(&record)) {
                    true => Ok(reply),
                    false => Err(LookupFailure::Referral),
                }
            })
        });
        let (reply, _) = select_ok(asked).await.ok()?;
        // A server may speak for the zone below as well, and then it hands nobody on.
        let mut own = reply.records.iter().chain(&reply.authorities);
        if let Some(own) = own.find(|record| record.record_type() == RecordType::SOA && is_below(record)) {
            return self.zone_at(&own.name.to_lowercase(), None).await;
        }
        let told: Vec<_> = reply.authorities.iter().filter(hands_on).cloned().collect();
        let apex = told.first()?.name.to_lowercase();
        let (servers, left_out) = self.servers_in(&told).await;
        (!servers.is_empty()).then_some(Zone {
            apex,
            servers,
            left_out,
        })
    }

    async fn zone_at(&self, apex: &Name, configured: Option<&Vec<SocketAddr>>) -> Option<Zone> {
        let known = self.zones().get(apex).cloned();
        if let Some(known) = known {
            return known;
        }
        let (mut servers, mut left_out) = self.servers(apex).await;
        if let Some(addresses) = configured {
            left_out = 0;
            servers = addresses
                .iter()
                .map(|address| named(*address, &servers))
                .collect();
        }
        let zone = (!servers.is_empty()).then(|| Zone {
            apex: apex.clone(),
            servers,
            left_out,
        });
        self.zones().insert(apex.clone(), zone.clone());
        zone
    }

    /// The nearest zone of `[gateway]`.
    fn configured_apex(&self, name: &Name) -> Option<(&Name, &Vec<SocketAddr>)> {
        let holds = |(apex, _): &(&Name, &Vec<SocketAddr>)| apex.zone_of(name);
        let found = self.name_servers.iter().filter(holds);
        found.max_by_key(|(apex, _)| apex.num_labels())
    }

    /// The owner of the SOA record that answers for `name`, where one does.
    async fn apex(&self, name: &Name) -> Result<Option<Name>, LookupFailure> {
        let mut current = name.clone();
        while !current.is_root() {
            let reply = self.any_resolver(&current, RecordType::SOA).await?;
            let soa = |records: &[Record]| {
                let mut owners = records
                    .iter()
                    .filter(|record| matches!(record.data, RData::SOA(_)))
                    .map(|record| &record.name);
                owners
                    .find(|owner| owner.zone_of(name) && !owner.is_root())
                    .cloned()
            };
            if let Some(apex) = soa(&reply.records).or_else(|| soa(&reply.authorities)) {
                return Ok(Some(apex.to_lowercase()));
            }
            // An alias answers with the other end's zone, and no alias stands where a zone begins.
            if reply.alias(&current).is_none() {
                return Ok(None);
            }
            current = current.base_name();
        }
        Ok(None)
    }

    /// The addresses of the servers of `apex`, and how many are left out.
    async fn servers(&self, apex: &Name) -> (Vec<NameServer>, usize) {
        let Ok(reply) = self.any_resolver(apex, RecordType::NS).await else {
            return (Vec::new(), 0);
        };
        self.servers_in(&reply.records).await
    }

    /// The addresses of those that NS records name, and how many are left out.
    async fn servers_in(&self, records: &[Record]) -> (Vec<NameServer>, usize) {
        let mut names: Vec<Name> = records
            .iter()
            .filter_map(|record| match &record.data {
                RData::NS(name) => Some(name.0.to_lowercase()),
                _ => None,
            })
            .collect();
        let nameless = names.len().saturating_sub(self.most_servers);
        names.truncate(self.most_servers);
        let found = join_all(names.iter().map(|name| self.addresses_of(name))).await;
        let found = names.iter().map(written).zip(found);
        let (servers, left_out) = by_turns(found, self.most_servers);
        (servers, left_out + nameless)
    }

    async fn addresses_of(&self, name: &Name) -> Vec<IpAddr> {
        let (a, aaaa) = tokio::join!(
            self.any_resolver(name, RecordType::A),
            self.any_resolver(name, RecordType::AAAA)
        );
        let records = [a, aaaa].into_iter().flatten().flat_map(|reply| reply.records);
        records.filter_map(|record| address_in(&record)).collect()
    }

    /// The first answer of any resolver.
    async fn any_resolver(&self, name: &Name, record: RecordType) -> Result<Reply, LookupFailure> {
        let asked = self.resolvers.iter().map(|resolver| {
            Box::pin(async move {
                let _turn = self.turn().await;
                ask(*resolver, name, record, Manner::Recursive, self.deadline).await
            })
        });
        select_ok(asked).await.map(|(reply, _)| reply)
    }
}

/// At most so many addresses of servers, and how many there are besides.
fn by_turns(found: impl Iterator<Item = (String, Vec<IpAddr>)>, most: usize) -> (Vec<NameServer>, usize) {
    let mut by_turns = BTreeSet::new();
    for (name, addresses) in found {
        for (turn, address) in addresses.into_iter().enumerate() {
            let server = NameServer {
                name: Some(name.clone()),
                address: SocketAddr::new(address, DNS_PORT),
            };
            // One address of each name comes before the second of any.
            by_turns.insert((turn, server));
        }
    }
    let left_out = by_turns.len().saturating_sub(most);
    let servers = by_turns.into_iter().map(|(_, server)| server);
    (servers.take(most).collect(), left_out)
}

/// A configured server under the name that the zone has for it, if it has one.
fn named(address: SocketAddr, known: &[NameServer]) -> NameServer {
    let known = known.iter().find(|server| server.address.ip() == address.ip());
    NameServer {
        name: known.and_then(|server| server.name.clone()),
        address,
    }
}

/// The address that a record holds.
pub(super) fn address_in(record: &Record) -> Option<IpAddr> {
    match &record.data {
        RData::A(address) => Some(address.0.into()),
        RData::AAAA(address) => Some(address.0.into()),
        _ => None,
    }
}

const DNS_PORT: u16 = 53;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_is_asked_up_to_a_bound_and_those_beyond_are_counted() {
        let found = || {
            (1..=12_u8).map(|number| {
                let address = |network: u8| IpAddr::from([192, 0, network, number]);
                (format!("ns{number:02}.example.com"), vec![address(2), address(3)])
            })
        };
        let (all, left_out) = by_turns(found(), 32);
        assert_eq!((all.len(), left_out), (24, 0));
        let (some, left_out) = by_turns(found(), 13);
        assert_eq!((some.len(), left_out), (13, 11));
        let names: BTreeSet<_> = some.iter().map(|server| &server.name).collect();
        assert_eq!(
            names.len(),
            12,
            "each name comes before the second address of any"
        );
    }
}
