//! What is asked of a real CA beside certificates as such: two kinds of key, addresses for names, revocation, and
//! changes of the account.

use std::net::{IpAddr, SocketAddr};
use std::process::Stdio;

use certgate::admin::api;
use tokio::process::Command;

use crate::gateway::{Gateway, Home, run};
use crate::issuance::{Scene, curl};
use crate::peer::{TlsClient, backend};

const WWW: &str = "www.example.test";

/// What `openssl` is served when it verifies signatures of `algorithms` only.
async fn served_key(address: SocketAddr, name: Option<&str>, algorithms: &str) -> String {
    let mut command = Command::new("openssl");
    command.args([
        "s_client",
        "-connect",
        &address.to_string(),
        "-sigalgs",
        algorithms,
    ]);
    match name {
        Some(name) => command.args(["-servername", name]),
        None => command.arg("-noservername"),
    };
    let output = command
        .stdin(Stdio::null())
        .output()
        .await
        .expect("openssl is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.starts_with("Peer signature type:"));
    line.map_or(text.clone(), ToOwned::to_owned)
}

#[tokio::test]
async fn of_two_kinds_of_key_each_client_is_served_the_one_it_verifies() {
    let scene = Scene::new(&[WWW], None);
    let home = Home::new();
    let config = scene.config(&[WWW], "http-01", &[backend("hello").await]);
    let both = "issuer = \"pebble\"\nkey_type = [\"ecdsa-p256\", \"rsa-2048\"]\n";
    let gateway = home.start(&config.replace("issuer = \"pebble\"\n", both)).await;
    for (name, key) in [("www", "ECDSA P-256"), ("www.rsa", "RSA 2048")] {
        assert_eq!(gateway.published(name).await.key.as_deref(), Some(key));
    }
    for name in [Some(WWW), None] {
        for (algorithms, expected) in [
            ("ecdsa_secp256r1_sha256", "ECDSA"),
            ("rsa_pss_rsae_sha256", "RSA-PSS"),
            ("rsa_pss_rsae_sha256:ecdsa_secp256r1_sha256", "ECDSA"),
        ] {
            let served = served_key(scene.tls, name, algorithms).await;
            assert!(served.ends_with(expected), "{name:?} {algorithms}: {served}");
        }
    }
}

#[tokio::test]
async fn an_address_gets_a_certificate_by_either_challenge() {
    for challenge in ["http-01", "tls-alpn-01"] {
        let scene = Scene::new(&[], None);
        let home = Home::new();
        let address = scene.tls.ip().to_string();
        let gateway = home
            .start(&scene.config(&[&address], challenge, &[backend("hello").await]))
            .await;
        let published = gateway.published("www").await;
        assert_eq!(published.domains[0].address(), Some(scene.tls.ip()));
        let client = TlsClient::trusting(&scene.pebble.issuing_root());
        let (answer, leaf) = client.ask(scene.tls, &address).await.expect("it is verified");
        assert!(answer.ends_with("hello"));
        assert_eq!(
            leaf.names[0].address(),
            Some(address.parse::<IpAddr>().expect("an address"))
        );
        let root = home.write("root.pem", &scene.pebble.issuing_root());
        assert_eq!(curl(&root, &address, scene.tls).await, "hello", "by {challenge}");
    }
}

async fn command(gateway: &Gateway, words: &[&str]) -> (i32, String, String) {
    let socket = gateway.socket().display().to_string();
    run(&[words, &["--admin", &socket]].concat()).await
}

#[tokio::test]
async fn a_revoked_certificate_is_replaced_by_one_with_a_new_key() {
    let scene = Scene::new(&[WWW], None);
    let home = Home::new();
    let config = scene.config(&[WWW], "http-01", &[backend("hello").await]);
    let kept = "issuer = \"pebble\"\nreuse_key = true\n";
    let gateway = home.start(&config.replace("issuer = \"pebble\"\n", kept)).await;
    gateway.published("www").await;
    let client = TlsClient::trusting(&scene.pebble.issuing_root());
    let key = async || {
        let (code, pem, errors) = command(&gateway, &["cert", "export", "www"]).await;
        assert_eq!(code, 0, "{errors}");
        public_key(&pem).await
    };
    let first = key().await;

    let (code, _, errors) = command(&gateway, &["cert", "renew", "www"]).await;
    assert_eq!(code, 0, "{errors}");
    assert_eq!(key().await, first, "the key is kept");

    let serial = gateway.published("www").await.serial.expect("a serial number");
    let (code, shown, errors) =
        command(&gateway, &["cert", "revoke", "www", "--reason", "key-compromise"]).await;
    assert_eq!(code, 0, "{shown}{errors}");
    assert!(
        shown.contains("revoked (key-compromise), and served until there is another"),
        "{shown}"
    );
    let replaced = |status: &api::Status| {
        let www = &status.certificates[0];
        www.published && www.serial.as_ref() != Some(&serial) && www.revoked.is_none()
    };
    gateway.status_until("has another certificate", replaced).await;
    let status = scene.pebble.certificate_status(&serial);
    assert_eq!(
        (&status["Status"], &status["Reason"]),
        (&"Revoked".into(), &1.into())
    );
    assert_ne!(key().await, first, "a compromised key is not kept");
    client.ask(scene.tls, WWW).await.expect("it is served");

    let (_, audit, _) = command(&gateway, &["audit"]).await;
    assert!(audit.contains("revoke"), "{audit}");
}

pub(crate) async fn public_key(pem: &str) -> String {
    let mut openssl = Command::new("openssl")
        .args(["x509", "-noout", "-pubkey"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("openssl is installed");
    let mut input = openssl.stdin.take().expect("piped");
    tokio::io::AsyncWriteExt::write_all(&mut input, pem.as_bytes())
        .await
        .expect("written");
    drop(input);
    let output = openssl.wait_with_output().await.expect("it ends");
    String::from_utf8(output.stdout).expect("text")
}

#[tokio::test]
async fn an_account_is_shown_given_another_key_and_ended() {
    let scene = Scene::new(&[WWW], None);
    let home = Home::new();
    let config = scene.config(&[WWW], "http-01", &[backend("hello").await]);
    let gateway = home
        .start(&format!("{config}[issuers.own]\nkind = \"local-ca\"\n"))
        .await;
    gateway.published("www").await;
    let account = async || {
        let issuers = gateway.client().issuers().await.expect("the issuers");
        let pebble = issuers.into_iter().find(|issuer| issuer.name == "pebble");
        pebble.expect("it is there").account.expect("an account").url
    };
    let first = account().await;
    let (_, table, _) = command(&gateway, &["issuer", "list"]).await;
    assert!(table.contains(&first) && table.contains("local-ca"), "{table}");

    for _ in 0..2 {
        let (code, _, errors) = command(&gateway, &["issuer", "rollover", "pebble"]).await;
        assert_eq!(code, 0, "{errors}");
        let (code, _, errors) = command(&gateway, &["cert", "renew", "www"]).await;
        assert_eq!(code, 0, "{errors}");
    }
    assert_eq!(account().await, first);

    let (code, _, errors) = command(&gateway, &["issuer", "deactivate", "pebble"]).await;
    assert_eq!(code, 0, "{errors}");
    let (code, _, errors) = command(&gateway, &["issuer", "deactivate", "pebble"]).await;
    assert!(code == 1 && errors.contains("no account"), "{errors}");
    let (code, _, errors) = command(&gateway, &["cert", "renew", "www"]).await;
    assert_eq!(code, 0, "{errors}");
    assert_ne!(account().await, first);

    for (issuer, says) in [
        ("own", "of the gateway's own"),
        ("nobody", "there is no issuer `nobody`"),
    ] {
        let (code, _, errors) = command(&gateway, &["issuer", "rollover", issuer]).await;
        assert!(code == 1 && errors.contains(says), "{errors}");
    }
}
