//! Certificates changed at run time.
//!
//! A table of the file, and one that says more than a request can, is a resource as a listener is, and goes its way: three-way
//! with the file, checked with all the rest. A plain request is kept by itself, so that one among a million costs what one
//! among ten costs. Whoever asks sees keys and entity tags either way.

use std::sync::Arc;

use async_trait::async_trait;
use axum::http::StatusCode;
use serde_json::Value;

use crate::admin::{CertificateOperations, Conditions, Edit, Operations, Problem, ResourceOperations, api};
use crate::cause::with_causes;
use crate::certificate::{CertificateName, Credential, CredentialPem, DesiredCertificate};
use crate::config::{ChallengeType, IssuerConfig, ResourceId, ResourceKind, ResourceTable};
use crate::gateway::control_plane::ControlPlane;
use crate::gateway::edit::{check_conditions, etag, patched};
use crate::gateway::resources;
use crate::inventory::Source;
use crate::name::NamePattern;

#[async_trait]
impl CertificateOperations for ControlPlane {
    async fn change_certificate(
        self: Arc<Self>,
        name: &CertificateName,
        edit: Edit,
        conditions: Conditions,
        even_if: Option<api::Objection>,
        by: String,
    ) -> Result<Option<api::Certificate>, Problem> {
        let control = self.clone();
        let _turn = control.entries.lock().await;
        let id = resource_id(name);
        if self.is_table(&id) {
            return self.change_table(name, edit, conditions, even_if, by).await;
        }
        let found = self.state_of(name).await?;
        check_conditions(&id, &conditions, found.as_ref())?;
        let keys = self.requested_keys(name);
        let wanted = match edit {
            Edit::Delete => {
                self.owned_by_requests(name)?;
                self.forget(name).await?;
                return Ok(None);
            }
            Edit::Put(body) if body.contains_key("certificate_pem") => {
                self.owned_by_requests(name)?;
                asked_for_by_operators(name)?;
                self.import(name, read(name, body)?).await?;
                return self.certificate(name).await.map(Some);
            }
            Edit::Put(table) => table,
            Edit::Patch(patch) => match &keys {
                Some(keys) => patched(keys, patch),
                None => return Err(self.without_keys(name).await),
            },
        };
        self.owned_by_requests(name)?;
        asked_for_by_operators(name)?;
        self.not_imported(name).await?;
        if is_plain(&wanted) {
            return self.request(name, read(name, wanted)?, even_if).await.map(Some);
        }
        let unconditional = Conditions::default();
        let changed = control
            .clone()
            .change_table(name, Edit::Put(wanted), unconditional, even_if, by)
            .await?;
        if keys.is_some() {
            self.forget_request(name).await?;
        }
        Ok(changed)
    }
}

impl ControlPlane {
    /// An entry with its keys, its entity tag and its drift.
    pub(super) fn with_keys(&self, shown: api::Certificate) -> api::Certificate {
        let id = resource_id(&shown.name);
        let applied = self.applied.load();
        let known = resources::resource(&applied, &id);
        let keys = match &known {
            Some(resource) => Some(resource.keys.clone()),
            None => self.requested_keys(&shown.name),
        };
        let state = keys.clone().unwrap_or_else(|| fingerprint(&shown));
        api::Certificate {
            keys,
            etag: Some(etag(&state)),
            drift: known.and_then(|known| known.drift),
            ..shown
        }
    }

    /// What tells this state of an entry that is no table from others: its keys, or the certificate itself.
    async fn state_of(&self, name: &CertificateName) -> Result<Option<ResourceTable>, Problem> {
        if let Some(keys) = self.requested_keys(name) {
            return Ok(Some(keys));
        }
        match self.certificate(name).await {
            Ok(shown) => Ok(Some(fingerprint(&shown))),
            Err(problem) if problem.status == StatusCode::NOT_FOUND => Ok(None),
            Err(problem) => Err(problem),
        }
    }

    /// Whether the entry is a table of the file, or one like it.
    fn is_table(&self, id: &ResourceId) -> bool {
        let applied = self.applied.load();
        let record = applied.known.get(id);
        record.is_some_and(|record| record.in_force().is_some())
    }

