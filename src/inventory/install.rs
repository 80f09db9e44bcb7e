//! A new certificate in the place of the one before.

use certgate_store::{Expect, Lease, Revision};

use crate::certificate::CredentialPem;
use crate::inventory::{
    CREDENTIALS, CertificateRecord, Inventory, InventoryError, Notice, key, notice, order, with_credential,
};

impl Inventory {
    /// Writes a record and the credential it describes, keeps the credential before it, and ends the journal of its
    /// order: all of it or nothing. Durable on return.
    ///
    /// # Errors
    /// As [`save_certificate`](Self::save_certificate).
    pub async fn install(
        &self,
        record: &CertificateRecord,
        pem: &CredentialPem,
        expect: Expect,
        lease: &Lease,
    ) -> Result<Revision, InventoryError> {
        self.install_and_tell(record, pem, None, expect, lease).await
    }

    /// The same, with what it means for others: all of it or nothing.
    ///
    /// # Errors
    /// As there.
    pub async fn install_and_tell(
        &self,
        record: &CertificateRecord,
        pem: &CredentialPem,
        notice: Option<&Notice>,
        expect: Expect,
        lease: &Lease,
    ) -> Result<Revision, InventoryError> {
        let before = self.store.get(&key(CREDENTIALS, &record.name)).await?;
        // One that cannot be read is overwritten, with whatever names it had.
        let known = self.certificate(&record.name).await.unwrap_or_default();
        let batch = with_credential(record, pem, expect, before)?;
        let known = known.as_ref().map(|known| &known.value);
        let batch = self.with_names(batch, record, known).await?;
        let batch = self.with_history(batch, record, known).await?;
        let batch = batch.delete(key(order::ORDERS, &record.name), Expect::Any);
        self.commit(notice::with(batch, notice)?.under(lease)).await
    }
}
