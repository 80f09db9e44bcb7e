//! A challenge of a CA that is pending on a mutual listener: it is answered, and nothing else gets through by it.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::atomic::Ordering;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::ca_faults::Scene;
use crate::commands::self_signed;
use crate::gateway::{Home, PATIENCE};
use crate::mutual::counting_backend;
use crate::pair::Authority;
use crate::support::acme_double::Endpoint;

const WWW: &str = "www.example.test";

#[tokio::test]
async fn a_pending_challenge_is_answered_without_a_client_certificate_and_nothing_else_gets_through() {
    let (scene, home) = (Scene::new().await, Home::new());
    let (server, let_in) = counting_backend().await;
    scene.ca.change(|behaviour| behaviour.validating = true);
    let (chain, key) = self_signed("own.example.test");
    let (chain, key) = (home.write("own.pem", &chain), home.write("own.key", &key));
    let bundle = home.write("partners.pem", &Authority::new().root());
    let config = scene
        .config(&home, server)
        .replace("challenges = [\"http-01\"]", "challenges = [\"tls-alpn-01\"]")
        .replace(
            "certificates = [\"*\"]\n",
            "certificates = [\"*\"]\nauthentication = \"mutual\"\nclient_ca = \"partners\"\n",
        );
    let config = format!(
        "{config}[ca_bundles.partners]\nfiles = [{bundle:?}]\n\
         [certificates.own]\ncertificate_file = {chain:?}\nkey_file = {key:?}\n\
         [certificates.www]\ndomains = [{WWW:?}]\nissuer = \"double\"\n"
    );
    let gateway = home.start(&config).await;
    gateway.published("own").await;
    scene.ca.asked(Endpoint::Challenge, 1).await;

    for version in ["-tls1_2", "-tls1_3"] {
        let (challenge, _) = asked(scene.tls, version, &["-alpn", "acme-tls/1"]).await;
        assert!(
            challenge.contains("ALPN protocol: acme-tls/1"),
            "{version}: {challenge}"
        );
        let shown = shown(&challenge).await;
        assert!(
            shown.contains("1.3.6.1.5.5.7.1.31: critical"),
            "{version}: {shown}"
        );
        assert!(!challenge.contains("let in"), "{version}");
        assert!(
            !challenge.contains("Acceptable client certificate"),
            "{version}: {challenge}"
        );

        // For whoever offers anything else it is a mutual listener as ever, at the same moment.
        let others: [&[&str]; 4] = [
            &[],
            &["-alpn", "http/1.1"],
            &["-alpn", "acme-tls/1,http/1.1"],
            &["-noservername"],
        ];
        for more in others {
            let (text, errors) = asked(scene.tls, version, more).await;
            assert!(!text.contains("let in"), "{version} {more:?}");
            assert!(
                errors.contains("certificate required"),
                "{version} {more:?}: {errors}"
            );
        }
        // Nor is anything resumed of a connection for the challenge.
        let file = home.path(&format!("{version}.session"));
        let session = file.display().to_string();
        asked(
            scene.tls,
            version,
            &["-alpn", "acme-tls/1", "-sess_out", &session],
        )
        .await;
        if file.exists() {
            let again = ["-sess_in", &session];
            let (text, errors) = asked(scene.tls, version, &again).await;
            assert!(
                !text.contains("Reused, ") && !text.contains("let in"),
                "{version}"
            );
            assert!(errors.contains("certificate required"), "{version}: {errors}");
        }
    }
    assert_eq!(let_in.load(Ordering::SeqCst), 0, "no connection reaches a server");
    assert_eq!(
        scene.ca.count(Endpoint::Finalize),
        0,
        "the challenge was pending all the time"
    );
}

/// What openssl says of a connection on which it asks for something: on standard output, and on standard error.
async fn asked(address: SocketAddr, version: &str, more: &[&str]) -> (String, String) {
    let mut openssl = Command::new("openssl");
    openssl.args(["s_client", "-ign_eof", "-connect", &address.to_string(), version]);
    if !more.contains(&"-noservername") {
        openssl.args(["-servername", WWW]);
    }
    piped(openssl.args(more), b"GET / HTTP/1.0\r\n\r\n").await
}

/// The certificate in what openssl has said, in words.
async fn shown(said: &str) -> String {
    let mut openssl = Command::new("openssl");
    piped(openssl.args(["x509", "-noout", "-text"]), said.as_bytes())
        .await
        .0
}

async fn piped(command: &mut Command, input: &[u8]) -> (String, String) {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().expect("openssl is installed");
    let mut stdin = child.stdin.take().expect("piped");
    // Who is refused may be gone already.
    let _ = stdin.write_all(input).await;
    drop(stdin);
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let output = output.expect("in time").expect("openssl has run");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}
