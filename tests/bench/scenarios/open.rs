//! Connections that stay open: what a small request costs on them, and what one costs that does nothing.

use std::time::Duration;

use super::Found;
use crate::certificates::ONE_NAME;
use crate::generator::{Group, Request, Sessions};
use crate::measure::Measure;
use crate::proxy::Proxy;
use crate::testbed::{Testbed, server_name};

/// Small requests on 64 connections, on all of them at once.
pub(super) fn ping_pong(proxy: &Proxy, testbed: &mut Testbed) -> Found {
    open(proxy, testbed, 64)?;
    testbed.generator.exchange(50, PING)?;
    let count = if testbed.quick { 400 } else { 1000 };
    let mut measured = testbed.measure(proxy, |generator| generator.exchange(count, PING))?;
    testbed.generator.close_all()?;
    Ok(vec![
        (Measure::PingPong, measured.micros_each()),
        (
            Measure::PingPongMedian,
            measured.tally.percentile(0.5).as_secs_f64() * 1e6,
        ),
        (
            Measure::PingPongTail,
            measured.tally.percentile(0.99).as_secs_f64() * 1e6,
        ),
    ])
}

/// Memory of each connection after it had 16 KiB each way.
pub(super) fn idle(proxy: &Proxy, testbed: &mut Testbed) -> Found {
    let count = testbed.most_connections(if testbed.quick { 2_000 } else { 10_000 });
    // What only the first connections cost, such as code that is read from the disk.
    open_with_traffic(proxy, testbed, 100)?;
    testbed.generator.close_all()?;
    testbed
        .generator
        .idle(if testbed.quick { QUIET / 2 } else { QUIET })?;
    let before = proxy.memory();
    open_with_traffic(proxy, testbed, count)?;
    testbed.generator.idle(QUIET)?;
    let used = proxy.memory().saturating_sub(before);
    testbed.generator.close_all()?;
    Ok(vec![
        (Measure::Idle, used as f64 / count as f64 / 1024.0),
        (Measure::IdleConnections, count as f64),
    ])
}

fn open_with_traffic(proxy: &Proxy, testbed: &mut Testbed, count: usize) -> Result<(), String> {
    open(proxy, testbed, count)?;
    for request in [Request::Get(TRAFFIC), Request::Post(TRAFFIC)] {
        testbed.generator.exchange(1, request)?;
    }
    Ok(())
}

fn open(proxy: &Proxy, testbed: &mut Testbed, count: usize) -> Result<(), String> {
    let sessions = Sessions::new(Group::X25519, false, 1);
    let name = server_name(ONE_NAME);
    let ask = &mut |slot| sessions.identity(slot, &name);
    testbed
        .generator
        .open(proxy.site.ecdsa, count, PING, ask)
        .map(drop)
}

const PING: Request = Request::Get(64);
const TRAFFIC: u64 = 16 << 10;
/// What a proxy frees after a while counts as freed.
const QUIET: Duration = Duration::from_secs(5);
