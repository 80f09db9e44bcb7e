//! What the documentation shows, run as it stands: only addresses, ports, paths and the CA's directory are put in.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::process::Command;

use crate::gateway::{Gateway, Home, PATIENCE, free_address, run};
use crate::issuance::Scene;
use crate::pair::Authority;
use crate::peer::{TlsClient, backend};
use crate::support::pebble::Pebble;

/// A text of the documentation, and what of it a test has to do with.
pub(crate) struct Example {
    pub(crate) text: String,
    /// What is written instead; each must stand in the text.
    pub(crate) replaced: Vec<(&'static str, String)>,
    /// The keys whose effect the test sees.
    pub(crate) seen: &'static [&'static str],
    /// The keys of which it only sees that they are accepted.
    pub(crate) taken: &'static [&'static str],
}

impl Example {
    /// The text with its replacements; fails where one of the two is not what the test was written for.
    fn adapted(&self) -> String {
        let mut keys = BTreeSet::new();
        collect_keys("", &toml::from_str(&self.text).expect("TOML"), &mut keys);
        let known: BTreeSet<_> = self
            .seen
            .iter()
            .chain(self.taken)
            .map(ToString::to_string)
            .collect();
        assert_eq!(keys, known, "what the example has, and what its test looks at");
        self.replaced.iter().fold(self.text.clone(), |text, (from, to)| {
            assert!(text.contains(from), "{from:?} is not in the example");
            text.replace(from, to)
        })
    }

    /// Starts the gateway with it, in `home` as a person would.
    pub(crate) fn start(&self, home: &Home) -> Gateway {
        home.write("certgate.toml", &self.adapted());
        home.launch_here(&["run", "--config", "certgate.toml"])
    }
}

/// The path of every value that is no table, without the names that the user chooses.
fn collect_keys(path: &str, value: &toml::Value, keys: &mut BTreeSet<String>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                collect_keys(&path, value, keys);
            }
        }
        toml::Value::Array(items) if items.iter().any(toml::Value::is_table) => {
            for item in items.iter().filter(|item| item.is_table()) {
                collect_keys(path, item, keys);
            }
        }
        _ => {
            keys.insert(path.to_owned());
        }
    }
}

pub(crate) fn document(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("a file of the project")
}

/// What an example writes of Let's Encrypt, and that it is `pebble` instead; `joint` stands between two keys.
pub(crate) fn letsencrypt_is(pebble: &Pebble, joint: &str) -> (&'static str, String) {
    let (directory, root) = (pebble.directory(), pebble.https_ca_file());
    let keys = format!("directory = \"{directory}\"{joint}root_ca_file = {root:?}");
    ("directory = \"letsencrypt\"", keys)
}

pub(crate) fn at(address: SocketAddr) -> String {
    format!("address = \"{}\"\nport = {}", address.ip(), address.port())
}

pub(crate) fn at_inline(address: SocketAddr) -> String {
    at(address).replace('\n', ", ")
}

#[test]
fn every_example_has_its_test_here() {
    let examples = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")).expect("a directory");
    let names: BTreeSet<_> = examples
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .collect();
    assert_eq!(
        names,
        [
            "dns-01.toml",
            "export.toml",
            "files.toml",
            "http-01.toml",
            "local-ca.toml",
            "mutual.toml",
            "on-demand.toml",
            "tls-alpn-01.toml",
            "two-cas.toml"
        ]
        .map(str::to_owned)
        .into()
    );
    let readme = document("README.md");
    assert!(
        names
            .iter()
            .all(|name| readme.contains(&format!("(examples/{name})")))
    );
}

#[tokio::test]
async fn the_local_ca_example_serves_both_names_from_both_servers() {
    let listen = free_address();
    let example = Example {
        text: document("examples/local-ca.toml"),
        replaced: vec![
            ("127.0.0.1:8081", backend("one").await.to_string()),
            ("127.0.0.1:8082", backend("two").await.to_string()),
            ("port = 8443", at(listen)),
        ],
        seen: &[
            "certificates.app.domains",
            "certificates.app.issuer",
            "issuers.internal.common_name",
            "issuers.internal.kind",
            "issuers.internal.permitted_domains",
            "listeners.app.certificates",
            "listeners.app.port",
            "listeners.app.server_group",
            "server_groups.app.servers",
        ],
        taken: &[],
    };
    let home = Home::new();
    let gateway = example.start(&home);
    gateway.published("app").await;

    // The way to the root is in the example's own words.
    let command = backticked(&example.text)
        .into_iter()
        .find(|text| text.starts_with("certgate "));
    let command = command.expect("the command is told");
    let arguments: Vec<_> = command.split(' ').skip(1).collect();
    let output = home.here().args(arguments).output().await.expect("it runs");
    let root = String::from_utf8(output.stdout).expect("text");
    let client = TlsClient::trusting(&root);
    let mut answers = BTreeSet::new();
    for name in ["localhost", "app.internal", "localhost", "app.internal"] {
        let (answer, leaf) = client.ask(listen, name).await.expect("served");
        assert!(leaf.issuer.contains("Example Internal CA"), "{}", leaf.issuer);
        answers.extend(answer.lines().last().map(str::to_owned));
    }
    assert_eq!(answers, ["one", "two"].map(str::to_owned).into());
    let outside = ["cert", "request", "outside", "--domain", "www.example.com"];
    let output = home.here().args(outside).output().await.expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && errors.contains("www.example.com"),
        "{errors}"
    );
    assert!(gateway.terminate().await.success());
}

