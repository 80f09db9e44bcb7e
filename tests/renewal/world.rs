//! The world that renewal lives in: a scripted CA, a scripted DNS, a store that can fail, a clock set by hand.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use certgate::certificate::{CertificateName, CredentialPem, DesiredCertificate, KeyType, PrivateKey};
use certgate::clock::{Clock, ManualClock, Timestamp};
use certgate::config::RateLimits;
use certgate::inventory::{CertificateRecord, CertificateState, Inventory};
use certgate::issuer::ledger::{self, Ledger, OrderKind};
use certgate::issuer::{FailureClass, IssueError, IssueRequest, Issuer, Step};
use certgate::name::NamePattern;
use certgate::renewal::{Candidates, DnsGate, DnsVerdict, Health, Issuers, Limits, Refusal, Renewal};
use certgate_store::{Batch, Entry, Hints, Lease, Listing, MemoryStore, Revision, Store, StoreError};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use time::OffsetDateTime;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);
/// What spreads renewals and pauses.
pub(crate) const SEED: u64 = 7;

/// How long a state is waited for; nothing depends on it being short.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct World {
    pub(crate) store: Arc<FlakyStore>,
    pub(crate) inventory: Inventory,
    pub(crate) clock: ManualClock,
    pub(crate) ca: Arc<ScriptedCa>,
    pub(crate) dns: Arc<ScriptedDns>,
    pub(crate) desired: watch::Sender<Arc<[DesiredCertificate]>>,
    pub(crate) limits: Limits,
    issuers: Arc<Issuers>,
}

