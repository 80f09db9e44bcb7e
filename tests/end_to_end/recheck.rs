//! Open connections judged once more: whoever is no longer admitted is told so and closed, everybody else goes on.

use std::time::{Duration, Instant};

use certgate::admin::api::Recheck;
use certgate::clock::{Clock, SystemClock};
use rcgen::DnType;
use rustls::version::{TLS12, TLS13};
use serde_json::json;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::client_authority::ClientAuthority;
use crate::gateway::PATIENCE;
use crate::peer::TlsClient;
use crate::runtime::{Stage, mutual, web};

type Open = TlsStream<TcpStream>;

#[tokio::test]
async fn a_recheck_closes_whom_a_changed_allow_list_admits_no_more_and_nobody_else() {
    let stage = Stage::new("").await;
    stage.patch(mutual()).await.expect("changed");
    let mut open = opened(&stage, &stage.partner, 3).await;

    stage.patch(allowing("somebody else")).await.expect("changed");
    let dry = stage.done(&["listener", "recheck", "web", "--dry-run"]).await;
    assert!(dry.contains("3 open connections, 3 of them"), "{dry}");
    assert!(
        dry.contains("not-allowed") && dry.contains("CN=a partner"),
        "{dry}"
    );
    let last = open.pop().expect("three");
    is_served(last).await;

    // What is taken back before closes nobody.
    stage.patch(allowing("a partner")).await.expect("changed");
    let report = report(&stage, false, 100).await;
    assert_eq!((report.no_longer_admitted, report.closing), (0, false));
    let last = open.pop().expect("two");
    is_served(last).await;

    stage.patch(allowing("somebody else")).await.expect("changed");
    let said = recheck(&stage).await;
    assert!(
        said.contains("1 of them") && said.contains("are being closed"),
        "{said}"
    );
    is_dismissed(open.pop().expect("one")).await;
    is_logged(&stage, "no_longer_admitted").await;
}

