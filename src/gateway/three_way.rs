//! The file and what was changed at run time: what is in force after a file was applied.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::Value;

use crate::config::{ResourceId, ResourceKind, ResourceTable, RuntimeChanges};
use crate::inventory::{Live, ResourceRecord, ResourceRecords};

/// What files say of each resource.
pub(super) type FileResources = BTreeMap<ResourceId, ResourceTable>;

/// What is known after a file that says `file` was applied to what is known.
///
/// Where the file says of a resource what it said when it was last applied, what is in force stays; where it says
/// something else, the file wins; what it has no more goes; what was made at run time only stays.
pub(super) fn apply(known: &ResourceRecords, file: &FileResources) -> ResourceRecords {
    let ids: BTreeSet<_> = known.keys().chain(file.keys()).collect();
    let merged = ids.into_iter().filter_map(|id| {
        let record = merge(known.get(id), file.get(id))?;
        Some((id.clone(), record))
    });
    merged.collect()
}

fn merge(known: Option<&ResourceRecord>, file: Option<&ResourceTable>) -> Option<ResourceRecord> {
    match known {
        Some(known) if known.last_applied.as_ref() == file => Some(known.clone()),
        _ => file.map(|file| ResourceRecord {
            last_applied: Some(file.clone()),
            live: Live::AsApplied,
            changed: None,
        }),
    }
}

/// What has to stand in the place of the file's tables, so that what is known is in force.
pub(super) fn changes(known: &ResourceRecords, file: &FileResources) -> RuntimeChanges {
    let ids: BTreeSet<_> = known.keys().chain(file.keys()).collect();
    let differ = ids.into_iter().filter_map(|id| {
        let in_force = known.get(id).and_then(ResourceRecord::in_force);
        (in_force != file.get(id)).then(|| (id.clone(), in_force.cloned()))
    });
    differ.collect()
}

/// The CA bundles that are in force by `before` as they are by `after`.
pub(super) fn unchanged_bundles(before: &ResourceRecords, after: &ResourceRecords) -> BTreeSet<String> {
    let unchanged = after.iter().filter(|(id, record)| {
        let in_force = before.get(*id).and_then(ResourceRecord::in_force);
        id.kind == ResourceKind::CaBundle && in_force.is_some() && in_force == record.in_force()
    });
    unchanged.map(|(id, _)| id.name.clone()).collect()
}

/// A listener that would ask less of its clients than it does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Downgrade {
    /// The listener.
    pub(super) listener: String,
    /// Its authentication that is in force.
    pub(super) in_force: String,
    /// The listener that its clients would come to: itself, or one in its place.
    pub(super) successor: String,
    /// What that one would ask for.
    pub(super) wanted: String,
}

/// The listeners that ask less of their clients by `after` than by `before`. One whose place another takes, whole or in
/// part, is found as well; one that is gone lets nobody in.
pub(super) fn downgrades(before: &ResourceRecords, after: &ResourceRecords) -> Vec<Downgrade> {
    let found = listeners(before).filter_map(|(name, table)| {
        let weaker = weaker_successors(before, after, name, table).into_iter();
        let (successor, wanted) = weaker.min_by_key(|(_, wanted)| strictness(wanted))?;
        Some(Downgrade {
            listener: name.to_owned(),
            in_force: demand(table),
            successor: successor.to_owned(),
            wanted: demand(wanted),
        })
    });
    found.collect()
}

/// Has every listener of `after` ask of clients what was asked in its place by `before`; its other keys stay. One that
/// speaks plain HTTP cannot ask: it stays what it was, or away.
pub(super) fn keep_authentication(before: &ResourceRecords, after: &mut ResourceRecords) {
    for (name, table) in listeners(before) {
        let weaker = weaker_successors(before, after, name, table).into_iter();
        let weaker: Vec<_> = weaker
            .map(|(successor, wanted)| (successor.to_owned(), wanted.clone()))
            .collect();
        let Some(record) = before.get(&ResourceId::new(ResourceKind::Listener, name)) else {
            continue;
        };
        for (successor, mut keys) in weaker {
            let is_itself = successor == name;
            let is_plain = keys.get("protocol").and_then(Value::as_str) == Some("http");
            for key in AUTHENTICATION_KEYS {
                match table.get(key) {
                    Some(value) => drop(keys.insert(key.to_owned(), value.clone())),
                    None => drop(keys.remove(key)),
                }
            }
            let live = match (is_plain, is_itself) {
                (false, _) => Live::Set(keys),
                (true, true) => record.live.clone(),
                (true, false) => Live::Removed,
            };
            // Not what the file says now: it stays a difference, and is refused again, until it is allowed.
            let last_applied = record.last_applied.clone().filter(|_| is_itself);
            let kept = ResourceRecord {
                last_applied,
                live,
                changed: record.changed.clone(),
            };
            after.insert(ResourceId::new(ResourceKind::Listener, successor), kept);
        }
    }
}

