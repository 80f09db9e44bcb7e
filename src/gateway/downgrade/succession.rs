//! Which listener the clients of another one come to when a file is applied.

use serde_json::Value;

use super::admission::strictness;
use super::listener;
use super::place::share_a_place;
use crate::config::ResourceTable;
use crate::inventory::{LeftPlace, ResourceRecords};

/// How a listener comes to stand for another one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Succession {
    /// It is the same, by its name.
    Itself,
    /// It has its address and port, or a part of them.
    Place,
    /// It is new, and leads to this server group as the one did that has gone.
    ServerGroup(String),
}

type Listener<'l> = (&'l str, &'l ResourceTable);

/// How clients of `one`, which is in force by `before`, come to `other`, which is by `after`. While `one` stays where it is, a
/// listener that was beside it before and asks for no less than it did is none that they come to.
pub(super) fn of_known(
    before: &ResourceRecords,
    after: &ResourceRecords,
    one: Listener<'_>,
    other: Listener<'_>,
) -> Option<Succession> {
    let ((name, table), (successor, wanted)) = (one, other);
    let same_place = |known: &ResourceTable| {
        let keys = ["address", "port", "enabled"];
        keys.iter().all(|key| known.get(*key) == table.get(*key))
    };
    let was_beside = || {
        listener(after, name).is_some_and(same_place)
            && listener(before, successor)
                .is_some_and(|known| share_a_place(table, known) && strictness(known) <= strictness(wanted))
    };
    if successor == name {
        Some(Succession::Itself)
    } else if share_a_place(table, wanted) && !was_beside() {
        Some(Succession::Place)
    } else {
        leads_to_the_same(before, after, one, other)
    }
}

/// The same for a listener that went before.
pub(super) fn of_left(
    before: &ResourceRecords,
    after: &ResourceRecords,
    left: &LeftPlace,
    other: Listener<'_>,
) -> Option<Succession> {
    let (successor, wanted) = other;
    if successor == left.listener && is_new(before, successor) {
        Some(Succession::Itself)
    } else if share_a_place(&left.keys, wanted) {
        Some(Succession::Place)
    } else {
        leads_to_the_same(before, after, (&left.listener, &left.keys), other)
    }
}

/// Renamed and moved at once, a listener still has its servers.
fn leads_to_the_same(
    before: &ResourceRecords,
    after: &ResourceRecords,
    (name, table): Listener<'_>,
    (successor, wanted): Listener<'_>,
) -> Option<Succession> {
    let group = |table: &ResourceTable| Some(table.get("server_group")?.as_str()?.to_owned());
    let is_enabled = |table: &ResourceTable| table.get("enabled").and_then(Value::as_bool) != Some(false);
    let is_gone = || !listener(after, name).is_some_and(is_enabled);
    let same = group(table).filter(|one| group(wanted).as_ref() == Some(one));
    same.filter(|_| is_new(before, successor) && is_gone())
        .map(Succession::ServerGroup)
}

fn is_new(before: &ResourceRecords, name: &str) -> bool {
    listener(before, name).is_none()
}
