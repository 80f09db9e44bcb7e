//! The file, and what was changed at run time: which of them holds, and that no file lowers authentication by itself.

use serde_json::json;

use crate::reload::reloaded;
use crate::runtime::{Stage, mutual};

const LISTENER: &str = "server_group = \"app\"\n";
const MUTUAL: &str = "authentication = \"mutual\"\nclient_ca = \"partners\"\n";

#[tokio::test]
async fn a_reload_of_a_file_that_says_the_same_keeps_what_was_changed() {
    let stage = Stage::new("").await;
    stage.patch(mutual()).await.expect("changed");
    // Another table, and a comment, are no change of the listener.
    let other = stage.config.replace("common_name", "# a comment\ncommon_name");
    stage.home.configure(&format!(
        "{other}[server_groups.other]\nservers = [\"127.0.0.1:1\"]\n"
    ));
    assert_eq!(reloaded(&stage.gateway).await, None);
    assert_eq!(stage.seen().await, "mutual");
    let status = stage.done(&["status"]).await;
    assert!(status.contains("listeners/web: changed at run time"), "{status}");
    let status = stage.gateway.client().status().await.expect("a status");
    assert_eq!(status.drift.len(), 1);
    let by = status.drift[0].by.as_deref().unwrap_or_default();
    assert!(by.starts_with("user:"), "{by}");
}

#[tokio::test]
async fn a_file_that_says_something_new_of_a_listener_wins() {
    let stage = Stage::new("").await;
    stage
        .patch(json!({ "idle_timeout": "7s" }))
        .await
        .expect("changed");
    let changed = stage
        .config
        .replace(LISTENER, &format!("{LISTENER}idle_timeout = \"8s\"\n"));
    stage.home.configure(&changed);
    let path = stage.file().display().to_string();
    let diff = stage.done(&["diff", "--config", &path]).await;
    assert!(
        diff.contains("changed listeners/web\n  idle_timeout: 7s -> 8s"),
        "{diff}"
    );
    assert_eq!(reloaded(&stage.gateway).await, None);
    let status = stage.gateway.client().status().await.expect("a status");
    assert!(status.drift.is_empty(), "{:?}", status.drift);
    let diff = stage.done(&["diff", "--config", &path]).await;
    assert_eq!(diff, "nothing to change\n");
}

#[tokio::test]
async fn a_file_that_asks_for_less_authentication_is_refused_until_it_is_allowed() {
    let mut stage = Stage::new("").await;
    stage.patch(mutual()).await.expect("changed");
    let changed = stage
        .config
        .replace(LISTENER, &format!("{LISTENER}idle_timeout = \"8s\"\n"));
    stage.config = changed;
    stage.home.configure(&stage.config);
    let path = stage.file().display().to_string();

    let says = |text: &str| {
        [
            "listener `web`",
            "`mutual` in force",
            "file says `one-way`",
            "--allow-downgrade",
        ]
        .iter()
        .all(|part| text.contains(part))
    };
    let error = reloaded(&stage.gateway).await.expect("refused");
    assert!(says(&error), "{error}");
    assert_eq!(stage.seen().await, "mutual");
    let diff = stage.done(&["diff", "--config", &path]).await;
    assert!(diff.contains("needs --allow-downgrade: listener `web`"), "{diff}");
    let (code, _, errors) = stage.command(&["apply", "--config", &path]).await;
    assert!(code == 1 && says(&errors), "{errors}");
    assert_eq!(stage.seen().await, "mutual");

    // At a start nothing is there that could be left running: the listener keeps what it had.
    stage.killed_and_started().await;
    assert_eq!(stage.seen().await, "mutual");
    let status = stage.done(&["status"]).await;
    assert!(
        status.contains("the file asks for less authentication"),
        "{status}"
    );
    assert!(reloaded(&stage.gateway).await.is_some_and(|error| says(&error)));

    stage
        .done(&["apply", "--config", &path, "--allow-downgrade"])
        .await;
    assert_eq!(stage.seen().await, "one-way");
    stage.killed_and_started().await;
    assert_eq!(stage.seen().await, "one-way");
}

