//! One attempt at one certificate, under its lease.

mod asking;
mod cost;
mod settle;

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use certgate_store::{Expect, Lease};
use futures_util::FutureExt;
use rustls::pki_types::CertificateDer;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use crate::cause::with_causes;
use crate::certificate::{CertificateName, CredentialPem, DesiredCertificate};
use crate::clock::Clock;
use crate::inventory::{CertificateRecord, Inventory, InventoryError, Versioned};
use crate::issuer::{ChallengeChoices, FailureClass, IssueError, IssueRequest};
use crate::renewal::agenda::Desired;
use crate::renewal::attempt::cost::Course;
use crate::renewal::event::{Event, EventKind};
use crate::renewal::gate::{Candidates, DnsGate, DnsVerdict, Refusal};
use crate::renewal::lane::{Lanes, Place};
use crate::renewal::notice::notice;
use crate::renewal::outcome::{self, Failure};
use crate::renewal::plan::{ClockAlarm, Next, Reason, next};
use crate::renewal::queue::Cost;
use crate::renewal::schedule::Jitter;
use crate::renewal::slots::Slots;
use crate::renewal::turn::candidates;
use crate::renewal::{Issuers, Limits};

/// What every attempt needs.
pub(super) struct Attempts {
    pub(super) inventory: Inventory,
    pub(super) issuers: Arc<Issuers>,
    pub(super) dns: Arc<dyn DnsGate>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) jitter: Jitter,
    pub(super) limits: Limits,
    pub(super) lanes: Lanes,
    pub(super) slots: Mutex<Slots>,
    pub(super) events: broadcast::Sender<Event>,
    /// The CA whose clock is another, until it has answered otherwise.
    pub(super) clock_alarm: Mutex<Option<ClockAlarm>>,
    pub(super) stopping: watch::Sender<bool>,
}

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum Finished {
    /// Somebody else has the lease, or has got it in the meantime.
    Elsewhere,
    /// As the record now says, at that cost.
    Recorded(Cost),
    /// What happened could not be written.
    Unrecorded(InventoryError),
}

impl Attempts {
    /// Waits for its turn and makes the attempt, unless the agenda has let go of `desired` by then. A stop ends it between any
    /// two steps: what was begun is in the store.
    pub(super) async fn make(&self, desired: Weak<Desired>, next: &Next) -> Finished {
        let place = tokio::select! {
            biased;
            () = self.stopped() => return Finished::Recorded(Cost::Nothing),
            place = self.lanes.enter(&next.issuer, next.again) => place,
        };
        let Some(desired) = desired.upgrade() else {
            return Finished::Recorded(Cost::Nothing);
        };
        let name = lease_name(&desired.certificate.name);
        match self.inventory.lease(&name, self.limits.lease_ttl).await {
            Ok(Some(lease)) => self.hold(lease, place, &desired, next).await,
            Ok(None) => Finished::Elsewhere,
            Err(error) => Finished::Unrecorded(error),
        }
    }

    async fn hold(&self, lease: Lease, place: Place, desired: &Desired, next: &Next) -> Finished {
        let result = tokio::select! {
            biased;
            () = self.stopped() => Ok(Cost::All),
            lost = self.keep(&lease) => Err(lost),
            result = self.proceed(&lease, place, desired, next) => result,
        };
        if let Err(error) = self.inventory.release_lease(lease).await {
            tracing::debug!(certificate = %desired.certificate.name, %error, "the lease ends by its time to live");
        }
        match result {
            Ok(cost) => Finished::Recorded(cost),
            // Somebody, an operator perhaps, changed the record before anything was asked for: look again.
            Err(InventoryError::Conflict { .. }) => Finished::Recorded(Cost::Nothing),
            Err(error @ InventoryError::LeaseLost { .. }) => {
                let certificate = &desired.certificate.name;
                tracing::warn!(%certificate, %error, "the attempt is given up to whoever has the lease now");
                Finished::Elsewhere
            }
            Err(error) => Finished::Unrecorded(error),
        }
    }

