//! Clients of openssl with certificates of every kind: who is let in, and which reason is counted for the others.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::gateway::PATIENCE;
use crate::mutual_sessions::{Came, MUTUAL, Scene};
use crate::peer::backend;

#[tokio::test]
async fn for_each_certificate_that_openssl_shows_the_right_reason_is_counted() {
    let server = backend("hello").await;
    let scene = Scene::with("unusual_client_certificates.sh", server, MUTUAL, "").await;
    // Whatever openssl itself thinks of a key or a hash today.
    let any = ["-cipher", "DEFAULT@SECLEVEL=0", "-cert_chain"];
    let mut expected = BTreeMap::new();
    for version in ["-tls1_2", "-tls1_3"] {
        for (client, reason) in CLIENTS {
            let chain = format!("{client}.pem");
            let shown = [&any[..], &[&chain]].concat();
            let came = scene.call(scene.web, version, Some(client), &shown).await;
            let admitted = if reason == "verified" {
                Came::Full
            } else {
                Came::Refused
            };
            assert_eq!(came, admitted, "{client} {version}");
            if reason != "verified" {
                *expected.entry(reason.to_owned()).or_insert(0) += 1;
            }
            is_counted(&scene, &expected, client).await;
        }
        assert_eq!(scene.call(scene.web, version, None, &[]).await, Came::Refused);
        *expected.entry("no-certificate".to_owned()).or_insert(0) += 1;
        is_counted(&scene, &expected, "nobody").await;
    }
}

/// Waits until the reasons are `expected`: what is counted is counted when the connection ends.
async fn is_counted(scene: &Scene, expected: &BTreeMap<String, u32>, client: &str) {
    let start = Instant::now();
    loop {
        let metrics = scene.metrics().await;
        let lines = metrics
            .lines()
            .filter_map(|line| line.strip_prefix(COUNTER)?.split_once("\"} "));
        let counts = lines.map(|(reason, count)| (reason.to_owned(), count.parse().expect("a count")));
        let counted: BTreeMap<String, u32> = counts.filter(|(_, count)| *count > 0).collect();
        if counted == *expected {
            return;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "{client}: {counted:?}, expected {expected:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

const COUNTER: &str = "certgate_client_certificate_rejections_total{listener=\"web\",reason=\"";

/// Each with what it comes to; see tests/fixtures/unusual_client_certificates.sh. A CA's own, openssl does not show; nor
/// one with a key that makes no signature of those that it is asked for.
const CLIENTS: [(&str, &str); 29] = [
    ("valid", "verified"),
    ("over-intermediate", "verified"),
    ("ed25519", "verified"),
    ("p384", "verified"),
    ("rsa-pss", "verified"),
    ("other-root", "verified"),
    ("expired", "expired"),
    ("not-yet-valid", "not-yet-valid"),
    ("wrong-ca", "unknown-ca"),
    ("missing-intermediate", "unknown-ca"),
    ("namesake", "bad-signature"),
    ("wrong-usage", "wrong-usage"),
    ("no-signing", "wrong-usage"),
    ("self-signed", "self-signed"),
    ("self-signed-ca", "self-signed"),
    ("revoked", "revoked"),
    ("under-revoked-intermediate", "revoked"),
    ("outside-constraint", "name-constraint"),
    ("sha1", "weak-signature"),
    ("rsa-1024", "weak-key"),
    ("too-long", "chain-too-long"),
    ("below-6", "verified"),
    ("below-7", "chain-too-long"),
    ("sha1-rsa", "weak-signature"),
    ("under-sha1", "weak-signature"),
    ("under-rsa-1024", "weak-key"),
    ("pss-key", "no-certificate"),
    ("pss-sha256-key", "no-certificate"),
    ("ed448", "no-certificate"),
];
