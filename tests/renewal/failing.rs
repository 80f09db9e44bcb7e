//! What goes wrong, and what it costs.

use std::time::Duration;

use certgate::inventory::CertificateState;
use certgate::issuer::FailureClass;
use certgate::renewal::{Limits, reconsider};
use certgate_store::{Batch, Expect, Store};

use crate::world::{DAY, HOUR, MINUTE, Script, World, certificate};

/// A CA that is down from the renewal point on; returns when each attempt of the following day was made.
async fn a_day_without_a_ca(restart: bool) -> Vec<Duration> {
    let world = World::new(90 * DAY);
    world.desire([certificate("www")]);
    let mut running = world.start();
    let first = world.wait_until_valid("www").await;
    world.ca.script("www", Script::Fail(FailureClass::Later));
    let start = first.current.as_ref().unwrap().renew_at.unwrap();
    world.clock.set(start);
    for failures in 1.. {
        let record = world.wait_for("www", |record| record.failures == failures).await;
        assert_eq!(record.current, first.current);
        if restart {
            running.stop().await;
            running = world.start();
        }
        let next = record.state.next_wake().unwrap();
        if next > start + DAY {
            break;
        }
        // Not a second before its time.
        world.clock.set(next - Duration::from_secs(1));
        world.wait_until_looked(&format!("probe-{failures}")).await;
        assert_eq!(world.ca.orders("www").len(), 1 + failures as usize);
        world.clock.set(next);
    }
    running.stop().await;
    world.ca.orders("www")[1..]
        .iter()
        .map(|at| at.since(start))
        .collect()
}

#[tokio::test]
async fn a_ca_that_is_down_for_a_day_is_asked_as_the_ladder_says_also_over_restarts() {
    for restart in [false, true] {
        let attempts = a_day_without_a_ca(restart).await;
        assert_eq!(attempts.len(), 4, "{attempts:?}");
        for (attempt, minutes) in attempts.iter().zip([0, 1, 11, 111]) {
            let expected = MINUTE * minutes;
            assert!(attempt.abs_diff(expected) <= expected / 10, "{attempts:?}");
        }
    }
}

