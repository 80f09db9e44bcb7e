//! What the local CA for clients is asked for and does not do.

use serde_json::Value;

use crate::client_ca::Stage;

#[tokio::test]
async fn what_the_ca_should_not_sign_or_revoke_is_refused_and_nothing_is_noted() {
    let stage = Stage::new().await;
    let pem = stage.at("out.pem");
    let issue = |more: &[&'static str]| -> Vec<String> {
        let mut all: Vec<_> = ["ca", "issue", "internal", "--pem", &pem]
            .map(str::to_owned)
            .into();
        all.extend(more.iter().map(ToString::to_string));
        all
    };
    for (key, name) in [("rsa:1024", "weak"), ("rsa:2048", "good")] {
        let (private, request) = (format!("{name}.key"), stage.at(&format!("{name}.csr")));
        let subject = format!("/CN={name}");
        stage
            .openssl(&[
                "req", "-new", "-newkey", key, "-nodes", "-keyout", &private, "-subj", &subject, "-out",
                &request,
            ])
            .await;
    }
    // A signature of another request.
    let good = std::fs::read_to_string(stage.at("good.csr")).expect("read");
    stage
        .openssl(&["req", "-in", "good.csr", "-outform", "DER", "-out", "good.der"])
        .await;
    let mut der = std::fs::read(stage.at("good.der")).expect("read");
    let last = der.last_mut().expect("not empty");
    *last ^= 1;
    std::fs::write(stage.at("forged.der"), der).expect("written");
    stage
        .openssl(&["req", "-inform", "DER", "-in", "forged.der", "-out", "forged.csr"])
        .await;
    assert_ne!(
        std::fs::read_to_string(stage.at("forged.csr")).expect("read"),
        good
    );

    for (arguments, says) in [
        (issue(&["--common-name", "a\u{7}b"]), "control characters"),
        (issue(&["--common-name", ""]), "1 to 64 characters"),
        (issue(&["--common-name", "a", "--uri", "no uri"]), "is no URI"),
        (
            issue(&["--common-name", "a", "--email", "nobody"]),
            "no mail address",
        ),
        (issue(&["--common-name", "a", "--days", "0"]), "`days` is 0"),
        (issue(&["--common-name", "a", "--days", "90000"]), "1 to 1826"),
    ] {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        stage.refused(&arguments, says).await;
    }
    for (request, says) in [
        ("weak.csr", "RSA of 1024 bits"),
        ("forged.csr", "not by its own key"),
        ("root.pem", "no `-----BEGIN CERTIFICATE REQUEST-----`"),
    ] {
        let file = stage.at(request);
        let arguments = ["ca", "issue", "internal", "--common-name", "a", "--csr", &file];
        stage.refused(&arguments, says).await;
    }
    stage
        .refused(&["ca", "revoke", "internal", "0123"], "no client certificate")
        .await;
    stage
        .refused(&["ca", "revoke", "internal", "../x"], "no client certificate")
        .await;
    stage
        .refused(
            &["ca", "revoke", "internal", "--common-name", "nobody"],
            "still good",
        )
        .await;
    stage
        .refused(&["ca", "show", "nothing"], "there is no issuer `nothing`")
        .await;
    for command in ["create", "crl"] {
        stage
            .refused(&["ca", command, "world"], "is a CA of the world")
            .await;
    }
    assert!(!stage.home.path("out.pem").exists());
    let shown: Value =
        serde_json::from_str(&stage.done(&["ca", "show", "internal", "--output", "json"]).await)
            .expect("JSON");
    assert_eq!(shown["certificates"], serde_json::json!([]));

    let request = stage.at("good.csr");
    let chain = stage
        .done(&[
            "ca",
            "issue",
            "internal",
            "--common-name",
            "carol",
            "--csr",
            &request,
        ])
        .await;
    stage.home.write("carol.pem", &chain);
    assert!(stage.enters(&["--cert", "carol.pem", "--key", "good.key"]).await);
}
