//! An issuer that DNS is against for good, in a list of several.

use std::time::Duration;

use certgate::certificate::DesiredCertificate;
use certgate::config::RateLimits;
use certgate::inventory::{CertificateRecord, CertificateState};

use crate::world::{DAY, World, certificate};

fn wanted(name: &str, issuers: [&str; 2]) -> DesiredCertificate {
    DesiredCertificate {
        issuers: issuers.map(ToOwned::to_owned).into(),
        ..certificate(name)
    }
}

fn is_of(issuer: &str) -> impl Fn(&CertificateRecord) -> bool {
    move |record| {
        let current = record.current.as_ref();
        record.state == CertificateState::Valid && current.is_some_and(|current| current.issuer == issuer)
    }
}

#[tokio::test]
async fn an_issuer_that_dns_is_against_gets_no_order_and_its_turn_again_once_dns_is_right() {
    let world = World::new(90 * DAY);
    let second = world.second_ca("second");
    let orders = || (world.ca.all_orders(), second.all_orders());
    world.dns.lead_elsewhere(&["www at ca"]);
    world.desire([wanted("www", ["ca", "second"])]);
    let running = world.start();
    let record = world.wait_for("www", is_of("second")).await;
    assert_eq!(orders(), (0, 1));
    assert!(record.failures == 0 && record.setbacks.is_empty(), "{record:?}");

    // The next renewal begins with the first one again; in vain, then not.
    world.clock.set(record.current.unwrap().renew_at.unwrap());
    second.wait_for_orders(2).await;
    let record = world.wait_for("www", is_of("second")).await;
    assert_eq!(orders(), (0, 2));
    world.dns.lead_elsewhere(&[]);
    world.clock.set(record.current.unwrap().renew_at.unwrap());
    let record = world.wait_for("www", is_of("ca")).await;
    assert_eq!(orders(), (1, 2));

    world.dns.lead_elsewhere(&["www"]);
    world.clock.set(record.current.unwrap().renew_at.unwrap());
    let is_blocked = |record: &CertificateRecord| matches!(record.state, CertificateState::Blocked { .. });
    world.wait_for("www", is_blocked).await;
    assert_eq!(orders(), (1, 2));
    running.stop().await;
}

#[tokio::test]
async fn an_issuer_whose_records_nobody_places_is_waited_for_ten_minutes_and_then_the_next_one_is_asked() {
    let world = World::new(90 * DAY);
    let second = world.second_ca("second");
    world.dns.lead_elsewhere(&["www waits at ca"]);
    world.desire([wanted("www", ["ca", "second"])]);
    let running = world.start();
    let begun = world.now();
    for look in 1..=6 {
        let is_looked = |record: &CertificateRecord| matches!(record.state, CertificateState::Blocked { checks, .. } if checks == look);
        let record = world.wait_for("www", is_looked).await;
        assert_eq!((world.ca.all_orders(), second.all_orders()), (0, 0));
        world.clock.set(record.state.next_wake().unwrap());
    }
    let record = world.wait_for("www", is_of("second")).await;
    let waited = record.current.unwrap().obtained_at.since(begun);
    assert!((500..900).contains(&waited.as_secs()), "{waited:?}");
    assert_eq!((world.ca.all_orders(), second.all_orders()), (0, 1));

    // The next renewal is one of the first again, once records are placed.
    world.dns.lead_elsewhere(&[]);
    let record = world.record("www").await.unwrap();
    world.clock.set(record.current.unwrap().renew_at.unwrap());
    world.wait_for("www", is_of("ca")).await;
    running.stop().await;
}

#[tokio::test]
async fn certificates_that_pass_each_other_between_two_issuers_hold_nobody_up() {
    let mut world = World::new(90 * DAY);
    world.limits.in_flight = 1;
    let second = world.second_ca("second");
    let names: Vec<_> = (0..8).map(|n| (format!("a{n}"), format!("b{n}"))).collect();
    let against: Vec<_> = names
        .iter()
        .flat_map(|(a, b)| [format!("{a} at ca"), format!("{b} at second")])
        .collect();
    let against: Vec<_> = against.iter().map(String::as_str).collect();
    world.dns.lead_elsewhere(&against);
    world.desire(
        names
            .iter()
            .flat_map(|(a, b)| [wanted(a, ["ca", "second"]), wanted(b, ["second", "ca"])]),
    );
    let running = world.start();
    for (a, b) in &names {
        world.wait_for(a, is_of("second")).await;
        world.wait_for(b, is_of("ca")).await;
    }
    assert_eq!((world.ca.all_orders(), second.all_orders()), (8, 8));
    running.stop().await;
}

#[tokio::test]
async fn what_dns_has_asked_of_the_second_issuer_costs_the_second_and_not_the_first() {
    let world = World::new(90 * DAY);
    let second = world.second_ca("second");
    world.ca.limit(RateLimits::LetsEncrypt);
    second.limit(RateLimits::LetsEncrypt);
    let names: Vec<_> = (10..70).map(|n| format!("n{n}.shop")).collect();
    let against: Vec<_> = names.iter().map(|name| format!("{name} at ca")).collect();
    world
        .dns
        .lead_elsewhere(&against.iter().map(String::as_str).collect::<Vec<_>>());
    world.desire(names.iter().map(|name| wanted(name, ["ca", "second"])));
    let running = world.start();
    // As many as the limit of the registered domain allows.
    second.wait_for_orders(50).await;
    // Of the first one's limit nothing was used.
    let others: Vec<_> = (10..60).map(|n| format!("o{n}.shop")).collect();
    world.desire(others.iter().map(|name| certificate(name)));
    world.ca.wait_for_orders(50).await;
    for name in &others {
        world.wait_until_valid(name).await;
    }
    world.wait_until_looked("probe").await;
    assert_eq!((world.ca.all_orders(), second.all_orders()), (51, 50));
    let mut obtained = 0;
    for name in &names {
        let record = world.record(name).await.expect("it was looked at");
        assert_eq!(record.failures, 0, "{record:?}");
        obtained += usize::from(record.current.is_some_and(|current| current.issuer == "second"));
    }
    assert_eq!(obtained, 50);

    // One more certificate for a registered domain every 12,096 seconds.
    world.clock.advance(Duration::from_secs(12_096));
    second.wait_for_orders(51).await;
    world.wait_until_looked("another").await;
    assert_eq!(second.all_orders(), 51);
    running.stop().await;
}

#[tokio::test]
async fn a_renewal_of_what_the_second_issuer_has_signed_is_one_there_while_dns_is_against_the_first() {
    let world = World::new(90 * DAY);
    let second = world.second_ca("second");
    world.ca.limit(RateLimits::LetsEncrypt);
    world.dns.lead_elsewhere(&["www at ca"]);
    world.desire([wanted("www", ["ca", "second"])]);
    let running = world.start();
    let record = world.wait_for("www", is_of("second")).await;
    assert!(record.passed_over.contains_key("ca"), "{record:?}");
    world.clock.set(record.current.unwrap().renew_at.unwrap());
    second.wait_for_orders(2).await;
    let record = world.wait_for("www", is_of("second")).await;

    // Once DNS is right, the renewal is an order of the first.
    world.dns.lead_elsewhere(&[]);
    world.clock.set(record.current.unwrap().renew_at.unwrap());
    let record = world.wait_for("www", is_of("ca")).await;
    assert!(record.passed_over.is_empty(), "{record:?}");
    running.stop().await;
}
