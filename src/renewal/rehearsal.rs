//! Time to come, lived through with the decisions of the scheduler itself: the plan, turns, limits, renewal points and
//! pauses are those of the loop. Only what a CA answers is said by the caller.

use std::collections::HashMap;

use crate::certificate::{CertificateName, DesiredCertificate, Leaf};
use crate::clock::Timestamp;
use crate::inventory::CertificateRecord;
use crate::issuer::ledger::Ledger;
use crate::issuer::{FailureClass, RenewalInfo};
use crate::renewal::agenda::Agenda;
use crate::renewal::outcome::{self, Failure};
use crate::renewal::plan::Action;
use crate::renewal::queue::Cost;
use crate::renewal::schedule::Jitter;
use crate::renewal::slots::Slots;
use crate::renewal::suggestion;

/// A fleet of certificates and its time.
#[derive(Debug)]
pub struct Rehearsal {
    agenda: Agenda,
    records: HashMap<CertificateName, CertificateRecord>,
    slots: Slots,
    jitter: Jitter,
    now: Timestamp,
    wake: Option<Timestamp>,
}

impl Rehearsal {
    /// What is `desired` where `records` is what is known at `now`. CAs are not asked when to renew: what they would
    /// say is told by [`heard`](Self::heard).
    pub fn new(
        desired: &[DesiredCertificate],
        records: impl IntoIterator<Item = CertificateRecord>,
        jitter: Jitter,
        now: Timestamp,
    ) -> Self {
        let mut known = HashMap::new();
        let mut slots = Slots::default();
        for mut record in records {
            if let Some(current) = &mut record.current {
                current.ask_at = None;
                if let Some(renew_at) = current.renew_at {
                    slots.take(renew_at);
                }
            }
            known.insert(record.name.clone(), record);
        }
        let mut agenda = Agenda::new();
        agenda.desire(desired);
        for certificate in desired {
            agenda.update(&certificate.name, known.get(&certificate.name), now);
        }
        Self {
            agenda,
            records: known,
            slots,
            jitter,
            now,
            wake: Some(now),
        }
    }

    /// What is left of an issuer's limits; `None` where none are known, as without this.
    pub fn know_limits(&mut self, issuer: &str, ledger: Option<Ledger>) {
        self.agenda.know_limits(issuer, ledger);
        self.wake = Some(self.now);
    }

    /// The time that has been reached.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// What is known of a certificate by now.
    pub fn record(&self, name: &CertificateName) -> Option<&CertificateRecord> {
        self.records.get(name)
    }

    /// Lets time go on to what is begun next, before `end`; what came of each is to be told then. Empty where only the
    /// time has gone on; `None` at the end.
    pub fn proceed(&mut self, end: Timestamp) -> Option<Vec<Action>> {
        let wake = self.wake.filter(|wake| *wake < end);
        let Some(wake) = wake else {
            self.now = end.max(self.now);
            return None;
        };
        self.now = wake.max(self.now);
        let plan = self.agenda.take_due(self.now);
        self.wake = plan.wake;
        Some(plan.actions)
    }

    /// The certificate was obtained. `said` is what the CA says of when to renew it, if it does.
    pub fn obtained(&mut self, name: &CertificateName, issuer: &str, leaf: Leaf, said: Option<&RenewalInfo>) {
        let Some(desired) = self.agenda.desired(name).cloned() else {
            return;
        };
        self.agenda.account_for(name, Cost::All);
        let known = known(&mut self.records, name);
        if let Some(before) = known.current.as_ref().and_then(|current| current.renew_at) {
            self.slots.give_back(before);
        }
        let renew_at = self.slots.choose(name, &leaf, self.now, self.jitter);
        let record = outcome::obtained(taken(known), &desired.digest, leaf, issuer, self.now, renew_at);
        *known = match said {
            Some(said) => told(record, said, self.now, self.jitter),
            None => record,
        };
        let due = self.agenda.follow(&desired, Some(&*known), self.now);
        self.wake = self.wake.into_iter().chain(due).min();
    }

    /// The attempt failed, after an order was placed.
    pub fn failed(&mut self, name: &CertificateName, issuer: &str, error: &str, class: FailureClass) {
        let Some(desired) = self.agenda.desired(name).cloned() else {
            return;
        };
        self.agenda.account_for(name, Cost::Order);
        let failure = Failure {
            issuer: issuer.to_owned(),
            error: error.to_owned(),
            class,
            ca_time: None,
        };
        let known = known(&mut self.records, name);
        *known = outcome::failed(taken(known), &desired, &failure, self.now, self.jitter);
        self.agenda.follow(&desired, Some(&*known), self.now);
        // Somebody may have waited for what was given back.
        self.wake = Some(self.now);
    }

    /// Nothing was to be done.
    pub fn settled(&mut self, name: &CertificateName) {
        let known = known(&mut self.records, name);
        *known = outcome::settled(taken(known));
        let due = self.agenda.update(name, Some(&*known), self.now);
        self.wake = self.wake.into_iter().chain(due).min();
    }

    /// The CA has said when it wants the certificate renewed.
    pub fn heard(&mut self, name: &CertificateName, said: &RenewalInfo) {
        let known = known(&mut self.records, name);
        *known = told(taken(known), said, self.now, self.jitter);
        let due = self.agenda.update(name, Some(&*known), self.now);
        self.wake = self.wake.into_iter().chain(due).min();
    }
}

fn known<'r>(
    records: &'r mut HashMap<CertificateName, CertificateRecord>,
    name: &CertificateName,
) -> &'r mut CertificateRecord {
    records
        .entry(name.clone())
        .or_insert_with(|| CertificateRecord::wanted(name.clone()))
}

/// The record as a value; what is left in its place is to be overwritten.
fn taken(record: &mut CertificateRecord) -> CertificateRecord {
    let wanted = CertificateRecord::wanted(record.name.clone());
    std::mem::replace(record, wanted)
}

fn told(record: CertificateRecord, said: &RenewalInfo, now: Timestamp, jitter: Jitter) -> CertificateRecord {
    let mut record = suggestion::heard(record, Some(said), now, jitter);
    if let Some(current) = &mut record.current {
        current.ask_at = None;
    }
    record
}
