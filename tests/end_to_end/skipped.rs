//! CA certificates that count for nothing: skipped, never silently, and never with what is no CA certificate.

use certgate::clock::{Clock, SystemClock};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::client_authority::ClientAuthority;
use crate::crl_urls::is_let_in;
use crate::gateway::PATIENCE;
use crate::runtime::Stage;

#[tokio::test]
async fn duplicates_and_expired_roots_are_skipped_listed_and_logged_and_the_others_count() {
    let stage = Stage::new("").await;
    let expired = ClientAuthority::until("expired authority", -60);
    let text = [stage.ca.clone(), expired.pem(), stage.ca.clone()].join("\n");
    let file = stage.home.write("mixed.pem", &text).display().to_string();
    stage.done(&["ca-bundle", "add", "mixed", &file]).await;
    stage
        .patch(json!({ "authentication": "mutual", "client_ca": "mixed" }))
        .await
        .expect("changed");
    assert_eq!(stage.seen().await, "mutual");
    let late = expired.client(&stage, 11).await;
    assert!(!is_let_in(&stage, &late).await, "its CA has expired");

    let shown = stage.done(&["ca-bundle", "show", "mixed"]).await;
    for says in [
        "block 2 of certificates_pem",
        "it expired at",
        "block 3 of certificates_pem",
        "it is the same as block 1 of certificates_pem",
    ] {
        assert!(shown.contains(says), "{says} is not in\n{shown}");
    }
    let listed = stage
        .done(&["ca-bundle", "show", "mixed", "--output", "json"])
        .await;
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    let contents = &listed["contents"];
    assert_eq!(contents["certificates"].as_array().map(Vec::len), Some(1));
    let skipped = contents["skipped"].as_array().expect("a list");
    assert_eq!(skipped.len(), 2, "{skipped:?}");
    assert!(
        skipped
            .iter()
            .any(|one| one["subject"] == "CN=expired authority" && one["block"] == 2)
    );
    let says =
        "CA bundle `mixed`: block 2 of certificates_pem, `CN=expired authority`, is skipped: it expired at";
    let begun = std::time::Instant::now();
    while !stage.home.log().contains(says) {
        assert!(begun.elapsed() < PATIENCE, "{}", stage.home.log());
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }

    // Nothing else is skipped, and not everything.
    let alone = stage
        .home
        .write("expired.pem", &expired.pem())
        .display()
        .to_string();
    let (code, _, errors) = stage.command(&["ca-bundle", "add", "alone", &alone]).await;
    assert!(
        code == 1 && errors.contains("has no root that counts: `CN=expired authority`"),
        "{errors}"
    );
}

#[tokio::test]
async fn a_root_that_expires_meanwhile_counts_no_longer() {
    let stage = Stage::new("").await;
    let ending = ClientAuthority::until("ending authority", 15);
    let text = format!("{}{}", stage.ca, ending.pem());
    let file = stage.home.write("ending.pem", &text).display().to_string();
    stage.done(&["ca-bundle", "add", "ending", &file]).await;
    stage
        .patch(json!({ "authentication": "mutual", "client_ca": "ending" }))
        .await
        .expect("changed");
    let client = ending.client(&stage, 11).await;
    assert!(is_let_in(&stage, &client).await);
    crate::crl_urls::comes_to(&stage, &client, false).await;
    let contents = stage.gateway.client().ca_bundle_contents("ending").await;
    let contents = contents.expect("contents");
    assert_eq!((contents.certificates.len(), contents.skipped.len()), (1, 1));
    assert_eq!(stage.seen().await, "mutual");
}

#[tokio::test]
async fn a_bundle_whose_last_root_has_expired_refuses_everybody_and_shows_what_it_would_have() {
    let stage = Stage::new("").await;
    let (ending, expired) = (
        ClientAuthority::until("ending authority", 12),
        ClientAuthority::until("expired authority", -60),
    );
    let text = [ending.pem(), expired.pem(), ending.pem()].join("\n");
    let file = stage.home.write("ending.pem", &text).display().to_string();
    stage.done(&["ca-bundle", "add", "ending", &file]).await;
    stage
        .patch(json!({ "authentication": "mutual", "client_ca": "ending" }))
        .await
        .expect("changed");
    let client = ending.client(&stage, 11).await;
    assert!(is_let_in(&stage, &client).await);
    crate::crl_urls::comes_to(&stage, &client, false).await;
    crate::crl_urls::warns(&stage, "has no root that counts").await;
    let contents = stage.gateway.client().ca_bundle_contents("ending").await;
    let contents = contents.expect("contents");
    assert_eq!((contents.certificates.len(), contents.skipped.len()), (0, 3));
    let shown = stage.done(&["ca-bundle", "show", "ending"]).await;
    for says in [
        "CN=ending authority",
        "CN=expired authority",
        "it expired at",
        "it is the same as block 1",
    ] {
        assert!(shown.contains(says), "{says} is not in\n{shown}");
    }
}

impl ClientAuthority {
    /// One whose root expires in so many seconds.
    pub(crate) fn until(name: &str, seconds: i64) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let until = SystemClock.now().unix_seconds() + seconds;
        params.not_after = OffsetDateTime::from_unix_timestamp(until).expect("a moment");
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a root"))
    }
}

#[tokio::test]
async fn text_between_the_blocks_is_listed_by_its_lines_and_garbage_is_refused_with_its_own() {
    let stage = Stage::new("").await;
    let text = format!(
        "Partner Root\n============\n{}\nsubject=CN = partners\n",
        stage.ca.trim_end()
    );
    let file = stage.home.write("listed.pem", &text).display().to_string();
    stage.done(&["ca-bundle", "add", "listed", &file]).await;
    let last = text.lines().count();
    let says = format!("line 1 to 2, {last} of certificates_pem");
    let shown = stage.done(&["ca-bundle", "show", "listed"]).await;
    assert!(
        shown.contains(&says) && shown.contains("it stands outside the blocks"),
        "{shown}"
    );
    let json = stage
        .done(&["ca-bundle", "show", "listed", "--output", "json"])
        .await;
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(
        json["contents"]["skipped_text"][0]["lines"],
        format!("1 to 2, {last}")
    );
    assert_eq!(json["contents"]["skipped"], json!([]));

    let garbage = format!("{}\u{1}\u{2}garbage\n{}", stage.ca, stage.ca);
    let file = stage.home.write("garbage.pem", &garbage).display().to_string();
    let (code, _, errors) = stage.command(&["ca-bundle", "add", "garbage", &file]).await;
    let says = format!(
        "line {} is no part of a block and no comment",
        stage.ca.lines().count() + 1
    );
    assert!(code == 1 && errors.contains(&says), "{errors}");
}
