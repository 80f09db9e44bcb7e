//! Contents of CA bundles, told from one another: over time, and between gateways.

use certgate::admin::api::CaBundleSummary;
use certgate::config::ResourceKind;

use crate::pair::Authority;
use crate::runtime::Stage;

async fn held(stage: &Stage, bundle: &str) -> CaBundleSummary {
    let bundles = stage.gateway.client().resources(ResourceKind::CaBundle).await;
    let mut bundles = bundles.expect("a list").into_iter();
    let found = bundles.find(|found| found.name == bundle).expect("the bundle");
    found.contents.expect("what it holds")
}

#[tokio::test]
async fn the_same_contents_have_the_same_digest_on_every_gateway_and_versions_count_their_changes() {
    let (mut stage, other) = (Stage::new("").await, Stage::new("").await);
    let (one, two) = (Authority::new().root(), Authority::new().root());
    let write = |stage: &Stage, name: &str, pem: &str| stage.home.write(name, pem).display().to_string();
    let both = write(&stage, "both.pem", &format!("{one}{two}"));
    stage.done(&["ca-bundle", "add", "both", &both]).await;
    let (first, second) = (write(&other, "two.pem", &two), write(&other, "one.pem", &one));
    other.done(&["ca-bundle", "add", "both", &first]).await;
    let before = held(&other, "both").await;
    other.done(&["ca-bundle", "add", "both", &second]).await;

    let (ours, theirs) = (held(&stage, "both").await, held(&other, "both").await);
    assert_eq!(ours.version.digest, theirs.version.digest);
    assert_ne!(before.version.digest, theirs.version.digest);
    let versions = [&before, &theirs, &ours].map(|held| held.version.version);
    assert_eq!(versions, [1, 2, 1]);
    assert_eq!((ours.certificates, ours.crls), (2, 0));

    let digest = &ours.version.digest;
    let listed = stage.done(&["ca-bundle", "list"]).await;
    assert!(listed.contains(&digest[..16]), "{listed}");
    let shown = other.done(&["ca-bundle", "show", "both"]).await;
    assert!(
        shown.contains(&format!("version 2, SHA-256 of all of it {digest}")),
        "{shown}"
    );
    // Another change is none of this bundle's, and neither is a restart.
    stage.done(&["ca-bundle", "add", "more", &both]).await;
    stage.killed_and_started().await;
    let again = held(&stage, "both").await;
    assert_eq!((again.version.version, &again.version.digest), (1, digest));
}
