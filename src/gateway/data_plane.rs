//! The listeners of a configuration, changed in two phases: prepare everything with a way back, then swap.

mod leaving;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;

use crate::admin::{self, api};
use crate::backend::ServerGroup;
use crate::config::{AdminConfig, Config, ListenerConfig, Protocol, ServerGroupConfig};
use crate::gateway::GatewayError;
use crate::gateway::bundle_versions::BundleVersions;
use crate::gateway::ca_bundles::Bundles;
use crate::http::{CrlTable, PublishedCrl, TokenTable};
use crate::inventory::BundleVersion;
use crate::listener::{BoundListener, ListenerSettings, RunningListener, Service, Workers};
use crate::metrics::Metrics;
use crate::on_demand::{Demands, Desk};
use crate::policy::{self, Policy};
use crate::tls::{ChallengeTable, Lookup, PublishedCertificates, Selection, ServerTls};
use leaving::Leaving;

/// The data plane's threads, and what runs on them.
pub(super) struct DataPlane {
    workers: Workers,
    pub(super) published: Arc<PublishedCertificates>,
    pub(super) challenges: Arc<ChallengeTable>,
    pub(super) tokens: Arc<TokenTable>,
    crls: Arc<CrlTable>,
    pub(super) demands: Arc<Demands>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) versions: BundleVersions,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    listeners: BTreeMap<Arc<str>, RunningListener>,
    groups: BTreeMap<String, (Arc<ServerGroupConfig>, Arc<ServerGroup>)>,
    bundles: Bundles,
    policies: BTreeMap<String, Arc<Policy>>,
    /// Listeners that accept no more but have connections open.
    leaving: Vec<Leaving>,
}

/// A configuration that is ready to be served: everything that can fail has been done.
pub(super) struct Prepared {
    fresh: Vec<(BoundListener, ListenerSettings)>,
    replaced: Vec<ListenerSettings>,
    kept: Vec<Arc<str>>,
    groups: BTreeMap<String, (Arc<ServerGroupConfig>, Arc<ServerGroup>)>,
    bundles: Bundles,
    policies: BTreeMap<String, Arc<Policy>>,
}

impl DataPlane {
    /// Starts the threads; nothing is served yet. `versions` are those of CA bundles of before.
    pub(super) fn start(workers: usize, versions: BundleVersions) -> Result<Self, GatewayError> {
        Ok(Self {
            workers: Workers::start(workers).map_err(|source| GatewayError::Workers { source })?,
            published: Arc::new(PublishedCertificates::cold()),
            challenges: Arc::new(ChallengeTable::new()),
            tokens: Arc::new(TokenTable::new()),
            crls: Arc::default(),
            demands: Arc::default(),
            metrics: Arc::new(Metrics::new()),
            versions,
            running: Mutex::default(),
        })
    }

    /// Builds and binds what `config` asks for, with clients verified against `bundles`. What did not change is kept as it
    /// is: sockets, tickets, and what is known of servers.
    pub(super) fn prepare(&self, config: &Config, bundles: Bundles) -> Result<Prepared, GatewayError> {
        let running = self.running();
        let mut prepared = Prepared {
            fresh: Vec::new(),
            replaced: Vec::new(),
            kept: Vec::new(),
            groups: self.groups(config, &running),
            bundles,
            policies: config.policies.clone(),
        };
        let (mut free, mut ours) = (Vec::new(), Vec::new());
        for listener in config.listeners.values().filter(|listener| listener.enabled) {
            let before = running.listeners.get(&listener.name).filter(|before| {
                before.settings().config.address == listener.address
                    && before.settings().config.protocol == listener.protocol
            });
            match before {
                Some(before) if is_unchanged(&before.settings(), listener, &prepared, &running) => {
                    prepared.kept.push(listener.name.clone());
                }
                Some(before) => {
                    let settings = self.settings(listener, &prepared, Some(&before.settings()))?;
                    prepared.replaced.push(settings);
                }
                None => {
                    // One that has moved goes on with what it knows.
                    let moved = running.listeners.get(&listener.name);
                    let moved = moved.map(RunningListener::settings);
                    let settings = self.settings(listener, &prepared, moved.as_deref())?;
                    let is_ours = |other: &RunningListener| is_beside(other, listener.address);
                    match running.listeners.values().any(is_ours) {
                        true => ours.push(settings),
                        false => free.push(settings),
                    }
                }
            }
        }
        // All are asked for before one is taken: one address may be part of another, as 127.0.0.1 is of 0.0.0.0.
        for settings in &free {
            Workers::check_free(&settings.config).map_err(|source| GatewayError::Bind { source })?;
        }
        // Ours last, for from then on clients of the listener that is there come to these sockets too.
        for settings in free.into_iter().chain(ours) {
            let bound = self.workers.bind_beside(&settings.config);
            let bound = bound.map_err(|source| GatewayError::Bind { source })?;
            prepared.fresh.push((bound, settings));
        }
        Ok(prepared)
    }

