//! Real name servers take the records, and give them up again.

use certgate::name::DnsName;

use crate::support::primary::{KEY, Kind, POWERLESS, Primary};
use crate::world::{ONE, OTHER, OWNER, World, ZONE, primary, rfc2136};

#[tokio::test]
async fn bind_and_knot_hold_two_records_at_one_name_and_lose_each_by_itself() {
    for kind in [Kind::Bind, Kind::Knot] {
        let primary = primary(kind);
        let world = World::of(&primary);
        for value in [ONE, OTHER] {
            world.place(ZONE, value).await.unwrap();
            world.wait(ZONE, value).await.unwrap();
        }
        assert_eq!(primary.texts(OWNER), [OTHER, ONE], "{kind:?}");
        assert_eq!(world.known().await, 2);
        world.dns01().remove(ONE).await;
        assert_eq!(primary.texts(OWNER), [OTHER], "{kind:?}");
        world.dns01().remove(OTHER).await;
        assert_eq!(primary.texts(OWNER), [""; 0], "{kind:?}");
        assert_eq!(world.known().await, 0, "and the store has forgotten them");
    }
}

#[tokio::test]
async fn a_record_goes_to_the_end_of_the_aliases_and_into_the_zone_there() {
    let alias = "_acme-challenge IN CNAME a.hop.test.";
    let zones = [
        (ZONE, alias, false),
        ("hop.test", "a IN CNAME answers.dyn.test.", false),
        ("dyn.test", "", true),
    ];
    let primary = Primary::start(Kind::Bind, &zones);
    let server = [primary.address()];
    let provider = rfc2136(primary.address(), KEY, primary.key_file());
    let world = World::with(
        provider,
        &[(ZONE, &server), ("hop.test", &server), ("dyn.test", &server)],
    );
    world.place(ZONE, ONE).await.unwrap();
    world.wait(ZONE, ONE).await.unwrap();
    assert_eq!(primary.texts("answers.dyn.test"), [ONE]);
    assert_eq!(
        world.rehearse(ZONE).await.unwrap(),
        format!(
            "_acme-challenge.example.test leads to answers.dyn.test, a TXT record there, in the zone dyn.test, which {} \
             would take, signed with the key `certgate`",
            primary.address()
        )
    );
    world.dns01().remove(ONE).await;
    assert_eq!(primary.texts("answers.dyn.test"), [""; 0]);
}

#[tokio::test]
async fn a_wildcard_s_alias_is_no_delegation() {
    let primary = Primary::start(Kind::Bind, &[(ZONE, "* IN CNAME www.elsewhere.test.", true)]);
    let world = World::of(&primary);
    world.place(ZONE, ONE).await.unwrap();
    assert_eq!(primary.texts(OWNER), [ONE]);
}

#[tokio::test]
async fn aliases_that_never_end_are_told_with_the_record_to_remove() {
    let loop_of = "_acme-challenge IN CNAME b\nb IN CNAME _acme-challenge";
    let primary = Primary::start(Kind::Bind, &[(ZONE, loop_of, true)]);
    let error = World::of(&primary).place(ZONE, ONE).await.unwrap_err();
    assert!(
        error.contains(
            "the CNAME records of _acme-challenge.example.test lead on for ever: _acme-challenge.example.test is met twice"
        ),
        "{error}"
    );
    let name = DnsName::parse(ZONE).unwrap();
    let rehearsed = World::of(&primary).dns01().rehearse(vec![name], true).await;
    let remedy = rehearsed[0].as_ref().unwrap_err().remedy();
    assert_eq!(
        remedy.unwrap().to_string(),
        "remove: _acme-challenge.example.test. IN CNAME b.example.test."
    );
}

#[tokio::test]
async fn a_rehearsal_tells_what_would_be_and_changes_nothing() {
    for kind in [Kind::Bind, Kind::Knot] {
        let primary = primary(kind);
        let mut world = World::of(&primary);
        let before = primary.serial(ZONE);
        let way = world.rehearse("www.example.test").await.unwrap();
        assert_eq!(
            way,
            format!(
                "a TXT record at _acme-challenge.www.example.test, in the zone example.test, which {} would take, \
                 signed with the key `certgate`",
                primary.address()
            )
        );
        world.config.provider = rfc2136(primary.address(), POWERLESS, primary.key_file());
        let error = world.rehearse("www.example.test").await.unwrap_err();
        assert!(error.contains("`powerless`"), "{kind:?}: {error}");
        assert_eq!(primary.serial(ZONE), before, "{kind:?} was changed");
        assert_eq!(world.known().await, 0);
    }
}

#[tokio::test]
async fn a_name_that_nobody_knows_the_zone_of_is_told() {
    let primary = primary(Kind::Bind);
    let world = World::of(&primary);
    let error = world.place("www.unknown.test", ONE).await.unwrap_err();
    assert!(
        error.contains("no resolver says which zone _acme-challenge.www.unknown.test is in"),
        "{error}"
    );
    assert_eq!(world.known().await, 0);
    world.dns01().remove(ONE).await;
    tokio::time::timeout(std::time::Duration::from_secs(60), world.claims.settled())
        .await
        .expect("nothing is in use");
}
