//! The files that a configuration names, looked at as a start, a reload and the watch over them look at them: for who asks before.

use std::sync::Arc;

use certgate_store::MemoryStore;

use crate::cause::with_causes;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::gateway::ca_bundles::Bundles;
use crate::gateway::three_way::KnownBundles;
use crate::gateway::{GatewayError, bundle_alarms, client_ca};
use crate::inventory::Inventory;
use crate::issuer::file_problems;

/// What is to be said of the files that a configuration names.
#[derive(Clone, Debug, Default)]
pub struct NamedFiles {
    /// What cannot be used, and why: CA bundles with their CRLs, certificates with their keys.
    pub errors: Vec<String>,
    /// What can be used, and an operator should know: a CRL that is out of date, a certificate that counts for nothing.
    pub warnings: Vec<String>,
}

/// Looks at the files that `config` names, on this machine's clock. Nothing is written, and no store is needed: a local CA that a
/// CA bundle names is one made for the moment.
///
/// # Errors
/// [`GatewayError::ClientCa`] when that cannot be made.
pub async fn named_files(config: &Config) -> Result<NamedFiles, GatewayError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let now = clock.now();
    let inventory = Inventory::new(Arc::new(MemoryStore::new()));
    let authorities = client_ca::authorities(config, &inventory, &clock).await?;
    let mut found = NamedFiles::default();
    for bundle in Bundles::rehearse(config, authorities, &KnownBundles::default(), now).await {
        match bundle {
            Ok(bundle) => found.warnings.extend(bundle_alarms::lines(&bundle, now)),
            Err(error) => found.errors.push(with_causes(&error)),
        }
    }
    let (files, directories) = (
        config.certificate_files.clone(),
        config.certificate_directories.clone(),
    );
    let looking = tokio::task::spawn_blocking(move || file_problems(&files, &directories, now));
    let problems = looking
        .await
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    found.errors.extend(problems.iter().map(ToString::to_string));
    Ok(found)
}
