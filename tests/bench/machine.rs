//! Where it was measured.

use std::fmt;
use std::fs;

use serde::{Deserialize, Serialize};

/// The processor, the kernel, and what of the network matters.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) congestion_control: String,
}

impl Machine {
    /// This one; as the network namespace of this process has it.
    pub(crate) fn this() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let cpus = read("/proc/cpuinfo");
        let models: Vec<_> = cpus
            .lines()
            .filter_map(|line| Some(line.strip_prefix("model name")?.split_once(':')?.1.trim()))
            .collect();
        Self {
            cpu: models.first().unwrap_or(&"an unknown processor").to_string(),
            cores: cpus.lines().filter(|line| line.starts_with("processor")).count(),
            kernel: read("/proc/sys/kernel/osrelease"),
            congestion_control: read("/proc/sys/net/ipv4/tcp_congestion_control"),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} cores of {}, Linux {}, loopback, congestion control {}",
            self.cores, self.cpu, self.kernel, self.congestion_control
        )
    }
}
