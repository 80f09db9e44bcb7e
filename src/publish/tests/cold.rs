//! What is not in memory is served all the same, and no differently.

use rustls::{CipherSuite, SignatureScheme};

use super::*;
use crate::config::{CertificateSelector, UnknownSni};
use crate::tls::{Choice, ClientOffer, Lookup, Selection, select};

/// Enough for one certificate.
const TINY: usize = 5_000;

impl World {
    fn publisher(&self, published: &Arc<PublishedCertificates>, cache: usize) -> Publisher {
        let metrics = Arc::new(crate::metrics::Metrics::new());
        let clock = Arc::new(self.clock.clone());
        Publisher::new(self.inventory.clone(), published.clone(), metrics, clock, cache)
    }
}

/// A gateway over the store of a world.
struct Node {
    published: Arc<PublishedCertificates>,
    publisher: Publisher,
}

impl Node {
    fn new(world: &World, cache: usize) -> Self {
        let published = Arc::new(PublishedCertificates::cold());
        let publisher = world.publisher(&published, cache);
        Self { published, publisher }
    }

    /// What a client that asks for `name` is served, after the lookups that this takes.
    async fn answer(&mut self, selection: &Selection, name: &str) -> String {
        let offer = ClientOffer {
            server_name: Some(name),
            signature_schemes: &[SignatureScheme::ECDSA_NISTP256_SHA256],
            cipher_suites: &[CipherSuite::TLS13_AES_128_GCM_SHA256],
            named_groups: None,
        };
        let mut before = None;
        loop {
            let lookup = match select(&self.published.load(), selection, &offer) {
                Choice::Certificate { candidate, by, .. } => {
                    let fingerprint = &candidate.credential().leaf().fingerprint;
                    return format!("{} {fingerprint} {by:?}", candidate.certificate());
                }
                Choice::Missing(lookup) if before.as_ref() == Some(&lookup) => {
                    return "nothing yet".to_owned();
                }
                Choice::Missing(lookup) => lookup,
                Choice::NothingYet => return "nothing yet".to_owned(),
                Choice::OnDemand => return "on demand".to_owned(),
                Choice::UnknownName => return "unknown name".to_owned(),
            };
            self.publisher.look_up(&lookup).await.unwrap();
            before = Some(lookup);
        }
    }

    async fn follow(&mut self) {
        self.publisher.follow().await;
    }
}

/// Small and repeatable.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }
}

