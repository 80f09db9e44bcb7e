//! CA bundles whose files have gone or are damaged: what these held last counts on, loudly, and blocks nothing else.

use std::time::Duration;

use certgate::admin::api::Status;
use certgate::certificate::crl_to_pem;
use certgate::config::{ResourceId, ResourceKind};
use serde_json::json;

use crate::client_authority::ClientAuthority;
use crate::crl_urls::is_let_in;
use crate::gateway::{Gateway, free_address, run};
use crate::reload::reloaded;
use crate::runtime::{Stage, request, table};

const MUTUAL: &str = "authentication = \"mutual\"\nclient_ca = \"partners\"\n";
const LAST: &str = "held when they were good last";

#[tokio::test]
async fn what_a_vanished_ca_file_held_counts_on_and_neither_a_change_nor_a_start_waits_for_it() {
    let mut stage = Stage::new(MUTUAL).await;
    let file = stage.home.path("partners.pem");
    for spoil in [None, Some("garbage\n")] {
        match spoil {
            None => std::fs::remove_file(&file).expect("removed"),
            Some(text) => std::fs::write(&file, text).expect("written"),
        }
        warns(&stage.gateway, LAST).await;
        assert_eq!(stage.seen().await, "mutual");
        let metric = r#"certgate_ca_bundle_ok{ca_bundle="partners"} 0"#;
        assert!(metrics(&stage).await.contains(metric));

        let idle = if spoil.is_none() { "7s" } else { "8s" };
        stage
            .patch(json!({ "idle_timeout": idle }))
            .await
            .expect("changed");
        let group = format!("[server_groups.{}]\nservers = [\"127.0.0.1:1\"]\n", &idle[..1]);
        stage.config = stage.config.clone() + &group;
        stage.home.configure(&stage.config);
        assert_eq!(reloaded(&stage.gateway).await, None);
        stage.killed_and_started().await;
        assert_eq!(stage.seen().await, "mutual");
        warns(&stage.gateway, LAST).await;
        assert!(stage.home.log().contains("partners.pem"));

        // Whoever writes a file is told what is wrong with it.
        let path = stage.file().display().to_string();
        let (code, _, errors) = run(&["check", "--config", &path]).await;
        assert!(code == 1 && errors.contains("partners.pem"), "{errors}");
    }
    stage.home.write("partners.pem", &stage.ca);
    warns_no_more(&stage.gateway).await;
    let metric = r#"certgate_ca_bundle_ok{ca_bundle="partners"} 1"#;
    assert!(metrics(&stage).await.contains(metric));
    assert_eq!(stage.seen().await, "mutual");
}

#[tokio::test]
async fn where_nothing_good_is_known_of_a_bundle_its_listeners_refuse_everybody_and_others_serve() {
    let open = free_address();
    let other = format!(
        "[listeners.open]\naddress = \"{}\"\nport = {}\ncertificates = [\"localhost\"]\nserver_group = \"app\"\n",
        open.ip(),
        open.port()
    );
    let mut stage = Stage::new(&format!("{MUTUAL}{other}")).await;
    assert_eq!(stage.seen().await, "mutual");
    stage.gateway.signal("KILL");
    stage.gateway.ended().await;
    std::fs::remove_file(stage.home.path("partners.pem")).expect("removed");
    std::fs::remove_dir_all(stage.home.path("store/ca-files")).expect("what is kept");
    stage.gateway = stage.home.start(&stage.config).await;
    stage.gateway.published("localhost").await;

    warns(&stage.gateway, "refuse every client").await;
    for client in [&stage.partner, &stage.stranger] {
        assert!(client.ask(stage.listen, "localhost").await.is_err());
        client
            .ask(open, "localhost")
            .await
            .expect("no certificate is asked for");
    }
    let reason = r#"rejections_total{listener="web",reason="bundle-unavailable"}"#;
    assert!(metrics(&stage).await.contains(reason));
    stage
        .patch(json!({ "idle_timeout": "7s" }))
        .await
        .expect("changed");

    // Nobody else comes to it meanwhile.
    let to_it = json!({ "authentication": "mutual", "client_ca": "partners" }).to_string();
    let line = "PATCH /v1/listeners/open";
    let headers = [("content-type", "application/merge-patch+json")];
    let (status, _, problem) = request(stage.gateway.socket(), line, &headers, to_it.as_bytes()).await;
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(
        status == 422 && detail.contains("partners.pem"),
        "{status} {problem}"
    );

    stage.home.write("partners.pem", &stage.ca);
    warns_no_more(&stage.gateway).await;
    assert_eq!(stage.seen().await, "mutual");
}

