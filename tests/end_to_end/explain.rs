//! What is explained of a handshake is what openssl gets.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command as Script, Stdio};

use certgate::admin::api;
use certgate::certificate::Leaf;
use certgate::policy::{Client, Element, clients, openssl_name};
use rustls::SupportedCipherSuite;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::foreign_clients::NO_ROOTS;
use crate::gateway::{Gateway, Home, free_address, run};
use crate::peer::{TlsClient, backend};
use crate::policies::{group_of, offering};

/// What both sides came to: whatever openssl and an explanation both tell.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    served: bool,
    fingerprint: Option<String>,
    version: Option<String>,
    cipher_suite: Option<String>,
    group: Option<String>,
    alpn: Option<String>,
}

impl Outcome {
    fn explained(explained: &api::Explanation) -> Self {
        if explained.outcome != "served" {
            return Self::default();
        }
        let suite = |name: &String| openssl_name(SupportedCipherSuite::named(name).expect("a suite"));
        Self {
            served: true,
            fingerprint: explained
                .certificate
                .as_ref()
                .map(|found| found.fingerprint.clone()),
            version: explained.policy.version.clone(),
            cipher_suite: explained.policy.cipher_suite.as_ref().map(suite),
            group: explained.policy.group.clone(),
            alpn: explained.alpn.clone(),
        }
    }

    /// A connection of openssl on which the backend answers.
    async fn live(address: SocketAddr, folder: &Path, more: &[String]) -> Self {
        let mut child = Command::new("openssl")
            .args(["s_client", "-ign_eof", "-connect", &address.to_string()])
            .args(more)
            .env("SSL_CERT_FILE", NO_ROOTS)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed");
        let mut stdin = child.stdin.take().expect("piped");
        // An empty request; who is refused may be gone already.
        let _ = stdin.write_all(b"\r\n").await;
        let output = child.wait_with_output().await.expect("openssl has run");
        let text = String::from_utf8_lossy(&output.stdout);
        if !text.contains("hello") {
            return Self::default();
        }
        let after = |label: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(label));
            line.map(|value| value.trim().to_owned())
        };
        let agreed = after("New, ").expect("a full handshake");
        let suite = agreed.split_once("Cipher is ").map(|(_, suite)| suite.to_owned());
        let version = match suite.as_deref() {
            Some(suite) if suite.starts_with("TLS_") => "TLSv1.3",
            _ => "TLSv1.2",
        };
        let certificate = CertificateDer::from_pem_slice(text.as_bytes()).expect("the server's");
        Self {
            served: true,
            fingerprint: Some(Leaf::parse(&certificate).expect("X.509").fingerprint),
            version: Some(version.to_owned()),
            cipher_suite: suite,
            group: after("Server Temp Key: ").map(|key| group_of(&key)),
            alpn: after("ALPN protocol: "),
        }
    }
}

fn listener(name: &str, address: SocketAddr, more: &str) -> String {
    format!(
        "[listeners.{name}]\naddress = \"{}\"\nport = {}\nserver_group = \"app\"\ncertificates = [\"usual\", \"*\"]\n\
         {more}\n",
        address.ip(),
        address.port()
    )
}

async fn start(home: &Home, listeners: &str, servers: &[SocketAddr]) -> Gateway {
    let servers: Vec<_> = servers.iter().map(ToString::to_string).collect();
    let certificate = |name: &str, domain: &str, key: &str| {
        format!("[certificates.{name}]\ndomains = [{domain:?}]\nissuer = \"internal\"\nkey_type = {key:?}\n")
    };
    let certificates = [
        certificate("usual", "localhost", "ecdsa-p256"),
        certificate("www-ecdsa", "www.example.test", "ecdsa-p384"),
        certificate("www-rsa", "www.example.test", "rsa-2048"),
        certificate("any", "*.example.test", "rsa-2048"),
    ];
    let file = format!(
        "issuers.internal.kind = \"local-ca\"\nserver_groups.app.servers = {servers:?}\n{}{listeners}",
        certificates.concat()
    );
    let gateway = home.start(&file).await;
    for name in ["usual", "www-ecdsa", "www-rsa", "any"] {
        gateway.published(name).await;
    }
    gateway
}

const NAMES: [Option<&str>; 5] = [
    Some("localhost"),
    Some("www.example.test"),
    Some("other.example.test"),
    Some("nobody.test"),
    None,
];

