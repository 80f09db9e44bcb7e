//! SIGKILL in the middle of an order, in each way in which records come into a zone: the next life leaves none there.

use super::{NAMES, OWNER, Pair, Scene, ZONE, rfc2136, script_for_lego};
use crate::gateway::Gateway;
use crate::support::primary::{Kind, Primary};
use crate::support::secondary::Secondary;

#[tokio::test]
async fn what_a_sigkill_leaves_at_knot_is_gone_after_the_next_start() {
    let pair = Pair::new(Kind::Knot);
    let config = pair.config("").await;
    killed(&pair.scene, &config, OWNER, &[&pair.primary]).await;
    let _gateway = next_life(&pair.scene, &config).await;
    none_at(&[&pair.primary], OWNER).await;
}

#[tokio::test]
async fn what_a_sigkill_leaves_at_the_end_of_an_alias_is_gone_after_the_next_start() {
    let alias = "_acme-challenge IN CNAME answers.dyn.test.";
    let primary = Primary::start(Kind::Bind, &[(ZONE, alias, false), ("dyn.test", "", true)]);
    let scene = Scene::new(primary.address());
    let lagging = Secondary::start(Kind::Bind, &primary, &["dyn.test"]);
    let servers = [primary.address(), lagging.address()];
    let zones = [(ZONE, &servers[..1]), ("dyn.test", &servers[..])];
    let config = scene.config(&rfc2136(&primary, ""), &zones).await;
    killed(&scene, &config, "answers.dyn.test", &[&primary]).await;
    let _gateway = next_life(&scene, &config).await;
    none_at(&[&primary], "answers.dyn.test").await;
    assert_eq!(primary.serial(ZONE), 1, "the name's own zone was never changed");
}

#[tokio::test]
async fn what_a_sigkill_leaves_by_a_command_is_gone_from_every_server_after_the_next_start() {
    let primaries = [(); 2].map(|()| Primary::start(Kind::Bind, &[(ZONE, "", true)]));
    let scene = Scene::new(primaries[0].address());
    let lagging = Secondary::start(Kind::Bind, &primaries[0], &[ZONE]);
    let servers = [primaries[0].address(), primaries[1].address(), lagging.address()];
    let script = script_for_lego(&scene.home, &servers[..2]);
    let dns = format!("provider = \"exec\", command = {script:?}");
    let config = scene.config(&dns, &[(ZONE, &servers[..])]).await;
    let both = primaries.each_ref();
    killed(&scene, &config, OWNER, &both).await;
    let _gateway = next_life(&scene, &config).await;
    none_at(&both, OWNER).await;
}

/// A life that ends once both records are at all of `primaries`: another server of the zone never has them, so the
/// attempt stays in its middle.
pub(super) async fn killed(scene: &Scene, config: &str, owner: &str, primaries: &[&Primary]) {
    let gateway = scene.home.start(config).await;
    for primary in primaries {
        primary.texts_become(owner, 2).await;
    }
    gateway.kill().await;
    for primary in primaries {
        assert_eq!(primary.texts(owner).len(), 2, "what the crash has left");
    }
    assert!(!scene.ca_looks(), "it was in the middle");
}

/// A life with the same issuer that does not want the certificate any more, so that nothing else touches the records.
async fn next_life(scene: &Scene, config: &str) -> Gateway {
    scene.home.start(&without_an_order(config)).await
}

/// The file with `www` from a CA of the gateway's own.
pub(super) fn without_an_order(config: &str) -> String {
    config.replace(
        &format!("domains = {NAMES:?}\nissuer = \"pebble\""),
        "domains = [\"example.test\"]\nissuer = \"internal\"",
    ) + "[issuers.internal]\nkind = \"local-ca\"\n"
}

async fn none_at(primaries: &[&Primary], owner: &str) {
    for primary in primaries {
        primary.texts_become(owner, 0).await;
    }
}
