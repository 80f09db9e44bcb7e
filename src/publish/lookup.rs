//! What a handshake waits for.

use super::change::Change;
use crate::certificate::CertificateName;
use crate::inventory::InventoryError;
use crate::name::{DnsName, NamePattern};
use crate::tls::Lookup;

impl Change<'_> {
    /// Gives the table what `lookup` asks for, as far as it is stored.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn look_up(&mut self, lookup: &Lookup) -> Result<(), InventoryError> {
        match lookup {
            Lookup::Entry(name) => self.pin(name).await.map(drop),
            Lookup::First(prefix) => self.look_up_first(prefix).await,
            Lookup::Name(name) => self.look_up_name(name).await,
            Lookup::New(name) => self.look_up_new(name).await,
        }
    }

    async fn look_up_name(&mut self, name: &str) -> Result<(), InventoryError> {
        // What is no DNS name is in no certificate.
        let parent = name.split_once('.').map_or("", |(_, parent)| parent);
        let exact = DnsName::parse(name).map(NamePattern::Exact);
        let wildcard = DnsName::parse(parent).map(NamePattern::Wildcard);
        for pattern in exact.into_iter().chain(wildcard) {
            if !self.table.is_complete(&pattern) {
                for certificate in self.inventory.certificates_for(&pattern).await? {
                    if !self.cache.holds(&certificate) {
                        self.refresh(&certificate).await?;
                    }
                }
            }
            self.waited_for.extend(self.table.entries_for(&pattern));
        }
        self.table = self.table.complete(name);
        Ok(())
    }

    async fn look_up_new(&mut self, name: &CertificateName) -> Result<(), InventoryError> {
        self.is_news = true;
        self.waited_for.insert(name.clone());
        self.refresh(name).await
    }

    async fn look_up_first(&mut self, prefix: &str) -> Result<(), InventoryError> {
        let mut after = None;
        loop {
            let page = self
                .inventory
                .certificates_after(prefix, after.as_ref(), PAGE)
                .await?;
            let records = page.records.into_iter().map(|record| record.value.name);
            let mut names: Vec<_> = records
                .chain(page.unreadable.into_iter().map(|(name, _)| name))
                .collect();
            names.sort();
            for name in &names {
                if self.pin(name).await? {
                    self.table = self.table.with_first(prefix);
                    return Ok(());
                }
            }
            if names.len() < PAGE {
                self.table = self.table.with_first(prefix);
                return Ok(());
            }
            after = names.pop();
        }
    }

    /// Loads the entry `name` to stay; false when there is nothing to serve for it.
    async fn pin(&mut self, name: &CertificateName) -> Result<bool, InventoryError> {
        if !self.cache.holds(name) {
            self.refresh(name).await?;
        }
        let holds = self.cache.holds(name);
        if holds {
            self.cache.pin(name);
        }
        Ok(holds)
    }
}

/// Records read at once on the way to the first that can be served.
const PAGE: usize = 16;
