//! No file turns mutual into one-way by itself: not in two steps, not under another name elsewhere, not by what clients
//! are checked against.

use std::time::Duration;

use certgate::config::{ResourceId, ResourceKind};
use serde_json::json;

use crate::client_authority::ClientAuthority;
use crate::gateway::free_address;
use crate::reload::reloaded;
use crate::runtime::{Stage, request, table, verdict, web};

const MUTUAL: &str = "authentication = \"mutual\"\nclient_ca = \"partners\"\n";

/// A gateway with a mutual listener `web`, and another one beside it that stays.
async fn stage() -> Stage {
    let address = free_address();
    let other = format!(
        "[listeners.other]\naddress = \"{}\"\nport = {}\ncertificates = [\"localhost\"]\nserver_group = \"spare\"\n\
         [server_groups.spare]\nservers = [\"127.0.0.1:1\"]\n",
        address.ip(),
        address.port()
    );
    Stage::new(&format!("{MUTUAL}{other}")).await
}

/// The file without its listener, and with it as `shop`, which asks for nothing.
fn steps(stage: &Stage) -> (String, String) {
    let start = stage.config.find("[listeners.web]").expect("it is there");
    let end = stage.config.find("[listeners.other]").expect("it is there");
    let listener = stage.config[start..end].replace(MUTUAL, "");
    let shop = listener.replace("[listeners.web]", "[listeners.shop]");
    let without = stage.config.replace(&stage.config[start..end], "");
    let with_shop = format!("{without}{shop}");
    (without, with_shop)
}

#[tokio::test]
async fn two_files_do_not_open_what_one_may_not_and_a_restart_between_them_forgets_nothing() {
    let mut stage = stage().await;
    let (without, with_shop) = steps(&stage);
    stage.home.configure(&without);
    assert_eq!(reloaded(&stage.gateway).await, None);
    stage.home.configure(&with_shop);
    let says = [
        "listener `shop` would take the place of listener `web`",
        "had authentication `mutual` when it went at ",
        "--allow-downgrade",
    ];
    let error = reloaded(&stage.gateway).await.expect("refused");
    assert!(says.iter().all(|part| error.contains(part)), "{error}");

    stage.config = without;
    stage.killed_and_started().await;
    stage.home.configure(&with_shop);
    let error = reloaded(&stage.gateway).await.expect("refused");
    assert!(says.iter().all(|part| error.contains(part)), "{error}");
    // At a start it is asked what was asked there.
    stage.config = with_shop;
    stage.killed_and_started().await;
    assert_eq!(stage.seen().await, "mutual");
    assert!(reloaded(&stage.gateway).await.is_some());

    let path = stage.file().display().to_string();
    let allowed = ["apply", "--config", &path, "--allow-downgrade"];
    stage.done(&allowed).await;
    assert_eq!(stage.seen().await, "one-way");
    assert!(stage.home.log().contains("that was allowed"));
    assert_eq!(reloaded(&stage.gateway).await, None);
    stage.killed_and_started().await;
    assert_eq!(stage.seen().await, "one-way");
}

#[tokio::test]
async fn a_listener_deleted_by_hand_leaves_its_place_to_whom_an_operator_puts_there() {
    let stage = stage().await;
    let (without, with_shop) = steps(&stage);
    stage
        .gateway
        .client()
        .delete_resource(&web())
        .await
        .expect("deleted");
    stage.home.configure(&with_shop);
    let error = reloaded(&stage.gateway).await.expect("refused");
    assert!(
        error.contains("`shop` would take the place of listener `web`"),
        "{error}"
    );

    let keys = json!({
        "address": stage.listen.ip(), "port": stage.listen.port(), "certificates": ["localhost"], "server_group": "app",
    });
    let by_hand = certgate::config::ResourceId::new(web().kind, "by-hand");
    let client = stage.gateway.client();
    let keys = table(keys);
    let error = client
        .put_resource(&by_hand, &keys, None)
        .await
        .expect_err("refused");
    let says =
        "`by-hand` would take the place of listener `web`, which had authentication `mutual` when it went";
    assert!(error.to_string().contains(says), "{error}");
    client
        .put_allowing_downgrade(&by_hand, &keys)
        .await
        .expect("made");
    assert_eq!(stage.seen().await, "one-way");
    client.delete_resource(&by_hand).await.expect("deleted");
    stage.home.configure(&without);
    assert_eq!(reloaded(&stage.gateway).await, None);
    stage.home.configure(&with_shop);
    assert_eq!(reloaded(&stage.gateway).await, None);
    assert_eq!(stage.seen().await, "one-way");
}

