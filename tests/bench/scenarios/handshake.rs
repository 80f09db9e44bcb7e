//! Connect, shake hands, one small request and its answer, close: CPU time of each.

use std::net::SocketAddr;

use super::Found;
use crate::certificates::ONE_NAME;
use crate::generator::{Group, Request, Sessions};
use crate::measure::Measure;
use crate::proxy::Proxy;
use crate::testbed::{Testbed, server_name};

/// So that what is done once is done before anything is measured.
pub(super) fn warm_up(proxy: &Proxy, testbed: &mut Testbed) -> Result<(), String> {
    let sessions = Sessions::new(Group::X25519, true, SLOTS);
    churn(proxy, testbed, proxy.site.ecdsa, &sessions, 200).map(drop)
}

pub(super) fn full_ecdsa(proxy: &Proxy, testbed: &mut Testbed) -> Found {
    let micros = full(proxy, testbed, proxy.site.ecdsa, Group::X25519)?;
    Ok(vec![(Measure::FullEcdsa, micros)])
}

pub(super) fn full_rsa(proxy: &Proxy, testbed: &mut Testbed) -> Found {
    let micros = full(proxy, testbed, proxy.site.rsa, Group::X25519)?;
    Ok(vec![(Measure::FullRsa, micros)])
}

pub(super) fn full_pq(proxy: &Proxy, testbed: &mut Testbed) -> Found {
    let micros = full(proxy, testbed, proxy.site.ecdsa, Group::X25519MlKem768)?;
    Ok(vec![(Measure::FullPq, micros)])
}

pub(super) fn resumed(proxy: &Proxy, testbed: &mut Testbed) -> Found {
    let sessions = Sessions::new(Group::X25519, true, SLOTS);
    // Each slot gets its first ticket.
    churn(proxy, testbed, proxy.site.ecdsa, &sessions, SLOTS)?;
    let (micros, resumed) = churn(proxy, testbed, proxy.site.ecdsa, &sessions, count(testbed))?;
    match resumed {
        resumed if resumed > 0.99 => Ok(vec![(Measure::Resumed, micros)]),
        resumed => Err(format!("{:.0} % were resumed", resumed * 100.0)),
    }
}

fn full(proxy: &Proxy, testbed: &mut Testbed, address: SocketAddr, group: Group) -> Result<f64, String> {
    let sessions = Sessions::new(group, false, SLOTS);
    churn(proxy, testbed, address, &sessions, count(testbed)).map(|(micros, _)| micros)
}

/// CPU time of each connection in µs, and which part of them was resumed.
fn churn(
    proxy: &Proxy,
    testbed: &mut Testbed,
    address: SocketAddr,
    sessions: &Sessions,
    count: usize,
) -> Result<(f64, f64), String> {
    let name = server_name(ONE_NAME);
    let before = proxy.cpu();
    let ask = &mut |slot| sessions.identity(slot, &name);
    let tally = testbed
        .generator
        .churn(address, count, SLOTS, Request::Get(1), ask)?;
    let used = proxy.cpu().since(&before);
    Ok((
        used.as_secs_f64() * 1e6 / count as f64,
        tally.resumed as f64 / tally.answers as f64,
    ))
}

fn count(testbed: &Testbed) -> usize {
    if testbed.quick { 3_000 } else { 8_000 }
}

/// Connections at a time.
const SLOTS: usize = 16;
