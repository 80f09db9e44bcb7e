//! Certificates as files: only what fits is taken, and what was taken stays.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use certgate::certificate::{CertificateName, CredentialPem, KeyType, PrivateKey};
use certgate::clock::{Clock, ManualClock, Timestamp};
use certgate::config::CertificateFiles;
use certgate::inventory::{Inventory, Source};
use certgate::issuer::{FileProblem, FileSource};
use certgate_store::MemoryStore;

use crate::fixture::eventually;

const DAY: Duration = Duration::from_secs(86_400);

struct World {
    directory: tempfile::TempDir,
    clock: ManualClock,
    inventory: Inventory,
    files: Vec<CertificateFiles>,
}

impl World {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            clock: ManualClock::new(Timestamp::from_unix_seconds(1_795_219_200)),
            inventory: Inventory::new(Arc::new(MemoryStore::new())),
            files: Vec::new(),
        }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.path(file), text).unwrap();
    }

    fn source_with(&self, interval: Duration, directory: &Path) -> FileSource {
        let directories = BTreeMap::from([("sites".to_owned(), directory.to_owned())]);
        let clock = Arc::new(self.clock.clone());
        FileSource::new(&self.files, &directories, self.inventory.clone(), clock, interval)
    }

    fn source(&self) -> FileSource {
        self.source_with(Duration::from_secs(3600), self.directory.path())
    }

    async fn served(&self, name: &str) -> Option<CredentialPem> {
        self.inventory
            .credential(&CertificateName::parse(name).unwrap())
            .await
            .unwrap()
    }

    /// Chain and key for a name, valid for ten days from now plus `from`.
    fn pair(&self, domain: &str, from: Duration) -> (String, String) {
        let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        let mut params = rcgen::CertificateParams::new(vec![domain.to_owned()]).unwrap();
        let at = |moment: Timestamp| moment.to_offset_date_time().unwrap();
        params.not_before = at(self.clock.now() + from - DAY);
        params.not_after = at(self.clock.now() + from + 10 * DAY);
        let pair = key.to_key_pair().unwrap();
        (params.self_signed(&pair).unwrap().pem(), pair.serialize_pem())
    }

    fn whole(&self, domain: &str) -> String {
        let (chain, key) = self.pair(domain, Duration::ZERO);
        chain + &key
    }
}

fn problems(source: &FileSource) -> Vec<FileProblem> {
    source.problems().borrow().clone()
}

#[tokio::test]
async fn a_pem_and_a_crt_with_a_key_become_certificates_of_the_directory() {
    let mut world = World::new();
    world.write("shop.pem", &world.whole("shop.example"));
    let (chain, key) = world.pair("www.example", Duration::ZERO);
    world.write("www.crt", &chain);
    world.write("www.key", &key);
    world.write("bought.certificate", &world.whole("bought.example"));
    world.write("readme.txt", "not a certificate");
    world.write(".shop.pem.swp", "half");
    world.files.push(CertificateFiles {
        name: CertificateName::parse("bought").unwrap(),
        certificate_file: world.path("bought.certificate"),
        key_file: None,
        tags: Default::default(),
    });
    let mut source = world.source();
    source.look().await.unwrap();
    assert_eq!(problems(&source), []);
    let records = world
        .inventory
        .certificates_after("", None, 100)
        .await
        .unwrap()
        .records;
    let names: Vec<_> = records.iter().map(|record| record.value.name.as_str()).collect();
    assert_eq!(names, ["bought", "sites/shop", "sites/www"]);
    assert!(records.iter().all(|record| record.value.source == Source::Files));
}

#[tokio::test]
async fn a_half_written_pair_is_never_taken_and_said_once() {
    let world = World::new();
    let (old_chain, old_key) = world.pair("www.example", Duration::ZERO);
    world.write("www.crt", &old_chain);
    world.write("www.key", &old_key);
    let mut source = world.source();
    source.look().await.unwrap();
    let old = world.served("sites/www").await.unwrap();

    let (chain, key) = world.pair("www.example", Duration::ZERO);
    world.write("www.crt", &chain);
    source.look().await.unwrap();
    let found = problems(&source);
    assert_eq!(found.len(), 1);
    assert!(
        found[0].to_string().starts_with("certificate sites/www: "),
        "{}",
        found[0]
    );
    assert!(found[0].reason.contains("does not belong"), "{}", found[0]);
    let mut watched = source.problems();
    watched.mark_unchanged();
    source.look().await.unwrap();
    assert!(!watched.has_changed().unwrap());
    assert_eq!(world.served("sites/www").await.unwrap().chain(), old.chain());

    world.write("www.key", &key);
    source.look().await.unwrap();
    assert_eq!(problems(&source), []);
    assert_ne!(world.served("sites/www").await.unwrap().chain(), old.chain());
}

#[tokio::test]
async fn a_file_cut_at_any_line_replaces_nothing() {
    let world = World::new();
    world.write("www.pem", &world.whole("www.example"));
    let mut source = world.source();
    source.look().await.unwrap();
    let old = world.served("sites/www").await.unwrap();
    let text = world.whole("www.example");
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    for end in 0..lines.len() - 1 {
        world.write("www.pem", &lines[..end].concat());
        source.look().await.unwrap();
        assert_eq!(problems(&source).len(), 1, "{end} lines");
        assert_eq!(
            world.served("sites/www").await.unwrap().chain(),
            old.chain(),
            "{end} lines"
        );
    }
    world.write("www.pem", &text);
    source.look().await.unwrap();
    assert_ne!(world.served("sites/www").await.unwrap().chain(), old.chain());
}

