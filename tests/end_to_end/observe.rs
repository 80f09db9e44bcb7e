//! `observe`: everybody comes in, and an operator sees who would not, why, and where they come from.

use serde_json::Value;

use crate::client_authority::ClientAuthority;
use crate::runtime::Stage;

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
