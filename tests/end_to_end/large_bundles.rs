//! CA bundles and CRLs as large as they come.

use std::fmt::Write;
use std::time::Instant;

use certgate::admin::api::Status;
use certgate::config::{ResourceId, ResourceKind};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use serde_json::json;

use crate::crl_urls::Web;
use crate::gateway::PATIENCE;
use crate::reload::reloaded;
use crate::runtime::{Stage, request, table};

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
    assert_eq!(reloaded(&stage.gateway).await, None);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crl_of_50_mb_is_refused_however_it_comes_and_costs_no_more_than_what_is_read_of_it() {
    let stage = Stage::new("authentication = \"mutual\"\nclient_ca = \"partners\"\n").await;
    assert_eq!(stage.seen().await, "mutual");
    let (before, begun) = (peak_memory(&stage), Instant::now());
    // As DER begins; what follows is never looked at.
    let crl = vec![0x30; HUGE];
    let file = stage.home.path("huge.crl");
    std::fs::write(&file, &crl).expect("written");
    let bundle = ResourceId::new(ResourceKind::CaBundle, "partners");
    let client = stage.gateway.client();
    let patched = async |keys| {
        let patched = client.patch_resource(&bundle, &table(keys), None).await;
        patched.expect_err("it is too large").to_string()
    };

    let error = patched(json!({ "crl_files": [file] })).await;
    let says = "huge.crl has 52428800 bytes; at most 33554432 are read";
    assert!(error.contains(says), "{error}");
    let with_it = stage.config.replace(
        "[ca_bundles.partners]\n",
        "[ca_bundles.partners]\ncrl_files = [\"huge.crl\"]\n",
    );
    stage.home.configure(&with_it);
    let error = reloaded(&stage.gateway).await.expect("refused");
    assert!(error.contains(says), "{error}");
    stage.home.configure(&stage.config);

    let body = format!("{{\"crls_pem\":\"{}\"}}", "A".repeat(HUGE));
    let line = "PATCH /v1/ca-bundles/partners";
    let headers = [("content-type", "application/merge-patch+json")];
    let (status, _, problem) = request(stage.gateway.socket(), line, &headers, body.as_bytes()).await;
    assert_eq!(status, 413, "{problem}");

    let web = Web::start().await;
    web.serves(crl.clone());
    let error = patched(json!({ "crl_urls": [web.url] })).await;
    assert!(
        error.contains(&web.url) && error.contains("is longer than 33554432 octets"),
        "{error}"
    );
    assert_eq!(stage.seen().await, "mutual");

    // In the place of a file that is in force it changes nothing.
    std::fs::write(stage.home.path("partners.pem"), &crl).expect("written");
    let is_told = |status: &Status| {
        let mut lines = status.warnings.iter();
        lines.any(|line| line.contains("partners.pem") && line.contains("more than 33554432 bytes"))
    };
    stage.gateway.status_until("tells of it", is_told).await;
    assert_eq!(stage.seen().await, "mutual");

    let grown = peak_memory(&stage) - before;
    assert!(grown < 4 * HUGE, "{} MiB", grown >> 20);
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
}

/// The most memory that the gateway has had, in bytes.
fn peak_memory(stage: &Stage) -> usize {
    let status = format!("/proc/{}/status", stage.gateway.pid());
    let status = std::fs::read_to_string(status).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kibibytes: usize = kibibytes
        .and_then(|number| number.parse().ok())
        .expect("a number");
    kibibytes * 1024
}

const HUGE: usize = 50 << 20;
const ROOTS: usize = 10_000;
