//! The steps of all certificates: in the order of time until they are due, then each in its lane.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::certificate::{CertificateName, DesiredCertificate};
use crate::clock::Timestamp;
use crate::inventory::CertificateState;
use crate::issuer::ledger::{self, Bucket, Ledger, Needs, OrderKind};
use crate::renewal::pace::Pace;
use crate::renewal::plan::{Action, Next};
use crate::renewal::waiting::{AT_ALL_EVENTS, FIRST, ORDERED_FIRST, Waiting};

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

/// What is due at one issuer, in the order in which it is begun.
#[derive(Debug, Default)]
struct Lane {
    pace: Pace,
    ledger: Option<Ledger>,
    /// By the moment at which a third of the lifetime is left.
    renewals: BTreeSet<(Timestamp, CertificateName)>,
    /// By the moment before which the CA wants them renewed.
    suggested: BTreeSet<(Timestamp, CertificateName)>,
    /// Orders of what has a certificate, by the moment at which a third of its lifetime is left.
    changed: BTreeSet<(Timestamp, CertificateName)>,
    missing: BTreeSet<CertificateName>,
    /// Those among them that have been tried before.
    again: BTreeSet<CertificateName>,
    orders: u32,
}

impl Queue {
    /// Puts a step in, due at `at`, for a name that has none.
    pub(super) fn put(&mut self, name: CertificateName, next: Next, at: Timestamp, turn: Waiting, load: u64) {
        self.lane(&next.issuer).pace.add(load);
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
        let lane = self.lane(&step.next.issuer);
        lane.pace.remove(step.load);
        if step.is_due {
            lane.leave(&step, name);
        }
        Some(step.next)
    }

    /// The names in here.
    pub(super) fn names(&self) -> impl Iterator<Item = &CertificateName> {
        self.steps.keys()
    }

