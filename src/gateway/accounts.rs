//! What the admin API can ask of accounts at CAs.

use std::sync::Arc;

use async_trait::async_trait;
use http::StatusCode;

use crate::admin::{AccountOperations, Operations, Problem, api};
use crate::cause::with_causes;
use crate::certificate::{CertificateName, RevocationReason};
use crate::config::{AcmeConfig, IssuerConfig};
use crate::gateway::control_plane::ControlPlane;
use crate::gateway::issuers::unknown;
use crate::issuer::{Account, IssueError, Issuer, RateLimit};

#[async_trait]
impl AccountOperations for ControlPlane {
    async fn roll_over(&self, issuer: &str) -> Result<(), Problem> {
        let known = self.known_issuer(issuer)?;
        account(issuer, &known)?
            .roll_over()
            .await
            .map_err(|error| refusal(issuer, &error))
    }

    async fn deactivate(&self, issuer: &str) -> Result<(), Problem> {
        let known = self.known_issuer(issuer)?;
        account(issuer, &known)?
            .deactivate()
            .await
            .map_err(|error| refusal(issuer, &error))
    }

    async fn revoke(
        &self,
        name: &CertificateName,
        reason: RevocationReason,
    ) -> Result<api::Certificate, Problem> {
        let shown = self.certificate(name).await?;
        let record = self.inventory.certificate(name).await;
        let record = record.map_err(|error| Problem::internal(&error))?;
        let pem = self.inventory.credential(name).await;
        let pem = pem.map_err(|error| Problem::internal(&error))?;
        let current = record.and_then(|record| record.value.current);
        let (Some(current), Some(leaf)) = (current, pem.as_ref().and_then(|pem| pem.chain().first())) else {
            return Err(Problem::conflict(format!(
                "there is no certificate `{name}` yet that could be revoked"
            )));
        };
        let issuers = self.issuers.load_full();
        let Some(issuer) = issuers.get(&current.issuer) else {
            return Err(Problem::conflict(format!(
                "certificate `{name}` comes from `{}`, which is no issuer here; have it revoked where it comes from",
                shown.source
            )));
        };
        account(&current.issuer, issuer)?
            .revoke(leaf, reason)
            .await
            .map_err(|error| refusal(&current.issuer, &error))?;
        tracing::warn!(certificate = %name, issuer = current.issuer, serial = current.leaf.serial, %reason, "the certificate was revoked");
        let noted = self
            .inventory
            .note_revocation(name, &current.leaf.fingerprint, reason);
        noted.await.map_err(|error| Problem::internal(&error))?;
        self.certificate(name).await
    }
}

fn shown(issuer: &str, limit: RateLimit) -> api::RateLimit {
    api::RateLimit {
        issuer: issuer.to_owned(),
        limit: limit.limit,
        left: limit.left,
        allowed: limit.allowed,
        next_at: limit.next_at,
    }
}

impl ControlPlane {
    /// The limits of which half is used, and more.
    pub(super) async fn scarce_limits(&self) -> Result<Vec<api::RateLimit>, Problem> {
        let config = self.config.load_full();
        let mut scarce = Vec::new();
        for (name, issuer) in &config.issuers {
            if let IssuerConfig::Acme(_) = issuer {
                let limits = self.rate_limits(name).await?.into_iter();
                scarce.extend(limits.filter(|limit| limit.left <= limit.allowed / 2));
            }
        }
        Ok(scarce)
    }

    /// What there is to see of an issuer of the world.
    pub(super) async fn shown_acme(
        &self,
        config: &AcmeConfig,
        known: api::Resource,
    ) -> Result<api::Issuer, Problem> {
        let name = known.name.as_str();
        let account = match self.known_issuer(name)?.account() {
            Some(account) => account.info().await,
            None => Ok(None),
        };
        let account = account.map_err(|error| Problem::internal(&error))?;
        Ok(api::Issuer {
            kind: "acme".to_owned(),
            directory: Some(config.directory.clone()),
            account: account.map(|account| api::IssuerAccount {
                url: account.url,
                contact: account.contact,
            }),
            rate_limits: self.rate_limits(name).await?,
            local_ca: None,
            name: known.name,
            keys: known.keys,
            etag: known.etag,
            drift: known.drift,
        })
    }

    /// What was used of the limits of a CA.
    pub(super) async fn rate_limits(&self, name: &str) -> Result<Vec<api::RateLimit>, Problem> {
        let limits = match self.known_issuer(name)?.account() {
            Some(account) => account.used_limits().await,
            None => Ok(Vec::new()),
        };
        let limits = limits.map_err(|error| Problem::internal(&error))?;
        Ok(limits.into_iter().map(|limit| shown(name, limit)).collect())
    }

    fn known_issuer(&self, name: &str) -> Result<Arc<dyn Issuer>, Problem> {
        let issuers = self.issuers.load();
        issuers.get(name).cloned().ok_or_else(|| unknown(name))
    }
}

fn account<'i>(name: &str, issuer: &'i Arc<dyn Issuer>) -> Result<&'i dyn Account, Problem> {
    issuer.account().ok_or_else(|| {
        Problem::conflict(format!(
            "`{name}` is a CA of the gateway's own: it has no account, and its certificates are not revoked here"
        ))
    })
}

fn refusal(issuer: &str, error: &IssueError) -> Problem {
    let detail = format!("issuer `{issuer}`: {}", with_causes(error));
    match error {
        IssueError::NoAccount { .. } => Problem::conflict(detail),
        IssueError::Inventory { .. } | IssueError::Key { .. } => Problem::internal(error),
        _ => Problem::of(StatusCode::BAD_GATEWAY, detail),
    }
}
