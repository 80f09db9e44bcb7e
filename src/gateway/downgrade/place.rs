//! Where listeners listen: whose clients would come to whom, and what is remembered of places that were left.

use std::net::{IpAddr, Ipv6Addr};

use serde_json::Value;

use super::admission::{is_mutual, strictness};
use super::succession::{Comparison, Succession};
use super::ways::Servers;
use super::{bundle, listener, listeners};
use crate::clock::Timestamp;
use crate::config::ResourceTable;
use crate::inventory::{LeftPlace, LeftPlaces, ResourceRecords, ResourceState};

/// Whether a client of the one could come to the other: by what the addresses mean, however they are written.
pub(super) fn share_a_place(one: &ResourceTable, other: &ResourceTable) -> bool {
    let (one_ip, other_ip) = (ip(one), ip(other));
    let is_part = one_ip.is_unspecified() || other_ip.is_unspecified();
    (one_ip == other_ip || is_part) && one.get("port") == other.get("port")
}

/// What is to be remembered of places once `after` follows `before`. A place is forgotten when a listener has it that asks
/// for no less, or when one that asks for less was let into it, or to all of its servers: nothing here does that by itself. Of
/// more than [`MOST`] those that were left first are forgotten.
pub(in crate::gateway) fn left_places(
    before: ResourceState<'_>,
    after: &ResourceRecords,
    now: Timestamp,
) -> LeftPlaces {
    let comparison = Comparison::new(before.records, after);
    let mut left = before.left.clone();
    for (name, keys) in listeners(before.records).filter(|(_, keys)| is_mutual(keys)) {
        if listener(after, name).is_some_and(|same| guards(same, keys)) {
            continue;
        }
        let place = LeftPlace {
            listener: name.to_owned(),
            keys: keys.clone(),
            bundle: bundle(before.records, keys).cloned(),
            servers: comparison.was.through(name).clone(),
            at: now,
        };
        left.insert(called(keys), place);
    }
    left.retain(|_, place| !is_settled(&comparison, place));
    while left.len() > MOST
        && let Some(first) = first(&left)
    {
        left.remove(&first);
    }
    left
}

/// Whether nothing is left to be remembered of `place`. Of its servers those are forgotten that one was let to who asks for less.
fn is_settled(comparison: &Comparison<'_>, place: &mut LeftPlace) -> bool {
    let mut opened = Servers::new();
    for other in listeners(comparison.after) {
        if guards(other.1, &place.keys) {
            return true;
        }
        if strictness(other.1) >= strictness(&place.keys) {
            continue;
        }
        if share_a_place(&place.keys, other.1) {
            return true;
        }
        match comparison.of_left(place, other) {
            Some(Succession::Servers { of, .. }) => opened.extend(of),
            Some(_) => return true,
            None => {}
        }
    }
    place.servers.retain(|server| !opened.contains(server));
    !opened.is_empty() && place.servers.is_empty()
}

/// The one that was left first.
fn first(left: &LeftPlaces) -> Option<String> {
    let first = left.iter().min_by_key(|(_, place)| place.at);
    first.map(|(name, _)| name.clone())
}

/// Whether whoever could come to `place` comes to `listener` then, and is asked for no less.
fn guards(listener: &ResourceTable, place: &ResourceTable) -> bool {
    let covers = match (ip(listener), ip(place)) {
        (IpAddr::V6(all), _) if all.is_unspecified() => true,
        (IpAddr::V4(all), IpAddr::V4(_)) if all.is_unspecified() => true,
        (one, other) => one == other,
    };
    covers && listener.get("port") == place.get("port") && strictness(listener) >= strictness(place)
}

/// A name for a place, as it is a part of a key of the store.
fn called(keys: &ResourceTable) -> String {
    let port = keys.get("port").and_then(Value::as_u64).unwrap_or_default();
    format!("{port}/{}", ip(keys))
}

/// Where nothing is said that is `[::]`, which takes IPv4 as well.
fn ip(keys: &ResourceTable) -> IpAddr {
    let address = keys.get("address").and_then(Value::as_str).unwrap_or_default();
    let ip: Option<IpAddr> = address.trim_matches(['[', ']']).parse().ok();
    ip.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |ip| ip.to_canonical())
}

/// Whoever has more, as with ports that are always new, has forgotten the first ones as well; and each holds what its CA bundle
/// was, which may be a megabyte.
pub(super) const MOST: usize = 128;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_place_is_guarded_by_who_has_all_of_it_and_shared_with_who_has_a_part() {
        let table = |address: &str, port: u16| {
            let keys = json!({ "address": address, "port": port, "authentication": "mutual" });
            keys.as_object().cloned().unwrap_or_default()
        };
        for (one, other, shares, guarded) in [
            ("127.0.0.1", "127.0.0.1", true, true),
            ("::ffff:127.0.0.1", "127.0.0.1", true, true),
            ("0.0.0.0", "127.0.0.1", true, true),
            ("::", "127.0.0.1", true, true),
            ("[::]", "0.0.0.0", true, true),
            ("127.0.0.1", "0.0.0.0", true, false),
            ("0.0.0.0", "::", true, false),
            ("127.0.0.2", "127.0.0.1", false, false),
            ("::1", "127.0.0.1", false, false),
        ] {
            let (listener, place) = (table(one, 443), table(other, 443));
            let found = (share_a_place(&listener, &place), guards(&listener, &place));
            assert_eq!(found, (shares, guarded), "{one} and {other}");
            let elsewhere = table(other, 444);
            assert!(!share_a_place(&listener, &elsewhere) && !guards(&listener, &elsewhere));
        }
    }
}
