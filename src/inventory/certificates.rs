//! Certificate records, some at a time: there may be a million.

use certgate_store::Entry;

use crate::certificate::CertificateName;
use crate::inventory::{
    CERTIFICATES, CertificateRecord, Inventory, InventoryError, PAGE, Versioned, certificate_name,
    decode_certificate, key,
};

/// Some certificate records as they were at one moment.
#[derive(Debug)]
pub struct Certificates {
    /// The readable ones, sorted by name.
    pub records: Vec<Versioned<CertificateRecord>>,
    /// What could not be read, each with its key in the message.
    pub unreadable: Vec<(CertificateName, InventoryError)>,
}

impl Inventory {
    /// At most `limit` of the records whose name begins with `prefix` and comes after `after`.
    ///
    /// # Errors
    /// [`InventoryError::Store`] when the store fails; a record that cannot be read is in the answer instead.
    pub async fn certificates_after(
        &self,
        prefix: &str,
        after: Option<&CertificateName>,
        limit: usize,
    ) -> Result<Certificates, InventoryError> {
        let after = after.map_or_else(String::new, |after| key(CERTIFICATES, after));
        let page = self.store.page(&key(CERTIFICATES, prefix), &after, limit).await?;
        Ok(Certificates::from(page.entries))
    }

    /// Shows every certificate record that can be read, a page at a time: there may be a million. What changes
    /// meanwhile is shown as it was or as it is.
    ///
    /// # Errors
    /// [`InventoryError::Store`] when the store fails.
    pub async fn visit_certificates(
        &self,
        mut visit: impl FnMut(CertificateRecord),
    ) -> Result<(), InventoryError> {
        let mut after = String::new();
        loop {
            let page = self.store.page(CERTIFICATES, &after, PAGE).await?;
            let is_last = page.entries.len() < PAGE;
            if let Some(last) = page.entries.last() {
                after.clone_from(&last.key);
            }
            for record in Certificates::from(page.entries).records {
                visit(record.value);
            }
            if is_last {
                return Ok(());
            }
        }
    }
}

impl Certificates {
    /// The last name there, readable or not.
    pub fn last(&self) -> Option<&CertificateName> {
        let readable = self.records.last().map(|record| &record.value.name);
        readable.max(self.unreadable.last().map(|(name, _)| name))
    }
}

impl From<Vec<Entry>> for Certificates {
    fn from(entries: Vec<Entry>) -> Self {
        let (mut records, mut unreadable) = (Vec::with_capacity(entries.len()), Vec::new());
        for entry in entries {
            let Some(name) = certificate_name(&entry.key, CERTIFICATES) else {
                tracing::warn!(key = entry.key, "a key that names no certificate is left alone");
                continue;
            };
            match decode_certificate(&name, &entry) {
                Ok(record) => records.push(record),
                Err(error) => unreadable.push((name, error)),
            }
        }
        Self { records, unreadable }
    }
}
