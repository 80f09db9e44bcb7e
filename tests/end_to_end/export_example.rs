//! The example in which another program uses the certificate.

use crate::examples::{Example, at, document, letsencrypt_is};
use crate::exports::{nginx, shows, start_nginx};
use crate::gateway::{Home, free_address};
use crate::issuance::Scene;
use crate::peer::TlsClient;
use crate::receiver::Receiver;

#[tokio::test]
async fn the_export_example_brings_each_certificate_to_nginx() {
    let name = "www.example.com";
    let scene = Scene::new(&[name], None);
    let (home, server, receiver) = (Home::new(), free_address(), Receiver::start(&[]).await);
    let conf = home.path("nginx.conf").display().to_string();
    home.write("nginx.conf", &nginx(&home.path("ssl"), home.path(""), server));
    let example = Example {
        text: document("examples/export.toml"),
        replaced: vec![
            letsencrypt_is(&scene.pebble, "\n"),
            ("directory = \"/etc/ssl/www\"", "directory = \"ssl\"".to_owned()),
            // systemd is not everywhere.
            (
                "command = [\"systemctl\", \"reload\", \"nginx\"]",
                format!("command = [\"/usr/sbin/nginx\", \"-c\", {conf:?}, \"-s\", \"reload\"]"),
            ),
            (
                "https://pager.example.com",
                format!("http://{}", receiver.address),
            ),
            ("port = 80", at(scene.http)),
        ],
        seen: &[
            "certificates.www.domains",
            "certificates.www.export.command",
            "certificates.www.export.directory",
            "certificates.www.export.group",
            "certificates.www.export.key_mode",
            "certificates.www.export.owner",
            "certificates.www.issuer",
            "hooks.pager.url",
            "issuers.letsencrypt.agree_to_terms",
            "issuers.letsencrypt.challenges",
            "issuers.letsencrypt.directory",
            "issuers.letsencrypt.kind",
            "listeners.redirect.port",
            "listeners.redirect.protocol",
        ],
        taken: &["hooks.pager.events"],
    };
    let gateway = example.start(&home);
    let first = gateway.published("www").await.serial.expect("a serial number");
    let _nginx = start_nginx(&home, &conf, &home.path("ssl")).await;
    let client = TlsClient::trusting(&scene.pebble.issuing_root());
    shows(&client, server, name, &first).await;

    let www = crate::hooks::www();
    gateway.client().renew(&www).await.expect("accepted");
    let is_new =
        |status: &certgate::admin::api::Status| status.certificates[0].serial.as_deref() != Some(&first);
    let status = gateway.status_until("has a new one", is_new).await;
    let second = status.certificates[0].serial.clone().expect("a serial number");
    shows(&client, server, name, &second).await;

    // The other command that it tells.
    let test = home
        .here()
        .args(["hook", "test", "pager"])
        .output()
        .await
        .expect("it runs");
    assert!(test.status.success(), "{test:?}");
    assert_eq!(receiver.about("test").len(), 1);
    assert!(gateway.terminate().await.success());
}
