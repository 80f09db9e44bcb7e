//! The plan kept up to date: one changed certificate costs the same among ten and among 100,000.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::certificate::{CertificateName, DesiredCertificate};
use crate::clock::Timestamp;
use crate::inventory::CertificateRecord;
use crate::renewal::plan::{Action, ClockAlarm, Next, Plan, next};

/// What is desired, and the next step of each certificate, in the order of time.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    desired: BTreeMap<CertificateName, Arc<Desired>>,
    next: BTreeMap<CertificateName, Next>,
    queue: BTreeSet<(Timestamp, CertificateName)>,
    put_off: BTreeMap<CertificateName, Timestamp>,
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
            .next
            .keys()
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

    /// Works out the next step of `name` anew from what the store says.
    pub(super) fn update(
        &mut self,
        name: &CertificateName,
        record: Option<&CertificateRecord>,
        now: Timestamp,
    ) {
        self.remove(name);
        let obtained_at = record
            .and_then(|record| record.current.as_ref())
            .map(|current| current.obtained_at);
        self.last_obtained_at = self.last_obtained_at.max(obtained_at);
        let Some(desired) = self.desired.get(name) else {
            return;
        };
        if let Some(next) = next(&desired.certificate, &desired.digest, record, now) {
            self.put(name.clone(), next);
        }
    }

    /// Nothing is to be done about `name` until it is updated.
    pub(super) fn remove(&mut self, name: &CertificateName) -> Option<Next> {
        let next = self.next.remove(name)?;
        self.queue.remove(&(next.at, name.clone()));
        Some(next)
    }

    /// Does nothing about `name` before `until`, whatever the store says.
    pub(super) fn put_off(&mut self, name: &CertificateName, until: Timestamp) {
        self.put_off.insert(name.clone(), until);
        if let Some(next) = self.remove(name) {
            self.put(name.clone(), next);
        }
    }

    /// Takes off the agenda what is due at `now`; each comes back with the next update of its name.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Plan {
        if now < EARLIEST {
            return Plan {
                actions: Vec::new(),
                wake: Some(EARLIEST),
                alarm: Some(ClockAlarm::BeforeCertgate { now }),
            };
        }
        let mut actions = Vec::new();
        while let Some((at, name)) = self.queue.first().cloned()
            && at <= now
        {
            self.put_off.remove(&name);
            if let Some(next) = self.remove(&name) {
                actions.push(Action {
                    certificate: name,
                    next,
                });
            }
        }
        let behind = self.last_obtained_at.filter(|at| at.since(now) > CLOCK_TOLERANCE);
        Plan {
            actions,
            wake: self.queue.first().map(|(at, _)| *at),
            alarm: behind.map(|obtained_at| ClockAlarm::BehindStore { now, obtained_at }),
        }
    }

    fn put(&mut self, name: CertificateName, mut next: Next) {
        if let Some(until) = self.put_off.get(&name) {
            next.at = next.at.max(*until);
        }
        self.queue.insert((next.at, name.clone()));
        self.next.insert(name, next);
    }
}

/// 2026-01-01: this program did not exist before.
const EARLIEST: Timestamp = Timestamp::from_unix_seconds(1_767_225_600);
/// Nodes of a fleet and corrections of the clock differ by less.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(3_600);
