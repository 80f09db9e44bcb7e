//! More than one worker, or many bulk transfers at once.

use std::time::Duration;

use super::Found;
use crate::certificates::ONE_NAME;
use crate::generator::{Group, Request, Sessions};
use crate::measure::Measure;
use crate::peers::Peer;
use crate::proxy::Proxy;
use crate::testbed::{Measured, ONE_WORKER, Testbed, server_name};

/// Handshakes of two workers on both cores, beside those of one. The generator has to share its core with the second.
pub(super) fn two_workers(peer: &Peer, testbed: &mut Testbed) -> Found {
    let one = handshakes(peer, testbed, ONE_WORKER)?;
    let two = handshakes(peer, testbed, (2, "0,1"))?;
    let seconds = |measured: &Measured| measured.tally.elapsed.as_secs_f64();
    Ok(vec![
        (Measure::TwoWorkers, seconds(&one) / seconds(&two)),
        (Measure::TwoWorkersCost, two.micros_each() / one.micros_each()),
        (Measure::TwoWorkersGenerator, two.generator),
    ])
}

fn handshakes(peer: &Peer, testbed: &mut Testbed, workers: (usize, &str)) -> Result<Measured, String> {
    let served = testbed.pair();
    let proxy = testbed.launch(peer, served, 0, workers)?;
    let proxy = testbed.ready(proxy, ONE_NAME)?;
    let sessions = Sessions::new(Group::X25519, false, 1);
    let name = server_name(ONE_NAME);
    let (count, address) = (if testbed.quick { 3_000 } else { 8_000 }, proxy.site.ecdsa);
    let ask = &mut |slot| sessions.identity(slot, &name);
    // The first of them are for warming up.
    testbed.generator.churn(address, 300, 32, Request::Get(1), ask)?;
    testbed.measure(&proxy, |generator| {
        generator.churn(address, count, 32, Request::Get(1), ask)
    })
}

/// Eight bulk transfers at once: what the slowest had of the mean.
pub(super) fn fairness(proxy: &Proxy, testbed: &mut Testbed) -> Found {
    let sessions = Sessions::new(Group::X25519, false, 1);
    let name = server_name(ONE_NAME);
    let ask = &mut |slot| sessions.identity(slot, &name);
    let generator = &mut testbed.generator;
    generator.open(proxy.site.ecdsa, 8, Request::Get(8 << 20), ask)?;
    let before: Vec<_> = generator.received().collect();
    generator.exchange_for(Duration::from_millis(1500), Request::Count(1 << 40))?;
    let after = generator.received();
    let received: Vec<_> = after.zip(before).map(|(after, before)| after - before).collect();
    generator.close_all()?;
    let mean = received.iter().sum::<u64>() as f64 / received.len() as f64;
    let slowest = received.into_iter().min().unwrap_or_default() as f64;
    Ok(vec![(Measure::Fairness, slowest / mean)])
}

/// Thousands of clients upload to a backend that reads nothing: memory of each.
pub(super) fn unread_upload(proxy: &Proxy, testbed: &mut Testbed) -> Found {
    let count = testbed.most_connections(if testbed.quick { 1_000 } else { 5_000 });
    let sessions = Sessions::new(Group::X25519, false, 1);
    let name = server_name(ONE_NAME);
    let ask = &mut |slot| sessions.identity(slot, &name);
    let before = proxy.memory();
    let generator = &mut testbed.generator;
    generator.bound_buffers(Some(BOUND));
    generator.open(proxy.site.ecdsa, count, Request::Get(1), ask)?;
    generator.ignore_bodies(true);
    generator.request_and_ignore(Request::Post(64 << 20));
    generator.idle(FILL)?;
    let used = proxy.memory().saturating_sub(before);
    generator.bound_buffers(None);
    generator.ignore_bodies(false);
    generator.reset();
    Ok(vec![(Measure::UnreadUpload, used as f64 / count as f64 / 1024.0)])
}

/// Thousands of clients ask for much and read nothing: memory of each, and handshakes beside them.
pub(super) fn back_pressure(proxy: &Proxy, testbed: &mut Testbed) -> Found {
    let count = testbed.most_connections(if testbed.quick { 1_000 } else { 5_000 });
    let sessions = Sessions::new(Group::X25519, false, 1);
    let name = server_name(ONE_NAME);
    let ask = &mut |slot| sessions.identity(slot, &name);
    let address = proxy.site.ecdsa;
    let before = proxy.memory();
    let generator = &mut testbed.generator;
    generator.bound_buffers(Some(BOUND));
    generator.open(address, count, Request::Get(1), ask)?;
    generator.request_and_ignore(Request::Get(64 << 20));
    generator.idle(FILL)?;
    let used = proxy.memory().saturating_sub(before);
    let mut tally = generator.churn(address, 500, 1, Request::Get(1), ask)?;
    generator.bound_buffers(None);
    generator.close_all()?;
    Ok(vec![
        (Measure::BackPressure, used as f64 / count as f64 / 1024.0),
        (Measure::BackPressureConnections, count as f64),
        (
            Measure::BackPressureTail,
            tally.percentile(0.99).as_secs_f64() * 1e3,
        ),
    ])
}

const FILL: Duration = Duration::from_secs(2);
/// What the kernel holds of each connection outside the proxy.
const BOUND: usize = 64 << 10;
