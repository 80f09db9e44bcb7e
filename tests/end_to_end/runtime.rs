//! Listeners changed while they serve: the next handshake obeys, open connections go on, nothing acknowledged is lost.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use certgate::config::{ResourceId, ResourceKind, ResourceTable};
use rustls::SupportedProtocolVersion;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::client_authority::ClientAuthority;
use crate::gateway::{Gateway, Home, free_address, run};
use crate::peer::{Shown, TlsClient, backend};
use crate::reload::{config, reloaded};

/// A gateway with the listener `web`, and the CA bundle `partners` for it; clients with a certificate and without.
pub(crate) struct Stage {
    pub(crate) home: Home,
    pub(crate) gateway: Gateway,
    pub(crate) listen: SocketAddr,
    pub(crate) config: String,
    pub(crate) partner: TlsClient,
    pub(crate) stranger: TlsClient,
    pub(crate) ca: String,
    root: String,
    shown: Shown,
}

impl Stage {
    /// A client that shows the partner's certificate and has another key.
    pub(crate) fn thief(&self, version: &'static SupportedProtocolVersion) -> TlsClient {
        let (_, other_key) = ClientAuthority::new("somebody").sign_named("somebody");
        TlsClient::speaking(&[version], &self.root, Some((self.shown.0.clone(), other_key)))
    }

    /// One whose listener says `keys` beside the usual.
    pub(crate) async fn new(keys: &str) -> Self {
        let (home, listen) = (Home::new(), free_address());
        let ca = ClientAuthority::new("partners");
        let bundle = home.write("partners.pem", &ca.pem());
        let more = format!("{keys}[ca_bundles.partners]\nfiles = [{bundle:?}]\n");
        let config = config(listen, backend("served").await, &more);
        let gateway = home.start(&config).await;
        gateway.published("localhost").await;
        let root = gateway.client().local_ca_root("internal").await.expect("a root");
        let shown = ca.sign_named("a partner");
        Self {
            partner: TlsClient::presenting(&root, Some((shown.0.clone(), shown.1.clone_key()))),
            stranger: TlsClient::trusting(&root),
            root,
            shown,
            ca: ca.pem(),
            home,
            gateway,
            listen,
            config,
        }
    }

    /// The partner and the stranger, speaking one version of TLS only.
    pub(crate) fn clients_of(&self, version: &'static SupportedProtocolVersion) -> (TlsClient, TlsClient) {
        let (certificate, key) = &self.shown;
        let shown = (certificate.clone(), key.clone_key());
        (
            TlsClient::speaking(&[version], &self.root, Some(shown)),
            TlsClient::speaking(&[version], &self.root, None),
        )
    }

    /// What happens to a client without a certificate: `one-way` or `mutual`.
    pub(crate) async fn seen(&self) -> &'static str {
        self.partner
            .ask(self.listen, "localhost")
            .await
            .expect("a partner is always served");
        verdict(self.stranger.ask(self.listen, "localhost").await.map(drop))
    }

    pub(crate) async fn patch(&self, keys: Value) -> Result<ResourceTable, String> {
        let client = self.gateway.client();
        let changed = client.patch_resource(&web(), &table(keys), None).await;
        changed.map_err(|error| error.to_string())
    }

    /// Runs a command of the program against this gateway.
    pub(crate) async fn command(&self, arguments: &[&str]) -> (i32, String, String) {
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

    pub(crate) fn file(&self) -> PathBuf {
        self.home.path("certgate.toml")
    }

    /// SIGKILL, and another start with the file as it is.
    pub(crate) async fn killed_and_started(&mut self) {
        self.gateway.signal("KILL");
        self.gateway.ended().await;
        self.gateway = self.home.start(&self.config).await;
        self.gateway.published("localhost").await;
    }
}

