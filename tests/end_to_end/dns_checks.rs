//! What may be asked of DNS at a time, how long that takes, and which names no certificate is for, whoever asks.

use std::time::{Duration, Instant};

use certgate::admin::api;
use certgate::name::NamePattern;
use serde_json::json;

use crate::gateway::{Gateway, Home, free_address, run};
use crate::peer::backend;
use crate::reload::{client_of, config};
use crate::runtime::request;

const ROUTE: &str = "POST /v1/dns-checks";
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

fn numbered(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("n{number}.example.com"))
        .collect()
}

async fn refusal(gateway: &Gateway, line: &str, body: serde_json::Value) -> String {
    let body = body.to_string();
    let (status, _, problem) = request(gateway.socket(), line, &JSON, body.as_bytes()).await;
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert_eq!(status, 400, "{line}: {problem}");
    detail.to_owned()
}

#[tokio::test]
async fn a_hundred_names_are_looked_at_at_a_time_and_each_once() {
    let home = Home::new();
    let gateway = home
        .start(&config(free_address(), backend("hello").await, ""))
        .await;
    for (names, expected) in [
        (numbered(101), "`names` has 101 names; 100 are allowed at a time"),
        (
            vec!["a.example".to_owned(), "A.example.".to_owned()],
            "`names` holds `a.example` twice; name it once",
        ),
        (
            vec!["_x.example.com".to_owned()],
            "`_x.example.com` cannot be in a certificate: the label `_x` holds an underscore; letters, digits and hyphens \
             are allowed (RFC 5280 §4.2.1.6)",
        ),
    ] {
        assert_eq!(
            refusal(&gateway, ROUTE, json!({ "names": names })).await,
            expected
        );
    }
    let (_, _, document) = request(gateway.socket(), "GET /v1/openapi.json", &[], b"").await;
    let schema = &document["components"]["schemas"]["DnsCheckRequest"]["properties"]["names"];
    assert_eq!(
        (&schema["maxItems"], &schema["uniqueItems"]),
        (&json!(100), &json!(true))
    );

    // Whoever asks by hand need not count.
    let names = numbered(150);
    let socket = gateway.socket().display().to_string();
    let mut arguments = vec!["dns", "check", "--output", "json", "--admin", &socket];
    arguments.extend(names.iter().map(String::as_str));
    let (code, output, errors) = run(&arguments).await;
    assert_eq!(code, 0, "{errors}");
    let verdicts: Vec<api::DomainVerdict> = serde_json::from_str(&output).expect("verdicts");
    let found: Vec<_> = verdicts
        .iter()
        .map(|verdict| verdict.domain.to_string())
        .collect();
    assert_eq!(found, names);
}

#[tokio::test]
async fn a_silent_resolver_costs_seconds_however_many_certificates_the_names_are_of() {
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0")
        .await
        .expect("a socket");
    let resolver = silent.local_addr().expect("its address");
    let mut more = format!("[gateway]\naddresses = [\"127.0.0.1\"]\nresolvers = [\"{resolver}\"]\n");
    // An ACME issuer that nobody answers for: names of a local CA are not looked at.
    more.push_str(
        "[issuers.dead]\nkind = \"acme\"\ndirectory = \"https://127.0.0.1:1/directory\"\nagree_to_terms = true\n",
    );
    let names = numbered(100);
    for (number, domains) in names.chunks(2).enumerate() {
        more.push_str(&format!(
            "[certificates.c{number}]\ndomains = {domains:?}\nissuer = \"dead\"\n"
        ));
    }
    let home = Home::new();
    let gateway = home
        .start(&config(free_address(), backend("hello").await, &more))
        .await;
    let request = api::DnsCheckRequest {
        names: names
            .iter()
            .map(|name| NamePattern::parse(name).expect("a name"))
            .collect(),
        issuer: None,
    };
    let started = Instant::now();
    let verdicts = gateway.client().dns_check(&request).await.expect("verdicts");
    let took = started.elapsed();
    // 25 s, and what a busy machine adds; one after the other they would take longer than the client waits.
    assert!(took < Duration::from_secs(45), "{took:?}");
    let domains: Vec<_> = verdicts.iter().map(|verdict| verdict.domain.clone()).collect();
    assert_eq!(domains, request.names);
    for verdict in &verdicts {
        assert!(!verdict.verdict.allows_order(), "{verdict}");
        assert!(
            verdict.reason_text.contains("did not answer in time"),
            "{verdict}"
        );
    }
    // Those of every certificate are as many, and `localhost`.
    let detail = refusal(&gateway, ROUTE, json!({ "names": [] })).await;
    assert_eq!(
        detail,
        "`names` is empty, and the certificates have 101 names; 100 are allowed at a time, so list some of them"
    );
}