#[tokio::test]
async fn a_bundle_that_is_new_is_refused_with_the_file_that_is_missing() {
    let stage = Stage::new(MUTUAL).await;
    let more = "[ca_bundles.more]\nfiles = [\"more.pem\"]\n";
    stage.home.configure(&format!("{}{more}", stage.config));
    let error = reloaded(&stage.gateway).await.expect("refused");
    assert!(error.contains("more.pem"), "{error}");
    let path = stage.file().display().to_string();
    let (code, _, errors) = stage.command(&["apply", "--config", &path]).await;
    assert!(code == 1 && errors.contains("more.pem"), "{errors}");
    // So is one in force that is to have another file.
    stage
        .home
        .configure(&stage.config.replace("partners.pem", "others.pem"));
    let error = reloaded(&stage.gateway).await.expect("refused");
    assert!(error.contains("others.pem"), "{error}");
    assert_eq!(stage.seen().await, "mutual");
}

#[tokio::test]
async fn while_a_ca_file_is_missing_a_request_may_add_a_crl_and_loosen_nothing() {
    let other = ClientAuthority::new("another authority");
    let mut stage = Stage::new(MUTUAL).await;
    let more = stage.home.write("more.pem", &other.pem());
    let files = [stage.home.path("partners.pem"), more];
    let bundle = ResourceId::new(ResourceKind::CaBundle, "partners");
    let client = stage.gateway.client();
    let change = async |keys| client.patch_resource(&bundle, &table(keys), None).await;
    change(json!({ "files": files })).await.expect("changed");
    let revoked = other.client(&stage, 7).await;
    assert!(is_let_in(&stage, &revoked).await);

    std::fs::remove_file(&files[0]).expect("removed");
    warns(&stage.gateway, LAST).await;
    let foreign = ClientAuthority::new("a third authority");
    let crl_of =
        |ca: &ClientAuthority, seconds| crl_to_pem(&ca.crl_due(1, &[7], Duration::from_secs(seconds)));
    for (keys, says) in [
        (
            json!({ "crls_pem": crl_of(&foreign, 86_400) }),
            "not in the bundle",
        ),
        (json!({ "crls_pem": crl_of(&other, 0) }), "is out of date since"),
        (json!({ "certificates_pem": foreign.pem() }), "partners.pem"),
    ] {
        let error = change(keys).await.expect_err("refused").to_string();
        assert!(error.contains(says), "{error}");
    }
    assert!(is_let_in(&stage, &revoked).await);

    let added = change(json!({ "crls_pem": crl_of(&other, 86_400) })).await;
    added.expect("what keeps clients out waits for no file");
    assert!(!is_let_in(&stage, &revoked).await);
    assert_eq!(stage.seen().await, "mutual");
    warns(&stage.gateway, LAST).await;
    let error = change(json!({ "crls_pem": null })).await.expect_err("refused");
    assert!(error.to_string().contains("partners.pem"), "{error}");
    stage.killed_and_started().await;
    assert!(!is_let_in(&stage, &revoked).await);
}

async fn warns(gateway: &Gateway, of: &str) {
    let is_there = |status: &Status| {
        let mut lines = status.warnings.iter();
        lines.any(|line| line.contains(of) && line.contains("partners.pem"))
    };
    gateway.status_until("warns", is_there).await;
}

async fn warns_no_more(gateway: &Gateway) {
    let is_gone = |status: &Status| !status.warnings.iter().any(|line| line.contains("partners.pem"));
    gateway.status_until("warns no more", is_gone).await;
}

async fn metrics(stage: &Stage) -> String {
    let mut curl = tokio::process::Command::new("curl");
    curl.args(["--silent", "--fail", "--unix-socket"])
        .arg(stage.gateway.socket());
    let output = curl.arg("http://certgate/metrics").output().await;
    String::from_utf8_lossy(&output.expect("curl is installed").stdout).into_owned()
}
