//! Requests that cannot be done: a clear problem document, and nothing is changed.

use certgate::config::{ResourceId, ResourceKind};
use serde_json::{Value, json};

use crate::admin_tcp::with_tokens;
use crate::gateway::{Home, free_address};
use crate::runtime::{Stage, mutual, request, table};

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn a_body_that_cannot_be_used_is_refused_with_the_reason_and_changes_nothing() {
    let stage = Stage::new("").await;
    let socket = stage.gateway.socket();
    let before = request(socket, "GET /v1/listeners/web", &[], b"").await;
    let nested = format!("{{\"tags\": {}1{}}}", "[".repeat(120), "]".repeat(120));
    let too_deep = format!("{{\"tags\": {}1{}}}", "[".repeat(5000), "]".repeat(5000));
    let large = format!("{{\"tags\": \"{}\"}}", "x".repeat(2 << 20));
    for (method, body, status, says) in [
        ("PATCH", "", 400, "not JSON"),
        ("PATCH", "{", 400, "not JSON"),
        ("PATCH", "[1]", 400, "JSON object"),
        ("PATCH", "\"mutual\"", 400, "JSON object"),
        ("PATCH", "{\"port\": 1e400}", 400, "not JSON"),
        ("PATCH", too_deep.as_str(), 400, "not JSON"),
        ("PATCH", large.as_str(), 413, ""),
        ("PATCH", nested.as_str(), 422, ""),
        ("PATCH", "{\"portt\": 1}", 422, "unknown key `portt`"),
        (
            "PATCH",
            "{\"port\": 99999999999999999999}",
            422,
            "must be from 1 to 65535; found 1e+20, which is too large",
        ),
        (
            "PATCH",
            "{\"port\": 18446744073709551615}",
            422,
            "must be from 1 to 65535",
        ),
        ("PATCH", "{\"port\": -1}", 422, "must be from 1 to 65535"),
        ("PATCH", "{\"port\": \"443\"}", 422, "must be a whole number"),
        ("PATCH", "{\"port\": null}", 422, "`port` is missing"),
        (
            "PATCH",
            "{\"authentication\": \"mutal\"}",
            422,
            "did you mean `mutual`",
        ),
        ("PATCH", "{\"policy\": \"nowhere\"}", 422, "`nowhere`"),
        (
            "PATCH",
            "{\"tags\": {\"a\\u0000\": \"\\u001b[31m\"}, \"x\": 1}",
            422,
            "unknown key",
        ),
        ("PUT", "{}", 422, "`port` is missing"),
        ("PUT", "{\"port\": 1, \"tags\": {\"a\": null}}", 422, ""),
    ] {
        let line = format!("{method} /v1/listeners/web");
        let (found, head, problem) = request(socket, &line, &[JSON], body.as_bytes()).await;
        let shown: String = body.chars().take(60).collect();
        assert_eq!(found, status, "{shown}: {problem}");
        assert!(head.contains("application/problem+json"), "{shown}: {head}");
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(says), "{shown}: {detail}");
        assert_eq!(problem["status"], status, "{shown}");
        if status == 422 {
            let findings = problem["findings"].as_array().expect("findings");
            assert!(
                findings.iter().any(|found| found["code"].is_string()),
                "{problem}"
            );
        }
    }
    let after = request(socket, "GET /v1/listeners/web", &[], b"").await;
    assert_eq!(after.2, before.2);
    assert_eq!(stage.seen().await, "one-way");
    let status = stage.gateway.client().status().await.expect("a status");
    assert!(status.drift.is_empty());
}

#[tokio::test]
async fn a_request_that_is_not_for_what_is_there_is_refused() {
    let stage = Stage::new("").await;
    let socket = stage.gateway.socket();
    for (line, headers, body, status) in [
        ("GET /v1/listeners/nowhere", vec![], "", 404),
        ("PATCH /v1/listeners/nowhere", vec![JSON], "{}", 404),
        ("DELETE /v1/policies/nowhere", vec![], "", 404),
        ("PUT /v1/listeners/a%2Fb", vec![JSON], "{}", 422),
        ("PUT /v1/listeners/%1b", vec![JSON], "{}", 422),
        ("PATCH /v1/listeners/web", vec![], "{}", 415),
        (
            "PATCH /v1/listeners/web",
            vec![("content-type", "text/plain")],
            "{}",
            415,
        ),
        (
            "PUT /v1/listeners/web",
            vec![("content-type", "application/merge-patch+json")],
            "{}",
            415,
        ),
        (
            "PATCH /v1/listeners/web",
            vec![JSON, ("if-match", "\"stale\"")],
            "{}",
            412,
        ),
        (
            "DELETE /v1/listeners/web",
            vec![("if-match", "\"stale\"")],
            "",
            412,
        ),
        (
            "PUT /v1/listeners/web",
            vec![JSON, ("if-none-match", "*")],
            "{}",
            412,
        ),
        ("DELETE /v1/server-groups/app", vec![], "", 409),
        ("DELETE /v1/listeners/web", vec![], "", 422),
    ] {
        let (found, head, problem) = request(socket, line, &headers, body.as_bytes()).await;
        assert_eq!(found, status, "{line}: {problem}");
        assert!(head.contains("application/problem+json"), "{line}: {head}");
    }
    assert_eq!(stage.seen().await, "one-way");
}