#[tokio::test]
async fn a_name_that_no_certificate_is_for_is_refused_at_every_door() {
    let home = Home::new();
    let public = "[issuers.public]\nkind = \"acme\"\ndirectory = \"letsencrypt\"\nagree_to_terms = true\n";
    let text = config(free_address(), backend("hello").await, public);
    let gateway = home.start(&text).await;
    let socket = gateway.socket().display().to_string();
    for (name, issuer, expected) in [
        ("_x.example.com", "internal", "the label `_x` holds an underscore"),
        (
            "256.1.1.1",
            "internal",
            "it ends in the number `1`, as an IP address does, and is none",
        ),
        (
            "printer.local",
            "public",
            "does not sign for `printer.local`: no such name is in the public DNS",
        ),
        (
            "10.1.2.3",
            "public",
            "does not sign for `10.1.2.3`: it is no address of a host on the internet",
        ),
        (
            "ab--cd.example.com",
            "public",
            "the label `ab--cd` has hyphens in the third and fourth place",
        ),
    ] {
        let asked = [
            "cert",
            "request",
            "shop",
            "--domain",
            name,
            "--issuer",
            issuer,
            "--no-wait",
        ];
        let (code, _, errors) = run(&[&asked[..], &["--admin", &socket]].concat()).await;
        assert!(code != 0 && errors.contains(expected), "{name}: {errors}");

        let table = json!({ "domains": [name], "issuer": [issuer] });
        let body = table.to_string();
        let (status, _, problem) = request(
            gateway.socket(),
            "PUT /v1/certificates/shop",
            &JSON,
            body.as_bytes(),
        )
        .await;
        assert!(
            (400..500).contains(&status) && problem.to_string().contains(expected),
            "{name}: {status} {problem}"
        );

        let written = format!("{text}[certificates.shop]\ndomains = [\"{name}\"]\nissuer = \"{issuer}\"\n");
        let file = home.write("other.toml", &written);
        let (code, output, errors) = run(&["check", "--config", &file.display().to_string()]).await;
        assert_ne!(code, 0);
        assert!(
            format!("{output}{errors}").contains(expected),
            "{name}: {output}{errors}"
        );
    }
    let detail = refusal(
        &gateway,
        "PUT /v1/certificates/shop",
        json!({ "domains": ["a.example.com", "a.example.com"], "issuer": "internal" }),
    )
    .await;
    assert_eq!(
        detail,
        "`domains` of certificate `shop` holds `a.example.com` twice; name it once"
    );
}

#[tokio::test]
async fn a_handshake_for_a_name_that_no_public_ca_signs_for_orders_nothing() {
    let listen = free_address();
    let on_demand = "on_demand = { names = [\"*.shop.internal\"], issuer = \"public\" }\n\
                     [issuers.public]\nkind = \"acme\"\ndirectory = \"letsencrypt\"\nagree_to_terms = true\n";
    let home = Home::new();
    let gateway = home
        .start(&config(listen, backend("hello").await, on_demand))
        .await;
    let client = client_of(&gateway).await;
    let refused = client.connect(listen, "a.shop.internal").await;
    refused.expect_err("no certificate");
    let status = gateway.client().status().await.expect("a status");
    let names: Vec<_> = status
        .certificates
        .iter()
        .map(|known| known.name.to_string())
        .collect();
    assert_eq!(names, ["localhost"], "nothing else is wanted");
    let standing = status.listeners[0].on_demand.as_ref().expect("it has some");
    assert_eq!(standing.refused.get("not-allowed"), Some(&1), "{standing:?}");
}
