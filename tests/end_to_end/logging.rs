//! What the log says, in what form, and what it never says.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use certgate::certificate::CredentialPem;
use certgate::inventory::Inventory;
use certgate_store::EmbeddedStore;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::gateway::{Gateway, Home, PATIENCE, free_address, run};
use crate::issuance::Scene;
use crate::peer::{TlsClient, backend};
use crate::reload::{client_of, config};

/// Waits until the log has `count` lines that `wanted` picks, and returns them.
async fn lines(home: &Home, count: usize, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let log = home.log();
        let found: Vec<_> = log
            .lines()
            .filter(|line| wanted(line))
            .map(str::to_owned)
            .collect();
        if found.len() >= count {
            return found;
        }
        assert!(Instant::now() < deadline, "{count} lines are not there:\n{log}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// One connection that is closed as it should be: where it came from, and the bytes each way.
async fn visit(client: &TlsClient, listen: SocketAddr) -> (SocketAddr, usize, usize) {
    let mut stream = client.connect(listen, "localhost").await.expect("connected");
    let source = stream.get_ref().0.local_addr().expect("an address");
    let request = b"GET / HTTP/1.0\r\n\r\n";
    stream.write_all(request).await.expect("written");
    stream.shutdown().await.expect("closed");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("answered");
    (source, request.len(), answer.len())
}

#[tokio::test]
async fn the_closing_line_tells_the_whole_connection_as_one_json_object() {
    let (listen, server) = (free_address(), backend("hello").await);
    let home = Home::new();
    let gateway = home
        .start(&config(listen, server, "[log]\nformat = \"json\"\n"))
        .await;
    let client = client_of(&gateway).await;
    let (source, received, sent) = visit(&client, listen).await;

    let is_closing = |line: &str| line.contains("connection closed");
    let line = lines(&home, 1, is_closing).await.remove(0);
    let line: Value = serde_json::from_str(&line).expect("JSON");
    for (field, expected) in [
        ("level", Value::from("INFO")),
        ("message", "connection closed".into()),
        ("listener", "web".into()),
        ("source", source.to_string().into()),
        ("server_name", "localhost".into()),
        ("version", "TLSv1_3".into()),
        ("cipher_suite", "TLS13_AES_256_GCM_SHA384".into()),
        ("group", "X25519MLKEM768".into()),
        ("resumed", false.into()),
        ("backend", server.to_string().into()),
        ("outcome", "closed".into()),
        ("side", "client".into()),
        ("received", received.into()),
        ("sent", sent.into()),
    ] {
        assert_eq!(line[field], expected, "{field}: {line:#}");
    }
    assert!(
        line["timestamp"].as_str().is_some_and(|text| text.ends_with('Z')),
        "{line:#}"
    );
    assert!(
        line["seconds"]
            .as_f64()
            .is_some_and(|seconds| seconds > 0.0 && seconds < 60.0),
        "{line:#}"
    );
    // Everything else that was logged, too, to the last line.
    assert!(gateway.terminate().await.success());
    for line in home.log().lines() {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(
            object["timestamp"].is_string() && object["level"].is_string() && object["message"].is_string(),
            "{line}"
        );
    }
}

#[tokio::test]
async fn how_a_connection_ended_and_by_whose_side_is_told() {
    let (listen, refusing) = (free_address(), free_address());
    let breaking = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let broken = breaking.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = breaking.accept().await {
            // Not before something has come, or the gateway would take it for a connection that was refused.
            let _ = stream.read(&mut [0]).await;
            stream.set_zero_linger().expect("set");
        }
    });
    let second = free_address();
    let more = format!(
        "unknown_sni = \"refuse\"\n[server_groups.broken]\nservers = [\"{broken}\"]\n\
         [listeners.second]\naddress = \"{}\"\nport = {}\ncertificates = [\"localhost\"]\nserver_group = \"broken\"\n\
         [log]\nformat = \"json\"\n",
        second.ip(),
        second.port()
    );
    let home = Home::new();
    let gateway = home.start(&config(listen, refusing, &more)).await;
    let client = client_of(&gateway).await;

    client.ask(listen, "localhost").await.expect_err("no backend");
    client
        .ask(second, "localhost")
        .await
        .expect_err("reset by the backend");
    client
        .ask(listen, "other.example.test")
        .await
        .expect_err("refused");
    let mut plain = TcpStream::connect(listen).await.expect("connected");
    plain.write_all(b"GET / HTTP/1.0\r\n\r\n").await.expect("written");
    plain.read_to_end(&mut Vec::new()).await.expect("told and closed");
    assert!(gateway.terminate().await.success());
    // Noise of scanners is told at debug only; a name that was asked for is not noise.
    let lines = lines(&home, 3, |line: &str| line.contains("connection closed")).await;
    let told: BTreeSet<_> = lines
        .iter()
        .map(|line| {
            let line: Value = serde_json::from_str(line).expect("JSON");
            ["outcome", "side"]
                .map(|field| line[field].as_str().expect("text").to_owned())
                .join(" by ")
        })
        .collect();
    for expected in [
        "backend_unavailable by backend",
        "backend_reset by backend",
        "refused by gateway",
    ] {
        assert!(told.contains(expected), "{told:?}");
    }
    assert!(
        !told.iter().any(|told| told.starts_with("plain_http")),
        "{told:?}"
    );
}

