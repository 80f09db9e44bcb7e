//! What a file would have listeners ask less of their clients: found, said, and at a start not done.
//!
//! A file lowers authentication only when that is allowed. It would, where it asks for less in the place of a listener, under
//! whatever name; where it leads to servers without a client certificate that were reached with one only; where CRLs of a mutual
//! listener are left out; and where it undoes what was changed at run time to keep clients out. That holds for listeners in
//! force, and for those that have gone and left their place.

mod admission;
mod loosened;
mod place;
mod request;
mod succession;
#[cfg(test)]
mod tests;
mod tightened;
#[cfg(test)]
mod way_tests;
mod ways;

use std::fmt;

use serde_json::Value;

use crate::clock::Timestamp;
use crate::config::{ResourceId, ResourceKind, ResourceTable};
use crate::inventory::{LeftPlace, Live, ResourceRecord, ResourceRecords, ResourceState};
use admission::{Admission, demand, is_mutual, strictness};
use succession::{Comparison, Succession};
use ways::{group_id, listed};

pub(super) use loosened::loosened;
pub(super) use place::left_places;
pub(super) use request::unnamed;
pub(super) use tightened::tightened_bundles;

/// A listener whose clients would be asked for less.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Downgrade {
    listener: String,
    /// What it says in force, or said when it went.
    keys: ResourceTable,
    /// When it went, if it is no more.
    left: Option<Timestamp>,
    /// The listener that its clients would come to: itself, or one in its place.
    successor: String,
    succession: Succession,
    loss: Loss,
}

/// What is not asked any more.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Loss {
    /// So much is left.
    Authentication { wanted: String },
    /// These CRLs are left out.
    Crls(Vec<String>),
    /// These clients were kept out by a change at run time.
    RuntimeChange(Vec<String>),
    /// These clients were not admitted when the listener went.
    Admitted(Vec<String>),
}

/// The listeners that ask less of their clients by `after` than by `before`. One whose place another takes, whole or in
/// part, or to whose servers another one leads, is found as well; one that is gone lets nobody in.
pub(super) fn downgrades(before: ResourceState<'_>, after: &ResourceRecords) -> Vec<Downgrade> {
    let comparison = &Comparison::new(before.records, after);
    let known = listeners(before.records).flat_map(|one| {
        listeners(after).filter_map(move |other| {
            let succession = comparison.of_known(one, other)?;
            let loss = loss(before.records, after, one, other)?;
            Some(downgrade(one, None, other, succession, loss))
        })
    });
    let left = before.left.values().flat_map(|place| {
        listeners(after).filter_map(move |other| {
            let loss = loss_of_left(place, after, other.1)?;
            let succession = comparison.of_left(place, other)?;
            let one = (place.listener.as_str(), &place.keys);
            Some(downgrade(one, Some(place.at), other, succession, loss))
        })
    });
    known.chain(left).collect()
}

/// Has every listener of `after` ask of clients what was asked in its place by `before`, and by the CA bundle that there
/// was; its other keys stay. One that cannot ask, because it speaks plain HTTP or that bundle is no more, stays what it was, or
/// away. One that was there, and would lead to servers that others guard, leads where it led.
pub(super) fn keep_authentication(before: ResourceState<'_>, after: &mut ResourceRecords) {
    let mut downgrades = downgrades(before, after);
    let known = |downgrade: &Downgrade| {
        let leads_there = matches!(downgrade.succession, Succession::Servers { .. });
        let record = before.records.get(&listener_id(&downgrade.successor));
        record.filter(|record| leads_there && record.in_force().is_some())
    };
    // Of several whose places one takes, the strictest holds; and who asks then is no way around.
    downgrades.sort_by_key(|downgrade| (known(downgrade).is_some(), strictness(&downgrade.keys)));
    for downgrade in downgrades {
        if let Some(known) = known(&downgrade) {
            keep_way(before.records, after, &downgrade.successor, known);
            continue;
        }
        let id = listener_id(&downgrade.successor);
        let Some(mut keys) = after.get(&id).and_then(ResourceRecord::in_force).cloned() else {
            continue;
        };
        let is_plain = keys.get("protocol").and_then(Value::as_str) == Some("http");
        copy(&downgrade.keys, &mut keys, &AUTHENTICATION_KEYS);
        // The bundle that a listener had when it went is no more what it was.
        let is_known = downgrade.left.is_none() || matches!(downgrade.loss, Loss::Authentication { .. });
        let can_ask = !is_plain && is_known && keep_bundle(before.records, after, &downgrade.keys);
        let was = before.records.get(&listener_id(&downgrade.listener));
        let was = was.filter(|_| downgrade.left.is_none());
        let itself = was.filter(|_| downgrade.succession == Succession::Itself);
        let kept = ResourceRecord {
            // Not what the file says now: it stays a difference, and is refused again, until it is allowed.
            last_applied: itself.and_then(|record| record.last_applied.clone()),
            live: match (can_ask, itself) {
                (true, _) => Live::Set(keys),
                (false, Some(record)) => record.live.clone(),
                (false, None) => Live::Removed,
            },
            changed: was.and_then(|record| record.changed.clone()),
        };
        after.insert(id, kept);
    }
}

