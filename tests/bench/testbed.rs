//! Where the proxies are measured: the generator on its core, and a fresh directory for each proxy.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustls::pki_types::ServerName;

use crate::certificates::{Authority, ONE_NAME};
use crate::cpu;
use crate::generator::{Generator, Group, Request, Sessions, Tally};
use crate::peers::Peer;
use crate::proxy::{IDLE_TIMEOUT, Proxy, Served, Site, free_addresses};

/// The generator, and what the proxies need.
pub(crate) struct Testbed {
    pub(crate) generator: Generator,
    /// Whether measurements are to be short.
    pub(crate) quick: bool,
    /// Where everything is kept.
    pub(crate) directory: PathBuf,
    pair: Served,
    started: BTreeSet<(String, usize)>,
}

/// What a load has cost.
pub(crate) struct Measured {
    /// What came of it.
    pub(crate) tally: Tally,
    /// CPU time of the proxy.
    pub(crate) used: Duration,
    /// The generator's part of its core, in hundredths. Near 100 it is the limit, and the proxy has waited for it.
    pub(crate) generator: f64,
}

impl Measured {
    /// CPU time of each request, in µs.
    pub(crate) fn micros_each(&self) -> f64 {
        self.used.as_secs_f64() * 1e6 / self.tally.answers as f64
    }

    /// CPU time of each byte of the bodies, in ns.
    pub(crate) fn nanos_each_byte(&self) -> f64 {
        self.used.as_secs_f64() * 1e9 / self.tally.bytes as f64
    }
}

impl Testbed {
    /// Makes the certificates, and takes the generator's core.
    pub(crate) fn new(directory: &Path, quick: bool) -> Result<Self, String> {
        let fail = |error: std::io::Error| format!("cannot prepare {}: {error}", directory.display());
        fs::create_dir_all(directory.join("certificates")).map_err(fail)?;
        let directory = fs::canonicalize(directory).map_err(fail)?;
        let authority = Authority::new().map_err(|error| format!("cannot make certificates: {error}"))?;
        let (ecdsa, rsa) = authority.pair(&directory.join("certificates")).map_err(fail)?;
        let mut core = CpuSet::new();
        core.set(GENERATOR_CORE);
        sched_setaffinity(None, &core).map_err(|error| format!("cannot pin the generator: {error}"))?;
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        setrlimit(Resource::Nofile, raised)
            .map_err(|error| format!("cannot raise the limit of files: {error}"))?;
        Ok(Self {
            generator: Generator::new().map_err(fail)?,
            quick,
            directory,
            pair: Served::Pair { ecdsa, rsa },
            started: BTreeSet::new(),
        })
    }

    /// How many connections a proxy can have open here: up to `wanted`, for each takes two descriptors.
    pub(crate) fn most_connections(&self, wanted: usize) -> usize {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        wanted.min(limit.saturating_sub(400) / 2)
    }

    /// What all proxies serve unless it is many: one name, ECDSA and RSA.
    pub(crate) fn pair(&self) -> Served {
        self.pair.clone()
    }

    /// Whether it is the first time in this run that a proxy called `peer` serves `count` certificates.
    pub(crate) fn is_first_start(&mut self, peer: &str, count: usize) -> bool {
        self.started.insert((peer.to_owned(), count))
    }

    /// Starts a proxy with one worker on the first core, and waits until it serves.
    pub(crate) fn start(&mut self, peer: &Peer) -> Result<Proxy, String> {
        let served = self.pair();
        let proxy = self.launch(peer, served, 0, ONE_WORKER)?;
        self.ready(proxy, ONE_NAME)
    }

    /// Starts a proxy that listens on `more` addresses besides; it may not serve yet.
    pub(crate) fn launch(
        &mut self,
        peer: &Peer,
        served: Served,
        more: usize,
        (workers, cores): (usize, &str),
    ) -> Result<Proxy, String> {
        self.generator.reset();
        // Two that are compared with each other run at once.
        let directory = self.directory.join("run").join(match served {
            Served::Pair { .. } => peer.name.clone(),
            Served::Many { .. } => format!("{}-many", peer.name),
        });
        // What the last one left behind.
        let _ = fs::remove_dir_all(&directory);
        let fail = |error: std::io::Error| format!("cannot configure {}: {error}", peer.name);
        fs::create_dir_all(&directory).map_err(fail)?;
        let mut addresses = free_addresses(2 + more)?;
        let more = addresses.split_off(2);
        let site = Site {
            directory,
            ecdsa: addresses[0],
            rsa: addresses[1],
            more,
            idle_timeout: IDLE_TIMEOUT,
            connections: self.most_connections(10_000) + 50,
            backend: self.generator.backend().map_err(fail)?,
            workers,
            served,
        };
        let command = peer.configure(&site).map_err(fail)?;
        Proxy::start(&command, site, cores)
    }