    /// Serves what was prepared. Listeners that are no longer wanted accept no more; their connections go on.
    pub(super) fn commit(&self, prepared: Prepared) {
        let mut running = self.running();
        let mut before = std::mem::take(&mut running.listeners);
        let Prepared {
            fresh,
            replaced,
            kept,
            groups,
            bundles,
            policies,
        } = prepared;
        let mut keep = |name: &Arc<str>, settings: Option<ListenerSettings>| {
            if let Some(listener) = before.remove(name) {
                if let Some(settings) = settings {
                    listener.replace(settings);
                }
                running.listeners.insert(name.clone(), listener);
            }
        };
        for name in &kept {
            keep(name, None);
        }
        for settings in replaced {
            keep(&settings.config.name.clone(), Some(settings));
        }
        for (bound, settings) in fresh {
            let config = settings.config.clone();
            let listener = self.workers.serve(bound, settings, &self.metrics);
            tracing::info!(listener = %config.name, address = %listener.local_addr(), "listening");
            running.listeners.insert(config.name.clone(), listener);
        }
        for (name, listener) in before {
            tracing::info!(listener = %name, open = listener.connections(), "listens no more");
            listener.stop_accepting();
            running.leaving.push(Leaving::from(listener));
        }
        for leaving in &running.leaving {
            let successor = running.listeners.get(leaving.name());
            leaving
                .listener
                .succeeded_by(successor.map(RunningListener::settings));
        }
        running
            .leaving
            .retain(|leaving| leaving.listener.drained().now_or_never().is_none());
        running.groups = groups;
        let published = bundles.authorities.iter().map(|(issuer, authority)| {
            let crl = &authority.crl;
            (issuer.clone(), PublishedCrl::new(crl.number, crl.der.clone()))
        });
        self.crls.replace(published.collect());
        self.metrics
            .crls(bundles.by_name.iter().flat_map(|(name, bundle)| {
                let lists = bundle.revocation().iter();
                lists.map(|list| (name.as_str(), list.issuer.as_str(), list.next_update))
            }));
        self.metrics.ca_bundles(bundles.by_name.keys().map(|name| {
            let is_ok = !bundles.problems().contains_key(name);
            (name.as_str(), is_ok)
        }));
        self.versions.note(&bundles.by_name);
        running.bundles = bundles;
        running.policies = policies;
    }

    /// Why CA bundles are not what their files are, a line for each.
    pub(super) fn bundle_problems(&self) -> Vec<String> {
        self.running().bundles.problems().values().cloned().collect()
    }

    /// What clients are verified against.
    pub(super) fn bundles(&self) -> Bundles {
        self.running().bundles.clone()
    }

    /// What the CA bundle `name` holds, in short.
    pub(super) fn ca_bundle_summary(&self, name: &str) -> Option<api::CaBundleSummary> {
        let running = self.running();
        let bundle = running.bundles.by_name.get(name)?;
        let BundleVersion { version, digest } = self.versions.of(name)?;
        Some(api::CaBundleSummary {
            version: api::CaBundleVersion { version, digest },
            certificates: bundle.authority_count(),
            crls: bundle.revocation().iter().count(),
        })
    }

    /// Waits until listeners that are no longer wanted have given up their addresses.
    pub(super) async fn settled(&self) {
        let leaving = self.running().leaving.clone();
        for leaving in &leaving {
            leaving.listener.stopped().await;
        }
    }

    /// Calls `show` with each listener, in the order of their names.
    pub(super) fn for_each_listener(&self, mut show: impl FnMut(&RunningListener)) {
        self.running().listeners.values().for_each(&mut show);
    }

