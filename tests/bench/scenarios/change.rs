//! Something is changed while it serves: a certificate among many, or a field of the configuration.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Found, many};
use crate::certificates::{Authority, ecdsa_key};
use crate::generator::{Group, Request, Sessions};
use crate::kind::Kind;
use crate::many::name;
use crate::measure::Measure;
use crate::peers::Peer;
use crate::proxy::{Proxy, Served};
use crate::testbed::{Testbed, server_name};

/// What the change of one certificate took.
pub(super) struct Change {
    /// From when the store has it, or the peer was told, until it is served.
    pub(super) served: Duration,
    /// CPU time until it is served and nothing is left to do, without what the proxy uses in as long a time of rest.
    pub(super) used: Duration,
}

/// One certificate among ten thousand.
pub(super) fn one_of_many(peer: &Peer, testbed: &mut Testbed) -> Found {
    let (proxy, _) = many::start(peer, testbed, 10_000, 0)?;
    testbed.settle(&proxy)?;
    let change = several(&proxy, peer, testbed, [7, 8, 9])?;
    Ok(vec![
        (Measure::ChangeServed, change.served.as_secs_f64() * 1e3),
        (Measure::ChangeCpu, change.used.as_secs_f64() * 1e3),
    ])
}

/// One after the other, each with the median of what it took: the first change after a start is not like the others.
pub(super) fn several(
    proxy: &Proxy,
    peer: &Peer,
    testbed: &mut Testbed,
    numbers: [usize; 3],
) -> Result<Change, String> {
    let (mut served, mut used) = (Vec::new(), Vec::new());
    let before = proxy.cpu();
    testbed.generator.idle(LATER)?;
    let at_rest = proxy.cpu().since(&before).div_duration_f64(LATER);
    if at_rest > MOST_AT_REST {
        return Err(format!(
            "it uses {:.1} % of a core with nothing to do",
            at_rest * 100.0
        ));
    }
    for number in numbers {
        let change = one(proxy, peer, testbed, number, at_rest)?;
        served.push(change.served);
        used.push(change.used);
    }
    let median = |mut taken: Vec<Duration>| {
        taken.sort();
        taken[taken.len() / 2]
    };
    Ok(Change {
        served: median(served),
        used: median(used),
    })
}

/// Changes the certificate with `number`: certgate takes it by its command, the others read the file again. The proxy
/// uses the part `at_rest` of a core when it has nothing to do.
fn one(
    proxy: &Proxy,
    peer: &Peer,
    testbed: &mut Testbed,
    number: usize,
    at_rest: f64,
) -> Result<Change, String> {
    let Served::Many { directory, .. } = &proxy.site.served else {
        return Err("it does not serve many".to_owned());
    };
    let name = name(number);
    let mark = format!("changed-{}.example.test", proxy.site.ecdsa.port());
    let file = match peer.kind {
        Kind::Certgate => proxy.site.directory.join("changed.pem"),
        _ => directory.join(format!("{name}.pem")),
    };
    let authority = Authority::new().map_err(|error| error.to_string())?;
    let issued = ecdsa_key().and_then(|key| authority.issue(&[&name, &mark], &key));
    let pem = issued.map_err(|error| error.to_string())?.pem;
    let (began, before) = (Instant::now(), proxy.cpu());
    fs::write(&file, pem).map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    if peer.kind == Kind::Certgate {
        import(proxy, peer, &name)?;
    } else {
        proxy.signal(peer.reload_signal());
    }
    let told = Instant::now();
    let (sessions, server_name) = (Sessions::expecting(&mark), server_name(&name));
    let mut pause = Duration::from_millis(1);
    while let Err(error) = testbed.ask(proxy.site.ecdsa, &sessions, &server_name) {
        if told.elapsed() > PATIENCE {
            return Err(format!("it is not served: {error}"));
        }
        std::thread::sleep(pause);
        // Those that come too early are work too.
        pause = (pause * 5 / 4).min(Duration::from_millis(50));
    }
    let served = told.elapsed();
    testbed.settle(proxy)?;
    // What it does a little later, such as a snapshot, is part of it.
    testbed.generator.idle(LATER)?;
    testbed.settle(proxy)?;
    let used = proxy.cpu().since(&before);
    let used = used.saturating_sub(began.elapsed().mul_f64(at_rest));
    Ok(Change { served, used })
}

/// One field of one among a hundred listeners, while a connection is open on it.
pub(super) fn reload(peer: &Peer, testbed: &mut Testbed) -> Found {
    let (mut proxy, _) = many::start(peer, testbed, 10_000, 99)?;
    testbed.settle(&proxy)?;
    let sessions = Sessions::new(Group::X25519, false, 1);
    let held = server_name(&name(1));
    let ask = &mut |slot| sessions.identity(slot, &held);
    testbed
        .generator
        .open(proxy.site.ecdsa, 1, Request::Get(1), ask)?;
    proxy.site.idle_timeout += 1;
    peer.configure(&proxy.site)
        .map_err(|error| format!("cannot configure it: {error}"))?;
    let before = proxy.cpu();
    proxy.signal(peer.reload_signal());
    testbed.generator.idle(Duration::from_millis(300))?;
    testbed.settle(&proxy)?;
    let used = proxy.cpu().since(&before);
    if peer.kind == Kind::Certgate && !proxy.last_words().contains("the configuration was reloaded") {
        return Err(format!("it did not reload: {}", proxy.last_words()));
    }
    testbed
        .generator
        .exchange(1, Request::Get(1))
        .map_err(|error| format!("the connection that was open: {error}"))?;
    testbed.generator.close_all()?;
    Ok(vec![(Measure::ReloadCpu, used.as_secs_f64() * 1e3)])
}

fn import(proxy: &Proxy, peer: &Peer, name: &str) -> Result<(), String> {
    let mut command = Command::new(&peer.program);
    command.args([
        "cert",
        "import",
        name,
        "--certificate",
        "changed.pem",
        "--admin",
        "admin.sock",
    ]);
    command.current_dir(&proxy.site.directory).stdout(Stdio::null());
    let output = command
        .output()
        .map_err(|error| format!("cannot import: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "cannot import: {}",
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
/// More is no rest, and a change may be done in it.
const MOST_AT_REST: f64 = 0.01;
const LATER: Duration = Duration::from_secs(3);
