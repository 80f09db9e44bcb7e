//! Serves the demands of handshakes for names without a certificate: asks whether they may have one, looks at DNS, wants the
//! certificate as any other is wanted, and tells those who wait what came of it.
//!
//! What could not be obtained at the first attempt is not wanted any more: the next handshake asks anew, once the denial is
//! forgotten. So a name that nobody comes back to costs one attempt, and not one a day for ever.

mod again;
mod ask;
mod unused;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::admin::api;
use crate::certificate::{CertificateName, DesiredCertificate};
use crate::clock::Timestamp;
use crate::config::IssuerConfig;
use crate::gateway::control_plane::ControlPlane;
use crate::inventory::{CertificateState, InventoryError};
use crate::name::{DnsName, NamePattern};
use crate::on_demand::{Demand, Denial, Desk};
use crate::renewal::{self, DnsVerdict, Event, EventKind};
use crate::tls::Lookup;

pub(super) use again::may_be_renewed;
pub(super) use ask::{Answer, Asker};

/// Goes on until told to stop. `events` are those of renewal.
pub(super) async fn serve(
    control: Arc<ControlPlane>,
    mut events: broadcast::Receiver<Event>,
    mut stop: watch::Receiver<bool>,
) {
    let Some(mut demands) = control.data_plane.demands.take() else {
        return;
    };
    let mut reception = Reception {
        control,
        waiting: HashMap::new(),
        tasks: JoinSet::new(),
        swept: None,
        logged: Instant::now(),
    };
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // Ends by the word, or with whoever could give it.
            _ = stop.wait_for(|stop| *stop) => return,
            event = events.recv() => match event {
                Ok(event) => reception.hear(&event),
                Err(RecvError::Lagged(_)) => reception.look_at_all(),
                Err(RecvError::Closed) => return,
            },
            Some(done) = reception.tasks.join_next() => reception.finish(done),
            Some(demand) = demands.recv() => reception.receive(demand),
            _ = ticks.tick() => reception.tick(),
        }
    }
}

/// What is under way.
struct Reception {
    control: Arc<ControlPlane>,
    waiting: HashMap<CertificateName, Waiting>,
    tasks: JoinSet<Done>,
    /// When what is unused was looked for last; `Err` while that is done.
    swept: Option<Result<Instant, ()>>,
    logged: Instant,
}

/// The demands for one certificate, of one listener or several.
struct Waiting {
    since: Instant,
    demands: Vec<Demand>,
}

/// What a task has come to.
enum Done {
    /// The certificate is published.
    Published(CertificateName),
    /// It is wanted now; an event will tell what came of it.
    Wanted,
    /// The demand at this desk is denied.
    Denied(CertificateName, Arc<Desk>, Refusal),
    /// There is no certificate, and it is not wanted any more.
    Withdrawn(CertificateName, Refusal),
    /// What was unused is removed.
    Swept,
}

/// Why there is no certificate.
struct Refusal {
    denial: Denial,
    /// For so long it is not looked into again.
    remembered: Duration,
    /// What was found, in words.
    detail: String,
}

impl Reception {
    fn receive(&mut self, demand: Demand) {
        // Such a name is not admitted.
        let Ok(certificate) = CertificateName::on_demand(demand.name()) else {
            return demand.deny(Denial::InvalidName, Duration::ZERO, "");
        };
        let (desk, name) = (demand.desk().clone(), demand.name().clone());
        let waiting = self
            .waiting
            .entry(certificate.clone())
            .or_insert_with(|| Waiting {
                since: Instant::now(),
                demands: Vec::new(),
            });
        waiting.demands.push(demand);
        let control = self.control.clone();
        self.tasks
            .spawn(async move { control.consider(certificate, &name, desk).await });
    }

    fn hear(&mut self, event: &Event) {
        if !event.certificate.is_on_demand() {
            return;
        }
        match &event.kind {
            EventKind::Obtained { .. } | EventKind::Failed { .. } | EventKind::Blocked { .. } => {
                self.look_at(event.certificate.clone());
            }
            _ => {}
        }
    }

