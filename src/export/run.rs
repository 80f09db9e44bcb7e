//! Brings every export of the configuration to what is stored, and keeps it there.

use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use certgate_store::Expect;
use serde_json::json;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::sleep;

use crate::cause::with_causes;
use crate::certificate::{CertificateName, CredentialPem, DesiredCertificate, Leaf};
use crate::clock::{Clock, Timestamp};
use crate::command::CommandError;
use crate::config::{Config, ExportConfig};
use crate::export::files::{self, WriteError};
use crate::export::plan::{Next, next};
use crate::hooks::{Problems, back_off};
use crate::inventory::{ExportRecord, Inventory, InventoryError, Stale, Versioned};
use crate::metrics::Metrics;

/// What exporting needs of the gateway. Cheap to clone.
#[derive(Clone)]
pub struct Exports {
    /// Where certificates are.
    pub inventory: Inventory,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where attempts are counted.
    pub metrics: Arc<Metrics>,
    /// The configuration in force.
    pub config: Arc<ArcSwap<Config>>,
    /// Changes when the configuration has been replaced.
    pub desired: watch::Receiver<Arc<[DesiredCertificate]>>,
    /// What an operator should know, by directory.
    pub problems: Problems,
}

/// Why a certificate was not exported.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error("the files are written, but not everybody knows")]
    Command(#[from] CommandError),
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl Exports {
    /// Goes on until `stop` is done; what is under way then is cut off, and begun again by the next run.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        // Hints before the first look: nothing that is written in between is missed.
        let mut hints = self.inventory.hints();
        let mut at_work = BTreeMap::new();
        let turns = Arc::new(Semaphore::new(AT_A_TIME));
        loop {
            self.assign(&mut at_work, &turns);
            tokio::select! {
                () = &mut stop => return,
                Ok(()) = self.desired.changed() => {}
                hint = hints.changed() => {
                    let mut stale = Stale::default();
                    stale.add_hint(&hint);
                    for known in at_work.values().filter(|known: &&AtWork| match &stale {
                        Stale::Everything => true,
                        Stale::Names(names) => names.contains(&known.certificate),
                    }) {
                        known.changed.notify_one();
                    }
                }
            }
        }
    }

    /// Ends what is no longer configured so, and begins what is new.
    fn assign(&self, at_work: &mut BTreeMap<PathBuf, AtWork>, turns: &Arc<Semaphore>) {
        let config = self.config.load_full();
        let wanted: BTreeMap<_, _> = config
            .exports
            .iter()
            .flat_map(|(name, exports)| {
                exports
                    .iter()
                    .map(move |export| (&export.directory, (name, export)))
            })
            .collect();
        at_work.retain(|directory, known| {
            let is_same = wanted.get(directory) == Some(&(&known.certificate, &known.export));
            if !is_same {
                self.problems.note(&directory.to_string_lossy(), None);
            }
            is_same
        });
        for (directory, (certificate, export)) in wanted {
            at_work.entry(directory.clone()).or_insert_with(|| {
                let changed = Arc::new(Notify::new());
                let one = One {
                    exports: self.clone(),
                    certificate: certificate.clone(),
                    export: export.clone(),
                    changed: changed.clone(),
                    turns: turns.clone(),
                };
                AtWork {
                    certificate: certificate.clone(),
                    export: export.clone(),
                    changed,
                    task: tokio::spawn(one.run()).abort_handle(),
                }
            });
        }
    }
}

/// One certificate for one directory.
struct One {
    exports: Exports,
    certificate: CertificateName,
    export: ExportConfig,
    changed: Arc<Notify>,
    turns: Arc<Semaphore>,
}