#[tokio::test]
async fn connections_without_a_certificate_leave_at_the_pace_that_was_asked_for() {
    let stage = Stage::new("").await;
    let open = opened(&stage, &stage.stranger, 6).await;
    stage.patch(mutual()).await.expect("changed");
    let begun = Instant::now();
    let report = report(&stage, false, 5).await;
    assert_eq!((report.connections, report.no_longer_admitted), (6, 6));
    assert_eq!(report.reasons[0].reason, "no-certificate");

    let another = stage
        .gateway
        .client()
        .recheck("web", false, 100)
        .await
        .expect_err("one at a time");
    assert!(
        another.to_string().contains("is closing connections already"),
        "{another}"
    );
    for open in open {
        is_dismissed(open).await;
    }
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_change_that_is_taken_back_spares_those_that_are_still_open() {
    let stage = Stage::new("").await;
    let mut open = opened(&stage, &stage.stranger, 3).await;
    stage.patch(mutual()).await.expect("changed");
    let report = report(&stage, false, 1).await;
    assert!(report.closing);
    stage
        .patch(json!({ "authentication": "one-way" }))
        .await
        .expect("changed");
    // The second would have been closed a second later, the third after two.
    let closed = "connections that are no longer admitted were closed";
    is_logged(&stage, closed).await;
    let mut served = 0;
    for open in open.drain(..) {
        served += usize::from(asked(open).await.is_ok());
    }
    assert!(served >= 2, "{served}");
}

#[tokio::test]
async fn a_certificate_that_expires_while_it_is_in_use_is_found() {
    let stage = Stage::new("").await;
    let ca = ClientAuthority::new("briefly");
    let file = stage.home.write("brief.pem", &ca.pem());
    stage
        .done(&["ca-bundle", "add", "brief", &file.display().to_string()])
        .await;
    let to_it = json!({ "authentication": "mutual", "client_ca": "brief" });
    stage.patch(to_it).await.expect("changed");

    let soon = SystemClock.now().unix_seconds() + 4;
    let shown = ca.sign(|params| {
        params.distinguished_name.push(DnType::CommonName, "a guest");
        params.not_after = OffsetDateTime::from_unix_timestamp(soon).expect("a moment");
    });
    let root = stage
        .gateway
        .client()
        .local_ca_root("internal")
        .await
        .expect("a root");
    let guest = TlsClient::presenting(&root, Some(shown));
    let mut open = opened(&stage, &guest, 1).await;

    let begun = Instant::now();
    loop {
        let report = report(&stage, true, 100).await;
        match report.reasons.first() {
            Some(reason) if reason.reason == "expired" => break,
            _ => assert!(begun.elapsed() < PATIENCE, "{report:?}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    recheck(&stage).await;
    is_dismissed(open.remove(0)).await;
}

#[tokio::test]
async fn connections_of_a_listener_that_was_disabled_or_deleted_are_judged_by_its_last_rules_and_the_bundle_as_it_is()
 {
    for deleted in [false, true] {
        let stage = Stage::new(&another_listener()).await;
        stage.patch(mutual()).await.expect("changed");
        let mut open = opened(&stage, &stage.partner, 2).await;
        match deleted {
            true => stage
                .gateway
                .client()
                .delete_resource(&web())
                .await
                .expect("deleted"),
            false => drop(stage.done(&["listener", "disable", "web"]).await),
        }
        let dry = stage.done(&["listener", "recheck", "web", "--dry-run"]).await;
        assert!(dry.contains("2 open connections, 0 of them"), "{dry}");
        is_served(open.pop().expect("two")).await;

        let successor = ClientAuthority::new("successors");
        stage.home.write("partners.pem", &successor.pem());
        let begun = Instant::now();
        while !stage
            .done(&["listener", "recheck", "web", "--dry-run"])
            .await
            .contains("1 of them")
        {
            assert!(begun.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        recheck(&stage).await;
        is_dismissed(open.pop().expect("one")).await;
        let begun = Instant::now();
        while stage
            .command(&["listener", "recheck", "web", "--dry-run"])
            .await
            .0
            == 0
        {
            assert!(begun.elapsed() < PATIENCE, "with its last connection it is gone");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn connections_of_a_listener_that_was_renamed_are_judged_by_what_stands_in_its_place() {
    let stage = Stage::new("").await;
    stage.patch(mutual()).await.expect("changed");
    let mut open = opened(&stage, &stage.partner, 1).await;
    let keys = "authentication = \"mutual\"\nclient_ca = \"partners\"\n";
    let listed = format!("[listeners.shop]\n{keys}allow_clients.common_name = [\"somebody else\"]\n");
    stage
        .home
        .configure(&stage.config.replace("[listeners.web]\n", &listed));
    assert_eq!(crate::reload::reloaded(&stage.gateway).await, None);
    let dry = stage.done(&["listener", "recheck", "web", "--dry-run"]).await;
    assert!(dry.contains("1 of them") && dry.contains("not-allowed"), "{dry}");
    recheck(&stage).await;
    is_dismissed(open.remove(0)).await;
}

#[tokio::test]
async fn a_listener_that_cannot_be_rechecked_is_named() {
    let stage = Stage::new("").await;
    let (code, _, errors) = stage.command(&["listener", "recheck", "nowhere"]).await;
    assert_eq!(code, 1);
    assert!(errors.contains("no enabled listener `nowhere`"), "{errors}");
    let (code, ..) = stage
        .command(&["listener", "recheck", "web", "--per-second", "0"])
        .await;
    assert_eq!(code, 2);
}

/// So that there is a listener left.
fn another_listener() -> String {
    let address = crate::gateway::free_address();
    format!(
        "[listeners.other]\naddress = \"{}\"\nport = {}\ncertificates = [\"localhost\"]\nserver_group = \"app\"\n",
        address.ip(),
        address.port()
    )
}

fn allowing(common_name: &str) -> serde_json::Value {
    json!({ "allow_clients": { "common_name": [common_name] } })
}

#[tokio::test]
async fn a_certificate_without_its_key_opens_nothing_and_keeps_nothing_open() {
    for version in [&TLS12, &TLS13] {
        let stage = Stage::new("").await;
        let thief = stage.thief(version);
        let observe = json!({ "authentication": "observe", "client_ca": "partners" });
        stage.patch(observe).await.expect("changed");
        let mut open = opened(&stage, &thief, 1).await;
        stage.patch(mutual()).await.expect("changed");
        let report = report(&stage, true, 100).await;
        assert_eq!((report.connections, report.no_longer_admitted), (1, 1));
        recheck(&stage).await;
        is_dismissed(open.pop().expect("one")).await;
        is_logged(&stage, "client_certificate=\"bad-signature\"").await;

        let refused = thief.ask(stage.listen, "localhost").await.expect_err("refused");
        assert!(refused.to_string().contains("DecryptError"), "{refused}");
        let (answer, _) = stage
            .partner
            .ask(stage.listen, "localhost")
            .await
            .expect("served");
        assert!(answer.ends_with("served"), "{answer}");
    }
}

async fn opened(stage: &Stage, client: &TlsClient, count: usize) -> Vec<Open> {
    let mut open = Vec::new();
    for _ in 0..count {
        open.push(
            client
                .connect(stage.listen, "localhost")
                .await
                .expect("connected"),
        );
    }
    // A client is done with its handshake before the gateway is.
    let begun = Instant::now();
    loop {
        let report = report(stage, true, 100).await;
        if report.connections == count {
            return open;
        }
        assert!(begun.elapsed() < PATIENCE, "{report:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn report(stage: &Stage, dry_run: bool, per_second: u16) -> Recheck {
    let client = stage.gateway.client();
    client
        .recheck("web", dry_run, per_second)
        .await
        .expect("a report")
}

async fn is_logged(stage: &Stage, line: &str) {
    let begun = Instant::now();
    while !stage.home.log().contains(line) {
        assert!(begun.elapsed() < PATIENCE, "{}", stage.home.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn recheck(stage: &Stage) -> String {
    stage.done(&["listener", "recheck", "web"]).await
}

async fn asked(mut open: Open) -> std::io::Result<String> {
    open.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    open.read_to_string(&mut answer).await?;
    Ok(answer)
}

async fn is_served(open: Open) {
    let answer = asked(open).await.expect("it is still open");
    assert!(answer.contains("served"), "{answer}");
}

async fn is_dismissed(mut open: Open) {
    let read = tokio::time::timeout(PATIENCE, open.read(&mut [0; 16])).await;
    let error = read.expect("it ends").expect_err("not a clean end");
    assert!(error.to_string().contains("AccessDenied"), "{error}");
}
