//! Certificates as files for other programs: whole, in time, and these are told.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use certgate::certificate::{Credential, CredentialPem};
use tokio::task::JoinSet;

use crate::gateway::{Gateway, Home, PATIENCE, free_address};
use crate::hooks::{config, written, www};
use crate::peer::{TlsClient, backend};
use crate::support::process::Process;

/// A gateway whose own CA signs `www`, which is exported to `out`; `script` is run then.
struct Scene {
    home: Home,
    listen: SocketAddr,
    config: String,
}

impl Scene {
    async fn new(script: &str) -> Self {
        let (home, listen) = (Home::new(), free_address());
        let place = home.path("").display().to_string();
        let more = format!(
            "[[certificates.www.export]]\ndirectory = \"out\"\ntimeout = \"1s\"\n\
             command = [\"/bin/sh\", \"-c\", {script:?}, {place:?}]\n"
        );
        let config = config(listen, backend("hello").await, &more);
        Self { home, listen, config }
    }

    fn out(&self, name: &str) -> PathBuf {
        self.home.path("out").join(name)
    }

    /// The serial number of what is exported, whose chain and key have to fit.
    fn exported(&self) -> Option<String> {
        let read = |name| fs::read(self.out(name)).ok();
        let pem = CredentialPem::parse_pair(&read("fullchain.pem")?, &read("privkey.pem")?).expect("a pair");
        let credential = Credential::from_pem(&pem).expect("its own key");
        Some(credential.leaf().serial.clone())
    }

