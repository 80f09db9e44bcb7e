//! Which listener the clients of another one come to when a file is applied.

use super::admission::{is_mutual, strictness};
use super::listener;
use super::place::share_a_place;
use super::ways::{Servers, Ways, is_enabled};
use crate::config::ResourceTable;
use crate::inventory::{LeftPlace, ResourceRecords};

/// How a listener comes to stand for another one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Succession {
    /// It is the same, by its name.
    Itself,
    /// It has its address and port, or a part of them.
    Place,
    /// It leads to its servers: in its stead, or beside it without a client certificate, which nobody could do before.
    Servers {
        /// These.
        of: Servers,
        /// Whether the other one stays.
        beside: bool,
    },
}

type Listener<'l> = (&'l str, &'l ResourceTable);

/// What is in force before and after a change, and which ways lead where.
pub(super) struct Comparison<'r> {
    pub(super) before: &'r ResourceRecords,
    pub(super) after: &'r ResourceRecords,
    pub(super) was: Ways<'r>,
    pub(super) is: Ways<'r>,
}

impl<'r> Comparison<'r> {
    pub(super) fn new(before: &'r ResourceRecords, after: &'r ResourceRecords) -> Self {
        Self {
            before,
            after,
            was: Ways::of(before),
            is: Ways::of(after),
        }
    }

    /// How clients of `one`, which is in force before, come to `other`, which is after. While `one` stays where it is, a listener
    /// that was beside it before and asks for no less than it did is none that they come to.
    pub(super) fn of_known(&self, one: Listener<'_>, other: Listener<'_>) -> Option<Succession> {
        let ((name, table), (successor, wanted)) = (one, other);
        let was_beside = || {
            listener(self.after, name).is_some_and(|stays| is_where(table, stays))
                && listener(self.before, successor).is_some_and(|known| {
                    share_a_place(table, known)
                        && is_enabled(known) >= is_enabled(wanted)
                        && strictness(known) <= strictness(wanted)
                })
        };
        if successor == name {
            Some(Succession::Itself)
        } else if share_a_place(table, wanted) && !was_beside() {
            Some(Succession::Place)
        } else {
            self.leads_to_the_same(one, self.was.through(name), other)
        }
    }

    /// The same for a listener that went before. One that has a part of its place already is none that they come to only now.
    pub(super) fn of_left(&self, left: &LeftPlace, other: Listener<'_>) -> Option<Succession> {
        let (successor, wanted) = other;
        let was_there = || {
            listener(self.before, successor)
                .is_some_and(|known| is_where(wanted, known) && strictness(known) <= strictness(wanted))
        };
        if successor == left.listener && self.is_new(successor) {
            Some(Succession::Itself)
        } else if share_a_place(&left.keys, wanted) && !was_there() {
            Some(Succession::Place)
        } else if self.is_gone(&left.listener) {
            self.leads_to_the_same((&left.listener, &left.keys), &left.servers, other)
        } else {
            None
        }
    }

    /// Renamed and moved at once, a listener still has its servers; and where these were reached with a client certificate only,
    /// whoever asks for none is a way around it, be that beside it.
    fn leads_to_the_same(
        &self,
        (name, table): Listener<'_>,
        servers: &Servers,
        (successor, wanted): Listener<'_>,
    ) -> Option<Succession> {
        let through = self.is.through(successor);
        if servers.is_disjoint(through) {
            return None;
        }
        let is_renamed = self.is_new(successor) && self.is_gone(name);
        let lets_around = is_mutual(table) && is_enabled(wanted) && !is_mutual(wanted);
        let opens = |server: &&String| is_renamed || lets_around && !self.was.is_open(server);
        let found: Servers = servers.intersection(through).filter(opens).cloned().collect();
        (!found.is_empty()).then(|| Succession::Servers {
            of: found,
            beside: !self.is_gone(name),
        })
    }

    fn is_new(&self, name: &str) -> bool {
        listener(self.before, name).is_none()
    }

    fn is_gone(&self, name: &str) -> bool {
        !listener(self.after, name).is_some_and(is_enabled)
    }
}

/// Whether `other` is where `one` is, and accepts connections if that does.
fn is_where(one: &ResourceTable, other: &ResourceTable) -> bool {
    let keys = ["address", "port"];
    keys.iter().all(|key| one.get(*key) == other.get(*key)) && is_enabled(other) >= is_enabled(one)
}
