//! What is due waits for its turn: for the CA's limits, or for the pace of a large fleet.

use std::time::Duration;

use certgate::config::RateLimits;

use crate::world::{DAY, HOUR, MINUTE, World, certificate};

#[tokio::test]
async fn names_beyond_a_limit_of_the_ca_wait_without_an_attempt() {
    let world = World::new(90 * DAY);
    world.ca.limit(RateLimits::LetsEncrypt);
    world.desire((0..52).map(|n| certificate(&format!("n{n}.shop"))));
    let running = world.start();
    world.ca.wait_for_orders(50).await;
    world.wait_until_looked("probe").await;
    let mut waiting = Vec::new();
    for n in 0..52 {
        let name = format!("n{n}.shop");
        if world.record(&name).await.is_none() {
            waiting.push(name);
        }
    }
    // By name, so the last ones.
    assert_eq!(waiting, ["n8.shop", "n9.shop"]);

    // One more certificate for a registered domain every 12,096 seconds.
    world.clock.advance(Duration::from_secs(12_096));
    let record = world.wait_until_valid("n8.shop").await;
    assert_eq!(record.failures, 0);
    world.wait_until_looked("another").await;
    assert_eq!(world.record("n9.shop").await, None);
    assert_eq!(world.ca.all_orders(), 53);
    running.stop().await;
}

#[tokio::test]
async fn many_renewals_that_are_due_together_follow_each_other_until_one_cannot_wait() {
    let world = World::new(90 * DAY);
    world.desire((0..200).map(|n| certificate(&format!("c{n}"))));
    let running = world.start();
    let obtained_at = world.now();
    for n in 0..200 {
        world.wait_until_valid(&format!("c{n}")).await;
    }

    // As after an outage of days: all are past their renewal point, and more than a third is left of each.
    world.clock.advance(DAY * 58);
    world.ca.wait_for_orders(230).await;
    world.wait_until_looked("probe").await;
    assert_eq!(world.ca.all_orders(), 231);
    world.clock.advance(MINUTE * 5);
    world.ca.wait_for_orders(241).await;
    world.wait_until_looked("another").await;
    assert!((242..=243).contains(&world.ca.all_orders()));

    world.clock.set(obtained_at + DAY * 60 - HOUR / 2);
    world.ca.wait_for_orders(402).await;
    running.stop().await;
}
