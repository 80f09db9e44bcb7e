//! Orders that a CA's limits hold back, in the order in which they are placed.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::certificate::CertificateName;
use crate::clock::Timestamp;
use crate::renewal::queue::Key;
use crate::renewal::waiting::Rank;

/// A name that waits, and the place of its step.
pub(super) type Ticket = (CertificateName, Key);

/// Names that wait for an order.
#[derive(Debug, Default)]
pub(super) struct Orders {
    changed: BTreeSet<(Timestamp, Ticket)>,
    missing: BTreeSet<Ticket>,
    again: BTreeSet<Ticket>,
    popped: u32,
}

impl Orders {
    pub(super) fn insert(&mut self, rank: Rank, ticket: Ticket) {
        match rank {
            Rank::Changed { wanted_by } => self.changed.insert((wanted_by, ticket)),
            Rank::Missing => self.missing.insert(ticket),
            Rank::Again => self.again.insert(ticket),
        };
    }

    pub(super) fn remove(&mut self, rank: Rank, ticket: &Ticket) {
        match rank {
            Rank::Changed { wanted_by } => self.changed.remove(&(wanted_by, ticket.clone())),
            Rank::Missing => self.missing.remove(ticket),
            Rank::Again => self.again.remove(ticket),
        };
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.missing.is_empty() && self.again.is_empty()
    }

    /// Takes the next one out.
    pub(super) fn pop(&mut self, now: Timestamp) -> Option<(Rank, Ticket)> {
        let first = |names: &mut BTreeSet<Ticket>, rank| Some((rank, names.pop_first()?));
        let is_pressing = |(wanted_by, _): &(Timestamp, Ticket)| *wanted_by <= now + PRESSING;
        let is_turn_of_again = self.popped % 4 == 3;
        self.popped = self.popped.wrapping_add(1);
        if !self.changed.first().is_some_and(is_pressing) {
            let new =
                match is_turn_of_again {
                    true => first(&mut self.again, Rank::Again)
                        .or_else(|| first(&mut self.missing, Rank::Missing)),
                    false => first(&mut self.missing, Rank::Missing)
                        .or_else(|| first(&mut self.again, Rank::Again)),
                };
            if new.is_some() {
                return new;
            }
        }
        let (wanted_by, ticket) = self.changed.pop_first()?;
        Some((Rank::Changed { wanted_by }, ticket))
    }
}

/// So long before there should be another certificate an order comes before all others: it may have to wait long.
const PRESSING: Duration = Duration::from_secs(7 * 86_400);