/// What was changed at run time of resources that were in the file before and are not there after.
pub(super) fn forgotten<'a>(
    before: &'a ResourceRecords,
    after: &'a ResourceRecords,
) -> impl Iterator<Item = &'a ResourceId> {
    let gone = before.iter().filter(|(id, _)| !after.contains_key(*id));
    gone.filter(|(_, record)| record.changed.is_some() && record.last_applied.is_some())
        .map(|(id, _)| id)
}

/// The listeners of `after` that clients of `name`, which has `table`, could come to, and that ask for less. While it stays
/// where it is, one that was beside it before and asks for no less than it did is none of them.
fn weaker_successors<'a>(
    before: &ResourceRecords,
    after: &'a ResourceRecords,
    name: &str,
    table: &ResourceTable,
) -> Vec<(&'a str, &'a ResourceTable)> {
    let same_place = |other: &ResourceTable| {
        let keys = ["address", "port", "enabled"];
        keys.iter().all(|key| other.get(*key) == table.get(*key))
    };
    let stays = listeners(after).any(|(other, wanted)| other == name && same_place(wanted));
    let was_beside = |other: &str, wanted: &ResourceTable| {
        let mut known = listeners(before).filter(|(known, _)| stays && *known == other);
        known.any(|(_, known)| share_a_place(table, known) && strictness(known) <= strictness(wanted))
    };
    let successors = listeners(after).filter(|(other, wanted)| {
        *other == name || share_a_place(table, wanted) && !was_beside(other, wanted)
    });
    successors
        .filter(|(_, wanted)| strictness(wanted) < strictness(table))
        .collect()
}

fn listeners(records: &ResourceRecords) -> impl Iterator<Item = (&str, &ResourceTable)> {
    records.iter().filter_map(|(id, record)| {
        let table = record.in_force()?;
        (id.kind == ResourceKind::Listener).then_some((id.name.as_str(), table))
    })
}

/// Whether a client of the one could come to the other: by what the addresses mean, however they are written.
fn share_a_place(one: &ResourceTable, other: &ResourceTable) -> bool {
    let ip = |table: &ResourceTable| {
        let address = table.get("address").and_then(Value::as_str).unwrap_or_default();
        let ip: Option<IpAddr> = address.trim_matches(['[', ']']).parse().ok();
        ip.map(|ip| ip.to_canonical()).filter(|ip| !ip.is_unspecified())
    };
    let same_ip = match (ip(one), ip(other)) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    };
    same_ip && one.get("port") == other.get("port")
}

/// What a listener's keys say of authentication; checked already, or about to be.
pub(super) fn authentication(table: &ResourceTable) -> &str {
    table
        .get("authentication")
        .and_then(|word| word.as_str())
        .unwrap_or("one-way")
}

/// How much is asked of clients: nothing, a look at a certificate, a certificate that verifies; then a CRL in date, and a
/// place on a list. Which list or bundle asks more than another one, nobody can say.
fn strictness(table: &ResourceTable) -> (u8, bool, bool) {
    let accepts = table.get("expired_crl").and_then(Value::as_str) == Some("accept");
    match authentication(table) {
        "mutual" => (2, !accepts, table.contains_key("allow_clients")),
        "observe" => (1, false, false),
        _ => (0, false, false),
    }
}

/// The same for people.
fn demand(table: &ResourceTable) -> String {
    let mut text = authentication(table).to_owned();
    if let (_, in_date, listed) = strictness(table)
        && text == "mutual"
    {
        text.push_str(if listed { ", for `allow_clients`" } else { "" });
        text.push_str(if in_date {
            ""
        } else {
            ", with expired CRLs accepted"
        });
    }
    text
}

