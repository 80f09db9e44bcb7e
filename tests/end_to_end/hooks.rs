//! Hooks: whoever is to be told is told, whatever fails in between, and nobody else waits for it.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use certgate::certificate::CertificateName;
use certgate::clock::{Clock, SystemClock};
use tokio::process::Command;

use crate::gateway::{Gateway, Home, PATIENCE, certgate, free_address, run};
use crate::issuance::Scene;
use crate::pair::Authority;
use crate::peer::{TlsClient, backend};
use crate::receiver::{Answer, Receiver};
use crate::reload::reloaded;

/// A gateway whose own CA signs `www`, in front of `server`, with `hooks`.
pub(crate) fn config(listen: SocketAddr, server: SocketAddr, more: &str) -> String {
    format!(
        "[issuers.internal]\nkind = \"local-ca\"\n\
         [certificates.www]\ndomains = [\"www.example.test\"]\nissuer = \"internal\"\n\
         [server_groups.app]\nservers = [\"{server}\"]\n\
         [listeners.web]\naddress = \"{}\"\nport = {}\ncertificates = [\"www\"]\nserver_group = \"app\"\n{more}",
        listen.ip(),
        listen.port()
    )
}

pub(crate) fn www() -> CertificateName {
    CertificateName::parse("www").expect("a name")
}

async fn config_with(more: &str) -> String {
    config(free_address(), backend("hello").await, more)
}

/// Waits until the file is there and holds something, and returns that.
pub(crate) async fn written(path: &Path) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return text,
            found => assert!(Instant::now() < deadline, "{}: {found:?}", path.display()),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the gateway's metrics have `line`.