    /// Waits until what is exported has `serial`.
    async fn exports(&self, serial: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.exported().as_deref() != Some(serial) {
            assert!(
                Instant::now() < deadline,
                "{:?}\n{}",
                self.exported(),
                self.home.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the command has run so often.
    async fn told(&self, times: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.times() < times {
            assert!(
                Instant::now() < deadline,
                "{} times\n{}",
                self.times(),
                self.home.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn times(&self) -> usize {
        fs::read_to_string(self.home.path("told"))
            .unwrap_or_default()
            .lines()
            .count()
    }
}

const NAME: &str = "www.example.test";

async fn serial(gateway: &Gateway) -> String {
    gateway.published("www").await.serial.expect("a serial number")
}

/// Asks for a new certificate and waits until it is published.
async fn renewed(gateway: &Gateway) -> String {
    let before = serial(gateway).await;
    gateway.client().renew(&www()).await.expect("accepted");
    let is_new = |status: &certgate::admin::api::Status| {
        let www = &status.certificates[0];
        www.published && www.serial.as_deref() != Some(&before)
    };
    gateway.status_until("has a new one", is_new).await;
    serial(gateway).await
}

#[tokio::test]
async fn each_certificate_is_exported_once_and_files_that_were_changed_by_hand_come_back() {
    let scene = Scene::new("cat >> $0/told").await;
    let gateway = scene.home.start(&scene.config).await;
    scene.exports(&serial(&gateway).await).await;
    scene.told(1).await;
    let facts: serde_json::Value =
        serde_json::from_str(&written(&scene.home.path("told")).await).expect("JSON");
    assert_eq!(facts["certificate"], "www");
    assert_eq!(facts["directory"], scene.home.path("out").display().to_string());
    let mode = |name| fs::metadata(scene.out(name)).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode("privkey.pem"), mode("fullchain.pem")), (0o600, 0o644));

    let second = renewed(&gateway).await;
    scene.exports(&second).await;
    scene.told(2).await;
    assert!(gateway.terminate().await.success());

    // Nothing has changed, and nothing is done.
    let version = fs::read_link(scene.out("current")).expect("a link");
    let gateway = scene.home.start(&scene.config).await;
    let third = renewed(&gateway).await;
    scene.exports(&third).await;
    scene.told(3).await;
    assert_eq!(scene.times(), 3, "once for each certificate");
    assert_ne!(fs::read_link(scene.out("current")).expect("a link"), version);
    assert!(gateway.terminate().await.success());

    for change in ["fullchain.pem", "current"] {
        let times = scene.times();
        fs::remove_file(scene.out(change)).expect("it was there");
        let gateway = scene.home.start(&scene.config).await;
        scene.exports(&third).await;
        scene.told(times + 1).await;
        assert!(gateway.terminate().await.success());
    }
}

#[tokio::test]
async fn what_was_exported_before_a_sigkill_is_told_after_it() {
    // The first time it is cut off; what is left of it ends by itself.
    let scene =
        Scene::new("echo begun >> $0/begun; test -e $0/killed || sleep 30; echo end >> $0/told").await;
    let gateway = scene.home.start(&scene.config).await;
    written(&scene.home.path("begun")).await;
    let version = fs::read_link(scene.out("current")).expect("it is there before the command is run");
    gateway.kill().await;
    scene.home.write("killed", "");
    let _gateway = scene.home.start(&scene.config).await;
    scene.told(1).await;
    let begun = written(&scene.home.path("begun")).await;
    assert_eq!(begun, "begun\nbegun\n");
    assert_eq!(
        fs::read_link(scene.out("current")).expect("a link"),
        version,
        "written once"
    );
}

#[tokio::test]
async fn a_command_that_fails_is_shown_and_tried_again_and_serving_goes_on() {
    let scene = Scene::new("test -e $0/well || { echo not yet; exit 3; }; echo told >> $0/told").await;
    let gateway = scene.home.start(&scene.config).await;
    scene.exports(&serial(&gateway).await).await;
    gateway
        .status_until("shows it", |status| {
            let warnings = status.warnings.join("\n");
            warnings.contains("certificate `www` is not exported to") && warnings.contains("not yet")
        })
        .await;
    let root = gateway.client().local_ca_root("internal").await.expect("a root");
    let client = TlsClient::trusting(&root);
    let (_, leaf) = client.ask(scene.listen, NAME).await.expect("served");
    assert_eq!(Some(leaf.serial), scene.exported());
    scene.home.write("well", "");
    scene.told(1).await;
    gateway
        .status_until("has nothing to say", |status| status.warnings.is_empty())
        .await;

    // A directory that cannot be written to changes nothing for clients either.
    fs::remove_dir_all(scene.home.path("out")).expect("ours");
    scene.home.write("out", "a file");
    let next = renewed(&gateway).await;
    gateway
        .status_until("shows it", |status| {
            status.warnings.join("\n").contains("cannot make the directory")
        })
        .await;
    let (_, leaf) = client.ask(scene.listen, NAME).await.expect("served");
    assert_eq!(leaf.serial, next);
}

#[tokio::test]
async fn another_program_under_load_always_shows_a_pair_while_certificates_are_renewed() {
    let server = free_address();
    let home = Home::new();
    let conf = home.path("nginx.conf").display().to_string();
    let more = format!(
        "[[certificates.www.export]]\ndirectory = \"out\"\ncommand = [\"/usr/sbin/nginx\", \"-c\", {conf:?}, \"-s\", \"reload\"]\n"
    );
    home.write("nginx.conf", &nginx(&home.path("out"), home.path(""), server));
    let config = config(free_address(), backend("hello").await, &more);
    let gateway = home.start(&config).await;
    let first = serial(&gateway).await;
    let root = gateway.client().local_ca_root("internal").await.expect("a root");
    let client = TlsClient::trusting(&root);
    // Until nginx is there the command fails; then the next attempt tells it.
    let _nginx = start_nginx(&home, &conf, &home.path("out")).await;
    shows(&client, server, NAME, &first).await;

    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut load = JoinSet::new();
    for _ in 0..4 {
        let (client, stopped) = (client.clone(), stopped.clone());
        load.spawn(async move {
            let mut connections = 0;
            while !*stopped.borrow() {
                client.ask(server, NAME).await.expect("a verified answer");
                connections += 1;
            }
            connections
        });
    }
    for _ in 0..5 {
        let next = renewed(&gateway).await;
        shows(&client, server, NAME, &next).await;
    }
    stop.send_replace(true);
    let connections: usize = load.join_all().await.into_iter().sum();
    assert!(connections > 50, "{connections}");
    assert!(gateway.terminate().await.success());
}

/// nginx in the foreground, with the files of `out`.
pub(crate) fn nginx(out: &Path, place: impl AsRef<Path>, listen: SocketAddr) -> String {
    let (out, place) = (out.display(), place.as_ref().display());
    format!(
        "user root;\ndaemon off;\nworker_processes 1;\npid {place}/nginx.pid;\nerror_log {place}/nginx.log;\n\
         events {{ worker_connections 512; }}\n\
         http {{\n access_log off;\n client_body_temp_path {place}/body;\n proxy_temp_path {place}/proxy;\n\
         fastcgi_temp_path {place}/fastcgi;\n uwsgi_temp_path {place}/uwsgi;\n scgi_temp_path {place}/scgi;\n\
         server {{ listen {listen} ssl;\n ssl_certificate {out}/fullchain.pem;\n ssl_certificate_key {out}/privkey.pem;\n\
         location / {{ return 200 \"by nginx\"; }} }} }}\n"
    )
}

/// Starts nginx once its files are there.
pub(crate) async fn start_nginx(home: &Home, conf: &str, out: &Path) -> Process {
    let pair = out.join("privkey.pem");
    let deadline = Instant::now() + PATIENCE;
    while !pair.exists() {
        assert!(Instant::now() < deadline, "{}", home.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut nginx = Command::new("/usr/sbin/nginx");
    nginx
        .args(["-c", conf, "-e"])
        .arg(home.path("nginx.log"))
        .stdin(Stdio::null());
    let mut process = Process::start(&mut nginx, home.path("nginx.out"));
    let pid = home.path("nginx.pid");
    assert!(process.is_ready(PATIENCE, || fs::metadata(&pid).is_ok_and(|file| file.len() > 0)));
    process
}

/// Waits until fresh connections to `address` get the certificate with `serial`.
pub(crate) async fn shows(client: &TlsClient, address: SocketAddr, name: &str, serial: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let asked = client.ask(address, name).await;
        match asked {
            Ok((answer, leaf)) if leaf.serial == serial => {
                return assert!(answer.ends_with("by nginx"), "{answer}");
            }
            asked => assert!(Instant::now() < deadline, "{asked:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_certificate_with_keys_of_two_kinds_is_exported_with_both_and_the_api_tells_of_each() {
    let scene = Scene::new("cat >> $0/told").await;
    let both = "issuer = \"internal\"\nkey_type = [\"ecdsa-p256\", \"rsa-2048\"]\n";
    let config = scene.config.replace("issuer = \"internal\"\n", both);
    let gateway = scene.home.start(&config).await;
    scene.told(2).await;
    let key = |directory: &str| {
        let pem = fs::read(scene.out(directory).join("fullchain.pem")).expect("written");
        let key = fs::read(scene.out(directory).join("privkey.pem")).expect("written");
        let pem = CredentialPem::parse_pair(&pem, &key).expect("a pair");
        Credential::from_pem(&pem)
            .expect("its own key")
            .leaf()
            .key
            .clone()
    };
    assert_eq!(
        (key("").as_str(), key("rsa").as_str()),
        ("ECDSA P-256", "RSA 2048")
    );
    let deadline = Instant::now() + PATIENCE;
    let exports = loop {
        let (_, _, exports) = crate::runtime::request(gateway.socket(), "GET /v1/exports", &[], b"").await;
        let all = exports.as_array().expect("a list").clone();
        if all.iter().all(|export| export["done_at"].is_string()) {
            break all;
        }
        assert!(Instant::now() < deadline, "{exports}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let told: Vec<_> = exports
        .iter()
        .map(|export| (export["certificate"].as_str(), export["directory"].as_str()))
        .collect();
    let (first, second) = (scene.home.path("out"), scene.out("rsa"));
    let shown = |path: &Path| path.display().to_string();
    assert_eq!(
        told,
        [
            (Some("www"), Some(shown(&first).as_str())),
            (Some("www.rsa"), Some(shown(&second).as_str()))
        ]
    );
    assert!(
        exports
            .iter()
            .all(|export| export["error"].is_null() && export["attempts"] == 1)
    );
}
