//! The versions of a certificate, the way back to the one before, and its end.

use std::net::SocketAddr;

use certgate::admin::api::Status;
use certgate::certificate::CertificateName;

use crate::gateway::{Gateway, Home, free_address, run};
use crate::peer::{TlsClient, backend};

const NAME: &str = "app.internal";

async fn start(home: &Home) -> (Gateway, SocketAddr) {
    let (listen, server) = (free_address(), backend("hello").await);
    let config = format!(
        "[issuers.internal]\nkind = \"local-ca\"\n\
         [certificates.app]\ndomains = [{NAME:?}]\nissuer = \"internal\"\n\
         [server_groups.app]\nservers = [\"{server}\"]\n\
         [listeners.web]\naddress = \"{}\"\nport = {}\ncertificates = [\"*\"]\nserver_group = \"app\"\n",
        listen.ip(),
        listen.port(),
    );
    (home.start(&config).await, listen)
}

async fn command(gateway: &Gateway, words: &[&str]) -> (i32, String, String) {
    let socket = gateway.socket().display().to_string();
    run(&[words, &["--admin", &socket]].concat()).await
}

async fn served(gateway: &Gateway, listen: SocketAddr) -> String {
    let root = gateway.client().local_ca_root("internal").await.expect("a root");
    let (_, leaf) = TlsClient::trusting(&root)
        .ask(listen, NAME)
        .await
        .expect("served");
    leaf.serial
}

#[tokio::test]
async fn a_renewed_certificate_can_go_back_to_its_previous_version_and_stays_there() {
    let home = Home::new();
    let (gateway, listen) = start(&home).await;
    let first = gateway.published("app").await.serial.expect("a serial number");
    let app = CertificateName::parse("app").expect("a name");
    let (code, _, errors) = command(&gateway, &["cert", "rollback", "app"]).await;
    assert_eq!(code, 1);
    assert!(errors.contains("nothing before the present version"), "{errors}");

    let (code, _, errors) = command(&gateway, &["cert", "renew", "app"]).await;
    assert_eq!(code, 0, "{errors}");
    let second = gateway.published("app").await.serial.expect("a serial number");
    assert_ne!(first, second);
    let (code, table, errors) = command(&gateway, &["cert", "history", "app"]).await;
    assert_eq!(code, 0, "{errors}");
    let lines: Vec<_> = table.lines().collect();
    assert!(
        lines[1].starts_with("present") && lines[1].contains(&second),
        "{table}"
    );
    assert!(
        lines[2].starts_with("previous") && lines[2].contains(&first),
        "{table}"
    );

    let (code, shown, errors) = command(&gateway, &["cert", "rollback", "app"]).await;
    assert_eq!(code, 0, "{errors}");
    assert!(shown.contains(&first), "{shown}");
    assert_eq!(served(&gateway, listen).await, first);
    let history = gateway.client().history(&app).await.expect("a history");
    let states: Vec<_> = history
        .iter()
        .map(|version| (version.state.as_str(), &version.serial))
        .collect();
    assert_eq!(states, [("present", &first), ("previous", &second)]);

    // Nothing renews it away, and a restart finds it as it is.
    gateway.kill().await;
    let config = std::fs::read_to_string(home.path("certgate.toml")).expect("written");
    let (_, config) = config.split_once('\n').expect("the store's line");
    let gateway = home.start(config).await;
    let is_quiet = |status: &Status| {
        let app = &status.certificates[0];
        app.state == "valid" && app.published && app.next_attempt.is_some_and(|next| next > status.now)
    };
    gateway.status_until("has nothing to do", is_quiet).await;
    assert_eq!(served(&gateway, listen).await, first);

    // Back again, and from there a third.
    let (code, _, errors) = command(&gateway, &["cert", "rollback", "app"]).await;
    assert_eq!(code, 0, "{errors}");
    assert_eq!(served(&gateway, listen).await, second);
    let (code, _, errors) = command(&gateway, &["cert", "renew", "app"]).await;
    assert_eq!(code, 0, "{errors}");
    let history = gateway.client().history(&app).await.expect("a history");
    let states: Vec<_> = history.iter().map(|version| version.state.as_str()).collect();
    assert_eq!(states, ["present", "previous", "past"]);
}

#[tokio::test]
async fn what_was_asked_for_at_run_time_can_be_deleted_and_what_the_file_says_cannot() {
    let home = Home::new();
    let (gateway, listen) = start(&home).await;
    gateway.published("app").await;
    let request = ["cert", "request", "extra", "--domain", "extra.internal"];
    let (code, _, errors) = command(&gateway, &request).await;
    assert_eq!(code, 0, "{errors}");
    let (code, _, errors) = command(&gateway, &["cert", "delete", "extra"]).await;
    assert_eq!(code, 0, "{errors}");
    let is_gone = |status: &Status| status.certificates.len() == 1;
    gateway.status_until("has forgotten it", is_gone).await;
    let (code, _, errors) = command(&gateway, &["cert", "delete", "extra"]).await;
    assert!(
        code == 1 && errors.contains("there is no certificate `extra`"),
        "{errors}"
    );
    let (code, _, errors) = command(&gateway, &["cert", "delete", "app"]).await;
    assert!(code == 1 && errors.contains("remove it there"), "{errors}");
    served(&gateway, listen).await;
}
