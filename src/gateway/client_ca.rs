//! The gateway's own CAs for clients: asked to sign and to revoke, and their CRLs kept in date.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::cause::with_causes;
use crate::certificate::RevocationReason;
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, IssuerConfig, Protocol};
use crate::gateway::ca_bundles::{Authorities, Bundles};
use crate::gateway::control_plane::ControlPlane;
use crate::gateway::three_way::KnownBundles;
use crate::gateway::{GatewayError, data_plane};
use crate::http::CrlTable;
use crate::inventory::{ClientCertificateRecord, Inventory};
use crate::issuer::{ClientAuthority, ClientCaError, ClientRequest, IssuedClient, Issuer, LocalCa};

/// The CAs for clients that `config` has, each with a CRL in date: made where a CA bundle names one. One that none names
/// is not needed to serve, so what is wrong with it is only said.
pub(super) async fn authorities(
    config: &Config,
    inventory: &Inventory,
    clock: &Arc<dyn Clock>,
) -> Result<Authorities, GatewayError> {
    let mut authorities = Authorities::new();
    for (issuer, local) in &config.issuers {
        let IssuerConfig::LocalCa(local) = local else {
            continue;
        };
        let ca = LocalCa::new(issuer, local, inventory.clone(), clock.clone());
        let mut bundles = config.ca_bundles.values();
        let is_named = bundles.any(|bundle| bundle.issuer.as_ref() == Some(issuer));
        let found = match is_named {
            true => ca.client_authority().await.map(Some),
            false => ca.known_client_authority().await,
        };
        match found {
            Ok(found) => authorities.extend(found.map(|found| (issuer.clone(), Arc::new(found)))),
            Err(source) if is_named => {
                let issuer = issuer.clone();
                let source = Box::new(source);
                return Err(GatewayError::ClientCa { issuer, source });
            }
            Err(error) => tracing::error!(
                issuer,
                "the local CA's CRL is not served: {}",
                with_causes(&error)
            ),
        }
    }
    Ok(authorities)
}

/// Has each CRL signed anew before it is out of date, until told to stop.
pub(super) async fn keep(control: Arc<ControlPlane>, mut stop: watch::Receiver<bool>) {
    loop {
        let now = control.clock.now();
        // CAs come and go with the configuration: that is looked at as often as a CRL could be due.
        let until = control
            .next_crl(now)
            .min(now + LONGEST_PAUSE)
            .max(now + SHORTEST_PAUSE);
        tokio::select! {
            // Ends by the word, or with whoever could give it.
            _ = stop.wait_for(|stop| *stop) => return,
            () = control.clock.sleep_until(until) => {}
        }
        let now = control.clock.now();
        if now < control.next_crl(now) {
            continue;
        }
        let _turn = control.turn.lock().await;
        control.renew_crls(now).await;
    }
}

impl ControlPlane {
    /// The bundles of `config` as they are now, files and CAs of the gateway's own; see [`Bundles::load`] for `known`.
    pub(super) async fn bundles(
        &self,
        config: &Config,
        known: &KnownBundles,
    ) -> Result<Bundles, GatewayError> {
        let authorities = authorities(config, &self.inventory, &self.clock).await?;
        Bundles::load(config, authorities, known, self.clock.now()).await
    }

    /// Has the next handshakes verified against what bundles hold now. For whoever has the turn.
    pub(super) async fn renew_bundles(&self) -> Result<(), GatewayError> {
        let config = self.config.load_full();
        let known = KnownBundles {
            settled: config.ca_bundles.keys().cloned().collect(),
            ..KnownBundles::default()
        };
        let bundles = self.bundles(&config, &known).await?;
        self.verify_against(&config, bundles)
    }

    fn verify_against(&self, config: &Config, bundles: Bundles) -> Result<(), GatewayError> {
        let admin_tls = data_plane::admin_tls(config, &bundles, &self.data_plane.published)?;
        let prepared = self.data_plane.prepare(config, bundles)?;
        self.admission.replace(&config.admin.tokens, admin_tls);
        self.data_plane.commit(prepared);
        Ok(())
    }

