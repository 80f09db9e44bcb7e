//! What decides and fetches: the state behind the admin API, and the wiring of renewal.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use certgate_store::embedded::Recovery;
use futures_util::FutureExt;
use tokio::sync::{broadcast, watch};

use crate::admin::{Admission, AuditTrail, api};
use crate::certificate::{CertificateName, DesiredCertificate};
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, IssuerConfig, Protocol};
use crate::dns01::Claims;
use crate::gateway::applied::{Applied, Check};
use crate::gateway::crl_urls;
use crate::gateway::data_plane::DataPlane;
use crate::gateway::lookout::Lookout;
use crate::gateway::on_demand::Asker;
use crate::gateway::watched_files::WatchedFiles;
use crate::gateway::zones::{self, WithZones};
use crate::hooks;
use crate::inventory::{Inventory, InventoryError, Notice, StandIn};
use crate::issuer::{AcmeIssuer, ChallengeSolver, Issuer, Limits, LocalCa};
use crate::publish::Problems;
use crate::renewal::{self, Event, EventKind, Health, Issuers};

/// Everything that the running gateway knows of itself.
pub(super) struct ControlPlane {
    pub(super) started_at: Timestamp,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) inventory: Inventory,
    pub(super) data_plane: DataPlane,
    pub(super) admission: Admission,
    pub(super) config: Arc<ArcSwap<Config>>,
    pub(super) check: Arc<Check>,
    pub(super) applied: ArcSwap<Applied>,
    /// Held by whoever changes the configuration, or has listeners prepared and swapped.
    pub(super) turn: tokio::sync::Mutex<()>,
    /// Held by whoever changes an entry of the certificate store, from the look at its entity tag on.
    pub(super) entries: tokio::sync::Mutex<()>,
    /// Listeners of which connections are being closed that are no longer admitted.
    pub(super) rechecks: Mutex<BTreeSet<String>>,
    /// Why the files of CA bundles are not what clients are verified against.
    pub(super) bundle_problem: ArcSwapOption<String>,
    pub(super) crl_problems: Mutex<crl_urls::Problems>,
    /// What hooks were not told, and what was not exported.
    pub(super) hook_problems: hooks::Problems,
    pub(super) export_problems: hooks::Problems,
    pub(super) lookout: Arc<Lookout>,
    pub(super) asker: Arc<Asker>,
    /// Held by whoever changes what is asked for at run time, or puts together what is wanted.
    pub(super) requests: tokio::sync::Mutex<()>,
    pub(super) issuers: Arc<Issuers>,
    pub(super) solver: Arc<dyn ChallengeSolver>,
    /// Records in zones that are in use.
    pub(super) claims: Claims,
    /// What earlier attempts have left there, in words.
    pub(super) leftovers: Mutex<Vec<String>>,
    pub(super) desired: watch::Sender<Arc<[DesiredCertificate]>>,
    pub(super) events: broadcast::Sender<api::Event>,
    pub(super) trail: Arc<AuditTrail>,
    /// How far each attempt under way has come.
    pub(super) steps: Mutex<BTreeMap<CertificateName, String>>,
    /// The certificates that their spares are served in place of.
    pub(super) stand_ins: Mutex<BTreeMap<CertificateName, StandIn>>,
    pub(super) health: watch::Receiver<Health>,
    pub(super) publisher: watch::Receiver<Problems>,
    pub(super) files: ArcSwap<WatchedFiles>,
    pub(super) recovery: Recovery,
    pub(super) ended: Mutex<Vec<&'static str>>,
    pub(super) last_reload: Mutex<Option<api::Reload>>,
}

impl ControlPlane {
    /// What is wanted now.
    pub(super) fn desired(&self) -> Arc<[DesiredCertificate]> {
        self.desired.borrow().clone()
    }

    /// Puts together what the file and what requests at run time want; the file comes first.
    pub(super) async fn refresh_desired(&self) -> Result<(), InventoryError> {
        let _turn = self.requests.lock().await;
        self.put_together().await
    }

    /// The same, for whoever has the turn.
    pub(super) async fn put_together(&self) -> Result<(), InventoryError> {
        let config = self.config.load_full();
        let requested = self.inventory.requested().await?;
        self.desired.send_replace(joined(&config, requested));
        Ok(())
    }

