//! A CA of the gateway's own: a root that signs nothing but an issuing CA, and that one signs certificates.
//!
//! Both are made when they are first needed and kept in the inventory; of two nodes that make them at once, one
//! wins and the other takes over what won. Clients need [`root_pem`](LocalCa::root_pem) only. The issuing CA is
//! replaced before anything it signs would outlive it, and when the permitted domains change; the root stays.
//!
//! Certificates for clients are signed by another CA below the root, made when the first one is asked for, or a CA bundle
//! names this issuer: [`ClientAuthority`] is what such a bundle holds.

mod authority;
mod client;
mod clients;
mod crl;
mod leaf;

use std::sync::Arc;

use async_trait::async_trait;
use certgate_store::Expect;

pub use self::client::{ClientRequest, ClientRequestProblem};
pub use self::clients::{ClientAuthority, ClientCaError, IssuedClient};

use self::authority::Authority;
use crate::certificate::{Credential, CredentialPem, Leaf, PrivateKey};
use crate::clock::Clock;
use crate::config::LocalCaConfig;
use crate::inventory::{Inventory, InventoryError, LocalCaRecord};
use crate::issuer::{IssueError, IssueRequest, Issuer, Step};
use crate::name::NamePattern;

/// A CA of the gateway's own.
pub struct LocalCa {
    name: String,
    config: LocalCaConfig,
    inventory: Inventory,
    clock: Arc<dyn Clock>,
}

impl LocalCa {
    /// The CA called `name` in the configuration. Nothing is made before it is needed.
    pub fn new(name: &str, config: &LocalCaConfig, inventory: Inventory, clock: Arc<dyn Clock>) -> Self {
        Self {
            name: name.to_owned(),
            config: config.clone(),
            inventory,
            clock,
        }
    }

    /// The root's certificate, for clients to trust; it is made where there is none yet.
    ///
    /// # Errors
    /// [`IssueError::Inventory`] and [`IssueError::Signing`].
    pub async fn root_pem(&self) -> Result<String, IssueError> {
        Ok(self.record(Wanted::Root).await?.root.certificate)
    }

    /// What the root says of itself; nothing before it is made.
    ///
    /// # Errors
    /// [`IssueError::Inventory`], and [`IssueError::Garbled`] for a damaged one.
    pub async fn root(&self) -> Result<Option<Leaf>, IssueError> {
        match self.inventory.local_ca(&self.name).await? {
            Some(known) => authority::facts(&known.value.root).map(Some),
            None => Ok(None),
        }
    }

    /// The root and an issuing CA that can sign for the whole configured lifetime from now, and the CA for clients
    /// where that is wanted.
    async fn record(&self, wanted: Wanted) -> Result<LocalCaRecord, IssueError> {
        for _ in 1..SAVE_TRIES {
            match self.record_once(wanted).await {
                // Another node was faster: what it made is the CA.
                Err(error) if is_conflict(&error) => {}
                done => return done,
            }
        }
        self.record_once(wanted).await
    }

    async fn record_once(&self, wanted: Wanted) -> Result<LocalCaRecord, IssueError> {
        let known = self.inventory.local_ca(&self.name).await?;
        let (expect, known) = match known {
            Some(known) => (Expect::Revision(known.revision), Some(known.value)),
            None => (Expect::Absent, None),
        };
        let authority = Authority {
            issuer: self.name.clone(),
            config: self.config.clone(),
            now: self.clock.now(),
        };
        let work = move || {
            let (mut record, mut changed) = authority.renewed(known)?;
            if wanted == Wanted::Clients || record.clients.is_some() {
                let (clients, is_new) = authority.clients(&record)?;
                record.clients = Some(clients);
                changed |= is_new;
            }
            Ok((record, changed))
        };
        let (record, changed) = off_thread(work).await?;
        if changed {
            self.inventory.save_local_ca(&self.name, &record, expect).await?;
        }
        Ok(record)
    }

    fn check_permitted(&self, domains: &[NamePattern]) -> Result<(), IssueError> {
        match self.config.outside(domains) {
            Some(outside) => Err(IssueError::NotPermitted {
                domain: outside.clone(),
                permitted: self.config.permitted_domains.clone(),
            }),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Issuer for LocalCa {
    fn name(&self) -> &str {
        &self.name
    }

    async fn issue(&self, request: &IssueRequest<'_>) -> Result<CredentialPem, IssueError> {
        let desired = request.desired;
        self.check_permitted(&desired.domains)?;
        request.progress.step(&desired.name, Step::Signing);
        let record = self.record(Wanted::Root).await?;
        let (domains, key_type) = (desired.domains.clone(), desired.key_type);
        let (now, lifetime) = (self.clock.now(), self.config.certificate_lifetime);
        let pem = off_thread(move || {
            let key = PrivateKey::generate(key_type)?;
            leaf::sign(&record.issuing, &domains, &key, now, lifetime)
        })
        .await?;
        Credential::from_pem(&pem)?.check(&desired.domains, now)?;
        Ok(pem)
    }
}

/// What of a local CA is made where it is not there.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Wanted {
    Root,
    Clients,
}

fn is_conflict(error: &IssueError) -> bool {
    matches!(error, IssueError::Inventory { source } if matches!(**source, InventoryError::Conflict { .. }))
}

/// Keys and signatures take long enough to hold up everything else on the thread.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, IssueError> + Send + 'static,
) -> Result<T, IssueError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(signing(rcgen::Error::RemoteKeyError)))
}

fn signing(source: rcgen::Error) -> IssueError {
    IssueError::Signing {
        source: Arc::new(source),
    }
}

const SAVE_TRIES: usize = 4;