    /// The keys of an entry that was requested at run time.
    fn requested_keys(&self, name: &CertificateName) -> Option<ResourceTable> {
        let config = self.config.load();
        if config.certificates.iter().any(|desired| desired.name == *name) || name.is_on_demand() {
            return None;
        }
        let desired = self.desired();
        let desired = desired.iter().find(|desired| desired.name == *name)?;
        let request = api::CertificateRequest {
            domains: desired.domains.clone(),
            issuer: desired.issuers.first().cloned(),
            key_type: desired.key_type,
            tags: desired.tags.clone(),
        };
        match serde_json::to_value(request) {
            Ok(Value::Object(keys)) => Some(keys),
            _ => None,
        }
    }

    async fn change_table(
        self: Arc<Self>,
        name: &CertificateName,
        edit: Edit,
        conditions: Conditions,
        even_if: Option<api::Objection>,
        by: String,
    ) -> Result<Option<api::Certificate>, Problem> {
        let id = resource_id(name);
        let is_deletion = matches!(edit, Edit::Delete);
        if is_deletion && self.applied.load().said.contains_key(&id) {
            return Err(Problem::conflict(format!(
                "certificate `{name}` is defined in the configuration file; remove it there"
            )));
        }
        if let Edit::Put(body) = &edit
            && !body.contains_key("certificate_file")
            && self.config.load().comes_from_files(name)
        {
            self.owned_by_requests(name)?;
        }
        if let Edit::Put(body) = &edit
            && body.contains_key("certificate_pem")
        {
            return Err(Problem::conflict(format!(
                "certificate `{name}` is obtained from an issuer; import under another name"
            )));
        }
        self.clone().change(id, edit, conditions, by).await?;
        if is_deletion {
            // Of one whose files were only named there may be nothing stored.
            if self.certificate(name).await.is_ok() {
                self.forget(name).await?;
            }
            return Ok(None);
        }
        if let Some(api::Objection::Dns) = even_if {
            self.despite_dns(name).await?;
        }
        self.certificate(name).await.map(Some)
    }

    /// Refuses what is no entry of its own: files decide about it, or another entry.
    fn owned_by_requests(&self, name: &CertificateName) -> Result<(), Problem> {
        let config = self.config.load();
        let refused = if config.comes_from_files(name) {
            "comes from files that the configuration names; change those, or use another name"
        } else if config.certificates.iter().any(|desired| desired.name == *name) {
            "belongs to another entry, as the spare or the second kind of key of that; change that one"
        } else {
            return Ok(());
        };
        Err(Problem::conflict(format!("certificate `{name}` {refused}")))
    }

    async fn not_imported(&self, name: &CertificateName) -> Result<(), Problem> {
        let stored = self.inventory.certificate(name).await;
        let stored = stored.map_err(|error| Problem::internal(&error))?;
        match stored {
            Some(stored) if stored.value.source == Source::Imported => Err(Problem::conflict(format!(
                "certificate `{name}` was imported; request under another name, so that it is not replaced"
            ))),
            _ => Ok(()),
        }
    }

    /// Why there is nothing of an entry that a patch could change.
    async fn without_keys(&self, name: &CertificateName) -> Problem {
        if let Err(problem) = self.owned_by_requests(name) {
            return problem;
        }
        match self.certificate(name).await {
            Ok(shown) => Problem::conflict(format!(
                "certificate `{name}` has no keys that could be changed: its source is `{}`",
                shown.source
            )),
            Err(problem) => problem,
        }
    }

    async fn despite_dns(&self, name: &CertificateName) -> Result<(), Problem> {
        tracing::warn!(certificate = %name, "requested whatever DNS says of its names");
        let requested = self.inventory.request_renewal_despite_dns(name).await;
        requested.map(drop).map_err(|error| Problem::internal(&error))
    }