    async fn stopped(&self) {
        // An error would say that the sender is gone, and it lives in `self`.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// Keeps the lease alive; returns when it is lost, or has to be taken for lost.
    async fn keep(&self, lease: &Lease) -> InventoryError {
        let mut kept = Instant::now();
        loop {
            tokio::time::sleep(lease.ttl() / 3).await;
            match self.inventory.keep_lease(lease).await {
                Ok(()) => kept = Instant::now(),
                Err(error @ InventoryError::LeaseLost { .. }) => return error,
                Err(error) if kept.elapsed() >= lease.ttl() => return error,
                Err(_) => {}
            }
        }
    }

    async fn proceed(
        &self,
        lease: &Lease,
        place: Place,
        desired: &Desired,
        next: &Next,
    ) -> Result<Cost, InventoryError> {
        let (certificate, digest) = (&desired.certificate, desired.digest.as_str());
        let known = self.inventory.certificate(&certificate.name).await?;
        let Some(reason) = self.still_due(desired, next, known.as_ref()) else {
            return Ok(Cost::Nothing);
        };
        let (record, expect) = match known {
            Some(Versioned { value, revision }) => (value, Expect::Revision(revision)),
            None => (
                CertificateRecord {
                    spare_of: certificate.spare_of.clone(),
                    ..CertificateRecord::wanted(certificate.name.clone())
                },
                Expect::Absent,
            ),
        };
        if reason == Reason::Settled {
            let settled = outcome::settled(record);
            self.inventory
                .save_certificate(&settled, expect, Some(lease))
                .await?;
            return Ok(Cost::Nothing);
        }
        if reason == Reason::Asking {
            self.ask(lease, record, expect).await?;
            return Ok(Cost::Nothing);
        }
        let candidates = candidates(certificate, digest, &record, &next.issuer, self.clock.now());
        let (issuer, challenges) = match self.ask_dns(certificate, &candidates).await {
            DnsVerdict::Go { issuer, challenges } => (issuer, challenges),
            DnsVerdict::No(Refusal { reason, .. }) if record.despite_dns => {
                tracing::warn!(certificate = %certificate.name, reason, "ordered all the same: an operator asked for it");
                (next.issuer.clone(), ChallengeChoices::new())
            }
            DnsVerdict::No(refusal) => {
                let now = self.clock.now();
                let blocked = outcome::blocked(record.clone(), digest, refusal, now, self.jitter);
                self.save_end(lease, &record, &blocked, expect, &next.issuer)
                    .await?;
                return Ok(Cost::Nothing);
            }
        };
        let now = self.clock.now();
        let issuers = &candidates.issuers;
        let against = issuers.iter().position(|candidate| *candidate == issuer);
        let (against, _) = issuers.split_at(against.unwrap_or_default());
        let record = outcome::passed_over(record, digest, against, &issuer, now);
        if issuer != next.issuer {
            // It is begun again as that one's limits allow it.
            self.inventory
                .save_certificate(&record, expect, Some(lease))
                .await?;
            return Ok(Cost::Nothing);
        }
        let obtaining = outcome::obtaining(record, digest, now);
        self.inventory
            .save_certificate(&obtaining, expect, Some(lease))
            .await?;
        self.tell(
            &certificate.name,
            EventKind::Started {
                issuer: issuer.clone(),
                reason,
            },
        );
        let replaced = self.replaced(&certificate.name, &obtaining, &issuer).await;
        let course = Course::new(self);
        let issued = self.issue(lease, desired, &issuer, replaced.as_ref(), &challenges, &course);
        let issued = issued.await;
        // The CA has answered: another certificate may be asked for.
        drop(place);
        match issued {
            Ok(pem) => self.install(lease, desired, &issuer, &pem).await?,
            Err(failure) => self.record_failure(lease, desired, &failure).await?,
        }
        Ok(course.cost())
    }

    /// Raises the alarm where a CA's clock is another, and ends it when that CA has nothing against ours.
    fn note_clock(&self, issuer: &str, issued: &Result<CredentialPem, IssueError>) {
        let mut alarm = self.clock_alarm.lock().unwrap_or_else(PoisonError::into_inner);
        match (issued, &*alarm) {
            (Err(IssueError::WrongClock { ca, here }), _) => {
                *alarm = Some(ClockAlarm::NotTheCas {
                    now: *here,
                    issuer: issuer.to_owned(),
                    ca: *ca,
                });
            }
            // What comes of an order came after the look at the clock.
            (
                Ok(_)
                | Err(
                    IssueError::OrderInvalid { .. }
                    | IssueError::Unfinished { .. }
                    | IssueError::Unfit { .. },
                ),
                Some(ClockAlarm::NotTheCas { issuer: alarmed, .. }),
            ) if alarmed == issuer => *alarm = None,
            _ => {}
        }
    }

    /// Looks again, now that nobody else can be at it: another node may have done it.
    fn still_due(
        &self,
        desired: &Desired,
        planned: &Next,
        known: Option<&Versioned<CertificateRecord>>,
    ) -> Option<Reason> {
        let now = self.clock.now();
        let record = known.map(|known| &known.value);
        next(&desired.certificate, &desired.digest, record, now)
            .filter(|next| next.at <= now && next.issuer == planned.issuer)
            .map(|next| next.reason)
    }

    async fn ask_dns(&self, desired: &DesiredCertificate, candidates: &Candidates) -> DnsVerdict {
        let looks = u32::try_from(candidates.issuers.len()).unwrap_or(u32::MAX);
        let deadline = self.limits.dns_deadline.saturating_mul(looks);
        let asked = tokio::time::timeout(deadline, self.dns.check(desired, candidates));
        asked.await.unwrap_or_else(|_| {
            let reason = format!("DNS has not answered within {} s", deadline.as_secs());
            DnsVerdict::No(Refusal::unknown(reason))
        })
    }

    /// The certificate that a new one of `issuer` replaces, where the same CA has signed it.
    async fn replaced(
        &self,
        name: &CertificateName,
        record: &CertificateRecord,
        issuer: &str,
    ) -> Option<CertificateDer<'static>> {
        record
            .current
            .as_ref()
            .filter(|current| current.issuer == issuer)?;
        let pem = self.inventory.credential(name).await.ok()??;
        pem.chain().first().cloned()
    }

