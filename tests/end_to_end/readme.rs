//! The commands that the README shows for mutual authentication, run as they are written there.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use certgate::config::ResourceKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::client_authority::ClientAuthority;
use crate::examples::document;
use crate::gateway::{Gateway, Home, PATIENCE, certgate, free_address};
use crate::peer::{TlsClient, backend};
use crate::reload::config;
use crate::runtime::verdict;

#[tokio::test]
async fn the_five_lines_of_the_readme_toggle_a_listener_as_they_say() {
    let stage = Stage::new().await;
    let lines = commands("certgate ca-bundle add partners");
    let [add, observe, mutual, recheck, one_way] = lines.as_slice() else {
        panic!("five lines are promised: {lines:?}");
    };
    let connect = stage.stranger.connect(stage.listen, "localhost");
    let mut open = connect.await.expect("connected");

    stage.shell(add).await;
    assert_eq!(stage.seen().await, "one-way");
    stage.shell(observe).await;
    assert_eq!(stage.seen().await, "one-way");
    let status = stage.shell("certgate status").await;
    assert!(status.contains("no-certificate"), "{status}");
    stage.shell(mutual).await;
    assert_eq!(stage.seen().await, "mutual");
    let said = stage.shell(recheck).await;
    assert!(said.contains(" 1 of them would not be let in now"), "{said}");
    open.write_all(b"GET / HTTP/1.0\r\n\r\n").await.expect("written");
    let mut answer = String::new();
    let read = open.read_to_string(&mut answer).await;
    read.expect("the connection goes on");
    assert!(answer.ends_with("served"), "{answer}");
    stage.shell(one_way).await;
    assert_eq!(stage.seen().await, "one-way");
    assert_eq!(stage.client_ca().await, "partners", "it is remembered");
}

#[tokio::test]
async fn the_request_that_the_readme_shows_toggles_a_listener() {
    let stage = Stage::new().await;
    stage.shell(&commands("certgate ca-bundle add partners")[0]).await;
    let lines = commands("curl --unix-socket");
    let [request] = lines.as_slice() else {
        panic!("one command is expected: {lines:?}");
    };
    let place = "/var/lib/certgate/admin.sock";
    assert!(request.contains(place), "{request}");
    let socket = stage.gateway.socket().display().to_string();
    stage.shell(&request.replace(place, &socket)).await;
    assert_eq!(stage.seen().await, "mutual");
}

#[tokio::test]
async fn a_client_of_the_gateway_s_own_ca_comes_in_and_is_revoked_as_the_readme_says() {
    let stage = Stage::new().await;
    let lines = commands("certgate ca issue");
    let [issue, revoke] = lines.as_slice() else {
        panic!("two commands are expected: {lines:?}");
    };
    stage
        .shell("certgate listener auth web mutual --client-ca staff")
        .await;
    let said = stage.shell(issue).await;
    let password = said.lines().find_map(|line| line.trim().strip_prefix("password"));
    let password = password
        .expect("it is told")
        .trim()
        .trim_start_matches(':')
        .trim();
    let curl = format!(
        "curl --silent --show-error --cacert root.pem --connect-to ::{} --cert-type P12 --cert alice.p12:'{password}' \
         https://localhost/",
        stage.listen
    );
    assert_eq!(stage.shell(&curl).await, "served");
    stage.shell(revoke).await;
    let (is_done, _, errors) = stage.output(&curl).await;
    assert!(!is_done && errors.contains("revoked"), "{errors}");
}

/// The commands of the README's block that begins with `beginning`, without what is said of them.
fn commands(beginning: &str) -> Vec<String> {
    let readme = document("README.md");
    let beginning = format!("```console\n$ {beginning}");
    let found = readme
        .find(&beginning)
        .unwrap_or_else(|| panic!("the README has no {beginning}"));
    let block = readme[found..].split("```").nth(1).expect("its end");
    let block = block.trim_start_matches("console\n$ ").trim_end();
    let command = |line: &str| line.split("  #").next().unwrap_or_default().trim().to_owned();
    block.split("\n$ ").map(command).collect()
}

/// A gateway in a directory, as the README has it: a listener `web`, and the root of its clients.
struct Stage {
    home: Home,
    gateway: Gateway,
    listen: SocketAddr,
    partner: TlsClient,
    stranger: TlsClient,
}

impl Stage {
    async fn new() -> Self {
        let (home, listen) = (Home::new(), free_address());
        let ca = ClientAuthority::new("partners");
        home.write("partner-root.pem", &ca.pem());
        let staff = "[ca_bundles.staff]\nissuer = \"internal\"\n";
        home.write("certgate.toml", &config(listen, backend("served").await, staff));
        let gateway = home.launch_here(&["run", "--config", "certgate.toml"]);
        gateway.published("localhost").await;
        let root = gateway.client().local_ca_root("internal").await.expect("a root");
        home.write("root.pem", &root);
        Self {
            partner: TlsClient::presenting(&root, Some(ca.sign_named("a partner"))),
            stranger: TlsClient::trusting(&root),
            home,
            gateway,
            listen,
        }
    }

    /// What becomes of a client without a certificate; one with a certificate is always served.
    async fn seen(&self) -> &'static str {
        let asked = self.partner.ask(self.listen, "localhost").await;
        asked.expect("a partner is always served");
        verdict(self.stranger.ask(self.listen, "localhost").await.map(drop))
    }

    async fn client_ca(&self) -> String {
        let listeners = self.gateway.client().resources(ResourceKind::Listener).await;
        let listeners = listeners.expect("a list");
        let web = listeners
            .iter()
            .find(|listener| listener.name == "web")
            .expect("it is there");
        web.keys["client_ca"].as_str().unwrap_or_default().to_owned()
    }

    /// Has a shell do what somebody types who has `certgate` installed.
    async fn shell(&self, command: &str) -> String {
        let (is_done, output, errors) = self.output(command).await;
        assert!(is_done, "{command}: {errors}");
        output
    }

    async fn output(&self, command: &str) -> (bool, String, String) {
        let installed = Path::new(certgate()).parent().expect("a directory");
        let others = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("sh");
        shell
            .args(["-c", command])
            .current_dir(self.home.path("."))
            .env("PATH", format!("{}:{others}", installed.display()))
            .env_remove("STATE_DIRECTORY")
            .env_remove("CERTGATE_ADMIN")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, shell.output()).await;
        let output = output.expect("in time").expect("sh is there");
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.success(),
            text(&output.stdout),
            text(&output.stderr),
        )
    }
}
