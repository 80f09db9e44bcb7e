//! Where the proxies are measured: the generator on its core, and a fresh directory for each proxy.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::certificates::{Authority, ONE_NAME};
use crate::generator::{Generator, Group, Request, Sessions};
use crate::peers::Peer;
use crate::proxy::{Proxy, Served, Site, free_address};

/// The generator, and what the proxies need.
pub(crate) struct Testbed {
    pub(crate) generator: Generator,
    /// Whether measurements are to be short.
    pub(crate) quick: bool,
    directory: PathBuf,
    pair: Served,
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
        setrlimit(Resource::Nofile, raised).map_err(|error| format!("cannot raise the limit of files: {error}"))?;
        Ok(Self {
            generator: Generator::new().map_err(fail)?,
            quick,
            directory,
            pair: Served::Pair { ecdsa, rsa },
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

    /// Starts a proxy with one worker on the first core, and waits until it serves.
    pub(crate) fn start(&mut self, peer: &Peer) -> Result<Proxy, String> {
        let served = self.pair();
        let proxy = self.launch(peer, served, 1, PROXY_CORE)?;
        self.ready(proxy, ONE_NAME)
    }

    /// Starts a proxy; it may not serve yet.
    pub(crate) fn launch(
        &mut self,
        peer: &Peer,
        served: Served,
        workers: usize,
        cores: &str,
    ) -> Result<Proxy, String> {
        self.generator.reset();
        let directory = self.directory.join("run").join(&peer.name);
        // What the last one left behind.
        let _ = fs::remove_dir_all(&directory);
        let fail = |error: std::io::Error| format!("cannot configure {}: {error}", peer.name);
        fs::create_dir_all(&directory).map_err(fail)?;
        let site = Site {
            directory,
            ecdsa: free_address()?,
            rsa: free_address()?,
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
            let ask = &mut |slot| sessions.identity(slot, &name);
            let error = match self.generator.open(address, 1, Request::Get(1), ask) {
                Ok(_) => {
                    let answered = Instant::now();
                    self.generator.close_all()?;
                    return Ok(answered);
                }
                Err(error) => error,
            };
            self.generator.reset();
            if !proxy.is_running() {
                return Err(format!("it ended: {}", proxy.last_words()));
            }
            if Instant::now() > deadline {
                return Err(format!("it does not serve: {error}; {}", proxy.last_words()));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A name for the client to ask for.
pub(crate) fn server_name(name: &str) -> ServerName<'static> {
    ServerName::try_from(name.to_owned()).expect("the names of the bench are valid")
}

/// The cores of a proxy with one worker.
pub(crate) const PROXY_CORE: &str = "0";
const GENERATOR_CORE: usize = 1;
const START_PATIENCE: Duration = Duration::from_secs(60);
