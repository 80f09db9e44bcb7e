//! Follows the store and swaps the table.

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, ready};
use std::sync::Arc;
use std::time::Duration;

use certgate_store::Hints;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::cache::Cache;
use super::change::Change;
use super::problem::{Problems, report};
use super::sweep::Sweep;
use crate::certificate::CertificateName;
use crate::clock::Clock;
use crate::inventory::{Inventory, InventoryError, Stale};
use crate::metrics::Metrics;
use crate::tls::{CertificateTable, Lookup, LookupRequest, PublishedCertificates};

/// Publishes what the store holds. There is one for a process.
pub struct Publisher {
    inventory: Inventory,
    metrics: Arc<Metrics>,
    published: Arc<PublishedCertificates>,
    clock: Arc<dyn Clock>,
    pub(super) hints: Hints,
    pub(super) stale: Stale,
    requests: Option<mpsc::Receiver<LookupRequest>>,
    pub(super) cache: Cache,
    sweep: Option<Sweep>,
    /// When the look at everything was begun that is under way, or was the last.
    pub(super) sweeping_since: Instant,
    pub(super) problems: watch::Sender<Problems>,
}

impl Publisher {
    /// A publisher that has published nothing yet, and keeps some `cache` bytes of certificates ready to serve; the
    /// others are loaded when they are asked for.
    pub fn new(
        inventory: Inventory,
        published: Arc<PublishedCertificates>,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
        cache: usize,
    ) -> Self {
        // Hints before the first look: nothing that happens in between is missed.
        let hints = inventory.hints();
        Self {
            inventory,
            metrics,
            requests: published.requests(),
            published,
            clock,
            hints,
            stale: Stale::Everything,
            cache: Cache::new(cache),
            sweep: None,
            sweeping_since: Instant::now(),
            problems: watch::Sender::default(),
        }
    }

    /// What is not published as the store has it.
    pub fn problems(&self) -> watch::Receiver<Problems> {
        self.problems.subscribe()
    }

    /// Publishes what is served most: the defaults of the listeners. Before any listener is open; no CA is needed for
    /// it. Everything else follows while the publisher runs, what is asked for first.
    ///
    /// # Errors
    /// [`InventoryError::Store`] when the store cannot be read. A certificate that cannot be is a problem of its own.
    pub async fn start(&mut self, defaults: impl IntoIterator<Item = Lookup>) -> Result<(), InventoryError> {
        for lookup in defaults {
            self.publish(async |change| change.look_up(&lookup).await).await?;
        }
        Ok(())
    }