    fn look_at_all(&mut self) {
        let names: Vec<_> = self.waiting.keys().cloned().collect();
        names.into_iter().for_each(|name| self.look_at(name));
    }

    fn look_at(&mut self, certificate: CertificateName) {
        let control = self.control.clone();
        self.tasks
            .spawn(async move { control.conclude(certificate).await });
    }

    fn finish(&mut self, done: Result<Done, JoinError>) {
        match done {
            Ok(Done::Published(certificate)) => {
                let waiting = self.waiting.remove(&certificate);
                waiting
                    .into_iter()
                    .flat_map(|waiting| waiting.demands)
                    .for_each(Demand::grant);
            }
            Ok(Done::Withdrawn(certificate, refusal)) => {
                let waiting = self.waiting.remove(&certificate);
                for demand in waiting.into_iter().flat_map(|waiting| waiting.demands) {
                    let ttl = demand.desk().config().denied_ttl;
                    let remembered = match refusal.denial {
                        Denial::Dns => refusal.remembered.min(ttl),
                        _ => refusal.remembered.max(ttl),
                    };
                    demand.deny(refusal.denial, remembered, &refusal.detail);
                }
            }
            Ok(Done::Denied(certificate, desk, refusal)) => {
                let Some(waiting) = self.waiting.get_mut(&certificate) else {
                    return;
                };
                let is_meant = |demand: &mut Demand| Arc::ptr_eq(demand.desk(), &desk);
                for demand in waiting.demands.extract_if(.., is_meant) {
                    demand.deny(refusal.denial, refusal.remembered, &refusal.detail);
                }
                if waiting.demands.is_empty() {
                    self.waiting.remove(&certificate);
                }
            }
            Ok(Done::Swept) => self.swept = Some(Ok(Instant::now())),
            Ok(Done::Wanted) => {}
            // Whoever waits for it is told when the time is over.
            Err(error) => tracing::error!(%error, "a demand has ended by a defect of certgate"),
        }
    }

    fn tick(&mut self) {
        self.waiting
            .retain(|_, waiting| waiting.since.elapsed() < LONGEST_ATTEMPT);
        if self.logged.elapsed() >= LOG_EVERY {
            self.logged = Instant::now();
            self.control.log_refused();
        }
        let pause = unused::pause(&self.control.config.load());
        let is_first = self.swept.is_none();
        if is_first || matches!(self.swept, Some(Ok(swept)) if swept.elapsed() >= pause) {
            self.swept = Some(Err(()));
            let control = self.control.clone();
            self.tasks.spawn(async move {
                let swept = match is_first {
                    true => control.remove_leftovers().await,
                    false => control.sweep_unused().await,
                };
                if let Err(error) = swept {
                    tracing::warn!(%error, "certificates that are not used any more were not looked for");
                }
                Done::Swept
            });
        }
    }
}