impl One {
    async fn run(self) {
        loop {
            let wait = match self.look().await {
                Ok(next) => next,
                Err(error) => {
                    let (certificate, error) = (&self.certificate, with_causes(&error));
                    tracing::error!(%certificate, error, "it is not exported for the moment");
                    sleep(STORE_PAUSE).await;
                    continue;
                }
            };
            let wake = async {
                match wait {
                    Some(at) => self.exports.clock.sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = self.changed.notified() => {}
                () = wake => {}
                () = sleep(FULL_LOOK) => {}
            }
        }
    }

    /// Does what is to be done now; returns when there is more.
    async fn look(&self) -> Result<Option<Timestamp>, InventoryError> {
        let inventory = &self.exports.inventory;
        loop {
            let Some(pem) = inventory.credential(&self.certificate).await? else {
                return Ok(None);
            };
            // Of the very chain that is written; a record might be another's.
            let Some(Ok(leaf)) = pem.chain().first().map(|der| Leaf::parse(der)) else {
                return Ok(None);
            };
            let known = match inventory.export(self.directory()).await {
                Err(InventoryError::Unreadable { .. }) => None,
                known => known?,
            };
            let is_written = self.on_files(&pem, files::is_current).await;
            let now = self.exports.clock.now();
            let record = known.as_ref().map(|known| &known.value);
            match next(record, &leaf.fingerprint, is_written, now) {
                Next::Rest(wait) => {
                    let error = record.and_then(|record| record.error.as_deref());
                    self.note(error, wait);
                    return Ok(wait);
                }
                Next::Attempt(attempts) => {
                    let pem = (!is_written).then_some(&pem);
                    match self.attempt(pem, &leaf, known, attempts).await {
                        // Somebody else has it in hand.
                        Err(InventoryError::Conflict { .. }) => return Ok(Some(now + STORE_PAUSE)),
                        done => done?,
                    }
                }
            }
        }
    }

    async fn attempt(
        &self,
        pem: Option<&CredentialPem>,
        leaf: &Leaf,
        known: Option<Versioned<ExportRecord>>,
        attempts: u32,
    ) -> Result<(), InventoryError> {
        // Never closed.
        let _turn = self.turns.acquire().await;
        let (exports, certificate) = (&self.exports, &self.certificate);
        let pause = back_off::after_failure(attempts, back_off::MOST_ATTEMPTS);
        let begun = ExportRecord {
            certificate: certificate.clone(),
            fingerprint: leaf.fingerprint.clone(),
            attempts,
            done_at: None,
            // For who finds it so after a crash.
            next_attempt: pause.map(|pause| exports.clock.now() + pause),
            error: known.as_ref().and_then(|known| known.value.error.clone()),
        };
        let expect = known.map_or(Expect::Any, |known| Expect::Revision(known.revision));
        let inventory = &exports.inventory;
        let revision = inventory.save_export(self.directory(), &begun, expect).await?;
        let outcome = self.export(pem, leaf).await;
        let now = exports.clock.now();
        let ended = match outcome {
            Ok(()) => {
                tracing::info!(%certificate, directory = %self.directory().display(), "exported");
                exports.metrics.exported(certificate.as_str(), "done");
                ExportRecord {
                    done_at: Some(now),
                    next_attempt: None,
                    error: None,
                    ..begun
                }
            }
            Err(error) => {
                let error = with_causes(&error);
                let next_attempt = pause.map(|pause| now + pause);
                tracing::warn!(%certificate, attempts, error, "the certificate is not exported as it should be");
                exports.metrics.exported(certificate.as_str(), "failed");
                if next_attempt.is_none() {
                    tracing::error!(%certificate, "its export is given up until something changes");
                    exports.metrics.exported(certificate.as_str(), "given-up");
                }
                ExportRecord {
                    next_attempt,
                    error: Some(error),
                    ..begun
                }
            }
        };
        let expect = Expect::Revision(revision);
        inventory
            .save_export(self.directory(), &ended, expect)
            .await
            .map(drop)
    }

    async fn export(&self, pem: Option<&CredentialPem>, leaf: &Leaf) -> Result<(), ExportError> {
        if let Some(pem) = pem {
            self.on_files(pem, files::write).await?;
        }
        let Some(command) = &self.export.command else {
            return Ok(());
        };
        let directory = self.directory().to_string_lossy().into_owned();
        let domains: Vec<_> = leaf.names.iter().map(ToString::to_string).collect();
        let facts = json!({
            "event": "exported",
            "certificate": self.certificate.as_str(),
            "directory": directory,
            "domains": domains,
            "not_before": leaf.not_before,
            "not_after": leaf.not_after,
            "serial": leaf.serial,
            "fingerprint_sha256": leaf.fingerprint,
        });
        let variables = [
            ("CERTGATE_EVENT", "exported".to_owned()),
            ("CERTGATE_CERTIFICATE", self.certificate.to_string()),
            ("CERTGATE_DIRECTORY", directory),
            ("CERTGATE_DOMAINS", domains.join(" ")),
            ("CERTGATE_NOT_AFTER", leaf.not_after.to_string()),
        ];
        let facts = format!("{facts}\n");
        let output = command
            .run(facts.as_bytes(), &variables, self.export.timeout)
            .await?;
        let (certificate, output) = (&self.certificate, output.trim_end());
        tracing::info!(%certificate, command = command.program(), output, "the command after its export has run");
        Ok(())
    }

    /// Files are another thread's work.
    async fn on_files<T: Send + 'static>(
        &self,
        pem: &CredentialPem,
        work: impl FnOnce(&ExportConfig, &CredentialPem) -> T + Send + 'static,
    ) -> T {
        let (export, pem) = (self.export.clone(), pem.clone());
        let worked = spawn_blocking(move || work(&export, &pem)).await;
        worked.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    fn note(&self, error: Option<&str>, next_attempt: Option<Timestamp>) {
        let directory = self.directory().to_string_lossy();
        let problem = error.map(|error| {
            let certificate = &self.certificate;
            let then = match next_attempt {
                Some(at) => format!("tried again at {at}"),
                None => "given up until something changes".to_owned(),
            };
            format!(
                "certificate `{certificate}` is not exported to {directory} as it should be: {error}; {then}"
            )
        });
        self.exports.problems.note(&directory, problem);
    }

    fn directory(&self) -> &Path {
        &self.export.directory
    }
}

/// An export that is looked after; dropping it ends that.
struct AtWork {
    certificate: CertificateName,
    export: ExportConfig,
    changed: Arc<Notify>,
    task: AbortHandle,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Commands that run side by side: at a first start there may be hundreds.
const AT_A_TIME: usize = 2;
const FULL_LOOK: Duration = Duration::from_secs(86_400);
const STORE_PAUSE: Duration = Duration::from_secs(5);
