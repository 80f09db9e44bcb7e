//! The whole table of failures, each met by the loop with a real ACME client at a CA that misbehaves: how often the
//! CA is asked, when the next attempt is, what the operator is told, and that it mends by itself.

use std::time::Duration;

use certgate::clock::Timestamp;
use certgate::inventory::{CertificateRecord, CertificateState};
use certgate::renewal::{Jitter, back_off};

use crate::scene::Scene;
use crate::support::acme_double::{Authorizations, Endpoint};
use crate::support::failures::{Failure, Next, TABLE};
use crate::world::{DAY, HOUR, SEED};

/// The moments between which the next attempt is; but for one row they are the same.
fn expected(next: Next, record: &CertificateRecord, now: Timestamp) -> (Timestamp, Timestamp) {
    let fraction = Jitter::new(SEED).fraction(&record.name, now, 1);
    let exactly = |at| (at, at);
    match next {
        Next::Ladder => exactly(now + back_off::after_failure(1, None, fraction)),
        Next::AsSaid(wait) => exactly(back_off::not_before(now + wait, now, fraction)),
        Next::AsSaidToTheLibrary(wait) => {
            let latest = back_off::not_before(now + wait, now, fraction);
            (latest - Duration::from_secs(60), latest)
        }
        Next::Stopped => exactly(now + back_off::after_stop(fraction)),
        Next::Clock => exactly(now + back_off::AFTER_WRONG_CLOCK),
    }
}

/// What is not as the row says.
async fn wrongs(row: &Failure) -> Vec<String> {
    let scene = match row.lasts() {
        true => Scene::hasty().await,
        false => Scene::new().await,
    };
    let now = scene.world.now();
    (row.arrange)(&scene.ca, now);
    let (running, record) = scene.first_attempt().await;
    let mut wrongs: Vec<_> = row.wrong_requests(&scene.ca).into_iter().collect();
    wrongs.extend(row.wrong_reason(record.state.problem().unwrap()));

    let wake = record.state.next_wake().unwrap();
    let (earliest, latest) = expected(row.next, &record, now);
    if wake < earliest || wake > latest {
        wrongs.push(format!("{}: next at {wake}, not {earliest}-{latest}", row.name));
    }
    let state = match record.state {
        CertificateState::BackingOff { .. } => "backing-off",
        CertificateState::Blocked { .. } => "blocked",
        CertificateState::Stopped { .. } => "stopped",
        _ => "something else",
    };
    if state != row.next.state() {
        wrongs.push(format!("{}: {:?}", row.name, record.state));
    }

    scene.ca.heal();
    scene.ca.change(|ca| *ca = Default::default());
    scene.world.clock.set(wake);
    scene.world.wait_until_valid("www").await;
    if scene.ca.count(Endpoint::NewOrder) != row.orders_in_all {
        let orders = scene.ca.count(Endpoint::NewOrder);
        wrongs.push(format!("{}: {orders} orders in all", row.name));
    }
    running.stop().await;
    wrongs
}

#[tokio::test]
async fn every_failure_costs_what_the_table_says_and_mends_by_itself() {
    let mut all = Vec::new();
    for row in &TABLE {
        all.extend(wrongs(row).await);
    }
    assert!(all.is_empty(), "{all:#?}");
}

#[tokio::test]
async fn authorizations_that_are_valid_already_or_not_there_at_all_need_no_challenge() {
    for authorizations in [Authorizations::Valid, Authorizations::Empty] {
        let scene = Scene::new().await;
        scene.ca.change(|ca| ca.authorizations = authorizations);
        let (running, record) = scene.first_attempt().await;
        assert_eq!(record.state, CertificateState::Valid);
        assert_eq!(scene.ca.count(Endpoint::Challenge), 0);
        running.stop().await;
    }
}

