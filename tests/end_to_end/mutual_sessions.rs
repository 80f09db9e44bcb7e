//! Sessions that openssl has saved: what they are worth after a change of who may enter, or at another listener.

use std::net::SocketAddr;
use std::process::{Command as Script, Stdio};
use std::time::{Duration, Instant};

use certgate::admin::api::{ApplyRequest, FileText};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::foreign_clients::NO_ROOTS;
use crate::gateway::{Gateway, Home, PATIENCE, free_address};
use crate::peer::backend;
use crate::reload::{config, reloaded};

/// What a connection of openssl came to.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Came {
    Full,
    Refused,
    Resumed,
}

/// A gateway with two listeners for one local certificate, and client certificates in its home.
pub(crate) struct Scene {
    pub(crate) home: Home,
    pub(crate) gateway: Gateway,
    pub(crate) web: SocketAddr,
    pub(crate) other: SocketAddr,
    file: String,
}

pub(crate) const MUTUAL: &str = "authentication = \"mutual\"\nclient_ca = \"partners\"\n";
const OBSERVE: &str = "authentication = \"observe\"\nclient_ca = \"partners\"\n";

impl Scene {
    /// The listeners `web` and `other` begin with these lines of their own.
    pub(crate) async fn new(web_is: &str, other_is: &str) -> Self {
        Self::before(backend("hello").await, web_is, other_is).await
    }

    /// The same, in front of `server`.
    pub(crate) async fn before(server: SocketAddr, web_is: &str, other_is: &str) -> Self {
        Self::with("client_certificates.sh", server, web_is, other_is).await
    }

    /// The same, with what a script of the fixtures makes.
    pub(crate) async fn with(script: &str, server: SocketAddr, web_is: &str, other_is: &str) -> Self {
        let (home, web, other) = (Home::new(), free_address(), free_address());
        let mut make = Script::new("sh");
        make.arg(format!("{}/tests/fixtures/{script}", env!("CARGO_MANIFEST_DIR")))
            .current_dir(home.path("."));
        let made = make.output().expect("sh is there");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let second = format!(
            "[listeners.other]\naddress = \"{}\"\nport = {}\ncertificates = [\"localhost\"]\nserver_group = \"app\"\n\
             {other_is}[ca_bundles.partners]\nfiles = [\"root.pem\", \"other.pem\"]\ncrl_files = [\"listed.crl\"]\n",
            other.ip(),
            other.port()
        );
        std::fs::copy(home.path("root.crl"), home.path("listed.crl")).expect("copied");
        let file = config(web, server, "<web>").replace("<web>", &format!("{web_is}{second}"));
        let gateway = home.start(&file).await;
        gateway.published("localhost").await;
        Self {
            home,
            gateway,
            web,
            other,
            file,
        }
    }

    /// One connection of openssl, with the certificate `client`, or none; `session` is where it is saved, or used.
    pub(crate) async fn call(
        &self,
        at: SocketAddr,
        version: &str,
        client: Option<&str>,
        session: &[&str],
    ) -> Came {
        let address = at.to_string();
        let mut arguments = vec![
            "s_client",
            "-connect",
            &address,
            "-servername",
            "localhost",
            version,
        ];
        let (chain, key) = client.map_or_else(Default::default, |client| {
            (format!("{client}.pem"), format!("{client}.key"))
        });
        if client.is_some() {
            arguments.extend(["-cert", &chain, "-key", &key]);
        }
        arguments.extend(session);
        // The backend answers and closes, so that openssl sees a refusal or an answer, and a ticket before that.
        arguments.push("-ign_eof");
        let mut child = Command::new("openssl")
            .args(arguments)
            .env("SSL_CERT_FILE", NO_ROOTS)
            .current_dir(self.home.path("."))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("openssl is installed");
        let mut stdin = child.stdin.take().expect("piped");
        // An empty request; who is refused may be gone already.
        let _ = stdin.write_all(b"\r\n").await;
        let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
        let output = output.expect("in time").expect("openssl has run");
        let text = String::from_utf8_lossy(&output.stdout);
        match (text.contains("hello"), text.contains("Reused, ")) {
            (false, _) => Came::Refused,
            (true, true) => Came::Resumed,
            (true, false) => Came::Full,
        }
    }