#[tokio::test]
async fn certificate_policy_and_alpn_are_those_that_openssl_gets_whatever_it_offers() {
    let (home, server) = (Home::new(), backend("hello").await);
    let addresses = [free_address(), free_address()];
    let listeners = [
        listener("open", addresses[0], "alpn = \"HTTP2Preferred\""),
        listener(
            "strict",
            addresses[1],
            "unknown_sni = \"refuse\"\npolicy = \"modern\"",
        ),
    ];
    let gateway = start(&home, &listeners.concat(), &[server]).await;
    // OpenSSL before 3.5 has no ML-KEM.
    let classical = |client: &&Client| !client.groups.iter().any(|group| group.contains("MLKEM"));
    let (mut served, mut refused) = (0, 0);
    for client in clients().iter().filter(classical) {
        for (number, name) in NAMES.into_iter().enumerate() {
            for (listener, address) in [("open", addresses[0]), ("strict", addresses[1])] {
                let alpn = [vec![], vec!["http/1.1", "h2"], vec!["spdy/1"]][number % 3].clone();
                let request = api::ExplainRequest {
                    server_name: name.map(ToOwned::to_owned),
                    client: Some(client.name.clone()),
                    alpn: alpn.iter().map(|name| (*name).to_owned()).collect(),
                    client_certificate_pem: None,
                };
                let explained = gateway.client().explain(listener, &request).await;
                let explained = explained.expect("an explanation");
                let mut arguments = offering(client);
                match name {
                    Some(name) => arguments.extend(["-servername".to_owned(), name.to_owned()]),
                    None => arguments.push("-noservername".to_owned()),
                }
                if !alpn.is_empty() {
                    arguments.extend(["-alpn".to_owned(), alpn.join(",")]);
                }
                let live = Outcome::live(address, &home.path("."), &arguments).await;
                let told = format!("{} {name:?} {alpn:?} {listener}: {explained:#?}", client.name);
                assert_eq!(Outcome::explained(&explained), live, "{told}");
                assert_eq!(explained.reason.is_some(), !live.served, "{told}");
                assert_eq!(explained.alert.is_some(), !live.served, "{told}");
                match live.served {
                    true => served += 1,
                    false => refused += 1,
                }
            }
        }
    }
    assert!(served > 40 && refused > 40, "{served}, {refused}");
}

#[tokio::test]
async fn what_led_to_a_certificate_is_told_in_words() {
    let (home, listen, server) = (Home::new(), free_address(), backend("hello").await);
    let gateway = start(&home, &listener("web", listen, ""), &[server]).await;
    let socket = gateway.socket().display().to_string();
    for (name, client, by, expected) in [
        (
            "www.example.test",
            "Chrome",
            "exact",
            "www-ecdsa: it has the very name",
        ),
        (
            "other.example.test",
            "Chrome",
            "wildcard",
            "any: it has a wildcard for the name",
        ),
        (
            "nobody.test",
            "Chrome",
            "default",
            "usual: the listener's default",
        ),
    ] {
        let arguments = [
            "explain", "web", "--sni", name, "--client", client, "--admin", &socket,
        ];
        let (code, text, errors) = run(&arguments).await;
        assert_eq!(code, 0, "{errors}");
        assert!(text.contains(expected), "{text}");
        for label in ["client", "outcome", "policy", "ALPN", "authentication", "backend"] {
            assert!(
                text.lines().any(|line| line.starts_with(label)),
                "{label}: {text}"
            );
        }
        let (_, text, _) = run(&[&arguments[..], &["--output", "json"]].concat()).await;
        let explained: api::Explanation = serde_json::from_str(&text).expect("JSON");
        assert_eq!(explained.certificate.expect("one").by, by);
    }
    for (more, expected) in [
        (
            ["--client", "Netscape"],
            "no well-known client's name begins with `Netscape`",
        ),
        (["--sni", "not a name"], "not a name"),
        (["--client-certificate", "certgate.toml"], "holds no certificate"),
    ] {
        let file = home.path("certgate.toml").display().to_string();
        let more = more.map(|word| {
            if word == "certgate.toml" {
                file.as_str()
            } else {
                word
            }
        });
        let (code, _, errors) = run(&[&["explain", "web", "--admin", &socket], &more[..]].concat()).await;
        assert_eq!(code, 1);
        assert!(errors.contains(expected), "{errors}");
    }
}