    /// The local CA called `issuer`; nothing when there is no such issuer, or it is no local CA.
    pub(super) fn local_ca(&self, issuer: &str) -> Option<LocalCa> {
        match self.config.load().issuers.get(issuer)? {
            IssuerConfig::LocalCa(config) => {
                let (inventory, clock) = (self.inventory.clone(), self.clock.clone());
                Some(LocalCa::new(issuer, config, inventory, clock))
            }
            IssuerConfig::Acme(_) => None,
        }
    }

    /// Has `ca` sign a certificate for a client. Who makes the CA by that finds it in its bundles.
    pub(super) async fn issue_client(
        &self,
        ca: &LocalCa,
        request: ClientRequest,
    ) -> Result<IssuedClient, ClientCaError> {
        let _turn = self.turn.lock().await;
        let name = ca.name();
        let issued = ca
            .issue_client(request, crl_url(&self.config.load(), name))
            .await?;
        let authority = ca.client_authority().await?;
        let known = self.data_plane.bundles().authorities.get(name).cloned();
        if known.is_none_or(|known| *known != authority)
            && let Err(error) = self.renew_bundles().await
        {
            tracing::error!(
                "the CA bundles cannot be loaded; clients are verified as before: {}",
                with_causes(&error)
            );
        }
        Ok(issued)
    }

    /// Has `ca` revoke a certificate: durable, and in force for the next handshake, when it returns. The inner error is that of
    /// one that is durable and not in force.
    pub(super) async fn revoke_client(
        &self,
        ca: &LocalCa,
        serial: &str,
        reason: RevocationReason,
    ) -> Result<Result<ClientCertificateRecord, GatewayError>, ClientCaError> {
        let _turn = self.turn.lock().await;
        let (record, authority) = ca.revoke_client(serial, reason).await?;
        let published = self.publish_crl(ca.name(), authority);
        self.safeguard().await;
        Ok(published.map(|()| record))
    }

    fn publish_crl(&self, issuer: &str, authority: ClientAuthority) -> Result<(), GatewayError> {
        let config = self.config.load_full();
        let bundles = self.data_plane.bundles().with_crl(&config, issuer, authority)?;
        self.verify_against(&config, bundles)
    }

    /// When the first of the CRLs is due.
    fn next_crl(&self, now: Timestamp) -> Timestamp {
        let bundles = self.data_plane.bundles();
        let due = bundles.authorities.values().map(|authority| authority.due(now));
        due.min().unwrap_or(now + LONGEST_PAUSE)
    }

    /// What fails is tried again with the next look.
    async fn renew_crls(&self, now: Timestamp) {
        for (issuer, known) in self.data_plane.bundles().authorities {
            let Some(ca) = self.local_ca(&issuer).filter(|_| known.due(now) <= now) else {
                continue;
            };
            let renewed = match ca.client_authority().await {
                Ok(authority) => self.publish_crl(&issuer, authority),
                Err(source) => Err(GatewayError::ClientCa {
                    issuer: issuer.clone(),
                    source: Box::new(source),
                }),
            };
            match renewed {
                Ok(()) => tracing::info!(issuer, "the CRL of the local CA was signed anew"),
                Err(error) => tracing::error!(
                    issuer,
                    "the CRL could not be renewed; it is tried again: {}",
                    with_causes(&error)
                ),
            }
        }
    }
}

/// Where the CRL of `issuer` is found from outside: by the gateway's own name, on an `http` listener.
pub(super) fn crl_url(config: &Config, issuer: &str) -> Option<String> {
    let hostname = config.gateway.as_ref()?.hostname.as_ref()?;
    let listeners = config.listeners.values();
    let plain = listeners.filter(|listener| listener.enabled && listener.protocol == Protocol::Http);
    let port = plain
        .map(|listener| listener.address.port())
        .min_by_key(|port| (*port != 80, *port))?;
    let path = CrlTable::path(issuer);
    Some(match port {
        80 => format!("http://{hostname}{path}"),
        port => format!("http://{hostname}:{port}{path}"),
    })
}

const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// After a failure, too.
const SHORTEST_PAUSE: Duration = Duration::from_secs(60);