/// Has the listener `name` lead where it led by `known`, if it led anywhere, unless it asks for client certificates.
fn keep_way(before: &ResourceRecords, after: &mut ResourceRecords, name: &str, known: &ResourceRecord) {
    let id = listener_id(name);
    let keys = after.get(&id).and_then(ResourceRecord::in_force);
    let (Some(mut keys), Some(was)) = (keys.filter(|keys| !is_mutual(keys)).cloned(), known.in_force())
    else {
        return;
    };
    copy(was, &mut keys, &["enabled", "server_group"]);
    let group = group_id(was).and_then(|group| before.get_key_value(&group));
    let kept = ResourceRecord {
        live: group.map_or(Live::Removed, |_| Live::Set(keys)),
        ..known.clone()
    };
    after.insert(id, kept);
    after.extend(group.map(|(group, record)| (group.clone(), record.clone())));
}

/// Keeps the CA bundle of a listener as it was; false when there is none any more.
fn keep_bundle(before: &ResourceRecords, after: &mut ResourceRecords, listener: &ResourceTable) -> bool {
    let Some(id) = bundle_id(listener) else {
        return true;
    };
    if let Some(record) = before.get(&id).filter(|record| record.in_force().is_some()) {
        after.insert(id, record.clone());
        return true;
    }
    after.get(&id).is_some_and(|record| record.in_force().is_some())
}

/// Makes these keys of `to` what they are in `from`, absent ones included.
fn copy(from: &ResourceTable, to: &mut ResourceTable, keys: &[&str]) {
    for key in keys {
        match from.get(*key) {
            Some(value) => drop(to.insert((*key).to_owned(), value.clone())),
            None => drop(to.remove(*key)),
        }
    }
}

fn downgrade(
    (listener, keys): (&str, &ResourceTable),
    left: Option<Timestamp>,
    (successor, _): (&str, &ResourceTable),
    succession: Succession,
    loss: Loss,
) -> Downgrade {
    Downgrade {
        listener: listener.to_owned(),
        keys: keys.clone(),
        left,
        successor: successor.to_owned(),
        succession,
        loss,
    }
}

/// What clients of `name` would not be asked any more by the other listener.
fn loss(
    before: &ResourceRecords,
    after: &ResourceRecords,
    (name, table): (&str, &ResourceTable),
    (_, wanted): (&str, &ResourceTable),
) -> Option<Loss> {
    if let Some(loss) = less_asked(table, wanted) {
        return Some(loss);
    }
    if !is_mutual(table) {
        return None;
    }
    let (was, is) = (admission(before, table), admission(after, wanted));
    if is.has_fewer_crls(&was) {
        return Some(Loss::Crls(is.unchecked(&was)));
    }
    let more = is.beyond(&was);
    // Who changes a file means what it says; who has it applied again, after a change at run time, need not.
    let keeps_out = |said: Admission| !said.beyond(&was).is_empty();
    let is_tightened = said(before, name).is_none_or(keeps_out);
    (is_tightened && !more.is_empty()).then_some(Loss::RuntimeChange(more))
}