impl ControlPlane {
    /// Whether `name` may have a certificate; if so, it is wanted from now on.
    async fn consider(&self, certificate: CertificateName, name: &DnsName, desk: Arc<Desk>) -> Done {
        // Another listener's handshakes may have had it obtained.
        if let Some(done) = self.publish_current(&certificate).await {
            return done;
        }
        let config = desk.config().clone();
        let explained = |denial, remembered, detail| {
            let refusal = Refusal {
                denial,
                remembered,
                detail,
            };
            Done::Denied(certificate.clone(), desk.clone(), refusal)
        };
        let denied = |denial, remembered| explained(denial, remembered, String::new());
        let desired = DesiredCertificate {
            name: certificate.clone(),
            domains: vec![NamePattern::Exact(name.clone())],
            issuers: config.issuers.clone(),
            key_type: config.key_type,
            reuse_key: false,
            tags: Default::default(),
            spare_of: None,
        };
        if !self.may_sign(&desired) {
            return denied(Denial::NotAllowed, config.denied_ttl);
        }
        if let (false, Some(url)) = (desk.allows(name), &config.ask) {
            match self.ask(&desk, url, name).await {
                Answer::Allowed => {}
                Answer::Denied => return denied(Denial::NotAllowed, config.denied_ttl),
                Answer::None(problem) => {
                    let remembered = UNANSWERED.min(config.denied_ttl);
                    return explained(Denial::Unanswered, remembered, problem);
                }
            }
        }
        let look = timeout(DNS_DEADLINE, self.lookout.first_look(&desired, &desired.issuers));
        let look = look.await.map(|look| self.lookout.order(&desired, look));
        match look {
            Ok(DnsVerdict::Go { .. }) => {}
            Ok(DnsVerdict::No(renewal::Refusal { reason, .. })) => {
                tracing::debug!(%certificate, reason, "not wanted");
                return explained(Denial::Dns, DNS_REMEMBERED.min(config.denied_ttl), reason);
            }
            Err(_) => {
                let reason = format!("DNS has not answered within {} s", DNS_DEADLINE.as_secs());
                return explained(Denial::Dns, UNANSWERED.min(config.denied_ttl), reason);
            }
        }
        if !desk.take_order(Instant::now()) {
            return denied(Denial::OrdersLimited, Duration::ZERO);
        }
        match self.want_on_demand(&desired).await {
            Ok(()) => {
                tracing::info!(%certificate, listener = %desk.listener(), "wanted: a handshake has asked for it");
                Done::Wanted
            }
            Err(error) => {
                tracing::error!(%certificate, %error, "cannot be wanted");
                denied(Denial::Failed, UNANSWERED.min(config.denied_ttl))
            }
        }
    }

    async fn ask(&self, desk: &Desk, url: &str, name: &DnsName) -> Answer {
        let answer = self.asker.ask(url, name).await;
        let (result, problem) = match &answer {
            Answer::Allowed => ("allowed", None),
            Answer::Denied => ("denied", None),
            Answer::None(problem) => ("unanswered", Some(problem.clone())),
        };
        desk.count_ask(result);
        let listener = desk.listener();
        match (desk.note_ask(problem.clone()), problem) {
            (true, Some(problem)) => {
                tracing::warn!(%listener, "nothing is obtained on demand but what `names` allows: {problem}");
            }
            (true, None) => tracing::info!(%listener, "the ask URL answers again"),
            (false, _) => {}
        }
        answer
    }

    async fn want_on_demand(&self, desired: &DesiredCertificate) -> Result<(), InventoryError> {
        let _turn = self.requests.lock().await;
        self.inventory.want_on_demand(desired, self.clock.now()).await?;
        self.put_together().await
    }

    /// Forgets certificates, and what is counted of them.
    async fn forget_on_demand(&self, certificates: &[CertificateName]) -> Result<(), InventoryError> {
        let _turn = self.requests.lock().await;
        self.inventory.remove_on_demand(certificates).await?;
        // First this: what is wanted and not there is ordered.
        self.put_together().await?;
        for certificate in certificates {
            self.inventory.remove_certificate(certificate).await?;
            self.data_plane.metrics.forget_renewals(certificate.as_str());
        }
        Ok(())
    }

    /// Whether the CA that would be asked first may sign for it, as far as that is known; others are asked.
    fn may_sign(&self, desired: &DesiredCertificate) -> bool {
        let config = self.config.load();
        let is_public = || desired.domains.iter().all(|domain| domain.check_public().is_ok());
        match desired
            .issuers
            .first()
            .and_then(|issuer| config.issuers.get(issuer))
        {
            Some(IssuerConfig::LocalCa(local)) => local.outside(&desired.domains).is_none(),
            Some(IssuerConfig::Acme(acme)) if acme.is_public() => is_public() || desired.issuers.len() > 1,
            _ => true,
        }
    }