#[tokio::test]
async fn a_file_that_never_said_anything_else_than_mutual_is_protected_as_well() {
    let mut stage = Stage::new(MUTUAL).await;
    assert_eq!(stage.seen().await, "mutual");
    stage.config = stage.config.replace(MUTUAL, "");
    stage.home.configure(&stage.config);
    assert!(reloaded(&stage.gateway).await.is_some());
    stage.killed_and_started().await;
    assert_eq!(stage.seen().await, "mutual");
    // Under another name on the same address it is the same door.
    stage.config = stage.config.replace("[listeners.web]", "[listeners.shop]");
    stage.home.configure(&stage.config);
    assert!(reloaded(&stage.gateway).await.is_some());
    assert_eq!(stage.seen().await, "mutual");
}

#[tokio::test]
async fn a_file_is_applied_from_anywhere_and_a_bad_one_changes_nothing() {
    let stage = Stage::new("").await;
    let elsewhere = tempfile::tempdir().expect("a directory");
    let path = elsewhere.path().join("other.toml");
    let write = |text: &str| {
        let store = stage.home.path("store").display().to_string();
        std::fs::write(&path, format!("store.path = {store:?}\n{text}")).expect("written");
    };
    let shown = path.display().to_string();
    write(&stage.config.replace(LISTENER, "server_group = \"nowhere\"\n"));
    let (code, _, errors) = stage.command(&["apply", "--config", &shown]).await;
    assert!(
        code == 1 && errors.contains("dangling-name") && errors.contains("other.toml"),
        "{errors}"
    );
    assert_eq!(stage.seen().await, "one-way");

    write(&stage.config.replace(LISTENER, &format!("{LISTENER}{MUTUAL}")));
    let said = stage.done(&["apply", "--config", &shown]).await;
    assert!(said.contains("authentication: absent -> mutual"), "{said}");
    assert_eq!(stage.seen().await, "mutual");
}

#[tokio::test]
async fn a_file_that_is_valid_only_with_what_was_changed_starts() {
    let mut stage = Stage::new("").await;
    let partners = stage.home.path("partners.pem").display().to_string();
    stage.done(&["ca-bundle", "add", "added", &partners]).await;
    let keys = "authentication = \"mutual\"\nclient_ca = \"added\"\n";
    stage.config = stage.config.replace(LISTENER, &format!("{LISTENER}{keys}"));
    stage.home.configure(&stage.config);
    assert_eq!(reloaded(&stage.gateway).await, None);
    assert_eq!(stage.seen().await, "mutual");
    stage.killed_and_started().await;
    assert_eq!(stage.seen().await, "mutual");
}

#[tokio::test]
async fn a_listener_renamed_while_the_gateway_was_down_asks_what_was_asked_in_its_place() {
    let mut stage = Stage::new("").await;
    stage.patch(mutual()).await.expect("changed");
    stage.config = stage.config.replace("[listeners.web]", "[listeners.shop]");
    stage
        .config
        .push_str("[server_groups.spare]\nservers = [\"127.0.0.1:1\"]\n");
    stage.killed_and_started().await;
    assert_eq!(stage.seen().await, "mutual");
    let status = stage.done(&["status"]).await;
    assert!(
        status.contains("listeners/shop: kept, because the file asks for less authentication"),
        "{status}"
    );
    let log = stage.home.log();
    let says = "listener `shop` would take the place of listener `web`, which has authentication `mutual` in force, and \
                the file says `one-way`";
    assert!(log.contains(says), "{log}");
    assert!(
        log.contains("listeners/web") && log.contains("went with it"),
        "{log}"
    );
    // A warning is about what is in force: at the start it is, by a refused reload it is not.
    let warned = |log: &str| log.matches("server group `spare`").count();
    assert_eq!(warned(&log), 1, "{log}");
    let error = reloaded(&stage.gateway).await.expect("refused");
    assert!(
        error.contains("`shop`") && error.contains("--allow-downgrade"),
        "{error}"
    );
    assert_eq!(warned(&stage.home.log()), 1);
    stage.killed_and_started().await;
    assert_eq!(stage.seen().await, "mutual");

    let path = stage.file().display().to_string();
    stage
        .done(&["apply", "--config", &path, "--allow-downgrade"])
        .await;
    assert_eq!(stage.seen().await, "one-way");
}