/// What clients of the listener that has left `place` would not be asked any more by one with the keys `wanted`.
fn loss_of_left(place: &LeftPlace, after: &ResourceRecords, wanted: &ResourceTable) -> Option<Loss> {
    if let Some(loss) = less_asked(&place.keys, wanted) {
        return Some(loss);
    }
    let was = Admission::of(&place.keys, place.bundle.as_ref());
    let is = admission(after, wanted);
    if is.has_fewer_crls(&was) {
        return Some(Loss::Crls(is.unchecked(&was)));
    }
    let more = is.beyond(&was);
    (is_mutual(wanted) && !more.is_empty()).then_some(Loss::Admitted(more))
}

fn less_asked(table: &ResourceTable, wanted: &ResourceTable) -> Option<Loss> {
    (strictness(wanted) < strictness(table)).then(|| Loss::Authentication {
        wanted: demand(wanted),
    })
}

/// Whom the listener with the keys `table` lets in.
fn admission(records: &ResourceRecords, table: &ResourceTable) -> Admission {
    Admission::of(table, bundle(records, table))
}

/// The keys of the CA bundle of a listener that are in force.
fn bundle<'r>(records: &'r ResourceRecords, listener: &ResourceTable) -> Option<&'r ResourceTable> {
    records.get(&bundle_id(listener)?)?.in_force()
}

/// Whom the listener `name` would let in as the file says; nothing where that is everybody.
fn said(records: &ResourceRecords, name: &str) -> Option<Admission> {
    let last_applied = |id: ResourceId| records.get(&id)?.last_applied.as_ref();
    let table = last_applied(listener_id(name))?;
    let bundle = bundle_id(table).and_then(last_applied);
    is_mutual(table).then(|| Admission::of(table, bundle))
}

fn bundle_id(listener: &ResourceTable) -> Option<ResourceId> {
    let name = listener.get("client_ca")?.as_str()?;
    Some(ResourceId::new(ResourceKind::CaBundle, name))
}

fn listener_id(name: &str) -> ResourceId {
    ResourceId::new(ResourceKind::Listener, name)
}

fn listener<'r>(records: &'r ResourceRecords, name: &str) -> Option<&'r ResourceTable> {
    records.get(&listener_id(name))?.in_force()
}

fn listeners(records: &ResourceRecords) -> impl Iterator<Item = (&str, &ResourceTable)> {
    records.iter().filter_map(|(id, record)| {
        let table = record.in_force()?;
        (id.kind == ResourceKind::Listener).then_some((id.name.as_str(), table))
    })
}

impl Downgrade {
    /// The same where it is a request that would have it so.
    pub(super) fn by_request(&self) -> String {
        self.in_words("request")
    }

    fn in_words(&self, by: &str) -> String {
        format!("{}{}", self.way(), self.less(by))
    }

    /// How clients come to another listener, as far as the one that asked more.
    fn way(&self) -> String {
        let Self {
            listener, successor, ..
        } = self;
        match &self.succession {
            Succession::Itself => format!("listener `{listener}`"),
            Succession::Place => {
                format!("listener `{successor}` would take the place of listener `{listener}`, which")
            }
            Succession::Servers { of, beside } => format!(
                "listener `{successor}` would lead to {} {} listener `{listener}`, which",
                listed(of),
                if *beside { "beside" } else { "instead of" }
            ),
        }
    }

    /// What it asked, and what is not asked any more `by` a file or a request.
    fn less(&self, by: &str) -> String {
        let asked = demand(&self.keys);
        let asked = match &self.left {
            None => format!(" has authentication `{asked}` in force, and "),
            Some(at) => format!(" had authentication `{asked}` when it went at {at}, and "),
        };
        let loss = match &self.loss {
            Loss::Authentication { wanted } => format!("the {by} says `{wanted}`"),
            Loss::Crls(crls) => format!("by the {by} there is no check any more of {}", crls.join(", ")),
            Loss::Admitted(admitted) => format!("the {by} would admit {}", admitted.join(", ")),
            Loss::RuntimeChange(admitted) => format!(
                "the {by} would undo what was changed at run time and admit {}",
                admitted.join(", ")
            ),
        };
        asked + &loss
    }
}

impl fmt::Display for Downgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.in_words("file"))
    }
}

/// What a listener says of its clients.
const AUTHENTICATION_KEYS: [&str; 4] = ["authentication", "client_ca", "allow_clients", "expired_crl"];
