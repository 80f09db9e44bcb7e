//! Many certificates at once: one name that hangs and one that always fails hold up no other.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use certgate::admin::api::{Certificate, Status};
use tokio::task::JoinSet;

use crate::ca_faults::Scene;
use crate::gateway::{Home, run};
use crate::peer::{TlsClient, backend};
use crate::support::acme_double::Validation;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_500_certificates_one_that_hangs_and_one_that_fails_hold_up_no_other() {
    let scene = Scene::new().await;
    let home = Home::new();
    let port = scene.http.port();
    scene.ca.change(|behaviour| {
        behaviour.hanging.insert(domain(HANGING));
        behaviour.failing.insert(domain(FAILING));
        behaviour.validation = Validation::Http01 { port };
    });
    let mut config = scene.config(&home, backend("hello").await);
    for number in 0..COUNT {
        let _ = writeln!(
            config,
            "[certificates.site{number:03}]\ndomains = [{:?}]\nissuer = \"double\"",
            domain(number)
        );
    }
    let begun = Instant::now();
    let gateway = home.start(&config).await;
    let all_others = |status: &Status| served(&status.certificates).count() == COUNT - 2;
    gateway.status_until("serves the other 498", all_others).await;
    println!(
        "498 certificates issued and published after {:?}",
        begun.elapsed()
    );
    let client = TlsClient::trusting(&scene.ca.issuing_root());
    let mut serials = BTreeSet::new();
    let mut handshakes = JoinSet::new();
    for number in (0..COUNT).filter(|number| ![HANGING, FAILING].contains(number)) {
        let (client, address) = (client.clone(), scene.tls);
        handshakes.spawn(async move { client.ask(address, &domain(number)).await });
        if handshakes.len() == 16 {
            serials.insert(answered(handshakes.join_next().await));
        }
    }
    while !handshakes.is_empty() {
        serials.insert(answered(handshakes.join_next().await));
    }
    assert_eq!(serials.len(), COUNT - 2, "each name has a certificate of its own");

    let both_failed = |status: &Status| {
        status
            .certificates
            .iter()
            .filter(|c| c.state == "backing-off")
            .count()
            == 2
    };
    let status = gateway
        .status_until("has given the two up for now", both_failed)
        .await;
    let seconds: BTreeSet<_> = served(&status.certificates)
        .filter_map(|certificate| Some(certificate.next_attempt?.unix_seconds()))
        .collect();
    assert_eq!(seconds.len(), COUNT - 2, "no two are renewed in the same second");
    assert_eq!(
        scene.ca.orders().len(),
        COUNT - 1,
        "one order for each name that got an answer"
    );

    assert!(!home.log().contains("events of renewal were missed"));
    let socket = gateway.socket().display().to_string();
    for command in [&["status"][..], &["cert", "list"]] {
        let (code, table, _) = run(&[command, &["--admin", &socket]].concat()).await;
        assert_eq!(code, 0);
        for (number, reason) in [(HANGING, "no answer within 30s"), (FAILING, "fails always")] {
            let row = table.lines().find(|line| line.contains(&domain(number)));
            let row = row.expect("a row for each certificate");
            assert!(row.contains("backing-off") && table.contains(reason), "{table}");
        }
    }
    for failing in status.certificates.iter().filter(|c| c.state == "backing-off") {
        let next = failing.next_attempt.expect("it is tried again");
        let pause = next.since(status.now);
        assert!(
            pause > Duration::ZERO && pause < Duration::from_secs(67),
            "{failing:?}"
        );
    }
}

const COUNT: usize = 500;
/// In the middle, so that there are others before and behind them.
const HANGING: usize = 100;
const FAILING: usize = 300;

fn domain(number: usize) -> String {
    format!("site{number:03}.example.test")
}

fn served(certificates: &[Certificate]) -> impl Iterator<Item = &Certificate> {
    certificates
        .iter()
        .filter(|certificate| certificate.state == "valid" && certificate.published)
}

type Asked = Result<std::io::Result<(String, certgate::certificate::Leaf)>, tokio::task::JoinError>;

/// The serial number that a connection was made with, which the backend answered.
fn answered(asked: Option<Asked>) -> String {
    let asked = asked.expect("one is under way").expect("no panic");
    let (answer, leaf) = asked.expect("a verified handshake");
    assert!(answer.ends_with("hello"), "{answer}");
    leaf.serial
}
