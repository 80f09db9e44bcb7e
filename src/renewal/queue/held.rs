//! Orders that a limit of their own names holds back: they hold up no other, and of a crowd at one limit as many are looked
//! at again as it has room for, not all.

use std::collections::{BTreeSet, HashMap};

use crate::clock::Timestamp;
use crate::issuer::ledger::{Bucket, Ledger};
use crate::renewal::queue::Key;
use crate::renewal::queue::orders::{Orders, Ticket};
use crate::renewal::waiting::Rank;

/// Who waits at which bucket, and when that is looked at.
#[derive(Debug, Default)]
pub(super) struct Held {
    crowds: HashMap<Bucket, Crowd>,
    looks: BTreeSet<(Timestamp, Bucket)>,
    at: HashMap<Key, Bucket>,
}

#[derive(Debug)]
struct Crowd {
    look: Timestamp,
    orders: Orders,
}

impl Held {
    /// Lets an order wait at `bucket`, which has no token before `until`.
    pub(super) fn hold(&mut self, bucket: &Bucket, until: Timestamp, rank: Rank, ticket: Ticket) {
        let crowd = self.crowds.entry(bucket.clone()).or_insert_with(|| {
            self.looks.insert((until, bucket.clone()));
            Crowd {
                look: until,
                orders: Orders::default(),
            }
        });
        self.at.insert(ticket.1, bucket.clone());
        crowd.orders.insert(rank, ticket);
    }

    /// Puts those back into `orders` whose limit has room for them by now.
    pub(super) fn release(&mut self, now: Timestamp, ledger: &Ledger, orders: &mut Orders) {
        while self.next_look().is_some_and(|look| look <= now)
            && let Some((_, bucket)) = self.looks.pop_first()
        {
            let Some(crowd) = self.crowds.get_mut(&bucket) else {
                continue;
            };
            let (room, next) = ledger.room(&bucket, now).unwrap_or((u32::MAX, now));
            for (rank, ticket) in std::iter::from_fn(|| crowd.orders.pop(now)).take(room as usize) {
                self.at.remove(&ticket.1);
                orders.insert(rank, ticket);
            }
            if crowd.orders.is_empty() {
                self.crowds.remove(&bucket);
            } else {
                crowd.look = next;
                self.looks.insert((next, bucket));
            }
        }
    }

    /// Looks at `bucket` at once: there may be a token that nobody counted on.
    pub(super) fn look_at_once(&mut self, bucket: &Bucket) {
        if let Some(crowd) = self.crowds.get_mut(bucket) {
            self.looks.remove(&(crowd.look, bucket.clone()));
            crowd.look = Timestamp::default();
            self.looks.insert((crowd.look, bucket.clone()));
        }
    }

    /// Puts all of them back.
    pub(super) fn release_all(&mut self, orders: &mut Orders) {
        let Self { crowds, .. } = std::mem::take(self);
        for mut crowd in crowds.into_values() {
            // Whichever is first: they are put in order again.
            while let Some((rank, ticket)) = crowd.orders.pop(Timestamp::default()) {
                orders.insert(rank, ticket);
            }
        }
    }

    /// Takes an order out; `false` where it does not wait here.
    pub(super) fn remove(&mut self, rank: Rank, ticket: &Ticket) -> bool {
        let Some(bucket) = self.at.remove(&ticket.1) else {
            return false;
        };
        if let Some(crowd) = self.crowds.get_mut(&bucket) {
            crowd.orders.remove(rank, ticket);
            if crowd.orders.is_empty() {
                self.looks.remove(&(crowd.look, bucket.clone()));
                self.crowds.remove(&bucket);
            }
        }
        true
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.looks.is_empty()
    }

    /// When there may be room for somebody.
    pub(super) fn next_look(&self) -> Option<Timestamp> {
        self.looks.first().map(|(look, _)| *look)
    }
}