    /// Asks for a certificate to be obtained and kept renewed.
    async fn request(
        &self,
        name: &CertificateName,
        request: api::CertificateRequest,
        even_if: Option<api::Objection>,
    ) -> Result<api::Certificate, Problem> {
        let stored = self.inventory.certificate(name).await;
        let is_new = stored.map_err(|error| Problem::internal(&error))?.is_none();
        let desired = self.checked(name, request)?;
        if let Some(api::Objection::Dns) = even_if {
            self.despite_dns(name).await?;
        } else if is_new {
            // Somebody waits: what a CA's limit has against it is said at once.
            self.inventory
                .request_first(name)
                .await
                .map_err(|error| Problem::internal(&error))?;
        }
        self.inventory
            .save_requested(&desired)
            .await
            .map_err(|error| Problem::internal(&error))?;
        self.refresh_desired()
            .await
            .map_err(|error| Problem::internal(&error))?;
        self.certificate(name).await
    }

    /// Takes in a chain and key that come from elsewhere.
    async fn import(
        &self,
        name: &CertificateName,
        import: api::CertificateImport,
    ) -> Result<api::Certificate, Problem> {
        if self.desired().iter().any(|desired| desired.name == *name) {
            return Err(Problem::conflict(format!(
                "certificate `{name}` is obtained from an issuer; import under another name"
            )));
        }
        let refused = |error: &dyn std::error::Error| {
            let internal = Problem::internal(error);
            Problem::bad_request(format!("certificate `{name}`: {}", internal.detail))
        };
        let pem = CredentialPem::parse_pair(import.certificate_pem.as_bytes(), import.key_pem.as_bytes());
        let pem = pem.map_err(|error| {
            let key = if error.is_of_key {
                "key_pem"
            } else {
                "certificate_pem"
            };
            Problem::bad_request(format!("certificate `{name}`: `{key}`: {}", with_causes(&error)))
        })?;
        let credential = Credential::from_pem(&pem).map_err(|error| refused(&error))?;
        let now = self.clock.now();
        credential.check(&[], now).map_err(|error| refused(&error))?;
        self.inventory
            .import(name, Source::Imported, &pem, &credential, now)
            .await
            .map_err(|error| Problem::internal(&error))?;
        self.certificate(name).await
    }

    /// Forgets a certificate, with its key.
    async fn forget(&self, name: &CertificateName) -> Result<(), Problem> {
        self.certificate(name).await?;
        let forgotten = async {
            self.inventory.remove_requested(name).await?;
            // Wanted no more before it is gone: nothing obtains it again.
            self.refresh_desired().await?;
            self.inventory.remove_certificate(name).await
        };
        forgotten.await.map_err(|error| Problem::internal(&error))?;
        tracing::warn!(certificate = %name, "deleted, with its key");
        Ok(())
    }

    /// Has it asked for no more by a request, now that a table says more of it.
    async fn forget_request(&self, name: &CertificateName) -> Result<(), Problem> {
        let forgotten = async {
            self.inventory.remove_requested(name).await?;
            self.refresh_desired().await
        };
        forgotten.await.map_err(|error| Problem::internal(&error))
    }

    /// A request as something that can be obtained, or why it cannot.
    fn checked(
        &self,
        name: &CertificateName,
        request: api::CertificateRequest,
    ) -> Result<DesiredCertificate, Problem> {
        let config = self.config.load();
        if request.domains.is_empty() || request.domains.len() > 100 {
            let found = request.domains.len();
            return Err(Problem::bad_request(format!(
                "certificate `{name}` has {found} domains; 1 to 100 are allowed"
            )));
        }
        for (place, domain) in request.domains.iter().enumerate() {
            domain
                .check_certifiable()
                .map_err(|error| Problem::bad_request(error.to_string()))?;
            if request.domains.iter().take(place).any(|other| other == domain) {
                return Err(Problem::bad_request(format!(
                    "`domains` of certificate `{name}` holds `{domain}` twice; name it once"
                )));
            }
        }
        let known = || config.issuers.keys().cloned().collect::<Vec<_>>().join(", ");
        let issuer = match (request.issuer, config.issuers.len()) {
            (Some(issuer), _) if config.issuers.contains_key(&issuer) => issuer,
            (Some(issuer), _) => {
                return Err(Problem::bad_request(format!(
                    "there is no issuer `{issuer}`; there are: {}",
                    known()
                )));
            }
            (None, 1) => known(),
            (None, 0) => {
                return Err(Problem::bad_request(
                    "the configuration has no issuer; add `[issuers.NAME]`",
                ));
            }
            (None, _) => {
                return Err(Problem::bad_request(format!(
                    "name the issuer; there are: {}",
                    known()
                )));
            }
        };
        if let Some(IssuerConfig::LocalCa(local)) = config.issuers.get(&issuer)
            && let Some(outside) = local.outside(&request.domains)
        {
            return Err(Problem::bad_request(format!(
                "issuer `{issuer}` may not sign for `{outside}`; its `permitted_domains` are {:?}",
                local.permitted_domains
            )));
        }
        if let Some(IssuerConfig::Acme(acme)) = config.issuers.get(&issuer) {
            provable(&issuer, &acme.challenges, &request.domains)?;
            if acme.is_public() {
                public(&issuer, &request.domains)?;
            }
        }
        Ok(DesiredCertificate {
            name: name.clone(),
            domains: request.domains,
            issuers: vec![issuer],
            key_type: request.key_type,
            reuse_key: false,
            tags: request.tags,
            spare_of: None,
        })
    }
}

