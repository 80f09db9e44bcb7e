//! The plan kept up to date: one changed certificate costs the same among ten and among 100,000.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::certificate::{CertificateName, DesiredCertificate};
use crate::clock::Timestamp;
use crate::inventory::CertificateRecord;
use crate::issuer::ledger::Ledger;
use crate::renewal::plan::{ClockAlarm, Next, Plan, next};
use crate::renewal::queue::{Cost, Queue};
use crate::renewal::waiting::waiting;

/// What is desired, and the next step of each certificate, in the order of time.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    desired: HashMap<CertificateName, Arc<Desired>>,
    queue: Queue,
    put_off: HashMap<CertificateName, Timestamp>,
    last_obtained_at: Option<Timestamp>,
}

/// A desired certificate with its digest.
#[derive(Debug)]
pub(super) struct Desired {
    pub(super) certificate: DesiredCertificate,
    pub(super) digest: String,
}

impl Agenda {
    /// An agenda on which nothing stands.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Replaces what is desired. What no longer is leaves the agenda; the others keep their steps until they are
    /// updated.
    pub(super) fn desire(&mut self, desired: &[DesiredCertificate]) {
        self.desired = desired
            .iter()
            .map(|certificate| {
                let desired = Desired {
                    certificate: certificate.clone(),
                    digest: certificate.digest(),
                };
                (certificate.name.clone(), Arc::new(desired))
            })
            .collect();
        let gone: Vec<_> = self
            .queue
            .names()
            .filter(|name| !self.desired.contains_key(*name))
            .cloned()
            .collect();
        for name in gone {
            self.remove(&name);
        }
        self.put_off.retain(|name, _| self.desired.contains_key(name));
    }

    /// What is desired under `name`.
    pub(super) fn desired(&self, name: &CertificateName) -> Option<&Arc<Desired>> {
        self.desired.get(name)
    }

    /// Every desired name.
    pub(super) fn names(&self) -> impl Iterator<Item = &CertificateName> {
        self.desired.keys()
    }

    /// What is left of an issuer's limits, by what was counted; what was begun may not have been yet. Without it, orders
    /// are begun at once.
    pub(super) fn know_limits(&mut self, issuer: &str, ledger: Option<Ledger>) {
        self.queue.know_limits(issuer, ledger);
    }

    /// Takes note of what the attempt that was begun at `name` has cost.
    pub(super) fn account_for(&mut self, name: &CertificateName, cost: Cost) {
        self.queue.account_for(name, cost);
    }

    /// Works out the next step of `name` anew from what the store says; returns when it is due, if there is one.
    pub(super) fn update(
        &mut self,
        name: &CertificateName,
        record: Option<&CertificateRecord>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let obtained_at = record
            .and_then(|record| record.current.as_ref())
            .map(|current| current.obtained_at);
        self.last_obtained_at = self.last_obtained_at.max(obtained_at);
        let desired = self.desired.get(name);
        let next = desired.and_then(|desired| next(&desired.certificate, &desired.digest, record, now));
        let (Some(desired), Some(next)) = (desired, next) else {
            self.queue.remove(name);
            return None;
        };
        let (turn, load) = waiting(&desired.certificate, &desired.digest, record, &next);
        let put_off = self.put_off.get(name).copied();
        let at = put_off.map_or(next.at, |until| next.at.max(until));
        self.queue.put(name, next, at, turn, load);
        Some(at)
    }

    /// Nothing is to be done about `name` until it is updated.
    pub(super) fn remove(&mut self, name: &CertificateName) -> Option<Next> {
        self.queue.remove(name)
    }

    /// Does nothing about `name` before `until`, whatever the store says.
    pub(super) fn put_off(&mut self, name: &CertificateName, until: Timestamp) {
        self.put_off.insert(name.clone(), until);
        self.queue.put_off(name, until);
    }

    /// Takes off the agenda what is due at `now` and has its turn; each comes back with the next update of its name.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Plan {
        if now < EARLIEST {
            return Plan {
                actions: Vec::new(),
                wake: Some(EARLIEST),
                alarm: Some(ClockAlarm::BeforeCertgate { now }),
            };
        }
        let desired = |name: &CertificateName| Some(&self.desired.get(name)?.certificate);
        let (actions, wake) = self.queue.take_due(now, desired);
        if !self.put_off.is_empty() {
            for action in &actions {
                self.put_off.remove(&action.certificate);
            }
        }
        let behind = self.last_obtained_at.filter(|at| at.since(now) > CLOCK_TOLERANCE);
        Plan {
            actions,
            wake,
            alarm: behind.map(|obtained_at| ClockAlarm::BehindStore { now, obtained_at }),
        }
    }
}

/// 2026-01-01: this program did not exist before.
const EARLIEST: Timestamp = Timestamp::from_unix_seconds(1_767_225_600);
/// Nodes of a fleet and corrections of the clock differ by less.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(3_600);
