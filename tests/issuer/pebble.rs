//! The same against a real ACME server.

use std::time::Duration;

use certgate::certificate::KeyType;
use certgate::issuer::{IssueError, IssueRequest, Issuer};

use crate::fixture::{desired, eventually, www};
use crate::world::World;

#[tokio::test]
async fn pebble_issues_every_kind_of_key_by_http_01() {
    let world = World::start(5).await;
    let issuer = world.issuer();
    for key_type in [KeyType::EcdsaP256, KeyType::EcdsaP384, KeyType::Rsa2048] {
        let mut wanted = www();
        wanted.key_type = key_type;
        let pem = world.issue(&issuer, &wanted).await.unwrap();
        world.verify(&pem, "www.example.com").await;
    }
    assert_eq!(world.answers.left(), 0);
}

#[tokio::test]
async fn a_third_of_the_nonces_refused_by_pebble_is_outlasted() {
    let world = World::start(30).await;
    let issuer = world.issuer();
    for n in 0..5 {
        let wanted = desired(&format!("c{n}"), &["a.example.com", "b.example.com"]);
        world.issue(&issuer, &wanted).await.unwrap();
    }
}

#[tokio::test]
async fn pebble_is_asked_for_no_second_order_when_the_url_of_the_first_was_lost() {
    let world = World::start(5).await;
    for name in ["a", "b", "c", "d"] {
        let domain = format!("{name}.example.com");
        world
            .issue(&world.issuer(), &desired(name, &[&domain]))
            .await
            .unwrap();
    }
    world
        .answers
        .hold
        .store(true, std::sync::atomic::Ordering::SeqCst);
    let wanted = www();
    let issuer = world.issuer();
    tokio::select! {
        result = world.issue(&issuer, &wanted) => panic!("{result:?}"),
        () = eventually("an answer is asked for", || world.answers.presented().len() == 5) => {}
    }
    world
        .answers
        .hold
        .store(false, std::sync::atomic::Ordering::SeqCst);

    let journal = world.inventory.order(&wanted.name).await.unwrap().unwrap();
    let url = journal.order_url.clone().unwrap();
    let mut intent = journal;
    intent.order_url = None;
    let lease = world
        .inventory
        .lease("test", Duration::from_secs(600))
        .await
        .unwrap()
        .unwrap();
    world
        .inventory
        .save_order(&wanted.name, &intent, &lease)
        .await
        .unwrap();

    // The lease of the attempt that was given up is still held; one of another name is as good here.
    let request = IssueRequest {
        desired: &wanted,
        lease: &lease,
        replaces: None,
        challenges: &Default::default(),
        progress: &world.steps,
    };
    let pem = world.issuer().issue(&request).await.unwrap();
    world.verify(&pem, "example.com").await;
    let journal = world.inventory.order(&wanted.name).await.unwrap().unwrap();
    assert_eq!(journal.order_url, Some(url));
}

#[tokio::test]
async fn a_name_that_is_not_answered_for_fails_with_pebbles_reason() {
    let world = World::start(5).await;
    world
        .answers
        .lose
        .store(true, std::sync::atomic::Ordering::SeqCst);
    let error = world.issue(&world.issuer(), &www()).await.unwrap_err();
    let IssueError::OrderInvalid { failures, .. } = &error else {
        panic!("{error}")
    };
    assert!(!failures.is_empty());
    assert!(
        error.to_string().contains("by http-01") && error.to_string().contains("404"),
        "{error}"
    );
    assert!(world.inventory.order(&www().name).await.unwrap().is_none());
}
