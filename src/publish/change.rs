//! The next table in the making.

use std::collections::{BTreeMap, BTreeSet};

use certgate_store::Revision;
use tokio::sync::watch;

use super::cache::Cache;
use super::candidate::{Stored, Unfit, may_replace, read, read_without_record};
use super::problem::Problems;
use super::sweep::Sweep;
use crate::cause::with_causes;
use crate::certificate::{CertificateName, Credential};
use crate::clock::Timestamp;
use crate::inventory::{Inventory, InventoryError};
use crate::tls::{CertificateTable, Lookup};

/// A table, what is known of its entries, and what was found while it was made.
pub(super) struct Change<'a> {
    pub(super) inventory: &'a Inventory,
    pub(super) now: Timestamp,
    pub(super) table: CertificateTable,
    pub(super) cache: &'a mut Cache,
    pub(super) sweep: &'a mut Option<Sweep>,
    pub(super) problems: &'a watch::Sender<Problems>,
    /// What was found of each certificate that was read; `None`: all is well.
    pub(super) found: BTreeMap<CertificateName, Option<String>>,
    /// Whether it is about what has just changed, not about what is only loaded.
    pub(super) is_news: bool,
    /// What a handshake is about to be served.
    pub(super) waited_for: BTreeSet<CertificateName>,
    /// What left only to make room.
    pub(super) evicted: Vec<CertificateName>,
}

impl Change<'_> {
    /// Reads one certificate and brings the table up to it.
    ///
    /// # Errors
    /// Only the store's; everything else is a problem of the certificate.
    pub(super) async fn refresh(&mut self, name: &CertificateName) -> Result<(), InventoryError> {
        match self.refresh_entry(name).await? {
            // A change of the spare is one of what is served as the certificate.
            Some(primary) => self.refresh_entry(&primary).await.map(drop),
            None => Ok(()),
        }
    }

    /// As [`refresh`](Self::refresh); where `name` is a spare, gives the entry that it may be served as.
    async fn refresh_entry(
        &mut self,
        name: &CertificateName,
    ) -> Result<Option<CertificateName>, InventoryError> {
        let problem = match read(self.inventory, name).await {
            Ok(Stored::Nothing) => {
                self.withdraw(name).await?;
                None
            }
            Ok(Stored::SpareOf(primary)) => {
                self.withdraw(name).await?;
                self.found.insert(name.clone(), None);
                return Ok(Some(primary));
            }
            Ok(Stored::Ready(credential, revision)) => self.offer(name, credential, revision),
            Err(Unfit::Inventory {
                source: source @ InventoryError::Store { .. },
            }) => return Err(source),
            Err(error) => Some(self.without(name, &error).await),
        };
        self.found.insert(name.clone(), problem);
        Ok(None)
    }

    /// Whether something was wrong with it when it was read last.
    pub(super) fn has_problem(&self, name: &CertificateName) -> bool {
        self.problems.borrow().certificates.contains_key(name)
    }

    /// Makes room for what was added.
    pub(super) fn evict(&mut self) {
        let (table, waited_for) = (&self.table, &self.waited_for);
        let stays = |name: &CertificateName| waited_for.contains(name) || table.was_used(name);
        let evicted = self.cache.evict(stays);
        for name in evicted {
            self.table = self.table.evicting(&name);
            self.evicted.push(name);
        }
        if let (false, Some(sweep)) = (self.evicted.is_empty(), &mut *self.sweep) {
            sweep.left_out = true;
        }
    }

    /// Puts `credential` in the place of what is served, if it may be there.
    fn offer(
        &mut self,
        name: &CertificateName,
        credential: Credential,
        revision: Revision,
    ) -> Option<String> {
        let not_after = credential.leaf().not_after;
        let served = self.table.get(name).next();
        if served.is_none_or(|served| served.certified_key().cert != credential.certified_key().cert) {
            if let Err(error) = may_replace(&credential, served, self.now) {
                return Some(format!(
                    "{}; the one before goes on being served",
                    with_causes(&error)
                ));
            }
            self.put(name, credential, Some(revision));
        } else {
            self.cache.insert(name, &credential, Some(revision));
        }
        (not_after < self.now)
            .then(|| format!("it expired at {not_after}; it is served for want of a better one"))
    }

    /// What is served of a certificate that cannot be read whole.
    async fn without(&mut self, name: &CertificateName, error: &Unfit) -> String {
        let reason = with_causes(error);
        if self.table.get(name).next().is_some() {
            return format!("{reason}; the one before goes on being served");
        }
        match (error, read_without_record(self.inventory, name).await) {
            (Unfit::Inventory { .. }, Some(credential)) => {
                self.put(name, credential, None);
                format!("{reason}; its chain and key are sound, and served")
            }
            _ => format!("{reason}; nothing is served for it"),
        }
    }

    fn put(&mut self, name: &CertificateName, credential: Credential, revision: Option<Revision>) {
        if self.is_news || self.cache.holds(name) {
            tracing::info!(certificate = %name, not_after = %credential.leaf().not_after, "published");
        }
        if let Some(sweep) = &mut *self.sweep {
            sweep.know(&credential.leaf().names);
        }
        self.cache.insert(name, &credential, revision);
        self.table = self.table.with(name.clone(), vec![credential]);
        if !self.table.firsts_of(name).is_empty() {
            self.cache.pin(name);
        }
    }

    async fn withdraw(&mut self, name: &CertificateName) -> Result<(), InventoryError> {
        if !self.cache.holds(name) {
            return Ok(());
        }
        tracing::info!(certificate = %name, "withdrawn");
        let firsts = self.table.firsts_of(name);
        self.table = self.table.without(name);
        self.cache.remove(name);
        if !firsts.is_empty() {
            self.table = self.table.without_firsts();
        }
        for prefix in firsts {
            let next = Lookup::First(prefix);
            Box::pin(self.look_up(&next)).await?;
        }
        Ok(())
    }
}