    /// Takes over the parts of `config` that decide and fetch. Cannot fail; gives the issuers that have changed.
    pub(super) fn adopt(&self, config: Config, requested: Vec<DesiredCertificate>) -> BTreeSet<String> {
        let before = self.config.load_full();
        let known = self.issuers.load_full();
        let mut issuers = issuers(&config, &self.inventory, &self.solver, &self.clock, &self.claims);
        let mut changed = BTreeSet::new();
        let same_zones = before.gateway == config.gateway;
        for (name, issuer) in &mut issuers {
            match known.get(name) {
                // One that did not change goes on with its account and its connections.
                Some(same)
                    if before.issuers.get(name) == config.issuers.get(name)
                        && (same_zones || zones::provider(&config, name).is_none()) =>
                {
                    issuer.clone_from(same);
                }
                _ => drop(changed.insert(name.clone())),
            }
        }
        self.issuers.store(Arc::new(issuers));
        let config = Arc::new(config);
        // What is wanted comes last: an attempt at it begins at once, and must find all that decides about it.
        self.config.store(config.clone());
        self.desired.send_replace(joined(&config, requested));
        // Also where nothing of it changed: to apply the configuration is to withdraw what is no longer there.
        if !self.files.load().apply_again(&config) {
            let files = WatchedFiles::watch(&config, &self.inventory, &self.clock);
            self.files.store(Arc::new(files));
        }
        changed
    }

    /// Has certificates tried again that wait after a failure at one of `issuers`.
    pub(super) async fn reconsider(&self, issuers: &BTreeSet<String>) {
        if let Err(error) = renewal::reconsider(&self.inventory, &self.desired(), issuers).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "certificates that wait after a failure go on waiting");
        }
    }

    /// Notes the outcome of a reload for `status`.
    pub(super) fn note_reload(&self, error: Option<String>) {
        let reload = api::Reload {
            at: self.clock.now(),
            error,
        };
        *self.last_reload.lock().unwrap_or_else(PoisonError::into_inner) = Some(reload);
    }

    /// The outcome of the last reload.
    pub(super) fn last_reload(&self) -> Option<api::Reload> {
        self.last_reload
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whatever an operator should look at.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let health = self.health.borrow().clone();
        warnings.extend(health.clock.map(|alarm| alarm.to_string()));
        warnings.extend(health.store.map(|error| format!("the store fails: {error}")));
        warnings.extend(health.unreadable.values().cloned());
        let config = self.config.load();
        let from_acme =
            |desired: &DesiredCertificate| desired.issuers.iter().any(|issuer| config.is_acme(issuer));
        if config.gateway.is_none() && self.desired().iter().any(from_acme) {
            warnings.push("DNS is not checked before an order: `[gateway]` is not configured".to_owned());
        }
        warnings.extend(self.stand_in_warnings());
        warnings.extend(self.lookout.warnings());
        warnings.extend(self.leftovers());
        warnings.extend(self.ask_problems());
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        warnings.extend(ended.iter().map(|what| {
            format!("{what} has failed for good by a defect of certgate; restart the gateway, and please report the log")
        }));
        if !self.recovery.is_clean() {
            warnings.push(recovered(&self.recovery, &config));
        }
        let problems = self.publisher.borrow().clone();
        warnings.extend(self.files.load().problems());
        warnings.extend(self.data_plane.crl_alarms(self.clock.now()));
        warnings.extend(self.data_plane.bundle_problems());
        warnings.extend(self.crl_problems());
        warnings.extend(self.bundle_problem.load().as_deref().cloned());
        warnings.extend(self.hook_problems.lines());
        warnings.extend(self.export_problems.lines());
        let unfit = problems.certificates.iter().map(|(name, problem)| {
            format!(
                "certificate `{name}`, since {}: {}",
                problem.since, problem.reason
            )
        });
        warnings.extend(unfit);
        warnings.extend(
            problems
                .store
                .map(|problem| format!("since {}: {}", problem.since, problem.reason)),
        );
        warnings
    }

    /// Runs `work` to its end, and raises an alarm if that is a panic: what is published goes on being served, but
    /// somebody has to know.
    pub(super) async fn alarmed(self: Arc<Self>, what: &'static str, work: impl Future<Output = ()>) {
        if AssertUnwindSafe(work).catch_unwind().await.is_err() {
            tracing::error!("{what} has failed for good by a defect of certgate; restart the gateway");
            self.ended
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(what);
        }
    }

    /// How far each attempt under way has come.
    pub(super) fn steps(&self) -> MutexGuard<'_, BTreeMap<CertificateName, String>> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes an event of renewal on to `status`, watchers and metrics.
    pub(super) fn announce(&self, event: &Event) {
        let name = event.certificate.as_str();
        let detail = event.kind.to_string();
        match &event.kind {
            EventKind::Started { .. } | EventKind::Step(_) => {
                self.steps().insert(event.certificate.clone(), detail.clone())
            }
            _ => self.steps().remove(&event.certificate),
        };
        let kind = match &event.kind {
            EventKind::Blocked { .. } => "blocked",
            EventKind::Failed { issuer, .. } => {
                self.count(name, issuer, "failed");
                "failed"
            }
            EventKind::Obtained { issuer, renewed, .. } => {
                self.count(name, issuer, "obtained");
                self.lookout.obtained(&event.certificate);
                if *renewed { "renewed" } else { "obtained" }
            }
            EventKind::Started { .. } | EventKind::Step(_) => "step",
        };
        // Nobody watching is no error.
        let _ = self.events.send(api::Event {
            at: event.at,
            certificate: event.certificate.clone(),
            kind: kind.to_owned(),
            detail,
        });
    }

    /// Passes what hooks are told on to watchers.
    pub(super) fn announce_notice(&self, notice: &Notice) {
        // Nobody watching is no error.
        let _ = self.events.send(api::Event {
            at: notice.at,
            certificate: notice.certificate.clone(),
            kind: notice.event.to_string(),
            detail: notice.detail.clone(),
        });
    }

    fn count(&self, certificate: &str, issuer: &str, result: &str) {
        let metrics = &self.data_plane.metrics;
        metrics.certificate_renewed(certificate, result);
        if self.config.load().is_acme(issuer) {
            metrics.acme_order_ended(issuer, result);
        }
    }
}

