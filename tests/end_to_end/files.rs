//! Certificate files and directories of them: what is on the disk is what the next handshake gets.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use certgate::admin::api;
use tokio::task::JoinSet;

use crate::gateway::{Gateway, Home, PATIENCE, free_address, run};
use crate::pair::{Authority, Pair, config};
use crate::peer::{TlsClient, backend};
use crate::reload::reloaded;

/// A gateway that serves `own.example.test` from a pair of files, and the directory `sites`.
struct World {
    home: Home,
    ca: Authority,
    client: TlsClient,
    listen: SocketAddr,
    config: String,
}

impl World {
    async fn new() -> Self {
        let (home, ca, listen) = (Home::new(), Authority::new(), free_address());
        fs::create_dir(home.path("sites")).expect("a directory");
        let own = ca.sign("own.example.test");
        write_pair(&home.path("own"), &own);
        Self {
            client: TlsClient::trusting(&ca.root()),
            config: config(listen, backend("hello").await),
            home,
            ca,
            listen,
        }
    }

    async fn start(&self) -> Gateway {
        self.home.start(&self.config).await
    }

    /// The serial number that a fresh connection for `name` is served with.
    async fn served(&self, name: &str) -> std::io::Result<String> {
        let (answer, leaf) = self.client.ask(self.listen, name).await?;
        assert!(answer.ends_with("hello"), "{answer}");
        Ok(leaf.serial)
    }

