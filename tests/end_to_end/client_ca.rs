//! The local CA for clients: what it signs lets in, what it revokes is refused at the next handshake.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::gateway::{Gateway, Home, PATIENCE, free_address, run};
use crate::peer::{TlsClient, backend};
use crate::reload::config;

/// A gateway with a mutual listener `web` for clients of its own CA, and a plain one.
pub(crate) struct Stage {
    pub(crate) home: Home,
    pub(crate) gateway: Gateway,
    web: SocketAddr,
    plain: SocketAddr,
    pub(crate) config: String,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let (home, web, plain) = (Home::new(), free_address(), free_address());
        let more = format!(
            "authentication = \"mutual\"\nclient_ca = \"staff\"\n\
             [listeners.plain]\nprotocol = \"http\"\naddress = \"{}\"\nport = {}\n\
             [ca_bundles.staff]\nissuer = \"internal\"\n\
             [issuers.world]\nkind = \"acme\"\ndirectory = \"letsencrypt\"\nagree_to_terms = true\n\
             [gateway]\naddresses = [\"{}\"]\nhostname = \"gate.example\"\n",
            plain.ip(),
            plain.port(),
            web.ip(),
        );
        let config = config(web, backend("let in").await, &more);
        let gateway = home.start(&config).await;
        gateway.published("localhost").await;
        let stage = Self {
            home,
            gateway,
            web,
            plain,
            config,
        };
        let root = stage.done(&["ca", "export", "internal"]).await;
        stage.home.write("root.pem", &root);
        stage
    }

    async fn command(&self, arguments: &[&str]) -> (i32, String, String) {
        let socket = self.gateway.socket().display().to_string();
        let mut all = arguments.to_vec();
        all.extend(["--admin", &socket]);
        run(&all).await
    }

    pub(crate) async fn done(&self, arguments: &[&str]) -> String {
        let (code, output, errors) = self.command(arguments).await;
        assert_eq!(code, 0, "{arguments:?}: {errors}");
        output
    }

    pub(crate) async fn refused(&self, arguments: &[&str], says: &str) {
        let (code, output, errors) = self.command(arguments).await;
        assert_eq!((code, output.as_str()), (1, ""), "{arguments:?}");
        assert!(errors.contains(says), "{arguments:?}: {errors}");
    }

    pub(crate) fn at(&self, file: &str) -> String {
        self.home.path(file).display().to_string()
    }

    /// A certificate for `name`, in `name.pem` with its key; its serial number.
    pub(crate) async fn issued(&self, name: &str) -> String {
        let pem = self.at(&format!("{name}.pem"));
        let issue = [
            "ca",
            "issue",
            "internal",
            "--common-name",
            name,
            "--pem",
            &pem,
            "--output",
            "json",
        ];
        let answer: Value = serde_json::from_str(&self.done(&issue).await).expect("JSON");
        answer["certificate"]["serial"]
            .as_str()
            .expect("a number")
            .to_owned()
    }

    /// Whether curl gets through with these arguments.
    pub(crate) async fn enters(&self, arguments: &[&str]) -> bool {
        let connect = format!("localhost:{}:{}", self.web.port(), self.web.ip());
        let url = format!("https://localhost:{}/", self.web.port());
        let mut all = vec!["--silent", "--cacert", "root.pem", "--resolve", &connect, &url];
        all.extend(arguments);
        let output = self.tool("curl", &all).await;
        match (output.0, output.1.as_str()) {
            (true, "let in") => true,
            (false, "") => false,
            found => panic!("{arguments:?}: {found:?}"),
        }
    }

    /// A tool's success, standard output and standard error, in the home.
    async fn tool(&self, program: &str, arguments: &[&str]) -> (bool, String, String) {
        let mut tool = Command::new(program);
        tool.args(arguments)
            .current_dir(self.home.path("."))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, tool.output()).await;
        let output = output
            .expect("in time")
            .unwrap_or_else(|_| panic!("{program} is needed"));
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.success(),
            text(&output.stdout),
            text(&output.stderr),
        )
    }

    pub(crate) async fn openssl(&self, arguments: &[&str]) -> String {
        let (success, output, errors) = self.tool("openssl", arguments).await;
        assert!(success, "{arguments:?}: {errors}");
        output
    }

    /// The CRL as anybody gets it, in `found.crl`.
    pub(crate) async fn fetch_crl(&self) {
        let url = format!("http://{}/crl/internal.crl", self.plain);
        let fetch = ["--silent", "--fail", "--output", "found.crl", &url];
        assert!(self.tool("curl", &fetch).await.0);
    }

    async fn metrics(&self) -> String {
        let socket = self.gateway.socket().display().to_string();
        let ask = ["--silent", "--unix-socket", &socket, "http://certgate/metrics"];
        self.tool("curl", &ask).await.1
    }

    pub(crate) async fn killed_and_started(&mut self) {
        self.gateway.signal("KILL");
        self.gateway.ended().await;
        self.gateway = self.home.start(&self.config).await;
        self.gateway.published("localhost").await;
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

#[tokio::test]
async fn a_client_enters_with_what_the_ca_gave_it_as_pem_and_as_pkcs12() {
    let stage = Stage::new().await;
    stage.home.write("password", "a secret\n");
    let (pem, p12, password) = (stage.at("alice.pem"), stage.at("alice.p12"), stage.at("password"));
    let issue = [
        "ca",
        "issue",
        "internal",
        "--common-name",
        "alice",
        "--dns",
        "alice.example",
        "--uri",
        "spiffe://example/alice",
        "--email",
        "alice@example.com",
        "--pem",
        &pem,
        "--pkcs12",
        &p12,
        "--password-file",
        &password,
    ];
    let told = stage.done(&issue).await;
    assert!(told.contains(&pem) && !told.contains("a secret"), "{told}");
    assert_eq!([mode(pem.as_ref()), mode(p12.as_ref())], [0o600, 0o600]);

    assert!(!stage.enters(&[]).await);
    assert!(stage.enters(&["--cert", "alice.pem"]).await);
    let p12_of_curl = ["--cert-type", "P12", "--cert", "alice.p12:a secret"];
    assert!(stage.enters(&p12_of_curl).await);

    let text = stage
        .openssl(&["x509", "-noout", "-text", "-in", "alice.pem"])
        .await;
    for said in [
        "TLS Web Client Authentication",
        "DNS:alice.example, URI:spiffe://example/alice, email:alice@example.com",
        &format!("URI:http://gate.example:{}/crl/internal.crl", stage.plain.port()),
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }

    // Browsers of Mozilla, and Chromium on Linux, keep certificates by this library.
    let database = ["-d", "sql:.", "-f", "password", "--empty-password"];
    assert!(
        stage
            .tool("certutil", &["-N", database[0], database[1], database[4]])
            .await
            .0
    );
    let import = ["-i", "alice.p12", "-w", "password", "-d", "sql:."];
    let (imported, _, errors) = stage.tool("pk12util", &import).await;
    assert!(imported, "{errors}");
    let keys = stage.tool("certutil", &["-K", "-d", "sql:."]).await.1;
    assert!(keys.contains("alice"), "{keys}");

    let again = stage.command(&issue).await;
    assert!(again.0 == 1 && again.2.contains("already"), "{again:?}");
}

#[tokio::test]
async fn a_password_that_is_made_is_printed_and_opens_the_file() {
    let stage = Stage::new().await;
    let p12 = stage.at("bob.p12");
    let issue = [
        "ca",
        "issue",
        "internal",
        "--common-name",
        "bob",
        "--pkcs12",
        &p12,
    ];
    let told = stage.done(&issue).await;
    let row = told.lines().find_map(|line| line.trim().strip_prefix("password"));
    let password = row.expect("a password").trim();
    assert!(password.len() >= 24, "{password}");
    let certificate = format!("bob.p12:{password}");
    assert!(
        stage
            .enters(&["--cert-type", "P12", "--cert", &certificate])
            .await
    );
    assert!(!stage.home.log().contains(password));
}

#[tokio::test]
async fn a_revoked_client_is_refused_at_the_next_handshake_also_after_a_kill() {
    let mut stage = Stage::new().await;
    let alice = stage.issued("alice").await;
    stage.issued("bob").await;
    let (as_alice, as_bob) = (["--cert", "alice.pem"], ["--cert", "bob.pem"]);
    assert!(stage.enters(&as_alice).await && stage.enters(&as_bob).await);
    let revoke = [
        "ca",
        "revoke",
        "internal",
        &alice,
        "--reason",
        "key-compromise",
        "--output",
        "json",
    ];
    let first = stage.done(&revoke).await;
    assert!(!stage.enters(&as_alice).await);
    assert!(stage.enters(&as_bob).await);
    let counted = r#"rejections_total{listener="web",reason="revoked"} 1"#;
    let metrics = stage.metrics().await;
    assert!(metrics.contains(counted), "{metrics}");
    let again = ["ca", "revoke", "internal", &alice, "--output", "json"];
    assert_eq!(stage.done(&again).await, first, "time and reason stay");

    stage
        .done(&["ca", "revoke", "internal", "--common-name", "bob"])
        .await;
    stage.killed_and_started().await;
    assert!(!stage.enters(&as_alice).await);
    assert!(!stage.enters(&as_bob).await);
    let list: Value =
        serde_json::from_str(&stage.done(&["ca", "list", "--output", "json"]).await).expect("JSON");
    assert_eq!(list[0]["local_ca"]["clients"]["revoked"], 2, "{list}");
    // The first with the CA, and one for each.
    assert_eq!(list[0]["local_ca"]["clients"]["crl_number"], 3, "{list}");
    let shown = stage.done(&["ca", "show", "internal"]).await;
    assert!(shown.contains("revoked (key-compromise)"), "{shown}");
}

#[tokio::test]
async fn a_session_from_before_the_revocation_is_worth_nothing() {
    for version in ["-tls1_2", "-tls1_3"] {
        let stage = Stage::new().await;
        let alice = stage.issued("alice").await;
        let came = async |session: [&str; 2]| {
            let web = stage.web.to_string();
            let mut openssl = Command::new("openssl");
            openssl
                .args(["s_client", "-connect", &web, "-servername", "localhost", version])
                .args(["-cert", "alice.pem", "-cert_chain", "alice.pem", "-ign_eof"])
                .args(session)
                .current_dir(stage.home.path("."))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .kill_on_drop(true);
            let mut child = openssl.spawn().expect("openssl is installed");
            let mut stdin = child.stdin.take().expect("piped");
            // Who is refused may be gone already.
            let _ = stdin.write_all(b"\r\n").await;
            let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
            let output = output.expect("in time").expect("openssl has run");
            String::from_utf8_lossy(&output.stdout).contains("let in")
        };
        assert!(came(["-sess_out", "session"]).await, "{version}");
        let session: [&str; 2] = match stage.home.path("session").exists() {
            true => ["-sess_in", "session"],
            false => ["-sess_out", "other"],
        };
        assert!(came(session).await, "{version}");
        stage.done(&["ca", "revoke", "internal", &alice]).await;
        assert!(!came(session).await, "{version}");
    }
}

#[tokio::test]
async fn a_connection_of_a_revoked_client_goes_on_until_a_recheck() {
    let stage = Stage::new().await;
    let alice = stage.issued("alice").await;
    let root = std::fs::read_to_string(stage.at("root.pem")).expect("read");
    let pem = std::fs::read(stage.at("alice.pem")).expect("read");
    let chain = CertificateDer::from_pem_slice(&pem).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(&pem).expect("a key");
    let client = TlsClient::presenting(&root, Some((chain, key)));
    let mut open = client.connect(stage.web, "localhost").await.expect("let in");
    stage.done(&["ca", "revoke", "internal", &alice]).await;
    let recheck = stage.done(&["listener", "recheck", "web", "--dry-run"]).await;
    assert!(
        recheck.contains("revoked") && recheck.contains("CN=alice"),
        "{recheck}"
    );
    open.write_all(b"GET / HTTP/1.0\r\n\r\n").await.expect("written");
    let mut answer = String::new();
    open.read_to_string(&mut answer).await.expect("it goes on");
    assert!(answer.ends_with("let in"), "{answer}");
}

#[tokio::test]
async fn a_revocation_is_in_force_whatever_has_become_of_the_files_of_bundles() {
    let stage = Stage::new().await;
    let other = stage.home.write(
        "other.pem",
        &std::fs::read_to_string(stage.at("root.pem")).expect("read"),
    );
    let more = format!("[ca_bundles.other]\nfiles = [{other:?}]\n");
    stage.home.configure(&format!("{}{more}", stage.config));
    assert_eq!(crate::reload::reloaded(&stage.gateway).await, None);
    let alice = stage.issued("alice").await;
    assert!(stage.enters(&["--cert", "alice.pem"]).await);
    stage.home.write("other.pem", "garbage");
    stage.done(&["ca", "revoke", "internal", &alice]).await;
    assert!(!stage.enters(&["--cert", "alice.pem"]).await);
}

#[tokio::test]
async fn the_crl_over_http_is_what_openssl_verifies_with() {
    let stage = Stage::new().await;
    let alice = stage.issued("alice").await;
    stage.issued("bob").await;
    stage.fetch_crl().await;
    let verify = [
        "verify",
        "-crl_check",
        "-purpose",
        "sslclient",
        "-x509_strict",
        "-CAfile",
        "root.pem",
        "-CRLfile",
        "found.crl",
        "-untrusted",
        "alice.pem",
        "alice.pem",
    ];
    stage.openssl(&verify).await;
    stage.done(&["ca", "revoke", "internal", &alice]).await;
    stage.fetch_crl().await;
    let (_, output, errors) = stage.tool("openssl", &verify).await;
    assert!(errors.contains("certificate revoked"), "{output}{errors}");
    stage
        .openssl(
            &verify
                .map(|argument| argument.replace("alice.pem", "bob.pem"))
                .each_ref()
                .map(String::as_str),
        )
        .await;

    // The same one, at the command line; signed by the CA below the root.
    let file = stage.at("told.crl");
    stage.done(&["ca", "crl", "internal", "--out", &file]).await;
    let of = async |file: &str| stage.openssl(&["crl", "-noout", "-text", "-in", file]).await;
    let text = of("told.crl").await;
    assert_eq!(of("found.crl").await, text);
    assert!(text.to_lowercase().contains(&alice), "{text}");
    let chain = std::fs::read_to_string(stage.at("alice.pem")).expect("read");
    let authority = chain.split_inclusive("-----END CERTIFICATE-----\n").nth(1);
    stage
        .home
        .write("authority.pem", authority.expect("two certificates"));
    let check = ["crl", "-noout", "-in", "found.crl", "-CAfile", "authority.pem"];
    let (_, _, said) = stage.tool("openssl", &check).await;
    assert!(said.contains("verify OK"), "{said}");
}

#[tokio::test]
async fn a_bundle_made_at_run_time_lets_in_the_clients_of_the_local_ca() {
    let (home, web) = (Home::new(), free_address());
    let config = config(web, backend("let in").await, "");
    let gateway = home.start(&config).await;
    gateway.published("localhost").await;
    let stage = Stage {
        home,
        gateway,
        web,
        plain: web,
        config,
    };
    let root = stage.done(&["ca", "export", "internal"]).await;
    stage.home.write("root.pem", &root);
    stage.refused(&["ca", "crl", "internal"], "has no CRL").await;
    let socket = stage.gateway.socket().display().to_string();
    let put = [
        "--silent",
        "--fail",
        "--unix-socket",
        &socket,
        "--request",
        "PUT",
        "--json",
        r#"{"issuer":"internal"}"#,
        "http://certgate/v1/ca-bundles/staff",
    ];
    let (success, _, errors) = stage.tool("curl", &put).await;
    assert!(success, "{errors}");
    stage
        .done(&["listener", "auth", "web", "mutual", "--client-ca", "staff"])
        .await;
    assert!(!stage.enters(&[]).await);
    stage.issued("alice").await;
    assert!(stage.enters(&["--cert", "alice.pem"]).await);
    let bundles = stage.done(&["ca-bundle", "list"]).await;
    assert!(bundles.contains("internal"), "{bundles}");
}
