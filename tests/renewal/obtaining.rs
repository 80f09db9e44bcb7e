//! What goes right.

use certgate::certificate::KeyType;
use certgate::inventory::CertificateState;

use crate::world::{DAY, HOUR, MINUTE, Script, World, certificate};

#[tokio::test]
async fn certificates_of_any_lifetime_are_renewed_with_a_new_key_and_never_late() {
    for lifetime in [90 * DAY, 45 * DAY, 160 * HOUR, HOUR, 10 * MINUTE] {
        let world = World::new(lifetime);
        world.desire([certificate("www")]);
        let running = world.start();
        let mut record = world.wait_until_valid("www").await;
        let mut keys = Vec::new();
        for _ in 0..10 {
            let current = record.current.unwrap();
            let renew_at = current.renew_at.unwrap();
            assert!(current.leaf.not_after.since(renew_at) >= lifetime / 4);
            let pem = world.inventory.credential(&record.name).await.unwrap().unwrap();
            keys.push(pem.key().secret_der().to_vec());
            world.clock.set(renew_at);
            let before = current.obtained_at;
            record = world
                .wait_for("www", |record| {
                    record
                        .current
                        .as_ref()
                        .is_some_and(|current| current.obtained_at > before)
                })
                .await;
        }
        assert_eq!(world.ca.orders("www").len(), 11, "lifetime {lifetime:?}");
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 10);
        running.stop().await;
    }
}

#[tokio::test]
async fn what_is_there_goes_on_being_served_while_another_is_obtained() {
    let world = World::new(90 * DAY);
    world.desire([certificate("www")]);
    let running = world.start();
    let first = world.wait_until_valid("www").await;

    world.ca.script("www", Script::Hang);
    let mut changed = certificate("www");
    changed.key_type = KeyType::EcdsaP384;
    world.desired.send_replace([changed.clone()].into());
    let obtaining = world
        .wait_for("www", |record| {
            matches!(record.state, CertificateState::Obtaining { .. })
        })
        .await;
    assert_eq!(obtaining.current, first.current);
    running.stop().await;

    world.ca.script("www", Script::Sign);
    let running = world.start();
    let second = world.wait_until_valid("www").await;
    assert_eq!(second.digest, changed.digest());
    assert_eq!(second.current.unwrap().leaf.key, "ECDSA P-384");
    running.stop().await;
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_never_installed() {
    for (script, reason) in [
        (Script::SignFor("other.example"), "not valid for `www.example`"),
        (Script::SignRsa, "RSA 2048; ecdsa-p256 was asked for"),
        (Script::SignExpired, "expired"),
        (Script::SignTheSameAgain, "there already"),
    ] {
        let world = World::new(90 * DAY);
        world.desire([certificate("www")]);
        let running = world.start();
        let first = world.wait_until_valid("www").await;
        let stored = world.inventory.credential(&first.name).await.unwrap().unwrap();

        world.ca.script("www", script.clone());
        world.clock.set(first.current.as_ref().unwrap().renew_at.unwrap());
        let failed = world.wait_for("www", |record| record.failures == 1).await;
        let problem = failed.state.problem().unwrap();
        assert!(problem.contains(reason), "{script:?}: {problem}");
        assert_eq!(failed.current, first.current);
        let kept = world.inventory.credential(&first.name).await.unwrap().unwrap();
        assert_eq!(kept.chain(), stored.chain());

        world.ca.script("www", Script::Sign);
        world.clock.set(failed.state.next_wake().unwrap());
        assert_ne!(world.wait_until_valid("www").await.current, first.current);
        running.stop().await;
    }
}

#[tokio::test]
async fn an_operators_request_is_met_at_once_and_once() {
    let world = World::new(90 * DAY);
    world.desire([certificate("www")]);
    let running = world.start();
    let first = world.wait_until_valid("www").await;
    world.clock.advance(MINUTE);
    world.request("www").await;
    let second = world
        .wait_for("www", |record| record.current != first.current)
        .await;
    assert!(!second.renew_requested);
    world.wait_until_looked("probe").await;
    assert_eq!(world.ca.orders("www").len(), 2);
    running.stop().await;
}

#[tokio::test]
async fn what_is_no_longer_wanted_is_kept_and_not_renewed() {
    let world = World::new(HOUR);
    world.desire([certificate("www")]);
    let running = world.start();
    let record = world.wait_until_valid("www").await;
    world.desired.send_replace([].into());
    world.clock.advance(DAY);
    world.wait_until_looked("probe").await;
    assert_eq!(world.record("www").await, Some(record));
    assert_eq!(world.ca.orders("www").len(), 1);
    running.stop().await;
}