    /// Waits until `name` is served with `serial`.
    async fn serves(&self, name: &str, serial: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.served(name).await;
            if found.as_ref().is_ok_and(|found| found == serial) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{name}: {found:?}\n{}",
                self.home.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn write_pair(stem: &Path, pair: &Pair) {
    fs::write(stem.with_extension("crt"), &pair.chain).expect("written");
    fs::write(stem.with_extension("key"), &pair.key).expect("written");
}

fn has_warning(text: &str) -> impl Fn(&api::Status) -> bool {
    move |status| status.warnings.iter().any(|warning| warning.contains(text))
}

#[tokio::test]
async fn a_pair_that_changes_on_disk_is_served_without_a_reload() {
    let world = World::new().await;
    let gateway = world.start().await;
    gateway.published("own").await;
    world.served("own.example.test").await.expect("served");
    for _ in 0..2 {
        let next = world.ca.sign("own.example.test");
        write_pair(&world.home.path("own"), &next);
        world.serves("own.example.test", &next.serial).await;
    }
    let status = gateway.client().status().await.expect("a status");
    assert!(
        status.last_reload.is_none() && status.warnings.is_empty(),
        "{status:#?}"
    );
}

#[tokio::test]
async fn files_of_a_directory_are_certificates_of_its_name_and_served_by_sni() {
    let world = World::new().await;
    let (one, two, three) = (
        world.ca.sign("one.example.test"),
        world.ca.sign("two.example.test"),
        world.ca.sign("three.example.test"),
    );
    fs::write(world.home.path("sites/one.pem"), one.whole()).expect("written");
    write_pair(&world.home.path("sites/two"), &two);
    let gateway = world.start().await;
    // One that comes later, too.
    fs::write(world.home.path("sites/three.pem"), three.whole()).expect("written");
    world.serves("three.example.test", &three.serial).await;
    world.serves("two.example.test", &two.serial).await;
    world.serves("one.example.test", &one.serial).await;

    let socket = gateway.socket().display().to_string();
    let (_, list, _) = run(&["cert", "list", "--output", "json", "--admin", &socket]).await;
    let list: Vec<api::Certificate> = serde_json::from_str(&list).expect("JSON");
    let names: Vec<_> = list.iter().map(|certificate| certificate.name.as_str()).collect();
    assert_eq!(names, ["own", "sites/one", "sites/three", "sites/two"]);
    assert!(
        list.iter()
            .all(|c| c.source == "files" && c.state == "valid" && c.published)
    );

    // Their names belong to the files: nobody else's certificate goes by one.
    let other = world
        .home
        .write("other.pem", &world.ca.sign("two.example.test").whole());
    let other = other.display().to_string();
    for name in ["sites/two", "own", "sites/new"] {
        let import = [
            "cert",
            "import",
            name,
            "--certificate",
            &other,
            "--admin",
            &socket,
        ];
        let (code, _, errors) = run(&import).await;
        assert_eq!(code, 1);
        assert!(
            errors.contains(name) && errors.contains("comes from files"),
            "{errors}"
        );
    }
    world.serves("two.example.test", &two.serial).await;
}

#[tokio::test]
async fn clients_never_see_a_pair_that_is_being_written() {
    let world = World::new().await;
    let directory = world.home.path("sites");
    write_slowly(&directory, &world.ca.sign("slow.example.test"), 0).await;
    rename_into(&directory, &world.ca.sign("renamed.example.test"));
    let gateway = world.start().await;
    for name in ["sites/slow", "sites/renamed"] {
        gateway.published(name).await;
    }

    let world = Arc::new(world);
    let mut clients = JoinSet::new();
    for name in ["slow.example.test", "renamed.example.test"] {
        clients.spawn(visit(world.clone(), name));
    }
    let mut written = BTreeSet::new();
    let mut seen = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    for round in 1.. {
        assert!(
            Instant::now() < deadline,
            "seen only {seen:?}\n{}",
            world.home.log()
        );
        let (slow, renamed) = (
            world.ca.sign("slow.example.test"),
            world.ca.sign("renamed.example.test"),
        );
        written.extend([slow.serial.clone(), renamed.serial.clone()]);
        write_slowly(&directory, &slow, round).await;
        rename_into(&directory, &renamed);
        // Longer than the gateway waits for the second file of a pair.
        tokio::time::sleep(Duration::from_millis(300)).await;
        while let Some(done) = clients.try_join_next() {
            seen.push(done.expect("no handshake fails"));
        }
        if clients.is_empty() {
            break;
        }
    }
    for serials in seen {
        // The first of each was written before the gateway was started.
        assert!(serials.iter().skip(1).all(|serial| written.contains(serial)));
    }
}

/// Opens fresh connections until several certificates have been seen, in this order.
async fn visit(world: Arc<World>, name: &'static str) -> Vec<String> {
    let mut serials = Vec::new();
    while serials.len() < 5 {
        let serial = world
            .served(name)
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        if serials.last() != Some(&serial) {
            serials.push(serial);
        }
    }
    serials
}

/// Certificate and key one after the other, each in pieces, as a shell script would; odd rounds begin with the key.
async fn write_slowly(directory: &Path, pair: &Pair, round: usize) {
    let mut files = [("slow.crt", &pair.chain), ("slow.key", &pair.key)];
    if round % 2 == 1 {
        files.reverse();
    }
    for (name, text) in files {
        let mut file = File::create(directory.join(name)).expect("a file");
        for piece in text.as_bytes().chunks(300) {
            file.write_all(piece).expect("written");
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }
}

fn rename_into(directory: &Path, pair: &Pair) {
    let new = directory.join(".renamed.new");
    fs::write(&new, pair.whole()).expect("written");
    fs::rename(new, directory.join("renamed.pem")).expect("renamed");
}

#[tokio::test]
async fn a_file_that_is_removed_is_served_until_the_next_reload() {
    let world = World::new().await;
    let pair = world.ca.sign("gone.example.test");
    let file = world.home.path("sites/gone.pem");
    fs::write(&file, pair.whole()).expect("written");
    let gateway = world.start().await;
    gateway.published("sites/gone").await;
    fs::remove_file(&file).expect("removed");
    let status = gateway
        .status_until("misses the file", has_warning("the file is gone"))
        .await;
    assert!(
        has_warning("sites/gone")(&status) && has_warning("gone.pem")(&status),
        "{status:#?}"
    );
    world.serves("gone.example.test", &pair.serial).await;

    assert_eq!(reloaded(&gateway).await, None);
    let none = |status: &api::Status| status.certificates.len() == 1 && status.warnings.is_empty();
    gateway.status_until("has withdrawn it", none).await;
    let refused = async {
        loop {
            match world.served("gone.example.test").await {
                Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(error) => break error,
            }
        }
    };
    let error = tokio::time::timeout(PATIENCE, refused)
        .await
        .expect("it is withdrawn");
    assert!(error.to_string().contains("UnrecognisedName"), "{error}");
    world
        .served("own.example.test")
        .await
        .expect("the other one is served");
}

#[tokio::test]
async fn a_directory_that_is_missing_is_told_at_the_start_and_survived_later() {
    let world = World::new().await;
    let directory = world.home.path("sites");
    fs::remove_dir(&directory).expect("removed");
    world.home.configure(&world.config);
    let config = world.home.path("certgate.toml").display().to_string();
    for command in ["check", "run"] {
        let (code, _, errors) = run(&[command, "--config", &config]).await;
        assert_eq!(code, 1);
        for expected in [
            "certgate.toml:",
            &directory.display().to_string(),
            "there is no such directory",
        ] {
            assert!(errors.contains(expected), "{errors}");
        }
    }

    // As with a disk that is mounted late, or again.
    fs::create_dir(&directory).expect("a directory");
    let pair = world.ca.sign("site.example.test");
    fs::write(directory.join("site.pem"), pair.whole()).expect("written");
    let gateway = world.start().await;
    world.serves("site.example.test", &pair.serial).await;
    fs::rename(&directory, world.home.path("away")).expect("renamed");
    gateway
        .status_until(
            "misses the directory",
            has_warning("the directory cannot be read"),
        )
        .await;
    world.serves("site.example.test", &pair.serial).await;
    let next = world.ca.sign("site.example.test");
    fs::write(world.home.path("away/site.pem"), next.whole()).expect("written");
    fs::rename(world.home.path("away"), &directory).expect("renamed");
    world.serves("site.example.test", &next.serial).await;
    let fine = |status: &api::Status| status.warnings.is_empty();
    gateway.status_until("has no more to complain of", fine).await;
}
