//! Time to come, lived through with the decisions of the scheduler itself: the plan, turns, limits, renewal points and
//! pauses are those of the loop. Only what a CA answers is said by the caller.

use std::collections::HashMap;

use crate::certificate::{CertificateName, DesiredCertificate, Leaf};
use crate::clock::Timestamp;
use crate::inventory::CertificateRecord;
use crate::issuer::ledger::Ledger;
use crate::issuer::{FailureClass, RenewalInfo};
use crate::renewal::agenda::{Agenda, Desired};
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
    /// What is known of what is desired, by its key on the agenda.
    known: Vec<Option<CertificateRecord>>,
    /// What is known of other certificates.
    others: HashMap<CertificateName, CertificateRecord>,
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
        let (mut slots, mut others) = (Slots::new(now), HashMap::new());
        for mut record in records {
            if let Some(current) = &mut record.current {
                current.ask_at = None;
                if let Some(renew_at) = current.renew_at {
                    slots.take(renew_at);
                }
            }
            others.insert(record.name.clone(), record);
        }
        let mut agenda = Agenda::new();
        agenda.desire(desired);
        let mut known = vec![None; desired.len()];
        for DesiredCertificate { name, .. } in desired {
            let record = others.remove(name);
            agenda.update(name, record.as_ref(), now);
            let key = agenda.desired(name).map(|desired| desired.key);
            if let Some(place) = key.and_then(|key| known.get_mut(key)) {
                *place = record;
            }
        }
        Self {
            agenda,
            known,
            others,
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
        match self.agenda.desired(name) {
            Some(desired) => self.known.get(desired.key)?.as_ref(),
            None => self.others.get(name),
        }
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
        let Some(record) = record_of(&desired, &mut self.known) else {
            return;
        };
        if let Some(before) = record.current.as_ref().and_then(|current| current.renew_at) {
            self.slots.give_back(before);
        }
        let usual = self.slots.choose(name, &leaf, self.now, self.jitter);
        let renew_at = primary.map_or(usual, |primary| {
            standby::renewal_point(&leaf, self.now, usual, &primary)
        });
        outcome::obtained(record, &desired.digest, leaf, issuer, self.now, renew_at);
        if let Some(said) = said {
            tell(record, said, self.now, self.jitter);
        }
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
        let Some(record) = record_of(&desired, &mut self.known) else {
            return;
        };
        *record = outcome::failed(record.clone(), &desired, &failure, self.now, self.jitter);
        self.agenda.follow(&desired, Some(record), self.now);
        // Somebody may have waited for what was given back.
        self.wake = Some(self.now);
    }

    /// Nothing was to be done.
    pub fn settled(&mut self, name: &CertificateName) {
        let Some(desired) = self.agenda.desired(name).cloned() else {
            return;
        };
        let Some(record) = record_of(&desired, &mut self.known) else {
            return;
        };
        *record = outcome::settled(record.clone());
        let due = self.agenda.follow(&desired, Some(record), self.now);
        self.wake = sooner(self.wake, due);
    }

    /// The CA has said when it wants the certificate renewed.
    pub fn heard(&mut self, name: &CertificateName, said: &RenewalInfo) {
        let Some(desired) = self.agenda.desired(name).cloned() else {
            return;
        };
        let Some(record) = record_of(&desired, &mut self.known) else {
            return;
        };
        let before = record.current.as_ref().and_then(|current| current.renew_at);
        tell(record, said, self.now, self.jitter);
        move_slot(&mut self.slots, before, record);
        let due = self.agenda.follow(&desired, Some(record), self.now);
        self.wake = sooner(self.wake, due);
    }
}

/// What is known of what is `desired`, to be changed there.
fn record_of<'k>(
    desired: &Desired,
    known: &'k mut [Option<CertificateRecord>],
) -> Option<&'k mut CertificateRecord> {
    let place = known.get_mut(desired.key)?;
    Some(place.get_or_insert_with(|| CertificateRecord::wanted(desired.certificate.name.clone())))
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

/// Writes down what the CA has said, and not when it is asked again.
fn tell(record: &mut CertificateRecord, said: &RenewalInfo, now: Timestamp, jitter: Jitter) {
    suggestion::heard(record, Some(said), now, jitter);
    if let Some(current) = &mut record.current {
        current.ask_at = None;
    }
}
