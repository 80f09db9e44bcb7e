//! A CRL that comes to its end: told ahead, then nobody of its CA is let in, or everybody, loudly.

use std::time::Duration;

use certgate::admin::api::Status;
use serde_json::json;

use crate::client_authority::ClientAuthority;
use crate::crl_urls::{comes_to, is_let_in, warns};
use crate::gateway::PATIENCE;
use crate::runtime::Stage;

#[tokio::test]
async fn a_crl_that_ends_is_told_ahead_then_refuses_and_where_that_is_accepted_everybody_hears_of_it() {
    let stage = Stage::new("").await;
    let pki = ClientAuthority::new("crl authority");
    let root = stage.home.write("authority.pem", &pki.pem());
    let crl = stage.home.path("authority.crl");
    // Made a minute ago, it is in the last quarter of its time already.
    std::fs::write(&crl, pki.crl_due(1, &[12], Duration::from_secs(20))).expect("written");
    let bundle = certgate::config::ResourceId::new(certgate::config::ResourceKind::CaBundle, "ending");
    let keys = json!({ "files": [root], "crl_files": [crl] });
    let client = stage.gateway.client();
    let made = client
        .put_resource(&bundle, &crate::runtime::table(keys), None)
        .await;
    made.expect("made");
    stage
        .patch(json!({ "authentication": "mutual", "client_ca": "ending" }))
        .await
        .expect("changed");
    let (alice, revoked) = (pki.client(&stage, 11).await, pki.client(&stage, 12).await);

    assert!(is_let_in(&stage, &alice).await && !is_let_in(&stage, &revoked).await);
    warns(&stage, "the CRL of `CN=crl authority` will be out of date at").await;
    logs(&stage, "will be out of date at").await;

    comes_to(&stage, &alice, false).await;
    warns(&stage, "the CRL of `CN=crl authority` is out of date since").await;
    let counted = r#"rejections_total{listener="web",reason="crl-expired"}"#;
    assert!(metrics(&stage).await.contains(counted));
    assert!(!metrics(&stage).await.contains("certgate_crl_fails_open{"));
    let shown = stage.done(&["listener", "show", "web"]).await;
    assert!(!shown.contains("fails open"), "{shown}");

    stage
        .patch(json!({ "expired_crl": "accept" }))
        .await
        .expect("changed");
    assert!(is_let_in(&stage, &alice).await && !is_let_in(&stage, &revoked).await);
    let says =
        "listener `web` fails open: the CRL of `CN=crl authority` in CA bundle `ending` is out of date since";
    warns(&stage, says).await;
    let names_it = |status: &Status| {
        let web = status.listeners.iter().find(|listener| listener.name == "web");
        let open = &web.expect("it is there").fails_open;
        open.len() == 1
            && open[0].issuer.as_deref() == Some("CN=crl authority")
            && open[0].ca_bundle == "ending"
    };
    stage.gateway.status_until("names the CRL", names_it).await;
    let status = stage.done(&["status"]).await;
    assert!(status.contains("mutual, fails open"), "{status}");
    let shown = stage.done(&["listener", "show", "web"]).await;
    assert!(
        shown
            .contains("fails open: in CA bundle `ending` the CRL of `CN=crl authority` is out of date since"),
        "{shown}"
    );
    let gauge = r#"certgate_crl_fails_open{listener="web",ca_bundle="ending",issuer="CN=crl authority"} 1"#;
    comes_to_say(&stage, gauge).await;
    let counted = r#"certgate_client_certificate_expired_crl_accepted_total{listener="web"} 1"#;
    assert!(metrics(&stage).await.contains(counted));
    logs(&stage, says).await;

    // The next one: nothing is open any more.
    std::fs::write(&crl, pki.crl_due(2, &[12], Duration::from_secs(86_400))).expect("written");
    let is_quiet = |status: &Status| {
        status
            .listeners
            .iter()
            .all(|listener| listener.fails_open.is_empty())
    };
    stage.gateway.status_until("has the next CRL", is_quiet).await;
    let begun = std::time::Instant::now();
    while metrics(&stage).await.contains("certgate_crl_fails_open{") {
        assert!(begun.elapsed() < PATIENCE, "the metric stays");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(is_let_in(&stage, &alice).await && !is_let_in(&stage, &revoked).await);
}

#[tokio::test]
async fn a_start_says_which_listener_will_fail_open_before_it_does() {
    let mut stage =
        Stage::new("authentication = \"mutual\"\nclient_ca = \"partners\"\nexpired_crl = \"accept\"\n").await;
    let says = "listener `web` has `expired_crl = \\\"accept\\\"`: as soon as a CRL of CA bundle `partners` is out of date";
    let says = says.replace('\\', "");
    logs(&stage, &says).await;
    stage.killed_and_started().await;
    let count = || stage.home.log().replace('\\', "").matches(&says).count();
    let begun = std::time::Instant::now();
    while count() < 2 {
        assert!(begun.elapsed() < PATIENCE, "{}", stage.home.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn metrics(stage: &Stage) -> String {
    crate::dns::metrics(&stage.gateway).await
}

async fn comes_to_say(stage: &Stage, line: &str) {
    let begun = std::time::Instant::now();
    while !metrics(stage).await.contains(line) {
        assert!(begun.elapsed() < PATIENCE, "{line} never came");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Whatever the log does to quotation marks.
async fn logs(stage: &Stage, text: &str) {
    let begun = std::time::Instant::now();
    while !stage.home.log().replace('\\', "").contains(text) {
        assert!(
            begun.elapsed() < PATIENCE,
            "{text} is not in\n{}",
            stage.home.log()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
