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

/// The place of a name's steps among the others.
pub(super) type Key = usize;

/// A moment and the key of a step, in the order of time, as one number: nothing is compared more often.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Due(i128);

#[derive(Debug)]
struct Step {
    name: CertificateName,
    /// What is due; `None` where nothing is, and once it was begun, until another is put in.
    next: Option<Next>,
    turn: Waiting,
    load: u64,
    /// When it is looked at; it stands in its lane once it was.
    at: Timestamp,
    is_due: bool,
}

impl Queue {
    /// A place for the steps of `name`.
    pub(super) fn admit(&mut self, name: &CertificateName) -> Key {
        self.steps.insert(Step {
            name: name.clone(),
            next: None,
            turn: Waiting::AtOnce,
            load: 0,
            at: Timestamp::default(),
            is_due: false,
        })
    }

    /// Gives that place up, with the step that stands there.
    pub(super) fn dismiss(&mut self, key: Key) {
        self.remove(key);
        self.steps.try_remove(key);
    }

    /// Puts a step in, due at `at`, instead of the one that may stand there.
    pub(super) fn put(&mut self, key: Key, next: Next, at: Timestamp, turn: Waiting, load: u64) {
        let Some(step) = self.steps.get_mut(key) else {
            return;
        };
        unlink(&mut self.waiting, &mut self.lanes, key, step);
        match self.lanes.get_mut(&next.issuer) {
            Some(lane) => lane.pace.add(load),
            None => self.lanes.entry(next.issuer.clone()).or_default().pace.add(load),
        }
        step.next = Some(next);
        step.turn = turn;
        step.load = load;
        step.at = at;
        step.is_due = false;
        self.waiting.insert(Due::new(at, key));
    }

    /// Takes the step out.
    pub(super) fn remove(&mut self, key: Key) -> Option<Next> {
        let step = self.steps.get_mut(key)?;
        unlink(&mut self.waiting, &mut self.lanes, key, step)
    }

    /// Does not look at the step before `until`.
    pub(super) fn put_off(&mut self, key: Key, until: Timestamp) {
        let Some(step) = self.steps.get_mut(key) else {
            return;
        };
        let Some(next) = unlink(&mut self.waiting, &mut self.lanes, key, step) else {
            return;
        };
        let (at, turn, load) = (step.at.max(until), step.turn, step.load);
        self.put(key, next, at, turn, load);
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
        let (mut actions, mut taken) = (Vec::new(), Vec::new());
        let last = Due::new(now, Key::MAX);
        while self.waiting.first().is_some_and(|due| *due <= last)
            && let Some(due) = self.waiting.pop_first()
        {
            let key = due.key();
            if let Some(step) = self.steps.get_mut(key)
                && let Some(next) = &step.next
                && let Some(lane) = self.lanes.get_mut(&next.issuer)
            {
                step.is_due = lane.enter(step.turn, &step.name, key);
                if !step.is_due {
                    actions.extend(begin(step, lane));
                }
            }
        }
        let (mut wake, mut shared): (_, Vec<Shared>) = (None, Vec::new());
        let is_alone = self.lanes.len() == 1;
        for (issuer, lane) in &mut self.lanes {
            lane.follow(&shared);
            let renewals = lane.take_renewals(now, &mut taken);
            let orders = lane.take_orders(now, &desired, &mut taken);
            wake = sooner(wake, sooner(renewals, orders));
            if !is_alone {
                shared.extend(lane.shared(taken.iter().flat_map(|taken| &taken.buckets)));
            }
            for Taken { key, buckets } in taken.drain(..) {
                let step = self.steps.get_mut(key);
                let Some(action) = step.and_then(|step| begin(step, lane)) else {
                    continue;
                };
                if !buckets.is_empty() {
                    let issuer = issuer.clone();
                    self.begun
                        .insert(action.certificate.clone(), Begun { issuer, buckets });
                }
                actions.push(action);
            }
        }
        if !shared.is_empty() {
            self.lanes.values_mut().for_each(|lane| lane.follow(&shared));
        }
        actions
            .sort_by(|one, other| (one.next.at, &one.certificate).cmp(&(other.next.at, &other.certificate)));
        let waiting = self.waiting.first().and_then(|due| self.steps.get(due.key()));
        (actions, sooner(wake, waiting.map(|step| step.at)))
    }
}

/// Begins a step, which has left the place where it stood.
fn begin(step: &mut Step, lane: &mut Lane) -> Option<Action> {
    let next = step.next.take()?;
    lane.pace.remove(step.load);
    let certificate = step.name.clone();
    Some(Action { certificate, next })
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
