//! A browser with a client certificate: imported by its own tools, shown to a mutual listener.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::gateway::{Home, run};
use crate::peer::backend;
use crate::reload::config;

#[tokio::test]
async fn a_browser_that_has_imported_a_pkcs12_file_loads_a_page_from_a_mutual_listener() {
    // Where browsers find `localhost`; given up for the gateway.
    let free = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let (home, listen) = (Home::new(), free.local_addr().expect("bound"));
    drop(free);
    let keys =
        "authentication = \"mutual\"\nclient_ca = \"staff\"\n[ca_bundles.staff]\nissuer = \"internal\"\n";
    let gateway = home.start(&config(listen, backend("let in").await, keys)).await;
    gateway.published("localhost").await;
    let root = gateway.client().local_ca_root("internal").await.expect("a root");
    home.write("root.pem", &root);
    let password = home
        .write("password", "a secret of the test\n")
        .display()
        .to_string();
    let (file, socket) = (home.path("alice.p12").display().to_string(), gateway.socket());
    let socket = socket.display().to_string();
    let names = ["ca", "issue", "internal", "--common-name", "alice"];
    let files = [
        "--pkcs12",
        &file,
        "--password-file",
        &password,
        "--admin",
        &socket,
    ];
    let (code, _, errors) = run(&[&names[..], &files].concat()).await;
    assert_eq!(code, 0, "{errors}");

    // Where Chromium looks for certificates.
    fs::create_dir_all(home.path(".pki/nssdb")).expect("made");
    let database = ["-d", "sql:.pki/nssdb"];
    for (tool, arguments) in [
        ("certutil", &["-N", "--empty-password"][..]),
        ("certutil", &["-A", "-n", "root", "-t", "C,,", "-i", "root.pem"]),
        ("pk12util", &["-i", "alice.p12", "-w", "password", "-K", ""]),
    ] {
        let mut tool = Command::new(tool);
        tool.args(arguments).args(database).current_dir(home.path("."));
        let output = tool.output().await.expect("libnss3-tools are installed");
        assert!(output.status.success(), "{output:?}");
    }

    let page = format!("https://localhost:{}", listen.port());
    let (text, errors) = browsed(&home.path("."), &page).await;
    assert!(text.contains("let in"), "{text}{errors}\n{}", home.log());
    assert!(home.log().contains("CN=alice"), "{}", home.log());
}

/// What Chromium makes of `page`, where it shows whatever certificate it has without asking. Only a policy of the machine
/// has it do so, and that is one of this process alone: a mount that nobody else sees.
async fn browsed(home: &Path, page: &str) -> (String, String) {
    let managed = home.join("etc/policies/managed");
    fs::create_dir_all(&managed).expect("made");
    let pattern = serde_json::json!({ "pattern": page, "filter": {} }).to_string();
    let policy = serde_json::json!({ "AutoSelectCertificateForUrls": [pattern] });
    fs::write(managed.join("test.json"), policy.to_string()).expect("written");
    let mut browser = Command::new("unshare");
    browser
        .args(["--mount", "--map-root-user", "sh", "-c", BROWSE, "sh", page])
        .current_dir(home)
        .env("HOME", home)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, browser.output()).await;
    let output = output.expect("in time").expect("unshare is part of util-linux");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// Whoever has no Chromium, or may make no mount, sees that from the error.
const BROWSE: &str = "command -v chromium >&2 || { echo 'chromium is missing; tests/run installs it' >&2; exit 1; }
mount --bind etc /etc/chromium || exit 1
exec chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir=profile --dump-dom \"$1\"";

/// A browser takes its time to start.
const PATIENCE: Duration = Duration::from_secs(120);
