//! What the admin API can ask of the running gateway.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use async_trait::async_trait;
use tokio::sync::broadcast;

use crate::admin::{Operations, Page, Problem, api};
use crate::backend::ServerGroup;
use crate::certificate::{CertificateName, DesiredCertificate};
use crate::config::{ListenerConfig, Protocol};
use crate::gateway::control_plane::ControlPlane;
use crate::gateway::dns_checks::asked_about;
use crate::gateway::{on_demand, resources, views};
use crate::inventory::{CertificateRecord, Versioned};
use crate::listener::Service;
use crate::renewal;
use crate::tls::{Observations, ServerTls};

#[async_trait]
impl Operations for ControlPlane {
    async fn status(&self) -> Result<api::Status, Problem> {
        // Before what they are about: whatever is warned of is to be found there.
        let warnings = self.warnings();
        let page = Page::first();
        let certificates = self.certificates(&page).await?;
        Ok(api::Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_at: self.started_at,
            now: self.clock.now(),
            listeners: self.listeners(),
            more_certificates: certificates.len() == page.limit,
            certificates,
            server_groups: self.server_groups(),
            rate_limits: self.scarce_limits().await?,
            last_reload: self.last_reload(),
            drift: resources::drift(&self.applied.load()),
            warnings,
        })
    }

    async fn is_ready(&self) -> bool {
        self.data_plane.is_ready()
    }

    async fn certificates(&self, page: &Page) -> Result<Vec<api::Certificate>, Problem> {
        let after = page.after.as_deref().map(CertificateName::parse).transpose();
        let mut after = after.map_err(|error| Problem::bad_request(format!("`after`: {error}")))?;
        let mut all = Vec::new();
        // More than once only where records cannot be read.
        while all.len() < page.limit {
            let limit = page.limit - all.len();
            let found = self.inventory.certificates_after("", after.as_ref(), limit).await;
            let found = found.map_err(|error| Problem::internal(&error))?;
            let is_full = found.records.len() + found.unreadable.len() == limit;
            let end = found.last().filter(|_| is_full).cloned();
            all.extend(self.between(&found.records, after.as_ref(), end.as_ref()));
            match end {
                Some(end) => after = Some(end),
                None => break,
            }
        }
        all.truncate(page.limit);
        Ok(all)
    }

    async fn certificate(&self, name: &CertificateName) -> Result<api::Certificate, Problem> {
        let record = self
            .inventory
            .certificate(name)
            .await
            .map_err(|error| Problem::internal(&error))?;
        let desired = self.desired();
        let desired = desired.iter().find(|desired| desired.name == *name);
        if record.is_none() && desired.is_none() {
            return Err(Problem::not_found(format!(
                "there is no certificate `{name}`; `certgate cert list` shows those there are"
            )));
        }
        let published = self.data_plane.published.load();
        let record = record.as_ref().map(|record| &record.value);
        let steps = self.steps();
        let step = steps.get(name).map(String::as_str);
        let sightings = self.lookout.sightings();
        let sighting = sightings.get(name);
        Ok(self.with_keys(views::certificate(
            name,
            desired,
            record,
            &published,
            step,
            sighting,
            self.clock.now(),
        )))
    }

    async fn renew(&self, name: &CertificateName, even_if: Option<api::Objection>) -> Result<(), Problem> {
        let desired = self.desired();
        let Some(desired) = desired.iter().find(|desired| desired.name == *name) else {
            return Err(match self.certificate(name).await {
                Ok(found) => Problem::conflict(format!(
                    "certificate `{name}` comes from `{}`; only one that an issuer signs can be renewed here",
                    found.source
                )),
                Err(problem) => problem,
            });
        };
        self.may_be_asked(desired).await?;
        let requested = match even_if {
            Some(api::Objection::Dns) => {
                tracing::warn!(certificate = %name, "to be renewed whatever DNS says of its names");
                self.inventory.request_renewal_despite_dns(name).await
            }
            None => self.inventory.request_renewal(name).await,
        };
        requested.map(drop).map_err(|error| Problem::internal(&error))
    }

    async fn export(
        &self,
        name: &CertificateName,
        with_key: bool,
    ) -> Result<api::CertificateExport, Problem> {
        let pem = self
            .inventory
            .credential(name)
            .await
            .map_err(|error| Problem::internal(&error))?;
        let Some(pem) = pem else {
            return Err(Problem::not_found(format!(
                "there is nothing stored for certificate `{name}`"
            )));
        };
        if with_key {
            tracing::warn!(certificate = %name, "the private key was exported");
        }
        Ok(api::CertificateExport {
            certificate_pem: pem.chain_to_pem(),
            key_pem: with_key.then(|| pem.key_to_pem()),
        })
    }

    async fn local_ca_root(&self, issuer: &str) -> Result<String, Problem> {
        let record = self
            .inventory
            .local_ca(issuer)
            .await
            .map_err(|error| Problem::internal(&error))?;
        match record {
            Some(record) => Ok(record.value.root.certificate),
            None => Err(Problem::not_found(format!(
                "there is no local CA `{issuer}`, or it has not signed anything yet"
            ))),
        }
    }

    async fn dns_check(&self, request: api::DnsCheckRequest) -> Result<Vec<api::DomainVerdict>, Problem> {
        let desired = self.desired();
        if let Some(issuer) = &request.issuer
            && !self.config.load().issuers.contains_key(issuer)
        {
            return Err(Problem::bad_request(format!("there is no issuer `{issuer}`")));
        }
        let names = asked_about(&request, &desired)?;
        self.lookout
            .check_names(&names, request.issuer.as_deref(), &desired)
            .await
            .map_err(|error| Problem::internal(&error))
    }

    async fn metrics(&self) -> String {
        if let Ok(revision) = self.inventory.revision().await {
            self.data_plane.metrics.store_revision(revision.value());
        }
        self.data_plane.metrics.encode()
    }

    fn events(&self) -> broadcast::Receiver<api::Event> {
        self.events.subscribe()
    }
}

