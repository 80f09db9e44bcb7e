//! What is due at one issuer, in the order in which it is begun: orders as its limits allow, renewals at its pace.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::certificate::{CertificateName, DesiredCertificate};
use crate::clock::Timestamp;
use crate::issuer::ledger::{Bucket, Ledger, Needs, OrderKind, Shared};
use crate::renewal::pace::Pace;
use crate::renewal::queue::held::Held;
use crate::renewal::queue::orders::Orders;
use crate::renewal::queue::{Key, sooner};
use crate::renewal::waiting::Waiting;

/// The lane of one issuer.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) pace: Pace,
    ledger: Option<Ledger>,
    /// By the moment at which there should be another, with the one before which the CA wants them renewed.
    renewals: BTreeMap<(Timestamp, Key), Option<Timestamp>>,
    /// Those of which it does by that, with the former.
    suggested: BTreeMap<(Timestamp, Key), Timestamp>,
    orders: Orders,
    held: Held,
}

/// What is begun, and what was taken of the limits for it.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) key: Key,
    pub(super) buckets: Vec<Bucket>,
}

impl Lane {
    /// What is left of the limits by another count; `None` where none are known. Of what was taken for orders that are
    /// `begun`, which may not have been counted yet, the lesser part of both counts holds.
    pub(super) fn know_limits<'b>(
        &mut self,
        mut ledger: Option<Ledger>,
        begun: impl Iterator<Item = &'b Bucket>,
    ) {
        if let (Some(known), Some(ledger)) = (&self.ledger, &mut ledger) {
            for bucket in begun {
                ledger.keep_taken(bucket, known);
            }
        }
        self.ledger = ledger;
        self.held.release_all(&mut self.orders);
    }

    /// What other issuers at the same CA are to know of what this one has taken, or given back, of `buckets`.
    pub(super) fn shared<'b>(&self, buckets: impl Iterator<Item = &'b Bucket>) -> Vec<Shared> {
        let ledger = self.ledger.as_ref();
        buckets.filter_map(|bucket| ledger?.shared(bucket)).collect()
    }

    /// Takes note of what those have taken.
    pub(super) fn follow(&mut self, taken: &[Shared]) {
        for shared in taken {
            if let Some(ledger) = &mut self.ledger {
                ledger.follow(shared);
            }
        }
    }

    /// Takes note of what those have given back, and looks at those at once who wait for it.
    pub(super) fn follow_back(&mut self, given: &[Shared]) {
        for shared in given {
            if self.ledger.as_mut().is_some_and(|ledger| ledger.follow(shared)) {
                self.held.look_at_once(shared.bucket());
            }
        }
    }

    /// An order was placed: there is an account for the others.
    pub(super) fn note_account(&mut self) {
        if let Some(ledger) = &mut self.ledger {
            ledger.note_account();
        }
    }

    /// Gives back what was taken for nothing, and looks at those at once who wait for it.
    pub(super) fn give_back(&mut self, bucket: &Bucket) {
        if let Some(ledger) = &mut self.ledger {
            ledger.give_back(bucket);
            self.held.look_at_once(bucket);
        }
    }

    /// Lets a step wait for its turn; `false` where it waits for nothing.
    pub(super) fn enter(&mut self, turn: Waiting, name: &CertificateName, key: Key) -> bool {
        match turn {
            Waiting::AtOnce => return false,
            Waiting::Order(_) if self.ledger.is_none() => return false,
            Waiting::Order(rank) => self.orders.insert(rank, (name.clone(), key)),
            Waiting::Renewal { wanted_by, suggested } => {
                if let Some(end) = suggested {
                    self.suggested.insert((end, key), wanted_by);
                }
                self.renewals.insert((wanted_by, key), suggested);
            }
        }
        true
    }

    /// Takes a step out that waits.
    pub(super) fn leave(&mut self, turn: Waiting, name: &CertificateName, key: Key) {
        match turn {
            Waiting::AtOnce => {}
            Waiting::Order(rank) => {
                let ticket = (name.clone(), key);
                if !self.held.remove(rank, &ticket) {
                    self.orders.remove(rank, &ticket);
                }
            }
            Waiting::Renewal { wanted_by, suggested } => {
                if let Some(end) = suggested {
                    self.suggested.remove(&(end, key));
                }
                self.renewals.remove(&(wanted_by, key));
            }
        }
    }

    /// Renewals at the issuer's pace; returns when the next may be begun.
    pub(super) fn take_renewals(&mut self, now: Timestamp, taken: &mut Vec<Taken>) -> Option<Timestamp> {
        while let Some(((wanted_by, _), _)) = self.renewals.first_key_value() {
            let wanted_by = *wanted_by;
            let within = |time| wanted_by <= now + time;
            let is_urgent = within(AT_ALL_EVENTS);
            let registration = self.ledger.as_ref().map(Ledger::registration_free_at);
            let registration = registration.unwrap_or_default();
            let free_at = self.pace.free_at().max(registration);
            if !is_urgent && free_at > now {
                return Some(free_at.min(wanted_by - AT_ALL_EVENTS));
            }
            let key = self.next_renewal(within(FIRST))?;
            self.pace.take(now);
            // What the order itself costs, if anything, holds up nobody but this name.
            let mut needs = Needs::default();
            if let Some(ledger) = self.ledger.as_mut().filter(|_| registration <= now) {
                needs.taken.extend(ledger.registration());
                ledger.take(&needs, now);
            }
            let buckets = needs.taken;
            taken.push(Taken { key, buckets });
        }
        None
    }

    /// Takes the next renewal out: the one that is wanted first, where that is near, or else what the CA wants first.
    fn next_renewal(&mut self, is_near: bool) -> Option<Key> {
        if !is_near && let Some(((_, key), wanted_by)) = self.suggested.pop_first() {
            self.renewals.remove(&(wanted_by, key));
            return Some(key);
        }
        let ((_, key), suggested) = self.renewals.pop_first()?;
        if let Some(end) = suggested {
            self.suggested.remove(&(end, key));
        }
        Some(key)
    }

    /// Orders as the CA's limits allow; returns when the next may be begun.
    pub(super) fn take_orders<'d>(
        &mut self,
        now: Timestamp,
        desired: impl Fn(&CertificateName) -> Option<&'d DesiredCertificate>,
        taken: &mut Vec<Taken>,
    ) -> Option<Timestamp> {
        if self.orders.is_empty() && self.held.is_empty() {
            return None;
        }
        if let Some(ledger) = &self.ledger {
            self.held.release(now, ledger, &mut self.orders);
        }
        let mut free_at = None;
        while !self.orders.is_empty() {
            free_at = self.ledger.as_ref().map(Ledger::account_free_at);
            if free_at > Some(now) {
                break;
            }
            let (rank, ticket) = self.orders.pop(now)?;
            let mut buckets = Vec::new();
            if let (Some(ledger), Some(desired)) = (&mut self.ledger, desired(&ticket.0)) {
                let needs = ledger.needs(&desired.domains, OrderKind::New);
                if let Some((bucket, until)) = ledger.obstacle(&needs, now) {
                    self.held.hold(bucket, until, rank, ticket);
                    continue;
                }
                ledger.take(&needs, now);
                buckets = needs.taken;
            }
            self.pace.take(now);
            let (_, key) = ticket;
            taken.push(Taken { key, buckets });
        }
        let next_order = free_at.filter(|_| !self.orders.is_empty());
        sooner(next_order, self.held.next_look())
    }
}

/// So long before there should be another, renewals come first, and are not held back at all.
const FIRST: Duration = Duration::from_secs(86_400);
const AT_ALL_EVENTS: Duration = Duration::from_secs(3_600);
