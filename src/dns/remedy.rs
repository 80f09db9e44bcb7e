//! The records that would make a name lead here, as they stand in a zone file.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::evidence::{AddressAnswer, ChainEnd, Dname, Evidence, RecordType};
use super::presentation::absolute;
use super::verdict::Target;

/// A change to a zone.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, schemars::JsonSchema, Serialize)]
#[serde(tag = "change", content = "record", rename_all = "kebab-case")]
pub enum Change {
    /// A record to add (RFC 1035 §5.1).
    Add(String),
    /// A record to take away.
    Remove(String),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add(record) => f.write_str(record),
            Self::Remove(record) => write!(f, "{REMOVE}{record}"),
        }
    }
}

/// Changes, each as [`Change`] is displayed, one after the other: in a line, what is to be added is to be told as well from
/// what is to be removed.
pub fn in_a_line(changes: &[String]) -> String {
    let told = changes.iter().map(|change| match change.starts_with(REMOVE) {
        true => change.clone(),
        false => format!("{ADD}{change}"),
    });
    told.collect::<Vec<_>>().join("; ")
}

const ADD: &str = "add: ";
const REMOVE: &str = "remove: ";

/// The changes to make, and another set that leads to the same, empty where there is none.
pub(super) fn remedy(name: &str, target: &Target, evidence: &Evidence) -> (Vec<Change>, Vec<Change>) {
    let Some(first_link) = evidence.chain.first() else {
        return at_the_name(name, target, evidence);
    };
    if let Some(hostname) = target.alias_in(evidence) {
        return at_the_hostname(hostname, target, evidence);
    }
    let remove = Change::Remove(link(name, first_link, evidence));
    let with = |changes: Vec<Change>| [vec![remove.clone()], changes].concat();
    let addresses = add_addresses(name, target.addresses.iter());
    // A name that is an alias already can be one of the hostname: no record stands beside it.
    let (first, other) = match (alias(name, target), addresses.is_empty()) {
        (Some(alias), true) => (with(vec![alias]), Vec::new()),
        (Some(alias), false) => (with(vec![alias]), with(addresses)),
        (None, _) => (with(addresses), Vec::new()),
    };
    let is_endless = matches!(evidence.end, ChainEnd::Loop | ChainEnd::TooLong);
    match evidence.dnames.contains_key(name) && !is_endless && evidence.last(name) != "." {
        // A DNAME record is that of every name below it: the one name at the other end is less to touch.
        true => (at_the_end(evidence.last(name), target, evidence), first),
        false => (first, other),
    }
}

fn at_the_name(name: &str, target: &Target, evidence: &Evidence) -> (Vec<Change>, Vec<Change>) {
    let found = addresses_of(evidence);
    let (own, foreign): (Vec<_>, Vec<_>) = found
        .iter()
        .partition(|address| target.addresses.contains(*address));
    let remove = |addresses: &[&IpAddr]| -> Vec<Change> {
        addresses
            .iter()
            .map(|address| Change::Remove(address_record(name, address)))
            .collect()
    };
    let mut changes = remove(&foreign);
    for family in [RecordType::A, RecordType::Aaaa] {
        let in_family = |address: &&&IpAddr| RecordType::of(***address) == family;
        let replaces = foreign.iter().any(|address| in_family(&address));
        let has_own = own.iter().any(|address| in_family(&address));
        if own.is_empty() || (replaces && !has_own) {
            changes.extend(add_addresses(name, target.of_type(family)));
        }
    }
    match alias(name, target) {
        Some(alias) if target.addresses.is_empty() => {
            changes.push(alias);
            (changes, Vec::new())
        }
        // Where one of our addresses is there already, taking away the others is all.
        Some(alias) if own.is_empty() => {
            let instead = [remove(&foreign), vec![alias]].concat();
            (changes, instead)
        }
        _ => (changes, Vec::new()),
    }
}

/// The alias is right, and the gateway's own hostname leads elsewhere or nowhere.
fn at_the_hostname(hostname: &str, target: &Target, evidence: &Evidence) -> (Vec<Change>, Vec<Change>) {
    let mut links = evidence.chain.iter().skip_while(|link| *link != hostname).skip(1);
    let Some(next) = links.next() else {
        return at_the_name(hostname, target, evidence);
    };
    let added = add_addresses(hostname, target.addresses.iter());
    // Before a wildcard goes a record of its own.
    let removed = match evidence.wildcards.contains_key(hostname) && !added.is_empty() {
        true => Vec::new(),
        false => vec![Change::Remove(link(hostname, next, evidence))],
    };
    let changes = [removed, added].concat();
    match addresses_of(evidence).is_empty() {
        true => (changes, Vec::new()),
        // What it is an alias of may be somebody else's.
        false => (changes, at_the_end(evidence.last(hostname), target, evidence)),
    }
}

/// The addresses at the end of a chain as they should be, which leaves all aliases as they are.
fn at_the_end(last: &str, target: &Target, evidence: &Evidence) -> Vec<Change> {
    at_the_name(last, target, evidence).0
}

fn addresses_of(evidence: &Evidence) -> BTreeSet<IpAddr> {
    let ChainEnd::Addresses { a, aaaa } = &evidence.end else {
        return BTreeSet::new();
    };
    let mut found = BTreeSet::new();
    for answer in [a, aaaa] {
        if let AddressAnswer::Found(addresses) = answer {
            found.extend(addresses);
        }
    }
    found
}

fn alias(name: &str, target: &Target) -> Option<Change> {
    let hostname = target.hostname.as_ref()?;
    // An alias of itself would be a loop.
    (hostname.as_str() != name)
        .then(|| Change::Add(record(name, RecordType::Cname, &absolute(hostname.as_str()))))
}

fn add_addresses<'a>(name: &str, addresses: impl Iterator<Item = &'a IpAddr>) -> Vec<Change> {
    addresses
        .map(|address| Change::Add(address_record(name, address)))
        .collect()
}

fn address_record(name: &str, address: &IpAddr) -> String {
    record(name, RecordType::of(*address), &address.to_string())
}

fn record(name: &str, record: RecordType, data: &str) -> String {
    format!("{} IN {record} {data}", absolute(name))
}

fn link(name: &str, target: &str, evidence: &Evidence) -> String {
    let owner = evidence.wildcards.get(name).map_or(name, String::as_str);
    link_record(owner, target, evidence.dnames.get(name))
}

/// The record that makes `name` an alias: its own, or one above it that does so for every name there.
pub(super) fn link_record(name: &str, target: &str, dname: Option<&Dname>) -> String {
    match dname {
        Some(dname) => record(&dname.owner, RecordType::Dname, &absolute(&dname.target)),
        None => record(name, RecordType::Cname, &absolute(target)),
    }
}
