//! The file and what was changed at run time: what is in force after a file was applied.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{ResourceId, ResourceKind, ResourceTable, RuntimeChanges};
use crate::gateway::downgrade;
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

/// CA bundles of which copies of files may count, by their names.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownBundles {
    /// In force as they are to be: without a copy they vouch for nobody.
    pub(super) settled: BTreeSet<String>,
    /// In force with fewer CRLs: without a copy the change is refused.
    pub(super) tightened: BTreeSet<String>,
}

impl KnownBundles {
    /// Those of which not only CRLs differ between `before` and `after` are not among them.
    pub(super) fn between(before: &ResourceRecords, after: &ResourceRecords) -> Self {
        Self {
            settled: unchanged_bundles(before, after),
            tightened: downgrade::tightened_bundles(before, after),
        }
    }

    /// All of them.
    pub(super) fn names(&self) -> BTreeSet<String> {
        &self.settled | &self.tightened
    }
}

/// The CA bundles that are in force by `before` as they are by `after`.
fn unchanged_bundles(before: &ResourceRecords, after: &ResourceRecords) -> BTreeSet<String> {
    let unchanged = after.iter().filter(|(id, record)| {
        let in_force = before.get(*id).and_then(ResourceRecord::in_force);
        id.kind == ResourceKind::CaBundle && in_force.is_some() && in_force == record.in_force()
    });
    unchanged.map(|(id, _)| id.name.clone()).collect()
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
}
