//! Hooks are told which of a certificate and its spare is served.

use std::path::Path;
use std::time::{Duration, Instant};

use certgate::admin::api::{Certificate, Served, Status};
use certgate::certificate::RevocationReason;
use serde_json::Value;

use crate::gateway::{Home, PATIENCE};
use crate::hooks::www;
use crate::two_cas::{TwoPebbles, WWW, has_both, of};

/// Waits until the hook was told so many times, and returns what.
async fn told(path: &Path, count: usize) -> Vec<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        let lines: Vec<Value> = lines.collect();
        if lines.len() >= count {
            return lines;
        }
        assert!(Instant::now() < deadline, "{count} expected: {text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn is(told: &Value, served: &Certificate, detail: &str) {
    assert_eq!(
        (&told["event"], &told["certificate"]),
        (&"activated".into(), &"www".into())
    );
    assert_eq!(told["detail"], detail);
    assert_eq!(told["serial"].as_str(), served.serial.as_deref(), "{told}");
    assert_eq!(told["issuer"].as_str(), served.issuer.as_deref(), "{told}");
}

#[tokio::test]
async fn a_hook_is_told_of_each_switch_to_the_spare_and_back_whoever_has_made_it() {
    let cas = TwoPebbles::new();
    let home = Home::new();
    let file = home.path("told");
    let config = cas.config("issuer = \"pebble\"\nspare_issuer = \"other\"").await;
    let hook = format!(
        "[hooks.deploy]\ncommand = [\"/bin/sh\", \"-c\", \"cat >> $0\", {:?}]\nevents = [\"activated\"]\n",
        file.display().to_string()
    );
    let gateway = home.start(&format!("{config}{hook}")).await;
    let is_itself = |status: &Status| has_both(status) && of(status, "www").stand_in.is_none();
    let status = gateway.status_until("has both", is_itself).await;
    let [first, spare] = ["www", "www.spare"].map(|name| of(&status, name).clone());

    let client = gateway.client();
    // What is so already is told to nobody.
    for serve in [Served::Primary, Served::Spare, Served::Spare, Served::Primary] {
        client.activate(&www(), serve).await.expect("activated");
    }
    // The second CA may have been the quicker one: then there were two switches before.
    let by_operator = |told: &Value| {
        let detail = told["detail"].as_str();
        detail.is_some_and(|detail| detail.contains("operator"))
    };
    let mut before = 0;
    while !by_operator(&told(&file, before + 1).await[before]) {
        before += 1;
    }
    assert!([0, 2].contains(&before), "{before}");
    let all = told(&file, before + 2).await;
    is(
        &all[before],
        &spare,
        "the spare is served in its place: an operator has asked for it",
    );
    is(
        &all[before + 1],
        &first,
        "served again, in place of its spare: an operator has asked for it",
    );

    // No validation of the first CA finds the gateway any more.
    cas.scene.pebble.dns.set_addresses(WWW, &["127.0.0.9"]);
    let revoked = client.revoke(&www(), RevocationReason::KeyCompromise).await;
    revoked.expect("revoked");
    let all = told(&file, before + 3).await;
    is(
        &all[before + 2],
        &spare,
        "the spare is served in its place: it was revoked (key-compromise)",
    );

    gateway
        .status_until("has failed", |status| of(status, "www").state == "backing-off")
        .await;
    let address = cas.scene.tls.ip().to_string();
    cas.scene.pebble.dns.set_addresses(WWW, &[&address]);
    client.renew(&www()).await.expect("asked for");
    let is_back = |status: &Status| is_itself(status) && of(status, "www").serial != first.serial;
    let status = gateway.status_until("serves a new one", is_back).await;
    let all = told(&file, before + 4).await;
    is(
        &all[before + 3],
        of(&status, "www"),
        "served again, in place of its spare: there is a new one",
    );
    assert_eq!(all.len(), before + 4);
}
