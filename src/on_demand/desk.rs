//! Where handshakes for new names come in, and where they wait.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::denial::Denial;
use super::denials::Denials;
use super::latest::{Latest, Refused};
use super::quota::Quota;
use super::rules;
use crate::certificate::CertificateName;
use crate::config::OnDemandConfig;
use crate::metrics::OnDemandMetrics;
use crate::name::DnsName;

/// The demands of all listeners, on their way to whoever serves them; and which certificates handshakes have used.
#[derive(Debug)]
pub struct Demands {
    sender: mpsc::Sender<Demand>,
    receiver: Mutex<Option<mpsc::Receiver<Demand>>>,
    round: AtomicU32,
    used: Mutex<BTreeSet<CertificateName>>,
}

impl Demands {
    /// Without any yet.
    pub fn new() -> Self {
        let (sender, receiver) = mpsc::channel(MOST_ON_THE_WAY);
        Self {
            sender,
            receiver: Mutex::new(Some(receiver)),
            round: AtomicU32::new(1),
            used: Mutex::default(),
        }
    }

    /// The demands, for the one who serves them; `None` for anybody after the first.
    pub fn take(&self) -> Option<mpsc::Receiver<Demand>> {
        lock(&self.receiver).take()
    }

    /// The certificates that handshakes have used since this was asked last.
    pub fn take_used(&self) -> BTreeSet<CertificateName> {
        self.round.fetch_add(1, Ordering::Relaxed);
        std::mem::take(&mut *lock(&self.used))
    }
}

impl Default for Demands {
    fn default() -> Self {
        Self::new()
    }
}

/// What one listener has of certificates on demand. It is kept for as long as its configuration stays the same.
pub struct Desk {
    listener: Arc<str>,
    config: Arc<OnDemandConfig>,
    most_waiting: usize,
    demands: Arc<Demands>,
    metrics: OnDemandMetrics,
    state: Mutex<State>,
}

struct State {
    denials: Denials,
    /// The names that are being looked into or obtained.
    pending: HashMap<DnsName, watch::Sender<Option<Outcome>>>,
    /// The handshakes that wait for them.
    waiting: usize,
    asks: Quota,
    orders: Quota,
    ask_problem: Option<String>,
    obtained: u64,
    refused: BTreeMap<Denial, u64>,
    latest: Latest,
    unlogged: BTreeMap<Denial, u64>,
}

/// Whether the certificate is there now.
type Outcome = Result<(), Denial>;

/// How a desk stands.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Names that are being looked into or obtained.
    pub pending: usize,
    /// Handshakes that wait for them.
    pub waiting: usize,
    /// Names that are known to be denied.
    pub remembered: usize,
    /// Handshakes that have waited for their certificate and got it.
    pub obtained: u64,
    /// Those that were refused, by reason.
    pub refused: BTreeMap<Denial, u64>,
    /// The name that was refused last, by reason; none where it is no DNS name.
    pub latest: BTreeMap<Denial, Refused>,
    /// Why the ask URL gave no answer that counts, when it was last asked.
    pub ask_problem: Option<String>,
}

impl Desk {
    /// The desk of `listener`, which has `max_connections` places if they have a bound.
    pub fn new(
        listener: Arc<str>,
        config: Arc<OnDemandConfig>,
        max_connections: Option<usize>,
        demands: Arc<Demands>,
        metrics: OnDemandMetrics,
    ) -> Self {
        let state = State {
            denials: Denials::new(MOST_REMEMBERED),
            pending: HashMap::new(),
            waiting: 0,
            asks: Quota::new(config.max_asks_per_minute, Duration::from_secs(60)),
            orders: Quota::new(config.max_orders_per_hour, Duration::from_secs(3600)),
            ask_problem: None,
            obtained: 0,
            refused: BTreeMap::new(),
            latest: Latest::default(),
            unlogged: BTreeMap::new(),
        };
        // Whoever waits has one of the listener's places, and most of those are for clients that have a certificate.
        let places = max_connections.map_or(usize::MAX, |most| most / 4);
        Self {
            listener,
            config,
            most_waiting: places.clamp(1, MOST_WAITING),
            demands,
            metrics,
            state: Mutex::new(state),
        }
    }

    /// The listener's name.
    pub fn listener(&self) -> &Arc<str> {
        &self.listener
    }

    /// What was configured.
    pub fn config(&self) -> &Arc<OnDemandConfig> {
        &self.config
    }

    /// Has the certificate for `server_name`, of which there is none, looked into and obtained, and waits for it as long
    /// as the listener says. Any number of handshakes for a name cause one demand.
    ///
    /// # Errors
    /// Why there is none now.
    pub async fn obtain(self: &Arc<Self>, server_name: &str) -> Result<(), Denial> {
        let outcome = match self.enter(server_name, Instant::now()) {
            Ok(Some(place)) => place.outcome(self.config.wait).await,
            Ok(None) => Err(Denial::Awaited),
            Err(denial) => Err(denial),
        };
        self.count(server_name, outcome);
        outcome
    }

    /// What [`obtain`](Self::obtain) would answer at once, as far as that is known; nothing is looked into.
    pub fn foresee(&self, server_name: &str) -> Denial {
        match rules::admitted(&self.config, server_name) {
            Ok(name) => {
                let known = self.state().denials.find(name.as_str(), Instant::now());
                known.unwrap_or(Denial::Awaited)
            }
            Err(denial) => denial,
        }
    }

    /// Whether nobody need be asked about `name`.
    pub fn allows(&self, name: &DnsName) -> bool {
        rules::is_allowed(&self.config, name)
    }

    /// Takes one of the orders that may be made in an hour; false when there is none left.
    pub fn take_order(&self, now: Instant) -> bool {
        self.state().orders.take(now)
    }

