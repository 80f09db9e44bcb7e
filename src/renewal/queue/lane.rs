//! What is due at one issuer, in the order in which it is begun: orders as its limits allow, renewals at its pace.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::certificate::{CertificateName, DesiredCertificate};
use crate::clock::Timestamp;
use crate::issuer::ledger::{self, Bucket, Ledger, Needs, OrderKind};
use crate::renewal::pace::Pace;
use crate::renewal::queue::held::Held;
use crate::renewal::queue::orders::Orders;
use crate::renewal::waiting::Waiting;

/// The lane of one issuer.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) pace: Pace,
    pub(super) ledger: Option<Ledger>,
    /// By the moment at which a third of the lifetime is left.
    renewals: BTreeSet<(Timestamp, CertificateName)>,
    /// By the moment before which the CA wants them renewed.
    suggested: BTreeSet<(Timestamp, CertificateName)>,
    orders: Orders,
    held: Held,
}

impl Lane {
    /// What is left of the limits by another count; `None` where none are known.
    pub(super) fn know_limits(&mut self, ledger: Option<Ledger>) {
        self.ledger = ledger;
        self.held.release_all(&mut self.orders);
    }

    /// Lets a step wait for its turn; `false` where it waits for nothing.
    pub(super) fn enter(&mut self, turn: Waiting, name: &CertificateName) -> bool {
        match turn {
            Waiting::AtOnce => return false,
            Waiting::Order(_) if self.ledger.is_none() => return false,
            Waiting::Order(rank) => self.orders.insert(rank, name.clone()),
            Waiting::Renewal {
                suggested: Some(end), ..
            } => drop(self.suggested.insert((end, name.clone()))),
            Waiting::Renewal { third, .. } => drop(self.renewals.insert((third, name.clone()))),
        }
        true
    }

    /// Takes a step out that waits.
    pub(super) fn leave(&mut self, turn: Waiting, name: &CertificateName) {
        match turn {
            Waiting::AtOnce => {}
            Waiting::Order(rank) => {
                if !self.held.remove(rank, name) {
                    self.orders.remove(rank, name);
                }
            }
            Waiting::Renewal {
                suggested: Some(end), ..
            } => drop(self.suggested.remove(&(end, name.clone()))),
            Waiting::Renewal { third, .. } => drop(self.renewals.remove(&(third, name.clone()))),
        }
    }

    /// Renewals at the issuer's pace; returns when the next may be begun.
    pub(super) fn take_renewals(
        &mut self,
        now: Timestamp,
        taken: &mut Vec<CertificateName>,
    ) -> Option<Timestamp> {
        while !self.renewals.is_empty() || !self.suggested.is_empty() {
            let third = self.renewals.first().map(|(third, _)| *third);
            let within = |time| third.is_some_and(|third| third <= now + time);
            let is_urgent = within(AT_ALL_EVENTS);
            let free_at = self.pace.free_at();
            if !is_urgent && free_at > now {
                let urgent = third.map(|third| third - AT_ALL_EVENTS);
                return Some(urgent.map_or(free_at, |urgent| urgent.min(free_at)));
            }
            let from = match is_urgent || within(FIRST) || self.suggested.is_empty() {
                true => &mut self.renewals,
                false => &mut self.suggested,
            };
            let (_, name) = from.pop_first()?;
            self.pace.take(now);
            taken.push(name);
        }
        None
    }

    /// Orders as the CA's limits allow; returns when the next may be begun.
    pub(super) fn take_orders<'d>(
        &mut self,
        now: Timestamp,
        desired: impl Fn(&CertificateName) -> Option<&'d DesiredCertificate>,
        taken: &mut Vec<CertificateName>,
    ) -> Option<Timestamp> {
        if let Some(ledger) = &self.ledger {
            self.held.release(now, ledger, &mut self.orders);
        }
        let mut free_at = None;
        while !self.orders.is_empty() {
            free_at = self.ledger.as_ref().map(|ledger| ledger.free_at(&Bucket::Orders));
            if free_at > Some(now) {
                break;
            }
            let (rank, name) = self.orders.pop(now)?;
            let needs = desired(&name).map_or_else(Needs::default, |desired| {
                ledger::needs(&desired.domains, OrderKind::New)
            });
            if let Some(ledger) = &mut self.ledger {
                if let Some((bucket, until)) = ledger.obstacle(&needs, now) {
                    self.held.hold(bucket, until, rank, name);
                    continue;
                }
                ledger.take(&needs, now);
            }
            self.pace.take(now);
            taken.push(name);
        }
        let next_order = free_at.filter(|_| !self.orders.is_empty());
        next_order.into_iter().chain(self.held.next_look()).min()
    }
}

/// Before a third of the lifetime is left, renewals come first, and are not held back at all.
const FIRST: Duration = Duration::from_secs(86_400);
const AT_ALL_EVENTS: Duration = Duration::from_secs(3_600);