#[tokio::test]
async fn of_two_clients_that_make_one_resource_one_is_told_that_there_is_one_already() {
    let stage = Stage::new("").await;
    let id = ResourceId::new(ResourceKind::Policy, "house");
    let client = stage.gateway.client();
    let make = async |why: &str| {
        let keys = table(json!({ "extends": "modern", "why": why }));
        client.create_resource(&id, &keys).await
    };
    let (one, other) = tokio::join!(make("one"), make("other"));
    let refused = [&one, &other].into_iter().filter_map(|made| made.as_ref().err());
    let refused: Vec<_> = refused.map(ToString::to_string).collect();
    assert_eq!(refused.len(), 1, "{one:?} {other:?}");
    assert!(
        refused[0].contains("there is a TLS security policy `house` already"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_refusal_of_many_lines_is_one_line_of_the_audit() {
    let stage = Stage::new("").await;
    stage
        .patch(json!({ "policy": "nowhere" }))
        .await
        .expect_err("refused");
    let shown = stage.done(&["audit"]).await;
    assert_eq!(shown.lines().count(), 2, "{shown}");
    assert!(
        shown.contains("refused: listener `web` was not changed: there is no TLS security policy `nowhere`"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_listener_on_the_address_of_the_admin_api_is_told_so() {
    let home = Home::new();
    let address = free_address();
    let (gateway, _) = with_tokens(&home, address, "").await;
    let id = ResourceId::new(ResourceKind::Listener, "more");
    for ip in [address.ip().to_string(), "0.0.0.0".to_owned()] {
        let keys = json!({
            "address": ip, "port": address.port(), "certificates": ["localhost"], "server_group": "app",
        });
        let refused = gateway.client().put_resource(&id, &table(keys), None).await;
        let refused = refused.expect_err("refused").to_string();
        assert!(refused.contains("in the way of the admin API"), "{refused}");
    }
}

#[tokio::test]
async fn nothing_leaves_a_mutual_listener_without_somebody_to_ask() {
    let stage = Stage::new("").await;
    let socket = stage.gateway.socket();
    let refused = stage
        .patch(json!({ "authentication": "mutual" }))
        .await
        .expect_err("no bundle");
    assert!(refused.contains("needs `client_ca`"), "{refused}");
    assert_eq!(stage.seen().await, "one-way");
    stage.patch(mutual()).await.expect("changed");

    let leaf = stage
        .gateway
        .client()
        .local_ca_root("internal")
        .await
        .expect("a certificate");
    let garbage = format!("{leaf}-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    let secret = "-----BEGIN PRIVATE KEY-----\nSECRETSECRET\n-----END PRIVATE KEY-----\n";
    for bundle in [
        json!({ "certificates_pem": secret }),
        json!({ "certificates_pem": secret.replace('\n', " ") }),
    ] {
        let line = "PUT /v1/ca-bundles/partners";
        let (found, _, problem) = request(socket, line, &[JSON], bundle.to_string().as_bytes()).await;
        assert_eq!(found, 422, "{problem}");
        let says = "block 1: is `";
        assert!(problem.to_string().contains(says), "{problem}");
        assert!(!problem.to_string().contains("SECRET"), "{problem}");
    }
    for (line, body, status, says) in [
        (
            "DELETE /v1/ca-bundles/partners",
            Value::Null,
            409,
            "in use by listener `web`",
        ),
        (
            "PATCH /v1/ca-bundles/partners",
            json!({ "files": [] }),
            422,
            "empty list",
        ),
        (
            "PATCH /v1/ca-bundles/partners",
            json!({ "files": null }),
            422,
            "`files` is missing",
        ),
        (
            "PUT /v1/ca-bundles/partners",
            json!({ "certificates_pem": "" }),
            422,
            "holds no certificate",
        ),
        (
            "PUT /v1/ca-bundles/partners",
            json!({ "certificates_pem": garbage }),
            422,
            "PRIVATE KEY",
        ),
        (
            "PUT /v1/ca-bundles/partners",
            json!({ "files": ["nowhere.pem"] }),
            422,
            "nowhere.pem",
        ),
        (
            "PATCH /v1/listeners/web",
            json!({ "client_ca": null }),
            422,
            "needs `client_ca`",
        ),
        (
            "PATCH /v1/listeners/web",
            json!({ "client_ca": "nobody" }),
            422,
            "no CA bundle `nobody`",
        ),
    ] {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let (found, _, problem) = request(socket, line, &[JSON], body.as_bytes()).await;
        assert_eq!(found, status, "{line}: {problem}");
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(says), "{line}: {detail}");
        assert_eq!(stage.seen().await, "mutual", "{line}");
    }
}

#[tokio::test]
async fn old_and_new_ca_overlap_in_one_bundle() {
    let stage = Stage::new("").await;
    stage.patch(mutual()).await.expect("changed");
    let other = stage
        .gateway
        .client()
        .local_ca_root("internal")
        .await
        .expect("a root");
    let (old, new) = (
        stage.home.write("old.pem", &stage.ca),
        stage.home.write("new.pem", &other),
    );
    let (old, new) = (old.display().to_string(), new.display().to_string());
    stage.done(&["ca-bundle", "add", "both", &new]).await;
    stage
        .done(&["listener", "auth", "web", "mutual", "--client-ca", "both"])
        .await;
    let refused = stage
        .partner
        .ask(stage.listen, "localhost")
        .await
        .expect_err("of another CA");
    assert!(refused.to_string().contains("alert"), "{refused}");
    stage.done(&["ca-bundle", "add", "both", &old]).await;
    assert_eq!(stage.seen().await, "mutual");
    let list = stage.done(&["ca-bundle", "list"]).await;
    let row = list.lines().find(|line| line.starts_with("both")).expect("a row");
    let cells: Vec<_> = row.split_whitespace().collect();
    assert_eq!(cells[..6], ["both", "-", "0", "2", "0", "2"], "{list}");
    assert_eq!(cells[7..], ["web", "added"], "{list}");
    stage
        .done(&["listener", "auth", "web", "mutual", "--client-ca", "partners"])
        .await;
    stage.done(&["ca-bundle", "delete", "both"]).await;
    assert_eq!(stage.seen().await, "mutual");
}
