//! What the scenarios do.

mod bulk;
mod change;
mod handshake;
mod load;
mod many;
mod open;

use crate::measure::Measure;
use crate::pace::Pace;
use crate::peers::Peer;
use crate::proxy::Proxy;
use crate::results::{Entry, Results, Run};
use crate::scenario::Scenario;
use crate::testbed::Testbed;

/// What a scenario has found.
type Found = Result<Vec<(Measure, f64)>, String>;

/// Runs `scenarios` on one peer.
pub(crate) fn run(
    scenarios: &[Scenario],
    peer: &Peer,
    testbed: &mut Testbed,
    (run, results, pace): (&Run, &mut Results, &mut Pace),
) {
    let mut shared = None;
    for scenario in scenarios.iter().filter(|scenario| scenario.suits(peer.kind)) {
        let found = pace.during(*scenario, || on(*scenario, peer, &mut shared, testbed));
        let new = || Entry::new(run.clone(), peer.subject());
        let entry = results.entry(*scenario, &peer.name, new);
        if found.is_err() {
            testbed.generator.reset();
            shared = None;
        }
        entry.take(found);
    }
}

fn on(scenario: Scenario, peer: &Peer, shared: &mut Option<Proxy>, testbed: &mut Testbed) -> Found {
    let on_shared = match scenario {
        Scenario::FullEcdsa => handshake::full_ecdsa,
        Scenario::FullRsa => handshake::full_rsa,
        Scenario::FullPq => handshake::full_pq,
        Scenario::Resumed => handshake::resumed,
        Scenario::Download => bulk::download,
        Scenario::Upload => bulk::upload,
        Scenario::PingPong => open::ping_pong,
        Scenario::Idle => open::idle,
        Scenario::Fairness => load::fairness,
        Scenario::BackPressure => load::back_pressure,
        Scenario::UnreadUpload => load::unread_upload,
        _ => {
            // It starts its own, and nothing else is to run beside that.
            *shared = None;
            return match scenario {
                Scenario::TwoWorkers => load::two_workers(peer, testbed),
                Scenario::Certs10k => many::ten_thousand(peer, testbed),
                Scenario::Certs1m => many::million(peer, testbed),
                Scenario::ChangeOne => change::one_of_many(peer, testbed),
                _ => change::reload(peer, testbed),
            };
        }
    };
    if matches!(scenario, Scenario::BackPressure | Scenario::UnreadUpload) {
        // Its memory is not to come from what others have left.
        *shared = None;
    }
    if shared.is_none() {
        let proxy = testbed.start(peer)?;
        handshake::warm_up(&proxy, testbed)?;
        *shared = Some(proxy);
    }
    match shared {
        Some(proxy) => on_shared(proxy, testbed),
        None => Err("it is not running".to_owned()),
    }
}
