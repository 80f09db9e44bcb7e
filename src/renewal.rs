//! Keeps every desired certificate obtained and renewed.
//!
//! [`plan`] is pure: from what is desired, what the store says and what time it is, it works out what is to be done
//! now and when to look again. [`Renewal`] is the loop that does it: it wakes by the plan, by changes of the store and
//! by changes of the configuration, and makes each attempt in a task of its own, under the certificate's lease, so
//! that neither another node nor another certificate is in its way.
//!
//! | what happened | what follows |
//! | --- | --- |
//! | a certificate was obtained | renewal at a random point some days before a third (a half below ten days) of its life is left; earlier where many others are renewed then |
//! | the CA suggests when to renew (RFC 9773) | at a random point of its window, as far as a third of the lifetime is left then, or a quarter in a late window; at once where that has passed; asked again when the CA says |
//! | an attempt failed | [`back_off`]: 1, 10, 100 minutes, a day; shorter where a certificate does not live long |
//! | the CA said when (Retry-After) | not before that, whoever asks |
//! | the CA, or the configuration, rules it out | once a day, when the certificate is wanted otherwise, or when an operator asks |
//! | the CA's clock is another | nothing is ordered, an alarm is raised; looked at again every 5 minutes |
//! | an issuer of several has failed for good, or the certificate cannot wait for it | the next one of the list: `turn` |
//! | DNS does not lead here | nothing is ordered; DNS is asked again after 10 seconds, doubled up to an hour |
//! | DNS is against one issuer of several, until somebody changes it | the next one of the list is asked at once |
//! | DNS, or who places records for dns-01, lets an order at one issuer of several wait for more than ten minutes | the next one for which it need not wait is asked |
//! | the list of issuers is another, and the certificate's own is still in it | nothing before the next renewal |
//! | it is wanted no more, and there never was one | its record goes when the last pause is over: [`forget_unwanted`] |
//!
//! What is due waits for its turn: orders of new names until the CA's limits allow them, renewals for the issuer's
//! pace. [`Rehearsal`] lives through times to come with these decisions, and [`forecast`] tells what they will be.
//!
//! After an issuer's configuration has changed, [`reconsider`] ends the pauses of those that failed at it.
//!
//! All of it is in the store, so a restart neither forgets a pause nor an order.

mod agenda;
mod attempt;
pub mod back_off;
#[cfg(test)]
mod calendar;
mod event;
mod fit;
mod forecast;
mod gate;
mod lane;
mod notice;
mod outcome;
mod pace;
mod plan;
mod queue;
mod reconsider;
mod rehearsal;
mod run;
pub mod schedule;
mod slots;
mod standby;
mod suggestion;
mod turn;
mod unwanted;
mod waiting;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{broadcast, watch};

pub use event::{Event, EventKind, Health};
pub use forecast::{Forecast, HeldBack, Hindrance, Left, Present, Step, forecast};
pub use gate::{Candidates, DnsGate, DnsVerdict, Refusal, WAITED};
pub use plan::{Action, ClockAlarm, Next, Plan, Reason, next, plan};
pub use reconsider::reconsider;
pub use rehearsal::Rehearsal;
pub use schedule::{Jitter, after_rollback};
pub use standby::{Switch, switch, weakness};
pub use unwanted::{Unwanted, forget_unwanted, forgotten_at};

use crate::certificate::DesiredCertificate;
use crate::clock::Clock;
use crate::inventory::Inventory;
use crate::issuer::Issuer;
use crate::renewal::attempt::Attempts;
use crate::renewal::lane::Lanes;
use crate::renewal::slots::Slots;

/// The issuers by their names in the configuration; swapped as a whole when it changes.
pub type Issuers = ArcSwap<BTreeMap<String, Arc<dyn Issuer>>>;

/// The loop.
pub struct Renewal {
    attempts: Arc<Attempts>,
    desired: watch::Receiver<Arc<[DesiredCertificate]>>,
    health: watch::Sender<Health>,
}

/// How much is done at a time, and how long it may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Certificates that are obtained from one issuer at a time.
    pub in_flight: usize,
    /// For one attempt, from the order to the certificate.
    pub attempt_deadline: Duration,
    /// For one look at DNS.
    pub dns_deadline: Duration,
    /// After this, another node may go on where one died.
    pub lease_ttl: Duration,
}

impl Renewal {
    /// A loop for what `desired` holds. `seed` spreads renewals and pauses; it need not be kept.
    pub fn new(
        inventory: Inventory,
        desired: watch::Receiver<Arc<[DesiredCertificate]>>,
        issuers: Arc<Issuers>,
        dns: Arc<dyn DnsGate>,
        clock: Arc<dyn Clock>,
        seed: u64,
    ) -> Self {
        Self::with_limits(inventory, desired, issuers, dns, clock, seed, Limits::default())
    }

    /// As [`new`](Self::new), with limits of one's own.
    pub fn with_limits(
        inventory: Inventory,
        desired: watch::Receiver<Arc<[DesiredCertificate]>>,
        issuers: Arc<Issuers>,
        dns: Arc<dyn DnsGate>,
        clock: Arc<dyn Clock>,
        seed: u64,
        limits: Limits,
    ) -> Self {
        let slots = Mutex::new(Slots::new(clock.now()));
        let attempts = Attempts {
            inventory,
            issuers,
            dns,
            clock,
            jitter: Jitter::new(seed),
            limits,
            lanes: Lanes::new(limits.in_flight),
            slots,
            events: broadcast::Sender::new(KEPT_EVENTS),
            clock_alarm: Mutex::default(),
            stopping: watch::Sender::new(false),
        };
        Self {
            attempts: Arc::new(attempts),
            desired,
            health: watch::Sender::default(),
        }
    }

    /// Where everything that happens can be watched: `subscribe()`.
    pub fn events(&self) -> broadcast::Sender<Event> {
        self.attempts.events.clone()
    }

    /// What is wrong with renewal as a whole.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight: 16,
            attempt_deadline: Duration::from_secs(15 * 60),
            // Ten for the names, eight for who would place records, three for the CA's own names.
            dns_deadline: Duration::from_secs(25),
            lease_ttl: Duration::from_secs(60),
        }
    }
}

/// A watcher who is further behind is told that it missed some.
const KEPT_EVENTS: usize = 1024;
