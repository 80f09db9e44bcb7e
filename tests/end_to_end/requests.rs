//! What operators ask for at run time, where it meets what is there already.

use crate::commands::self_signed;
use crate::gateway::{Home, free_address, run};
use crate::peer::backend;
use crate::reload::{client_of, config, reloaded};

#[tokio::test]
async fn a_request_for_other_names_waits_for_the_certificate_that_has_them() {
    let home = Home::new();
    let gateway = home
        .start(&config(free_address(), backend("hello").await, ""))
        .await;
    client_of(&gateway).await;
    let socket = gateway.socket().display().to_string();
    let mut serials = Vec::new();
    for domain in ["a.example.test", "b.example.test", "b.example.test"] {
        let (code, output, errors) = run(&[
            "cert", "request", "shop", "--domain", domain, "--output", "json", "--admin", &socket,
        ])
        .await;
        assert_eq!(code, 0, "{errors}");
        let shown: serde_json::Value = serde_json::from_str(&output).expect("JSON");
        serials.push(shown["serial"].clone());
    }
    assert_ne!(
        serials[0], serials[1],
        "the certificate of the names before was shown"
    );
    assert_eq!(serials[1], serials[2], "the same request again asks for nothing");
}

#[tokio::test]
async fn a_request_during_a_pause_tells_of_the_failure_and_does_not_wait_for_its_end() {
    let home = Home::new();
    // A CA that nobody answers for.
    let dead = "[issuers.dead]\nkind = \"acme\"\ndirectory = \"https://127.0.0.1:1/directory\"\nagree_to_terms = true\n";
    let text = config(free_address(), backend("hello").await, dead);
    let gateway = home.start(&text).await;
    client_of(&gateway).await;
    let socket = gateway.socket().display().to_string();
    let request = [
        "cert",
        "request",
        "shop",
        "--domain",
        "shop.example.test",
        "--issuer",
    ];
    for _ in 0..2 {
        let (code, _, errors) = run(&[&request[..], &["dead", "--admin", &socket]].concat()).await;
        assert_eq!(code, 1, "{errors}");
        assert!(
            errors.contains("Connection refused") && errors.contains("tried again at"),
            "{errors}"
        );
    }
    // Another issuer ends the pause.
    let (code, _, errors) = run(&[&request[..], &["internal", "--admin", &socket]].concat()).await;
    assert_eq!(code, 0, "{errors}");
}

#[tokio::test]
async fn a_request_or_import_never_replaces_a_certificate_that_comes_from_files() {
    let (listen, server) = (free_address(), backend("hello").await);
    let home = Home::new();
    let (chain, key) = self_signed("bought.example.test");
    let chain = home.write("bought.pem", &chain).display().to_string();
    let key = home.write("bought.key", &key).display().to_string();
    std::fs::create_dir(home.path("sites")).expect("a directory");
    let files = format!(
        "[certificates.bought]\ncertificate_file = {chain:?}\nkey_file = {key:?}\n\
         [certificate_directories.sites]\npath = \"sites\"\n"
    );

    // Asked for first, and only then given by the file.
    let gateway = home.start(&config(listen, server, "")).await;
    client_of(&gateway).await;
    let socket = gateway.socket().display().to_string();
    let request = async |name: &str| {
        run(&[
            "cert",
            "request",
            name,
            "--domain",
            "other.example.test",
            "--admin",
            &socket,
        ])
        .await
    };
    assert_eq!(request("bought").await.0, 0);
    home.configure(&config(listen, server, &files));
    assert_eq!(reloaded(&gateway).await, None);
    let from_files = |status: &certgate::admin::api::Status| {
        let bought = status.certificates.iter().find(|c| c.name.as_str() == "bought");
        bought.is_some_and(|bought| bought.source == "files" && bought.published)
    };
    gateway.status_until("takes it from the files", from_files).await;

    for name in ["bought", "sites/shop"] {
        let (code, _, errors) = request(name).await;
        assert_eq!(code, 1);
        assert!(
            errors.contains(name) && errors.contains("comes from files"),
            "{errors}"
        );
    }
    let (code, _, errors) = run(&[
        "cert",
        "import",
        "bought",
        "--certificate",
        &chain,
        "--key",
        &key,
        "--admin",
        &socket,
    ])
    .await;
    assert_eq!(code, 1);
    assert!(errors.contains("comes from files"), "{errors}");
}

#[tokio::test]
async fn what_a_local_ca_signs_is_a_renewal_and_no_acme_order() {
    let home = Home::new();
    let gateway = home
        .start(&config(free_address(), backend("hello").await, ""))
        .await;
    client_of(&gateway).await;
    let output = tokio::process::Command::new("curl")
        .args(["--silent", "--fail", "--unix-socket"])
        .arg(gateway.socket())
        .arg("http://certgate/metrics")
        .output()
        .await
        .expect("curl is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    let has = |start: &str| text.lines().any(|line| line.starts_with(start));
    assert!(has("certgate_certificate_renewals_total{"), "{text}");
    assert!(!has("certgate_acme_orders_total{"), "{text}");
}
