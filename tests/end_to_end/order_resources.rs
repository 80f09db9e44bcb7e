//! Certificates and issuers changed at run time: on the condition of their entity tags, beside the file, over a restart.

use certgate::admin::api;
use serde_json::{Value, json};

use crate::commands::self_signed;
use crate::reload::reloaded;
use crate::runtime::{Stage, request};

const JSON: (&str, &str) = ("content-type", "application/json");

impl Stage {
    /// One request about `path`: status, entity tag, body.
    async fn asked(&self, line: &str, condition: Option<(&str, &str)>, body: &Value) -> (u16, String, Value) {
        let mut headers = Vec::new();
        let mut text = String::new();
        if !body.is_null() {
            headers.push(JSON);
            text = body.to_string();
        }
        headers.extend(condition);
        let (status, head, body) = request(self.gateway.socket(), line, &headers, text.as_bytes()).await;
        let tag = head.lines().find_map(|line| line.strip_prefix("etag: "));
        (status, tag.unwrap_or_default().to_owned(), body)
    }

    async fn refused(&self, line: &str, body: Value, status: u16, says: &str) {
        let (found, _, problem) = self.asked(line, None, &body).await;
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(
            found == status && detail.contains(says),
            "{line} {body}: {found} {detail}"
        );
    }

    async fn drift(&self) -> Vec<(String, String)> {
        let status = self.gateway.client().status().await.expect("a status");
        let drift = status.drift.into_iter();
        drift.map(|drift| (drift.resource, drift.change)).collect()
    }

    /// Waits until `name` is published with these names.
    async fn has(&self, name: &str, domains: &[&str]) {
        let is_so = |status: &api::Status| {
            let found = status
                .certificates
                .iter()
                .find(|found| found.name.as_str() == name);
            found.is_some_and(|found| {
                let names: Vec<_> = found.domains.iter().map(ToString::to_string).collect();
                found.published && found.state == "valid" && names == domains
            })
        };
        self.gateway
            .status_until(&format!("serves {name} for {domains:?}"), is_so)
            .await;
    }
}

#[tokio::test]
async fn a_certificate_of_the_file_is_patched_and_stays_so_until_the_file_says_something_else() {
    let mut stage = Stage::new("").await;
    let one = "/v1/certificates/localhost";
    let (status, tag, before) = stage.asked(&format!("GET {one}"), None, &Value::Null).await;
    assert_eq!((status, before["etag"].as_str()), (200, Some(tag.as_str())));
    assert_eq!(
        before["keys"],
        json!({ "domains": ["localhost"], "issuer": "internal" })
    );

    let patch = format!("PATCH {one}");
    let both = json!({ "domains": ["localhost", "more.example.test"], "tags": { "team": "web" } });
    let (status, _, problem) = stage.asked(&patch, Some(("if-match", "\"stale\"")), &both).await;
    assert_eq!(status, 412, "{problem}");
    let (status, newer, after) = stage.asked(&patch, Some(("if-match", &tag)), &both).await;
    assert_eq!(status, 200, "{after}");
    assert_ne!(newer, tag);
    assert_eq!(after["keys"]["issuer"], "internal");
    assert_eq!(after["drift"]["change"], "changed");
    stage.has("localhost", &["localhost", "more.example.test"]).await;
    let changed = vec![("certificates/localhost".to_owned(), "changed".to_owned())];
    assert_eq!(stage.drift().await, changed);
    let (_, leaf) = stage
        .stranger
        .ask(stage.listen, "more.example.test")
        .await
        .expect("served");
    assert_eq!(leaf.names.len(), 2);

    let records = stage.gateway.client().audit(None, 10).await.expect("the trail");
    let last = records.last().expect("a record");
    let keys = |shown: &Option<Value>| shown.as_ref().expect("shown")["keys"]["domains"].clone();
    assert_eq!(keys(&last.before), json!(["localhost"]));
    assert_eq!(keys(&last.after), both["domains"]);

    stage.killed_and_started().await;
    stage.has("localhost", &["localhost", "more.example.test"]).await;
    assert_eq!(reloaded(&stage.gateway).await, None);
    assert_eq!(stage.drift().await, changed);
    let (_, tag, _) = stage.asked(&format!("GET {one}"), None, &Value::Null).await;
    assert_eq!(tag, newer, "the tag is that of the keys, over a restart too");

    let other = stage.config.replace(
        "[\"localhost\"]\nissuer",
        "[\"localhost\", \"file.example.test\"]\nissuer",
    );
    stage.home.configure(&other);
    assert_eq!(reloaded(&stage.gateway).await, None);
    stage.has("localhost", &["localhost", "file.example.test"]).await;
    assert_eq!(stage.drift().await, []);
    stage
        .refused(&format!("DELETE {one}"), Value::Null, 409, "remove it there")
        .await;
}

