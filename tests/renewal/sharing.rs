//! More than one gateway, one after the other and at a time.

use std::time::Duration;

use certgate::inventory::CertificateState;
use certgate_store::Store;

use crate::world::{DAY, Script, World, certificate};

#[tokio::test]
async fn two_gateways_over_one_store_obtain_each_certificate_once() {
    let world = World::new(90 * DAY);
    world.desire((0..50).map(|n| certificate(&format!("c{n}"))));
    let (one, two) = (world.start(), world.start());
    for n in 0..50 {
        world.wait_until_valid(&format!("c{n}")).await;
    }
    assert_eq!(world.ca.all_orders(), 50);
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn a_gateway_that_lost_its_lease_in_the_middle_installs_nothing() {
    let world = World::new(90 * DAY);
    world.ca.script("www", Script::LoseLease);
    world.desire([certificate("www")]);
    let running = world.start();
    let before = world
        .wait_for("www", |record| {
            matches!(record.state, CertificateState::Obtaining { .. })
        })
        .await;
    world.wait_until_looked("probe").await;
    let keys = world.store.list("credentials/www").await.unwrap().entries;
    assert!(keys.is_empty());
    assert_eq!(world.record("www").await, Some(before));
    running.stop().await;
}

#[tokio::test]
async fn a_stop_ends_what_hangs_and_the_next_start_takes_it_up_at_once() {
    let world = World::new(90 * DAY);
    world.ca.script("www", Script::Hang);
    world.desire([certificate("www")]);
    let running = world.start();
    world
        .wait_for("www", |record| {
            matches!(record.state, CertificateState::Obtaining { .. })
        })
        .await;
    tokio::time::timeout(Duration::from_secs(20), running.stop())
        .await
        .unwrap();

    world.ca.script("www", Script::Sign);
    let running = world.start();
    world.wait_until_valid("www").await;
    running.stop().await;
}

#[tokio::test]
async fn what_is_wanted_no_more_by_its_turn_is_not_ordered() {
    let mut world = World::new(90 * DAY);
    world.limits.in_flight = 1;
    world.limits.attempt_deadline = Duration::from_secs(10);
    world.second_ca("second");
    world.ca.script("a", Script::Hang);
    world.desire([certificate("a")]);
    let running = world.start();
    world.ca.wait_for_orders(1).await;

    // `b` and `c` wait for the place that `a` has; another issuer has others.
    let mut elsewhere = certificate("elsewhere");
    elsewhere.issuers = vec!["second".to_owned()];
    world.desire([certificate("b"), certificate("c"), elsewhere]);
    world.wait_until_valid("elsewhere").await;
    world.desired.send_replace(["a", "c"].map(certificate).into());
    world.wait_until_valid("c").await;
    world.wait_until_looked("probe").await;
    assert_eq!(world.ca.orders("b"), []);
    assert_eq!(world.record("b").await, None);
    running.stop().await;
}