#[tokio::test]
async fn the_verdict_on_a_client_certificate_is_that_of_the_handshake() {
    let (home, server) = (Home::new(), backend("hello").await);
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/client_certificates.sh"
    );
    let made = Script::new("sh").arg(script).current_dir(home.path(".")).output();
    assert!(made.expect("sh is there").status.success());
    let [mutual, observed, open] = [free_address(), free_address(), free_address()];
    let asking = |mode: &str| {
        format!(
            "authentication = {mode:?}\nclient_ca = \"partners\"\nallow_clients = {{ common_name = [\"valid\", \
             \"expired\", \"revoked\", \"wrong-ca\"] }}"
        )
    };
    let listeners = format!(
        "{}{}{}[ca_bundles.partners]\nfiles = [\"root.pem\"]\ncrl_files = [\"root.crl\"]\n",
        listener("mutual", mutual, &asking("mutual")),
        listener("observed", observed, &asking("observe")),
        listener("open", open, "")
    );
    let gateway = start(&home, &listeners, &[server]).await;
    let socket = gateway.socket().display().to_string();
    for (client, expected) in [
        (None, "no-certificate"),
        (Some("valid"), "verified"),
        (Some("p384"), "not-allowed"),
        (Some("expired"), "expired"),
        (Some("revoked"), "revoked"),
        (Some("wrong-ca"), "unknown-ca"),
    ] {
        for (name, address) in [("mutual", mutual), ("observed", observed), ("open", open)] {
            let mut arguments = vec!["-tls1_3".to_owned()];
            let mut asked = vec!["explain", name, "--sni", "localhost", "--admin", &socket];
            asked.extend(["--output", "json"]);
            let chain = client.map(|client| home.path(&format!("{client}.pem")).display().to_string());
            if let (Some(client), Some(chain)) = (client, &chain) {
                arguments.extend(["-cert", chain, "-key", &format!("{client}.key")].map(ToOwned::to_owned));
                asked.extend(["--client-certificate", chain]);
            }
            let live = Outcome::live(address, &home.path("."), &arguments).await;
            let (code, text, errors) = run(&asked).await;
            assert_eq!(code, 0, "{errors}");
            let explained: api::Explanation = serde_json::from_str(&text).expect("JSON");
            let told = format!("{client:?} {name}: {explained:#?}");
            assert_eq!(explained.outcome == "served", live.served, "{told}");
            let verdict = explained.authentication.verdict.as_deref();
            assert_eq!(verdict, (name != "open").then_some(expected), "{told}");
            if name == "observed" {
                let status = gateway.client().status().await.expect("a status");
                let observed = status.listeners.iter().find(|listener| listener.name == name);
                let reasons = &observed.expect("it is there").would_refuse;
                let noted = reasons.iter().any(|refused| refused.reason == expected);
                assert_eq!(noted, expected != "verified", "{reasons:?}");
            }
        }
    }
    // A private key does not even leave the file.
    let both = ["valid.key", "valid.pem"].map(|name| std::fs::read_to_string(home.path(name)).expect("made"));
    let both = home.write("both.pem", &both.concat()).display().to_string();
    let asked = [
        "explain",
        "mutual",
        "--client-certificate",
        &both,
        "--admin",
        &socket,
    ];
    let (code, text, errors) = run(&asked).await;
    assert_eq!(code, 0, "{errors}");
    assert!(
        text.contains("against `partners`: verified (OU=Operations, CN=valid)"),
        "{text}"
    );
    let request = api::ExplainRequest {
        client_certificate_pem: Some(std::fs::read_to_string(&both).expect("just written")),
        ..Default::default()
    };
    let refused = gateway
        .client()
        .explain("mutual", &request)
        .await
        .expect_err("refused");
    assert!(refused.to_string().contains("holds a private key"), "{refused}");
}

#[tokio::test]
async fn the_next_server_is_the_one_that_the_next_connection_goes_to() {
    let (home, listen) = (Home::new(), free_address());
    let servers = [backend("one").await, backend("two").await, backend("three").await];
    let gateway = start(&home, &listener("web", listen, ""), &servers).await;
    let root = gateway.client().local_ca_root("internal").await.expect("a root");
    let client = TlsClient::trusting(&root);
    let explain = async || {
        let request = api::ExplainRequest {
            server_name: Some("localhost".to_owned()),
            ..Default::default()
        };
        let explained = gateway.client().explain("web", &request).await;
        explained.expect("an explanation").backend.next
    };
    for _ in 0..5 {
        let next = explain().await.expect("a server");
        assert_eq!(explain().await.as_ref(), Some(&next), "the turn was not taken");
        let (answer, _) = client.ask(listen, "localhost").await.expect("answered");
        let answered = servers
            .iter()
            .zip(["one", "two", "three"])
            .find(|(_, name)| answer.ends_with(name));
        assert_eq!(answered.expect("one of them").0.to_string(), next);
    }
}
