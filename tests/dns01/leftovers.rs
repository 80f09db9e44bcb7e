//! What an attempt could not take away is taken away later, and nothing that is in use.

use std::time::Duration;

use certgate::dns01::Claims;

use crate::support::primary::{KEY, Kind};
use crate::world::{ONE, OTHER, OWNER, World, ZONE, primary, rfc2136};

#[tokio::test]
async fn what_a_crash_has_left_is_removed_by_the_next_life() {
    let primary = primary(Kind::Bind);
    let mut world = World::of(&primary);
    world.place(ZONE, ONE).await.unwrap();
    // The next life knows of nothing but the store.
    world.claims = Claims::default();
    assert_eq!(world.dns01().sweep().await.unwrap(), 0);
    assert_eq!(primary.texts(OWNER), [""; 0]);
    assert_eq!(world.known().await, 0);
}

#[tokio::test]
async fn what_is_in_use_is_left_alone() {
    let primary = primary(Kind::Bind);
    let world = World::of(&primary);
    world.place(ZONE, ONE).await.unwrap();
    assert_eq!(world.dns01().sweep().await.unwrap(), 0);
    assert_eq!(primary.texts(OWNER), [ONE]);
    assert_eq!(world.known().await, 1);
}

#[tokio::test]
async fn what_cannot_be_removed_stays_known_until_it_can() {
    let primary = primary(Kind::Bind);
    let mut world = World::of(&primary);
    world.place(ZONE, ONE).await.unwrap();
    let right = world.config.provider.clone();
    world.config.provider = rfc2136(primary.address(), KEY, primary.wrong_key_file());
    world.dns01().remove(ONE).await;
    assert_eq!(world.dns01().sweep().await.unwrap(), 1, "one is left");
    assert_eq!(world.known().await, 1);
    world.config.provider = right;
    assert_eq!(world.dns01().sweep().await.unwrap(), 0);
    assert_eq!((primary.texts(OWNER).len(), world.known().await), (0, 0));
}

#[tokio::test]
async fn records_of_another_issuer_are_not_touched() {
    let primary = primary(Kind::Bind);
    let mut world = World::of(&primary);
    world.place(ZONE, ONE).await.unwrap();
    let mut foreign = world.inventory.placed_records().await.unwrap().remove(0);
    foreign.issuer = "another".to_owned();
    foreign.value = OTHER.to_owned();
    world.inventory.save_placed_record(&foreign).await.unwrap();
    world.claims = Claims::default();
    assert_eq!(world.dns01().sweep().await.unwrap(), 0);
    assert_eq!(world.known().await, 1);
}

#[tokio::test]
async fn an_attempt_waits_for_who_takes_the_same_record_away() {
    let primary = primary(Kind::Bind);
    let world = World::of(&primary);
    world.place(ZONE, ONE).await.unwrap();
    let again = world.place(ZONE, ONE);
    tokio::pin!(again);
    let early = tokio::time::timeout(Duration::from_millis(200), &mut again).await;
    assert!(early.is_err(), "two attempts had one record");
    world.dns01().remove(ONE).await;
    again.await.unwrap();
    assert_eq!(primary.texts(OWNER), [ONE]);
}
