//! CRLs that come with a request: what cannot be used is refused, and clients are verified as before.

use std::io;
use std::time::{Duration, Instant};

use certgate::certificate::crl_to_pem;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use serde_json::{Value, json};

use crate::gateway::PATIENCE;
use crate::mutual_sessions::{MUTUAL, Scene};
use crate::peer::TlsClient;
use crate::runtime::request;

const BUNDLE: &str = "/v1/ca-bundles/given";

#[tokio::test]
async fn a_crl_that_cannot_be_used_is_refused_and_clients_are_verified_as_before() {
    let stage = Stage::new("").await;
    let root = stage.text("root.pem");
    let given = json!({ "certificates_pem": root, "crls_pem": stage.text("root.crl") });
    stage.done("PUT", BUNDLE, &given).await;
    let keys = json!({ "authentication": "mutual", "client_ca": "given" });
    stage.done("PATCH", "/v1/listeners/web", &keys).await;
    stage.lets_in_the_valid_one_alone().await;
    let before = stage.shown().await;

    for (crl, says) in [
        (stage.text("intermediate.crl"), "not in the bundle"),
        (stage.text("namesake.crl"), "signature is not by the key of"),
        (stage.forged(), "signature is not by the key of"),
        (stage.text("root-expired.crl"), "is out of date since 2021-01-01"),
        (
            stage.text("root.crl").replace("X509 CRL", "CERTIFICATE"),
            "`crls_pem`, block 1: is `CERTIFICATE`; only `X509 CRL` may stand here",
        ),
        (
            "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n".to_owned(),
            "cannot be used",
        ),
        (stage.with_a_damaged_one(), "no part of a block and no comment"),
    ] {
        let whole = json!({ "certificates_pem": root, "crls_pem": crl });
        for (line, body) in [
            (format!("PUT {BUNDLE}"), &whole),
            (format!("PATCH {BUNDLE}"), &json!({ "crls_pem": crl })),
            ("PUT /v1/ca-bundles/new".to_owned(), &whole),
        ] {
            let (status, head, problem) = stage.asked(&line, body).await;
            assert_eq!(status, 422, "{line}, {says}: {problem}");
            assert!(head.contains("application/problem+json"), "{head}");
            let detail = problem["detail"].as_str().unwrap_or_default();
            assert!(detail.contains(says), "{line}: {detail}");
            assert!(
                detail.contains(line.rsplit('/').next().unwrap_or_default()),
                "{detail}"
            );
        }
        assert_eq!(stage.shown().await, before, "{says}");
        assert_eq!(stage.asked("GET /v1/ca-bundles/new", &Value::Null).await.0, 404);
        stage.lets_in_the_valid_one_alone().await;
    }

    // What can be used counts at once, in the same way.
    stage
        .done("PATCH", BUNDLE, &json!({ "crls_pem": stage.text("empty.crl") }))
        .await;
    stage
        .enters("revoked")
        .await
        .expect("on no CRL of the bundle any more");
    stage
        .done("PATCH", BUNDLE, &json!({ "crls_pem": stage.text("root.crl") }))
        .await;
    stage.lets_in_the_valid_one_alone().await;
}

#[tokio::test]
async fn a_crl_that_has_expired_in_force_stands_in_the_way_of_no_change() {
    let stage = Stage::new(MUTUAL).await;
    stage.lets_in_the_valid_one_alone().await;
    let (expired, listed) = (
        stage.0.home.path("root-expired.crl"),
        stage.0.home.path("listed.crl"),
    );
    std::fs::copy(expired, listed).expect("copied");
    let begun = Instant::now();
    while stage.enters("valid").await.is_ok() {
        assert!(begun.elapsed() < PATIENCE, "it is not taken over");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stage
        .done(
            "PATCH",
            "/v1/ca-bundles/partners",
            &json!({ "files": ["root.pem"] }),
        )
        .await;
    stage
        .enters("valid")
        .await
        .expect_err("nobody knows what was revoked meanwhile");
    stage
        .done("PATCH", "/v1/listeners/web", &json!({ "expired_crl": "accept" }))
        .await;
    stage.lets_in_the_valid_one_alone().await;
}

/// A listener `web`, and clients `valid` and `revoked`.
struct Stage(Scene, String);

impl Stage {
    async fn new(web_is: &str) -> Self {
        let scene = Scene::new(web_is, "").await;
        let root = scene
            .gateway
            .client()
            .local_ca_root("internal")
            .await
            .expect("a root");
        Self(scene, root)
    }

    fn text(&self, file: &str) -> String {
        std::fs::read_to_string(self.0.home.path(file)).expect("it was made")
    }

    /// The good one, with a wrong bit at its end.
    fn forged(&self) -> String {
        let crl = CertificateRevocationListDer::from_pem_file(self.0.home.path("root.crl")).expect("a CRL");
        let mut der = crl.as_ref().to_vec();
        if let Some(last) = der.last_mut() {
            *last ^= 1;
        }
        crl_to_pem(&der)
    }

    /// The good one, and another whose first line is damaged.
    fn with_a_damaged_one(&self) -> String {
        let good = self.text("root.crl");
        format!("{good}{}", good.replacen("-----BEGIN", "----BEGIN", 1))
    }

    async fn asked(&self, line: &str, body: &Value) -> (u16, String, Value) {
        let json = [("content-type", "application/json")];
        let body = match body {
            Value::Null => Vec::new(),
            body => body.to_string().into_bytes(),
        };
        request(self.0.gateway.socket(), line, &json, &body).await
    }

    async fn done(&self, method: &str, path: &str, body: &Value) {
        let (status, _, answer) = self.asked(&format!("{method} {path}"), body).await;
        assert!(matches!(status, 200 | 201), "{status} {answer}");
    }

    /// The bundle, what is in it, and the listener.
    async fn shown(&self) -> [Value; 3] {
        let get = async |path: &str| self.asked(&format!("GET {path}"), &Value::Null).await.2;
        let contents = format!("{BUNDLE}/contents");
        [
            get(BUNDLE).await,
            get(&contents).await,
            get("/v1/listeners/web").await,
        ]
    }

    async fn enters(&self, client: &str) -> io::Result<()> {
        let file = |end: &str| self.0.home.path(&format!("{client}.{end}"));
        let certificate = CertificateDer::from_pem_file(file("pem")).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(file("key")).expect("a key");
        let client = TlsClient::presenting(&self.1, Some((certificate, key)));
        client.ask(self.0.web, "localhost").await.map(drop)
    }

    async fn lets_in_the_valid_one_alone(&self) {
        self.enters("valid").await.expect("it is let in");
        let refused = self.enters("revoked").await.expect_err("it is refused");
        assert!(refused.to_string().contains("CertificateRevoked"), "{refused}");
    }
}