#[tokio::test]
async fn the_mutual_example_lets_in_its_own_clients_until_they_are_revoked() {
    let (listen, plain) = (free_address(), free_address());
    let example = Example {
        text: document("examples/mutual.toml"),
        replaced: vec![
            ("127.0.0.1:8080", backend("let in").await.to_string()),
            ("port = 8443", at(listen)),
            ("port = 8081", at(plain)),
        ],
        seen: &[
            "ca_bundles.staff.issuer",
            "certificates.app.domains",
            "certificates.app.issuer",
            "issuers.internal.kind",
            "listeners.app.authentication",
            "listeners.app.certificates",
            "listeners.app.client_ca",
            "listeners.app.port",
            "listeners.app.server_group",
            "listeners.crl.port",
            "listeners.crl.protocol",
            "server_groups.app.servers",
        ],
        taken: &["issuers.internal.common_name"],
    };
    let home = Home::new();
    let gateway = example.start(&home);
    gateway.published("app").await;
    let root = gateway.client().local_ca_root("internal").await.expect("a root");
    let stranger = TlsClient::trusting(&root);
    assert!(stranger.ask(listen, "app.internal").await.is_err());

    let told = backticked(&example.text);
    let mut commands = told.iter().filter(|text| text.starts_with("certgate "));
    let mut run_next = async || {
        let command = commands.next().expect("the command is told");
        let output = home.here().args(command.split(' ').skip(1)).output().await;
        assert!(output.expect("it runs").status.success(), "{command}");
    };
    run_next().await;
    let pem = fs::read(home.path("alice.pem")).expect("written");
    let chain = CertificateDer::from_pem_slice(&pem).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(&pem).expect("a key");
    let alice = TlsClient::presenting(&root, Some((chain, key)));
    let (answer, _) = alice.ask(listen, "app.internal").await.expect("let in");
    assert!(answer.ends_with("let in"), "{answer}");
    // The root, and then the end of it.
    run_next().await;
    run_next().await;
    assert!(alice.ask(listen, "app.internal").await.is_err());
    let url = format!("http://{plain}/crl/internal.crl");
    let fetched = Command::new("curl")
        .args(["--silent", "--fail", &url])
        .output()
        .await;
    assert!(fetched.expect("curl is installed").status.success());
    assert!(gateway.terminate().await.success());
}

#[tokio::test]
async fn the_files_example_serves_the_file_and_the_directory() {
    let (home, ca, listen) = (Home::new(), Authority::new(), free_address());
    let (bought, shop, blog) = (
        ca.sign("www.example.com"),
        ca.sign("shop.example.com"),
        ca.sign("blog.example.com"),
    );
    home.write("bought.pem", &bought.chain);
    home.write("bought.key", &bought.key);
    fs::create_dir(home.path("sites")).expect("a directory");
    home.write("sites/shop.pem", &shop.whole());
    home.write("sites/blog.crt", &blog.chain);
    home.write("sites/blog.key", &blog.key);
    let example = Example {
        text: document("examples/files.toml"),
        replaced: vec![
            ("127.0.0.1:8081", backend("one").await.to_string()),
            ("127.0.0.1:8082", backend("two").await.to_string()),
            ("port = 443", at(listen)),
        ],
        seen: &[
            "certificate_directories.sites.path",
            "certificates.bought.certificate_file",
            "certificates.bought.key_file",
            "listeners.web.alpn",
            "listeners.web.certificates",
            "listeners.web.port",
            "listeners.web.server_group",
            "server_groups.app.servers.address",
            "server_groups.app.servers.weight",
        ],
        taken: &["listeners.web.idle_timeout"],
    };
    // One server is a table, the other a text: both are in the list that has been looked at.
    assert!(example.text.contains("servers = [\"127.0.0.1:8081\", {"));
    let gateway = example.start(&home);
    gateway.published("sites/shop").await;
    let client = TlsClient::trusting(&ca.root());
    let mut answers = Vec::new();
    for (name, serial) in [
        ("www.example.com", &bought.serial),
        ("shop.example.com", &shop.serial),
        ("blog.example.com", &blog.serial),
    ] {
        for _ in 0..2 {
            let (answer, leaf) = client.ask(listen, name).await.expect("served");
            assert_eq!(leaf.serial, *serial, "{name}");
            answers.extend(answer.lines().last().map(str::to_owned));
        }
    }
    assert_eq!(
        answers.iter().filter(|answer| *answer == "two").count(),
        4,
        "{answers:?}"
    );
    assert_eq!(alpn(&home, &ca.root(), listen, "www.example.com").await, "h2");
    let unknown = TlsClient::trusting(&ca.root())
        .connect(listen, "other.example.com")
        .await;
    let error = unknown
        .expect_err("served with the first one, which is not for it")
        .to_string();
    assert!(error.contains("www.example.com"), "{error}");
    assert!(gateway.terminate().await.success());
}