/// Refuses names to which no challenge of `issuer` can prove the right.
fn provable(issuer: &str, challenges: &[ChallengeType], domains: &[NamePattern]) -> Result<(), Problem> {
    let is_dns01 = |challenge: &ChallengeType| *challenge == ChallengeType::Dns01;
    let by_dns01 = challenges.iter().any(is_dns01);
    if let Some(wildcard) = domains.iter().find(|domain| !by_dns01 && domain.is_wildcard()) {
        return Err(Problem::bad_request(format!(
            "`{wildcard}` needs the dns-01 challenge, which issuer `{issuer}` cannot answer; give it `dns`, or name each host instead"
        )));
    }
    let otherwise = challenges.iter().any(|challenge| !is_dns01(challenge));
    match domains
        .iter()
        .find(|domain| !otherwise && domain.address().is_some())
    {
        Some(address) => Err(Problem::bad_request(format!(
            "`{address}` is an IP address, to which dns-01 proves no right (RFC 8738 §7), and issuer `{issuer}` has no other \
             challenge; add \"http-01\" or \"tls-alpn-01\" to its `challenges`"
        ))),
        None => Ok(()),
    }
}

/// Refuses names for which no CA signs that the world trusts.
fn public(issuer: &str, domains: &[NamePattern]) -> Result<(), Problem> {
    for domain in domains {
        domain.check_public().map_err(|reason| {
            Problem::bad_request(format!(
                "the public CA behind `{issuer}` does not sign for `{domain}`: {reason}"
            ))
        })?;
    }
    Ok(())
}

fn resource_id(name: &CertificateName) -> ResourceId {
    ResourceId::new(ResourceKind::Certificate, name.as_str())
}

/// Refuses names that certificates have for which handshakes have asked: such a one is removed when it is not used.
fn asked_for_by_operators(name: &CertificateName) -> Result<(), Problem> {
    match name.is_on_demand() {
        true => Err(Problem::conflict(format!(
            "certificate `{name}`: so are those called that handshakes ask for; use another name"
        ))),
        false => Ok(()),
    }
}

/// Whether a request can say it.
fn is_plain(table: &ResourceTable) -> bool {
    let is_one = |key: &str| !table.get(key).is_some_and(Value::is_array);
    let known = ["domains", "issuer", "key_type", "tags"];
    table.keys().all(|key| known.contains(&key.as_str())) && is_one("issuer") && is_one("key_type")
}

fn read<T: serde::de::DeserializeOwned>(name: &CertificateName, table: ResourceTable) -> Result<T, Problem> {
    serde_json::from_value(Value::Object(table)).map_err(|error| {
        let detail = format!("certificate `{name}`: {error}");
        Problem::of(StatusCode::UNPROCESSABLE_ENTITY, detail)
    })
}

/// What there is of an entry without keys of its own.
fn fingerprint(shown: &api::Certificate) -> ResourceTable {
    let fingerprint = shown.fingerprint.clone().map(Value::from);
    let entry = fingerprint.map(|fingerprint| ("fingerprint".to_owned(), fingerprint));
    entry.into_iter().collect()
}