#[tokio::test]
async fn a_certificate_that_was_requested_is_patched_up_to_whatever_a_file_can_say_and_deleted() {
    let mut stage = Stage::new("").await;
    let one = "/v1/certificates/shop";
    let none_yet = Some(("if-none-match", "*"));
    let keys = json!({ "domains": ["shop.example.test"], "issuer": "internal" });
    let (status, tag, made) = stage.asked(&format!("PUT {one}"), none_yet, &keys).await;
    assert_eq!(status, 200, "{made}");
    let (status, _, problem) = stage.asked(&format!("PUT {one}"), none_yet, &keys).await;
    assert_eq!(status, 412, "{problem}");
    let tags = json!({ "tags": { "team": "shop" } });
    let (status, newer, patched) = stage
        .asked(&format!("PATCH {one}"), Some(("if-match", &tag)), &tags)
        .await;
    assert_eq!((status, &patched["keys"]["tags"]), (200, &tags["tags"]));
    let (status, _, _) = stage
        .asked(&format!("DELETE {one}"), Some(("if-match", &tag)), &Value::Null)
        .await;
    assert_eq!(status, 412);

    let both = json!({ "key_type": ["ecdsa-p256", "rsa-2048"] });
    let (status, _, patched) = stage
        .asked(&format!("PATCH {one}"), Some(("if-match", &newer)), &both)
        .await;
    assert_eq!(status, 200, "{patched}");
    assert_eq!(patched["keys"]["tags"], tags["tags"]);
    stage.has("shop.rsa", &["shop.example.test"]).await;
    stage
        .refused(
            "PATCH /v1/certificates/shop.rsa",
            tags,
            409,
            "belongs to another entry",
        )
        .await;
    stage.killed_and_started().await;
    stage.has("shop.rsa", &["shop.example.test"]).await;
    assert_eq!(
        stage.drift().await,
        [("certificates/shop".to_owned(), "added".to_owned())]
    );

    let (status, _, _) = stage.asked(&format!("DELETE {one}"), None, &Value::Null).await;
    assert_eq!(status, 204);
    assert_eq!(
        stage.asked(&format!("GET {one}"), None, &Value::Null).await.0,
        404
    );
    stage.killed_and_started().await;
    assert_eq!(
        stage.asked(&format!("GET {one}"), None, &Value::Null).await.0,
        404
    );
}

#[tokio::test]
async fn what_cannot_become_of_a_certificate_is_refused_and_changes_nothing() {
    let stage = Stage::new("").await;
    let (chain, key) = self_signed("bought.example.test");
    let import = json!({ "certificate_pem": chain, "key_pem": key });
    let (status, tag, _) = stage.asked("PUT /v1/certificates/bought", None, &import).await;
    assert!(status == 200 && !tag.is_empty(), "an import has a tag, too");
    let (status, _, _) = stage
        .asked(
            "PUT /v1/certificates/bought",
            Some(("if-none-match", "*")),
            &import,
        )
        .await;
    assert_eq!(status, 412);

    let (file, bought) = ("/v1/certificates/localhost", "/v1/certificates/bought");
    for (line, body, status, says) in [
        (
            format!("PATCH {file}"),
            json!({ "colour": "red" }),
            422,
            "unknown key `colour`",
        ),
        (
            format!("PATCH {file}"),
            json!({ "domains": null }),
            422,
            "`domains` is missing",
        ),
        (
            format!("PATCH {file}"),
            json!({ "issuer": "nobody" }),
            422,
            "no issuer `nobody`",
        ),
        (
            format!("PUT {file}"),
            json!({ "certificate_file": "nowhere.pem" }),
            422,
            "nowhere.pem",
        ),
        (format!("PUT {file}"), import.clone(), 409, "under another name"),
        (format!("PATCH {bought}"), json!({ "tags": {} }), 409, "no keys"),
        (
            format!("PUT {bought}"),
            json!({ "domains": ["a.example.test"] }),
            409,
            "was imported",
        ),
        (
            "PATCH /v1/certificates/none".to_owned(),
            json!({ "tags": {} }),
            404,
            "no certificate `none`",
        ),
    ] {
        stage.refused(&line, body, status, says).await;
    }
    stage.has("localhost", &["localhost"]).await;
    assert_eq!(stage.drift().await, []);
}

