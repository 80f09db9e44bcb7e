//! The steps of all certificates: in the order of time until they are due, then each in its lane.

mod held;
mod lane;
mod orders;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::certificate::{CertificateName, DesiredCertificate};
use crate::clock::Timestamp;
use crate::inventory::CertificateState;
use crate::issuer::ledger::{self, Bucket, Ledger, OrderKind};
use crate::renewal::plan::{Action, Next};
use crate::renewal::queue::lane::Lane;
use crate::renewal::waiting::Waiting;

/// The next step of each certificate.
#[derive(Debug, Default)]
pub(super) struct Queue {
    steps: HashMap<CertificateName, Step>,
    waiting: BTreeSet<(Timestamp, CertificateName)>,
    lanes: BTreeMap<String, Lane>,
    /// Orders that were begun, each with its issuer, until it is known what came of them.
    begun: HashMap<CertificateName, String>,
}

#[derive(Debug)]
struct Step {
    next: Next,
    turn: Waiting,
    load: u64,
    /// When it is looked at; it stands in its lane once it was.
    at: Timestamp,
    is_due: bool,
}

impl Queue {
    /// Puts a step in, due at `at`, for a name that has none.
    pub(super) fn put(&mut self, name: CertificateName, next: Next, at: Timestamp, turn: Waiting, load: u64) {
        let lane = self.lanes.entry(next.issuer.clone()).or_default();
        lane.pace.add(load);
        self.waiting.insert((at, name.clone()));
        let step = Step {
            next,
            turn,
            load,
            at,
            is_due: false,
        };
        self.steps.insert(name, step);
    }

    /// Takes the step of `name` out.
    pub(super) fn remove(&mut self, name: &CertificateName) -> Option<Next> {
        let step = self.steps.remove(name)?;
        if !step.is_due {
            self.waiting.remove(&(step.at, name.clone()));
        }
        if let Some(lane) = self.lanes.get_mut(&step.next.issuer) {
            lane.pace.remove(step.load);
            if step.is_due {
                lane.leave(step.turn, name);
            }
        }
        Some(step.next)
    }

    /// Does not look at `name` before `until`.
    pub(super) fn put_off(&mut self, name: &CertificateName, until: Timestamp) {
        let Some(step) = self.steps.get_mut(name) else {
            return;
        };
        if step.is_due {
            step.is_due = false;
            if let Some(lane) = self.lanes.get_mut(&step.next.issuer) {
                lane.leave(step.turn, name);
            }
        } else {
            self.waiting.remove(&(step.at, name.clone()));
        }
        step.at = step.at.max(until);
        self.waiting.insert((step.at, name.clone()));
    }

    /// What is left of an issuer's limits; `None` where none are known. Of what `begun` need, which may not have been
    /// counted yet, the lesser part of both counts holds.
    pub(super) fn know_limits<'d>(
        &mut self,
        issuer: &str,
        mut ledger: Option<Ledger>,
        begun: impl Iterator<Item = &'d DesiredCertificate>,
    ) {
        let lane = self.lanes.entry(issuer.to_owned()).or_default();
        if let (Some(known), Some(ledger)) = (&lane.ledger, &mut ledger) {
            for bucket in begun.flat_map(|desired| ledger::needs(&desired.domains, OrderKind::New).taken) {
                let full_at = ledger.full_at(&bucket).max(known.full_at(&bucket));
                ledger.note(bucket, full_at);
            }
        }
        lane.know_limits(ledger);
    }

    /// Takes back what was counted for an order of which nothing came, by the `state` that its attempt has left.
    pub(super) fn account_for(&mut self, desired: &DesiredCertificate, state: Option<&CertificateState>) {
        let Some(issuer) = self.begun.remove(&desired.name) else {
            return;
        };
        let lane = self.lanes.get_mut(&issuer);
        let Some(ledger) = lane.and_then(|lane| lane.ledger.as_mut()) else {
            return;
        };
        let is_placed = match state {
            // DNS, or the clock: nothing was asked for.
            Some(CertificateState::Blocked { .. }) => false,
            Some(CertificateState::BackingOff { .. } | CertificateState::Stopped { .. }) => true,
            _ => return,
        };
        for bucket in ledger::needs(&desired.domains, OrderKind::New).taken {
            // An order counts from when it is placed, whatever comes of it.
            if !is_placed || bucket != Bucket::Orders {
                ledger.give_back(&bucket);
            }
        }
    }

    /// Takes out what may be begun at `now`, the longest due first, and says when to look again.
    pub(super) fn take_due<'d>(
        &mut self,
        now: Timestamp,
        desired: impl Fn(&CertificateName) -> Option<&'d DesiredCertificate>,
    ) -> (Vec<Action>, Option<Timestamp>) {
        let mut taken = Vec::new();
        while self.waiting.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, name)) = self.waiting.pop_first()
        {
            if let Some(step) = self.steps.get_mut(&name) {
                let lane = self.lanes.get_mut(&step.next.issuer);
                step.is_due = lane.is_some_and(|lane| lane.enter(step.turn, &name));
                if !step.is_due {
                    taken.push(name);
                }
            }
        }
        let mut wake = None;
        for (issuer, lane) in &mut self.lanes {
            let renewals = lane.take_renewals(now, &mut taken);
            let first = taken.len();
            let orders = lane.take_orders(now, &desired, &mut taken);
            let begun = taken.iter().skip(first);
            self.begun
                .extend(begun.map(|name| (name.clone(), issuer.clone())));
            wake = renewals.into_iter().chain(orders).chain(wake).min();
        }
        // Each has left the place where it stood.
        let mut actions: Vec<_> = taken
            .into_iter()
            .filter_map(|name| {
                let Step { next, load, .. } = self.steps.remove(&name)?;
                if let Some(lane) = self.lanes.get_mut(&next.issuer) {
                    lane.pace.remove(load);
                }
                Some(Action {
                    certificate: name,
                    next,
                })
            })
            .collect();
        actions
            .sort_by(|one, other| (one.next.at, &one.certificate).cmp(&(other.next.at, &other.certificate)));
        let waiting = self.waiting.first().map(|(at, _)| *at);
        (actions, waiting.into_iter().chain(wake).min())
    }
}