/// What a listener says of its clients.
const AUTHENTICATION_KEYS: [&str; 4] = ["authentication", "client_ca", "allow_clients", "expired_crl"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A listener with a port, so that keys differ.
    fn table(authentication: &str, port: u16) -> ResourceTable {
        match json!({ "authentication": authentication, "port": port }) {
            serde_json::Value::Object(table) => table,
            _ => ResourceTable::new(),
        }
    }

    fn id() -> ResourceId {
        ResourceId::new(ResourceKind::Listener, "web")
    }

    fn known(last_applied: Option<u16>, live: Live) -> ResourceRecords {
        let record = ResourceRecord {
            last_applied: last_applied.map(|port| table("one-way", port)),
            live,
            changed: None,
        };
        BTreeMap::from([(id(), record)])
    }

    fn file(port: Option<u16>) -> FileResources {
        port.map(|port| (id(), table("one-way", port)))
            .into_iter()
            .collect()
    }

    fn set(port: u16) -> Live {
        Live::Set(table("one-way", port))
    }

    #[test]
    fn each_case_of_a_file_applied_gives_what_is_in_force_after_it() {
        let nothing = ResourceRecords::new;
        for (what, known, file_says, in_force, drifts) in [
            ("new in the file", nothing(), Some(1), Some(1), false),
            ("nowhere", nothing(), None, None, false),
            (
                "unchanged",
                known(Some(1), Live::AsApplied),
                Some(1),
                Some(1),
                false,
            ),
            (
                "changed in the file",
                known(Some(1), Live::AsApplied),
                Some(2),
                Some(2),
                false,
            ),
            (
                "gone from the file",
                known(Some(1), Live::AsApplied),
                None,
                None,
                false,
            ),
            (
                "changed at run time",
                known(Some(1), set(9)),
                Some(1),
                Some(9),
                true,
            ),
            ("changed in both", known(Some(1), set(9)), Some(2), Some(2), false),
            (
                "changed in both, to the same",
                known(Some(1), set(2)),
                Some(2),
                Some(2),
                false,
            ),
            (
                "changed, then gone from the file",
                known(Some(1), set(9)),
                None,
                None,
                false,
            ),
            (
                "removed at run time",
                known(Some(1), Live::Removed),
                Some(1),
                None,
                true,
            ),
            (
                "removed, then changed in the file",
                known(Some(1), Live::Removed),
                Some(2),
                Some(2),
                false,
            ),
            (
                "removed, then gone from the file",
                known(Some(1), Live::Removed),
                None,
                None,
                false,
            ),
            ("made at run time", known(None, set(9)), None, Some(9), true),
            (
                "made at run time, then in the file",
                known(None, set(9)),
                Some(1),
                Some(1),
                false,
            ),
        ] {
            let file = file(file_says);
            let after = apply(&known, &file);
            let found = after.get(&id()).and_then(ResourceRecord::in_force);
            assert_eq!(
                found,
                in_force.map(|port| table("one-way", port)).as_ref(),
                "{what}"
            );
            assert_eq!(!changes(&after, &file).is_empty(), drifts, "{what}");
            assert_eq!(
                apply(&after, &file),
                after,
                "{what}: applied again it changes nothing"
            );
        }
    }

    fn in_force(name: &str, authentication: &str, port: u16) -> ResourceRecords {
        let record = ResourceRecord {
            last_applied: Some(table(authentication, port)),
            live: Live::AsApplied,
            changed: None,
        };
        BTreeMap::from([(ResourceId::new(ResourceKind::Listener, name), record)])
    }

    #[test]
    fn less_authentication_is_found_and_more_is_not() {
        let words = ["one-way", "observe", "mutual"];
        for (strict, before) in words.iter().enumerate() {
            for (wanted, after) in words.iter().enumerate() {
                let found = downgrades(&in_force("web", before, 1), &in_force("web", after, 2));
                assert_eq!(!found.is_empty(), wanted < strict, "{before} to {after}");
            }
        }
    }

    #[test]
    fn another_listener_in_the_place_of_a_stricter_one_is_found() {
        let before = in_force("web", "mutual", 1);
        assert_eq!(downgrades(&before, &in_force("shop", "one-way", 1)).len(), 1);
        assert_eq!(downgrades(&before, &in_force("shop", "one-way", 2)), []);
        assert_eq!(downgrades(&before, &in_force("shop", "mutual", 1)), []);
    }

    #[test]
    fn a_weaker_listener_that_was_beside_a_stricter_one_is_no_downgrade_until_it_gets_weaker() {
        let side_by_side = |beside: &str| {
            let mut all = in_force("web", "mutual", 1);
            all.extend(in_force("local", beside, 1));
            all
        };
        let before = side_by_side("observe");
        assert_eq!(downgrades(&before, &side_by_side("observe")), []);
        assert_eq!(downgrades(&before, &side_by_side("mutual")), []);
        assert_eq!(downgrades(&before, &side_by_side("one-way")).len(), 2);
        // Whoever was let in by the stricter one comes to the other then.
        assert_eq!(downgrades(&before, &in_force("local", "observe", 1)).len(), 1);
    }

    #[test]
    fn whoever_takes_a_place_at_a_start_asks_what_was_asked_there() {
        let before = in_force("web", "mutual", 1);
        let id = |name| ResourceId::new(ResourceKind::Listener, name);
        for (name, port) in [("web", 1), ("web", 2), ("shop", 1)] {
            let mut after = in_force(name, "one-way", port);
            keep_authentication(&before, &mut after);
            let kept = after[&id(name)].in_force().expect("it is there");
            assert_eq!(kept, &table("mutual", port), "{name}");
            let file = FileResources::from([(id(name), table("one-way", port))]);
            assert_ne!(
                changes(&after, &file),
                RuntimeChanges::new(),
                "{name} is shown to differ"
            );
            let again = apply(&after, &file);
            assert_eq!(
                downgrades(&after, &again).len(),
                1,
                "{name} is refused by a reload"
            );
        }
        let mut plain = in_force("shop", "one-way", 1);
        let keys = json!({ "protocol": "http", "port": 1 });
        if let Some(record) = plain.get_mut(&id("shop")) {
            record.live = Live::Set(keys.as_object().cloned().unwrap_or_default());
        }
        keep_authentication(&before, &mut plain);
        assert_eq!(plain[&id("shop")].in_force(), None);
    }

    #[test]
    fn a_listener_that_says_nothing_of_authentication_asks_for_nothing() {
        let mut after = in_force("web", "one-way", 1);
        if let Some(record) = after.get_mut(&id()) {
            record.live = Live::Set(ResourceTable::new());
        }
        assert_eq!(
            downgrades(&in_force("web", "mutual", 1), &after)[0].wanted,
            "one-way"
        );
    }

    #[test]
    fn a_downgrade_is_found_however_a_place_is_written_and_in_what_belongs_to_authentication() {
        let record = |keys: serde_json::Value| match keys {
            serde_json::Value::Object(table) => ResourceRecord {
                last_applied: Some(table),
                live: Live::AsApplied,
                changed: None,
            },
            _ => panic!("a table"),
        };
        let records = |name: &str, keys| {
            let id = ResourceId::new(ResourceKind::Listener, name);
            BTreeMap::from([(id, record(keys))])
        };
        let mutual = json!({ "address": "127.0.0.1", "port": 443, "authentication": "mutual" });
        let listed =
            json!({ "port": 443, "authentication": "mutual", "allow_clients": { "dns": ["a.example"] } });
        for (before, name, after, found) in [
            (&mutual, "shop", json!({ "address": "0.0.0.0", "port": 443 }), 1),
            (&mutual, "shop", json!({ "address": "::", "port": 443 }), 1),
            (
                &mutual,
                "shop",
                json!({ "address": "::ffff:127.0.0.1", "port": 443 }),
                1,
            ),
            (&mutual, "shop", json!({ "port": 443 }), 1),
            (&mutual, "shop", json!({ "port": 444 }), 0),
            (&mutual, "shop", json!({ "address": "127.0.0.2", "port": 443 }), 0),
            (&mutual, "web", json!({ "address": "127.0.0.2", "port": 8443 }), 1),
            (
                &mutual,
                "shop",
                json!({ "port": 443, "authentication": "mutual" }),
                0,
            ),
            (
                &listed,
                "web",
                json!({ "port": 443, "authentication": "mutual" }),
                1,
            ),
            (
                &mutual,
                "web",
                json!({ "port": 443, "authentication": "mutual", "expired_crl": "accept" }),
                1,
            ),
        ] {
            let downgrades = downgrades(&records("web", before.clone()), &records(name, after.clone()));
            assert_eq!(downgrades.len(), found, "{before} {name} {after}");
        }
    }
}
