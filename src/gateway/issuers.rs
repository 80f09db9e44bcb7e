//! What the admin API can ask of issuers, and of what the gateway's own CAs sign for clients.

use async_trait::async_trait;
use axum::http::StatusCode;

use crate::admin::{IssuerOperations, Page, Problem, api};
use crate::cause::with_causes;
use crate::certificate::{RevocationReason, crl_to_pem};
use crate::clock::Timestamp;
use crate::config::{IssuerConfig, LocalCaConfig, ResourceId, ResourceKind};
use crate::gateway::client_ca::crl_url;
use crate::gateway::control_plane::ControlPlane;
use crate::gateway::resources::resource;
use crate::inventory::ClientCertificateRecord;
use crate::issuer::{ClientCaError, ClientRequest, IssueError, LocalCa};

#[async_trait]
impl IssuerOperations for ControlPlane {
    async fn issuers(&self) -> Result<Vec<api::Issuer>, Problem> {
        let config = self.config.load_full();
        let mut all = Vec::new();
        for (name, issuer) in &config.issuers {
            match self.shown(name, issuer).await {
                Err(problem) if problem.status == StatusCode::NOT_FOUND => {}
                shown => all.push(shown?),
            }
        }
        Ok(all)
    }

    async fn issuer(&self, name: &str) -> Result<api::Issuer, Problem> {
        let config = self.config.load_full();
        match config.issuers.get(name) {
            Some(issuer) => self.shown(name, issuer).await,
            None => Err(unknown(name)),
        }
    }

    async fn create_local_ca(&self, issuer: &str) -> Result<api::Issuer, Problem> {
        let ca = self.asked(issuer)?;
        ca.root_pem().await.map_err(|error| ca_problem(&error))?;
        self.issuer(issuer).await
    }

    async fn client_certificates(
        &self,
        issuer: &str,
        page: &Page,
    ) -> Result<Vec<api::ClientCertificate>, Problem> {
        self.asked(issuer)?;
        let after = page.after.as_deref().unwrap_or_default();
        if !is_serial(after) {
            let after = after.escape_debug();
            return Err(Problem::bad_request(format!(
                "`after` is `{after}`, which is no serial number"
            )));
        }
        let now = self.clock.now();
        let found = self
            .inventory
            .client_certificates_after(issuer, after, page.limit);
        let found = found.await.map_err(|error| Problem::internal(&error))?;
        Ok(found.into_iter().map(|record| shown(record, now)).collect())
    }

    async fn issue_client_certificate(
        &self,
        issuer: &str,
        request: api::ClientCertificateRequest,
    ) -> Result<api::IssuedClientCertificate, Problem> {
        let ca = self.asked(issuer)?;
        let request = ClientRequest {
            csr_pem: request.csr_pem,
            common_name: request.common_name,
            dns: request.dns,
            uri: request.uri,
            email: request.email,
            days: request.days,
        };
        let issued = self.issue_client(&ca, request).await;
        let issued = issued.map_err(|error| client_problem(&error))?;
        Ok(api::IssuedClientCertificate {
            certificate: shown(issued.record, self.clock.now()),
            certificate_pem: issued.chain_pem,
        })
    }

    async fn revoke_client_certificate(
        &self,
        issuer: &str,
        serial: &str,
        reason: RevocationReason,
    ) -> Result<api::ClientCertificate, Problem> {
        let ca = self.asked(issuer)?;
        // As people copy it from elsewhere; and what is no such number is no key of the store either.
        let serial: String = serial.chars().filter(|c| *c != ':').collect();
        let serial = serial.to_ascii_lowercase();
        if !is_serial(&serial) {
            let (issuer, serial) = (issuer.to_owned(), serial);
            return Err(client_problem(&ClientCaError::Unknown { issuer, serial }));
        }
        let revoked = self.revoke_client(&ca, &serial, reason).await;
        match revoked.map_err(|error| client_problem(&error))? {
            Ok(record) => Ok(shown(record, self.clock.now())),
            Err(error) => Err(Problem::internal(&error).because(
                "the certificate is revoked for good, but that is not in force yet; do it again once this is mended",
            )),
        }
    }

    async fn crl(&self, issuer: &str) -> Result<String, Problem> {
        self.asked(issuer)?;
        let known = self.inventory.crl(issuer).await;
        match known.map_err(|error| Problem::internal(&error))? {
            Some(crl) if !crl.value.der.is_empty() => Ok(crl_to_pem(&crl.value.der)),
            _ => Err(Problem::not_found(format!(
                "the local CA `{issuer}` has no CRL: it has signed nothing for clients, and no CA bundle names it"
            ))),
        }
    }
}

