//! A CA of the gateway's own: a root that signs nothing but an issuing CA, and that one signs certificates.
//!
//! Both are made when they are first needed and kept in the inventory; of two nodes that make them at once, one
//! wins and the other takes over what won. Clients need [`root_pem`](LocalCa::root_pem) only. The issuing CA is
//! replaced before anything it signs would outlive it, and when the permitted domains change; the root stays.

mod authority;
mod leaf;

use std::sync::Arc;

use async_trait::async_trait;
use certgate_store::Expect;

use self::authority::Authority;
use crate::certificate::{Credential, CredentialPem, PrivateKey};
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
        Ok(self.record().await?.root.certificate)
    }

    /// The root and an issuing CA that can sign for the whole configured lifetime from now.
    async fn record(&self) -> Result<LocalCaRecord, IssueError> {
        for _ in 1..SAVE_TRIES {
            match self.record_once().await {
                // Another node was faster: what it made is the CA.
                Err(IssueError::Inventory { source })
                    if matches!(*source, InventoryError::Conflict { .. }) => {}
                done => return done,
            }
        }
        self.record_once().await
    }

    async fn record_once(&self) -> Result<LocalCaRecord, IssueError> {
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
        let (record, changed) = off_thread(move || authority.renewed(known)).await?;
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
        let record = self.record().await?;
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

/// Whether `name` is `subtree` or below it (RFC 5280 §4.2.1.10).
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
