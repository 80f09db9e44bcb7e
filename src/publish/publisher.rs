//! Follows the store and swaps the table.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use certgate_store::Hints;
use imbl::OrdSet;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use crate::cause::with_causes;
use crate::certificate::{CertificateName, Credential};
use crate::clock::{Clock, Timestamp};
use crate::inventory::{Inventory, InventoryError, Stale};
use crate::metrics::Metrics;
use crate::publish::candidate::{Stored, Unfit, may_replace, read, read_without_record};
use crate::tls::{CertificateTable, PublishedCertificates};

/// Publishes what the store holds. There is one for a process.
pub struct Publisher {
    inventory: Inventory,
    metrics: Arc<Metrics>,
    published: Arc<PublishedCertificates>,
    clock: Arc<dyn Clock>,
    pub(super) hints: Hints,
    pub(super) stale: Stale,
    served: OrdSet<CertificateName>,
    pub(super) problems: watch::Sender<Problems>,
}

/// What is not published as the store has it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Problems {
    /// By certificate.
    pub certificates: BTreeMap<CertificateName, Problem>,
    /// The store cannot be read; what is published goes on being served.
    pub store: Option<Problem>,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// What, and what is served nevertheless.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

impl Publisher {
    /// A publisher that has published nothing yet.
    pub fn new(
        inventory: Inventory,
        published: Arc<PublishedCertificates>,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        // Hints before the first look: nothing that happens in between is missed.
        let hints = inventory.hints();
        Self {
            inventory,
            metrics,
            published,
            clock,
            hints,
            stale: Stale::Everything,
            served: OrdSet::new(),
            problems: watch::Sender::default(),
        }
    }

    /// What is not published as the store has it.
    pub fn problems(&self) -> watch::Receiver<Problems> {
        self.problems.subscribe()
    }

    /// Publishes everything there is. Before any listener is open, so that the first handshake is served; no CA is
    /// needed for it.
    ///
    /// # Errors
    /// [`InventoryError::Store`] when the store cannot be read. A certificate that cannot be is a [`Problem`].
    pub async fn start(&mut self) -> Result<(), InventoryError> {
        self.catch_up().await
    }