#[tokio::test]
async fn what_cannot_be_a_certificate_is_told_by_its_file_and_disturbs_no_other() {
    let world = World::new();
    world.write("good.pem", &world.whole("good.example"));
    world.write("ein name.pem", &world.whole("a.example"));
    world.write("alone.crt", "x");
    world.write("lonely.key", "x");
    world.write("both.pem", "x");
    world.write("both.key", "x");
    world.write("garbage.pem", "\u{0}\u{1}garbage");
    world.write("big.pem", &"x".repeat(600 << 10));
    std::fs::create_dir(world.path("directory.pem")).unwrap();
    let (chain, key) = world.pair("old.example", Duration::ZERO);
    world.write("old.pem", &(chain + &key));
    world.write("rsa.pem", include_str!("../fixtures/pem/rsa-1024.pem"));
    world.clock.advance(11 * DAY);
    world.write("good.pem", &world.whole("good.example"));
    let mut source = world.source();
    source.look().await.unwrap();
    let found = problems(&source);
    let reason = |file: &str| {
        let problem = found.iter().find(|problem| problem.file == world.path(file));
        problem
            .unwrap_or_else(|| panic!("nothing about {file}"))
            .reason
            .clone()
    };
    for (file, expected) in [
        ("ein name.pem", "rename the file"),
        ("alone.crt", "there is no .key"),
        ("lonely.key", "there is no .crt"),
        ("both.pem", "of the same name"),
        ("garbage.pem", "there is no `-----BEGIN CERTIFICATE-----` block"),
        ("big.pem", "larger than"),
        ("directory.pem", "is not a file"),
        ("old.pem", "expired at"),
        ("rsa.pem", "1024 bits"),
    ] {
        assert!(reason(file).contains(expected), "{file}: {}", reason(file));
    }
    assert_eq!(found.len(), 9);
    let records = world
        .inventory
        .certificates_after("", None, 100)
        .await
        .unwrap()
        .records;
    assert_eq!(records.len(), 1);
}

#[tokio::test]
async fn a_certificate_that_is_not_valid_yet_is_taken_when_its_time_has_come() {
    let world = World::new();
    let (chain, key) = world.pair("www.example", 5 * DAY);
    world.write("www.pem", &(chain + &key));
    let mut source = world.source();
    source.look().await.unwrap();
    assert!(problems(&source)[0].reason.contains("not valid before"));
    assert!(world.served("sites/www").await.is_none());
    world.clock.advance(4 * DAY);
    source.look().await.unwrap();
    assert!(world.served("sites/www").await.is_some());
}

#[tokio::test]
async fn a_file_that_vanishes_is_served_until_the_configuration_is_applied_again() {
    let world = World::new();
    world.write("www.pem", &world.whole("www.example"));
    world.write("shop.pem", &world.whole("shop.example"));
    let mut source = world.source();
    source.look().await.unwrap();
    std::fs::remove_file(world.path("www.pem")).unwrap();
    for _ in 0..3 {
        source.look().await.unwrap();
        assert!(problems(&source)[0].reason.contains("the file is gone"));
        assert!(world.served("sites/www").await.is_some());
    }
    world.source().look().await.unwrap();
    assert!(world.served("sites/www").await.is_none());
    assert!(world.served("sites/shop").await.is_some());
}

#[tokio::test]
async fn a_directory_that_cannot_be_read_withdraws_nothing() {
    let world = World::new();
    world.write("www.pem", &world.whole("www.example"));
    world.source().look().await.unwrap();
    let mut source = world.source_with(DAY, &world.path("nowhere"));
    source.look().await.unwrap();
    assert!(problems(&source)[0].reason.contains("cannot be read"));
    assert!(world.served("sites/www").await.is_some());
}

#[tokio::test]
async fn one_damaged_record_holds_up_no_other_import() {
    let store = Arc::new(MemoryStore::new());
    let mut world = World::new();
    world.inventory = Inventory::new(store.clone());
    let damaged = certgate_store::Batch::new().put("certificates/sites/a", "{", certgate_store::Expect::Any);
    certgate_store::Store::commit(store.as_ref(), damaged)
        .await
        .unwrap();
    world.write("a.pem", &world.whole("a.example"));
    world.write("b.pem", &world.whole("b.example"));
    let mut source = world.source();
    source.look().await.unwrap();
    assert!(
        problems(&source)[0].reason.contains("certificates/sites/a"),
        "{:?}",
        problems(&source)
    );
    assert!(world.served("sites/b").await.is_some());
}

#[tokio::test]
async fn a_change_is_seen_long_before_the_interval_is_over() {
    let world = World::new();
    let source = world.source();
    let mut watched = source.problems();
    let running = tokio::spawn(source.run(Default::default()));
    world.write("broken.pem", "x");
    tokio::time::timeout(Duration::from_secs(60), watched.changed())
        .await
        .unwrap()
        .unwrap();
    world.write("next.pem", &world.whole("www.example"));
    std::fs::rename(world.path("next.pem"), world.path("broken.pem")).unwrap();
    eventually("the problem is gone", || watched.borrow().is_empty()).await;
    assert!(world.served("sites/broken").await.is_some());
    running.abort();
}

#[tokio::test]
async fn what_no_notification_tells_is_seen_in_intervals() {
    let world = World::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("target");
    std::fs::write(&target, "x").unwrap();
    std::os::unix::fs::symlink(&target, world.path("www.pem")).unwrap();
    let source = world.source_with(Duration::from_millis(20), world.directory.path());
    let mut watched = source.problems();
    let running = tokio::spawn(source.run(Default::default()));
    tokio::time::timeout(Duration::from_secs(60), watched.changed())
        .await
        .unwrap()
        .unwrap();
    std::fs::write(&target, world.whole("www.example")).unwrap();
    eventually("the problem is gone", || watched.borrow().is_empty()).await;
    running.abort();
}
