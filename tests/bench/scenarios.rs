//! What the scenarios do.

mod bulk;
mod change;
mod handshake;
mod load;
mod many;
mod open;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry::{Occupied, Vacant};

use crate::measure::Measure;
use crate::pace::Pace;
use crate::peers::Peer;
use crate::proxy::Proxy;
use crate::results::{Entry, Results, Run};
use crate::scenario::Scenario;
use crate::testbed::Testbed;

/// What a scenario has found.
type Found = Result<Vec<(Measure, f64)>, String>;

/// The proxies that one scenario has started and the next goes on with, by the name of the peer. Who is not measured rests.
pub(crate) type Running = BTreeMap<String, Proxy>;

/// Runs `scenario` on one peer.
pub(crate) fn run(
    scenario: Scenario,
    peer: &Peer,
    (testbed, running): (&mut Testbed, &mut Running),
    (run, results, pace): (&Run, &mut Results, &mut Pace),
) {
    let found = pace.during(scenario, || on(scenario, peer, running, testbed));
    if found.is_err() {
        testbed.generator.reset();
        running.remove(&peer.name);
    }
    let new = || Entry::new(run.clone(), peer.subject());
    results.entry(scenario, &peer.name, new).take(found);
}

fn on(scenario: Scenario, peer: &Peer, running: &mut Running, testbed: &mut Testbed) -> Found {
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
            running.clear();
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
        running.remove(&peer.name);
    }
    let proxy = match running.entry(peer.name.clone()) {
        Occupied(running) => running.into_mut(),
        Vacant(place) => {
            let proxy = testbed.start(peer)?;
            handshake::warm_up(&proxy, testbed)?;
            place.insert(proxy)
        }
    };
    on_shared(proxy, testbed)
}
