//! What an attempt could not take away is taken away later, and nothing that is in use.

use std::time::Duration;

use certgate::config::{DnsProvider, ExecConfig};
use certgate::dns01::{Claims, is_gone};
use certgate::inventory::PlacedRecord;

use crate::support::name_server::NameServer;
use crate::support::primary::{KEY, Kind};
use crate::world::{ONE, OWNER, World, ZONE, primary, rfc2136};

#[tokio::test]
async fn what_a_crash_has_left_is_removed_by_the_next_life() {
    let primary = primary(Kind::Bind);
    let mut world = World::of(&primary);
    world.place(ZONE, ONE).await.unwrap();
    // The next life knows of nothing but the store.
    world.claims = Claims::default();
    assert_eq!(world.sweep().await, 0);
    assert_eq!(primary.texts(OWNER), [""; 0]);
    assert_eq!(world.known().await, 0);
}

#[tokio::test]
async fn what_is_in_use_is_left_alone() {
    let primary = primary(Kind::Bind);
    let world = World::of(&primary);
    world.place(ZONE, ONE).await.unwrap();
    assert_eq!(world.sweep().await, 0);
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
    assert_eq!(world.sweep().await, 1, "one is left");
    assert_eq!(world.known().await, 1);
    world.config.provider = right;
    assert_eq!(world.sweep().await, 0);
    assert_eq!((primary.texts(OWNER).len(), world.known().await), (0, 0));
}

#[tokio::test]
async fn whoever_works_in_the_same_way_removes_what_another_issuer_has_left() {
    let primary = primary(Kind::Knot);
    let mut world = World::of(&primary);
    world.place(ZONE, ONE).await.unwrap();
    world.claims = Claims::default();
    let of_another = PlacedRecord {
        issuer: "another".to_owned(),
        ..world.inventory.placed_records().await.unwrap().remove(0)
    };
    assert_eq!(of_another.provider, world.config.provider.to_string());
    let left = world.dns01().sweep(&[of_another]).await;
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(primary.texts(OWNER), [""; 0]);
}

#[tokio::test]
async fn what_another_provider_says_it_has_removed_stays_known_while_it_is_there() {
    let primary = primary(Kind::Bind);
    let mut world = World::of(&primary);
    world.place(ZONE, ONE).await.unwrap();
    world.claims = Claims::default();
    let right = world.config.provider.clone();
    world.config.provider = DnsProvider::Exec(ExecConfig {
        command: "/bin/true".into(),
        raw: false,
    });
    let left = world
        .dns01()
        .sweep(&world.inventory.placed_records().await.unwrap())
        .await;
    assert!(
        left.len() == 1 && left[0].reason.contains("it is there still"),
        "{left:?}"
    );
    assert_eq!((primary.texts(OWNER).len(), world.known().await), (1, 1));
    world.config.provider = right;
    assert_eq!(world.sweep().await, 0);
    assert_eq!((primary.texts(OWNER).len(), world.known().await), (0, 0));
}

#[tokio::test]
async fn what_cannot_be_removed_is_forgotten_once_somebody_else_has_done_it() {
    let primary = primary(Kind::Bind);
    let mut world = World::of(&primary);
    world.place(ZONE, ONE).await.unwrap();
    world.claims = Claims::default();
    let right = world.config.provider.clone();
    let refused = rfc2136(primary.address(), KEY, primary.wrong_key_file());
    world.config.provider = refused.clone();
    world.config.propagation_timeout = Duration::ZERO;
    assert_eq!(world.sweep().await, 1, "it is there");
    // By other means than the gateway's own, which has to go on knowing of it.
    let record = world.inventory.placed_records().await.unwrap().remove(0);
    world.config.provider = right;
    world.dns01().sweep(std::slice::from_ref(&record)).await;
    world.inventory.save_placed_record(&record).await.unwrap();
    world.config.provider = refused;
    world.config.propagation_timeout = Duration::from_secs(3600);
    assert_eq!(world.sweep().await, 1, "it might yet come");
    world.config.propagation_timeout = Duration::ZERO;
    assert_eq!((world.sweep().await, world.known().await), (0, 0));
}

#[tokio::test]
async fn a_record_is_gone_when_every_server_says_so_and_nobody_is_at_it() {
    let primary = primary(Kind::Bind);
    let other = NameServer::of(ZONE, 71).await;
    let servers = [primary.address(), other.address()];
    let provider = rfc2136(primary.address(), KEY, primary.key_file());
    let mut world = World::with(provider, &[(ZONE, &servers[..])]);
    world.place(ZONE, ONE).await.unwrap();
    let record = world.inventory.placed_records().await.unwrap().remove(0);
    let gone = async |world: &World| is_gone(Some(&world.gateway), &world.claims, &record).await;
    world.dns01().remove(ONE).await;
    assert!(gone(&world).await);
    other.change(|state| state.lame = true);
    assert!(!gone(&world).await, "one of them does not say");
    other.change(|state| state.lame = false);
    world.place(ZONE, ONE).await.unwrap();
    assert!(!gone(&world).await, "it is in use");
    world.claims = Claims::default();
    assert!(!gone(&world).await, "it is there");
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