#[tokio::test]
async fn renamed_and_moved_in_one_file_it_is_still_the_way_to_the_same_servers() {
    let stage = stage().await;
    let (_, with_shop) = steps(&stage);
    let elsewhere = free_address();
    let place = |address: std::net::SocketAddr| {
        format!("address = \"{}\"\nport = {}\n", address.ip(), address.port())
    };
    let moved = with_shop.replace(&place(stage.listen), &place(elsewhere));
    assert_ne!(moved, with_shop);
    stage.home.configure(&moved);
    let path = stage.file().display().to_string();
    let diff = stage.done(&["diff", "--config", &path]).await;
    let says = format!(
        "listener `shop` would lead to {} instead of listener `web`, which has authentication `mutual` in force",
        server(&stage)
    );
    assert!(diff.contains(&says), "{diff}");
    let error = reloaded(&stage.gateway).await.expect("refused");
    assert!(error.contains(&says), "{error}");
    // Another name for the server group makes it no other server.
    let renamed = moved.replace("[server_groups.app]", "[server_groups.house]");
    let renamed = renamed.replace("server_group = \"app\"", "server_group = \"house\"");
    stage.home.configure(&renamed);
    let error = reloaded(&stage.gateway).await.expect("refused");
    assert!(error.contains(&says), "{error}");
    assert_eq!(stage.seen().await, "mutual");

    stage
        .done(&["apply", "--config", &path, "--allow-downgrade"])
        .await;
    let asked = stage.stranger.ask(elsewhere, "localhost").await.map(drop);
    assert_eq!(verdict(asked), "one-way");
}

/// The server behind `web`, as messages call it.
fn server(stage: &Stage) -> String {
    let start = stage.config.find("servers = [\"127.0.0.1:").expect("it is there");
    let port = stage.config[start..].split([':', '"']).nth(2).expect("a port");
    format!("localhost:{port}")
}

#[tokio::test]
async fn a_second_listener_to_the_same_servers_is_no_way_around_and_the_end_of_the_first_is_told() {
    let mut stage = stage().await;
    let (without, with_shop) = steps(&stage);
    let elsewhere = free_address();
    let start = with_shop.find("[listeners.shop]").expect("it is there");
    let shop = with_shop[start..].replace(
        &format!("port = {}\n", stage.listen.port()),
        &format!("port = {}\n", elsewhere.port()),
    );
    let shop = shop.replace(
        &format!("address = \"{}\"", stage.listen.ip()),
        &format!("address = \"{}\"", elsewhere.ip()),
    );
    let (both, last) = (format!("{}{shop}", stage.config), format!("{without}{shop}"));
    stage.home.configure(&both);
    let says = format!(
        "listener `shop` would lead to {} beside listener `web`, which has authentication `mutual` in force",
        server(&stage)
    );
    let error = reloaded(&stage.gateway).await.expect("refused");
    assert!(
        error.contains(&says) && error.contains("--allow-downgrade"),
        "{error}"
    );
    assert!(stage.stranger.connect(elsewhere, "localhost").await.is_err());
    // At a start it asks what is asked beside it.
    stage.config = both;
    stage.killed_and_started().await;
    let asked = stage.stranger.ask(elsewhere, "localhost").await.map(drop);
    assert_eq!(verdict(asked), "mutual");

    let path = stage.file().display().to_string();
    let said = stage
        .done(&["apply", "--config", &path, "--allow-downgrade"])
        .await;
    assert!(
        said.contains(&format!("note: {says}")) && said.contains("that was allowed"),
        "{said}"
    );
    let asked = stage.stranger.ask(elsewhere, "localhost").await.map(drop);
    assert_eq!(verdict(asked), "one-way");
    assert_eq!(
        reloaded(&stage.gateway).await,
        None,
        "two that were there together"
    );

    stage.home.configure(&last);
    let says = format!(
        "note: listener `web`, which has authentication `mutual`, leads to {} no more; without a client certificate listener \
         `shop` goes on leading there",
        server(&stage)
    );
    for command in ["diff", "apply"] {
        let said = stage.done(&[command, "--config", &path]).await;
        assert!(said.contains(&says), "{command}: {said}");
    }
}

