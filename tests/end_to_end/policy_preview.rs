//! What a policy is said to make of a listener's clients is what it makes of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use certgate::admin::api;
use serde_json::json;
use tokio::net::TcpStream;

use crate::foreign_clients::openssl;
use crate::gateway::{Gateway, Home, free_address, run};
use crate::peer::backend;
use crate::reload::config;
use crate::runtime::{table, web};

/// How often openssl comes, and with what.
const CLIENTS: [(usize, &[&str]); 11] = [
    (3, &["-tls1_3"]),
    (4, &["-tls1_2"]),
    (2, &["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"]),
    // The certificate's key is ECDSA.
    (1, &["-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384"]),
    (1, &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA384"]),
    (2, &["-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"]),
    (2, &["-tls1_3", "-groups", "P-384"]),
    (1, &["-tls1_3", "-groups", "P-521"]),
    (1, &["-sigalgs", "RSA-PSS+SHA256"]),
    (2, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]),
    // Refused before the policy is asked.
    (1, &["-alpn", "spdy/1"]),
];
const HOUSE: &str =
    "alpn = \"HTTP2Preferred\"\n[policies.house]\nextends = \"intermediate\"\ngroups = [\"secp384r1\"]\n";

/// All clients come, one after the other; how many fail.
async fn come(address: SocketAddr) -> u64 {
    let address = address.to_string();
    let mut failed = 0;
    for (times, offer) in CLIENTS {
        for _ in 0..times {
            let (connected, text) = openssl(&[&["s_client", "-connect", &address], offer].concat()).await;
            assert!(connected || text.contains("alert"), "{offer:?}: {text}");
            failed += u64::from(!connected);
        }
    }
    failed
}

async fn has_policy(gateway: &Gateway, policy: &str) {
    let (client, keys) = (gateway.client(), table(json!({ "policy": policy })));
    let changed = client.patch_resource(&web(), &keys, None).await;
    changed.expect("changed");
}

async fn preview(gateway: &Gateway, policy: &str) -> api::PolicyPreview {
    let preview = gateway.client().preview("web", policy).await;
    preview.expect("a preview")
}

#[tokio::test]
async fn as_many_fail_after_the_policy_was_changed_as_was_said_before() {
    let (home, listen, server) = (Home::new(), free_address(), backend("hello").await);
    let gateway = home.start(&config(listen, server, HOUSE)).await;
    gateway.published("localhost").await;
    let nothing = preview(&gateway, "modern").await;
    assert_eq!((nothing.handshakes, nothing.since), (0, None));

    let failed = come(listen).await;
    let all: usize = CLIENTS.iter().map(|(times, _)| times).sum();
    let policies = [
        "gcm-only",
        "house",
        "intermediate",
        "modern",
        "post-quantum-required",
    ];
    let mut previews = BTreeMap::new();
    for policy in policies {
        let preview = preview(&gateway, policy).await;
        assert_eq!((preview.handshakes, preview.unknown), (all as u64, 0));
        let regardless: u64 = preview.regardless.iter().map(|refused| refused.handshakes).sum();
        assert_eq!(preview.fail_now + regardless, failed, "{preview:#?}");
        let by_reason: u64 = preview.reasons.iter().map(|reason| reason.handshakes).sum();
        assert_eq!(by_reason, preview.would_fail);
        previews.insert(policy, preview.would_fail + regardless);
    }
    let told: std::collections::BTreeSet<_> = previews.values().collect();
    assert!(told.len() >= 4, "policies that differ are needed: {previews:?}");
    for (policy, expected) in previews {
        has_policy(&gateway, policy).await;
        assert_eq!(come(listen).await, expected, "{policy}");
    }
}

#[tokio::test]
async fn a_preview_says_why_and_what_was_offered_in_a_table_and_in_json() {
    let (home, listen, server) = (Home::new(), free_address(), backend("hello").await);
    let gateway = home.start(&config(listen, server, HOUSE)).await;
    gateway.published("localhost").await;
    let address = listen.to_string();
    for version in ["-tls1_3", "-tls1_2", "-tls1_2"] {
        let (connected, text) = openssl(&[
            "s_client",
            "-servername",
            "secret.example",
            "-connect",
            &address,
            version,
        ])
        .await;
        assert!(connected, "{text}");
    }
    // Who says nothing, or nothing of TLS, has not shaken hands.
    drop(TcpStream::connect(listen).await.expect("connected"));

    let socket = gateway.socket().display().to_string();
    let ask = async |more: &[&str]| run(&[more, &["--admin", &socket]].concat()).await;
    let (code, text, errors) = ask(&["policy", "preview", "web", "modern"]).await;
    assert_eq!(code, 0, "{errors}");
    for expected in [
        "Of the last 3 handshakes on listener `web`",
        "2 would have failed with policy `modern-2026-11` (66.7 %)",
        "it speaks TLSv1.2 at most, the policy TLSv1.3 at least",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let (code, text, errors) = ask(&["policy", "preview", "web", "house", "--output", "json"]).await;
    assert_eq!(code, 0, "{errors}");
    let preview: api::PolicyPreview = serde_json::from_str(&text).expect("JSON");
    assert_eq!(preview.would_fail, 0);

    let hellos = gateway.client().client_hellos("web").await.expect("a histogram");
    let count = |offered: &[api::Offered], name: &str| {
        let found = offered.iter().find(|offered| offered.name == name);
        found.map_or(0, |found| found.handshakes)
    };
    assert_eq!(hellos.handshakes, 3);
    assert_eq!(count(&hellos.versions, "TLSv1.2"), 2);
    assert_eq!(count(&hellos.versions, "TLSv1.3"), 1);
    assert_eq!(count(&hellos.groups, "X25519"), 3);
    assert_eq!(count(&hellos.signature_schemes, "ECDSA_NISTP256_SHA256"), 3);
    assert_eq!(count(&hellos.cipher_suites, "TLS13_AES_128_GCM_SHA256"), 1);
    let everything = serde_json::to_string(&hellos).expect("JSON") + &text;
    assert!(
        !everything.contains("secret.example") && !everything.contains("127."),
        "{everything}"
    );

    for (arguments, expected) in [
        (
            ["web", "moderm"],
            "there is no TLS security policy `moderm`; there are: house, ",
        ),
        (["web", "tls_cipher_policy_1_2"], "is a policy of"),
        (["wbe", "modern"], "there is no listener `wbe`"),
    ] {
        let (code, _, errors) = ask(&[&["policy", "preview"], &arguments[..]].concat()).await;
        assert_eq!(code, 1);
        assert!(errors.contains(expected), "{errors}");
    }
}