#[tokio::test]
async fn a_local_ca_is_shown_with_the_name_of_its_root_and_with_that_of_the_next_one() {
    let stage = Stage::new("").await;
    let one = "/v1/issuers/internal";
    let renamed = json!({ "common_name": "Other CA" });
    let (status, _, keys) = stage.asked(&format!("PATCH {one}"), None, &renamed).await;
    assert_eq!((status, &keys["common_name"]), (200, &json!("Other CA")));
    let (_, _, shown) = stage.asked(&format!("GET {one}"), None, &Value::Null).await;
    let local_ca = &shown["local_ca"];
    assert_eq!(
        (&local_ca["common_name"], &local_ca["next_common_name"]),
        (&json!("Test CA"), &json!("Other CA"))
    );
    // One that is not made yet will be called as is written by then.
    let keys = json!({ "kind": "local-ca", "common_name": "Early CA" });
    assert_eq!(stage.asked("PUT /v1/issuers/early", None, &keys).await.0, 200);
    assert_eq!(
        stage.asked("PATCH /v1/issuers/early", None, &renamed).await.0,
        200
    );
    let (_, _, shown) = stage.asked("GET /v1/issuers/early", None, &Value::Null).await;
    assert_eq!(shown["local_ca"]["common_name"], "Other CA");
    assert_eq!(shown["local_ca"].get("next_common_name"), None);
}

#[tokio::test]
async fn an_issuer_is_made_used_changed_and_deleted_only_when_nobody_needs_it() {
    let mut stage = Stage::new("").await;
    let one = "/v1/issuers/second";
    let keys = json!({ "kind": "local-ca", "common_name": "Second CA" });
    let none_yet = Some(("if-none-match", "*"));
    let (status, _, made) = stage.asked(&format!("PUT {one}"), none_yet, &keys).await;
    assert_eq!((status, &made), (200, &keys));
    assert_eq!(stage.asked(&format!("PUT {one}"), none_yet, &keys).await.0, 412);
    let shop = json!({ "domains": ["shop.example.test"], "issuer": "second" });
    assert_eq!(stage.asked("PUT /v1/certificates/shop", None, &shop).await.0, 200);
    stage.has("shop", &["shop.example.test"]).await;

    stage.killed_and_started().await;
    let (status, tag, shown) = stage.asked(&format!("GET {one}"), None, &Value::Null).await;
    assert_eq!(
        (status, &shown["keys"], &shown["drift"]["change"]),
        (200, &keys, &json!("added"))
    );
    let shorter = json!({ "certificate_lifetime": "30d" });
    let (status, _, patched) = stage
        .asked(&format!("PATCH {one}"), Some(("if-match", &tag)), &shorter)
        .await;
    assert_eq!((status, &patched["certificate_lifetime"]), (200, &json!("30d")));
    assert_eq!(
        stage
            .asked(&format!("PATCH {one}"), Some(("if-match", &tag)), &shorter)
            .await
            .0,
        412
    );

    stage
        .refused(
            &format!("DELETE {one}"),
            Value::Null,
            409,
            "in use by certificate `shop`",
        )
        .await;
    stage
        .refused(
            "DELETE /v1/issuers/internal",
            Value::Null,
            409,
            "in use by certificate `localhost`",
        )
        .await;
    assert_eq!(
        stage
            .asked("DELETE /v1/certificates/shop", None, &Value::Null)
            .await
            .0,
        204
    );
    assert_eq!(
        stage.asked(&format!("DELETE {one}"), None, &Value::Null).await.0,
        204
    );
    assert_eq!(
        stage.asked(&format!("GET {one}"), None, &Value::Null).await.0,
        404
    );
    assert_eq!(stage.drift().await, []);
}

#[tokio::test]
async fn the_secrets_of_an_issuer_are_never_shown() {
    let stage = Stage::new("").await;
    let secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA";
    let file = stage.home.write("eab.key", secret);
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("a mode");
    let keys = json!({
        "kind": "acme", "directory": "https://127.0.0.1:9/directory", "agree_to_terms": true,
        "external_account": { "key_id": "k", "hmac_key_file": file },
    });
    let (status, _, made) = stage.asked("PUT /v1/issuers/outside", None, &keys).await;
    assert_eq!(status, 200, "{made}");
    let (_, _, one) = stage.asked("GET /v1/issuers/outside", None, &Value::Null).await;
    assert_eq!(one["keys"], keys);
    let (_, _, all) = stage.asked("GET /v1/issuers", None, &Value::Null).await;
    let records = stage.gateway.client().audit(None, 10).await.expect("the trail");
    let told = format!("{made} {one} {all} {records:?} {}", stage.home.log());
    assert!(!told.contains(secret));
}
