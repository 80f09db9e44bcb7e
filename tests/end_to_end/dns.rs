//! A name that DNS sends elsewhere is not ordered, and everybody is told which record to change.

use crate::gateway::{Home, run};
use crate::issuance::Scene;
use crate::peer::{TlsClient, backend};

const NAME: &str = "www.example.test";

#[tokio::test]
async fn a_name_that_leads_elsewhere_is_ordered_once_its_record_is_right_and_not_before() {
    let scene = Scene::new(&[], None);
    scene.pebble.dns.set_addresses(NAME, &["127.0.0.99"]);
    let home = Home::new();
    let address = scene.tls.ip();
    let config = format!(
        "[gateway]\naddresses = [\"{address}\"]\nresolvers = [\"{}\"]\n{}",
        scene.pebble.dns.address(),
        scene.config(&[NAME], "tls-alpn-01", &[backend("hello").await]),
    );
    let gateway = home.start(&config).await;

    let blocked = |status: &certgate::admin::api::Status| status.certificates[0].state == "blocked";
    let status = gateway.status_until("is blocked by DNS", blocked).await;
    let reason = status.certificates[0].reason.clone().expect("a reason");
    let remedy = format!("{NAME}. IN A {address}");
    assert!(
        reason.contains("127.0.0.99") && reason.contains(&remedy),
        "{reason}"
    );
    assert!(status.certificates[0].next_attempt.is_some());

    let socket = gateway.socket().display().to_string();
    let (code, output, _) = run(&["dns", "check", NAME, "--admin", &socket]).await;
    assert_eq!(code, 1);
    assert!(
        output.contains("127.0.0.99") && output.contains(&remedy),
        "{output}"
    );
    let (_, output, _) = run(&["status", "--admin", &socket]).await;
    assert!(output.contains(&remedy), "{output}");
    assert_eq!(
        scene.pebble.orders(),
        0,
        "no order is spent on a name that leads elsewhere"
    );

    scene.pebble.dns.set_addresses(NAME, &[&address.to_string()]);
    gateway.published("www").await;
    assert_eq!(scene.pebble.orders(), 1);
    let client = TlsClient::trusting(&scene.pebble.issuing_root());
    let (answer, _) = client.ask(scene.tls, NAME).await.expect("served");
    assert!(answer.ends_with("hello"));
    let (code, output, _) = run(&["dns", "check", "--admin", &socket]).await;
    assert_eq!(code, 0, "{output}");
}

#[tokio::test]
async fn without_a_gateway_table_the_check_is_skipped_and_says_so() {
    let scene = Scene::new(&[NAME], None);
    let home = Home::new();
    let config = scene.config(&[NAME], "http-01", &[backend("hello").await]);
    let gateway = home.start(&config).await;
    gateway.published("www").await;
    let socket = gateway.socket().display().to_string();
    let (code, output, _) = run(&["dns", "check", NAME, "--admin", &socket]).await;
    assert_eq!(code, 0);
    assert!(output.contains("[gateway]"), "{output}");
    let (_, output, _) = run(&["status", "--admin", &socket]).await;
    assert!(output.contains("`[gateway]` is not configured"), "{output}");
}
