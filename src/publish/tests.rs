mod cold;

mod spares;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use certgate_store::{Batch, Entry, Expect, Hints, Lease, Listing, MemoryStore, Revision, Store, StoreError};
use rcgen::CertificateParams;
use time::OffsetDateTime;
use tokio::sync::oneshot;

use crate::certificate::{CertificateName, Credential, CredentialPem, KeyType, PrivateKey};
use crate::clock::{Clock, ManualClock, Timestamp};
use crate::config::ChallengeType;
use crate::http::TokenTable;
use crate::inventory::{CertificateRecord, Inventory, Source};
use crate::issuer::{Challenge, ChallengeSolver};
use crate::name::DnsName;
use crate::publish::{PublishedChallenges, Publisher};
use crate::tls::{ChallengeTable, PublishedCertificates};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// Counts reads, and fails them when told to.
#[derive(Default)]
struct WatchedStore {
    inner: MemoryStore,
    reads: AtomicUsize,
    fails: AtomicBool,
}

impl WatchedStore {
    fn read(&self) -> Result<(), StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        match self.fails.load(Ordering::SeqCst) {
            true => Err(StoreError::Closed),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Store for WatchedStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.read()?;
        // As one that reads from a disk does.
        tokio::task::yield_now().await;
        self.inner.get(key).await
    }
    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        self.read()?;
        self.inner.list(prefix).await
    }
    async fn page(&self, prefix: &str, after: &str, limit: usize) -> Result<Listing, StoreError> {
        self.read()?;
        self.inner.page(prefix, after, limit).await
    }
    async fn commit(&self, batch: Batch) -> Result<Revision, StoreError> {
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

struct World {
    store: Arc<WatchedStore>,
    inventory: Inventory,
    published: Arc<PublishedCertificates>,
    clock: ManualClock,
}

impl World {
    fn new() -> Self {
        let store = Arc::new(WatchedStore::default());
        Self {
            inventory: Inventory::new(store.clone()),
            store,
            published: Arc::new(PublishedCertificates::cold()),
            clock: ManualClock::new(Timestamp::from_unix_seconds(1_795_219_200)),
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A publisher that has started, as another process over the same store.
    async fn start(&self) -> Publisher {
        let inventory = self.inventory.clone();
        let mut publisher = Publisher::new(
            inventory,
            self.published.clone(),
            Arc::new(crate::metrics::Metrics::new()),
            Arc::new(self.clock.clone()),
            64 << 20,
        );
        publisher.start([]).await.unwrap();
        publisher.catch_up().await.unwrap();
        publisher
    }

    /// Stores a certificate for `name`.example that is valid for a day; returns its fingerprint.
    async fn store(&self, name: &str) -> String {
        self.put(name, &self.sign(name, self.now() + DAY)).await
    }

    async fn put(&self, name: &str, pem: &CredentialPem) -> String {
        let credential = Credential::from_pem(pem).unwrap();
        let name = CertificateName::parse(name).unwrap();
        let import = self
            .inventory
            .import(&name, Source::Imported, pem, &credential, self.now());
        assert!(import.await.unwrap());
        credential.leaf().fingerprint.clone()
    }

    fn sign(&self, name: &str, not_after: Timestamp) -> CredentialPem {
        self.sign_for(&[&format!("{name}.example")], not_after)
    }

    fn sign_for(&self, names: &[&str], not_after: Timestamp) -> CredentialPem {
        let at = |time: Timestamp| OffsetDateTime::from_unix_timestamp(time.unix_seconds()).unwrap();
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.not_before = at(not_after - 2 * DAY);
        params.not_after = at(not_after);
        let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        let certificate = params.self_signed(&key.to_key_pair().unwrap()).unwrap();
        CredentialPem::new(vec![certificate.der().clone()], &key)
    }

    async fn overwrite(&self, key: &str, value: &[u8]) {
        self.store
            .commit(Batch::new().put(key, value, Expect::Any))
            .await
            .unwrap();
    }

    /// The fingerprint of what is served as `name`.
    fn served(&self, name: &str) -> Option<String> {
        let name = CertificateName::parse(name).unwrap();
        let table = self.published.load();
        table
            .get(&name)
            .next()
            .map(|credential| credential.leaf().fingerprint.clone())
    }
}

impl Publisher {
    /// Publishes all that is stale.
    async fn catch_up(&mut self) -> Result<(), crate::inventory::InventoryError> {
        self.take_stale().await?;
        while self.is_sweeping() {
            self.step().await?;
        }
        Ok(())
    }

    /// One turn of the loop: waits for a hint and follows it.
    async fn follow(&mut self) {
        let hint = self.hints.changed().await;
        self.stale.add_hint(&hint);
        self.catch_up().await.unwrap();
    }

    fn problem(&self, name: &str) -> Option<String> {
        let problems = self.problems.borrow();
        let problem = problems
            .certificates
            .get(&CertificateName::parse(name).unwrap())?;
        Some(problem.reason.clone())
    }
}

#[tokio::test]
async fn at_the_start_everything_is_published_and_a_change_reads_only_what_changed() {
    let world = World::new();
    for n in 0..100 {
        world.store(&format!("c{n}")).await;
    }
    let mut publisher = world.start().await;
    assert_eq!(world.published.load().len(), 100);

    let renewed = world.store("c7").await;
    let before = world.store.reads.load(Ordering::SeqCst);
    publisher.follow().await;
    assert_eq!(world.served("c7"), Some(renewed));
    let reads = world.store.reads.load(Ordering::SeqCst) - before;
    assert!(reads <= 4, "{reads} reads for one certificate");
}

#[tokio::test]
async fn the_loop_publishes_what_is_stored_while_it_runs() {
    let world = World::new();
    let publisher = world.start().await;
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(publisher.run(async { drop(stopped.await) }));
    let fingerprint = world.store("www").await;
    let wait = async {
        while world.served("www").as_ref() != Some(&fingerprint) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap();
    stop.send(()).unwrap();
    task.await.unwrap();
}

#[tokio::test]
async fn a_damaged_record_or_credential_keeps_its_predecessor_and_says_so() {
    for key in ["certificates/www", "credentials/www"] {
        let world = World::new();
        let first = world.store("www").await;
        let mut publisher = world.start().await;
        let whole = world.store.get(key).await.unwrap().unwrap().value;
        for end in (0..whole.len() - 1).step_by(13) {
            world.overwrite(key, &whole[..end]).await;
            publisher.follow().await;
            assert_eq!(world.served("www"), Some(first.clone()), "{key} cut at {end}");
            let problem = publisher.problem("www").unwrap();
            assert!(problem.contains("goes on being served"), "{problem}");
        }
        world.overwrite(key, &whole).await;
        publisher.follow().await;
        assert_eq!(publisher.problem("www"), None);
    }
}

#[tokio::test]
async fn at_the_start_a_damaged_record_does_not_keep_a_sound_credential_from_being_served() {
    let world = World::new();
    let (first, other) = (world.store("www").await, world.store("shop").await);
    world.overwrite("certificates/www", b"{").await;
    world.overwrite("credentials/shop", b"").await;
    let publisher = world.start().await;
    assert_eq!(world.served("www"), Some(first));
    assert!(publisher.problem("www").unwrap().contains("sound, and served"));
    assert_ne!(world.served("shop"), Some(other));
    assert!(
        publisher
            .problem("shop")
            .unwrap()
            .contains("nothing is served for it")
    );
}

#[tokio::test]
async fn a_key_or_a_chain_that_does_not_belong_never_replaces_what_is_served() {
    let world = World::new();
    let first = world.store("www").await;
    let mut publisher = world.start().await;

    let (one, two) = (
        world.sign("www", world.now() + DAY),
        world.sign("www", world.now() + DAY),
    );
    let key = two.to_pem();
    let (_, key) = key.split_once("-----BEGIN PRIVATE").unwrap();
    let mixed = format!("{}-----BEGIN PRIVATE{key}", one.chain_to_pem());
    world.overwrite("credentials/www", mixed.as_bytes()).await;
    publisher.follow().await;
    assert_eq!(world.served("www"), Some(first.clone()));
    assert!(
        publisher
            .problem("www")
            .unwrap()
            .contains("does not belong to the certificate")
    );

    // Whole in itself, but not what the record says is there.
    world.overwrite("credentials/www", two.to_pem().as_bytes()).await;
    publisher.follow().await;
    assert_eq!(world.served("www"), Some(first));
    assert!(
        publisher
            .problem("www")
            .unwrap()
            .contains("but the chain is that of")
    );
}

#[tokio::test]
async fn one_that_is_not_valid_now_never_replaces_one_that_is() {
    let world = World::new();
    let first = world.store("www").await;
    let mut publisher = world.start().await;
    for not_after in [world.now() - HOUR, world.now() + 30 * DAY] {
        world.put("www", &world.sign("www", not_after)).await;
        publisher.follow().await;
        assert_eq!(world.served("www"), Some(first.clone()));
        assert!(publisher.problem("www").unwrap().contains("not valid now"));
    }
    // The second of them becomes valid; the look at everything finds it.
    world.clock.advance(28 * DAY + HOUR);
    publisher.stale = crate::inventory::Stale::Everything;
    publisher.catch_up().await.unwrap();
    assert_ne!(world.served("www"), Some(first));
    assert_eq!(publisher.problem("www"), None);
}

#[tokio::test]
async fn an_expired_certificate_is_served_while_there_is_no_better_one_and_this_is_said() {
    let world = World::new();
    let expired = world.put("www", &world.sign("www", world.now() - HOUR)).await;
    let mut publisher = world.start().await;
    assert_eq!(world.served("www"), Some(expired));
    assert!(
        publisher
            .problem("www")
            .unwrap()
            .contains("for want of a better one")
    );
    let valid = world.store("www").await;
    publisher.follow().await;
    assert_eq!(world.served("www"), Some(valid));
    assert_eq!(publisher.problem("www"), None);
}

#[tokio::test]
async fn what_is_removed_is_withdrawn_and_what_only_waits_is_not_published() {
    let world = World::new();
    world.store("www").await;
    let mut publisher = world.start().await;
    let name = CertificateName::parse("www").unwrap();
    world.inventory.remove_certificate(&name).await.unwrap();
    publisher.follow().await;
    assert_eq!(world.served("www"), None);

    let wanted = CertificateRecord::wanted(name);
    world
        .inventory
        .save_certificate(&wanted, Expect::Absent, None)
        .await
        .unwrap();
    publisher.follow().await;
    assert!(world.published.load().is_empty());
    assert_eq!(publisher.problem("www"), None);
}

#[tokio::test]
async fn a_commit_too_large_for_hints_is_followed_by_a_look_at_everything() {
    let (world, other) = (World::new(), World::new());
    world.store("gone").await;
    let mut publisher = world.start().await;
    let mut expected = BTreeSet::new();
    for n in 0..50 {
        expected.insert(other.store(&format!("c{n}")).await);
    }
    let mut batch = Batch::new();
    for entry in other.store.list("").await.unwrap().entries {
        batch = batch.put(entry.key, entry.value, Expect::Absent);
    }
    for key in ["certificates/gone", "credentials/gone"] {
        batch = batch.delete(key, Expect::Any);
    }
    world.store.commit(batch).await.unwrap();
    publisher.follow().await;
    let served: BTreeSet<_> = (0..50).filter_map(|n| world.served(&format!("c{n}"))).collect();
    assert_eq!(served, expected);
    assert_eq!(world.served("gone"), None);
}

#[tokio::test]
async fn while_the_store_fails_everything_goes_on_being_served_and_no_change_is_forgotten() {
    let world = World::new();
    let first = world.store("www").await;
    let mut publisher = world.start().await;
    let second = world.store("www").await;
    world.store.fails.store(true, Ordering::SeqCst);
    let hint = publisher.hints.changed().await;
    publisher.stale.add_hint(&hint);
    assert!(publisher.catch_up().await.is_err());
    assert_eq!(world.served("www"), Some(first));
    assert!(publisher.problems.borrow().store.is_some());

    world.store.fails.store(false, Ordering::SeqCst);
    publisher.catch_up().await.unwrap();
    assert_eq!(world.served("www"), Some(second));
    assert_eq!(publisher.problems.borrow().store, None);
}

#[tokio::test]
async fn two_challenges_for_one_name_answer_one_after_the_other() {
    let tokens = Arc::new(TokenTable::new());
    let solver = Arc::new(PublishedChallenges::new(
        Arc::new(ChallengeTable::new()),
        tokens.clone(),
    ));
    let challenge = |kind, token: &str| Challenge {
        domain: DnsName::parse("a.example").unwrap(),
        kind,
        token: token.into(),
        key_authorization: format!("{token}.thumbprint"),
        digest: [7; 32],
    };
    let http = challenge(ChallengeType::Http01, "t");
    solver.present(&http).await.unwrap();
    assert_eq!(tokens.answer("t").as_deref(), Some("t.thumbprint"));
    solver.clear(&http).await;
    assert_eq!(tokens.answer("t"), None);

    let (one, two) = (
        challenge(ChallengeType::TlsAlpn01, "one"),
        challenge(ChallengeType::TlsAlpn01, "two"),
    );
    solver.present(&one).await.unwrap();
    solver.present(&one).await.unwrap();
    let waiting = tokio::spawn({
        let (solver, two) = (solver.clone(), two.clone());
        async move { solver.present(&two).await }
    });
    tokio::task::yield_now().await;
    // Clearing what was never put in place takes nothing away from the other.
    solver.clear(&two).await;
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    solver.clear(&one).await;
    tokio::time::timeout(Duration::from_secs(10), waiting)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}
