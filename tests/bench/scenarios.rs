//! What the scenarios do.

mod bulk;
mod handshake;
mod open;

use crate::measure::Measure;
use crate::peers::Peer;
use crate::proxy::Proxy;
use crate::results::Results;
use crate::scenario::Scenario;
use crate::testbed::Testbed;

/// What a scenario has found.
type Found = Result<Vec<(Measure, f64)>, String>;

/// Runs `scenarios` on one peer.
pub(crate) fn run(scenarios: &[Scenario], peer: &Peer, testbed: &mut Testbed, results: &mut Results) {
    let mut running = None;
    for scenario in scenarios {
        let found = common(&mut running, peer, testbed).and_then(|proxy| on(*scenario, proxy, peer, testbed));
        match found {
            Ok(found) => {
                for (measure, value) in found {
                    results.add(&peer.name, measure, value);
                }
            }
            Err(error) => {
                results.problem(format!("{}, {scenario:?}: {error}", peer.name));
                testbed.generator.reset();
                running = None;
            }
        }
    }
}

/// The proxy that most scenarios share.
fn common<'r>(
    running: &'r mut Option<Proxy>,
    peer: &Peer,
    testbed: &mut Testbed,
) -> Result<&'r Proxy, String> {
    if running.is_none() {
        let proxy = testbed.start(peer)?;
        handshake::warm_up(&proxy, testbed)?;
        return Ok(running.insert(proxy));
    }
    running.as_ref().ok_or_else(|| "it is not running".to_owned())
}

fn on(scenario: Scenario, proxy: &Proxy, peer: &Peer, testbed: &mut Testbed) -> Found {
    match scenario {
        Scenario::FullEcdsa => handshake::full_ecdsa(proxy, testbed),
        Scenario::FullRsa => handshake::full_rsa(proxy, testbed),
        Scenario::FullPq if !peer.is_post_quantum() => Ok(Vec::new()),
        Scenario::FullPq => handshake::full_pq(proxy, testbed),
        Scenario::Resumed => handshake::resumed(proxy, testbed),
        Scenario::Download => bulk::download(proxy, testbed),
        Scenario::Upload => bulk::upload(proxy, testbed),
        Scenario::PingPong => open::ping_pong(proxy, testbed),
        Scenario::Idle => open::idle(proxy, testbed),
    }
}
