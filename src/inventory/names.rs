//! From a name to the certificates that are for it, without reading any of them.

use std::collections::BTreeSet;

use certgate_store::{Batch, Expect};

use super::{CertificateRecord, Inventory, InventoryError};
use crate::certificate::CertificateName;
use crate::name::NamePattern;

impl Inventory {
    /// The certificates that may be for `pattern`: all that are, and perhaps some that once were.
    ///
    /// # Errors
    /// The store's.
    pub async fn certificates_for(
        &self,
        pattern: &NamePattern,
    ) -> Result<Vec<CertificateName>, InventoryError> {
        let prefix = format!("{NAMES}{pattern}/");
        let listing = self.store.list(&prefix).await?;
        let names = listing.entries.iter().filter_map(|entry| {
            let name = entry.key.strip_prefix(&prefix)?;
            CertificateName::parse(name).ok()
        });
        Ok(names.collect())
    }

    /// `batch` with what `record`, in the place of `known`, changes here. What does not fit into one batch is written
    /// before it: a name that leads to a certificate which is not for it does no harm.
    pub(super) async fn with_names(
        &self,
        batch: Batch,
        record: &CertificateRecord,
        known: Option<&CertificateRecord>,
    ) -> Result<Batch, InventoryError> {
        let (wanted, before) = (names(Some(record)), names(known));
        // A spare is found by the name of the certificate that it may stand in for.
        let served_as = record.spare_of.as_ref().unwrap_or(&record.name);
        let added: Vec<_> = wanted.difference(&before).collect();
        let mut parts = added.chunks(MOST_AT_ONCE).peekable();
        let mut batch = batch;
        while let Some(part) = parts.next() {
            let put = |batch: Batch, pattern: &&&NamePattern| {
                batch.put(key(pattern, served_as), Vec::new(), Expect::Any)
            };
            match parts.peek() {
                Some(_) => drop(self.commit(part.iter().fold(Batch::new(), put)).await?),
                None => batch = part.iter().fold(batch, put),
            }
        }
        let gone = before.difference(&wanted).take(MOST_AT_ONCE);
        // What is no longer in the spare may be in that certificate.
        let gone = gone.filter(|_| record.spare_of.is_none());
        Ok(gone.fold(batch, |batch, pattern| {
            batch.delete(key(pattern, &record.name), Expect::Any)
        }))
    }
}

/// `batch` with the names of the certificate `name`, which is removed, taken out.
pub(super) fn without(batch: Batch, name: &CertificateName, known: Option<&CertificateRecord>) -> Batch {
    let gone = names(known).into_iter().take(MOST_AT_ONCE);
    gone.fold(batch, |batch, pattern| {
        batch.delete(key(pattern, name), Expect::Any)
    })
}

fn names(record: Option<&CertificateRecord>) -> BTreeSet<&NamePattern> {
    let current = record.and_then(|record| record.current.as_ref());
    current.iter().flat_map(|current| &current.leaf.names).collect()
}

/// No pattern holds a slash; a certificate's name may.
fn key(pattern: &NamePattern, name: &CertificateName) -> String {
    format!("{NAMES}{pattern}/{name}")
}

const NAMES: &str = "names/";
/// Of the changes that a batch may hold.
const MOST_AT_ONCE: usize = 400;
