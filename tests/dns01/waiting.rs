//! A record is waited for until every server of its zone has it.

use std::time::Duration;

use crate::support::name_server::NameServer;
use crate::support::primary::{KEY, Kind};
use crate::support::secondary::Secondary;
use crate::world::{ONE, OWNER, World, ZONE, primary, rfc2136};

#[tokio::test]
async fn the_record_has_not_come_before_the_last_server_has_it() {
    let primary = primary(Kind::Bind);
    let lagging = Secondary::start(Kind::Bind, &primary, &[ZONE]);
    let provider = rfc2136(primary.address(), KEY, primary.key_file());
    let world = World::with(provider, &[(ZONE, &[primary.address(), lagging.address()])]);
    world.place(ZONE, ONE).await.unwrap();
    let wait = world.wait(ZONE, ONE);
    tokio::pin!(wait);
    // It is asked more than once, and does not have it.
    tokio::select! {
        done = &mut wait => panic!("one server does not have it: {done:?}"),
        () = lagging.is_asked(OWNER, 2) => {}
    }
    assert_eq!(lagging.texts(OWNER), [""; 0]);
    lagging.catch_up(ZONE).await;
    wait.await.unwrap();
}

#[tokio::test]
async fn a_server_that_never_has_it_is_named_when_time_is_up() {
    let primary = primary(Kind::Bind);
    let lagging = Secondary::start(Kind::Knot, &primary, &[ZONE]);
    let provider = rfc2136(primary.address(), KEY, primary.key_file());
    let mut world = World::with(provider, &[(ZONE, &[primary.address(), lagging.address()])]);
    world.config.propagation_timeout = Duration::from_secs(1);
    world.place(ZONE, ONE).await.unwrap();
    let error = world.wait(ZONE, ONE).await.unwrap_err();
    assert_eq!(
        error,
        format!(
            "the TXT record at {OWNER} has not come to every server of its zone within 1 s: {} does not have it; the CA \
             was not told to look",
            lagging.address()
        )
    );
    lagging.catch_up(ZONE).await;
    world.wait(ZONE, ONE).await.unwrap();
    world.dns01().remove(ONE).await;
    assert_eq!(primary.texts(OWNER), [""; 0]);
}

#[tokio::test]
async fn a_server_that_is_lame_is_passed_over_in_the_end() {
    let primary = primary(Kind::Bind);
    let lame = NameServer::of(ZONE, 33).await;
    lame.change(|state| state.lame = true);
    let provider = rfc2136(primary.address(), KEY, primary.key_file());
    let world = World::with(provider, &[(ZONE, &[primary.address(), lame.address()])]);
    world.place(ZONE, ONE).await.unwrap();
    world.wait(ZONE, ONE).await.unwrap();
}