#[tokio::test]
async fn a_file_leaves_no_crl_out_by_itself_and_says_whom_it_lets_in() {
    let mut stage = Stage::new(MUTUAL).await;
    let bundle = stage.home.path("partners.pem");
    let files = format!("files = [{bundle:?}]\n");
    let crl = stage.home.path("partners.crl");
    let other = ClientAuthority::new("other partners");
    std::fs::write(&crl, other.crl_due(1, &[], Duration::from_secs(86_400))).expect("written");
    let more = stage.home.write("more.pem", &other.pem());
    let (both, with_crl) = (
        format!("files = [{bundle:?}, {more:?}]\n"),
        format!("crl_files = [{crl:?}]\n"),
    );

    // A wider bundle is an edit like any other, and is told of.
    let wider = stage.config.replace(&files, &format!("{both}{with_crl}"));
    assert_ne!(wider, stage.config);
    stage.home.configure(&wider);
    let path = stage.file().display().to_string();
    let says = format!(
        "listener `web`: clients of CA file `{}` are admitted from now on",
        more.display()
    );
    let diff = stage.done(&["diff", "--config", &path]).await;
    assert!(diff.contains(&says), "{diff}");
    let said = stage.done(&["apply", "--config", &path]).await;
    assert!(said.contains(&says), "{said}");
    assert!(stage.home.log().contains(&says));

    // Without its CRL it is less than before, also by a start.
    stage.config = stage.config.replace(&files, &both);
    stage.home.configure(&stage.config);
    let says = format!("there is no check any more of CRL file `{}`", crl.display());
    let error = reloaded(&stage.gateway).await.expect("refused");
    assert!(
        error.contains(&says) && error.contains("--allow-downgrade"),
        "{error}"
    );
    stage.killed_and_started().await;
    let contents = stage.gateway.client().ca_bundle_contents("partners").await;
    assert_eq!(contents.expect("a bundle").crls.len(), 1);
    stage
        .done(&["apply", "--config", &path, "--allow-downgrade"])
        .await;
    let contents = stage.gateway.client().ca_bundle_contents("partners").await;
    assert_eq!(contents.expect("a bundle").crls.len(), 0);
}

#[tokio::test]
async fn a_client_kept_out_at_run_time_is_not_let_in_by_a_file_that_says_something_else() {
    let mut stage = Stage::new(&format!(
        "{MUTUAL}allow_clients = {{ common_name = [\"a partner\", \"another\"] }}\n"
    ))
    .await;
    stage
        .patch(json!({ "allow_clients": { "common_name": ["a partner"] } }))
        .await
        .expect("changed");
    stage.config = stage
        .config
        .replace(MUTUAL, &format!("{MUTUAL}idle_timeout = \"8s\"\n"));
    stage.home.configure(&stage.config);
    let error = reloaded(&stage.gateway).await.expect("refused");
    let says = "undo what was changed at run time and admit clients with common_name `another`";
    assert!(
        error.contains(says) && error.contains("--allow-downgrade"),
        "{error}"
    );
    stage.killed_and_started().await;
    let keys = stage
        .gateway
        .client()
        .resources(web().kind)
        .await
        .expect("listeners");
    assert_eq!(
        keys[0].keys["allow_clients"],
        json!({ "common_name": ["a partner"] })
    );

    let path = stage.file().display().to_string();
    stage
        .done(&["apply", "--config", &path, "--allow-downgrade"])
        .await;
    let keys = stage
        .gateway
        .client()
        .resources(web().kind)
        .await
        .expect("listeners");
    assert_eq!(
        keys[0].keys["allow_clients"],
        json!({ "common_name": ["a partner", "another"] })
    );
}

