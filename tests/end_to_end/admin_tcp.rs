//! The admin API on TCP: who is let in with which token, and TLS.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;

use certgate::admin::{Client, ClientError, Credentials};
use rcgen::ExtendedKeyUsagePurpose;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::process::Command;

use crate::admin_api::asked;
use crate::gateway::{Gateway, Home, free_address, run};
use crate::pair::Authority;
use crate::peer::{TlsClient, backend};
use crate::reload::{client_of, config, reloaded};

pub(crate) const OPERATE: &str = "8f1d0a3c5b7e9246d8f0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f6";
pub(crate) const READ: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f908f1d0a3c5b7e9246d8f0a1b2c3d4e5f6";
const OTHER: &str = "c3d4e5f60718293a4b5c6d7e8f908f1d0a3c5b7e9246d8f0a1b2c3d4e5f60a1b2";

fn token(home: &Home, name: &str, secret: &str) -> String {
    let path = home.write(name, &format!("{secret}\n"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    path.display().to_string()
}

/// A gateway whose API is on its socket and on a TCP address, with a token for each right.
pub(crate) async fn with_tokens(home: &Home, address: SocketAddr, more: &str) -> (Gateway, String) {
    let (operate, read) = (token(home, "operate", OPERATE), token(home, "read", READ));
    let admin = format!(
        "[admin]\nlisten = [\"unix:store/admin.sock\", \"{address}\"]\n{more}\
         [admin.tokens.deploy]\nfile = {operate:?}\nrights = \"operate\"\n\
         [admin.tokens.board]\nfile = {read:?}\nrights = \"read\"\n"
    );
    let text = config(free_address(), backend("hello").await, &admin);
    let gateway = home.start(&text).await;
    client_of(&gateway).await;
    (gateway, address.to_string())
}

#[tokio::test]
async fn who_may_only_look_is_refused_a_change_and_the_refusal_is_in_the_audit() {
    let home = Home::new();
    let (gateway, address) = with_tokens(&home, free_address(), "").await;
    let client = |name: &str| {
        let credentials = Credentials {
            token_file: Some(home.path(name)),
            ..Credentials::default()
        };
        Client::remote(&format!("http://{address}"), &credentials).expect("a client")
    };
    let localhost = "localhost".parse().expect("a name");
    client("read").status().await.expect("it may look");
    client("read")
        .export(&localhost, false)
        .await
        .expect("a chain is no secret");
    let mut refused = Vec::new();
    refused.push(client("read").renew(&localhost).await.err());
    refused.push(client("read").export(&localhost, true).await.err());
    for refused in refused {
        let Some(ClientError::Refused { problem }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(problem.status, 403, "{problem}");
    }
    client("operate").renew(&localhost).await.expect("it may change");

    let records = gateway.client().audit(None, 10).await.expect("the trail");
    let told: Vec<_> = records
        .iter()
        .map(|record| (record.caller.name.as_str(), record.action.as_str(), record.status))
        .collect();
    let expected = [
        ("token:board", "renew", Some(403)),
        ("token:board", "export?with_key=true", Some(403)),
        ("token:deploy", "renew", Some(202)),
    ];
    assert_eq!(told, expected);
    assert!(records.iter().all(|record| record.caller.address.is_some()));
}

#[tokio::test]
async fn without_a_token_tcp_tells_only_that_the_gateway_lives() {
    let home = Home::new();
    let (gateway, address) = with_tokens(&home, free_address(), "").await;
    let url = |path: &str| format!("http://{address}{path}");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(asked(&[&url(path)]).await.0, 200, "{path}");
    }
    let stranger = format!("Authorization: Bearer {OTHER}");
    for path in ["/metrics", "/v1/status", "/v1/audit", "/v1/openapi.json"] {
        assert_eq!(asked(&[&url(path)]).await.0, 401, "{path}");
        assert_eq!(asked(&["-H", &stranger, &url(path)]).await.0, 401, "{path}");
    }
    let (status, _) = asked(&["-X", "POST", &url("/v1/certificates/localhost/renew")]).await;
    assert_eq!(status, 401);
    assert_eq!(gateway.client().audit(None, 10).await.expect("the trail"), []);
    let holder = format!("Authorization: Bearer {READ}");
    assert_eq!(asked(&["-H", &holder, &url("/metrics")]).await.0, 200);
    assert!(!home.log().contains(OTHER) && !home.log().contains(READ));
}

#[tokio::test]
async fn a_token_that_was_changed_counts_from_the_reload_on() {
    let home = Home::new();
    let (gateway, address) = with_tokens(&home, free_address(), "").await;
    let url = format!("http://{address}/v1/status");
    let (before, after) = (
        format!("Authorization: Bearer {READ}"),
        format!("Authorization: Bearer {OTHER}"),
    );
    assert_eq!(asked(&["-H", &before, &url]).await.0, 200);
    token(&home, "read", OTHER);
    assert_eq!(reloaded(&gateway).await, None);
    assert_eq!(asked(&["-H", &before, &url]).await.0, 401);
    assert_eq!(asked(&["-H", &after, &url]).await.0, 200);
}

#[tokio::test]
async fn the_command_line_works_over_tls_with_a_certificate_of_the_store() {
    let home = Home::new();
    let (gateway, address) = with_tokens(&home, localhost(), "certificate = \"localhost\"\n").await;
    let root = gateway.client().local_ca_root("internal").await.expect("a root");
    let root = home.write("root.pem", &root).display().to_string();
    let token = home.path("read").display().to_string();
    let call = async |host: &str, more: &[&str]| {
        let url = format!("https://{}", address.replace("127.0.0.1", host));
        run(&[&["status", "--output", "json", "--admin", &url], more].concat()).await
    };
    let (code, shown, errors) = call("localhost", &["--token-file", &token, "--ca-file", &root]).await;
    assert_eq!(code, 0, "{errors}");
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown["pid"].as_u64(), Some(u64::from(gateway.pid())));
    for (host, more, expected) in [
        (
            "127.0.0.1",
            &["--token-file", &token, "--ca-file", &root][..],
            "not valid for name",
        ),
        ("localhost", &["--token-file", &token], "--ca-file"),
        ("localhost", &["--ca-file", &root], "--token-file"),
    ] {
        let (code, _, errors) = call(host, more).await;
        assert!(code == 1 && errors.contains(expected), "{errors}");
    }
    // Nothing is answered in the clear there.
    let clear = Command::new("curl")
        .args([
            "--silent",
            "--max-time",
            "30",
            &format!("http://{address}/healthz"),
        ])
        .output()
        .await
        .expect("curl runs");
    assert!(!clear.status.success());
}

#[tokio::test]
async fn where_a_client_certificate_is_asked_for_a_token_alone_lets_nobody_in() {
    let home = Home::new();
    let (partners, strangers) = (Authority::new(), Authority::new());
    home.write("partners.pem", &(partners.root() + &partners.issuing()));
    let caller = |name: &str, authority: &Authority| {
        let pair = authority.sign_changed("caller.example.test", |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        });
        Some(home.write(name, &(pair.chain + &pair.key)))
    };
    let (partner, stranger) = (
        caller("partner.pem", &partners),
        caller("stranger.pem", &strangers),
    );
    let admin = "certificate = \"localhost\"\nclient_ca = \"partners\"\n\
                 [ca_bundles.partners]\nfiles = [\"partners.pem\"]\n";
    let (gateway, address) = with_tokens(&home, localhost(), admin).await;
    let root = gateway.client().local_ca_root("internal").await.expect("a root");
    let root = home.write("root.pem", &root);
    let url = format!("https://{}", address.replace("127.0.0.1", "localhost"));
    let client = |certificate_file| {
        let credentials = Credentials {
            token_file: Some(home.path("operate")),
            ca_file: Some(root.clone()),
            certificate_file,
        };
        Client::remote(&url, &credentials).expect("a client")
    };
    let name = "localhost".parse().expect("a name");
    for (outsider, told) in [
        (None, "name yours with --admin-certificate"),
        (stranger, "must be of a CA of the bundle"),
    ] {
        let refused = client(outsider).renew(&name).await;
        let refused = refused.expect_err("nobody else is let in").to_string();
        assert!(
            refused.contains("ended the connection without an answer") && refused.contains(told),
            "{refused}"
        );
    }
    client(partner.clone()).renew(&name).await.expect("a partner is");
    let records = gateway.client().audit(None, 10).await.expect("the trail");
    let [record] = records.as_slice() else {
        panic!("{records:#?}")
    };
    assert!(record.caller.certificate.is_some(), "{record:?}");

    let pem = std::fs::read(partner.as_ref().expect("written")).expect("read");
    let shown = (
        CertificateDer::from_pem_slice(&pem).expect("a certificate"),
        PrivateKeyDer::from_pem_slice(&pem).expect("a key"),
    );
    let root_pem = gateway.client().local_ca_root("internal").await.expect("a root");
    let open = TlsClient::presenting(&root_pem, Some(shown));
    let mut open = open
        .connect(address.parse().expect("an address"), "localhost")
        .await
        .expect("connected");
    assert!(status_line(&mut open).await.contains("200"));

    // A CA that is taken away counts from the reload on, for connections that are open as well.
    home.write("partners.pem", &strangers.root());
    assert_eq!(reloaded(&gateway).await, None);
    assert!(status_line(&mut open).await.contains("401"));
    client(partner)
        .status()
        .await
        .expect_err("it is a partner no longer");
}

/// Of an answer on a connection that goes on.
async fn status_line(open: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> String {
    let request =
        format!("GET /v1/status HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {OPERATE}\r\n\r\n");
    open.write_all(request.as_bytes()).await.expect("written");
    let mut answer = vec![0; 64 << 10];
    let length = open.read(&mut answer).await.expect("answered");
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    answer.lines().next().unwrap_or_default().to_owned()
}

/// A free address that `localhost`, which the gateway's certificate is for, leads to.
fn localhost() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound address")
}