    /// What an attempt has come to, which has ended somehow.
    async fn conclude(&self, certificate: CertificateName) -> Done {
        if let Some(done) = self.publish_current(&certificate).await {
            return done;
        }
        let record = self.inventory.certificate(&certificate).await;
        let state = record.ok().flatten().map(|record| record.value.state);
        let detail = state.as_ref().and_then(CertificateState::problem);
        let detail = detail.unwrap_or_default().to_owned();
        let (denial, remembered) = match state {
            Some(CertificateState::Blocked { .. }) => (Denial::Dns, DNS_REMEMBERED),
            Some(
                CertificateState::BackingOff {
                    next_attempt: next, ..
                }
                | CertificateState::Stopped { next_check: next, .. },
            ) => {
                let pause = next.since(self.clock.now());
                (Denial::Failed, pause.clamp(FAILED, LONGEST_REMEMBERED))
            }
            // It goes on.
            _ => return Done::Wanted,
        };
        if let Err(error) = self.forget_on_demand(std::slice::from_ref(&certificate)).await {
            tracing::warn!(%certificate, %error, "it could not be obtained, and goes on being wanted");
        }
        let refusal = Refusal {
            denial,
            remembered,
            detail,
        };
        Done::Withdrawn(certificate, refusal)
    }

    /// Has the certificate served that is stored, if one is that is valid.
    async fn publish_current(&self, certificate: &CertificateName) -> Option<Done> {
        let record = self.inventory.certificate(certificate).await.ok()??;
        let current = record.value.current?;
        if current.leaf.not_after <= self.clock.now() {
            return None;
        }
        let published = &self.data_plane.published;
        published.look_up(Lookup::New(certificate.clone())).await;
        Some(Done::Published(certificate.clone()))
    }

    /// A line for each listener that has refused handshakes.
    fn log_refused(&self) {
        self.data_plane.for_each_desk(|desk| {
            let refused = desk.take_unlogged();
            if !refused.is_empty() {
                let by_reason: Vec<_> = refused
                    .iter()
                    .map(|(denial, count)| format!("{} {count}", denial.label()))
                    .collect();
                let handshakes: u64 = refused.values().sum();
                let listener = desk.listener();
                tracing::warn!(%listener, handshakes, "refused for want of a certificate: {}", by_reason.join(", "));
            }
        });
    }

    /// Ask URLs that give no answer, a line for each.
    pub(super) fn ask_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        self.data_plane.for_each_desk(|desk| {
            let problem = desk.standing().ask_problem;
            problems.extend(problem.map(|problem| {
                let listener = desk.listener();
                format!(
                    "listener `{listener}`: nothing is obtained on demand but what `names` allows: {problem}"
                )
            }));
        });
        problems
    }
}

/// How a listener stands, for `status`; `at` tells the time of a moment.
pub(super) fn standing(desk: &Desk, at: impl Fn(Instant) -> Timestamp) -> api::OnDemand {
    let standing = desk.standing();
    let (refused, latest) = (standing.refused.into_iter(), standing.latest.into_iter());
    api::OnDemand {
        pending: standing.pending,
        waiting: standing.waiting,
        remembered: standing.remembered,
        obtained: standing.obtained,
        refused: refused
            .map(|(denial, count)| (denial.label().to_owned(), count))
            .collect(),
        latest_refused: latest
            .map(|(denial, refused)| api::RefusedName {
                reason: denial.label().to_owned(),
                domain: NamePattern::Exact(refused.name),
                at: at(refused.at),
                detail: refused.detail,
            })
            .collect(),
    }
}

const TICK: Duration = Duration::from_secs(1);
/// One line for all that a listener has refused meanwhile.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// Until then whoever waits has been told; an attempt has a deadline of its own, which is shorter.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(20 * 60);
const DNS_DEADLINE: Duration = Duration::from_secs(15);
/// Whoever has just put a record right should not wait long.
const DNS_REMEMBERED: Duration = Duration::from_secs(60);
/// Between two questions about a name to which there was no answer.
const UNANSWERED: Duration = Duration::from_secs(5);
/// Let's Encrypt counts five failures of a name in an hour.
const FAILED: Duration = Duration::from_secs(15 * 60);
const LONGEST_REMEMBERED: Duration = Duration::from_secs(86_400);