/// What became of the store at the start, and what may be older by that than it was acknowledged.
fn recovered(recovery: &Recovery, config: &Config) -> String {
    let said = format!("the store was recovered at the start: {recovery}");
    let (Recovery::Shortened { .. }
    | Recovery::Rebuilt {
        lost_after: Some(_), ..
    }) = recovery
    else {
        return said;
    };
    let tls = config
        .listeners
        .values()
        .filter(|listener| listener.protocol == Protocol::Tls);
    let names: Vec<_> = tls.map(|listener| format!("`{}`", listener.name)).collect();
    format!(
        "{said}; see whether these listeners ask of their clients what they should: {}",
        names.join(", ")
    )
}

/// The issuers of a configuration. Nothing is asked of them yet.
pub(super) fn issuers(
    config: &Config,
    inventory: &Inventory,
    solver: &Arc<dyn ChallengeSolver>,
    clock: &Arc<dyn Clock>,
    claims: &Claims,
) -> BTreeMap<String, Arc<dyn Issuer>> {
    let all = config;
    let issuer = |(name, config): (&String, &IssuerConfig)| {
        let mut solver = solver.clone();
        if let Some(zones) = zones::dns01(all, name, inventory, clock, claims) {
            let listeners = solver;
            solver = Arc::new(WithZones { listeners, zones });
        }
        let (inventory, clock) = (inventory.clone(), clock.clone());
        let issuer: Arc<dyn Issuer> = match config {
            IssuerConfig::Acme(config) => {
                let mut limits = Limits::default();
                // What a zone may take is no time of the CA's.
                limits.issuance += config
                    .dns
                    .as_ref()
                    .map_or(Duration::ZERO, |dns| dns.propagation_timeout);
                Arc::new(AcmeIssuer::new(name, config, inventory, solver, clock, limits))
            }
            IssuerConfig::LocalCa(config) => Arc::new(LocalCa::new(name, config, inventory, clock)),
        };
        (name.clone(), issuer)
    };
    config.issuers.iter().map(issuer).collect()
}

/// What the file and what requests at run time want; where both name a certificate, the file holds.
pub(super) fn joined(config: &Config, requested: Vec<DesiredCertificate>) -> Arc<[DesiredCertificate]> {
    let mut all: BTreeMap<_, _> = requested
        .into_iter()
        // Two sources of one entry would replace each other's certificate for ever, with an order each time.
        .filter(|desired| !config.comes_from_files(&desired.name))
        .map(|desired| (desired.name.clone(), desired))
        .collect();
    all.extend(
        config
            .certificates
            .iter()
            .map(|desired| (desired.name.clone(), desired.clone())),
    );
    all.into_values().collect()
}

/// A number that spreads this process's renewals apart from those of others.
pub(super) fn seed(clock: &Arc<dyn Clock>) -> u64 {
    let mut bytes = [0; 8];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => u64::from_ne_bytes(bytes),
        // It need not be secret, only different.
        Err(_) => clock.now().unix_milliseconds().unsigned_abs() ^ u64::from(std::process::id()),
    }
}
