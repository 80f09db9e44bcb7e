//! A CA for clients that has revoked a hundred thousand of them.

use std::path::Path;
use std::time::Instant;

use certgate::certificate::RevocationReason;
use certgate::clock::{Clock, SystemClock};
use certgate::inventory::{ClientCertificateRecord, Revoked};
use certgate_store::{Batch, EmbeddedStore, Expect, Store};
use serde_json::{Value, json};

use crate::client_ca::Stage;
use crate::runtime::request;

const REVOKED: usize = 100_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_100000_revoked_clients_each_is_on_the_crl_and_one_more_is_refused_at_once() {
    let mut stage = Stage::new().await;
    let alice = stage.issued("alice").await;
    stage.issued("bob").await;
    stage.gateway.signal("TERM");
    stage.gateway.ended().await;
    fill(&stage.home.path("store")).await;
    stage.gateway = stage.home.start(&stage.config).await;
    assert!(stage.enters(&["--cert", "alice.pem"]).await);

    let begun = Instant::now();
    // On a busy machine a debug build may need longer than a client waits; to revoke again changes nothing.
    let mut tries = 0;
    let client = stage.gateway.client();
    while let Err(error) = client
        .revoke_client_certificate("internal", &alice, RevocationReason::KeyCompromise)
        .await
    {
        tries += 1;
        assert!(
            tries < 5 && error.to_string().contains("no answer within"),
            "{error}"
        );
    }
    println!("one of {REVOKED} was revoked in {:?}", begun.elapsed());
    assert!(!stage.enters(&["--cert", "alice.pem"]).await);
    assert!(stage.enters(&["--cert", "bob.pem"]).await);
    for round in ["signed", "read again"] {
        stage.fetch_crl().await;
        let text = stage
            .openssl(&["crl", "-inform", "DER", "-in", "found.crl", "-noout", "-text"])
            .await;
        assert_eq!(text.matches("Serial Number:").count(), REVOKED + 1, "{round}");
        stage.killed_and_started().await;
        assert!(!stage.enters(&["--cert", "alice.pem"]).await, "{round}");
    }

    let all = stage.gateway.client().client_certificates("internal").await;
    let all = all.expect("a list");
    assert_eq!(all.len(), REVOKED + 2);
    assert!(all.is_sorted_by(|one, other| one.serial < other.serial));
    let path = "GET /v1/issuers/internal/certificates?limit=2";
    let page = async |after: &str| {
        let line = format!("{path}&after={after}");
        request(stage.gateway.socket(), &line, &[], b"").await
    };
    let serials = |page: &Value| {
        let page = page.as_array().into_iter().flatten();
        page.map(|one| one["serial"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        serials(&page("").await.2),
        [json!(all[0].serial), json!(all[1].serial)]
    );
    assert_eq!(
        serials(&page(&all[1].serial).await.2),
        [json!(all[2].serial), json!(all[3].serial)]
    );
    assert_eq!(page("no-number").await.0, 400);
}

/// Writes what a CA keeps of clients whose certificates it has revoked.
async fn fill(store: &Path) {
    let (store, _) = EmbeddedStore::open(store, Default::default()).expect("the store");
    let now = SystemClock.now();
    let record = |number: usize| ClientCertificateRecord {
        serial: format!("01{number:030x}"),
        common_name: format!("client {number}"),
        dns: Vec::new(),
        uri: Vec::new(),
        email: Vec::new(),
        fingerprint: format!("{number:064x}"),
        issued_at: now,
        not_after: now + std::time::Duration::from_secs(30 * 86_400),
        revoked: Some(Revoked {
            at: now,
            reason: RevocationReason::Superseded,
        }),
    };
    let numbers: Vec<_> = (0..REVOKED).collect();
    for part in numbers.chunks(certgate_store::MAX_BATCH_CHANGES) {
        let batch = part
            .iter()
            .map(|number| record(*number))
            .fold(Batch::new(), |batch, record| {
                let key = format!("client-certificates/internal/{}", record.serial);
                let value = json!({ "format": 1, "record": record }).to_string();
                batch.put(key, value.into_bytes(), Expect::Absent)
            });
        store.commit(batch).await.expect("written");
    }
}
