//! The whole program in one value: assembled, reloaded in two phases, drained.
//!
//! Start order: store, the listeners' default certificates are published, sockets bound, everything served, and only
//! then renewal begins. So a restart serves from the store at once, whether the CA can be reached or not: a certificate
//! that is not loaded yet is loaded for the first client that asks for it. Certificate files are read by a task of their
//! own meanwhile, at a start and at a reload alike: what they bring follows a moment later.

mod accounts;
mod applied;
mod bundle_alarms;
mod bundle_versions;
mod ca_bundles;
mod calendar;
mod certificate_edits;
mod client_ca;
mod control_plane;
mod crl_urls;
mod data_plane;
mod dns_checks;
mod dns_rounds;
mod downgrade;
mod drift;
mod edit;
mod error;
mod exports;
mod gate;
mod handshakes;
mod hooks;
mod issuers;
mod kept_file;
mod leftovers;
mod look;
mod lookout;
mod named_files;
mod on_demand;
mod operations;
mod passed_over;
mod recheck;
mod resources;
mod standby;
mod three_way;
mod turns;
mod unwanted;
mod versions;
mod views;
mod watched_files;
mod zones;

use std::sync::Arc;

use arc_swap::ArcSwap;
use certgate_store::EmbeddedStore;
use certgate_store::embedded::Recovery;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;

pub use applied::Check;
pub use error::GatewayError;
pub use named_files::{NamedFiles, named_files};

use crate::admin;
use crate::cause::with_causes;
use crate::clock::{Clock, SystemClock};
use crate::config::{Files, StoreConfig};
use crate::dns01::Claims;
use crate::export::Exports;
use crate::gateway::applied::{Applied, warn_of};
use crate::gateway::bundle_versions::BundleVersions;
use crate::gateway::ca_bundles::Bundles;
use crate::gateway::control_plane::{ControlPlane, joined};
use crate::gateway::data_plane::DataPlane;
use crate::gateway::gate::Gate;
use crate::gateway::lookout::Lookout;
use crate::gateway::on_demand::Asker;
use crate::gateway::three_way::KnownBundles;
use crate::gateway::turns::Turns;
use crate::gateway::watched_files::WatchedFiles;
use crate::hooks::{Hooks, watch_expiry};
use crate::inventory::Inventory;
use crate::issuer::ChallengeSolver;
use crate::publish::{PublishedChallenges, Publisher};
use crate::renewal::Renewal;

