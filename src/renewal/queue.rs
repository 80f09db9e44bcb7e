//! The steps of all certificates: in the order of time until they are due, then each in its lane.

mod cost;
mod held;
mod lane;
mod orders;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use slab::Slab;

use crate::certificate::{CertificateName, DesiredCertificate};
use crate::clock::Timestamp;
use crate::issuer::ledger::{Bucket, Ledger, Shared};
use crate::renewal::plan::{Action, Next};
use crate::renewal::queue::lane::{Lane, Taken};
use crate::renewal::waiting::Waiting;

pub(super) use crate::renewal::queue::cost::Cost;

/// The next step of each certificate.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Names are looked up once for a change: all else goes by their keys.
    keys: HashMap<CertificateName, Key>,
    steps: Slab<Step>,
    waiting: BTreeSet<Due>,
    lanes: BTreeMap<String, Lane>,
    /// Orders that were begun, until it is known what came of them.
    begun: HashMap<CertificateName, Begun>,
}

/// What was taken of the limits of an issuer.
#[derive(Debug)]
struct Begun {
    issuer: String,
    buckets: Vec<Bucket>,
}

/// The place of a step among the others.
type Key = usize;

/// A moment and the key of a step, in the order of time, as one number: nothing is compared more often.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Due(i128);

#[derive(Debug)]
struct Step {
    name: CertificateName,
    /// What is due; `None` once it was begun, until the name is put in again.
    next: Option<Next>,
    turn: Waiting,
    load: u64,
    /// When it is looked at; it stands in its lane once it was.
    at: Timestamp,
    is_due: bool,
}

impl Queue {
    /// Puts a step in, due at `at`, in the place of the one that `name` may have.
    pub(super) fn put(
        &mut self,
        name: &CertificateName,
        next: Next,
        at: Timestamp,
        turn: Waiting,
        load: u64,
    ) {
        match self.lanes.get_mut(&next.issuer) {
            Some(lane) => lane.pace.add(load),
            None => self.lanes.entry(next.issuer.clone()).or_default().pace.add(load),
        }
        let step = |name| Step {
            name,
            next: Some(next),
            turn,
            load,
            at,
            is_due: false,
        };
        let key = match self.keys.get(name).copied() {
            Some(key) => {
                if let Some(known) = self.steps.get_mut(key) {
                    unlink(&mut self.waiting, &mut self.lanes, key, known);
                    *known = step(known.name.clone());
                }
                key
            }
            None => {
                let key = self.steps.insert(step(name.clone()));
                self.keys.insert(name.clone(), key);
                key
            }
        };
        self.waiting.insert(Due::new(at, key));
    }

    /// Takes the step of `name` out.
    pub(super) fn remove(&mut self, name: &CertificateName) -> Option<Next> {
        let key = self.keys.remove(name)?;
        let mut step = self.steps.try_remove(key)?;
        unlink(&mut self.waiting, &mut self.lanes, key, &mut step)
    }

    /// Does not look at `name` before `until`.
    pub(super) fn put_off(&mut self, name: &CertificateName, until: Timestamp) {
        let key = self.keys.get(name).copied();
        let Some((key, step)) = key.and_then(|key| Some((key, self.steps.get_mut(key)?))) else {
            return;
        };
        let Some(next) = unlink(&mut self.waiting, &mut self.lanes, key, step) else {
            return;
        };
        let (at, turn, load) = (step.at.max(until), step.turn, step.load);
        self.put(name, next, at, turn, load);
    }

    /// What is left of an issuer's limits, by what was counted; `None` where none are known.
    pub(super) fn know_limits(&mut self, issuer: &str, mut ledger: Option<Ledger>) {
        let elsewhere = self.begun.values().filter(|begun| begun.issuer != issuer);
        for begun in elsewhere {
            if let (Some(lane), Some(ledger)) = (self.lanes.get(&begun.issuer), &mut ledger) {
                let shared = lane.shared(begun.buckets.iter());
                shared.iter().for_each(|shared| ledger.follow_upwards(shared));
            }
        }
        let begun = self.begun.values().filter(|begun| begun.issuer == issuer);
        let lane = self.lanes.entry(issuer.to_owned()).or_default();
        lane.know_limits(ledger, begun.flat_map(|begun| &begun.buckets));
    }

