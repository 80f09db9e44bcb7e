//! CPU time of a process and all its descendants.
//!
//! Each process has a clock of its own, in nanoseconds, that counts its threads whether they live or have ended: see
//! clock_getcpuclockid(3). A process that ends takes its clock away. What it used is then known from its parent, who
//! has waited for it, in ticks of 10 ms: `/proc/PID/stat`. Of the programs here that happens where one replaces its
//! workers to read its configuration again.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use nix::time::ClockId;
use nix::unistd::Pid;

/// User and system time until a moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct CpuTime {
    /// Of each process that lives.
    living: BTreeMap<u32, Duration>,
    /// Of those that have ended and that a living one has waited for, in ticks.
    ended: Duration,
}

impl CpuTime {
    /// What was used since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Duration {
        let living = self.living.iter().map(|(pid, time)| {
            let before = earlier.living.get(pid).copied().unwrap_or_default();
            time.saturating_sub(before)
        });
        // All that they ever used, so without what they had used before.
        let gone = earlier.living.iter();
        let gone = gone.filter(|(pid, _)| !self.living.contains_key(pid));
        let before: Duration = gone.map(|(_, time)| *time).sum();
        let ended = self.ended.saturating_sub(earlier.ended);
        living.sum::<Duration>() + ended.saturating_sub(before)
    }
}

/// The time of `root` and its descendants.
pub(crate) fn of_tree(root: u32) -> CpuTime {
    let mut time = CpuTime::default();
    for pid in tree(root) {
        if let Some(used) = of_process(pid) {
            time.living.insert(pid, used);
            time.ended += of_ended_children(pid);
        }
    }
    time
}

/// `root` and its descendants.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for pid in processes() {
        if let Some(parent) = stat(pid).and_then(|fields| fields.get(PARENT)?.parse().ok()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(pid) = tree.get(next) {
        tree.extend(children.get(pid).into_iter().flatten());
        next += 1;
    }
    tree
}

/// CPU time of this thread.
pub(crate) fn of_this_thread() -> Duration {
    now(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap_or_default()
}

/// Nothing when it has ended.
fn of_process(pid: u32) -> Option<Duration> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?);
    now(ClockId::pid_cpu_clock_id(pid).ok()?)
}

fn now(clock: ClockId) -> Option<Duration> {
    clock.now().ok().map(Duration::from)
}

fn of_ended_children(pid: u32) -> Duration {
    let fields = stat(pid).unwrap_or_default();
    let times = fields.get(CHILDREN_TIMES).unwrap_or_default().iter();
    let ticks: u32 = times.filter_map(|time| time.parse::<u32>().ok()).sum();
    ticks * TICK
}

/// The fields of proc_pid_stat(5) after the name, which may hold anything.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_ascii_whitespace().map(str::to_owned).collect())
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

const PARENT: usize = 1;
/// cutime, cstime.
const CHILDREN_TIMES: std::ops::Range<usize> = 13..15;
/// USER_HZ is 100 on every Linux that Rust knows.
const TICK: Duration = Duration::from_millis(10);
