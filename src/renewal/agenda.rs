//! The plan kept up to date: one changed certificate costs the same among ten and among 100,000.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::certificate::{CertificateName, DesiredCertificate};
use crate::clock::Timestamp;
use crate::inventory::CertificateRecord;
use crate::issuer::ledger::Ledger;
use crate::renewal::plan::{ClockAlarm, Next, Plan, next};
use crate::renewal::queue::{Cost, Key, Queue};
use crate::renewal::waiting::waiting;

/// What is desired, and the next step of each certificate, in the order of time.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    desired: HashMap<CertificateName, Arc<Desired>>,
    queue: Queue,
    put_off: HashMap<CertificateName, Timestamp>,
    last_obtained_at: Option<Timestamp>,
}

/// A desired certificate with its digest, and the key under which its steps stand for as long as it is desired.
#[derive(Debug)]
pub(super) struct Desired {
    pub(super) certificate: DesiredCertificate,
    pub(super) digest: String,
    pub(super) key: Key,
}

impl Agenda {
    /// An agenda on which nothing stands.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Replaces what is desired, and tells what of it is new, or another than before: that is to be updated. What is no
    /// longer desired leaves the agenda; the others keep their steps.
    pub(super) fn desire(&mut self, desired: &[DesiredCertificate]) -> Vec<CertificateName> {
        let mut before = std::mem::take(&mut self.desired);
        let mut others = Vec::new();
        for certificate in desired {
            let name = &certificate.name;
            let desired = match before.remove(name).or_else(|| self.desired.remove(name)) {
                Some(same) if same.certificate == *certificate => same,
                known => {
                    others.push(name.clone());
                    Arc::new(Desired {
                        certificate: certificate.clone(),
                        digest: certificate.digest(),
                        key: known.map_or_else(|| self.queue.admit(name), |known| known.key),
                    })
                }
            };
            self.desired.insert(name.clone(), desired);
        }
        for (name, gone) in before {
            self.queue.dismiss(gone.key);
            self.put_off.remove(&name);
        }
        others
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
        let desired = self.desired.get(name)?.clone();
        self.follow(&desired, record, now)
    }

    /// The same for what is `desired` here.
    pub(super) fn follow(
        &mut self,
        desired: &Desired,
        record: Option<&CertificateRecord>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let Desired {
            certificate,
            digest,
            key,
        } = desired;
        let obtained_at = record
            .and_then(|record| record.current.as_ref())
            .map(|current| current.obtained_at);
        self.last_obtained_at = self.last_obtained_at.max(obtained_at);
        let Some(next) = next(certificate, digest, record, now) else {
            self.queue.remove(*key);
            return None;
        };
        let (turn, load) = waiting(certificate, digest, record, &next);
        let at = match self.put_off.is_empty() {
            true => next.at,
            false => {
                let put_off = self.put_off.get(&certificate.name).copied();
                next.at.max(put_off.unwrap_or(next.at))
            }
        };
        self.queue.put(*key, next, at, turn, load);
        Some(at)
    }

    /// Nothing is to be done about `name` until it is updated.
    pub(super) fn remove(&mut self, name: &CertificateName) -> Option<Next> {
        self.queue.remove(self.desired.get(name)?.key)
    }

    /// Does nothing about `name` before `until`, whatever the store says.
    pub(super) fn put_off(&mut self, name: &CertificateName, until: Timestamp) {
        self.put_off.insert(name.clone(), until);
        if let Some(desired) = self.desired.get(name) {
            self.queue.put_off(desired.key, until);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::KeyType;
    use crate::name::NamePattern;

    #[test]
    fn only_what_is_desired_otherwise_than_before_is_to_be_updated() {
        let desired = |name: &str, domain: &str| DesiredCertificate {
            name: CertificateName::parse(name).unwrap(),
            domains: vec![NamePattern::parse(domain).unwrap()],
            issuers: vec!["ca".to_owned()],
            key_type: KeyType::EcdsaP256,
            reuse_key: false,
            tags: Default::default(),
            spare_of: None,
        };
        let mut agenda = Agenda::new();
        let mut desire = |all: &[DesiredCertificate]| {
            let others = agenda.desire(all).into_iter();
            others.map(|name| name.to_string()).collect::<Vec<_>>()
        };
        let (api, www) = (desired("api", "api.example"), desired("www", "www.example"));
        assert_eq!(desire(&[api.clone(), www.clone()]), ["api", "www"]);
        assert!(desire(&[api.clone(), www.clone()]).is_empty());
        assert_eq!(desire(&[api.clone(), desired("www", "www.example.org")]), ["www"]);
        assert!(desire(std::slice::from_ref(&api)).is_empty());
        assert_eq!(desire(&[api, www]), ["www"], "it was gone");
    }
}