#[tokio::test]
async fn text_is_the_same_line_for_people() {
    let (listen, server) = (free_address(), backend("hello").await);
    let home = Home::new();
    let gateway = home.start(&config(listen, server, "")).await;
    visit(&client_of(&gateway).await, listen).await;
    let line = lines(&home, 1, |line: &str| line.contains("connection closed"))
        .await
        .remove(0);
    for expected in [
        " INFO ",
        "listener=web",
        "source=127.0.0.1:",
        "server_name=\"localhost\"",
        "version=TLSv1_3",
        "cipher_suite=TLS13_AES_256_GCM_SHA384",
        "group=X25519MLKEM768",
        "resumed=false",
        &format!("backend={server}"),
        "received=18",
        "sent=",
        "seconds=",
        "outcome=\"closed\"",
        "side=\"client\"",
    ] {
        assert!(line.contains(expected), "no {expected} in {line}");
    }
    assert!(!home.log().contains('\u{1b}'), "no colours in a file");
}

#[tokio::test]
async fn connections_and_levels_can_be_switched_off() {
    // Each of them leaves something to wait for, so that what is missing is missing.
    for (log, has_info) in [
        ("connections = \"off\"", true),
        ("level = \"warn\"", false),
        ("level = \"error\"", false),
    ] {
        let (listen, server) = (free_address(), backend("hello").await);
        let home = Home::new();
        let gateway = home
            .start(&config(listen, server, &format!("[log]\n{log}\n")))
            .await;
        client_of(&gateway)
            .await
            .ask(listen, "localhost")
            .await
            .expect("served");
        // After the drain everything has been said.
        assert!(gateway.terminate().await.success());
        let text = home.log();
        assert!(!text.contains("connection closed"), "{log}: {text}");
        assert_eq!(text.contains(" INFO "), has_info, "{log}: {text}");
        assert_eq!(text.is_empty(), !has_info, "{log}: {text}");
    }
}

#[tokio::test]
async fn a_start_that_fails_and_warnings_of_the_file_are_told_in_the_log_s_form() {
    let taken = TcpListener::bind(free_address()).await.expect("bound");
    let listen = taken.local_addr().expect("an address");
    let (home, other) = (Home::new(), Home::new());
    let more = "[certificates.idle]\ndomains = [\"idle.example.test\"]\nissuer = \"internal\"\n\
                [log]\nformat = \"json\"\n";
    let mut gateway = home.launch(&config(listen, listen, more));
    let status = gateway.ended().await;
    assert_eq!(status.code(), Some(1));
    // What is odd about a file is told when it is in force.
    let gateway = other.start(&config(free_address(), listen, more)).await;
    assert!(gateway.terminate().await.success());
    let log = home.log() + &other.log();
    let objects: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let has = |level: &str, text: &str| {
        objects.iter().any(|object| {
            object["level"] == level && object["message"].as_str().is_some_and(|m| m.contains(text))
        })
    };
    assert!(has("WARN", "no listener serves the certificate `idle`"), "{log}");
    assert!(has("ERROR", "listener `web` cannot listen"), "{log}");
}

