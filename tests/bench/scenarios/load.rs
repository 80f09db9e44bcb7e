//! More than one worker, or many bulk transfers at once.

use std::time::Duration;

use super::Found;
use crate::certificates::ONE_NAME;
use crate::cpu;
use crate::generator::{Group, Request, Sessions};
use crate::measure::Measure;
use crate::peers::Peer;
use crate::proxy::Proxy;
use crate::testbed::{ONE_WORKER, Testbed, server_name};

/// Handshakes of two workers on both cores, beside those of one. The generator has to share its core with the second.
pub(super) fn two_workers(peer: &Peer, testbed: &mut Testbed) -> Found {
    let one = rate(peer, testbed, ONE_WORKER)?;
    let two = rate(peer, testbed, (2, "0,1"))?;
    Ok(vec![
        (Measure::TwoWorkers, two.each_second / one.each_second),
        (Measure::TwoWorkersCost, two.cost / one.cost),
        (Measure::OneWorkerGenerator, one.generator * 100.0),
        (Measure::TwoWorkersGenerator, two.generator * 100.0),
    ])
}

struct Rate {
    each_second: f64,
    /// CPU time of a handshake.
    cost: f64,
    /// Which part of a core the generator had.
    generator: f64,
}

fn rate(peer: &Peer, testbed: &mut Testbed, workers: (usize, &str)) -> Result<Rate, String> {
    let served = testbed.pair();
    let proxy = testbed.launch(peer, served, 0, workers)?;
    let proxy = testbed.ready(proxy, ONE_NAME)?;
    let sessions = Sessions::new(Group::X25519, false, 1);
    let name = server_name(ONE_NAME);
    let count = if testbed.quick { 3_000 } else { 8_000 };
    let mut rate = None;
    // The first time is for warming up.
    for count in [300, count] {
        let (before, own) = (proxy.cpu(), cpu::of_this_thread());
        let ask = &mut |slot| sessions.identity(slot, &name);
        let generator = &mut testbed.generator;
        let tally = generator.churn(proxy.site.ecdsa, count, 32, Request::Get(1), ask)?;
        let seconds = tally.elapsed.as_secs_f64();
        rate = Some(Rate {
            each_second: tally.answers as f64 / seconds,
            cost: proxy.cpu().since(&before).as_secs_f64() / tally.answers as f64,
            generator: cpu::of_this_thread().saturating_sub(own).as_secs_f64() / seconds,
        });
    }
    rate.ok_or_else(|| "nothing was measured".to_owned())
}

/// Eight bulk transfers at once: what the slowest had of the mean.
pub(super) fn fairness(proxy: &Proxy, testbed: &mut Testbed) -> Found {
    let sessions = Sessions::new(Group::X25519, false, 1);
    let name = server_name(ONE_NAME);
    let ask = &mut |slot| sessions.identity(slot, &name);
    let generator = &mut testbed.generator;
    generator.open(proxy.site.ecdsa, 8, Request::Get(8 << 20), ask)?;
    let before: Vec<_> = generator.received().collect();
    generator.exchange_for(Duration::from_millis(1500), Request::Get(1 << 40))?;
    let after = generator.received();
    let received: Vec<_> = after.zip(before).map(|(after, before)| after - before).collect();
    generator.close_all()?;
    let mean = received.iter().sum::<u64>() as f64 / received.len() as f64;
    let slowest = received.into_iter().min().unwrap_or_default() as f64;
    Ok(vec![(Measure::Fairness, slowest / mean)])
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
    generator.bound_send_buffers(Some(64 << 10));
    generator.open(address, count, Request::Get(1), ask)?;
    generator.request_and_ignore(Request::Get(64 << 20));
    generator.idle(FILL)?;
    let used = proxy.memory().saturating_sub(before);
    let mut tally = generator.churn(address, 500, 1, Request::Get(1), ask)?;
    generator.bound_send_buffers(None);
    generator.close_all()?;
    Ok(vec![
        (Measure::BackPressure, used as f64 / count as f64 / 1024.0),
        (
            Measure::BackPressureTail,
            tally.percentile(0.99).as_secs_f64() * 1e3,
        ),
    ])
}

const FILL: Duration = Duration::from_secs(2);