    /// Why the ask URL gave no answer that counts; nothing where it did. True where that is news.
    pub fn note_ask(&self, problem: Option<String>) -> bool {
        let mut state = self.state();
        let is_news = state.ask_problem.is_some() != problem.is_some();
        state.ask_problem = problem;
        is_news
    }

    /// The round of uses that is under way: see [`note_use`](Self::note_use).
    pub fn round(&self) -> u32 {
        self.demands.round.load(Ordering::Relaxed)
    }

    /// A handshake has used the certificate `name`. Once in a round is enough, so that few of them come here.
    pub fn note_use(&self, name: &CertificateName) {
        lock(&self.demands.used).insert(name.clone());
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        let state = self.state();
        Standing {
            pending: state.pending.len(),
            waiting: state.waiting,
            remembered: state.denials.len(),
            obtained: state.obtained,
            refused: state.refused.clone(),
            latest: state.latest.all().clone(),
            ask_problem: state.ask_problem.clone(),
        }
    }

    /// The handshakes that were refused since this was asked last, by reason.
    pub fn take_unlogged(&self) -> BTreeMap<Denial, u64> {
        std::mem::take(&mut self.state().unlogged)
    }

    /// A place to wait for `server_name` in; none where nobody waits.
    fn enter(self: &Arc<Self>, server_name: &str, now: Instant) -> Result<Option<Place>, Denial> {
        let name = rules::admitted(&self.config, server_name)?;
        let mut state = self.state();
        if let Some(denial) = state.denials.find(name.as_str(), now) {
            return Err(denial);
        }
        let waits = !self.config.wait.is_zero();
        if waits && state.waiting >= self.most_waiting {
            return Err(Denial::Busy);
        }
        let outcome = match state.pending.get(&name) {
            Some(pending) => pending.subscribe(),
            None => {
                let on_the_way = self.demands.sender.try_reserve();
                let on_the_way = on_the_way.ok().filter(|_| state.pending.len() < MOST_PENDING);
                let on_the_way = on_the_way.ok_or(Denial::Busy)?;
                if !state.asks.take(now) {
                    return Err(Denial::AsksLimited);
                }
                let (sender, outcome) = watch::channel(None);
                state.pending.insert(name.clone(), sender);
                on_the_way.send(Demand {
                    desk: self.clone(),
                    name,
                    is_settled: false,
                });
                outcome
            }
        };
        if !waits {
            return Ok(None);
        }
        state.waiting += 1;
        let desk = self.clone();
        Ok(Some(Place { desk, outcome }))
    }

    fn count(&self, server_name: &str, outcome: Outcome) {
        self.metrics
            .handshake(outcome.err().map_or("obtained", Denial::label));
        let name = match outcome {
            Ok(()) => None,
            Err(_) => DnsName::parse(server_name).ok(),
        };
        let mut state = self.state();
        match outcome {
            Ok(()) => state.obtained += 1,
            Err(denial) => {
                *state.refused.entry(denial).or_default() += 1;
                *state.unlogged.entry(denial).or_default() += 1;
                if let Some(name) = name {
                    state.latest.note(denial, name, Instant::now());
                }
            }
        }
    }

    /// The ask URL was asked, and this came of it.
    pub fn count_ask(&self, result: &'static str) {
        self.metrics.asked(result);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk")
            .field("listener", &self.listener)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// A handshake that waits; it is free again when this is dropped.
struct Place {
    desk: Arc<Desk>,
    outcome: watch::Receiver<Option<Outcome>>,
}

impl Place {
    async fn outcome(mut self, wait: Duration) -> Outcome {
        match timeout(wait, self.outcome.wait_for(Option::is_some)).await {
            Ok(Ok(outcome)) => outcome.unwrap_or(Err(Denial::Failed)),
            Ok(Err(_)) => Err(Denial::Failed),
            Err(_) => Err(Denial::Awaited),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.desk.state().waiting -= 1;
    }
}

/// A name that handshakes have asked for. Dropped without a word, nobody waits for it any longer.
#[derive(Debug)]
pub struct Demand {
    desk: Arc<Desk>,
    name: DnsName,
    is_settled: bool,
}

impl Demand {
    /// Where it came in.
    pub fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    /// The name.
    pub fn name(&self) -> &DnsName {
        &self.name
    }

    /// Its certificate is published.
    pub fn grant(mut self) {
        self.settle(Ok(()), Duration::ZERO);
    }

    /// There is none, by what was found: `detail`. For `remembered` it is not asked for again.
    pub fn deny(mut self, denial: Denial, remembered: Duration, detail: &str) {
        let (name, now) = (self.name.clone(), Instant::now());
        self.desk.state().latest.explain(denial, name, now, detail);
        self.settle(Err(denial), remembered);
    }

    fn settle(&mut self, outcome: Outcome, remembered: Duration) {
        self.is_settled = true;
        let mut state = self.desk.state();
        if let Err(denial) = outcome
            && !remembered.is_zero()
        {
            let until = Instant::now() + remembered;
            state.denials.note(self.name.as_str(), denial, until);
        }
        if let Some(pending) = state.pending.remove(&self.name) {
            pending.send_replace(Some(outcome));
        }
    }
}

impl Drop for Demand {
    fn drop(&mut self) {
        if !self.is_settled {
            self.settle(Err(Denial::Failed), Duration::ZERO);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Names of a listener that are looked into or obtained at a time.
const MOST_PENDING: usize = 256;
/// Handshakes of a listener that wait at a time.
const MOST_WAITING: usize = 1024;
/// Demands of all listeners that nobody has taken up yet.
const MOST_ON_THE_WAY: usize = 1024;
/// Denials that a listener remembers: less than 3 MiB.
const MOST_REMEMBERED: usize = 32_768;

#[cfg(test)]
mod tests;
