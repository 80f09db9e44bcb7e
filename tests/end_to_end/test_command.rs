//! `certgate test`: fresh connections with a running listener, and what is told of them.

use certgate::config::{ResourceId, ResourceKind};
use serde_json::{Value, json};

use crate::commands::self_signed;
use crate::peer::backend;
use crate::runtime::{Stage, table};

/// What it says as JSON, and whether it passed.
async fn tested(stage: &Stage, more: &[&str]) -> (i32, Value) {
    let arguments = [&["test", "web", "--output", "json", "--count", "2"], more].concat();
    let (code, shown, errors) = stage.command(&arguments).await;
    let report = serde_json::from_str(&shown).unwrap_or_else(|_| panic!("{arguments:?}: {shown}{errors}"));
    (code, report)
}

#[tokio::test]
async fn a_listener_that_serves_passes_and_is_told_with_who_answered() {
    let stage = Stage::new("").await;
    let (code, report) = tested(&stage, &[]).await;
    assert_eq!((code, &report["passed"]), (0, &json!(true)), "{report:#}");
    assert_eq!(report["server_name"], "localhost");
    assert_eq!(report["address"], stage.listen.to_string());
    let connections = report["connections"].as_array().expect("connections");
    assert_eq!(connections.len(), 2);
    for connection in connections {
        assert_eq!(connection["certificate"]["names"], json!(["localhost"]));
        assert!(
            connection["certificate"]["days_left"].as_u64() > Some(80),
            "{connection:#}"
        );
        assert_eq!(connection["verified_by"], "the local CA `internal`");
        assert_eq!(connection["version"], "TLSv1_3");
        assert_eq!(connection["group"], "X25519MLKEM768");
        assert_eq!(connection["authentication"]["verdict"], "not-asked");
        assert_eq!(
            connection["answer"],
            json!({ "status": "200 OK", "server": null, "body": "served" })
        );
        assert!(connection["handshake_ms"].as_f64() > Some(0.0));
    }
    let shown = stage.done(&["test", "web", "--count", "1"]).await;
    for part in [
        "200 OK, served",
        "by the local CA `internal`",
        "no certificate is asked for",
        "All 1 were",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let address = stage.listen.to_string();
    let (code, _) = tested(&stage, &["--connect", &address, "--sni", "localhost"]).await;
    assert_eq!(code, 0);
}

#[tokio::test]
async fn what_cannot_be_verified_or_reached_fails_and_is_told_why() {
    let stage = Stage::new("").await;
    let (code, report) = tested(&stage, &["--sni", "other.example.test"]).await;
    let first = &report["connections"][0];
    assert_eq!((code, &first["verified"]), (1, &json!(false)), "{report:#}");
    let why = first["not_verified_because"].as_str().expect("a reason");
    assert!(why.contains("not valid for name"), "{why}");
    let (code, report) = tested(&stage, &["--connect", "127.0.0.1:1"]).await;
    let first = &report["connections"][0];
    let error = first["error"].as_str().expect("an error");
    assert!(code == 1 && error.contains("refused"), "{error}");
    assert_eq!(first["authentication"]["verdict"], "not-connected");
    let (code, shown, _) = stage.command(&["test", "web", "--connect", "127.0.0.1:1"]).await;
    assert!(
        code == 1 && shown.contains("could not connect: ") && shown.contains("there was no connection"),
        "{shown}"
    );
    assert!(!shown.contains("no certificate is asked for"), "{shown}");
    // Somebody who speaks no TLS has asked for nothing either.
    let plain = backend("no TLS").await.to_string();
    let (code, report) = tested(&stage, &["--connect", &plain]).await;
    let verdict = &report["connections"][0]["authentication"]["verdict"];
    assert_eq!((code, verdict), (1, &json!("unknown")), "{report:#}");
    for address in ["foo", ":8443", "localhost:", "localhost:0", "localhost:65536"] {
        let (code, _, errors) = stage.command(&["test", "web", "--connect", address]).await;
        assert!(code == 2 && errors.contains("write host:port"), "{errors}");
    }
    for (arguments, says) in [
        (
            &["test", "nowhere"][..],
            "there is no listener `nowhere`; there are: web",
        ),
        (&["test", "web", "--sni", "a b"], "no name of a server"),
        (
            &["test", "web", "--client-certificate", "nowhere.pem"],
            "cannot read nowhere.pem",
        ),
    ] {
        let (code, _, errors) = stage.command(arguments).await;
        assert!(code == 1 && errors.contains(says), "{errors}");
    }
}

#[tokio::test]
async fn a_mutual_listener_is_passed_with_a_certificate_of_its_ca_and_with_no_other() {
    let stage = Stage::new("").await;
    let client = stage.gateway.client();
    let bundle = ResourceId::new(ResourceKind::CaBundle, "own");
    let keys = table(json!({ "issuer": "internal" }));
    client.create_resource(&bundle, &keys).await.expect("made");
    let alice = stage.home.path("alice.pem").display().to_string();
    stage
        .done(&[
            "ca",
            "issue",
            "internal",
            "--common-name",
            "alice",
            "--pem",
            &alice,
        ])
        .await;
    stage
        .patch(json!({ "authentication": "mutual", "client_ca": "own" }))
        .await
        .expect("changed");

    let (code, report) = tested(&stage, &[]).await;
    let first = &report["connections"][0];
    let verdict = |connection: &Value| connection["authentication"].clone();
    assert_eq!((code, &first["verified"]), (1, &json!(true)), "{report:#}");
    assert_eq!(
        verdict(first),
        json!({ "asked_for": true, "shown": false, "verdict": "refused" })
    );
    assert!(
        first["error"]
            .as_str()
            .is_some_and(|error| error.contains("CertificateRequired"))
    );

    let (code, report) = tested(&stage, &["--client-certificate", &alice]).await;
    assert_eq!(code, 0, "{report:#}");
    let admitted = json!({ "asked_for": true, "shown": true, "verdict": "admitted" });
    assert_eq!(verdict(&report["connections"][0]), admitted);

    let (chain, key) = self_signed("stranger.example.test");
    let chain = stage.home.write("stranger.pem", &chain).display().to_string();
    let key = stage.home.write("stranger.key", &key).display().to_string();
    let (code, report) = tested(&stage, &["--client-cert", &chain, "--client-key", &key]).await;
    assert_eq!(
        (code, &verdict(&report["connections"][0])["verdict"]),
        (1, &json!("refused"))
    );
}