#[tokio::test]
async fn a_cache_of_any_size_serves_what_everything_in_memory_would() {
    let entries = ["a", "b", "dir/c", "dir/d", "e"];
    let asked = [
        "www.example",
        "x.example",
        "example",
        "y.x.example",
        "other.test",
        "not a name",
        "",
    ];
    let selector = |text: &str| match text {
        "*" => CertificateSelector::All,
        "dir/" => CertificateSelector::Directory(text.to_owned()),
        name => CertificateSelector::Named(CertificateName::parse(name).unwrap()),
    };
    let selections = [
        (&["*"][..], UnknownSni::Default),
        (&["dir/", "a"], UnknownSni::Default),
        (&["e", "b"], UnknownSni::Refuse),
    ]
    .map(|(texts, unknown)| {
        Selection::new(
            &texts.iter().map(|text| selector(text)).collect::<Vec<_>>(),
            unknown,
        )
    });
    let world = World::new();
    let names: [&[&str]; 5] = [
        &["www.example"],
        &["*.example"],
        &["www.example", "*.example"],
        &["example", "*.x.example"],
        &["x.example", "other.test"],
    ];
    let mut pems = Vec::new();
    for names in names {
        for days in 1..3 {
            pems.push(world.sign_for(names, world.now() + days * DAY));
        }
    }
    for seed in 1..12 {
        let world = World::new();
        let mut dice = Dice(seed * 0x9e37_79b9);
        for entry in entries {
            world.put(entry, &pems[dice.below(pems.len())]).await;
        }
        let mut whole = Node::new(&world, 64 << 20);
        whole.publisher.catch_up().await.unwrap();
        assert!(whole.published.load().is_whole());
        let mut others = [
            Node::new(&world, 1),
            Node::new(&world, TINY),
            Node::new(&world, 4 * TINY),
        ];
        for _ in 0..60 {
            match dice.below(8) {
                0 => {
                    let (entry, pem) = (entries[dice.below(entries.len())], &pems[dice.below(pems.len())]);
                    let credential = Credential::from_pem(pem).unwrap();
                    let name = CertificateName::parse(entry).unwrap();
                    let now = world.now();
                    let import = world
                        .inventory
                        .import(&name, Source::Imported, pem, &credential, now);
                    if !import.await.unwrap() {
                        continue;
                    }
                }
                1 => {
                    let name = CertificateName::parse(entries[dice.below(entries.len())]).unwrap();
                    world.inventory.remove_certificate(&name).await.unwrap();
                }
                2 => {
                    let sweeping = dice.below(3);
                    others[sweeping].publisher.catch_up().await.unwrap();
                    continue;
                }
                _ => {
                    let (name, selection) = (asked[dice.below(asked.len())], &selections[dice.below(3)]);
                    let expected = whole.answer(selection, name).await;
                    for other in &mut others {
                        assert_eq!(
                            other.answer(selection, name).await,
                            expected,
                            "{name}, seed {seed}"
                        );
                    }
                    continue;
                }
            }
            whole.follow().await;
            for other in &mut others {
                other.follow().await;
            }
        }
    }
}

#[tokio::test]
async fn memory_is_bounded_and_what_is_used_stays() {
    let world = World::new();
    for n in 0..40 {
        world.store(&format!("c{n:02}")).await;
    }
    let mut node = Node::new(&world, 10 * TINY);
    let all = Selection::new(&[CertificateSelector::All], UnknownSni::Refuse);
    assert!(!node.published.load().knows_all_names());
    node.publisher.catch_up().await.unwrap();
    assert!(!node.published.load().is_whole() && node.published.load().knows_all_names());
    for n in 0..40 {
        assert!(node.answer(&all, "c07.example").await.starts_with("c07 "));
        assert!(
            node.answer(&all, &format!("c{n:02}.example"))
                .await
                .starts_with("c")
        );
        let loaded = node.published.load().len();
        assert!((5..=15).contains(&loaded), "{loaded} loaded");
    }
    let before = world.store.reads.load(Ordering::SeqCst);
    assert!(node.answer(&all, "c07.example").await.starts_with("c07 "));
    assert_eq!(world.store.reads.load(Ordering::SeqCst), before, "it has stayed");
}

#[tokio::test]
async fn once_the_names_are_known_an_unknown_one_costs_no_read() {
    let world = World::new();
    for n in 0..40 {
        world.store(&format!("c{n}")).await;
    }
    let mut node = Node::new(&world, TINY);
    let all = Selection::new(&[CertificateSelector::All], UnknownSni::Refuse);
    assert_eq!(node.answer(&all, "nobody.example").await, "unknown name");
    node.publisher.catch_up().await.unwrap();
    let before = world.store.reads.load(Ordering::SeqCst);
    for n in 0..100 {
        assert_eq!(node.answer(&all, &format!("n{n}.example")).await, "unknown name");
    }
    assert_eq!(world.store.reads.load(Ordering::SeqCst), before);
    // Unless it comes to be known.
    world.store("n7").await;
    node.follow().await;
    assert!(node.answer(&all, "n7.example").await.starts_with("n7 "));
}