    /// Publishes every change until `stop` is done. One that cannot be read for now is tried again; until then its
    /// predecessor is served.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let mut requests = self.requests.take();
        let mut next_sweep = Instant::now();
        let mut pause = FIRST_STORE_PAUSE;
        let mut is_pausing = false;
        let mut answered = 0;
        loop {
            if !is_pausing && self.has_stale() {
                match self.take_stale().await {
                    Ok(()) => pause = FIRST_STORE_PAUSE,
                    Err(_) => is_pausing = true,
                }
            }
            let can_step = !is_pausing && self.is_sweeping();
            tokio::select! {
                biased;
                () = &mut stop => return,
                // Before the handshakes: somebody who asks for one name after the other holds up no change.
                hint = self.hints.changed() => self.stale.add_hint(&hint),
                Some(request) = next_request(&mut requests), if answered < ANSWERS || !can_step => {
                    answered += 1;
                    self.answer(request).await;
                }
                () = sleep(pause), if is_pausing => {
                    is_pausing = false;
                    pause = (pause * 2).min(LAST_STORE_PAUSE);
                }
                () = sleep_until(next_sweep), if !can_step && !is_pausing => {
                    self.stale = Stale::Everything;
                    next_sweep = Instant::now() + FULL_LOOK;
                }
                () = ready(()), if can_step => {
                    answered = 0;
                    match self.step().await {
                        Ok(()) => if !self.is_sweeping() {
                            // However many there are, it takes but a small part of the time.
                            let took = self.sweeping_since.elapsed();
                            next_sweep = Instant::now() + FULL_LOOK.max(took * SWEEP_SHARE);
                        },
                        Err(_) => is_pausing = true,
                    }
                }
            }
        }
    }

    /// Whether a look at everything is under way.
    pub(super) fn is_sweeping(&self) -> bool {
        self.sweep.is_some()
    }

    fn has_stale(&self) -> bool {
        !matches!(&self.stale, Stale::Names(names) if names.is_empty())
    }

    /// Publishes what is stale; of everything, only the first step. Nothing of it is forgotten when the store fails.
    pub(super) async fn take_stale(&mut self) -> Result<(), InventoryError> {
        match std::mem::take(&mut self.stale) {
            Stale::Everything => {
                match &mut self.sweep {
                    Some(sweep) => sweep.is_once_more = true,
                    None => {
                        self.sweep = Some(Sweep::begin(self.published.load().stored_names()));
                        self.sweeping_since = Instant::now();
                    }
                }
                Ok(())
            }
            Stale::Names(names) => {
                let refreshed = self
                    .publish(async |change| {
                        change.is_news = true;
                        for name in &names {
                            change.refresh(name).await?;
                        }
                        Ok(())
                    })
                    .await;
                if refreshed.is_err() {
                    self.stale.add(names);
                }
                refreshed
            }
        }
    }

    /// One step of the look at everything. When the store fails, it begins anew.
    pub(super) async fn step(&mut self) -> Result<(), InventoryError> {
        let stepped = self.publish(async |change| change.step().await).await;
        if stepped.is_err() {
            self.stale = Stale::Everything;
            self.sweep = None;
        }
        stepped
    }

    async fn answer(&mut self, request: LookupRequest) {
        // Whoever cannot be told has gone; dropped untold, the handshake learns that it failed.
        if self.look_up(&request.lookup).await.is_ok() {
            let _ = request.done.send(());
        }
    }

    /// Gives the table what a handshake asks for.
    pub(super) async fn look_up(&mut self, lookup: &Lookup) -> Result<(), InventoryError> {
        self.publish(async |change| change.look_up(lookup).await).await
    }

    /// Makes a change and swaps it in, all at once: also as much as came about before the store failed.
    async fn publish(
        &mut self,
        make: impl AsyncFnOnce(&mut Change<'_>) -> Result<(), InventoryError>,
    ) -> Result<(), InventoryError> {
        let before = CertificateTable::clone(&self.published.load());
        let mut change = Change {
            inventory: &self.inventory,
            now: self.clock.now(),
            table: before,
            cache: &mut self.cache,
            sweep: &mut self.sweep,
            found: BTreeMap::new(),
            is_news: false,
            problems: &self.problems,
            waited_for: BTreeSet::new(),
            evicted: Vec::new(),
        };
        let result = make(&mut change).await;
        change.evict();
        let Change {
            table,
            found,
            evicted,
            now,
            ..
        } = change;
        self.published.publish(table);
        self.measure(found.keys().chain(&evicted));
        report(&self.problems, found, result.as_ref().err(), now);
        result
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
}

async fn next_request(requests: &mut Option<mpsc::Receiver<LookupRequest>>) -> Option<LookupRequest> {
    match requests {
        Some(requests) => requests.recv().await,
        None => None,
    }
}

/// Lookups of handshakes between two steps of a look at everything.
const ANSWERS: usize = 16;
/// In case a change of the store went by unseen, or something has become valid.
const FULL_LOOK: Duration = Duration::from_secs(600);
/// The time that a look at everything takes, in the time until the next.
const SWEEP_SHARE: u32 = 100;
const FIRST_STORE_PAUSE: Duration = Duration::from_secs(1);
const LAST_STORE_PAUSE: Duration = Duration::from_secs(60);