    /// `session`, if there is one: without a ticket openssl may save nothing.
    fn saved<'s>(&self, session: &'s [&'s str; 2]) -> &'s [&'s str] {
        match self.home.path(session[1]).exists() {
            true => session,
            false => &[],
        }
    }

    async fn becomes(&self, from: &str, to: &str) {
        assert!(self.file.contains(from));
        self.home.configure(&self.file.replacen(from, to, 1));
        assert_eq!(reloaded(&self.gateway).await, None);
    }

    /// As [`becomes`](Self::becomes), where less is asked of clients: no reload does that.
    async fn is_lowered(&self, from: &str, to: &str) {
        assert!(self.file.contains(from));
        self.home.configure(&self.file.replacen(from, to, 1));
        let path = self.home.path("certgate.toml");
        let file = FileText {
            text: std::fs::read_to_string(&path).expect("it was written"),
            path: path.display().to_string(),
        };
        let request = ApplyRequest {
            files: vec![file],
            allow_downgrade: true,
            dry_run: false,
        };
        let report = self.gateway.client().apply(&request).await;
        assert!(report.expect("it is allowed").applied);
    }

    /// Waits until a client comes to `expected`: bundles' files are taken over a moment after they change.
    async fn comes_to(&self, client: &str, expected: Came) {
        let start = Instant::now();
        while self.call(self.web, "-tls1_3", Some(client), &[]).await != expected {
            assert!(
                start.elapsed() < PATIENCE,
                "{client} does not come to {expected:?}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) async fn metrics(&self) -> String {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--fail", "--unix-socket"])
            .arg(self.gateway.socket());
        let output = curl
            .arg("http://certgate/metrics")
            .output()
            .await
            .expect("curl is installed");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

const SAVE: [&str; 2] = ["-sess_out", "session"];
const USE: [&str; 2] = ["-sess_in", "session"];

#[tokio::test]
async fn a_saved_session_is_worth_nothing_after_a_toggle_and_something_after_any_other_change() {
    for version in ["-tls1_2", "-tls1_3"] {
        let scene = Scene::new("idle_timeout = \"60s\"\n", "").await;
        let web = scene.web;
        assert_eq!(scene.call(web, version, None, &SAVE).await, Came::Full);
        assert_eq!(scene.call(web, version, None, &USE).await, Came::Resumed);
        assert_eq!(
            scene.call(scene.other, version, None, &USE).await,
            Came::Full,
            "another listener"
        );
        scene.becomes("60s", "61s").await;
        assert_eq!(
            scene.call(web, version, None, &USE).await,
            Came::Resumed,
            "{version}"
        );

        scene.becomes("idle_timeout = \"60s\"\n", MUTUAL).await;
        assert_eq!(
            scene.call(web, version, None, &USE).await,
            Came::Refused,
            "{version}"
        );
        assert_eq!(
            scene.call(web, version, Some("valid"), &USE).await,
            Came::Full,
            "{version}"
        );
        scene.is_lowered("idle_timeout = \"60s\"\n", OBSERVE).await;
        assert_eq!(
            scene.call(web, version, None, &USE).await,
            Came::Full,
            "{version}"
        );
        scene.is_lowered("60s", "60s").await;
        assert_eq!(
            scene.call(web, version, None, &USE).await,
            Came::Full,
            "{version}"
        );
    }
}

#[tokio::test]
async fn a_session_saved_at_a_mutual_listener_is_worth_nothing_after_a_crl_has_changed_or_a_ca_is_gone() {
    for version in ["-tls1_2", "-tls1_3"] {
        let scene = Scene::new(MUTUAL, "").await;
        let web = scene.web;
        for (client, file) in [("other-root", "other.session"), ("valid", "valid.session")] {
            let came = scene.call(web, version, Some(client), &["-sess_out", file]).await;
            assert_eq!(came, Came::Full, "{version}");
        }
        // One without a certificate, at the listener that asks for none: it opens the other one no more.
        assert_eq!(scene.call(scene.other, version, None, &SAVE).await, Came::Full);
        assert_eq!(
            scene.call(web, version, None, &USE).await,
            Came::Refused,
            "{version}"
        );

        std::fs::copy(scene.home.path("empty.crl"), scene.home.path("listed.crl")).expect("copied");
        scene.comes_to("revoked", Came::Full).await;
        let came = scene
            .call(web, version, Some("revoked"), &["-sess_out", "revoked.session"])
            .await;
        assert_eq!(came, Came::Full, "{version}: it is on no CRL yet");
        std::fs::copy(scene.home.path("root.crl"), scene.home.path("listed.crl")).expect("copied");
        scene.comes_to("revoked", Came::Refused).await;
        for (client, file, expected) in [
            ("revoked", "revoked.session", Came::Refused),
            ("valid", "valid.session", Came::Full),
            ("other-root", "other.session", Came::Full),
        ] {
            let came = scene
                .call(web, version, Some(client), scene.saved(&["-sess_in", file]))
                .await;
            assert_eq!(came, expected, "{version} {client}");
        }

        scene.becomes("\"root.pem\", \"other.pem\"", "\"root.pem\"").await;
        for session in [&["-sess_in", "other.session"], &USE] {
            let came = scene
                .call(web, version, Some("other-root"), scene.saved(session))
                .await;
            assert_eq!(came, Came::Refused, "{version}");
        }
        let session = scene.saved(&["-sess_in", "valid.session"]);
        assert_eq!(
            scene.call(web, version, Some("valid"), session).await,
            Came::Full,
            "{version}"
        );
    }
}

#[tokio::test]
async fn a_session_of_another_name_with_weaker_rules_is_worth_nothing() {
    const ANOTHER: &str = "weaker.localhost";
    for version in ["-tls1_2", "-tls1_3"] {
        let scene = Scene::new(MUTUAL, "").await;
        let (web, other) = (scene.web, scene.other);
        // Saved where nobody is asked for a certificate, under a name that only that listener is for.
        let save = ["-servername", ANOTHER, "-sess_out", "session"];
        assert_eq!(scene.call(other, version, None, &save).await, Came::Full);
        let again = ["-servername", ANOTHER, "-sess_in", "session"];
        assert_eq!(
            scene.call(other, version, None, &again).await,
            Came::Resumed,
            "{version}"
        );
        for name in [ANOTHER, "localhost"] {
            let session = ["-servername", name, "-sess_in", "session"];
            let came = scene.call(web, version, None, &session).await;
            assert_eq!(came, Came::Refused, "{version} {name}");
            let came = scene.call(web, version, Some("valid"), &session).await;
            assert_eq!(came, Came::Full, "{version} {name}");
        }
        // Nor does one listener go on under one name with what was agreed under another.
        let came = scene
            .call(
                other,
                version,
                None,
                &["-servername", "localhost", "-sess_in", "session"],
            )
            .await;
        assert_eq!(came, Came::Full, "{version}");
    }
}

#[tokio::test]
async fn a_session_of_tls_1_2_without_a_ticket_is_remembered_by_no_listener() {
    let scene = Scene::new("idle_timeout = \"60s\"\n", "").await;
    let save = ["-no_ticket", "-sess_out", "session"];
    assert_eq!(scene.call(scene.web, "-tls1_2", None, &save).await, Came::Full);
    // There may be nothing to save.
    let again = [&["-no_ticket"][..], scene.saved(&USE)].concat();
    for at in [scene.web, scene.other] {
        assert_eq!(scene.call(at, "-tls1_2", None, &again).await, Came::Full);
    }
    scene.becomes("idle_timeout = \"60s\"\n", MUTUAL).await;
    let came = scene.call(scene.web, "-tls1_2", None, &again).await;
    assert_eq!(came, Came::Refused);
}

#[tokio::test]
async fn the_files_of_a_bundle_are_taken_over_when_they_change_and_kept_out_when_they_are_damaged() {
    let scene = Scene::new(MUTUAL, OBSERVE).await;
    scene.comes_to("valid", Came::Full).await;
    let crl = scene.home.path("listed.crl");
    let take = |name: &str| {
        std::fs::copy(scene.home.path(name), &crl)
            .map(drop)
            .expect("copied")
    };
    take("root-expired.crl");
    scene.comes_to("valid", Came::Refused).await;
    let status = scene.gateway.client().status().await.expect("a status");
    assert!(
        status.warnings.iter().any(|line| line.contains("out of date")),
        "{:?}",
        status.warnings
    );
    assert!(
        scene
            .metrics()
            .await
            .contains(r#"rejections_total{listener="web",reason="crl-expired"}"#)
    );
    // Damaged, foreign, not a CRL at all: nothing changes, and the log says why.
    for (text, says) in [
        (
            std::fs::read(scene.home.path("namesake.crl")).expect("read"),
            "signature is not by",
        ),
        (b"garbage".to_vec(), "holds no CRL"),
    ] {
        std::fs::write(&crl, text).expect("written");
        let start = Instant::now();
        while !scene.home.log().contains(says) {
            assert!(start.elapsed() < PATIENCE, "{says}: {}", scene.home.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let came = scene.call(scene.web, "-tls1_3", Some("valid"), &[]).await;
        assert_eq!(came, Came::Refused, "{says}");
    }
    take("root.crl");
    scene.comes_to("valid", Came::Full).await;

    let other = scene.other;
    assert_eq!(
        scene.call(other, "-tls1_3", Some("revoked"), &[]).await,
        Came::Full
    );
    assert_eq!(scene.call(other, "-tls1_3", None, &[]).await, Came::Full);
    let status = scene.gateway.client().status().await.expect("a status");
    let listener = status.listeners.iter().find(|listener| listener.name == "other");
    let kinds = listener.expect("is there").would_refuse.iter();
    let mut reasons: Vec<_> = kinds.map(|kind| (kind.reason.as_str(), kind.count)).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, [("no-certificate", 1), ("revoked", 1)]);
    let metrics = scene.metrics().await;
    assert!(
        metrics.contains(r#"observations_total{listener="other",verdict="revoked"} 1"#),
        "{metrics}"
    );
}
