//! `observe`: everybody comes in, and an operator sees who would not, why, and where they come from.

use std::time::Duration;

use certgate::admin::api::Listener;
use certgate::certificate::crl_to_pem;
use certgate::config::{ResourceId, ResourceKind};
use serde_json::{Value, json};

use crate::client_authority::ClientAuthority;
use crate::gateway::free_address;
use crate::runtime::{Stage, table};

#[tokio::test]
async fn who_would_be_refused_is_listed_by_reason_subject_and_source_before_the_switch() {
    let stage = Stage::new("").await;
    let said = stage
        .done(&["listener", "auth", "web", "observe", "--client-ca", "partners"])
        .await;
    assert!(
        said.contains("`web` is observe") && said.contains("`partners`"),
        "{said}"
    );

    let foreign = ClientAuthority::new("another authority")
        .client_called(&stage, "a foreigner")
        .await;
    for client in [&stage.partner, &stage.stranger, &foreign, &foreign] {
        client
            .ask(stage.listen, "localhost")
            .await
            .expect("everybody comes in");
    }
    let status = stage.gateway.client().status().await.expect("a status");
    let mut seen: Vec<_> = status.listeners[0]
        .would_refuse
        .iter()
        .map(|kind| {
            (
                kind.reason.as_str(),
                kind.subject.as_deref(),
                kind.source.to_string(),
                kind.count,
            )
        })
        .collect();
    seen.sort();
    let source = "127.0.0.1".to_owned();
    assert_eq!(
        seen,
        [
            ("no-certificate", None, source.clone(), 1),
            ("unknown-ca", Some("CN=a foreigner"), source, 2)
        ]
    );
    for arguments in [vec!["status"], vec!["listener", "show", "web"]] {
        let text = stage.done(&arguments).await;
        let row = |reason: &str| text.lines().find(|line| line.contains(reason)).map(str::to_owned);
        let foreign = row("unknown-ca").unwrap_or_default();
        let parts = ["web", "2", "127.0.0.1", "CN=a foreigner"];
        assert!(parts.iter().all(|part| foreign.contains(part)), "{text}");
        assert!(
            row("no-certificate").is_some_and(|row| row.contains("127.0.0.1")),
            "{text}"
        );
    }
    let json = stage.done(&["listener", "show", "web", "--output", "json"]).await;
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["keys"]["authentication"], "observe");
    assert_eq!(json["status"]["would_refuse"].as_array().map(Vec::len), Some(2));

    let said = stage.done(&["listener", "auth", "web", "mutual"]).await;
    assert!(said.contains("`partners`"), "the bundle is remembered: {said}");
    assert_eq!(stage.seen().await, "mutual");
    foreign.ask(stage.listen, "localhost").await.expect_err("refused");
    let status = stage.gateway.client().status().await.expect("a status");
    assert_eq!(
        status.listeners[0].would_refuse.len(),
        0,
        "nobody is only observed"
    );
}

#[tokio::test]
async fn what_was_observed_outlives_new_crls_bundles_and_policies_and_is_forgotten_with_the_mode() {
    let stage = Stage::new("").await;
    let observe = json!({ "authentication": "observe", "client_ca": "partners" });
    stage.patch(observe.clone()).await.expect("changed");
    stage
        .stranger
        .ask(stage.listen, "localhost")
        .await
        .expect("served");
    let begun = standing(&stage).await;
    let since = begun.observed_since.expect("a time");
    assert_eq!(begun.observed_by_other_rules_until, None);
    let said = stage.done(&["listener", "show", "web"]).await;
    assert!(
        said.contains("listener `web` observes its clients since 2"),
        "{said}"
    );

    let other = ClientAuthority::new("another authority");
    let crl = crl_to_pem(&other.crl_due(1, &[], Duration::from_secs(86_400)));
    let bundle = ResourceId::new(ResourceKind::CaBundle, "partners");
    for keys in [
        json!({ "certificates_pem": other.pem() }),
        json!({ "crls_pem": crl }),
    ] {
        let changed = stage
            .gateway
            .client()
            .patch_resource(&bundle, &table(keys), None)
            .await;
        changed.expect("changed");
    }
    for keys in [
        json!({ "allow_clients": { "common_name": ["a partner"] } }),
        json!({ "policy": "modern" }),
        json!({ "port": free_address().port() }),
    ] {
        stage.patch(keys).await.expect("changed");
        let now = standing(&stage).await;
        assert_ne!(now.authentication_generation, begun.authentication_generation);
        assert_eq!(now.would_refuse.first().map(|kind| kind.count), Some(1));
        let drifted = now.observed_since.expect("a time").since(since);
        assert!(drifted < Duration::from_secs(1) && now.observed_by_other_rules_until.is_some());
    }
    let said = stage.done(&["listener", "show", "web"]).await;
    assert!(
        said.contains("what they are checked against was something else until 2"),
        "{said}"
    );

    stage
        .patch(json!({ "authentication": "one-way" }))
        .await
        .expect("changed");
    assert_eq!(standing(&stage).await.observed_since, None);
    stage.patch(observe).await.expect("changed");
    let anew = standing(&stage).await;
    assert!(anew.would_refuse.is_empty() && anew.observed_by_other_rules_until.is_none());
    assert!(anew.observed_since.expect("a time") > since);
    let said = stage.done(&["status"]).await;
    assert!(said.contains(": nobody would have been refused"), "{said}");
}

async fn standing(stage: &Stage) -> Listener {
    let status = stage.gateway.client().status().await.expect("a status");
    let mut listeners = status.listeners.into_iter();
    listeners
        .find(|listener| listener.name == "web")
        .expect("it is there")
}