#[tokio::test]
async fn the_readme_s_ten_lines_and_its_commands_do_what_it_says() {
    let name = "www.example.com";
    let scene = Scene::new(&[name], None);
    let readme = document("README.md");
    let (_, rest) = readme.split_once("```toml\n").expect("a file in the README");
    let (text, _) = rest.split_once("```").expect("its end");
    assert_eq!(text.lines().count(), 10, "ten lines are promised");
    let example = Example {
        text: text.to_owned(),
        replaced: vec![
            letsencrypt_is(&scene.pebble, "\n"),
            ("127.0.0.1:8080", backend("one").await.to_string()),
            ("127.0.0.1:8081", backend("two").await.to_string()),
            ("port = 443", at_inline(scene.tls)),
        ],
        seen: &[
            "certificates.www.domains",
            "certificates.www.issuer",
            "issuers.letsencrypt.agree_to_terms",
            "issuers.letsencrypt.directory",
            "issuers.letsencrypt.kind",
            "listeners.web.certificates",
            "listeners.web.port",
            "listeners.web.server_group",
            "server_groups.app.servers",
        ],
        taken: &[],
    };
    let told: Vec<_> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("$ certgate "))
        .collect();
    let told: Vec<_> = told
        .iter()
        .map(|line| line.split(" #").next().unwrap_or_default().trim())
        .collect();
    // Those after these are what `readme` and `dns` test.
    let [check, start, status, quick, ..] = told[..] else {
        panic!("the README has other commands than this test runs: {told:?}");
    };

    let home = Home::new();
    home.write("certgate.toml", &example.adapted());
    let command = async |line: &str| {
        let output = home.here().args(line.split(' ')).output().await.expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (
            output.status.code(),
            text,
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, output, errors) = command(check).await;
    assert_eq!(code, Some(0), "{errors}");
    assert!(output.contains("certgate.toml: valid"), "{output}");
    let gateway = home.launch_here(&start.split(' ').collect::<Vec<_>>());
    gateway.published("www").await;
    let client = TlsClient::trusting(&scene.pebble.issuing_root());
    for expected in ["one", "two"] {
        let (answer, _) = client.ask(scene.tls, name).await.expect("served");
        assert!(answer.ends_with(expected), "{answer}");
    }
    let (code, output, _) = command(status).await;
    assert_eq!(code, Some(0));
    assert!(output.contains(name) && output.contains("valid"), "{output}");
    assert!(gateway.terminate().await.success());

    let (listen, server) = (free_address(), backend("quick").await);
    assert!(
        quick.contains("--listen 8443") && quick.ends_with("--to 127.0.0.1:8080"),
        "{quick}"
    );
    let quick = quick
        .replace("--listen 8443", &format!("--listen {listen}"))
        .replace("127.0.0.1:8080", &server.to_string());
    let home = Home::new();
    let gateway = home.launch_here(&quick.split(' ').collect::<Vec<_>>());
    gateway.published("quick").await;
    // It says how to get the root.
    let log = home.log();
    let (_, command) = log.split_once(": certgate ").expect("it is told");
    let arguments: Vec<_> = command.lines().next().unwrap_or_default().split(' ').collect();
    let (code, root, errors) = run(&arguments).await;
    assert_eq!(code, 0, "{errors}");
    let (answer, _) = TlsClient::trusting(&root)
        .ask(listen, "localhost")
        .await
        .expect("served");
    assert!(answer.ends_with("quick"), "{answer}");
    assert!(gateway.terminate().await.success());
}

fn backticked(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The protocol that a client gets that speaks HTTP/2 and HTTP/1.1, as OpenSSL sees it with a verified chain.
pub(crate) async fn alpn(home: &Home, root: &str, address: SocketAddr, name: &str) -> String {
    let root = home.write("root.pem", root).display().to_string();
    let output = Command::new("openssl")
        .args([
            "s_client",
            "-verify_return_error",
            "-verify_hostname",
            name,
            "-servername",
            name,
        ])
        .args([
            "-CAfile",
            &root,
            "-alpn",
            "h2,http/1.1",
            "-connect",
            &address.to_string(),
        ])
        .stdin(Stdio::null())
        .output();
    let output = tokio::time::timeout(PATIENCE, output)
        .await
        .expect("it ends")
        .expect("openssl is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("Verify return code: 0 (ok)"), "{text}");
    let protocol = text.lines().find_map(|line| line.strip_prefix("ALPN protocol: "));
    protocol.expect("a protocol").to_owned()
}