    /// Does not look at `name` before `until`.
    pub(super) fn put_off(&mut self, name: &CertificateName, until: Timestamp) {
        let Some(step) = self.steps.get_mut(name) else {
            return;
        };
        if step.is_due {
            step.is_due = false;
            if let Some(lane) = self.lanes.get_mut(&step.next.issuer) {
                lane.leave(step, name);
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
        let lane = self.lane(issuer);
        if let (Some(known), Some(ledger)) = (&lane.ledger, &mut ledger) {
            for bucket in begun.flat_map(|desired| ledger::needs(&desired.domains, OrderKind::New).taken) {
                let full_at = ledger.full_at(&bucket).max(known.full_at(&bucket));
                ledger.note(bucket, full_at);
            }
        }
        lane.ledger = ledger;
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
        while let Some((at, name)) = self.waiting.first()
            && *at <= now
        {
            let name = name.clone();
            self.waiting.pop_first();
            if let Some(step) = self.steps.get_mut(&name) {
                let lane = self.lanes.entry(step.next.issuer.clone()).or_default();
                match lane.enter(step, &name) {
                    true => step.is_due = true,
                    false => taken.push(name),
                }
            }
        }
        let mut wake = None;
        let mut held = Vec::new();
        for (issuer, lane) in &mut self.lanes {
            let renewals = lane.take_renewals(now, &mut taken);
            let first = taken.len();
            let orders = lane.take_orders(now, &desired, &mut taken, &mut held);
            let begun = taken.iter().skip(first);
            self.begun
                .extend(begun.map(|name| (name.clone(), issuer.clone())));
            wake = renewals.into_iter().chain(orders).chain(wake).min();
        }
        for (name, until) in held {
            self.put_off(&name, until);
        }
        let mut actions: Vec<_> = taken.into_iter().filter_map(|name| self.take(name)).collect();
        actions
            .sort_by(|one, other| (one.next.at, &one.certificate).cmp(&(other.next.at, &other.certificate)));
        let waiting = self.waiting.first().map(|(at, _)| *at);
        (actions, waiting.into_iter().chain(wake).min())
    }

    fn take(&mut self, name: CertificateName) -> Option<Action> {
        // Everybody else has taken it out of where it stood.
        let step = self.steps.remove(&name)?;
        self.lane(&step.next.issuer).pace.remove(step.load);
        Some(Action {
            certificate: name,
            next: step.next,
        })
    }

    fn lane(&mut self, issuer: &str) -> &mut Lane {
        if !self.lanes.contains_key(issuer) {
            self.lanes.insert(issuer.to_owned(), Lane::default());
        }
        self.lanes
            .get_mut(issuer)
            .unwrap_or_else(|| unreachable!("it is there by now"))
    }
}

impl Lane {
    /// Lets a step wait for its turn; `false` where it waits for nothing.
    fn enter(&mut self, step: &Step, name: &CertificateName) -> bool {
        match step.turn {
            Waiting::AtOnce => false,
            Waiting::Order { .. } if self.ledger.is_none() => false,
            Waiting::Order {
                third: Some(third), ..
            } => self.changed.insert((third, name.clone())),
            Waiting::Order { again: true, .. } => self.again.insert(name.clone()),
            Waiting::Order { .. } => self.missing.insert(name.clone()),
            Waiting::Renewal {
                suggested: Some(end), ..
            } => self.suggested.insert((end, name.clone())),
            Waiting::Renewal { third, .. } => self.renewals.insert((third, name.clone())),
        }
    }

    fn leave(&mut self, step: &Step, name: &CertificateName) {
        match step.turn {
            Waiting::AtOnce => {}
            Waiting::Order {
                third: Some(third), ..
            } => drop(self.changed.remove(&(third, name.clone()))),
            Waiting::Order { again: true, .. } => drop(self.again.remove(name)),
            Waiting::Order { .. } => drop(self.missing.remove(name)),
            Waiting::Renewal {
                suggested: Some(end), ..
            } => drop(self.suggested.remove(&(end, name.clone()))),
            Waiting::Renewal { third, .. } => drop(self.renewals.remove(&(third, name.clone()))),
        }
    }

    /// Renewals at the issuer's pace; returns when the next may be begun.
    fn take_renewals(&mut self, now: Timestamp, taken: &mut Vec<CertificateName>) -> Option<Timestamp> {
        loop {
            let third = self.renewals.first().map(|(third, _)| *third);
            let within = |time| third.is_some_and(|third| third <= now + time);
            let is_urgent = within(AT_ALL_EVENTS);
            if !is_urgent && self.pace.free_at() > now {
                let is_empty = self.renewals.is_empty() && self.suggested.is_empty();
                let urgent = third.map(|third| third - AT_ALL_EVENTS);
                return (!is_empty).then(|| urgent.into_iter().fold(self.pace.free_at(), Timestamp::min));
            }
            let from = match is_urgent || within(FIRST) || self.suggested.is_empty() {
                true => &mut self.renewals,
                false => &mut self.suggested,
            };
            let (_, name) = from.pop_first()?;
            self.pace.take(now);
            taken.push(name);
        }
    }

    /// Orders as the CA's limits allow; returns when the next may be begun. What one name alone is `held` back by, holds
    /// up no other.
    fn take_orders<'d>(
        &mut self,
        now: Timestamp,
        desired: impl Fn(&CertificateName) -> Option<&'d DesiredCertificate>,
        taken: &mut Vec<CertificateName>,
        held: &mut Vec<(CertificateName, Timestamp)>,
    ) -> Option<Timestamp> {
        loop {
            let name = self.next_order(now)?.clone();
            let needs = desired(&name).map_or_else(Needs::default, |desired| {
                ledger::needs(&desired.domains, OrderKind::New)
            });
            let obstacle = self
                .ledger
                .as_ref()
                .and_then(|ledger| ledger.obstacle(&needs, now));
            match obstacle {
                Some((Bucket::Orders, until)) => return Some(until),
                Some((_, until)) => held.push((name.clone(), until)),
                None => {
                    if let Some(ledger) = &mut self.ledger {
                        ledger.take(&needs, now);
                    }
                    self.pace.take(now);
                    self.orders = self.orders.wrapping_add(1);
                    taken.push(name.clone());
                }
            }
            if !self.missing.remove(&name) && !self.again.remove(&name) {
                self.changed.pop_first();
            }
        }
    }

    fn next_order(&self, now: Timestamp) -> Option<&CertificateName> {
        let changed = self.changed.first();
        if let Some((third, name)) = changed
            && *third <= now + ORDERED_FIRST
        {
            return Some(name);
        }
        let (new, again) = (self.missing.first(), self.again.first());
        let missing = match self.orders % 4 {
            3 => again.or(new),
            _ => new.or(again),
        };
        missing.or(changed.map(|(_, name)| name))
    }
}