    /// Waits until `proxy` serves a certificate for `name` on each of its ports.
    pub(crate) fn ready(&mut self, mut proxy: Proxy, name: &str) -> Result<Proxy, String> {
        let mut addresses = vec![proxy.site.ecdsa];
        if let Served::Pair { .. } = proxy.site.served {
            addresses.push(proxy.site.rsa);
        }
        for address in addresses {
            self.first_answer(&mut proxy, address, name)?;
        }
        Ok(proxy)
    }

    /// Puts a load on `proxy` and measures what it costs.
    pub(crate) fn measure(
        &mut self,
        proxy: &Proxy,
        load: impl FnOnce(&mut Generator) -> Result<Tally, String>,
    ) -> Result<Measured, String> {
        let (before, own) = (proxy.cpu(), cpu::of_this_thread());
        let tally = load(&mut self.generator)?;
        let used = proxy.cpu().since(&before);
        let own = cpu::of_this_thread().saturating_sub(own);
        let generator = own.as_secs_f64() / tally.elapsed.as_secs_f64() * 100.0;
        Ok(Measured {
            tally,
            used,
            generator,
        })
    }

    /// Waits until `proxy` has nothing to do for a while, within half a minute.
    pub(crate) fn settle(&mut self, proxy: &Proxy) -> Result<(), String> {
        self.settle_within(Duration::from_secs(30), proxy)
    }

    /// Waits until `proxy` has nothing to do for a while, within `patience`: what is measured while it is still busy with
    /// its start is of no use.
    pub(crate) fn settle_within(&mut self, patience: Duration, proxy: &Proxy) -> Result<(), String> {
        let deadline = Instant::now() + patience;
        let (mut quiet, mut before) = (0, proxy.cpu());
        while Instant::now() < deadline {
            self.generator.idle(Duration::from_millis(100))?;
            let now = proxy.cpu();
            quiet = if now.since(&before) < Duration::from_millis(1) {
                quiet + 1
            } else {
                0
            };
            before = now;
            if quiet == 10 {
                return Ok(());
            }
        }
        Err(format!(
            "it does not come to rest within {} s",
            patience.as_secs()
        ))
    }

    /// Waits until `proxy` answers to `name` at `address`: when it did.
    pub(crate) fn first_answer(
        &mut self,
        proxy: &mut Proxy,
        address: SocketAddr,
        name: &str,
    ) -> Result<Instant, String> {
        let sessions = Sessions::new(Group::X25519, false, 1);
        let name = server_name(name);
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            let Err(error) = self.ask(address, &sessions, &name) else {
                return Ok(Instant::now());
            };
            if !proxy.is_running() {
                return Err(format!("it ended: {}", proxy.last_words()));
            }
            if Instant::now() > deadline {
                return Err(format!("it does not serve: {error}; {}", proxy.last_words()));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// One connection with one request; nothing else may be open.
    pub(crate) fn ask(
        &mut self,
        address: SocketAddr,
        sessions: &Sessions,
        name: &ServerName<'static>,
    ) -> Result<(), String> {
        let ask = &mut |slot| sessions.identity(slot, name);
        let asked = self.generator.open(address, 1, Request::Get(1), ask).map(drop);
        self.generator.reset();
        asked
    }
}

/// A name for the client to ask for.
pub(crate) fn server_name(name: &str) -> ServerName<'static> {
    ServerName::try_from(name.to_owned()).expect("the names of the bench are valid")
}

/// One worker, on the core that the generator leaves alone.
pub(crate) const ONE_WORKER: (usize, &str) = (1, "0");
const GENERATOR_CORE: usize = 1;
const START_PATIENCE: Duration = Duration::from_secs(300);
