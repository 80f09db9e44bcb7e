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
use crate::renewal::queue::{Cost, sooner};
use crate::renewal::schedule::Jitter;
use crate::renewal::slots::Slots;
use crate::renewal::standby;
use crate::renewal::suggestion;

/// A fleet of certificates and its time.
#[derive(Debug)]
pub struct Rehearsal {
    agenda: Agenda,
    /// Each is there, but while it is being written anew.
    records: HashMap<CertificateName, Option<CertificateRecord>>,
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
            known.insert(record.name.clone(), Some(record));
        }
        let mut agenda = Agenda::new();
        agenda.desire(desired);
        for certificate in desired {
            let record = known.get(&certificate.name).and_then(Option::as_ref);
            agenda.update(&certificate.name, record, now);
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
        self.records.get(name)?.as_ref()
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
        let primary = desired.certificate.spare_of.as_ref();
        let primary = primary.and_then(|primary| self.record(primary)?.current.clone());
        let (record, place) = taken(&mut self.records, name);
        if let Some(before) = record.current.as_ref().and_then(|current| current.renew_at) {
            self.slots.give_back(before);
        }
        let usual = self.slots.choose(name, &leaf, self.now, self.jitter);
        let renew_at = primary.map_or(usual, |primary| {
            standby::renewal_point(&leaf, self.now, usual, &primary)
        });
        let record = outcome::obtained(record, &desired.digest, leaf, issuer, self.now, renew_at);
        let record = match said {
            Some(said) => told(record, said, self.now, self.jitter),
            None => record,
        };
        let record: &CertificateRecord = place.insert(record);
        move_slot(&mut self.slots, Some(usual), record);
        let due = self.agenda.follow(&desired, Some(record), self.now);
        self.wake = sooner(self.wake, due);
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
        let (record, place) = taken(&mut self.records, name);
        let record: &CertificateRecord =
            place.insert(outcome::failed(record, &desired, &failure, self.now, self.jitter));
        self.agenda.follow(&desired, Some(record), self.now);
        // Somebody may have waited for what was given back.
        self.wake = Some(self.now);
    }

    /// Nothing was to be done.
    pub fn settled(&mut self, name: &CertificateName) {
        let (record, place) = taken(&mut self.records, name);
        let record: &CertificateRecord = place.insert(outcome::settled(record));
        let due = self.agenda.update(name, Some(record), self.now);
        self.wake = sooner(self.wake, due);
    }

    /// The CA has said when it wants the certificate renewed.
    pub fn heard(&mut self, name: &CertificateName, said: &RenewalInfo) {
        let (record, place) = taken(&mut self.records, name);
        let before = record.current.as_ref().and_then(|current| current.renew_at);
        let record: &CertificateRecord = place.insert(told(record, said, self.now, self.jitter));
        move_slot(&mut self.slots, before, record);
        let due = self.agenda.update(name, Some(record), self.now);
        self.wake = sooner(self.wake, due);
    }
}

/// The record of `name` as a value, and the place that it is to be put back into.
fn taken<'r>(
    records: &'r mut HashMap<CertificateName, Option<CertificateRecord>>,
    name: &CertificateName,
) -> (CertificateRecord, &'r mut Option<CertificateRecord>) {
    let place = records.entry(name.clone()).or_default();
    let record = place.take();
    (
        record.unwrap_or_else(|| CertificateRecord::wanted(name.clone())),
        place,
    )
}

/// Marks the second in which `record` will be renewed, where it is another than that of `before`.
fn move_slot(slots: &mut Slots, before: Option<Timestamp>, record: &CertificateRecord) {
    let now = record.current.as_ref().and_then(|current| current.renew_at);
    if now != before {
        if let Some(before) = before {
            slots.give_back(before);
        }
        if let Some(now) = now {
            slots.take(now);
        }
    }
}

fn told(record: CertificateRecord, said: &RenewalInfo, now: Timestamp, jitter: Jitter) -> CertificateRecord {
    let mut record = suggestion::heard(record, Some(said), now, jitter);
    if let Some(current) = &mut record.current {
        current.ask_at = None;
    }
    record
}
