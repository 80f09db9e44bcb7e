//! A proxy under test: started on its core, measured, ended.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::cpu::CpuTime;
use crate::{cpu, memory};

/// Where a proxy is to listen, what it is to serve, and where to forward to.
pub(crate) struct Site {
    /// For its configuration, its log and what else it writes; empty.
    pub(crate) directory: PathBuf,
    /// Where it serves the ECDSA certificate, or all of many.
    pub(crate) ecdsa: SocketAddr,
    /// Where it serves the RSA certificate; not with many.
    pub(crate) rsa: SocketAddr,
    /// More addresses that serve as `ecdsa` does.
    pub(crate) more: Vec<SocketAddr>,
    /// Seconds without traffic after which `ecdsa` closes a connection.
    pub(crate) idle_timeout: u32,
    /// Connections of clients that it must be able to have open.
    pub(crate) connections: usize,
    /// The backend.
    pub(crate) backend: SocketAddr,
    /// Threads or processes that work.
    pub(crate) workers: usize,
    /// What it serves.
    pub(crate) served: Served,
}

/// The certificates of a site, as PEM files with chain and key.
#[derive(Clone, Debug)]
pub(crate) enum Served {
    /// An ECDSA certificate and an RSA one, each on its own port.
    Pair {
        /// Chain and key in one file.
        ecdsa: PathBuf,
        /// Chain and key in one file.
        rsa: PathBuf,
    },
    /// So many, by server name, on one port.
    Many {
        /// A PEM file with chain and key for each name.
        directory: PathBuf,
        /// A store of certgate's with the same.
        store: PathBuf,
    },
}

/// A running proxy with all its processes. It is ended when this is dropped.
pub(crate) struct Proxy {
    child: Child,
    /// What it was configured with.
    pub(crate) site: Site,
    /// When it was started.
    pub(crate) started: Instant,
}

impl Proxy {
    /// Starts `program` on `cores`; what it writes goes to the file `log` of its directory.
    pub(crate) fn start(program: &Command, site: Site, cores: &str) -> Result<Self, String> {
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", cores]).arg(program.get_program());
        command.args(program.get_args());
        for (name, value) in program.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        let log = site.directory.join("log");
        let log = File::create(&log).map_err(|error| format!("cannot write {}: {error}", log.display()))?;
        let errors = log.try_clone().map_err(|error| error.to_string())?;
        let started = Instant::now();
        let child = command
            .current_dir(&site.directory)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", program.get_program().display()))?;
        Ok(Self { child, site, started })
    }

    /// CPU time of all its processes so far.
    pub(crate) fn cpu(&self) -> CpuTime {
        cpu::of_tree(self.child.id())
    }

    /// Memory of all its processes, in bytes: each page counts by its share (PSS).
    pub(crate) fn memory(&self) -> u64 {
        memory::of_tree(self.child.id())
    }

    /// Whether it has not ended by itself.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // Nothing is lost if it has ended.
            let _ = kill_process(pid, signal);
        }
    }

    /// The last lines that it wrote.
    pub(crate) fn last_words(&self) -> String {
        let text = std::fs::read(self.site.directory.join("log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        if text.trim().is_empty() {
            return "it wrote nothing".to_owned();
        }
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }

    fn end(&mut self) {
        let tree = cpu::tree(self.child.id());
        self.signal(Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(2);
        while self.is_running() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        // Those that take their time, and children whose parent did not.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for pid in tree
            .into_iter()
            .filter(|pid| Path::new(&format!("/proc/{pid}")).exists())
        {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.end();
    }
}

/// Seconds without traffic after which a listener closes a connection, unless something else is said.
pub(crate) const IDLE_TIMEOUT: u32 = 900;

/// Loopback addresses that are free at the moment.
pub(crate) fn free_addresses(count: usize) -> Result<Vec<SocketAddr>, String> {
    let fail = |error: std::io::Error| format!("no free port: {error}");
    // All of them at once, or some might be given twice.
    let listeners = (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let listeners = listeners.collect::<Result<Vec<_>, _>>().map_err(fail)?;
    listeners
        .iter()
        .map(|listener| listener.local_addr().map_err(fail))
        .collect()
}
