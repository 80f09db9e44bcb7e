//! What is done to an account itself, and to what it has issued.

use std::sync::atomic::Ordering;

use certgate::certificate::{Credential, RevocationReason};
use certgate::inventory::AccountRecord;
use certgate::issuer::{Account, IssueError};
use certgate_store::Expect;

use crate::fixture::{desired, eventually, www};
use crate::world::World;

async fn account(world: &World) -> (AccountRecord, Expect) {
    let known = world.inventory.account("pebble").await.unwrap().unwrap();
    (known.value, Expect::Revision(known.revision))
}

#[tokio::test]
async fn a_new_key_takes_over_in_this_process_in_others_and_in_the_next() {
    let world = World::start(5).await;
    let (issuer, other) = (world.issuer(), world.issuer());
    for (name, issuer) in [("one", &issuer), ("two", &other)] {
        world
            .issue(issuer, &desired(name, &["a.example.com"]))
            .await
            .unwrap();
    }
    let (before, _) = account(&world).await;
    let url = issuer.info().await.unwrap().unwrap().url;
    issuer.roll_over().await.unwrap();
    let (after, _) = account(&world).await;
    assert_ne!(before.credentials, after.credentials);
    assert_eq!(after.next_credentials, None);
    assert_eq!(issuer.info().await.unwrap().unwrap().url, url);
    for (name, issuer) in [("three", &issuer), ("four", &other), ("five", &world.issuer())] {
        world
            .issue(issuer, &desired(name, &["b.example.com"]))
            .await
            .unwrap();
    }
    assert_eq!(issuer.info().await.unwrap().unwrap().url, url);
}

#[tokio::test]
async fn a_change_of_key_that_a_crash_interrupted_is_settled_at_the_next_use() {
    for ca_knows_the_new_one in [false, true] {
        let world = World::start(0).await;
        let issuer = world.issuer();
        world.issue(&issuer, &www()).await.unwrap();
        let (old, _) = account(&world).await;
        issuer.roll_over().await.unwrap();
        let (new, expect) = account(&world).await;
        // What is in the store when a crash comes before the CA has heard of the key, or after.
        let interrupted = match ca_knows_the_new_one {
            true => AccountRecord {
                next_credentials: Some(new.credentials.clone()),
                ..old.clone()
            },
            false => AccountRecord {
                next_credentials: Some(old.credentials.clone()),
                ..new.clone()
            },
        };
        world
            .inventory
            .save_account("pebble", &interrupted, expect)
            .await
            .unwrap();
        world
            .issue(&world.issuer(), &desired("next", &["next.example.com"]))
            .await
            .unwrap();
        let (settled, _) = account(&world).await;
        assert_eq!(settled.credentials, new.credentials);
        assert_eq!(settled.next_credentials, None);
    }
}

#[tokio::test]
async fn an_order_under_way_goes_on_when_the_account_gets_a_new_key_and_when_it_ends() {
    for ends in [false, true] {
        let world = World::start(0).await;
        let issuer = world.issuer();
        world.issue(&issuer, &www()).await.unwrap();
        // Until the turn is given back, the order does not go on.
        world.answers.at_a_time.store(1, Ordering::SeqCst);
        let turn = world.answers.turn.clone().lock_owned().await;
        let desired = desired("next", &["next.example.com"]);
        let change = async {
            eventually("the order is placed", || world.pebble.orders() == 2).await;
            match ends {
                true => issuer.deactivate().await.unwrap(),
                false => issuer.roll_over().await.unwrap(),
            }
            drop(turn);
        };
        let (issued, ()) = tokio::join!(world.issue(&issuer, &desired), change);
        let issued = issued.unwrap();
        world.verify(&issued, "next.example.com").await;
    }
}

#[tokio::test]
async fn a_new_key_is_kept_when_somebody_else_settles_the_account_before_the_ca_takes_it() {
    let world = World::start(0).await;
    let issuer = world.issuer();
    world.issue(&issuer, &www()).await.unwrap();
    let (before, _) = account(&world).await;
    let settled = async {
        loop {
            let (known, expect) = account(&world).await;
            if known.next_credentials.is_some() {
                let save = world.inventory.save_account("pebble", &before, expect);
                save.await.unwrap();
                break;
            }
            assert_eq!(
                known.credentials, before.credentials,
                "the key was changed unseen"
            );
            tokio::task::yield_now().await;
        }
    };
    let (changed, ()) = tokio::join!(issuer.roll_over(), settled);
    changed.unwrap();
    let (after, _) = account(&world).await;
    assert_ne!(before.credentials, after.credentials);
    assert_eq!(after.next_credentials, None);
    let desired = desired("next", &["next.example.com"]);
    world.issue(&world.issuer(), &desired).await.unwrap();
}

#[tokio::test]
async fn an_account_that_was_ended_is_followed_by_another() {
    let world = World::start(5).await;
    let issuer = world.issuer();
    assert!(matches!(
        issuer.deactivate().await,
        Err(IssueError::NoAccount { .. })
    ));
    world.issue(&issuer, &www()).await.unwrap();
    let first = issuer.info().await.unwrap().unwrap();
    issuer.deactivate().await.unwrap();
    assert_eq!(issuer.info().await.unwrap(), None);
    world
        .issue(&issuer, &desired("next", &["next.example.com"]))
        .await
        .unwrap();
    let second = issuer.info().await.unwrap().unwrap();
    assert_ne!(first.url, second.url);
    assert_eq!(second.contact, ["mailto:ops@example.com"]);
}

#[tokio::test]
async fn a_certificate_is_revoked_with_its_reason_and_twice_is_no_error() {
    let world = World::start(5).await;
    let issuer = world.issuer();
    for (name, reason, code) in [
        ("compromised", RevocationReason::KeyCompromise, 1),
        ("superseded", RevocationReason::Superseded, 4),
    ] {
        let pem = world
            .issue(&issuer, &desired(name, &["www.example.com"]))
            .await
            .unwrap();
        let serial = Credential::from_pem(&pem).unwrap().leaf().serial.clone();
        assert_eq!(world.pebble.certificate_status(&serial)["Status"], "Valid");
        issuer.revoke(&pem.chain()[0], reason).await.unwrap();
        let status = world.pebble.certificate_status(&serial);
        assert_eq!(status["Status"], "Revoked");
        assert_eq!(status["Reason"], code);
        issuer.revoke(&pem.chain()[0], reason).await.unwrap();
    }
}