pub(crate) fn verdict(asked: io::Result<()>) -> &'static str {
    match asked {
        Ok(()) => "one-way",
        Err(error) if error.to_string().contains("CertificateRequired") => "mutual",
        Err(error) => panic!("neither served nor refused for want of a certificate: {error}"),
    }
}

pub(crate) fn web() -> ResourceId {
    ResourceId::new(ResourceKind::Listener, "web")
}

pub(crate) fn table(value: Value) -> ResourceTable {
    value.as_object().expect("an object").clone()
}

pub(crate) fn mutual() -> Value {
    json!({ "authentication": "mutual", "client_ca": "partners" })
}

/// One request as it is written: status, headers in lower case, body.
pub(crate) async fn request(
    socket: &Path,
    line: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> (u16, String, Value) {
    let mut stream = UnixStream::connect(socket).await.expect("connected");
    let mut head = format!("{line} HTTP/1.1\r\nhost: certgate\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    stream.write_all(head.as_bytes()).await.expect("written");
    // One that is refused early need not be read to its end.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    let body = serde_json::from_str(body).unwrap_or_default();
    (status.expect("a status"), head.to_ascii_lowercase(), body)
}

#[tokio::test]
async fn the_next_handshake_obeys_whoever_toggles_and_open_connections_go_on() {
    let stage = Stage::new("").await;
    let mut open = stage
        .stranger
        .connect(stage.listen, "localhost")
        .await
        .expect("connected");
    assert_eq!(stage.seen().await, "one-way");

    let said = stage
        .done(&["listener", "auth", "web", "mutual", "--client-ca", "partners"])
        .await;
    assert!(said.contains("mutual") && said.contains("partners"), "{said}");
    assert_eq!(stage.seen().await, "mutual");
    stage.done(&["listener", "auth", "web", "one-way"]).await;
    assert_eq!(stage.seen().await, "one-way");
    // The bundle is remembered: one field is enough.
    let keys = stage
        .patch(json!({ "authentication": "mutual" }))
        .await
        .expect("changed");
    assert_eq!(keys["client_ca"], "partners");
    assert_eq!(stage.seen().await, "mutual");
    stage
        .patch(json!({ "authentication": "one-way" }))
        .await
        .expect("changed");
    assert_eq!(stage.seen().await, "one-way");
    let listener = "server_group = \"app\"\n";
    let mutual = format!("{listener}authentication = \"mutual\"\nclient_ca = \"partners\"\n");
    stage.home.configure(&stage.config.replace(listener, &mutual));
    assert_eq!(reloaded(&stage.gateway).await, None);
    assert_eq!(stage.seen().await, "mutual");

    open.write_all(b"GET / HTTP/1.0\r\n\r\n").await.expect("written");
    let mut answer = String::new();
    open.read_to_string(&mut answer)
        .await
        .expect("the connection goes on");
    assert!(answer.ends_with("served"), "{answer}");
}

#[tokio::test]
async fn whoever_connected_before_a_toggle_and_then_shakes_hands_meets_what_holds_now() {
    let stage = Stage::new("").await;
    let early = TcpStream::connect(stage.listen).await.expect("connected");
    // Accepted in turn, so the early one is accepted when the later one has been served.
    assert_eq!(stage.seen().await, "one-way");
    stage.patch(mutual()).await.expect("changed");
    let asked = stage.stranger.ask_over(early, "localhost").await.map(drop);
    assert_eq!(verdict(asked), "mutual");
}

/// Connected, accepted, and nothing said yet.
async fn waiting(stage: &Stage) -> TcpStream {
    let early = TcpStream::connect(stage.listen).await.expect("connected");
    // Accepted in turn, so the early one is accepted when the later one has been served.
    assert_eq!(stage.seen().await, "one-way");
    early
}

#[tokio::test]
async fn who_connected_before_a_listener_was_replaced_is_treated_as_its_successor_says() {
    let stage = Stage::new("").await;
    let (replaced, moved) = (waiting(&stage).await, waiting(&stage).await);
    stage.done(&["listener", "disable", "web"]).await;
    let auth = ["listener", "auth", "web", "mutual", "--client-ca", "partners"];
    stage.done(&auth).await;
    stage.done(&["listener", "enable", "web"]).await;
    assert_eq!(
        verdict(stage.stranger.ask_over(replaced, "localhost").await.map(drop)),
        "mutual"
    );
    // Its place is another one's part now.
    stage
        .patch(json!({ "address": "0.0.0.0" }))
        .await
        .expect("changed");
    assert_eq!(
        verdict(stage.stranger.ask_over(moved, "localhost").await.map(drop)),
        "mutual"
    );
}

#[tokio::test]
async fn who_connected_before_a_listener_was_disabled_or_renamed_gets_nothing() {
    let stage = Stage::new("").await;
    let (disabled, renamed) = (waiting(&stage).await, waiting(&stage).await);
    stage.done(&["listener", "disable", "web"]).await;
    let refused = stage
        .stranger
        .ask_over(disabled, "localhost")
        .await
        .expect_err("refused");
    assert!(refused.to_string().contains("AccessDenied"), "{refused}");

    let mut keys = table(mutual());
    keys.extend(table(json!({
        "address": stage.listen.ip(), "port": stage.listen.port(),
        "certificates": ["localhost"], "server_group": "app",
    })));
    let other = ResourceId::new(ResourceKind::Listener, "other");
    let client = stage.gateway.client();
    client.put_resource(&other, &keys, None).await.expect("made");
    let refused = stage
        .stranger
        .ask_over(renamed, "localhost")
        .await
        .expect_err("refused");
    assert!(refused.to_string().contains("AccessDenied"), "{refused}");
}

#[tokio::test]
async fn a_listener_made_at_run_time_serves_survives_a_restart_and_goes() {
    let mut stage = Stage::new("").await;
    let added = free_address();
    let keys = json!({
        "address": added.ip(), "port": added.port(), "certificates": ["localhost"], "server_group": "app",
    });
    let more = ResourceId::new(ResourceKind::Listener, "more");
    let client = stage.gateway.client();
    client
        .put_resource(&more, &table(keys), None)
        .await
        .expect("made");
    stage.stranger.ask(added, "localhost").await.expect("served");
    stage.killed_and_started().await;
    stage.stranger.ask(added, "localhost").await.expect("served");
    assert_eq!(reloaded(&stage.gateway).await, None);
    stage.stranger.ask(added, "localhost").await.expect("served");
    let status = stage.done(&["status"]).await;
    assert!(status.contains("listeners/more: added at run time"), "{status}");

    stage
        .gateway
        .client()
        .delete_resource(&more)
        .await
        .expect("deleted");
    let refused = stage
        .stranger
        .connect(added, "localhost")
        .await
        .expect_err("gone");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_disabled_listener_accepts_no_more_stays_configured_and_comes_back() {
    let mut stage = Stage::new("").await;
    let mut open = stage
        .stranger
        .connect(stage.listen, "localhost")
        .await
        .expect("connected");
    stage.done(&["listener", "disable", "web"]).await;
    let refused = stage
        .stranger
        .connect(stage.listen, "localhost")
        .await
        .expect_err("disabled");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    let status = stage.done(&["status"]).await;
    assert!(status.contains("(disabled)"), "{status}");
    open.write_all(b"GET / HTTP/1.0\r\n\r\n").await.expect("written");
    let mut answer = String::new();
    open.read_to_string(&mut answer)
        .await
        .expect("the connection goes on");
    assert!(answer.ends_with("served"), "{answer}");

    stage.killed_and_started().await;
    let refused = stage
        .stranger
        .connect(stage.listen, "localhost")
        .await
        .expect_err("still");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    stage.done(&["listener", "enable", "web"]).await;
    assert_eq!(stage.seen().await, "one-way");
}