impl ControlPlane {
    /// The local CA called `name`.
    fn asked(&self, name: &str) -> Result<LocalCa, Problem> {
        if let Some(ca) = self.local_ca(name) {
            return Ok(ca);
        }
        match self.config.load().issuers.contains_key(name) {
            true => Err(Problem::conflict(format!(
                "issuer `{name}` is a CA of the world; only a local CA signs for clients here"
            ))),
            false => Err(unknown(name)),
        }
    }

    async fn shown(&self, name: &str, issuer: &IssuerConfig) -> Result<api::Issuer, Problem> {
        let known = resource(&self.applied.load(), &ResourceId::new(ResourceKind::Issuer, name));
        // A configuration that comes into force this very moment may be ahead of it.
        let known = known.ok_or_else(|| unknown(name))?;
        match issuer {
            IssuerConfig::Acme(acme) => self.shown_acme(acme, known).await,
            IssuerConfig::LocalCa(local) => Ok(api::Issuer {
                kind: "local-ca".to_owned(),
                directory: None,
                account: None,
                rate_limits: Vec::new(),
                local_ca: Some(self.shown_local(name, local).await?),
                name: known.name,
                keys: known.keys,
                etag: known.etag,
                drift: known.drift,
            }),
        }
    }

    async fn shown_local(&self, name: &str, config: &LocalCaConfig) -> Result<api::LocalCa, Problem> {
        let ca = LocalCa::new(name, config, self.inventory.clone(), self.clock.clone());
        let root = ca.root().await.map_err(|error| ca_problem(&error))?;
        let crl = self.inventory.crl(name).await;
        let crl = crl.map_err(|error| Problem::internal(&error))?;
        let now = self.clock.now();
        let clients = match crl {
            None => None,
            Some(crl) => {
                let all = self.records(name).await?;
                let count = |wanted| all.iter().filter(|record| state(record, now) == wanted).count();
                Some(api::Clients {
                    valid: count("valid"),
                    revoked: count("revoked"),
                    expired: count("expired"),
                    crl_number: crl.value.number,
                    crl_this_update: crl.value.this_update,
                    crl_next_update: crl.value.next_update,
                    crl_url: crl_url(&self.config.load(), name),
                })
            }
        };
        // The root has no other attribute.
        let made = root.as_ref().and_then(|root| root.issuer.strip_prefix("CN="));
        let wanted = config.common_name.clone();
        Ok(api::LocalCa {
            next_common_name: made.filter(|made| *made != wanted).map(|_| wanted.clone()),
            common_name: made.map_or(wanted, str::to_owned),
            root_fingerprint: root.as_ref().map(|root| root.fingerprint.clone()),
            root_not_after: root.map(|root| root.not_after),
            clients,
        })
    }

    async fn records(&self, issuer: &str) -> Result<Vec<ClientCertificateRecord>, Problem> {
        let all = self.inventory.client_certificates(issuer).await;
        all.map_err(|error| Problem::internal(&error))
    }
}

fn shown(record: ClientCertificateRecord, now: Timestamp) -> api::ClientCertificate {
    let (revoked_at, revocation_reason) = record.revoked.map(|revoked| (revoked.at, revoked.reason)).unzip();
    api::ClientCertificate {
        state: state(&record, now).to_owned(),
        serial: record.serial,
        common_name: record.common_name,
        dns: record.dns,
        uri: record.uri,
        email: record.email,
        fingerprint: record.fingerprint,
        issued_at: record.issued_at,
        not_after: record.not_after,
        revoked_at,
        revocation_reason,
    }
}

fn state(record: &ClientCertificateRecord, now: Timestamp) -> &'static str {
    match record.revoked {
        Some(_) => "revoked",
        None if record.not_after < now => "expired",
        None => "valid",
    }
}

fn is_serial(text: &str) -> bool {
    text.len() <= SERIAL_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

pub(super) fn unknown(name: &str) -> Problem {
    Problem::not_found(format!(
        "there is no issuer `{}`; `certgate issuer list` shows those there are, and a table [issuers.NAME] in the file declares another",
        name.escape_debug()
    ))
}

fn client_problem(error: &ClientCaError) -> Problem {
    match error {
        ClientCaError::Ca(error) => ca_problem(error),
        ClientCaError::Request(_) => Problem::of(StatusCode::UNPROCESSABLE_ENTITY, with_causes(error)),
        ClientCaError::Unknown { .. } => Problem::not_found(error.to_string()),
    }
}

fn ca_problem(error: &IssueError) -> Problem {
    match error {
        IssueError::NotPermitted { .. } => Problem::of(StatusCode::UNPROCESSABLE_ENTITY, with_causes(error)),
        error => Problem::internal(error),
    }
}

/// Twice the octets that a serial number may have (RFC 5280 §4.1.2.2).
const SERIAL_DIGITS: usize = 40;