    /// Calls `show` with what each listener has of certificates on demand.
    pub(super) fn for_each_desk(&self, mut show: impl FnMut(&Desk)) {
        self.for_each_listener(|listener| {
            if let Service::Tls { tls, .. } = &listener.settings().service
                && let Some(desk) = tls.desk()
            {
                show(desk);
            }
        });
    }

    /// What `look` sees in the listener `name`; nothing when it does not run.
    pub(super) fn listener<T>(&self, name: &str, look: impl FnOnce(&RunningListener) -> T) -> Option<T> {
        self.running().listeners.get(name).map(look)
    }

    /// The policy that a listener with `policy = name` has.
    pub(super) fn policy(&self, name: &str) -> Option<Policy> {
        let running = self.running();
        let own = running.policies.get(name).map(Arc::as_ref);
        own.or_else(|| policy::built_in(name)).cloned()
    }

    /// The names of the configuration's own policies.
    pub(super) fn own_policies(&self) -> Vec<String> {
        self.running().policies.keys().cloned().collect()
    }

    /// The server groups, in the order of their names.
    pub(super) fn server_groups(&self) -> Vec<Arc<ServerGroup>> {
        self.running()
            .groups
            .values()
            .map(|(_, group)| group.clone())
            .collect()
    }

    /// Whether every listener has the certificate that it serves by default.
    pub(super) fn is_ready(&self) -> bool {
        self.running()
            .listeners
            .values()
            .all(|listener| match &listener.settings().service {
                Service::Http { .. } => true,
                Service::Tls { tls, .. } => tls.is_ready(),
            })
    }

    /// Connections open now, those of listeners that are leaving included.
    pub(super) fn connections(&self) -> usize {
        let running = self.running();
        let leaving = running.leaving.iter().map(|leaving| leaving.listener.as_ref());
        running
            .listeners
            .values()
            .chain(leaving)
            .map(RunningListener::connections)
            .sum()
    }

    /// Ends every connection.
    pub(super) fn close(&self) {
        let running = self.running();
        let leaving = running.leaving.iter().map(|leaving| leaving.listener.as_ref());
        running
            .listeners
            .values()
            .chain(leaving)
            .for_each(RunningListener::close_all);
    }

    /// Accepts no more, and returns when every open connection has ended.
    pub(super) async fn drain(&self) {
        let listeners: Vec<_> = {
            let mut running = self.running();
            let listeners = std::mem::take(&mut running.listeners);
            running.leaving.extend(listeners.into_values().map(Leaving::from));
            running.leaving.clone()
        };
        for leaving in &listeners {
            leaving.listener.stop_accepting();
        }
        for leaving in &listeners {
            leaving.listener.drained().await;
        }
    }