#[tokio::test]
async fn a_handshake_learns_whether_its_lookup_could_be_done() {
    let world = World::new();
    let fingerprint = world.store("www").await;
    let node = Node::new(&world, TINY);
    let published = node.published.clone();
    world.store.fails.store(true, Ordering::SeqCst);
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(node.publisher.run(async { drop(stopped.await) }));
    let www = || Lookup::Name("www.example".into());
    assert!(!published.look_up(www()).await, "the store fails");
    world.store.fails.store(false, Ordering::SeqCst);
    assert!(published.look_up(www()).await);
    let name = CertificateName::parse("www").unwrap();
    let served = published
        .load()
        .get(&name)
        .next()
        .map(|found| found.leaf().fingerprint.clone());
    assert_eq!(served, Some(fingerprint));
    stop.send(()).unwrap();
    task.await.unwrap();
    assert!(!published.look_up(www()).await, "nobody publishes any more");
}

#[tokio::test]
async fn a_look_at_everything_comes_to_its_end_while_large_commits_go_on() {
    let world = World::new();
    let pem = world.sign("www", world.now() + DAY);
    // More than are read at once.
    for n in 0..300 {
        world.put(&format!("c{n:03}"), &pem).await;
    }
    let mut node = Node::new(&world, 64 << 20);
    for _ in 0..100 {
        let many = (0..100).fold(Batch::new(), |batch, n| {
            batch.put(format!("x/{n}"), Vec::new(), Expect::Any)
        });
        world.store.commit(many).await.unwrap();
        let hint = node.publisher.hints.changed().await;
        node.publisher.stale.add_hint(&hint);
        node.publisher.take_stale().await.unwrap();
        node.publisher.step().await.unwrap();
    }
    let last = CertificateName::parse("c299").unwrap();
    assert!(node.published.load().get(&last).next().is_some());
}

#[tokio::test]
async fn a_change_is_published_before_the_handshakes_that_wait_for_other_names() {
    const HANDSHAKES: usize = 1000;
    let world = World::new();
    for n in 0..40 {
        world.store(&format!("c{n}")).await;
    }
    world.store("www").await;
    let mut node = Node::new(&world, TINY);
    node.publisher.catch_up().await.unwrap();
    let www = CertificateName::parse("www").unwrap();
    node.publisher.look_up(&Lookup::Entry(www.clone())).await.unwrap();
    let published = node.published.clone();
    for n in 0..HANDSHAKES {
        let (published, name) = (published.clone(), format!("c{}.example", n % 40));
        tokio::spawn(async move { published.look_up(Lookup::Name(name.into())).await });
    }
    tokio::task::yield_now().await;
    let renewed = world.sign("www", world.now() + DAY + HOUR);
    let renewed = world.put("www", &renewed).await;
    let before = world.store.reads.load(Ordering::SeqCst);
    let is_served = async {
        let fingerprint = |table: &crate::tls::CertificateTable| {
            let served = table.get(&www).next();
            served.map(|served| served.leaf().fingerprint.clone())
        };
        while fingerprint(&published.load()).as_ref() != Some(&renewed) {
            tokio::task::yield_now().await;
        }
        world.store.reads.load(Ordering::SeqCst) - before
    };
    let reads = tokio::select! {
        biased;
        () = node.publisher.run(std::future::pending()) => unreachable!("it is not stopped"),
        reads = is_served => reads,
    };
    assert!(
        reads < 10,
        "{reads} reads: others had their turn before the change"
    );
}

/// The pause after it grows with its time: counted from the last look by the clock, it would grow to days.
#[tokio::test]
async fn the_time_of_a_look_at_everything_that_a_commit_asked_for_counts_from_its_own_beginning() {
    let world = World::new();
    world.store("www").await;
    let mut node = Node::new(&world, 64 << 20);
    node.publisher.catch_up().await.unwrap();
    node.publisher.sweeping_since -= Duration::from_secs(3_600);
    let many = (0..100).fold(Batch::new(), |batch, n| {
        batch.put(format!("x/{n}"), Vec::new(), Expect::Any)
    });
    let before = tokio::time::Instant::now();
    world.store.commit(many).await.unwrap();
    node.follow().await;
    assert!(node.publisher.sweeping_since >= before);
}
