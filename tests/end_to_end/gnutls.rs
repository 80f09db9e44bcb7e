//! What gnutls-cli comes to at a mutual listener and at one that asks for nothing, also with a session of before.

use std::net::SocketAddr;
use std::process::Stdio;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::gateway::PATIENCE;
use crate::mutual_sessions::{Came, MUTUAL, Scene};

#[tokio::test]
async fn gnutls_is_served_with_a_good_certificate_and_refused_with_a_bad_one_or_none() {
    let scene = Scene::new(MUTUAL, "").await;
    for version in VERSIONS {
        for (client, expected) in [
            (None, Came::Refused),
            (Some("valid"), Came::Full),
            (Some("over-intermediate"), Came::Full),
            (Some("revoked"), Came::Refused),
            (Some("wrong-ca"), Came::Refused),
        ] {
            let came = call(&scene, scene.web, version, client, &[]).await;
            assert_eq!(came, expected, "{version} {client:?}");
        }
        let came = call(&scene, scene.other, version, None, &[]).await;
        assert_eq!(came, Came::Full, "{version}");
    }
}

#[tokio::test]
async fn gnutls_resumes_where_nobody_is_asked_for_a_certificate_and_only_there() {
    let scene = Scene::before(greeter().await, MUTUAL, "").await;
    for version in VERSIONS {
        // Of TLS 1.3 the ticket comes after the handshake, with the first that the server says.
        let resume = ["--resume", "--waitresumption"];
        let came = call(&scene, scene.other, version, None, &resume).await;
        assert_eq!(came, Came::Resumed, "{version}");
        let came = call(&scene, scene.web, version, Some("valid"), &["--resume"]).await;
        assert_eq!(came, Came::Full, "{version}");
        let came = call(&scene, scene.web, version, None, &["--resume"]).await;
        assert_eq!(came, Came::Refused, "{version}");
    }
}

/// A server that says hello first, and waits for an answer: gnutls-cli ends its first connection without a word.
async fn greeter() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                if stream.write_all(b"hello\n").await.is_ok() {
                    let _ = stream.read(&mut [0; 64]).await;
                }
            });
        }
    });
    address
}

/// One run of gnutls-cli, with the certificate `client`, or none.
async fn call(scene: &Scene, at: SocketAddr, version: &str, client: Option<&str>, more: &[&str]) -> Came {
    let mut gnutls = Command::new("gnutls-cli");
    gnutls
        .args(["--no-ca-verification", "--sni-hostname", "localhost"])
        .args(["--priority", &format!("NORMAL:-VERS-ALL:+VERS-{version}")])
        .args(["--port", &at.port().to_string()])
        .args(more);
    if let Some(client) = client {
        gnutls.args(["--x509certfile", &format!("{client}.pem")]);
        gnutls.args(["--x509keyfile", &format!("{client}.key")]);
    }
    let mut child = gnutls
        .arg(at.ip().to_string())
        .current_dir(scene.home.path("."))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("gnutls-cli is there; tests/run installs it");
    let mut stdin = child.stdin.take().expect("piped");
    // An empty request; who is refused may be gone already.
    let _ = stdin.write_all(b"\r\n").await;
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let output = output.expect("in time").expect("gnutls-cli has run");
    let text = String::from_utf8_lossy(&output.stdout);
    match (text.contains("hello"), text.contains("This is a resumed session")) {
        (false, _) => Came::Refused,
        (true, true) => Came::Resumed,
        (true, false) => Came::Full,
    }
}

const VERSIONS: [&str; 2] = ["TLS1.2", "TLS1.3"];