    async fn issue(
        &self,
        lease: &Lease,
        desired: &Desired,
        issuer: &str,
        replaces: Option<&CertificateDer<'static>>,
        challenges: &ChallengeChoices,
        course: &Course<'_>,
    ) -> Result<CredentialPem, Failure> {
        let failure = |error: String, class| Failure {
            issuer: issuer.to_owned(),
            error,
            class,
            ca_time: None,
        };
        let Some(signer) = self.issuers.load().get(issuer).cloned() else {
            let error = format!("there is no issuer `{issuer}`");
            return Err(failure(error, FailureClass::Later));
        };
        let request = IssueRequest {
            desired: &desired.certificate,
            lease,
            replaces,
            challenges,
            progress: course,
        };
        // A panic in there is a failed attempt like another: the state is written, and the next one waits.
        let issuing = async {
            let issued = signer.issue(&request).await;
            self.note_clock(issuer, &issued);
            course.end(issued.as_ref().err());
            issued
        };
        let issuing = AssertUnwindSafe(issuing).catch_unwind();
        match tokio::time::timeout(self.limits.attempt_deadline, issuing).await {
            Ok(Ok(Ok(pem))) => Ok(pem),
            Ok(Ok(Err(error))) => Err(Failure {
                ca_time: match error {
                    IssueError::WrongClock { ca, .. } => Some(ca),
                    _ => None,
                },
                ..failure(with_causes(&error), error.class())
            }),
            Ok(Err(_)) => {
                let error = "a defect of certgate ended the attempt; its log says where".to_owned();
                Err(failure(error, FailureClass::Later))
            }
            Err(_) => {
                let seconds = self.limits.attempt_deadline.as_secs_f64();
                Err(failure(
                    format!("it was not done after {seconds} s"),
                    FailureClass::Later,
                ))
            }
        }
    }

    /// Writes how an attempt at `issuer` has ended without a certificate, and what that means for others: both or
    /// nothing.
    async fn save_end(
        &self,
        lease: &Lease,
        before: &CertificateRecord,
        after: &CertificateRecord,
        expect: Expect,
        issuer: &str,
    ) -> Result<(), InventoryError> {
        let kind = EventKind::of_state(&after.state, issuer);
        let now = self.clock.now();
        let notice = kind.as_ref().and_then(|kind| notice(before, after, kind, now));
        self.inventory
            .save_certificate_and_tell(after, notice.as_ref(), expect, lease)
            .await?;
        if let Some(kind) = kind {
            self.tell(&after.name, kind);
        }
        Ok(())
    }

    fn tell(&self, certificate: &CertificateName, kind: EventKind) {
        match &kind {
            EventKind::Blocked { .. } | EventKind::Failed { .. } => tracing::warn!(%certificate, "{kind}"),
            EventKind::Obtained { .. } | EventKind::Started { .. } => tracing::info!(%certificate, "{kind}"),
            EventKind::Step(_) => tracing::debug!(%certificate, "{kind}"),
        }
        let (at, certificate) = (self.clock.now(), certificate.clone());
        // An error says that nobody watches.
        let _ = self.events.send(Event {
            at,
            certificate,
            kind,
        });
    }
}

/// The name of the lease under which anything about a certificate is written.
pub(super) fn lease_name(certificate: &CertificateName) -> String {
    format!("certificate/{certificate}")
}