#[tokio::test]
async fn an_order_in_processing_for_an_hour_is_never_placed_again() {
    let scene = Scene::hasty().await;
    scene.ca.change(|ca| ca.processing = true);
    let (running, mut record) = scene.first_attempt().await;
    let begun = scene.world.now();
    while scene.world.now().since(begun) < HOUR {
        scene.world.clock.set(record.state.next_wake().unwrap());
        let failures = record.failures + 1;
        record = scene
            .world
            .wait_for("www", |record| record.failures == failures)
            .await;
    }
    scene.ca.change(|ca| ca.processing = false);
    scene.world.clock.set(record.state.next_wake().unwrap());
    scene.world.wait_until_valid("www").await;
    assert_eq!(scene.ca.count(Endpoint::NewOrder), 1);
    running.stop().await;
}

#[tokio::test]
async fn a_clock_that_is_not_the_cas_raises_an_alarm_until_it_is() {
    for ahead in [7200, -7200] {
        let scene = Scene::new().await;
        scene.ca.change(|ca| ca.ahead = ahead);
        let (mut running, record) = scene.first_attempt().await;
        let alarmed = running.health.wait_for(|health| health.clock.is_some());
        let alarm = alarmed.await.unwrap().clock.as_ref().unwrap().to_string();
        assert!(alarm.contains("CA of issuer `ca`"), "{alarm}");
        assert_eq!(record.failures, 0);
        assert_eq!(scene.ca.count(Endpoint::NewOrder), 0);
        scene.ca.change(|ca| ca.ahead = 0);
        scene.world.clock.set(record.state.next_wake().unwrap());
        scene.world.wait_until_valid("www").await;
        running
            .health
            .wait_for(|health| health.clock.is_none())
            .await
            .unwrap();
        running.stop().await;
    }
}

#[tokio::test]
async fn a_clock_that_jumps_between_two_orders_is_noticed_before_the_second() {
    let scene = Scene::new().await;
    let (running, record) = scene.first_attempt().await;
    let orders = scene.ca.count(Endpoint::NewOrder);
    scene.ca.change(|ca| ca.ahead = -86_400);
    scene.world.clock.set(record.current.unwrap().renew_at.unwrap());
    let blocked = |record: &CertificateRecord| matches!(record.state, CertificateState::Blocked { .. });
    scene.world.wait_for("www", blocked).await;
    assert_eq!(scene.ca.count(Endpoint::NewOrder), orders);
    running.stop().await;
}

#[tokio::test]
async fn a_name_that_has_failed_for_days_and_leads_elsewhere_stops_and_starts_by_itself() {
    let scene = Scene::new().await;
    scene.ca.change(|ca| {
        ca.failing.insert("www.example".to_owned());
    });
    let (running, mut record) = scene.first_attempt().await;
    let begun = scene.world.now();
    while scene.world.now().since(begun) < 4 * DAY {
        scene.world.clock.set(record.state.next_wake().unwrap());
        let failures = record.failures + 1;
        record = scene
            .world
            .wait_for("www", |record| record.failures == failures)
            .await;
    }
    let orders = scene.ca.count(Endpoint::NewOrder);
    scene.world.dns.lead_elsewhere(&["www"]);
    for checks in 1..=30 {
        scene.world.clock.set(record.state.next_wake().unwrap());
        let blocked = |record: &CertificateRecord| matches!(record.state, CertificateState::Blocked { checks: found, .. } if found == checks);
        record = scene.world.wait_for("www", blocked).await;
    }
    let said = record.state.problem().unwrap();
    assert!(
        said.contains("failed since 2026-11-21T00:00:00Z") && said.contains("it leads elsewhere"),
        "{said}"
    );
    assert_eq!(scene.ca.count(Endpoint::NewOrder), orders);

    scene.ca.change(|ca| ca.failing.clear());
    scene.world.dns.lead_elsewhere(&[]);
    scene.world.clock.set(record.state.next_wake().unwrap());
    let record = scene.world.wait_until_valid("www").await;
    assert_eq!(record.failing_since, None);
    running.stop().await;
}
