//! SIGKILL at any moment, restarts, and a CA that is gone: what was acknowledged stays, and nothing is ordered twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use certgate::admin::api::Status;

use crate::gateway::{Gateway, Home, PATIENCE};
use crate::issuance::Scene;
use crate::peer::{TlsClient, backend};

#[tokio::test]
async fn sigkill_at_200_random_moments_loses_no_record_and_orders_nothing_twice() {
    let names: Vec<_> = (0..ROUNDS)
        .map(|round| format!("site{round}.example.test"))
        .collect();
    let name_list: Vec<_> = names.iter().map(String::as_str).collect();
    let mut scene = Scene::new(&name_list, None);
    let home = Home::new();
    let server = backend("hello").await;
    let base = scene.config(&["www.example.test"], "tls-alpn-01", &[server]);
    let base = base.replace("certificates = [\"www\"]", "certificates = [\"*\"]");
    scene
        .pebble
        .dns
        .set_addresses("www.example.test", &[&scene.tls.ip().to_string()]);
    let moments = RandomState::new();

    // Each life has one certificate more to obtain, so that each ends in the middle of something.
    let mut acknowledged = BTreeMap::new();
    let mut config = base;
    let mut longest_life = Duration::from_millis(900);
    for (round, name) in names.iter().enumerate() {
        let _ = writeln!(
            config,
            "[certificates.site{round}]\ndomains = [{name:?}]\nissuer = \"pebble\""
        );
        let gateway = home.launch(&config);
        let life = longest_life.mul_f64(moments.hash_one(round) as f64 / u64::MAX as f64);
        // Killed at that moment whatever it is doing; what it acknowledged until then is remembered.
        let _ = tokio::time::timeout(life, watch(&gateway, &mut acknowledged)).await;
        gateway.kill().await;
        // Where the machine is slow or has other work, lives grow until half of them get something done.
        if acknowledged.len() < round / 2 {
            longest_life = longest_life.mul_f64(1.02);
        }
    }

    // A life that ended by itself would have ended with such a line.
    let refused: Vec<_> = home
        .log()
        .lines()
        .filter(|line| line.starts_with("certgate: "))
        .map(ToOwned::to_owned)
        .collect();
    assert!(refused.is_empty(), "it did not start every time: {refused:?}");

    let gateway = home.start(&config).await;
    let status = when_all_are_served(&gateway, ROUNDS + 1).await;
    for certificate in &status.certificates {
        if let Some(serial) = acknowledged.get(certificate.name.as_str()) {
            assert_eq!(
                certificate.serial.as_ref(),
                Some(serial),
                "{} was lost or repeated",
                certificate.name
            );
        }
    }
    // An order whose challenge the CA looked at while the gateway was dead is invalid for ever (RFC 8555 §7.1.6); that
    // one had to be replaced, and no other.
    let dead = scene.pebble.invalid_orders();
    assert_eq!(
        scene.pebble.orders(),
        ROUNDS + 1 + dead,
        "one order for each certificate\n{}",
        home.log()
    );
    assert!(
        acknowledged.len() > ROUNDS / 4,
        "the lives were long enough to get something done"
    );

    // And with the CA gone, a fresh start serves all of it at once.
    let client = TlsClient::trusting(&scene.pebble.issuing_root());
    scene.pebble.kill();
    gateway.kill().await;
    let _gateway = home.start(&config).await;
    for name in &names {
        let (answer, leaf) = client.ask(scene.tls, name).await.expect("served from the store");
        assert!(answer.ends_with("hello"));
        assert!(leaf.names.iter().any(|pattern| pattern.to_string() == *name));
    }
}

#[tokio::test]
async fn twenty_restarts_make_no_new_order() {
    let scene = Scene::new(&["www.example.test"], None);
    let home = Home::new();
    let config = scene.config(&["www.example.test"], "tls-alpn-01", &[backend("hello").await]);
    let gateway = home.start(&config).await;
    let serial = gateway.published("www").await.serial;
    assert!(gateway.terminate().await.success());
    for _ in 0..20 {
        let gateway = home.start(&config).await;
        assert_eq!(gateway.published("www").await.serial, serial);
        assert!(gateway.terminate().await.success());
    }
    assert_eq!(scene.pebble.orders(), 1);
}

#[tokio::test]
async fn with_the_ca_gone_a_restart_serves_from_the_store_at_once() {
    let mut scene = Scene::new(&["www.example.test"], None);
    let home = Home::new();
    let config = scene.config(&["www.example.test"], "tls-alpn-01", &[backend("hello").await]);
    let gateway = home.start(&config).await;
    gateway.published("www").await;
    let client = TlsClient::trusting(&scene.pebble.issuing_root());
    gateway.kill().await;
    scene.pebble.kill();
    let _gateway = home.start(&config).await;
    let (answer, _) = client.ask(scene.tls, "www.example.test").await.expect("served");
    assert!(answer.ends_with("hello"));
}

#[tokio::test]
async fn a_second_gateway_on_the_same_store_is_told_the_pid_of_the_first() {
    let scene = Scene::new(&["www.example.test"], None);
    let home = Home::new();
    let config = scene.config(&["www.example.test"], "tls-alpn-01", &[backend("hello").await]);
    let first = home.start(&config).await;
    let mut second = home.launch(&config);
    assert_eq!(second.ended().await.code(), Some(1));
    let expected = format!("already running (pid {})", first.pid());
    assert!(home.log().contains(&expected), "{}", home.log());
}

/// Waits until there are `count` valid certificates, all published. One whose order the CA has declared invalid in the
/// meantime is to be tried again in a minute or later: that is asked for at once.
async fn when_all_are_served(gateway: &Gateway, count: usize) -> Status {
    let deadline = Instant::now() + PATIENCE;
    let mut asked_for = BTreeSet::new();
    loop {
        let status = gateway.client().status().await.expect("a status");
        let served = status
            .certificates
            .iter()
            .filter(|c| c.state == "valid" && c.published);
        if served.count() == count {
            return status;
        }
        assert!(Instant::now() < deadline, "not all are served: {status:#?}");
        for waiting in status.certificates.iter().filter(|c| c.state == "backing-off") {
            // Once, and not one that begins by itself right now: it would be obtained twice.
            let pause = waiting.next_attempt.map(|at| at.since(status.now));
            if pause > Some(Duration::from_secs(5)) && asked_for.insert(waiting.name.clone()) {
                gateway.client().renew(&waiting.name).await.expect("accepted");
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

const ROUNDS: usize = 200;

/// Notes the serial number of every certificate that the gateway says it has stored, for as long as it lives.
async fn watch(gateway: &Gateway, acknowledged: &mut BTreeMap<String, String>) {
    loop {
        if let Ok(certificates) = gateway.client().certificates().await {
            for certificate in certificates.into_iter().filter(|c| c.state == "valid") {
                let name = certificate.name.to_string();
                let serial = certificate
                    .serial
                    .expect("a valid certificate has a serial number");
                let before = acknowledged.insert(name.clone(), serial.clone());
                assert!(
                    before.is_none_or(|before| before == serial),
                    "{name} was obtained again"
                );
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
