//! What is left of certificates that the file names no more.

use certgate::admin::api::{Certificate, Status};

use crate::gateway::{Home, run};
use crate::issuance::Scene;
use crate::peer::backend;
use crate::reload::reloaded;
use crate::support::pebble::PebbleOptions;

fn of<'s>(status: &'s Status, name: &str) -> Option<&'s Certificate> {
    let mut all = status.certificates.iter();
    all.find(|certificate| certificate.name.as_str() == name)
}

fn is(status: &Status, name: &str, state: &str) -> bool {
    of(status, name).is_some_and(|certificate| certificate.state == state)
}

#[tokio::test]
async fn what_never_was_obtained_goes_with_its_table_and_what_was_or_has_to_wait_stays() {
    let refusing = PebbleOptions {
        blocked_domains: vec!["failing.example.test".to_owned()],
        ..PebbleOptions::default()
    };
    let scene = Scene::with(&["www.example.test"], refusing);
    let address = scene.tls.ip();
    scene
        .pebble
        .dns
        .set_addresses("astray.example.test", &["127.0.0.99"]);
    let home = Home::new();
    let config = format!(
        "[gateway]\naddresses = [\"{address}\"]\nresolvers = [\"{}\"]\n{}",
        scene.pebble.dns.address(),
        scene.config(&["www.example.test"], "tls-alpn-01", &[backend("hello").await]),
    );
    let certificate = |name: &str, more: &str| {
        format!("[certificates.{name}]\ndomains = [\"{name}.example.test\"]\nissuer = \"pebble\"\n{more}")
    };
    // The CA never signs for one of them, so that is not asked for again before a day is over.
    let others = [
        certificate("api", ""),
        certificate("astray", ""),
        certificate("failing", "dns_checks = \"off\"\n"),
    ];
    scene
        .pebble
        .dns
        .set_addresses("api.example.test", &[&address.to_string()]);
    let whole = format!("{config}{}", others.concat());
    let gateway = home.start(&whole).await;
    let status = gateway
        .status_until("has come to an end of each", |status| {
            is(status, "www", "valid")
                && is(status, "api", "valid")
                && is(status, "astray", "blocked")
                && is(status, "failing", "stopped")
        })
        .await;
    let next_attempt = of(&status, "failing").and_then(|failing| failing.next_attempt);
    let next_attempt = next_attempt.expect("it waits");
    let orders = scene.pebble.orders();

    home.configure(&config);
    assert_eq!(reloaded(&gateway).await, None);
    let status = gateway
        .status_until("has forgotten the one that was only blocked", |status| {
            of(status, "astray").is_none()
        })
        .await;
    assert!(is(&status, "api", "valid"), "what was obtained stays");
    let failing = of(&status, "failing").expect("its pause counts");
    let reason = failing.reason.clone().unwrap_or_default();
    assert_eq!((failing.state.as_str(), failing.next_attempt), ("unwanted", None));
    assert!(
        reason.contains(&format!("forgotten at {next_attempt}")),
        "{reason}"
    );

    // Who goes back begins anew, and not before the pause is over.
    home.configure(&whole);
    assert_eq!(reloaded(&gateway).await, None);
    let status = gateway
        .status_until("wants them again", |status| is(status, "astray", "blocked"))
        .await;
    let failing = of(&status, "failing").expect("wanted");
    assert_eq!(
        (failing.state.as_str(), failing.next_attempt),
        ("stopped", Some(next_attempt))
    );
    assert_eq!(scene.pebble.orders(), orders);

    // A start finds what was left before it.
    assert!(gateway.terminate().await.success());
    let gateway = home.start(&config).await;
    gateway
        .status_until("has forgotten it", |status| of(status, "astray").is_none())
        .await;
    let socket = gateway.socket().display().to_string();
    let (code, shown, errors) = run(&["cert", "show", "failing", "--admin", &socket]).await;
    assert_eq!(code, 0, "{errors}");
    assert!(shown.contains("unwanted"), "{shown}");
}
