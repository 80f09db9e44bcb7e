//! The command line, as people and programs use it.

use std::path::Path;

use certgate::certificate::{CredentialPem, KeyType, PrivateKey};
use tokio::process::Command;

use crate::gateway::{Home, certgate, free_address, run};
use crate::peer::backend;
use crate::reload::{client_of, config};

/// A self-signed certificate for `name`, chain and key as PEM.
pub(crate) fn self_signed(name: &str) -> (String, String) {
    let key = PrivateKey::generate(KeyType::EcdsaP256).expect("a key");
    let params = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("parameters");
    let pair = key.to_key_pair().expect("a signer");
    let der = params.self_signed(&pair).expect("signed").der().clone();
    let pem = CredentialPem::new(vec![der], &key);
    (pem.chain_to_pem(), pair.serialize_pem())
}

#[tokio::test]
async fn the_demo_shows_both_servers_answering_and_leaves_nothing_behind() {
    let home = Home::new();
    let output = Command::new(certgate())
        .args(["demo", "--once"])
        .env("TMPDIR", home.path(""))
        .output()
        .await
        .expect("the demo runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    for server in ["one", "two"] {
        assert_eq!(
            text.lines()
                .filter(|line| line.contains(&format!(" {server} ")))
                .count(),
            4,
            "{text}"
        );
    }
    assert!(text.contains("X25519MLKEM768"), "{text}");
    let left = std::fs::read_dir(home.path("")).expect("a directory").count();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_certificate_is_requested_listed_renewed_and_exported() {
    let listen = free_address();
    let home = Home::new();
    let gateway = home.start(&config(listen, backend("hello").await, "")).await;
    client_of(&gateway).await;
    let socket = gateway.socket().display().to_string();
    let admin = ["--admin", socket.as_str()];
    let run = async |arguments: &[&str]| run(&[arguments, &admin[..]].concat()).await;

    let (code, output, errors) = run(&["cert", "request", "shop", "--domain", "shop.example.test"]).await;
    assert_eq!(code, 0, "{errors}");
    assert!(
        output.contains("shop.example.test") && output.contains("valid"),
        "{output}"
    );
    assert!(errors.contains("signing"), "progress is shown: {errors}");

    let (_, output, _) = run(&["cert", "list", "--output", "json"]).await;
    let list: serde_json::Value = serde_json::from_str(&output).expect("JSON");
    let names: Vec<_> = list
        .as_array()
        .expect("a list")
        .iter()
        .map(|c| c["name"].clone())
        .collect();
    assert_eq!(names, ["localhost", "shop"]);
    let serial = list[1]["serial"].clone();

    let (code, _, errors) = run(&["cert", "renew", "shop"]).await;
    assert_eq!(code, 0, "{errors}");
    let (_, output, _) = run(&["cert", "show", "shop", "--output", "json"]).await;
    let shown: serde_json::Value = serde_json::from_str(&output).expect("JSON");
    assert_ne!(shown["serial"], serial);

    let (_, chain, _) = run(&["cert", "export", "shop"]).await;
    assert!(chain.starts_with("-----BEGIN CERTIFICATE-----") && !chain.contains("PRIVATE"));
    let file = home.path("shop.pem");
    let to = file.display().to_string();
    let (code, _, errors) = run(&["cert", "export", "shop", "--with-key", "--to", &to]).await;
    assert_eq!(code, 0, "{errors}");
    assert_eq!(mode(&file), 0o600);
    CredentialPem::parse(&std::fs::read(&file).expect("written")).expect("chain and key");

    // It is wanted from now on, whatever the file says.
    gateway.terminate().await;
    assert!(
        home.log().contains("the private key was exported"),
        "{}",
        home.log()
    );
    let gateway = home.start(&config(listen, backend("hello").await, "")).await;
    assert_eq!(
        gateway.published("shop").await.serial.as_deref(),
        shown["serial"].as_str()
    );
}

#[tokio::test]
async fn an_import_is_served_and_an_unusable_one_changes_nothing() {
    let listen = free_address();
    let home = Home::new();
    let text = config(listen, backend("hello").await, "")
        .replace("[\"localhost\"]\nserver_group", "[\"*\"]\nserver_group");
    let gateway = home.start(&text).await;
    client_of(&gateway).await;
    let socket = gateway.socket().display().to_string();
    let (chain, key) = self_signed("bought.example.test");
    let (_, stranger) = self_signed("other.example.test");
    let chain_file = home.write("bought.pem", &chain).display().to_string();
    let key_file = home.write("bought.key", &key).display().to_string();
    let stranger_file = home.write("stranger.key", &stranger).display().to_string();
    let garbage_file = home.write("garbage.pem", "garbage").display().to_string();
    let import = async |certificate: &str, key: &str| {
        let arguments = [
            "cert",
            "import",
            "bought",
            "--certificate",
            certificate,
            "--key",
            key,
        ];
        run(&[&arguments[..], &["--admin", socket.as_str()]].concat()).await
    };

    let (code, _, errors) = import(&chain_file, &stranger_file).await;
    assert_eq!(code, 1);
    assert!(
        errors.contains("`bought`") && errors.contains("does not belong"),
        "{errors}"
    );
    let (code, _, errors) = import(&garbage_file, &key_file).await;
    assert_eq!(code, 1);
    assert!(errors.contains("BEGIN CERTIFICATE"), "{errors}");

    let (code, _, errors) = import(&chain_file, &key_file).await;
    assert_eq!(code, 0, "{errors}");
    gateway.published("bought").await;
    let client = crate::peer::TlsClient::trusting(&chain);
    let (answer, _) = client.ask(listen, "bought.example.test").await.expect("served");
    assert!(answer.ends_with("hello"));

    let (code, _, _) = import(&chain_file, &stranger_file).await;
    assert_eq!(code, 1);
    client
        .ask(listen, "bought.example.test")
        .await
        .expect("what was there goes on being served");
}

#[tokio::test]
async fn every_file_and_the_socket_are_private_whatever_the_umask() {
    let home = Home::new();
    let listen = free_address();
    home.configure(&config(listen, backend("hello").await, ""));
    let script = format!(
        "umask 000; exec {} run --config {}",
        certgate(),
        home.path("certgate.toml").display()
    );
    let mut child = Command::new("sh")
        .args(["-c", &script])
        .kill_on_drop(true)
        .spawn()
        .expect("sh starts");
    let socket = home.path("store/admin.sock");
    let client = certgate::admin::Client::new(&socket);
    let served = async {
        while !client
            .certificates()
            .await
            .is_ok_and(|list| list.iter().any(|c| c.published))
        {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(crate::gateway::PATIENCE, served)
        .await
        .expect("it serves");
    let store = home.path("store");
    assert_eq!(mode(&store), 0o700);
    let mut pending = vec![store];
    while let Some(path) = pending.pop() {
        assert_eq!(mode(&path) & 0o077, 0, "{}", path.display());
        if path.is_dir() {
            pending.extend(
                std::fs::read_dir(&path)
                    .expect("readable")
                    .map(|entry| entry.expect("entry").path()),
            );
        }
    }
    child.kill().await.expect("killed");
}

#[tokio::test]
async fn check_prints_every_problem_and_exits_with_1() {
    let home = Home::new();
    let path = home
        .write(
            "broken.toml",
            "[listeners.web]\nprt = 443\ncertificates = [\"www\"]\n",
        )
        .display()
        .to_string();
    let (code, _, errors) = run(&["check", "--config", &path]).await;
    assert_eq!(code, 1);
    assert!(
        errors.contains("broken.toml:2:1") && errors.contains("port"),
        "{errors}"
    );
    assert!(
        errors.contains("broken.toml:3:"),
        "the dangling certificate too: {errors}"
    );
    let listen = free_address();
    let path = home
        .write("good.toml", &config(listen, listen, ""))
        .display()
        .to_string();
    let (code, output, errors) = run(&["check", "--config", &path]).await;
    assert_eq!((code, errors.as_str()), (0, ""), "{output}");
}

#[tokio::test]
async fn wrong_usage_exits_with_2_and_an_absent_gateway_with_1() {
    let (code, _, errors) = run(&["run"]).await;
    assert_eq!(code, 2);
    assert!(errors.contains("--config"), "{errors}");
    let (code, _, errors) = run(&["status", "--admin", "/nonexistent/admin.sock"]).await;
    assert_eq!(code, 1);
    assert!(
        errors.contains("/nonexistent/admin.sock") && errors.contains("certgate run"),
        "{errors}"
    );
    assert!(
        !errors.contains("--config"),
        "`status` has no such flag: {errors}"
    );
}

#[tokio::test]
async fn schema_completions_and_manual_are_printed() {
    let (code, schema, _) = run(&["schema"]).await;
    let schema: serde_json::Value = serde_json::from_str(&schema).expect("JSON");
    assert_eq!(code, 0);
    assert!(schema["properties"]["listeners"].is_object());
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, _) = run(&["completions", shell]).await;
        assert_eq!(code, 0);
        assert!(script.contains("certgate"));
    }
    let (code, page, _) = run(&["man"]).await;
    assert_eq!(code, 0);
    assert!(page.contains(".TH certgate"));
}

#[tokio::test]
async fn quick_serves_without_a_file() {
    let home = Home::new();
    let listen = free_address();
    let server = backend("hello").await.to_string();
    let store = home.path("store");
    let mut child = Command::new(certgate())
        .args([
            "quick",
            "--listen",
            &listen.to_string(),
            "--domain",
            "localhost",
            "--to",
            &server,
            "--store",
        ])
        .arg(&store)
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let client = certgate::admin::Client::new(&store.join("admin.sock"));
    let served = async {
        while !client
            .certificates()
            .await
            .is_ok_and(|list| list.iter().any(|c| c.published))
        {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(crate::gateway::PATIENCE, served)
        .await
        .expect("it serves");
    let root = client.local_ca_root("local").await.expect("a root");
    let (answer, _) = crate::peer::TlsClient::trusting(&root)
        .ask(listen, "localhost")
        .await
        .expect("served");
    assert!(answer.ends_with("hello"));
    assert_eq!(mode(&store), 0o700);

    // A second one with the same store is refused, and leaves the file alone that the first reads on SIGHUP.
    let file = store.join("quick.toml");
    let before = std::fs::read(&file).expect("its configuration");
    let other = free_address().to_string();
    let store = store.display().to_string();
    let (code, _, errors) = run(&[
        "quick",
        "--listen",
        &other,
        "--domain",
        "localhost",
        "--to",
        &server,
        "--store",
        &store,
    ])
    .await;
    assert_eq!(code, 1);
    assert!(
        errors.contains("already runs") && errors.contains("--store"),
        "{errors}"
    );
    assert_eq!(std::fs::read(&file).expect("still there"), before);
    child.kill().await.expect("killed");
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::symlink_metadata(path)
        .expect("it is there")
        .permissions()
        .mode()
        & 0o777
}
