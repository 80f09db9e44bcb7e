//! Asking the CA when to renew, and writing down what it says.

use std::sync::PoisonError;

use certgate_store::{Expect, Lease};

use crate::cause::with_causes;
use crate::inventory::{CertificateRecord, InventoryError};
use crate::issuer::{IssueError, RenewalInfo};
use crate::renewal::attempt::Attempts;
use crate::renewal::suggestion;

impl Attempts {
    pub(super) async fn ask(
        &self,
        lease: &Lease,
        mut record: CertificateRecord,
        expect: Expect,
    ) -> Result<(), InventoryError> {
        let name = record.name.clone();
        let answer = self.asked(&record).await?;
        if let Err(error) = &answer {
            let error = with_causes(error);
            tracing::debug!(certificate = %name, error, "the CA could not be asked when to renew");
        }
        let before = record.current.as_ref().and_then(|current| current.renew_at);
        let now = self.clock.now();
        suggestion::heard(&mut record, answer.as_ref().ok(), now, self.jitter);
        self.inventory
            .save_certificate(&record, expect, Some(lease))
            .await?;
        let Some(current) = record.current.filter(|current| current.renew_at != before) else {
            return Ok(());
        };
        if let Some(before) = before {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.give_back(before);
        }
        if let (Some(window), Some(renew_at)) = (current.suggested, current.renew_at) {
            tracing::info!(
                certificate = %name, issuer = current.issuer, %renew_at,
                explanation = window.explanation.unwrap_or_default(),
                "the CA suggests to renew between {} and {}", window.start, window.end
            );
        }
        Ok(())
    }

    /// The answer; an issuer that is no longer there has nothing to say.
    async fn asked(
        &self,
        record: &CertificateRecord,
    ) -> Result<Result<RenewalInfo, IssueError>, InventoryError> {
        let issuer = record.current.as_ref().map(|current| current.issuer.as_str());
        let issuer = issuer.and_then(|issuer| self.issuers.load().get(issuer).cloned());
        let pem = self.inventory.credential(&record.name).await?;
        match (issuer, pem.as_ref().and_then(|pem| pem.chain().first())) {
            (Some(issuer), Some(certificate)) => Ok(issuer.renewal_info(certificate).await),
            _ => Ok(Ok(RenewalInfo::default())),
        }
    }
}
