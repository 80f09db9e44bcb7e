//! Zones: where they begin, and the servers that speak for them.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use futures_util::future::{join_all, select_ok};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

use super::evidence::LookupFailure;
use super::presentation::written;
use super::question::{Manner, Reply, ask};
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
        if let Some((apex, addresses)) = self.configured_apex(name) {
            return self.zone_at(apex, Some(addresses)).await;
        }
        if let Some(known) = self.unreached(name) {
            return Some(self.handed_on(known, name).await);
        }
        match self.apex(name).await {
            Ok(apex) => self.zone_at(&apex?, None).await,
            // A resolver fails where no server of the zone answers it, and above that there may be some that do.
            Err(_) => self.zone_out_of_reach(name).await,
        }
    }

    /// The zone that begins at `apex`.
    pub(super) async fn zone_at(&self, apex: &Name, configured: Option<&Vec<SocketAddr>>) -> Option<Zone> {
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
    pub(super) fn configured_apex(&self, name: &Name) -> Option<(&Name, &Vec<SocketAddr>)> {
        let holds = |(apex, _): &(&Name, &Vec<SocketAddr>)| apex.zone_of(name);
        let found = self.name_servers.iter().filter(holds);
        found.max_by_key(|(apex, _)| apex.num_labels())
    }

    /// The owner of the SOA record that answers for `name`, where one does.
    pub(super) async fn apex(&self, name: &Name) -> Result<Option<Name>, LookupFailure> {
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
        self.servers_in(&reply.records, &[]).await
    }

    /// The addresses of those that NS records name, and how many are left out. For names that have an address in `glue` no
    /// resolver is asked: to find it, that would need the server itself.
    pub(super) async fn servers_in(&self, records: &[Record], glue: &[Record]) -> (Vec<NameServer>, usize) {
        let mut names: Vec<Name> = records
            .iter()
            .filter_map(|record| match &record.data {
                RData::NS(name) => Some(name.0.to_lowercase()),
                _ => None,
            })
            .collect();
        let nameless = names.len().saturating_sub(self.most_servers);
        names.truncate(self.most_servers);
        let found = names.iter().map(|name| async move {
            let of_it = glue.iter().filter(|record| record.name == *name);
            let known: Vec<_> = of_it.filter_map(address_in).collect();
            match known.is_empty() {
                true => self.addresses_of(name).await,
                false => known,
            }
        });
        let found = join_all(found).await;
        let found = names.iter().map(written).zip(found);
        let (servers, left_out) = by_turns(found, self.port, self.most_servers);
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
    pub(super) async fn any_resolver(&self, name: &Name, record: RecordType) -> Result<Reply, LookupFailure> {
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
fn by_turns(
    found: impl Iterator<Item = (String, Vec<IpAddr>)>,
    port: u16,
    most: usize,
) -> (Vec<NameServer>, usize) {
    let mut by_turns = BTreeSet::new();
    for (name, addresses) in found {
        for (turn, address) in addresses.into_iter().enumerate() {
            let server = NameServer {
                name: Some(name.clone()),
                address: SocketAddr::new(address, port),
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

/// Where the servers of zones listen.
pub(super) const DNS_PORT: u16 = 53;

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
        let (all, left_out) = by_turns(found(), DNS_PORT, 32);
        assert_eq!((all.len(), left_out), (24, 0));
        let (some, left_out) = by_turns(found(), DNS_PORT, 13);
        assert_eq!((some.len(), left_out), (13, 11));
        let names: BTreeSet<_> = some.iter().map(|server| &server.name).collect();
        assert_eq!(
            names.len(),
            12,
            "each name comes before the second address of any"
        );
    }
}