    /// Takes note of what the attempt that was begun at `name` has cost, and gives back what was taken beyond that.
    pub(super) fn account_for(&mut self, name: &CertificateName, cost: Cost) {
        if self.begun.is_empty() {
            return;
        }
        let Some(Begun { issuer, buckets }) = self.begun.remove(name) else {
            return;
        };
        if let Some(lane) = self.lanes.get_mut(&issuer) {
            if cost != Cost::Nothing {
                lane.note_account();
            }
            let back: Vec<_> = buckets.iter().filter(|bucket| !cost.includes(bucket)).collect();
            back.iter().for_each(|bucket| lane.give_back(bucket));
            let given = lane.shared(back.into_iter());
            let others = self.lanes.iter_mut().filter(|(other, _)| **other != issuer);
            others.for_each(|(_, lane)| lane.follow_back(&given));
        }
    }

    /// Takes out what may be begun at `now`, the longest due first, and says when to look again.
    pub(super) fn take_due<'d>(
        &mut self,
        now: Timestamp,
        desired: impl Fn(&CertificateName) -> Option<&'d DesiredCertificate>,
    ) -> (Vec<Action>, Option<Timestamp>) {
        let mut taken = Vec::new();
        let last = Due::new(now, Key::MAX);
        while self.waiting.first().is_some_and(|due| *due <= last)
            && let Some(due) = self.waiting.pop_first()
        {
            let key = due.key();
            if let Some(step) = self.steps.get_mut(key)
                && let Some(next) = &step.next
            {
                let lane = self.lanes.get_mut(&next.issuer);
                step.is_due = lane.is_some_and(|lane| lane.enter(step.turn, &step.name, key));
                if !step.is_due {
                    let buckets = Vec::new();
                    taken.push(Taken { key, buckets });
                }
            }
        }
        let (mut wake, mut shared): (_, Vec<Shared>) = (None, Vec::new());
        let is_alone = self.lanes.len() == 1;
        for lane in self.lanes.values_mut() {
            lane.follow(&shared);
            let before = taken.len();
            let renewals = lane.take_renewals(now, &mut taken);
            let orders = lane.take_orders(now, &desired, &mut taken);
            wake = sooner(wake, sooner(renewals, orders));
            if !is_alone {
                let new = taken.iter().skip(before);
                shared.extend(lane.shared(new.flat_map(|taken| &taken.buckets)));
            }
        }
        if !shared.is_empty() {
            self.lanes.values_mut().for_each(|lane| lane.follow(&shared));
        }
        // Each has left the place where it stood.
        let mut actions: Vec<_> = taken
            .into_iter()
            .filter_map(|Taken { key, buckets }| {
                let step = self.steps.get_mut(key)?;
                let next = step.next.take()?;
                if let Some(lane) = self.lanes.get_mut(&next.issuer) {
                    lane.pace.remove(step.load);
                }
                let certificate = step.name.clone();
                if !buckets.is_empty() {
                    let issuer = next.issuer.clone();
                    self.begun.insert(certificate.clone(), Begun { issuer, buckets });
                }
                Some(Action { certificate, next })
            })
            .collect();
        actions
            .sort_by(|one, other| (one.next.at, &one.certificate).cmp(&(other.next.at, &other.certificate)));
        let waiting = self.waiting.first().and_then(|due| self.steps.get(due.key()));
        (actions, sooner(wake, waiting.map(|step| step.at)))
    }
}

impl Due {
    fn new(at: Timestamp, key: Key) -> Self {
        Self((i128::from(at.unix_milliseconds()) << Key::BITS) | key as i128)
    }

    fn key(self) -> Key {
        self.0 as Key
    }
}

/// The first of two moments, as far as there are any.
pub(super) fn sooner(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, None) => one,
        (None, other) => other,
    }
}

/// Takes `step` out of wherever it stands; `None` where it was begun already.
fn unlink(
    waiting: &mut BTreeSet<Due>,
    lanes: &mut BTreeMap<String, Lane>,
    key: Key,
    step: &mut Step,
) -> Option<Next> {
    let next = step.next.take()?;
    if !step.is_due {
        waiting.remove(&Due::new(step.at, key));
    }
    if let Some(lane) = lanes.get_mut(&next.issuer) {
        lane.pace.remove(step.load);
        if step.is_due {
            lane.leave(step.turn, &step.name, key);
        }
    }
    Some(next)
}
