//! What cannot be done to a CA bundle or a built-in policy is refused with a word of its own, which programs can go by.

use serde_json::{Value, json};

use crate::client_authority::ClientAuthority;
use crate::reload::reloaded;
use crate::runtime::{Stage, request};

const JSON: (&str, &str) = ("content-type", "application/json");

impl Stage {
    /// One request: status, head, body.
    async fn answered(&self, line: &str, body: &Value) -> (u16, String, Value) {
        let (headers, text) = match body {
            Value::Null => (vec![], String::new()),
            body => (vec![JSON], body.to_string()),
        };
        request(self.gateway.socket(), line, &headers, text.as_bytes()).await
    }

    async fn refused_as(&self, line: &str, body: Value, status: u16, code: &str) {
        let (found, _, problem) = self.answered(line, &body).await;
        let finding = &problem["findings"][0];
        assert_eq!(
            (found, &finding["code"]),
            (status, &json!(code)),
            "{line}: {problem}"
        );
        let message = finding["message"].as_str().unwrap_or_default();
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(!message.is_empty() && detail.contains(message), "{problem}");
    }
}

#[tokio::test]
async fn whatever_is_wrong_with_a_bundle_has_a_word_of_its_own() {
    let stage = Stage::new("authentication = \"mutual\"\nclient_ca = \"partners\"\n").await;
    let (ca, other) = (&stage.ca, ClientAuthority::new("another authority"));
    let block = |label: &str| format!("-----BEGIN {label}-----\nMAA=\n-----END {label}-----\n");
    let (damaged, key) = (ca.replacen("MII", "M!!", 1), block("PRIVATE KEY"));
    let foreign =
        certgate::certificate::crl_to_pem(&other.crl_due(1, &[], std::time::Duration::from_secs(86_400)));
    for (keys, code) in [
        (json!({ "files": ["/nowhere.pem"] }), "unreadable-file"),
        (
            json!({ "certificates_pem": format!("{ca}{damaged}") }),
            "damaged-pem",
        ),
        (json!({ "certificates_pem": format!("{ca}{key}") }), "other-block"),
        (
            json!({ "certificates_pem": block("CERTIFICATE") }),
            "not-a-certificate",
        ),
        (
            json!({ "certificates_pem": ca, "crls_pem": foreign }),
            "foreign-crl",
        ),
        (
            json!({ "certificates_pem": ca, "crls_pem": block("X509 CRL") }),
            "unusable-crl",
        ),
    ] {
        stage.refused_as("PUT /v1/ca-bundles/new", keys, 422, code).await;
    }
    stage
        .refused_as("DELETE /v1/ca-bundles/partners", Value::Null, 409, "in-use")
        .await;

    // What is damaged is said to be that, wherever it stands; and not a word of it is shown.
    for (keys, says) in [
        (
            json!({ "certificates_pem": damaged }),
            "`certificates_pem`, block 1: is damaged PEM: a block is not base64",
        ),
        (
            json!({ "certificates_pem": ca, "crls_pem": foreign.replacen("-----BEGIN", "----BEGIN", 1) }),
            "`crls_pem`, block 1: is damaged PEM: line 1 is no part of a block",
        ),
        (
            json!({ "certificates_pem": key }),
            "`certificates_pem`, block 1: is `PRIVATE KEY`; only `CERTIFICATE` may stand here",
        ),
    ] {
        let (status, _, problem) = stage.answered("PUT /v1/ca-bundles/new", &keys).await;
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(status == 422 && detail.contains(says), "{detail}");
        assert!(!detail.contains("M!!") && !detail.contains("MAA="), "{detail}");
    }
    let records = stage.gateway.client().audit(None, 100).await.expect("the trail");
    let detail = records.last().and_then(|record| record.detail.as_deref());
    let detail = detail.expect("why it was refused");
    assert_eq!(detail.matches("is `PRIVATE KEY`").count(), 1, "{detail}");
}

#[tokio::test]
async fn built_in_policies_are_shown_and_marked_and_neither_changed_nor_taken_for_the_operators_own() {
    let stage = Stage::new("").await;
    let (status, _, all) = stage.answered("GET /v1/policies", &Value::Null).await;
    let all = all.as_array().cloned().unwrap_or_default();
    let marked = |name: &str| {
        let found = all.iter().find(|policy| policy["name"] == name);
        found.map(|policy| policy["built_in"].clone())
    };
    assert_eq!(status, 200);
    assert_eq!(marked("modern"), Some(json!("modern-2026-11")));
    assert_eq!(marked("modern-2026-11"), Some(json!("modern-2026-11")));

    let one = "/v1/policies/modern";
    let (status, head, keys) = stage.answered(&format!("GET {one}"), &Value::Null).await;
    assert_eq!((status, &keys["versions"]), (200, &json!(["TLSv1.3"])));
    assert!(
        head.contains("allow: get, head") && keys["why"].is_string(),
        "{head}{keys}"
    );
    let other = json!({ "extends": "intermediate" });
    for (method, body) in [
        ("PUT", &keys),
        ("PUT", &other),
        ("PATCH", &other),
        ("DELETE", &Value::Null),
    ] {
        let line = format!("{method} {one}");
        stage.refused_as(&line, body.clone(), 409, "built-in").await;
    }
    assert_eq!(stage.answered(&format!("GET {one}"), &Value::Null).await.2, keys);
    // What is shown can be written under a name of one's own.
    let (status, _, own) = stage.answered("PUT /v1/policies/house", &keys).await;
    assert_eq!((status, &own), (200, &keys));

    let path = stage.file().display().to_string();
    let diff = stage.done(&["diff", "--config", &path]).await;
    assert!(
        diff.contains("nothing to change") && !diff.contains("modern"),
        "{diff}"
    );
    assert_eq!(reloaded(&stage.gateway).await, None);
    let status = stage.gateway.client().status().await.expect("a status");
    let drift: Vec<_> = status.drift.iter().map(|drift| drift.resource.as_str()).collect();
    assert_eq!(drift, ["policies/house"]);
    let listed = stage.done(&["policy", "list"]).await;
    assert_eq!(listed.matches("house").count(), 1, "{listed}");
    assert_eq!(listed.matches("gateway").count(), 1, "{listed}");
}

#[tokio::test]
async fn a_list_of_clients_that_keeps_nobody_out_is_warned_of() {
    let stage = Stage::new("").await;
    let listed = format!(
        "{}allow_clients = {{ common_name = [\"a partner\"] }}\n",
        "server_group = \"app\"\n"
    );
    stage
        .home
        .configure(&stage.config.replace("server_group = \"app\"\n", &listed));
    let path = stage.file().display().to_string();
    let says = "`allow_clients` in [listeners.web] keeps nobody out: it is one-way";
    for command in ["diff", "apply"] {
        let said = stage.done(&[command, "--config", &path]).await;
        assert!(
            said.contains("warning: ") && said.contains(says),
            "{command}: {said}"
        );
    }
    let (code, _, errors) = crate::gateway::run(&["check", "--config", &path]).await;
    assert!(code == 0 && errors.contains(says), "{errors}");
}
