//! The end of an attempt, written into the record.

use std::sync::{Arc, PoisonError};

use certgate_store::{Expect, Lease};

use crate::cause::with_causes;
use crate::certificate::{CredentialPem, Leaf};
use crate::clock::Timestamp;
use crate::inventory::{InventoryError, Versioned};
use crate::issuer::{FailureClass, Issuer};
use crate::renewal::agenda::Desired;
use crate::renewal::attempt::Attempts;
use crate::renewal::event::EventKind;
use crate::renewal::fit::{Unfit, fit};
use crate::renewal::notice::notice;
use crate::renewal::outcome::{self, Failure};
use crate::renewal::standby;

impl Attempts {
    pub(super) async fn install(
        &self,
        lease: &Lease,
        desired: &Desired,
        issuer: &str,
        pem: &CredentialPem,
    ) -> Result<(), InventoryError> {
        let (name, digest) = (&desired.certificate.name, desired.digest.as_str());
        let mut renew_at = None;
        for _ in 0..TRIES {
            let Some(Versioned {
                value: record,
                revision,
            }) = self.inventory.certificate(name).await?
            else {
                tracing::warn!(certificate = %name, "removed while it was being obtained, so it is not installed");
                return Ok(());
            };
            let now = self.clock.now();
            let credential = match fit(pem, &desired.certificate, &record, now) {
                Ok(credential) => credential,
                Err(error) => return self.refuse(lease, desired, issuer, &error).await,
            };
            let leaf = credential.leaf();
            let renew_at = match renew_at {
                Some(renew_at) => renew_at,
                None => {
                    let before = record.current.as_ref().and_then(|current| current.renew_at);
                    *renew_at.insert(self.renewal_point(desired, before, leaf, now).await?)
                }
            };
            let kind = EventKind::Obtained {
                issuer: issuer.to_owned(),
                not_after: leaf.not_after,
                renew_at,
                renewed: record.current.is_some(),
            };
            let mut obtained = record.clone();
            outcome::obtained(&mut obtained, digest, leaf.clone(), issuer, now, renew_at);
            obtained.spare_of.clone_from(&desired.certificate.spare_of);
            let gives = |issuer: &Arc<dyn Issuer>| issuer.gives_renewal_info();
            if let Some(current) = obtained
                .current
                .as_mut()
                .filter(|_| self.issuers.load().get(issuer).is_some_and(gives))
            {
                current.ask_at = Some(now);
            }
            let notice = notice(&record, &obtained, &kind, now);
            match self
                .inventory
                .install_and_tell(&obtained, pem, notice.as_ref(), Expect::Revision(revision), lease)
                .await
            {
                Ok(_) => {
                    self.tell(name, kind);
                    return Ok(());
                }
                Err(InventoryError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(InventoryError::Conflict {
            key: name.to_string(),
        })
    }

    /// When what is installed at `now` is renewed: in a second of its own, and a spare apart from what it is the spare of.
    async fn renewal_point(
        &self,
        desired: &Desired,
        before: Option<Timestamp>,
        leaf: &Leaf,
        now: Timestamp,
    ) -> Result<Timestamp, InventoryError> {
        let name = &desired.certificate.name;
        let usual = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            before.into_iter().for_each(|before| slots.give_back(before));
            slots.choose(name, leaf, now, self.jitter)
        };
        let Some(primary) = &desired.certificate.spare_of else {
            return Ok(usual);
        };
        let primary = match self.inventory.certificate(primary).await {
            Err(error @ InventoryError::Store { .. }) => return Err(error),
            // Of one that cannot be read nobody knows when it is renewed.
            primary => primary.unwrap_or_default(),
        };
        let current = primary.and_then(|primary| primary.value.current);
        Ok(current.map_or(usual, |primary| {
            standby::renewal_point(leaf, now, usual, &primary)
        }))
    }

    /// Does not install what does not fit. Its order leads nowhere, so the next attempt places another; unless it is
    /// the clock that is wrong.
    async fn refuse(
        &self,
        lease: &Lease,
        desired: &Desired,
        issuer: &str,
        error: &Unfit,
    ) -> Result<(), InventoryError> {
        if !error.may_pass() {
            self.inventory
                .remove_order(&desired.certificate.name, lease)
                .await?;
        }
        let failure = Failure {
            issuer: issuer.to_owned(),
            error: with_causes(error),
            class: FailureClass::Later,
            ca_time: None,
        };
        self.record_failure(lease, desired, &failure).await
    }

    pub(super) async fn record_failure(
        &self,
        lease: &Lease,
        desired: &Desired,
        failure: &Failure,
    ) -> Result<(), InventoryError> {
        let name = &desired.certificate.name;
        for _ in 0..TRIES {
            let Some(Versioned {
                value: record,
                revision,
            }) = self.inventory.certificate(name).await?
            else {
                return Ok(());
            };
            let now = self.clock.now();
            let failed = match failure.ca_time {
                None => outcome::failed(record.clone(), desired, failure, now, self.jitter),
                Some(_) => outcome::untimely(record.clone(), &desired.digest, failure.error.clone(), now),
            };
            let expect = Expect::Revision(revision);
            match self
                .save_end(lease, &record, &failed, expect, &failure.issuer)
                .await
            {
                // An operator has asked for a renewal meanwhile; this attempt was it.
                Err(InventoryError::Conflict { .. }) => {}
                done => return done,
            }
        }
        Err(InventoryError::Conflict {
            key: name.to_string(),
        })
    }
}

/// Others write a record seldom; more conflicts than these are no accident.
const TRIES: usize = 8;