async fn counts(gateway: &Gateway, line: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let metrics = metrics(gateway).await;
        if metrics.contains(line) {
            return;
        }
        assert!(Instant::now() < deadline, "{line} is not in\n{metrics}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn metrics(gateway: &Gateway) -> String {
    let output = Command::new("curl")
        .args(["--silent", "--unix-socket"])
        .arg(gateway.socket())
        .arg("http://localhost/metrics")
        .output();
    String::from_utf8(output.await.expect("curl is installed").stdout).expect("text")
}

#[tokio::test]
async fn a_command_gets_the_facts_of_what_pebble_has_signed_and_nothing_that_is_secret() {
    let name = "www.example.test";
    let scene = Scene::new(&[name], None);
    let home = Home::new();
    let told = home.path("told");
    let script = "tr -d '\\n' > $0.new; echo >> $0.new; env > $0.env; mv $0.new $0";
    let hook = format!(
        "[hooks.deploy]\ncommand = [\"/bin/sh\", \"-c\", {script:?}, {:?}]\nevents = [\"obtained\", \"renewed\"]\n",
        told.display().to_string()
    );
    let config = scene.config(&[name], "tls-alpn-01", &[backend("hello").await]) + &hook;
    let mut program = Command::new(certgate());
    program.env("DATABASE_PASSWORD", "s3cret");
    let gateway = home.launch_by(program, &config);
    gateway.published("www").await;
    for event in ["obtained", "renewed"] {
        let facts: serde_json::Value = serde_json::from_str(&written(&told).await).expect("JSON");
        fs::remove_file(&told).expect("just read");
        let served = gateway.client().certificate(&www()).await.expect("there");
        assert_eq!(facts["event"], event);
        assert_eq!(facts["certificate"], "www");
        assert_eq!(facts["domains"], serde_json::json!([name]));
        assert_eq!(facts["serial"].as_str(), served.serial.as_deref());
        assert_eq!(facts["issuer"], "pebble");
        assert_eq!(facts["attempt"], 1);
        let variables = fs::read_to_string(home.path("told.env")).expect("written before");
        assert!(
            variables.contains(&format!("CERTGATE_EVENT={event}\n")),
            "{variables}"
        );
        assert!(
            variables.contains(&format!("CERTGATE_DOMAINS={name}\n")),
            "{variables}"
        );
        assert!(!variables.contains("s3cret"), "{variables}");
        if event == "obtained" {
            gateway.client().renew(&www()).await.expect("accepted");
        }
    }
    counts(
        &gateway,
        "certgate_hook_deliveries_total{hook=\"deploy\",result=\"delivered\"} 2",
    )
    .await;
}

#[tokio::test]
async fn a_receiver_that_cuts_hangs_fails_and_redirects_is_told_in_the_end_by_one_id_and_signed() {
    let home = Home::new();
    let receiver = Receiver::start(&[Answer::Cut, Answer::Hang]).await;
    let secret = "8f1d0a3c5b7e9246d8f0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f6";
    let file = home.write("secret", &format!("{secret}\n"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("our file");
    let hook = format!(
        "[hooks.pager]\nurl = \"http://{}/in?key=k3y\"\nsecret_file = \"secret\"\ntimeout = \"1s\"\n",
        receiver.address
    );
    let _gateway = home.start(&config_with(&hook).await).await;
    let posts = receiver.told("obtained", 3).await;
    let ids: Vec<_> = posts.iter().map(|post| post.fact("id")).collect();
    assert!(
        !ids[0].is_empty() && ids.iter().all(|id| *id == ids[0]),
        "{ids:?}"
    );
    for (number, post) in posts.iter().enumerate() {
        assert_eq!(post.body()["attempt"], number + 1);
        assert_eq!(post.headers["certgate-event-id"], ids[0]);
        assert_eq!(post.headers["certgate-event"], "obtained");
        let signed = format!("{}.{}", post.headers["certgate-timestamp"], post.text);
        assert_eq!(
            post.headers["certgate-signature"],
            format!("v1={}", hmac(secret, &signed).await)
        );
    }
    let log = home.log();
    assert!(log.contains("did not answer within 1 s"), "{log}");
    assert!(!log.contains("k3y") && !log.contains(secret), "{log}");

    // Answers that are none: each is the last attempt at it.
    let receiver = Receiver::start(&[Answer::Status(500), Answer::Status(302)]).await;
    let hook = format!(
        "[hooks.pager]\nurl = \"http://{}/in\"\nattempts = 1\n",
        receiver.address
    );
    let other = Home::new();
    let gateway = other.start(&config_with(&hook).await).await;
    receiver.told("obtained", 1).await;
    gateway.client().renew(&www()).await.expect("accepted");
    receiver.told("renewed", 1).await;
    let given_up = "certgate_hook_deliveries_total{hook=\"pager\",result=\"given-up\"} 2";
    counts(&gateway, given_up).await;
    assert_eq!(receiver.posts().len(), 2, "no redirect is followed");
    let status = gateway.status_until("says what was given up", |status| {
        let warnings = status.warnings.join("\n");
        warnings.contains("hook `pager`: 2 notices were given up") && warnings.contains("302")
    });
    status.await;
    // The next one arrives, and all is well again.
    gateway.client().renew(&www()).await.expect("accepted");
    gateway
        .status_until("has nothing to say", |status| status.warnings.is_empty())
        .await;
}

#[tokio::test]
async fn what_was_obtained_before_a_sigkill_is_told_after_it() {
    let home = Home::new();
    let address = free_address();
    let hook = format!("[hooks.pager]\nurl = \"http://{address}/\"\ntimeout = \"1s\"\n");
    let config = config_with(&hook).await;
    let gateway = home.start(&config).await;
    let serial = gateway.published("www").await.serial;
    // Nobody was there to be told.
    gateway.kill().await;
    let receiver = Receiver::start_at(address).await;
    let _gateway = home.start(&config).await;
    let posts = receiver.told("obtained", 1).await;
    assert_eq!(posts[0].body()["serial"].as_str(), serial.as_deref());
}

#[tokio::test]
async fn a_command_that_a_sigkill_of_the_gateway_interrupts_runs_again_with_the_same_id() {
    let home = Home::new();
    let told = home.path("told").display().to_string();
    // The first time it does not come to its end; what is left of it ends by itself.
    let script = "echo $CERTGATE_EVENT_ID >> $0; test $(wc -l < $0) -gt 1 || sleep 30; echo end >> $0";
    let hook =
        format!("[hooks.deploy]\ncommand = [\"/bin/sh\", \"-c\", {script:?}, {told:?}]\ntimeout = \"2s\"\n");
    let config = config_with(&hook).await;
    let gateway = home.start(&config).await;
    let first = written(&home.path("told")).await;
    gateway.kill().await;
    let _gateway = home.start(&config).await;
    let deadline = Instant::now() + PATIENCE;
    let all = loop {
        let all = written(&home.path("told")).await;
        if all.lines().any(|line| line == "end") {
            break all;
        }
        assert!(Instant::now() < deadline, "{all}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(all, format!("{first}{first}end\n"));
}

#[tokio::test]
async fn a_command_that_ends_the_gateway_does_so_only_as_often_as_it_may_be_tried() {
    let home = Home::new();
    let told = home.path("told").display().to_string();
    // As `systemctl restart certgate` in a hook does.
    let script = "echo once >> $0; kill -KILL $PPID";
    let hook = format!(
        "[hooks.deploy]\ncommand = [\"/bin/sh\", \"-c\", {script:?}, {told:?}]\nattempts = 2\ntimeout = \"1s\"\n"
    );
    let config = config_with(&hook).await;
    for _ in 0..2 {
        let mut gateway = home.launch(&config);
        gateway.ended().await;
    }
    let gateway = home.start(&config).await;
    gateway
        .status_until("has given up", |status| {
            status
                .warnings
                .iter()
                .any(|warning| warning.contains("the last attempt was cut off"))
        })
        .await;
    assert_eq!(written(&home.path("told")).await, "once\nonce\n");
}

#[tokio::test]
async fn a_hook_that_hangs_keeps_neither_another_nor_a_renewal_nor_a_client_waiting() {
    let home = Home::new();
    let receiver = Receiver::start(&[]).await;
    let listen = free_address();
    let hooks = format!(
        "[hooks.hanging]\ncommand = [\"sleep\", \"7351\"]\n[hooks.pager]\nurl = \"http://{}/\"\n",
        receiver.address
    );
    let gateway = home.start(&config(listen, backend("hello").await, &hooks)).await;
    gateway.published("www").await;
    receiver.told("obtained", 1).await;
    gateway.client().renew(&www()).await.expect("accepted");
    let renewed = receiver.told("renewed", 1).await;
    let root = gateway.client().local_ca_root("internal").await.expect("a root");
    let (answer, leaf) = TlsClient::trusting(&root)
        .ask(listen, "www.example.test")
        .await
        .expect("served");
    assert!(answer.ends_with("hello"));
    assert_eq!(leaf.serial, renewed[0].fact("serial"));
    let hooks = gateway.client().hooks().await.expect("hooks");
    assert_eq!(hooks[0].waiting, 2, "{hooks:?}");
    // Nor does it keep the gateway from its end, and it ends with it.
    assert!(gateway.terminate().await.success());
    let left = fs::read_dir("/proc").expect("Linux").filter(|entry| {
        let process = entry.as_ref().expect("an entry").path();
        fs::read(process.join("cmdline")).is_ok_and(|line| line == b"sleep\x007351\x00")
    });
    assert_eq!(left.count(), 0);
}

#[tokio::test]
async fn a_certificate_that_expires_is_told_of_once_for_each_fraction_also_over_restarts() {
    let home = Home::new();
    let receiver = Receiver::start(&[]).await;
    let ca = Authority::new();
    let pair = ca.sign_changed("bought.example.test", |params| {
        let now = SystemClock.now().to_offset_date_time().expect("in the calendar");
        params.not_before = now - time::Duration::seconds(40);
        params.not_after = now + time::Duration::seconds(20);
    });
    home.write("own.pem", &pair.whole());
    let listen = free_address();
    let config = format!(
        "[events]\nexpiring = [\"1/4\", \"1/2\", \"1/8\"]\n\
         [hooks.pager]\nurl = \"http://{}/\"\nevents = [\"expiring\"]\n\
         [certificates.own]\ncertificate_file = \"own.pem\"\n\
         [server_groups.app]\nservers = [\"{}\"]\n\
         [listeners.web]\naddress = \"{}\"\nport = {}\ncertificates = [\"own\"]\nserver_group = \"app\"\n",
        receiver.address,
        backend("hello").await,
        listen.ip(),
        listen.port()
    );
    // A third of its life is left: of the fractions, a half has passed.
    let gateway = home.start(&config).await;
    let first = receiver.told("expiring", 1).await;
    assert!(first[0].fact("detail").contains("less than 1/2"), "{first:?}");
    assert!(gateway.terminate().await.success());
    let gateway = home.start(&config).await;
    receiver.told("expiring", 2).await;
    gateway.kill().await;
    let gateway = home.start(&config).await;
    // Whoever watches sees it as well.
    let mut events = gateway.client().events().await.expect("events");
    let all = receiver.told("expiring", 3).await;
    let seen = async {
        loop {
            let event = events.next().await.expect("it goes on");
            if event.kind == "expiring" {
                return event.detail;
            }
        }
    };
    let seen = tokio::time::timeout(PATIENCE, seen).await.expect("it is seen");
    assert!(seen.contains("less than 1/8"), "{seen}");
    let details: Vec<_> = all.iter().map(|post| post.fact("detail")).collect();
    assert!(
        details[1].contains("less than 1/4") && details[2].contains("less than 1/8"),
        "{details:?}"
    );
    assert!(all.iter().all(|post| post.fact("certificate") == "own"));
}

#[tokio::test]
async fn a_failed_attempt_is_told_with_its_reason_and_when_the_next_one_is_due() {
    let home = Home::new();
    let receiver = Receiver::start(&[]).await;
    let scene = Scene::new(&[], None);
    let hook = format!("[hooks.pager]\nurl = \"http://{}/\"\n", receiver.address);
    let config = scene.config(
        &["nowhere.example.test"],
        "tls-alpn-01",
        &[backend("hello").await],
    ) + &hook;
    let _gateway = home.start(&config).await;
    let told = receiver.told("failed", 1).await;
    assert!(
        told[0].fact("detail").contains("nowhere.example.test"),
        "{told:?}"
    );
    assert!(!told[0].fact("next_attempt").is_empty(), "{told:?}");
    let body = told[0].body();
    assert!(body["serial"].is_null());
    assert_eq!(
        body["domains"],
        serde_json::json!(["nowhere.example.test"]),
        "the names that there is no certificate for"
    );
}

#[tokio::test]
async fn a_hook_can_be_tried_listed_and_added_by_a_reload() {
    let home = Home::new();
    let receiver = Receiver::start(&[]).await;
    let base = config_with("").await;
    let gateway = home.start(&base).await;
    gateway.published("www").await;
    let socket = gateway.socket().display().to_string();
    let (code, _, errors) = run(&["hook", "test", "pager", "--admin", &socket]).await;
    assert_eq!(code, 1);
    assert!(errors.contains("there is no hook `pager`"), "{errors}");

    let hooks = format!(
        "[hooks.broken]\ncommand = [\"false\"]\nevents = [\"failed\"]\n[hooks.pager]\nurl = \"http://{}/secret-path\"\n",
        receiver.address
    );
    home.configure(&format!("{base}{hooks}"));
    assert_eq!(reloaded(&gateway).await, None);
    let (code, output, errors) = run(&["hook", "test", "pager", "--admin", &socket]).await;
    assert_eq!((code, errors.as_str()), (0, ""), "{output}");
    assert_eq!(receiver.about("test").len(), 1);
    let (code, _, errors) = run(&["hook", "test", "broken", "--admin", &socket]).await;
    assert_eq!(code, 1);
    assert!(errors.contains("false ended with exit status: 1"), "{errors}");
    gateway.client().renew(&www()).await.expect("accepted");
    receiver.told("renewed", 1).await;
    let (code, output, _) = run(&["hook", "list", "--admin", &socket]).await;
    assert_eq!(code, 0);
    assert!(
        output.contains("pager") && output.contains("false") && !output.contains("secret-path"),
        "{output}"
    );

    home.configure(&base);
    assert_eq!(reloaded(&gateway).await, None);
    assert!(gateway.client().hooks().await.expect("hooks").is_empty());
}

/// HMAC-SHA256 in hex, as OpenSSL works it out.
async fn hmac(secret: &str, text: &str) -> String {
    use tokio::io::AsyncWriteExt;
    let mut openssl = Command::new("openssl")
        .args(["dgst", "-sha256", "-hmac", secret])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("openssl is installed");
    let mut stdin = openssl.stdin.take().expect("a pipe");
    stdin.write_all(text.as_bytes()).await.expect("it reads");
    drop(stdin);
    let output = openssl.wait_with_output().await.expect("it ends");
    let text = String::from_utf8(output.stdout).expect("text");
    text.rsplit(' ').next().expect("a digest").trim().to_owned()
}

#[tokio::test]
async fn over_tls_only_a_receiver_with_the_right_certificate_is_told() {
    let home = Home::new();
    let receiver = Receiver::start(&[]).await;
    // The receiver stands behind the gateway itself, where its CA has signed for `localhost`.
    let listen = crate::support::process::free_address();
    let config = |more: &str| crate::reload::config(listen, receiver.address, more);
    let gateway = home.start(&config("")).await;
    gateway.published("localhost").await;
    let root = gateway.client().local_ca_root("internal").await.expect("a root");
    home.write("root.pem", &root);
    let hook = format!("[hooks.pager]\nurl = \"https://localhost:{}/\"\n", listen.port());
    home.configure(&config(&hook));
    assert_eq!(reloaded(&gateway).await, None);
    let test = gateway.client().test_hook("pager").await.expect("an answer");
    let error = test.error.expect("the system does not know this CA");
    assert!(error.contains("cannot reach https://localhost"), "{error}");

    home.configure(&config(&format!("{hook}root_ca_file = \"root.pem\"\n")));
    assert_eq!(reloaded(&gateway).await, None);
    let test = gateway.client().test_hook("pager").await.expect("an answer");
    assert_eq!(test.error, None);
    assert_eq!(receiver.about("test").len(), 1);

    // The same CA, and another name.
    let other = hook.replace("localhost", "127.0.0.1");
    home.configure(&config(&format!("{other}root_ca_file = \"root.pem\"\n")));
    assert_eq!(reloaded(&gateway).await, None);
    let test = gateway.client().test_hook("pager").await.expect("an answer");
    assert!(test.error.is_some());
    assert_eq!(receiver.posts().len(), 1);
}