#[tokio::test]
async fn no_request_opens_another_listeners_servers_without_leave_and_each_listener_is_toggled_by_itself() {
    let stage = stage().await;
    let (client, elsewhere) = (stage.gateway.client(), free_address());
    let shop = ResourceId::new(ResourceKind::Listener, "shop");
    let keys = |enabled: bool| {
        table(json!({
            "address": elsewhere.ip(), "port": elsewhere.port(), "certificates": ["localhost"], "server_group": "app",
            "enabled": enabled,
        }))
    };
    let says = format!(
        "listener `shop` would lead to {} beside listener `web`, which has authentication `mutual` in force, and the request \
         says `one-way`",
        server(&stage)
    );
    let is_refused = |error: String, what: &str| {
        let parts = [says.as_str(), "--allow-downgrade", "allow_downgrade=true"];
        assert!(parts.iter().all(|part| error.contains(part)), "{what}: {error}");
    };
    let refused = client.put_resource(&shop, &keys(true), None).await;
    is_refused(refused.expect_err("refused").to_string(), "one that is new");
    client
        .put_resource(&shop, &keys(false), None)
        .await
        .expect("nobody comes by it");
    let (code, _, errors) = stage.command(&["listener", "enable", "shop"]).await;
    assert_eq!(code, 1);
    is_refused(errors, "one that is enabled");
    assert!(stage.stranger.connect(elsewhere, "localhost").await.is_err());

    // Other servers for one that leads elsewhere are the same.
    let app = client.resources(ResourceKind::ServerGroup).await.expect("groups");
    let app = app
        .into_iter()
        .find(|group| group.name == "app")
        .expect("it is there");
    let spare = ResourceId::new(ResourceKind::ServerGroup, "spare");
    let error = client
        .patch_resource(&spare, &app.keys, None)
        .await
        .expect_err("refused");
    assert!(
        error.to_string().contains("listener `other` would lead to"),
        "{error}"
    );
    let bundle = ResourceId::new(ResourceKind::CaBundle, "partners");
    let error = client.patch_allowing_downgrade(&bundle, &table(json!({}))).await;
    assert!(error.is_err(), "nothing of that kind comes of a bundle");

    stage
        .done(&["listener", "enable", "shop", "--allow-downgrade"])
        .await;
    assert!(stage.home.log().contains(&format!("{says}; that was allowed")));
    let asked = stage.stranger.ask(elsewhere, "localhost").await.map(drop);
    assert_eq!(verdict(asked), "one-way");
    client.delete_resource(&shop).await.expect("deleted");

    // Of two that guard the same servers each is toggled with one field.
    let mut guarding = keys(true);
    guarding.extend(table(
        json!({ "authentication": "mutual", "client_ca": "partners" }),
    ));
    client
        .put_resource(&shop, &guarding, None)
        .await
        .expect("it asks, too");
    stage.done(&["listener", "auth", "web", "one-way"]).await;
    assert_eq!(stage.seen().await, "one-way");
    stage.done(&["listener", "auth", "web", "mutual"]).await;
    assert_eq!(stage.seen().await, "mutual");
    // But not to the servers of a third one by the way.
    let secret = ResourceId::new(ResourceKind::ServerGroup, "secret");
    let keys = table(json!({ "servers": ["127.0.0.1:2"] }));
    client.put_resource(&secret, &keys, None).await.expect("made");
    client
        .patch_resource(&shop, &table(json!({ "server_group": "secret" })), None)
        .await
        .expect("it asks there, too");
    let toggled = json!({ "authentication": "one-way", "server_group": "secret" });
    let error = stage.patch(toggled).await.expect_err("refused");
    assert!(
        error.contains("listener `web` would lead to localhost:2 beside listener `shop`"),
        "{error}"
    );
    assert_eq!(stage.seen().await, "mutual");
}

#[tokio::test]
async fn clients_are_left_to_a_listener_on_all_addresses_by_leave_and_by_nothing_else() {
    let stage = stage().await;
    let (client, socket) = (stage.gateway.client(), stage.gateway.socket());
    let all = ResourceId::new(ResourceKind::Listener, "all");
    let keys = table(json!({
        "address": "0.0.0.0", "port": stage.listen.port(), "certificates": ["localhost"], "server_group": "app",
    }));
    client.put_resource(&all, &keys, None).await.expect_err("refused");
    client.put_allowing_downgrade(&all, &keys).await.expect("made");
    assert_eq!(stage.seen().await, "mutual");

    let says =
        "listener `all` would take the place of listener `web`, which has authentication `mutual` in force";
    let (code, _, errors) = stage.command(&["listener", "disable", "web"]).await;
    assert!(code == 1 && errors.contains(says), "{errors}");
    let line = "DELETE /v1/listeners/web";
    let (status, _, problem) = request(socket, line, &[], b"").await;
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(
        status == 409 && detail.contains(says) && detail.contains("`allow_downgrade=true`"),
        "{problem}"
    );
    assert_eq!(stage.seen().await, "mutual");

    // As the refusals say.
    stage
        .done(&["listener", "disable", "web", "--allow-downgrade"])
        .await;
    assert_eq!(stage.seen().await, "one-way");
    stage.done(&["listener", "enable", "web"]).await;
    assert_eq!(stage.seen().await, "mutual");
    let line = format!("{line}?allow_downgrade=true");
    assert_eq!(request(socket, &line, &[], b"").await.0, 204);
    assert_eq!(stage.seen().await, "one-way");
}