/// A running gateway.
pub struct Gateway {
    control: Arc<ControlPlane>,
    _admin: admin::Server,
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Gateway {
    /// Starts to serve, on this machine's clock, what `files` say together with what was changed at run time before.
    /// `store` is what the files say of the store, and `check` tells what they mean.
    ///
    /// # Errors
    /// [`GatewayError`]; nothing is left running then.
    pub async fn start(files: Files, store: &StoreConfig, check: Arc<Check>) -> Result<Self, GatewayError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (store, recovery) = open_store(store).await?;
        let inventory = Inventory::new(Arc::new(store));
        let before = Applied {
            known: inventory.resources().await?,
            left: inventory.left_places().await?,
            ..Applied::default()
        };
        let mut wanted = before.with_files(files);
        wanted.keep_authentication(&before);
        wanted.remember_places(&before, clock.now());
        // Whatever has become of their files meanwhile, a start goes on with what is known of CA bundles; at the first one
        // that is nothing.
        let mut known = KnownBundles::default();
        if !before.known.is_empty() {
            known.settled.extend(wanted.ca_bundles());
        }
        let candidate = wanted.checked(&*check, &known.names())?;
        let config = candidate.config;
        let versions = inventory.bundle_versions().await.unwrap_or_else(|error| {
            tracing::warn!(
                "the versions of the CA bundles begin anew: {}",
                with_causes(&error)
            );
            Default::default()
        });
        let data_plane = DataPlane::start(config.runtime.workers, BundleVersions::new(versions))?;

        let mut publisher = Publisher::new(
            inventory.clone(),
            data_plane.published.clone(),
            data_plane.metrics.clone(),
            clock.clone(),
            config.runtime.certificate_cache,
        );
        publisher.start(data_plane::defaults(&config)).await?;

        let authorities = client_ca::authorities(&config, &inventory, &clock).await?;
        kept_file::forget_others(&config);
        let bundles = Bundles::load(&config, authorities, &known, clock.now()).await?;
        let admin_tls = data_plane::admin_tls(&config, &bundles, &data_plane.published)?;
        let prepared = data_plane.prepare(&config, bundles)?;
        let files = WatchedFiles::watch(&config, &inventory, &clock);
        let saved = inventory.save_resources(before.state(), candidate.applied.state());
        saved.await?;
        warn_of(&candidate.warnings, &before.known, &candidate.applied.known);

        let solver: Arc<dyn ChallengeSolver> = Arc::new(PublishedChallenges::new(
            data_plane.challenges.clone(),
            data_plane.tokens.clone(),
        ));
        let claims = Claims::default();
        let issuers = control_plane::issuers(&config, &inventory, &solver, &clock, &claims);
        let issuers = Arc::new(ArcSwap::from_pointee(issuers));
        let (desired, wanted) = watch::channel(joined(&config, inventory.requested().await?));
        let trail = Arc::new(admin::AuditTrail::new(inventory.clone(), clock.clone()));
        let admission = admin::Admission::default();
        admission.replace(&config.admin.tokens, admin_tls);
        let admin_config = config.admin.clone();
        let config = Arc::new(ArcSwap::from_pointee(config));
        let events = broadcast::Sender::new(1024);
        let lookout = Arc::new(Lookout {
            config: config.clone(),
            inventory: inventory.clone(),
            issuers: issuers.clone(),
            clock: clock.clone(),
            metrics: data_plane.metrics.clone(),
            events: events.clone(),
            claims: claims.clone(),
            sightings: Default::default(),
            telling: Default::default(),
        });
        let asker = Arc::new(Asker::default());
        let seed = control_plane::seed(&clock);
        let renewal = Renewal::new(
            inventory.clone(),
            wanted,
            issuers.clone(),
            Arc::new(Gate {
                lookout: lookout.clone(),
                asker: asker.clone(),
            }),
            clock.clone(),
            seed,
        );
        let mut happened = renewal.events().subscribe();
        let told = renewal.events().subscribe();

        let control = Arc::new(ControlPlane {
            started_at: clock.now(),
            health: renewal.health(),
            publisher: publisher.problems(),
            files: ArcSwap::from_pointee(files),
            recovery,
            clock,
            inventory,
            data_plane,
            admission: admission.clone(),
            config,
            check,
            applied: ArcSwap::from_pointee(candidate.applied),
            turn: Default::default(),
            entries: Default::default(),
            rechecks: Default::default(),
            bundle_problem: Default::default(),
            crl_problems: Default::default(),
            hook_problems: Default::default(),
            export_problems: Default::default(),
            lookout,
            asker,
            requests: Default::default(),
            issuers,
            solver,
            claims,
            leftovers: Default::default(),
            desired,
            events,
            trail: trail.clone(),
            steps: Default::default(),
            stand_ins: Default::default(),
            ended: Default::default(),
            last_reload: Default::default(),
        });
        let admin = admin::Server::start(&admin_config, admission, control.clone(), trail).await?;
        control.data_plane.commit(prepared);

        let stop = watch::Sender::new(false);
        let stopped = || {
            let mut stop = stop.subscribe();
            async move {
                // Ends by the word, or with whoever could give it.
                let _ = stop.wait_for(|stop| *stop).await;
            }
        };
        let mut tasks = JoinSet::new();
        let published = control
            .clone()
            .alarmed("publishing of certificates", publisher.run(stopped()));
        tasks.spawn(published);
        let renewed = control
            .clone()
            .alarmed("renewal of certificates", renewal.run(stopped()));
        tasks.spawn(renewed);

        let rounds = dns_rounds::watch_domains(
            control.lookout.clone(),
            control.desired.subscribe(),
            stop.subscribe(),
        );
        tasks.spawn(control.clone().alarmed("looking after names in DNS", rounds));

        let spares = standby::keep(control.clone(), stop.subscribe());
        tasks.spawn(
            control
                .clone()
                .alarmed("looking after spare certificates", spares),
        );
        let forgotten = unwanted::forget(control.clone(), stop.subscribe());
        tasks.spawn(
            control
                .clone()
                .alarmed("forgetting what is wanted no more", forgotten),
        );
        let hooks = Hooks {
            inventory: control.inventory.clone(),
            clock: control.clock.clone(),
            metrics: control.data_plane.metrics.clone(),
            config: control.config.clone(),
            desired: control.desired.subscribe(),
            problems: control.hook_problems.clone(),
            told: {
                let control = control.clone();
                Arc::new(move |notice| control.announce_notice(notice))
            },
        };
        let expiry = watch_expiry(hooks.clone(), stopped());
        tasks.spawn(control.clone().alarmed("looking after what expires", expiry));
        tasks.spawn(control.clone().alarmed("telling hooks", hooks.run(stopped())));
        let exports = Exports {
            inventory: control.inventory.clone(),
            clock: control.clock.clone(),
            metrics: control.data_plane.metrics.clone(),
            config: control.config.clone(),
            desired: control.desired.subscribe(),
            problems: control.export_problems.clone(),
        };
        let exporting = exports.run(stopped());
        tasks.spawn(control.clone().alarmed("exporting certificates", exporting));
        let served = on_demand::serve(control.clone(), told, stop.subscribe());
        tasks.spawn(
            control
                .clone()
                .alarmed("obtaining certificates on demand", served),
        );
        tasks.spawn(bundle_versions::keep(control.clone(), stop.subscribe()));
        tasks.spawn(ca_bundles::watch(control.clone(), stop.subscribe()));
        tasks.spawn(client_ca::keep(control.clone(), stop.subscribe()));
        tasks.spawn(crl_urls::keep(control.clone(), stop.subscribe()));
        let cleaned = leftovers::keep_clean(control.clone(), stop.subscribe());
        tasks.spawn(control.clone().alarmed("removing records from zones", cleaned));

        let announcing = control.clone();
        tasks.spawn(async move {
            let mut turns = Turns::default();
            loop {
                match happened.recv().await {
                    Ok(event) => {
                        announcing.announce(&event);
                        announcing.note_turn(&mut turns, &event).await;
                    }
                    Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "events of renewal were missed"),
                    Err(RecvError::Closed) => return,
                }
            }
        });
        Ok(Self {
            control,
            _admin: admin,
            tasks,
            stop,
        })
    }

    /// Applies another configuration: everything is prepared first, then swapped. If anything of it cannot be done,
    /// nothing is changed. The outcome is logged, and shown by `status`.
    pub async fn reload(&self, read: impl FnOnce() -> Result<Files, String>) {
        let outcome = match read() {
            Ok(files) => self
                .control
                .apply_files(files, false)
                .await
                .map_err(|error| with_causes(&error)),
            Err(problems) => Err(problems),
        };
        match &outcome {
            Ok(_) => tracing::info!("the configuration was reloaded"),
            Err(error) => tracing::error!("the reload was refused, nothing was changed: {error}"),
        }
        self.control.note_reload(outcome.err());
    }

    /// Accepts no more, lets open connections finish until the configured deadline, and stops.
    pub async fn drain(mut self) {
        let deadline = self.control.config.load().runtime.drain_timeout;
        self.stop.send_replace(true);
        let open = self.control.data_plane.connections();
        tracing::info!(open, seconds = deadline.as_secs(), "draining");
        if tokio::time::timeout(deadline, self.control.data_plane.drain())
            .await
            .is_err()
        {
            let open = self.control.data_plane.connections();
            tracing::warn!(open, "the drain's deadline has passed; open connections are cut");
        }
        self.control.data_plane.close();
        self.tasks.shutdown().await;
        zones::settle(&self.control.claims).await;
        tracing::info!("stopped");
    }
}

async fn open_store(config: &StoreConfig) -> Result<(EmbeddedStore, Recovery), GatewayError> {
    let path = config.path.clone();
    let opened = tokio::task::spawn_blocking(move || EmbeddedStore::open(&path, Default::default()));
    match opened.await {
        Ok(opened) => Ok(opened?),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
