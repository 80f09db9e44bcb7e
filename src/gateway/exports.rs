//! Exports, as the admin API sees them.

use async_trait::async_trait;

use crate::admin::{ExportOperations, Problem, api};
use crate::gateway::control_plane::ControlPlane;
use crate::inventory::InventoryError;

#[async_trait]
impl ExportOperations for ControlPlane {
    async fn exports(&self) -> Result<Vec<api::Export>, Problem> {
        let config = self.config.load_full();
        let mut all = Vec::new();
        for (certificate, exports) in &config.exports {
            for export in exports {
                let known = match self.inventory.export(&export.directory).await {
                    // Begun anew with the next attempt.
                    Err(InventoryError::Unreadable { .. }) => None,
                    known => known.map_err(|error| Problem::internal(&error))?,
                };
                // What another certificate has left in the directory's record is no attempt of this one.
                let known = known.map(|known| known.value);
                let known = known.filter(|known| known.certificate == *certificate);
                all.push(api::Export {
                    certificate: certificate.clone(),
                    directory: export.directory.display().to_string(),
                    fingerprint: known.as_ref().map(|known| known.fingerprint.clone()),
                    attempts: known.as_ref().map_or(0, |known| known.attempts),
                    done_at: known.as_ref().and_then(|known| known.done_at),
                    next_attempt: known.as_ref().and_then(|known| known.next_attempt),
                    error: known.and_then(|known| known.error),
                });
            }
        }
        Ok(all)
    }
}
