//! CA bundles as large as they come.

use std::fmt::Write;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use serde_json::json;

use crate::runtime::{Stage, request};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_of_10000_roots_lets_in_whom_one_of_them_vouches_for_and_nobody_else() {
    let stage = Stage::new("").await;
    let mut roots = String::new();
    let key = KeyPair::generate().expect("a key");
    for number in 0..ROOTS {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, format!("root {number}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).expect("a root");
        let _ = write!(roots, "{}", root.pem());
    }
    let file = stage.home.write("many.pem", &(roots.clone() + &stage.ca));
    let mutual = json!({ "authentication": "mutual", "client_ca": "many" });

    // By its text it is larger than any request may be.
    let body = json!({ "certificates_pem": roots }).to_string();
    let line = "PUT /v1/ca-bundles/many";
    let (status, _, problem) = request(
        stage.gateway.socket(),
        line,
        &[("content-type", "application/json")],
        body.as_bytes(),
    )
    .await;
    assert_eq!(status, 413, "{problem}");
    let refused = stage.patch(mutual.clone()).await.expect_err("there is none");
    assert!(refused.contains("many"), "{refused}");
    assert_eq!(stage.seen().await, "one-way");

    stage.home.configure(&format!(
        "{}[ca_bundles.many]\nfiles = [{file:?}]\n",
        stage.config
    ));
    assert_eq!(crate::reload::reloaded(&stage.gateway).await, None);
    stage.patch(mutual).await.expect("changed");
    assert_eq!(stage.seen().await, "mutual");
    let shown = stage
        .gateway
        .client()
        .ca_bundle_contents("many")
        .await
        .expect("contents");
    assert_eq!(shown.certificates.len(), ROOTS + 1);
}

const ROOTS: usize = 10_000;
