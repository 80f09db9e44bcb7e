//! Clients of openssl with certificates of every kind: who is let in, and which reason is counted for the others.

use std::collections::BTreeMap;

use crate::mutual_sessions::{Came, MUTUAL, Scene};

#[tokio::test]
async fn for_each_certificate_that_openssl_shows_the_right_reason_is_counted() {
    let scene = Scene::new(MUTUAL, "").await;
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
            *expected.entry(reason).or_insert(0) += 1;
        }
        assert_eq!(scene.call(scene.web, version, None, &[]).await, Came::Refused);
        *expected.entry("no-certificate").or_insert(0) += 1;
    }
    expected.remove("verified");
    let metrics = scene.metrics().await;
    let counted = metrics.lines().filter_map(|line| {
        let labels =
            line.strip_prefix("certgate_client_certificate_rejections_total{listener=\"web\",reason=\"")?;
        let (reason, count) = labels.split_once("\"} ")?;
        Some((reason, count.parse().expect("a count")))
    });
    let counted: BTreeMap<&str, u32> = counted.filter(|(_, count)| *count > 0).collect();
    assert_eq!(counted, expected);
}

/// Each with what it comes to; see tests/fixtures/client_certificates.sh. A CA's own, openssl does not show.
const CLIENTS: [(&str, &str); 21] = [
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
];
