//! Many certificates: the first handshake after a start, memory, and what a handshake costs by name.

use std::time::Duration;

use super::Found;
use super::change;
use crate::certificates::ONE_NAME;
use crate::generator::{Group, Request, Sessions};
use crate::many::{Numbers, name, served};
use crate::measure::Measure;
use crate::peers::Peer;
use crate::proxy::Proxy;
use crate::testbed::{ONE_WORKER, Testbed, server_name};

/// Ten thousand certificates.
pub(super) fn ten_thousand(peer: &Peer, testbed: &mut Testbed) -> Found {
    const COUNT: usize = 10_000;
    let (proxy, first) = start(peer, testbed, COUNT, 0)?;
    testbed.settle(&proxy)?;
    let memory = proxy.memory();
    let count = if testbed.quick { 2_000 } else { 5_000 };
    let mut numbers = Numbers::new(1);
    let mut random = |_| name(numbers.below(COUNT));
    churn(&proxy, testbed, count, &mut random)?;
    let (varied, one) = beside_one(&proxy, peer, testbed, count, &mut random)?;
    Ok(vec![
        (Measure::TenThousandFirst, first.as_secs_f64() * 1e3),
        (Measure::TenThousandMemory, memory as f64 / MIB),
        (Measure::TenThousandOne, one),
        (Measure::TenThousandRandom, varied),
    ])
}

/// A million, which only certgate is asked for.
pub(super) fn million(peer: &Peer, testbed: &mut Testbed) -> Found {
    const COUNT: usize = 1_000_000;
    let (proxy, first) = start(peer, testbed, COUNT, 0)?;
    testbed.settle_within(AFTER_START, &proxy)?;
    let mut numbers = Numbers::new(u64::from(proxy.site.ecdsa.port()));
    let names: Vec<_> = (0..500).map(|_| numbers.below(COUNT)).collect();
    let mut next = names.iter().copied();
    let sessions = Sessions::new(Group::X25519, false, 1);
    let cold = &mut |slot| sessions.identity(slot, &server_name(&name(next.next().unwrap_or(0))));
    let generator = &mut testbed.generator;
    let mut tally = generator.churn(proxy.site.ecdsa, names.len(), 1, Request::Get(1), cold)?;
    let memory = proxy.memory();
    let mut pick = |_| name(names[numbers.below(names.len())]);
    let (warm, one) = beside_one(&proxy, peer, testbed, 5_000, &mut pick)?;
    let change = change::several(&proxy, peer, testbed, [names[0], names[1], names[2]])?;
    Ok(vec![
        (Measure::MillionFirst, first.as_secs_f64() * 1e3),
        (Measure::MillionMemory, memory as f64 / MIB),
        (Measure::MillionCold, tally.percentile(0.5).as_secs_f64() * 1e3),
        (
            Measure::MillionColdTail,
            tally.percentile(0.99).as_secs_f64() * 1e3,
        ),
        (Measure::MillionOne, one),
        (Measure::MillionWarm, warm),
        (Measure::MillionChange, change.served.as_secs_f64() * 1e3),
        (Measure::MillionChangeCpu, change.used.as_secs_f64() * 1e3),
    ])
}

/// A proxy with so many certificates, and how long after its start it answered to a name from the middle of them.
pub(super) fn start(
    peer: &Peer,
    testbed: &mut Testbed,
    count: usize,
    more: usize,
) -> Result<(Proxy, Duration), String> {
    let is_first = testbed.is_first_start(&peer.name, count);
    let served = served(&testbed.directory, peer, count, is_first)?;
    let middle = name(count / 2);
    if is_first {
        // What it does but once with a store or a directory is no part of a start.
        let mut proxy = testbed.launch(peer, served.clone(), 0, ONE_WORKER)?;
        let address = proxy.site.ecdsa;
        testbed.first_answer(&mut proxy, address, &middle)?;
        testbed.settle_within(AFTER_START, &proxy)?;
    }
    let mut proxy = testbed.launch(peer, served, more, ONE_WORKER)?;
    let address = proxy.site.ecdsa;
    let answered = testbed.first_answer(&mut proxy, address, &middle)?;
    let first = answered.saturating_duration_since(proxy.started);
    Ok((proxy, first))
}

/// CPU time of a handshake for the names that `pick` picks, and of one with a proxy that has but one certificate, in
/// µs. They take turns, for the machine has faster and slower moments.
fn beside_one(
    many: &Proxy,
    peer: &Peer,
    testbed: &mut Testbed,
    count: usize,
    pick: &mut dyn FnMut(usize) -> String,
) -> Result<(f64, f64), String> {
    let one = testbed.start(peer)?;
    let mut same = |_| ONE_NAME.to_owned();
    churn(&one, testbed, count / TURNS, &mut same)?;
    let mut used = [Duration::ZERO; 2];
    for _ in 0..TURNS {
        used[0] += churn(many, testbed, count / TURNS, pick)?;
        used[1] += churn(&one, testbed, count / TURNS, &mut same)?;
    }
    let [many, one] = used.map(|used| used.as_secs_f64() * 1e6 / (count / TURNS * TURNS) as f64);
    Ok((many, one))
}

/// CPU time of `count` handshakes for the names that `pick` picks.
fn churn(
    proxy: &Proxy,
    testbed: &mut Testbed,
    count: usize,
    pick: &mut dyn FnMut(usize) -> String,
) -> Result<Duration, String> {
    let sessions = Sessions::new(Group::X25519, false, 1);
    let ask = &mut |slot| sessions.identity(slot, &server_name(&pick(slot)));
    let address = proxy.site.ecdsa;
    let measured = testbed.measure(proxy, |generator| {
        generator.churn(address, count, 16, Request::Get(1), ask)
    })?;
    Ok(measured.used)
}

const MIB: f64 = 1_048_576.0;
/// A million records are read behind the first handshakes, and once more to verify the store.
const AFTER_START: Duration = Duration::from_secs(180);
/// In which two proxies are measured one after the other.
const TURNS: usize = 5;
