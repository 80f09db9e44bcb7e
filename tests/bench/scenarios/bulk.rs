//! Large bodies on a few connections: CPU time of each byte.

use super::Found;
use crate::certificates::ONE_NAME;
use crate::generator::{Group, Request, Sessions};
use crate::measure::Measure;
use crate::proxy::Proxy;
use crate::testbed::{Measured, Testbed, server_name};

pub(super) fn download(proxy: &Proxy, testbed: &mut Testbed) -> Found {
    let measured = transfer(proxy, testbed, Request::Get, Request::Count)?;
    Ok(vec![
        (Measure::Download, measured.nanos_each_byte()),
        (Measure::DownloadGenerator, measured.generator),
    ])
}

pub(super) fn upload(proxy: &Proxy, testbed: &mut Testbed) -> Found {
    let measured = transfer(proxy, testbed, Request::Post, Request::Post)?;
    Ok(vec![
        (Measure::Upload, measured.nanos_each_byte()),
        (Measure::UploadGenerator, measured.generator),
    ])
}

fn transfer(
    proxy: &Proxy,
    testbed: &mut Testbed,
    warm_up: fn(u64) -> Request,
    request: fn(u64) -> Request,
) -> Result<Measured, String> {
    let sessions = Sessions::new(Group::X25519, false, 1);
    let name = server_name(ONE_NAME);
    let bytes = if testbed.quick { 96 << 20 } else { 256 << 20 };
    let ask = &mut |slot| sessions.identity(slot, &name);
    // Windows have grown when it is measured.
    let generator = &mut testbed.generator;
    generator.open(proxy.site.ecdsa, CONNECTIONS, warm_up(WARM_UP), ask)?;
    let measured = testbed.measure(proxy, |generator| generator.exchange(1, request(bytes)))?;
    testbed.generator.close_all()?;
    Ok(measured)
}

const CONNECTIONS: usize = 4;
const WARM_UP: u64 = 8 << 20;