    /// Publishes every change until `stop` is done. One that cannot be read for now is tried again; until then its
    /// predecessor is served.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let mut full_look = interval_at(Instant::now() + FULL_LOOK, FULL_LOOK);
        full_look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pause = FIRST_STORE_PAUSE;
        loop {
            let mut retry = None;
            match self.catch_up().await {
                Ok(()) => pause = FIRST_STORE_PAUSE,
                Err(_) => {
                    retry = Some(pause);
                    pause = (pause * 2).min(LAST_STORE_PAUSE);
                }
            }
            tokio::select! {
                () = &mut stop => return,
                hint = self.hints.changed() => self.stale.add_hint(&hint),
                _ = full_look.tick() => self.stale = Stale::Everything,
                () = sleep(retry.unwrap_or_default()), if retry.is_some() => {}
            }
        }
    }

    /// Reads what is stale and publishes it, all at once. Nothing of it is forgotten when the store fails.
    pub(super) async fn catch_up(&mut self) -> Result<(), InventoryError> {
        let mut change = Change {
            table: CertificateTable::clone(&self.published.load()),
            served: self.served.clone(),
            problems: BTreeMap::new(),
            changed: false,
        };
        let result = self.read_stale(&mut change).await;
        if change.changed {
            self.published.publish(change.table);
            self.served = change.served;
        }
        self.measure(change.problems.keys());
        self.report(change.problems, result.as_ref().err());
        result?;
        self.stale = Stale::default();
        Ok(())
    }

    async fn read_stale(&self, change: &mut Change) -> Result<(), InventoryError> {
        let names = match &self.stale {
            Stale::Names(names) => names.clone(),
            Stale::Everything => {
                let all = self.inventory.certificates().await?;
                let records = all.records.into_iter().map(|record| record.value.name);
                let stored = records.chain(all.unreadable.into_iter().map(|(name, _)| name));
                stored
                    .chain(change.served.iter().cloned())
                    .collect::<BTreeSet<_>>()
            }
        };
        for name in names {
            let problem = match read(&self.inventory, &name).await {
                Ok(Stored::Nothing) => {
                    change.withdraw(&name);
                    None
                }
                Ok(Stored::Ready(credential)) => change.offer(&name, credential, self.clock.now()),
                Err(Unfit::Inventory {
                    source: source @ InventoryError::Store { .. },
                }) => return Err(source),
                Err(error) => Some(self.without(change, &name, &error).await),
            };
            change.problems.insert(name, problem);
        }
        Ok(())
    }

    /// What is served of a certificate that cannot be read whole.
    async fn without(&self, change: &mut Change, name: &CertificateName, error: &Unfit) -> String {
        let reason = with_causes(error);
        if change.table.get(name).next().is_some() {
            return format!("{reason}; the one before goes on being served");
        }
        match (error, read_without_record(&self.inventory, name).await) {
            (Unfit::Inventory { .. }, Some(credential)) => {
                change.put(name, credential);
                format!("{reason}; its chain and key are sound, and served")
            }
            _ => format!("{reason}; nothing is served for it"),
        }
    }

    /// Brings the metric of each of these up to what is served.
    fn measure<'n>(&self, names: impl Iterator<Item = &'n CertificateName>) {
        let published = self.published.load();
        for name in names {
            match published.get(name).next() {
                Some(served) => self
                    .metrics
                    .certificate_not_after(name.as_str(), served.leaf().not_after),
                None => self.metrics.forget_certificate(name.as_str()),
            }
        }
    }

    fn report(&self, found: BTreeMap<CertificateName, Option<String>>, store: Option<&InventoryError>) {
        let now = self.clock.now();
        self.problems.send_if_modified(|problems| {
            let before = problems.clone();
            for (name, reason) in found {
                match reason {
                    None => drop(problems.certificates.remove(&name)),
                    Some(reason) => {
                        let known = problems.certificates.get(&name);
                        if known.is_none_or(|known| known.reason != reason) {
                            tracing::error!(certificate = %name, reason, "not published as the store has it");
                            let since = known.map_or(now, |known| known.since);
                            problems.certificates.insert(name, Problem { reason, since });
                        }
                    }
                }
            }
            problems.store = store.map(|error| {
                let reason = with_causes(error);
                let since = before.store.as_ref().map_or(now, |known| known.since);
                Problem { reason, since }
            });
            if let (Some(problem), None) = (&problems.store, &before.store) {
                tracing::error!(
                    reason = problem.reason,
                    "the store cannot be read; what is published goes on being served"
                );
            }
            *problems != before
        });
    }
}

/// The next table in the making.
struct Change {
    table: CertificateTable,
    /// The names of its entries.
    served: OrdSet<CertificateName>,
    /// What was found of each certificate that was read; `None`: all is well.
    problems: BTreeMap<CertificateName, Option<String>>,
    changed: bool,
}

impl Change {
    /// Puts `credential` in the place of what is served, if it may be there.
    fn offer(&mut self, name: &CertificateName, credential: Credential, now: Timestamp) -> Option<String> {
        let not_after = credential.leaf().not_after;
        let served = self.table.get(name).next();
        if served.is_none_or(|served| served.certified_key().cert != credential.certified_key().cert) {
            if let Err(error) = may_replace(&credential, served, now) {
                return Some(format!(
                    "{}; the one before goes on being served",
                    with_causes(&error)
                ));
            }
            self.put(name, credential);
        }
        (not_after < now).then(|| format!("it expired at {not_after}; it is served for want of a better one"))
    }

    fn put(&mut self, name: &CertificateName, credential: Credential) {
        tracing::info!(certificate = %name, not_after = %credential.leaf().not_after, "published");
        self.table = self.table.with(name.clone(), vec![credential]);
        self.served.insert(name.clone());
        self.changed = true;
    }

    fn withdraw(&mut self, name: &CertificateName) {
        if self.table.get(name).next().is_some() {
            tracing::info!(certificate = %name, "withdrawn");
            self.table = self.table.without(name);
            self.served.remove(name);
            self.changed = true;
        }
    }
}

/// In case a change of the store went by unseen, or something has become valid.
const FULL_LOOK: Duration = Duration::from_secs(600);
const FIRST_STORE_PAUSE: Duration = Duration::from_secs(1);
const LAST_STORE_PAUSE: Duration = Duration::from_secs(60);
