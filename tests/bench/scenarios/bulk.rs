//! Large bodies on a few connections: CPU time of each byte.

use super::Found;
use crate::certificates::ONE_NAME;
use crate::generator::{Group, Request, Sessions};
use crate::measure::Measure;
use crate::proxy::Proxy;
use crate::testbed::{Testbed, server_name};

pub(super) fn download(proxy: &Proxy, testbed: &mut Testbed) -> Found {
    let nanos = transfer(proxy, testbed, Request::Get)?;
    Ok(vec![(Measure::Download, nanos)])
}

pub(super) fn upload(proxy: &Proxy, testbed: &mut Testbed) -> Found {
    let nanos = transfer(proxy, testbed, Request::Post)?;
    Ok(vec![(Measure::Upload, nanos)])
}

/// CPU time of each byte in ns.
fn transfer(proxy: &Proxy, testbed: &mut Testbed, request: fn(u64) -> Request) -> Result<f64, String> {
    let sessions = Sessions::new(Group::X25519, false, 1);
    let name = server_name(ONE_NAME);
    let bytes = if testbed.quick { 96 << 20 } else { 256 << 20 };
    let generator = &mut testbed.generator;
    // Windows have grown when it is measured.
    generator.open(proxy.site.ecdsa, CONNECTIONS, request(WARM_UP), &mut |slot| {
        sessions.identity(slot, &name)
    })?;
    let before = proxy.cpu();
    let tally = generator.exchange(1, request(bytes))?;
    let used = proxy.cpu().since(&before);
    generator.close_all()?;
    Ok(used.as_secs_f64() * 1e9 / tally.bytes as f64)
}

const CONNECTIONS: usize = 4;
const WARM_UP: u64 = 8 << 20;
