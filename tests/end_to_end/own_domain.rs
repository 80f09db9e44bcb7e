//! The README's "your own domain" for each challenge: the complete files, run against a real CA.

use tokio::process::Command;

use crate::examples::{Example, alpn, at, at_inline, document, letsencrypt_is};
use crate::gateway::{Home, free_address};
use crate::issuance::Scene;
use crate::peer::{TlsClient, backend, says_hello};
use crate::support::pebble::{Pebble, PebbleOptions};
use crate::support::primary::{Kind, Primary, SECRET, private};

#[tokio::test]
async fn the_http_01_example_serves_its_names_and_redirects() {
    let names = ["www.example.com", "example.com"];
    let scene = Scene::new(&names, None);
    let example = Example {
        text: document("examples/http-01.toml"),
        replaced: vec![
            letsencrypt_is(&scene.pebble, ", "),
            ("127.0.0.1:8080", backend("hello").await.to_string()),
            ("port = 443", at_inline(scene.tls)),
            ("port = 80,", at_inline(scene.http) + ","),
        ],
        seen: &[
            "certificates.www.domains",
            "certificates.www.issuer",
            "issuers.letsencrypt.agree_to_terms",
            "issuers.letsencrypt.challenges",
            "issuers.letsencrypt.directory",
            "issuers.letsencrypt.kind",
            "listeners.redirect.port",
            "listeners.redirect.protocol",
            "listeners.web.alpn",
            "listeners.web.certificates",
            "listeners.web.port",
            "listeners.web.server_group",
            "server_groups.app.servers",
        ],
        taken: &["issuers.letsencrypt.contact"],
    };
    let home = Home::new();
    let gateway = example.start(&home);
    gateway.published("www").await;
    let root = scene.pebble.issuing_root();
    let client = TlsClient::trusting(&root);
    says_hello(&client, scene.tls, &names).await;
    assert_eq!(alpn(&home, &root, scene.tls, names[0]).await, "http/1.1");
    let url = format!("http://{}/page", scene.http);
    let redirect = [
        "--silent",
        "--output",
        "-",
        "--write-out",
        "%{http_code} %{redirect_url}",
        "-H",
        "Host: example.com",
        &url,
    ];
    let output = Command::new("curl")
        .args(redirect)
        .output()
        .await
        .expect("curl is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.ends_with("https://example.com/page") && text.contains("30"),
        "{text}"
    );
    assert!(gateway.terminate().await.success());
}

#[tokio::test]
async fn the_tls_alpn_01_example_serves_its_names_with_one_port() {
    let names = ["www.example.com", "example.com"];
    let scene = Scene::new(&names, None);
    let example = Example {
        text: document("examples/tls-alpn-01.toml"),
        replaced: vec![
            letsencrypt_is(&scene.pebble, ", "),
            ("127.0.0.1:8080", backend("hello").await.to_string()),
            ("port = 443", at_inline(scene.tls)),
        ],
        seen: &[
            "certificates.www.domains",
            "certificates.www.issuer",
            "issuers.letsencrypt.agree_to_terms",
            "issuers.letsencrypt.challenges",
            "issuers.letsencrypt.directory",
            "issuers.letsencrypt.kind",
            "listeners.web.certificates",
            "listeners.web.port",
            "listeners.web.server_group",
            "server_groups.app.servers",
        ],
        taken: &[],
    };
    let home = Home::new();
    let gateway = example.start(&home);
    gateway.published("www").await;
    let client = TlsClient::trusting(&scene.pebble.issuing_root());
    says_hello(&client, scene.tls, &names).await;
    assert!(gateway.terminate().await.success());
}

#[tokio::test]
async fn the_dns_01_example_serves_every_name_of_the_zone() {
    let primary = Primary::start(Kind::Bind, &[("example.com", "", true)]);
    let pebble = Pebble::start(&PebbleOptions {
        dns_server: Some(primary.address()),
        ..PebbleOptions::default()
    });
    let listen = free_address();
    let mut example = Example {
        text: document("examples/dns-01.toml"),
        replaced: vec![
            letsencrypt_is(&pebble, "\n"),
            ("192.0.2.53:53", primary.address().to_string()),
            ("127.0.0.1:8080", backend("hello").await.to_string()),
            ("port = 443", at(listen)),
        ],
        seen: &[
            "certificates.all.domains",
            "certificates.all.issuer",
            "issuers.letsencrypt.agree_to_terms",
            "issuers.letsencrypt.directory",
            "issuers.letsencrypt.dns.provider",
            "issuers.letsencrypt.dns.server",
            "issuers.letsencrypt.dns.tsig_key_file",
            "issuers.letsencrypt.dns.tsig_name",
            "issuers.letsencrypt.kind",
            "listeners.web.certificates",
            "listeners.web.port",
            "listeners.web.server_group",
            "server_groups.app.servers",
        ],
        taken: &["issuers.letsencrypt.contact"],
    };
    // The world's DNS knows who speaks for a zone; here it has to be said.
    let gateway = format!(
        "[gateway]\naddresses = [\"{}\"]\nresolvers = [\"{}\"]\nname_servers = {{ \"example.com\" = [\"{}\"] }}\n[issuers.",
        listen.ip(),
        pebble.dns.address(),
        primary.address(),
    );
    example.replaced.push(("[issuers.", gateway));
    let home = Home::new();
    private(
        &home.path("tsig.key"),
        &format!("key \"certgate\" {{\n\talgorithm hmac-sha256;\n\tsecret \"{SECRET}\";\n}};\n"),
    );
    let gateway = example.start(&home);
    gateway.published("all").await;
    let client = TlsClient::trusting(&pebble.issuing_root());
    let names = ["example.com", "www.example.com", "any.example.com"];
    says_hello(&client, listen, &names).await;
    primary.texts_become("_acme-challenge.example.com", 0).await;
    assert!(gateway.terminate().await.success());
}