    fn settings(
        &self,
        listener: &Arc<ListenerConfig>,
        prepared: &Prepared,
        before: Option<&ListenerSettings>,
    ) -> Result<ListenerSettings, GatewayError> {
        let service = match listener.protocol {
            Protocol::Http => Service::Http {
                tokens: self.tokens.clone(),
                crls: self.crls.clone(),
            },
            Protocol::Tls => {
                let inconsistent = |what: &'static str| GatewayError::Inconsistent {
                    listener: listener.name.clone(),
                    what,
                };
                let policy = prepared.policies.get(&listener.policy).map(Arc::as_ref);
                let policy = policy
                    .or_else(|| policy::built_in(&listener.policy))
                    .ok_or_else(|| inconsistent("its policy is missing"))?;
                let bundle = listener.authentication.client_ca();
                let bundle = bundle.and_then(|name| prepared.bundles.by_name.get(name));
                let tls = ServerTls::build(
                    listener,
                    policy,
                    bundle,
                    self.published.clone(),
                    self.challenges.clone(),
                )
                .map_err(|source| GatewayError::Tls {
                    listener: listener.name.clone(),
                    source,
                })?;
                let tls = tls.on_demand(self.desk(listener));
                let tls = match before.map(|before| &before.service) {
                    Some(Service::Tls { tls: before, .. }) => tls.continuing(before),
                    _ => tls,
                };
                let group = listener
                    .server_group
                    .as_ref()
                    .and_then(|group| prepared.groups.get(group));
                let (_, server_group) = group.ok_or_else(|| inconsistent("its server group is missing"))?;
                Service::Tls {
                    tls: Arc::new(tls),
                    server_group: server_group.clone(),
                }
            }
        };
        Ok(ListenerSettings {
            config: listener.clone(),
            service,
        })
    }

    fn desk(&self, listener: &ListenerConfig) -> Option<Desk> {
        let (name, places) = (listener.name.clone(), listener.max_connections);
        let metrics = self.metrics.on_demand(&name);
        let config = listener.on_demand.clone()?;
        Some(Desk::new(name, config, places, self.demands.clone(), metrics))
    }

    fn groups(
        &self,
        config: &Config,
        running: &Running,
    ) -> BTreeMap<String, (Arc<ServerGroupConfig>, Arc<ServerGroup>)> {
        let group = |(name, wanted): (&String, &Arc<ServerGroupConfig>)| {
            let group = match running.groups.get(name) {
                Some((before, group)) if before == wanted => group.clone(),
                _ => ServerGroup::new(wanted, self.metrics.clone()),
            };
            (name.clone(), (wanted.clone(), group))
        };
        config.server_groups.iter().map(group).collect()
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the listeners of `config` serve by default.
pub(super) fn defaults(config: &Config) -> Vec<Lookup> {
    let tls = config
        .listeners
        .values()
        .filter(|listener| listener.enabled && listener.protocol == Protocol::Tls);
    let selections = tls.map(|listener| Selection::new(&listener.certificates, listener.unknown_sni));
    selections
        .flat_map(|selection| selection.default_lookups().collect::<Vec<_>>())
        .collect()
}

/// TLS for the admin API, where a certificate is configured for it.
pub(super) fn admin_tls(
    config: &Config,
    bundles: &Bundles,
    published: &Arc<PublishedCertificates>,
) -> Result<Option<admin::Tls>, GatewayError> {
    let Some(certificate) = &config.admin.certificate else {
        return Ok(None);
    };
    let client_ca = config.admin.client_ca.as_ref();
    let client_ca = client_ca.and_then(|name| bundles.by_name.get(name));
    admin::Tls::new(certificate.clone(), client_ca, published.clone())
        .map(Some)
        .map_err(|source| GatewayError::AdminTls { source })
}

/// Whether it is `running` that has `address`: all of it, or as part of all addresses, or the other way round. It may stay
/// there, as it may at a start.
fn is_beside(running: &RunningListener, address: SocketAddr) -> bool {
    let theirs = running.local_addr();
    let is_part = theirs.ip().is_unspecified() || address.ip().is_unspecified();
    theirs == address || theirs.port() == address.port() && is_part
}

fn is_unchanged(
    before: &ListenerSettings,
    wanted: &Arc<ListenerConfig>,
    prepared: &Prepared,
    running: &Running,
) -> bool {
    let same_group = match &before.service {
        Service::Http { .. } => true,
        Service::Tls { server_group, .. } => prepared
            .groups
            .get(wanted.server_group.as_deref().unwrap_or_default())
            .is_some_and(|(_, group)| Arc::ptr_eq(group, server_group)),
    };
    let same_bundle = match wanted.authentication.client_ca() {
        Some(client_ca) => prepared.bundles.by_name.get(client_ca) == running.bundles.by_name.get(client_ca),
        None => true,
    };
    let same_policy = prepared.policies.get(&wanted.policy) == running.policies.get(&wanted.policy);
    before.config == *wanted && same_group && same_bundle && same_policy
}

/// Refuses what can be changed only by a restart.
pub(super) fn check_fixed_parts(before: &Config, wanted: &Config) -> Result<(), GatewayError> {
    let path = |path: &Path| path.display().to_string();
    let listen = |admin: &AdminConfig| {
        let socket = admin
            .socket
            .iter()
            .map(|socket| format!("unix:{}", socket.display()));
        let addresses = admin.addresses.iter().map(ToString::to_string);
        socket.chain(addresses).collect::<Vec<_>>().join(", ")
    };
    let parts = [
        ("store.path", path(&before.store.path), path(&wanted.store.path)),
        ("admin.listen", listen(&before.admin), listen(&wanted.admin)),
        (
            "runtime.workers",
            before.runtime.workers.to_string(),
            wanted.runtime.workers.to_string(),
        ),
        (
            "runtime.certificate_cache",
            before.runtime.certificate_cache.to_string(),
            wanted.runtime.certificate_cache.to_string(),
        ),
    ];
    match parts.into_iter().find(|(_, before, wanted)| before != wanted) {
        Some((key, before, wanted)) => Err(GatewayError::Fixed { key, before, wanted }),
        None => Ok(()),
    }
}
