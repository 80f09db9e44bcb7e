//! What operators ask for at run time, where it meets what is there already.

use crate::gateway::{Home, free_address, run};
use crate::peer::backend;
use crate::reload::{client_of, config};

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
    let text = config(free_address(), backend("hello").await, "").replace(
        "kind = \"local-ca\"",
        "kind = \"local-ca\"\npermitted_domains = [\"localhost\"]",
    );
    let gateway = home.start(&text).await;
    client_of(&gateway).await;
    let socket = gateway.socket().display().to_string();
    for _ in 0..2 {
        let (code, _, errors) = run(&[
            "cert",
            "request",
            "shop",
            "--domain",
            "shop.example.test",
            "--admin",
            &socket,
        ])
        .await;
        assert_eq!(code, 1, "{errors}");
        assert!(
            errors.contains("permitted domains") && errors.contains("tried again at"),
            "{errors}"
        );
    }
    // Other names end the pause.
    let (code, _, errors) = run(&[
        "cert",
        "request",
        "shop",
        "--domain",
        "shop.localhost",
        "--admin",
        &socket,
    ])
    .await;
    assert_eq!(code, 0, "{errors}");
}
