//! Connect, shake hands, one small request and its answer, close: CPU time of each.

use std::net::SocketAddr;

use super::Found;
use crate::certificates::ONE_NAME;
use crate::generator::{Group, Request, Sessions};
use crate::measure::Measure;
use crate::proxy::Proxy;
use crate::testbed::{Measured, Testbed, server_name};

/// So that what is done once is done before anything is measured.
pub(super) fn warm_up(proxy: &Proxy, testbed: &mut Testbed) -> Result<(), String> {
    let sessions = Sessions::new(Group::X25519, true, SLOTS);
    churn(proxy, testbed, proxy.site.ecdsa, &sessions, 200).map(drop)
}

pub(super) fn full_ecdsa(proxy: &Proxy, testbed: &mut Testbed) -> Found {
    let measured = full(proxy, testbed, proxy.site.ecdsa, Group::X25519)?;
    Ok(vec![
        (Measure::FullEcdsa, measured.micros_each()),
        (Measure::FullEcdsaGenerator, measured.generator),
        (
            Measure::Tickets,
            measured.tally.tickets as f64 / measured.tally.answers as f64,
        ),
    ])
}

pub(super) fn full_rsa(proxy: &Proxy, testbed: &mut Testbed) -> Found {
    let measured = full(proxy, testbed, proxy.site.rsa, Group::X25519)?;
    Ok(vec![(Measure::FullRsa, measured.micros_each())])
}

pub(super) fn full_pq(proxy: &Proxy, testbed: &mut Testbed) -> Found {
    let measured = full(proxy, testbed, proxy.site.ecdsa, Group::X25519MlKem768)?;
    Ok(vec![(Measure::FullPq, measured.micros_each())])
}

pub(super) fn resumed(proxy: &Proxy, testbed: &mut Testbed) -> Found {
    let sessions = Sessions::new(Group::X25519, true, SLOTS);
    // Each slot gets its first ticket.
    churn(proxy, testbed, proxy.site.ecdsa, &sessions, SLOTS)?;
    let measured = churn(proxy, testbed, proxy.site.ecdsa, &sessions, count(testbed))?;
    let (resumed, all) = (measured.tally.resumed, measured.tally.answers);
    // A ticket may come too late now and then.
    if resumed * 100 < all * 99 {
        return Err(format!("{resumed} of {all} handshakes were resumed"));
    }
    Ok(vec![(Measure::Resumed, measured.micros_each())])
}

fn full(proxy: &Proxy, testbed: &mut Testbed, address: SocketAddr, group: Group) -> Result<Measured, String> {
    let sessions = Sessions::new(group, false, SLOTS);
    churn(proxy, testbed, address, &sessions, count(testbed))
}

fn churn(
    proxy: &Proxy,
    testbed: &mut Testbed,
    address: SocketAddr,
    sessions: &Sessions,
    count: usize,
) -> Result<Measured, String> {
    let name = server_name(ONE_NAME);
    let ask = &mut |slot| sessions.identity(slot, &name);
    testbed.measure(proxy, |generator| {
        generator.churn(address, count, SLOTS, Request::Get(1), ask)
    })
}

fn count(testbed: &Testbed) -> usize {
    if testbed.quick { 3_000 } else { 8_000 }
}

/// Connections at a time.
const SLOTS: usize = 16;
