//! What clients that others wrote make of a listener: openssl and curl.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use crate::gateway::{Gateway, Home, free_address, run};
use crate::issuance::curl;
use crate::peer::backend;
use crate::reload::reloaded;

/// A local CA with `ca`, `certificates` by name, first domain and key type, and one listener for all of them.
fn config(
    listen: SocketAddr,
    server: SocketAddr,
    ca: &str,
    certificates: &[(&str, &str, &str)],
    listener: &str,
) -> String {
    let names: Vec<_> = certificates.iter().map(|(name, ..)| name).collect();
    let tables: String = certificates
        .iter()
        .map(|(name, domain, key_type)| {
            format!(
                "[certificates.{name}]\ndomains = [{domain:?}]\nissuer = \"internal\"\nkey_type = {key_type:?}\n"
            )
        })
        .collect();
    format!(
        "[issuers.internal]\nkind = \"local-ca\"\ncommon_name = \"Corp CA\"\n{ca}{tables}\
         [server_groups.app]\nservers = [\"{server}\"]\n\
         [listeners.web]\naddress = \"{}\"\nport = {}\ncertificates = {names:?}\nserver_group = \"app\"\n{listener}",
        listen.ip(),
        listen.port()
    )
}

/// Runs openssl; whether it succeeded, and everything that it wrote.
pub(crate) async fn openssl(arguments: &[&str]) -> (bool, String) {
    let output = Command::new("openssl")
        .args(arguments)
        .env("SSL_CERT_FILE", NO_ROOTS)
        .stdin(Stdio::null())
        .output();
    let output = output.await.expect("openssl is installed");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// As `SSL_CERT_FILE`: openssl reads all roots of the system otherwise, which takes longer than all the rest it does.
pub(crate) const NO_ROOTS: &str = "/dev/null";

/// A handshake verified against `root`, with `more` arguments.
async fn handshake(address: SocketAddr, root: &Path, more: &[&str]) -> (bool, String) {
    let (address, root) = (address.to_string(), root.display().to_string());
    let fixed = [
        "s_client",
        "-verify_return_error",
        "-CAfile",
        &root,
        "-connect",
        &address,
    ];
    openssl(&[&fixed[..], more].concat()).await
}

/// The root that clients are given, as a file.
async fn exported_root(gateway: &Gateway, home: &Home) -> std::path::PathBuf {
    let socket = gateway.socket().display().to_string();
    let (code, root, errors) = run(&["ca", "export", "internal", "--admin", &socket]).await;
    assert_eq!(code, 0, "{errors}");
    home.write("root.pem", &root)
}

#[tokio::test]
async fn openssl_and_curl_verify_by_the_exported_root_and_see_the_permitted_domains() {
    const NAME: &str = "app.corp.test";
    let (home, listen, server) = (Home::new(), free_address(), backend("hello").await);
    let ca = "permitted_domains = [\"corp.test\"]\n";
    let gateway = home
        .start(&config(listen, server, ca, &[("app", NAME, "ecdsa-p256")], ""))
        .await;
    gateway.published("app").await;
    let root = exported_root(&gateway, &home).await;

    let names = ["-servername", NAME, "-verify_hostname", NAME];
    let (verified, text) = handshake(listen, &root, &names).await;
    assert!(verified && text.contains("Verify return code: 0 (ok)"), "{text}");
    assert_eq!(curl(&root, NAME, listen).await, "hello");

    let socket = gateway.socket().display().to_string();
    let (_, chain, _) = run(&["cert", "export", "app", "--admin", &socket]).await;
    let second = chain.rfind("-----BEGIN").expect("PEM");
    assert!(second > 0, "the issuing CA is sent along");
    let leaf = home.write("leaf.pem", &chain[..second]).display().to_string();
    let issuing = home.write("issuing.pem", &chain[second..]).display().to_string();
    let root_file = root.display().to_string();
    let verify = [
        "verify",
        "-x509_strict",
        "-purpose",
        "sslserver",
        "-CAfile",
        &root_file,
        "-untrusted",
        &issuing,
        &leaf,
    ];
    let (verified, text) = openssl(&verify).await;
    assert!(verified && text.contains("leaf.pem: OK"), "{text}");
    let (_, text) = openssl(&["x509", "-noout", "-text", "-in", &issuing]).await;
    let (_, constraints) = text
        .split_once("X509v3 Name Constraints: critical")
        .unwrap_or_else(|| panic!("{text}"));
    assert!(constraints.trim_start().starts_with("Permitted:"), "{text}");
    assert!(constraints.contains("DNS:corp.test"), "{text}");

    // What the constraints forbid is not signed in the first place.
    let request = [
        "cert",
        "request",
        "out",
        "--domain",
        "out.notcorp.test",
        "--admin",
        &socket,
    ];
    let (code, _, errors) = run(&request).await;
    assert_eq!(code, 1);
    assert!(errors.contains("may not sign for `out.notcorp.test`"), "{errors}");
    let (_, list, _) = run(&["cert", "list", "--admin", &socket]).await;
    assert!(
        !list.contains("out.notcorp.test"),
        "a refused request is not wanted: {list}"
    );
}

#[tokio::test]
async fn ecdsa_and_rsa_of_one_name_are_chosen_by_what_the_client_can_verify() {
    const NAME: &str = "both.corp.test";
    let (home, listen, server) = (Home::new(), free_address(), backend("hello").await);
    // RSA first: the order of the file does not decide.
    let certificates = [("old", NAME, "rsa-2048"), ("new", NAME, "ecdsa-p256")];
    let gateway = home.start(&config(listen, server, "", &certificates, "")).await;
    gateway.published("old").await;
    gateway.published("new").await;
    let root = exported_root(&gateway, &home).await;
    for (arguments, key) in [
        (&["-tls1_3"][..], EC),
        (&["-tls1_2"], EC),
        (&["-tls1_2", "-sigalgs", "RSA-PSS+SHA256:RSA+SHA256"], RSA),
        (&["-tls1_3", "-sigalgs", "RSA-PSS+SHA256:RSA+SHA256"], RSA),
        (&["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], RSA),
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], EC),
    ] {
        let names = ["-servername", NAME, "-verify_hostname", NAME];
        let (verified, text) = handshake(listen, &root, &[arguments, &names].concat()).await;
        assert!(
            verified && text.contains("Verify return code: 0 (ok)"),
            "{arguments:?}: {text}"
        );
        assert!(text.contains(key), "{arguments:?}: {text}");
    }
}

#[tokio::test]
async fn an_unknown_name_gets_the_first_certificate_or_unrecognized_name_as_the_listener_says() {
    let (home, listen, server) = (Home::new(), free_address(), backend("hello").await);
    let certificates = [
        ("first", "first.corp.test", "ecdsa-p256"),
        ("a-second", "second.corp.test", "ecdsa-p256"),
    ];
    let with = |listener| config(listen, server, "", &certificates, listener);
    let gateway = home.start(&with("unknown_sni = \"refuse\"\n")).await;
    gateway.published("first").await;
    gateway.published("a-second").await;
    let root = exported_root(&gateway, &home).await;
    let unknown = [&["-servername", "unknown.corp.test"][..], &["-noservername"]];
    let known = [
        "-servername",
        "second.corp.test",
        "-verify_hostname",
        "second.corp.test",
    ];

    for arguments in unknown {
        let (connected, text) = handshake(listen, &root, arguments).await;
        assert!(!connected && text.contains("unrecognized name"), "{text}");
        assert!(text.contains("SSL alert number 112"), "{text}");
    }
    let (verified, text) = handshake(listen, &root, &known).await;
    assert!(verified, "{text}");

    home.configure(&with("unknown_sni = \"default\"\n"));
    assert_eq!(reloaded(&gateway).await, None);
    for arguments in unknown {
        let arguments = [arguments, &["-verify_hostname", "first.corp.test"]].concat();
        let (verified, text) = handshake(listen, &root, &arguments).await;
        assert!(verified && text.contains("Verify return code: 0 (ok)"), "{text}");
    }
    let (verified, text) = handshake(listen, &root, &known).await;
    assert!(verified, "{text}");
}

const EC: &str = "Peer signature type: ECDSA";
const RSA: &str = "Peer signature type: RSA";