#[tokio::test]
async fn the_log_holds_no_secret_at_level_debug() {
    const NAME: &str = "www.example.test";
    let scene = Scene::new(&[NAME], None);
    let home = Home::new();
    let more = "[issuers.internal]\nkind = \"local-ca\"\ncommon_name = \"Internal\"\n\
                [certificates.inside]\ndomains = [\"inside.example.test\"]\nissuer = \"internal\"\n\
                [log]\nlevel = \"debug\"\n";
    let text = scene.config(&[NAME], "http-01", &[backend("hello").await]);
    let text = text.replace("certificates = [\"www\"]", "certificates = [\"www\", \"inside\"]") + more;
    let gateway = home.start(&text).await;
    let mut secrets = Vec::new();
    for name in ["www", "inside"] {
        gateway.published(name).await;
        secrets.push(exported_key(&home, &gateway, name).await);
    }
    // Every way that a key takes is gone once more: renewed, and imported back.
    let socket = gateway.socket().display().to_string();
    let file = home.path("www.pem").display().to_string();
    for command in [
        ["cert", "renew", "www"].as_slice(),
        &["cert", "import", "bought", "--certificate", &file],
    ] {
        let (code, _, errors) = run(&[command, &["--admin", &socket]].concat()).await;
        assert_eq!(code, 0, "{errors}");
    }
    std::fs::remove_file(home.path("www.pem")).expect("removed");
    secrets.push(exported_key(&home, &gateway, "www").await);
    assert!(gateway.terminate().await.success());

    let log = home.log();
    assert!(log.contains("DEBUG"), "the level is debug:\n{log}");
    let inventory = Inventory::new(std::sync::Arc::new(
        EmbeddedStore::open(&home.path("store"), Default::default())
            .expect("the store")
            .0,
    ));
    secrets.extend(stored_secrets(&inventory).await);
    for secret in &secrets {
        for form in forms(secret) {
            assert!(!log.contains(&form), "a secret is in the log as {form}");
        }
    }
    // Tokens are what a CA looks for under a path; Pebble tells which ones it has asked for.
    let ca = scene.pebble.log();
    let tokens: BTreeSet<_> = ca
        .split("/.well-known/acme-challenge/")
        .skip(1)
        .filter_map(|rest| {
            rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_')
                .next()
        })
        .filter(|token| token.len() > 20)
        .collect();
    assert!(!tokens.is_empty(), "{ca}");
    for token in tokens {
        assert!(!log.contains(token), "the token {token} is in the log:\n{log}");
    }
}

/// What must never be seen of an EC key: the scalar in its PKCS#8 document.
fn scalar(pkcs8: &[u8]) -> Vec<u8> {
    // Version 1 and an octet string with the scalar (RFC 5915 §3).
    let start = pkcs8.windows(4).position(|window| window == [2, 1, 1, 4]);
    let start = start.expect("an EC private key") + 4;
    let length = usize::from(pkcs8[start]);
    assert!(matches!(length, 32 | 48), "{length}");
    pkcs8[start + 1..][..length].to_vec()
}

async fn exported_key(home: &Home, gateway: &Gateway, name: &str) -> Vec<u8> {
    let file = home.path(&format!("{name}.pem"));
    let (to, socket) = (file.display().to_string(), gateway.socket().display().to_string());
    let (code, _, errors) = run(&[
        "cert",
        "export",
        name,
        "--with-key",
        "--to",
        &to,
        "--admin",
        &socket,
    ])
    .await;
    assert_eq!(code, 0, "{errors}");
    let pem = CredentialPem::parse(&std::fs::read(file).expect("written")).expect("chain and key");
    scalar(pem.key().secret_der())
}

/// The keys of the account and of the local CA.
async fn stored_secrets(inventory: &Inventory) -> Vec<Vec<u8>> {
    let account = inventory
        .account("pebble")
        .await
        .expect("readable")
        .expect("an account");
    let credentials: Value = serde_json::from_str(account.value.credentials.expose()).expect("JSON");
    let key = credentials["key_pkcs8"].as_str().expect("a key");
    let account = URL_SAFE_NO_PAD.decode(key).expect("base64");
    let ca = inventory
        .local_ca("internal")
        .await
        .expect("readable")
        .expect("a CA")
        .value;
    vec![
        scalar(&account),
        scalar(ca.root.key.pkcs8()),
        scalar(ca.issuing.key.pkcs8()),
    ]
}

/// How a piece of it would look, wherever the text around it begins or a line ends.
fn forms(secret: &[u8]) -> Vec<String> {
    let hex = |upper: bool| -> String {
        let digits = |byte: &u8| {
            if upper {
                format!("{byte:02X}")
            } else {
                format!("{byte:02x}")
            }
        };
        secret[4..20].iter().map(digits).collect()
    };
    let decimal: Vec<_> = secret[4..14].iter().map(ToString::to_string).collect();
    let mut forms = vec![hex(false), hex(true), decimal.join(", ")];
    for piece in secret.windows(12) {
        forms.extend([STANDARD_NO_PAD.encode(piece), URL_SAFE_NO_PAD.encode(piece)]);
    }
    forms
}