impl ControlPlane {
    /// What there is and what is only wanted, with names after `after` and up to `end`.
    fn between(
        &self,
        records: &[Versioned<CertificateRecord>],
        after: Option<&CertificateName>,
        end: Option<&CertificateName>,
    ) -> Vec<api::Certificate> {
        let desired = self.desired();
        let from = desired.partition_point(|desired| after.is_some_and(|after| desired.name <= *after));
        let to = desired.partition_point(|desired| end.is_none_or(|end| desired.name <= *end));
        let wanted = desired.get(from..to).unwrap_or_default().iter();
        let mut all: BTreeMap<_, (_, Option<&CertificateRecord>)> = wanted
            .map(|desired| (&desired.name, (Some(desired), None)))
            .collect();
        for record in records {
            all.entry(&record.value.name).or_default().1 = Some(&record.value);
        }
        let published = self.data_plane.published.load();
        let (steps, sightings, now) = (self.steps(), self.lookout.sightings(), self.clock.now());
        let view = |(name, (desired, record))| {
            let name: &CertificateName = name;
            let step = steps.get(name).map(String::as_str);
            views::certificate(name, desired, record, &published, step, sightings.get(name), now)
        };
        all.into_iter().map(view).collect()
    }

    fn listeners(&self) -> Vec<api::Listener> {
        let mut all = Vec::new();
        let fails_open = self.data_plane.fails_open(self.clock.now());
        let mut show = |config: &ListenerConfig,
                        service: Option<&ServerTls>,
                        address: SocketAddr,
                        connections: usize| {
            let observed = service.and_then(ServerTls::observed);
            let at = |moment: Instant| self.clock.now() - moment.elapsed();
            let tls = config.protocol == Protocol::Tls;
            all.push(api::Listener {
                name: config.name.to_string(),
                address: address.to_string(),
                enabled: config.enabled,
                protocol: if tls { "tls" } else { "http" }.to_owned(),
                authentication: tls.then(|| config.authentication.word().to_owned()),
                authentication_generation: service.map(|tls| tls.generation().to_string()),
                on_demand: service
                    .and_then(ServerTls::desk)
                    .map(|desk| on_demand::standing(desk, at)),
                observed_since: observed.map(|observed| at(observed.since())),
                observed_by_other_rules_until: observed
                    .and_then(Observations::judged_otherwise_until)
                    .map(at),
                would_refuse: observed
                    .map(Observations::latest)
                    .unwrap_or_default()
                    .iter()
                    .map(views::observed_client)
                    .collect(),
                fails_open: views::fails_open(&fails_open, &config.name),
                policy: tls.then(|| config.policy.clone()),
                server_group: config.server_group.clone(),
                connections,
            });
        };
        self.data_plane.for_each_listener(|listener| {
            let settings = listener.settings();
            let service = match &settings.service {
                Service::Tls { tls, .. } => Some(&**tls),
                Service::Http { .. } => None,
            };
            show(
                &settings.config,
                service,
                listener.local_addr(),
                listener.connections(),
            );
        });
        for listener in self
            .config
            .load()
            .listeners
            .values()
            .filter(|listener| !listener.enabled)
        {
            show(listener, None, listener.address, 0);
        }
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    fn server_groups(&self) -> Vec<api::ServerGroup> {
        let show = |group: &ServerGroup| api::ServerGroup {
            name: group.name().to_owned(),
            servers: servers(group),
        };
        self.data_plane
            .server_groups()
            .iter()
            .map(|group| show(group))
            .collect()
    }

    /// Refuses a renewal while every issuer has asked to be left alone.
    async fn may_be_asked(&self, desired: &DesiredCertificate) -> Result<(), Problem> {
        let name = &desired.name;
        let known = self.inventory.certificate(name).await;
        let Some(known) = known.map_err(|error| Problem::internal(&error))? else {
            return Ok(());
        };
        let requested = CertificateRecord {
            renew_requested: true,
            ..known.value
        };
        let now = self.clock.now();
        match renewal::next(desired, &desired.digest(), Some(&requested), now) {
            Some(next) if next.at > now => Err(Problem::conflict(format!(
                "certificate `{name}`: issuer `{}` has asked not to be asked before {}; it is asked then, by itself",
                next.issuer, next.at
            ))),
            _ => Ok(()),
        }
    }
}

/// The servers of a group as they stand.
pub(super) fn servers(group: &ServerGroup) -> Vec<api::Server> {
    let servers = group.servers().into_iter();
    servers
        .map(|server| api::Server {
            address: server.address.to_string(),
            up: server.is_up,
            error: server.last_error,
        })
        .collect()
}
