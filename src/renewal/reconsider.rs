//! What a change of an issuer means for those that failed at it.

use std::collections::BTreeSet;

use crate::certificate::DesiredCertificate;
use crate::inventory::{CertificateState, Inventory, InventoryError};

/// Has every certificate tried again that waits after a failure and may come from one of `issuers`: their
/// configuration has changed, and that may have been the cure. What a server forbade until a moment stays forbidden.
///
/// # Errors
/// The store's. A certificate that cannot be read or is being changed is left to its own next attempt.
pub async fn reconsider(
    inventory: &Inventory,
    desired: &[DesiredCertificate],
    issuers: &BTreeSet<String>,
) -> Result<(), InventoryError> {
    for certificate in desired {
        if !certificate.issuers.iter().any(|issuer| issuers.contains(issuer)) {
            continue;
        }
        let requested = match inventory.certificate(&certificate.name).await {
            Ok(Some(known)) if waits_after_failure(&known.value.state) => {
                inventory.request_renewal(&certificate.name).await
            }
            Ok(_) => continue,
            Err(error) => Err(error),
        };
        match requested {
            Err(error @ InventoryError::Store { .. }) => return Err(error),
            Err(error) => tracing::warn!(certificate = %certificate.name, %error, "not tried again at once"),
            Ok(_) => {}
        }
    }
    Ok(())
}

fn waits_after_failure(state: &CertificateState) -> bool {
    matches!(
        state,
        CertificateState::BackingOff { .. } | CertificateState::Stopped { .. }
    )
}