pub(crate) struct Running {
    pub(crate) health: watch::Receiver<Health>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl World {
    pub(crate) fn new(lifetime: Duration) -> Self {
        let clock = ManualClock::new(Timestamp::from_unix_seconds(1_795_219_200));
        let store = Arc::new(FlakyStore::default());
        let ca = Arc::new(ScriptedCa::new(clock.clone(), store.clone(), lifetime));
        let issuers: BTreeMap<String, Arc<dyn Issuer>> = BTreeMap::from([("ca".into(), ca.clone() as _)]);
        Self {
            inventory: Inventory::new(store.clone()),
            store,
            clock,
            ca,
            dns: Arc::default(),
            desired: watch::Sender::new(Arc::from([])),
            limits: Limits::default(),
            issuers: Arc::new(ArcSwap::from_pointee(issuers)),
        }
    }

    /// From now on `issuer` signs.
    pub(crate) fn sign_by(&self, issuer: Arc<dyn Issuer>) {
        self.issuers
            .store(Arc::new(BTreeMap::from([("ca".into(), issuer)])));
    }

    /// Another CA, for whoever names it.
    pub(crate) fn second_ca(&self, name: &str) -> Arc<ScriptedCa> {
        let ca = Arc::new(ScriptedCa::new(
            self.clock.clone(),
            self.store.clone(),
            self.ca.lifetime,
        ));
        let mut issuers = BTreeMap::clone(&self.issuers.load());
        issuers.insert(name.to_owned(), ca.clone() as _);
        self.issuers.store(Arc::new(issuers));
        ca
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Adds certificates to what is desired.
    pub(crate) fn desire(&self, more: impl IntoIterator<Item = DesiredCertificate>) {
        let all = self.desired.borrow().iter().cloned().chain(more).collect();
        self.desired.send_replace(all);
    }

    /// A gateway over this world; the same store serves as many as are started.
    pub(crate) fn start(&self) -> Running {
        let renewal = Renewal::with_limits(
            Inventory::new(self.store.clone()),
            self.desired.subscribe(),
            self.issuers.clone(),
            self.dns.clone(),
            Arc::new(self.clock.clone()),
            SEED,
            self.limits,
        );
        let (stop, stopped) = oneshot::channel();
        let health = renewal.health();
        let task = tokio::spawn(renewal.run(async { drop(stopped.await) }));
        Running { health, stop, task }
    }

    /// Waits until the record of `name` is as `expected`.
    pub(crate) async fn wait_for(
        &self,
        name: &str,
        expected: impl Fn(&CertificateRecord) -> bool,
    ) -> CertificateRecord {
        let name = CertificateName::parse(name).unwrap();
        let mut hints = self.inventory.hints();
        let mut last = None;
        let wait = async {
            loop {
                if let Some(record) = self.inventory.certificate(&name).await.unwrap() {
                    if expected(&record.value) {
                        return record.value;
                    }
                    last = Some(record.value);
                }
                hints.changed().await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(record) => record,
            Err(_) => panic!("{name} is not as expected but {last:#?}"),
        }
    }

    pub(crate) async fn wait_until_valid(&self, name: &str) -> CertificateRecord {
        self.wait_for(name, |record| record.state == CertificateState::Valid)
            .await
    }

    /// Proves that the loop has looked at everything since the clock was last set: it has obtained something that is
    /// wanted only since then.
    pub(crate) async fn wait_until_looked(&self, probe: &str) {
        self.desire([certificate(probe)]);
        self.wait_until_valid(probe).await;
    }

    pub(crate) async fn record(&self, name: &str) -> Option<CertificateRecord> {
        let name = CertificateName::parse(name).unwrap();
        Some(self.inventory.certificate(&name).await.unwrap()?.value)
    }

    /// As `certgate cert renew` does it.
    pub(crate) async fn request(&self, name: &str) {
        let name = CertificateName::parse(name).unwrap();
        assert!(self.inventory.request_renewal(&name).await.unwrap());
    }
}

impl Running {
    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap();
    }
}

pub(crate) fn certificate(name: &str) -> DesiredCertificate {
    DesiredCertificate {
        name: CertificateName::parse(name).unwrap(),
        domains: vec![NamePattern::parse(&format!("{name}.example")).unwrap()],
        issuers: vec!["ca".into()],
        key_type: KeyType::EcdsaP256,
        reuse_key: false,
        tags: BTreeMap::new(),
        spare_of: None,
    }
}

/// What the CA does with an order.
#[derive(Clone, Debug)]
pub(crate) enum Script {
    Sign,
    SignExpired,
    SignFor(&'static str),
    SignRsa,
    SignTheSameAgain,
    Fail(FailureClass),
    Hang,
    Panic,
    /// Somebody else gets the lease before it signs.
    LoseLease,
}

/// A CA that does as it is told, and counts.
pub(crate) struct ScriptedCa {
    clock: ManualClock,
    store: Arc<FlakyStore>,
    lifetime: Duration,
    issuer: rcgen::Issuer<'static, KeyPair>,
    scripts: Mutex<HashMap<String, Script>>,
    orders: watch::Sender<Vec<(String, Timestamp)>>,
    ledger: Mutex<Option<Ledger>>,
    signed: Mutex<HashMap<String, CredentialPem>>,
}

impl ScriptedCa {
    fn new(clock: ManualClock, store: Arc<FlakyStore>, lifetime: Duration) -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self {
            clock,
            store,
            lifetime,
            issuer: rcgen::Issuer::new(params, KeyPair::generate().unwrap()),
            scripts: Mutex::default(),
            orders: watch::Sender::default(),
            ledger: Mutex::default(),
            signed: Mutex::default(),
        }
    }

    /// From now on does `script` for the certificate `name`.
    pub(crate) fn script(&self, name: &str, script: Script) {
        self.scripts.lock().unwrap().insert(name.into(), script);
    }

    /// From now on counts by these limits, and refuses nothing.
    pub(crate) fn limit(&self, rules: RateLimits) {
        *self.ledger.lock().unwrap() = Some(Ledger::new(rules));
    }

    /// When `name` was ordered.
    pub(crate) fn orders(&self, name: &str) -> Vec<Timestamp> {
        let orders = self.orders.borrow();
        orders
            .iter()
            .filter(|order| order.0 == name)
            .map(|order| order.1)
            .collect()
    }

    pub(crate) fn all_orders(&self) -> usize {
        self.orders.borrow().len()
    }

    /// Waits until `count` orders were placed.
    pub(crate) async fn wait_for_orders(&self, count: usize) {
        let mut orders = self.orders.subscribe();
        let wait = orders.wait_for(|orders| orders.len() >= count);
        tokio::time::timeout(PATIENCE, wait).await.unwrap().unwrap();
    }

    fn sign(&self, domains: &[String], key_type: KeyType, shift: Duration) -> CredentialPem {
        let mut params = CertificateParams::new(domains).unwrap();
        let at = |time: Timestamp| OffsetDateTime::from_unix_timestamp(time.unix_seconds()).unwrap();
        let now = self.clock.now() - shift;
        params.not_before = at(now - HOUR);
        params.not_after = at(now + self.lifetime);
        let key = PrivateKey::generate(key_type).unwrap();
        let certificate = params
            .signed_by(&key.to_key_pair().unwrap(), &self.issuer)
            .unwrap();
        CredentialPem::new(vec![certificate.der().clone()], &key)
    }
}

#[async_trait]
impl Issuer for ScriptedCa {
    fn name(&self) -> &str {
        "ca"
    }

    async fn ledger(&self) -> Result<Option<Ledger>, IssueError> {
        Ok(self.ledger.lock().unwrap().clone())
    }

    async fn issue(&self, request: &IssueRequest<'_>) -> Result<CredentialPem, IssueError> {
        let name = request.desired.name.as_str().to_owned();
        self.orders
            .send_modify(|orders| orders.push((name.clone(), self.clock.now())));
        if let Some(ledger) = self.ledger.lock().unwrap().as_mut() {
            let needs = ledger::needs(&request.desired.domains, OrderKind::New);
            ledger.take(&needs, self.clock.now());
        }
        request.progress.step(&request.desired.name, Step::PlacingOrder);
        let script = self
            .scripts
            .lock()
            .unwrap()
            .get(&name)
            .cloned()
            .unwrap_or(Script::Sign);
        let domains: Vec<_> = request.desired.domains.iter().map(ToString::to_string).collect();
        let no_shift = Duration::ZERO;
        let pem = match script {
            Script::Sign => self.sign(&domains, request.desired.key_type, no_shift),
            Script::SignExpired => self.sign(&domains, request.desired.key_type, self.lifetime + MINUTE),
            Script::SignFor(other) => self.sign(&[other.to_owned()], request.desired.key_type, no_shift),
            Script::SignRsa => self.sign(&domains, KeyType::Rsa2048, no_shift),
            Script::SignTheSameAgain => self.signed.lock().unwrap()[&name].clone(),
            Script::Fail(class) => return Err(failure(class)),
            Script::Hang => std::future::pending().await,
            Script::Panic => panic!("as the script says"),
            Script::LoseLease => {
                self.store.release(request.lease.clone()).await.unwrap();
                let other = self.store.acquire(request.lease.name(), "other", MINUTE).await;
                assert!(other.unwrap().is_some());
                self.sign(&domains, request.desired.key_type, no_shift)
            }
        };
        self.signed.lock().unwrap().insert(name, pem.clone());
        Ok(pem)
    }
}

fn failure(class: FailureClass) -> IssueError {
    match class {
        FailureClass::At(at) => IssueError::Refused {
            doing: "place the order",
            status: 429,
            problem: None,
            excerpt: "slow down".into(),
            retry_after: Some(at),
            page: None,
        },
        FailureClass::Later => IssueError::Unreachable {
            doing: "place the order",
            url: "https://ca.example/".into(),
            reason: "connection refused".into(),
        },
        FailureClass::Stop => IssueError::Trust {
            file: None,
            reason: "no such file".into(),
        },
    }
}

/// DNS leads here, but for names that are said to lead elsewhere; `www at ca`: as far as that issuer goes; `www waits at ca`:
/// until that is over.
#[derive(Default)]
pub(crate) struct ScriptedDns(Mutex<Vec<String>>);

impl ScriptedDns {
    pub(crate) fn lead_elsewhere(&self, names: &[&str]) {
        *self.0.lock().unwrap() = names.iter().map(|name| (*name).to_owned()).collect();
    }
}

#[async_trait]
impl DnsGate for ScriptedDns {
    async fn check(&self, desired: &DesiredCertificate, candidates: &Candidates) -> DnsVerdict {
        let against = self.0.lock().unwrap();
        let is_said = |of_issuer: String| against.contains(&of_issuer);
        let waits = |issuer: &String| is_said(format!("{} waits at {issuer}", desired.name));
        let is_against = |issuer: &String| {
            is_said(desired.name.to_string())
                || is_said(format!("{} at {issuer}", desired.name))
                || waits(issuer)
        };
        let issuers = candidates.issuers.iter();
        let mut looked_at = issuers.scan(true, |goes_on, issuer| {
            let is_looked_at = *goes_on;
            *goes_on = candidates.is_waiting_over || !waits(issuer);
            is_looked_at.then_some(issuer)
        });
        match looked_at.find(|issuer| !is_against(issuer)) {
            None => DnsVerdict::No(Refusal {
                reason: "it leads elsewhere".into(),
                remedy: vec![format!("{}. IN A 203.0.113.10", desired.domains[0])],
                until: None,
                is_definite: !candidates.issuers.iter().any(waits),
            }),
            Some(issuer) => DnsVerdict::Go {
                issuer: issuer.clone(),
                challenges: Default::default(),
            },
        }
    }
}

/// A store that fails while it is told to.
#[derive(Default)]
pub(crate) struct FlakyStore {
    pub(crate) inner: MemoryStore,
    reads_fail: AtomicBool,
    writes_fail: AtomicBool,
}

impl FlakyStore {
    pub(crate) fn fail_reads(&self, fail: bool) {
        self.reads_fail.store(fail, Ordering::SeqCst);
    }

    pub(crate) fn fail_writes(&self, fail: bool) {
        self.writes_fail.store(fail, Ordering::SeqCst);
    }

    fn check(flag: &AtomicBool) -> Result<(), StoreError> {
        match flag.load(Ordering::SeqCst) {
            true => Err(StoreError::Closed),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Store for FlakyStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        Self::check(&self.reads_fail)?;
        self.inner.get(key).await
    }
    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        Self::check(&self.reads_fail)?;
        self.inner.list(prefix).await
    }
    async fn page(&self, prefix: &str, after: &str, limit: usize) -> Result<Listing, StoreError> {
        Self::check(&self.reads_fail)?;
        self.inner.page(prefix, after, limit).await
    }
    async fn commit(&self, batch: Batch) -> Result<Revision, StoreError> {
        Self::check(&self.writes_fail)?;
        self.inner.commit(batch).await
    }
    async fn checkpoint(&self) -> Result<(), StoreError> {
        self.inner.checkpoint().await
    }

    fn hints(&self) -> Hints {
        self.inner.hints()
    }
    async fn acquire(&self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        self.inner.acquire(name, holder, ttl).await
    }
    async fn keep(&self, lease: &Lease) -> Result<(), StoreError> {
        self.inner.keep(lease).await
    }
    async fn release(&self, lease: Lease) -> Result<(), StoreError> {
        self.inner.release(lease).await
    }
    async fn revision(&self) -> Result<Revision, StoreError> {
        self.inner.revision().await
    }
}