#[tokio::test]
async fn twenty_restarts_place_no_order() {
    let world = World::new(90 * DAY);
    let names = ["valid", "failing", "stopped", "held"];
    world.desire(names.map(certificate));
    world.ca.script("failing", Script::Fail(FailureClass::Later));
    world.ca.script("stopped", Script::Fail(FailureClass::Stop));
    world
        .ca
        .script("held", Script::Fail(FailureClass::At(world.now() + 6 * HOUR)));
    let running = world.start();
    world.wait_until_valid("valid").await;
    for name in &names[1..] {
        world.wait_for(name, |record| record.failures == 1).await;
    }
    running.stop().await;
    for restart in 0..20 {
        let running = world.start();
        world.wait_until_looked(&format!("probe-{restart}")).await;
        running.stop().await;
    }
    for name in names {
        assert_eq!(world.ca.orders(name).len(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_request_ends_our_pause_but_not_the_servers() {
    let world = World::new(90 * DAY);
    world.desire(["ours", "theirs"].map(certificate));
    world.ca.script("ours", Script::Fail(FailureClass::Stop));
    world
        .ca
        .script("theirs", Script::Fail(FailureClass::At(world.now() + 6 * HOUR)));
    let running = world.start();
    for name in ["ours", "theirs"] {
        world.wait_for(name, |record| record.failures == 1).await;
        world.ca.script(name, Script::Sign);
        world.request(name).await;
    }
    world.wait_until_valid("ours").await;
    world.wait_until_looked("probe").await;
    assert_eq!(world.ca.orders("theirs").len(), 1);
    world.clock.advance(6 * HOUR + MINUTE);
    world.wait_until_valid("theirs").await;
    running.stop().await;
}

#[tokio::test]
async fn a_changed_issuer_is_asked_at_once_for_what_failed_at_it() {
    let world = World::new(90 * DAY);
    let names = ["failing", "stopped", "held"];
    world.desire(names.map(certificate));
    world.ca.script("failing", Script::Fail(FailureClass::Later));
    world.ca.script("stopped", Script::Fail(FailureClass::Stop));
    world
        .ca
        .script("held", Script::Fail(FailureClass::At(world.now() + 6 * HOUR)));
    let running = world.start();
    for name in names {
        world.wait_for(name, |record| record.failures == 1).await;
        world.ca.script(name, Script::Sign);
    }
    let desired = world.desired.borrow().clone();
    reconsider(&world.inventory, &desired, &["other".into()].into())
        .await
        .unwrap();
    world.wait_until_looked("probe").await;
    assert_eq!(world.ca.all_orders(), 4);
    reconsider(&world.inventory, &desired, &["ca".into()].into())
        .await
        .unwrap();
    for name in &names[..2] {
        world.wait_until_valid(name).await;
    }
    assert_eq!(world.ca.orders("held").len(), 1);
    running.stop().await;
}

#[tokio::test]
async fn of_500_certificates_one_that_hangs_and_one_that_fails_delay_no_other() {
    let world = World::new(90 * DAY);
    world.ca.script("c0", Script::Hang);
    world.ca.script("c1", Script::Fail(FailureClass::Later));
    world.desire((0..500).map(|n| certificate(&format!("c{n}"))));
    let running = world.start();
    for n in 2..500 {
        world.wait_until_valid(&format!("c{n}")).await;
    }
    world.wait_for("c1", |record| record.failures == 1).await;
    assert!(matches!(
        world.record("c0").await.unwrap().state,
        CertificateState::Obtaining { .. }
    ));
    assert_eq!(world.ca.all_orders(), 500);
    running.stop().await;
}

#[tokio::test]
async fn names_that_hang_again_and_again_leave_room_for_the_others() {
    let mut world = World::new(90 * DAY);
    world.limits = Limits {
        attempt_deadline: Duration::from_secs(1),
        ..Limits::default()
    };
    let hanging: Vec<_> = (0..64).map(|n| format!("a{n}")).collect();
    for name in &hanging {
        world.ca.script(name, Script::Hang);
    }
    world.desire(hanging.iter().map(|name| certificate(name)));
    let running = world.start();
    for name in &hanging {
        world.wait_for(name, |record| record.failures == 1).await;
    }
    // All of them are due again, and would take every place.
    world.clock.advance(2 * MINUTE);
    world.ca.wait_for_orders(64 + 4).await;
    world.desire((0..32).map(|n| certificate(&format!("b{n}"))));
    for n in 0..32 {
        world.wait_until_valid(&format!("b{n}")).await;
    }
    let again = hanging
        .iter()
        .filter(|name| world.ca.orders(name).len() > 1)
        .count();
    assert!(
        again < 32,
        "{again} names had their second attempt before the others had their first"
    );
    running.stop().await;
}

#[tokio::test]
async fn a_panic_inside_an_issuer_is_a_failure_like_another() {
    let world = World::new(90 * DAY);
    world.ca.script("www", Script::Panic);
    world.desire(["www", "shop"].map(certificate));
    let running = world.start();
    let record = world.wait_for("www", |record| record.failures == 1).await;
    assert!(matches!(record.state, CertificateState::BackingOff { .. }));
    world.wait_until_valid("shop").await;
    world.ca.script("www", Script::Sign);
    world.clock.set(record.state.next_wake().unwrap());
    world.wait_until_valid("www").await;
    running.stop().await;
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_costs_no_order_and_is_obtained_by_itself_once_it_leads_here() {
    let world = World::new(90 * DAY);
    world.dns.lead_elsewhere(&["www"]);
    world.desire([certificate("www")]);
    let running = world.start();
    let record = world
        .wait_for("www", |record| record.state.problem().is_some())
        .await;
    let CertificateState::Blocked {
        reason,
        remedy,
        next_check,
        ..
    } = record.state
    else {
        panic!("{:?}", record.state);
    };
    assert_eq!((reason.as_str(), remedy.len()), ("it leads elsewhere", 1));
    world.clock.set(next_check);
    let blocked = |record: &certgate::inventory::CertificateRecord| {
        matches!(record.state, CertificateState::Blocked { checks: 2, .. })
    };
    let record = world.wait_for("www", blocked).await;
    assert_eq!(world.ca.all_orders(), 0);

    world.dns.lead_elsewhere(&[]);
    world.clock.set(record.state.next_wake().unwrap());
    world.wait_until_valid("www").await;
    running.stop().await;
}

#[tokio::test]
async fn a_store_that_fails_for_a_while_loses_neither_the_loop_nor_orders() {
    let world = World::new(90 * DAY);
    world.store.fail_reads(true);
    world.desire([certificate("www")]);
    let mut running = world.start();
    running
        .health
        .wait_for(|health| health.store.is_some())
        .await
        .unwrap();
    world.store.fail_reads(false);
    world.wait_until_valid("www").await;
    assert_eq!(running.health.borrow().store, None);

    // Nothing is ordered that could not be recorded.
    world.store.fail_writes(true);
    world.desire([certificate("shop")]);
    world.clock.advance(DAY);
    world.store.fail_writes(false);
    world.wait_until_looked("probe").await;
    assert!(world.ca.orders("shop").len() <= 1);
    world.clock.advance(2 * MINUTE);
    world.wait_until_valid("shop").await;
    running.stop().await;
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_reported_and_costs_no_order() {
    let world = World::new(90 * DAY);
    let damaged = Batch::new().put("certificates/www", "{\"format\":", Expect::Any);
    world.store.commit(damaged).await.unwrap();
    world.desire(["www", "shop"].map(certificate));
    let running = world.start();
    world.wait_until_valid("shop").await;
    let unreadable = running.health.borrow().unreadable.clone();
    assert_eq!(unreadable.len(), 1);
    assert!(
        unreadable
            .values()
            .all(|reason| reason.contains("certificates/www"))
    );
    assert!(world.ca.orders("www").is_empty());

    world
        .store
        .commit(Batch::new().delete("certificates/www", Expect::Any))
        .await
        .unwrap();
    world.wait_until_valid("www").await;
    assert!(running.health.borrow().unreadable.is_empty());
    running.stop().await;
}

#[tokio::test]
async fn a_clock_from_before_certgate_orders_nothing_until_it_is_set() {
    let world = World::new(90 * DAY);
    let right = world.now();
    world.clock.set(certgate::clock::Timestamp::default());
    world.desire([certificate("www")]);
    let mut running = world.start();
    running
        .health
        .wait_for(|health| health.clock.is_some())
        .await
        .unwrap();
    assert_eq!(world.ca.all_orders(), 0);
    world.clock.set(right);
    world.wait_until_valid("www").await;
    assert_eq!(running.health.borrow().clock, None);
    running.stop().await;
}

#[tokio::test]
async fn an_order_in_spite_of_dns_is_made_once_and_not_again() {
    let world = World::new(90 * DAY);
    world.dns.lead_elsewhere(&["www"]);
    world.ca.script("www", Script::Fail(FailureClass::Later));
    world.desire([certificate("www")]);
    let running = world.start();
    let blocked = |record: &certgate::inventory::CertificateRecord| {
        matches!(record.state, CertificateState::Blocked { .. })
    };
    world.wait_for("www", blocked).await;
    assert!(world.ca.orders("www").is_empty());
    let name = certificate("www").name;
    assert!(world.inventory.request_renewal_despite_dns(&name).await.unwrap());
    let record = world.wait_for("www", |record| record.failures == 1).await;
    assert!(!record.despite_dns, "it holds for one attempt");
    world.clock.advance(6 * HOUR);
    world.wait_for("www", blocked).await;
    assert_eq!(world.ca.orders("www").len(), 1);
    running.stop().await;
}
