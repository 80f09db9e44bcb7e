//! CPU time of a process and all its descendants.
//!
//! `/proc/PID/task/*/schedstat` counts nanoseconds of every thread that lives; a thread or process that ends takes its
//! count away. Where one ends while it is measured, as the old workers of a reload do, `/proc/PID/stat` has it, in ticks
//! of 10 ms.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// User and system time until a moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct CpuTime {
    /// Of each thread that lives.
    threads: BTreeMap<u32, Duration>,
    /// Of the processes that live and of their children that were waited for, in ticks.
    ticks: Duration,
}

impl CpuTime {
    /// What was used since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Duration {
        let of_thread = |(thread, time): (&u32, &Duration)| {
            let before = earlier.threads.get(thread).copied().unwrap_or_default();
            time.saturating_sub(before)
        };
        let living: Duration = self.threads.iter().map(of_thread).sum();
        match earlier
            .threads
            .keys()
            .all(|thread| self.threads.contains_key(thread))
        {
            true => living,
            false => living.max(self.ticks.saturating_sub(earlier.ticks)),
        }
    }
}

/// The time of `root` and its descendants.
pub(crate) fn of_tree(root: u32) -> CpuTime {
    let mut time = CpuTime::default();
    for pid in tree(root) {
        time.ticks += ticks(pid);
        for thread in numbers(&format!("/proc/{pid}/task")) {
            let file = format!("/proc/{pid}/task/{thread}/schedstat");
            if let Some(nanos) = first_number(&file) {
                time.threads.insert(thread, Duration::from_nanos(nanos));
            }
        }
    }
    time
}

/// `root` and its descendants.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for pid in numbers("/proc") {
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
    first_number("/proc/thread-self/schedstat").map_or(Duration::ZERO, Duration::from_nanos)
}

fn ticks(pid: u32) -> Duration {
    let fields = stat(pid).unwrap_or_default();
    let times = fields.get(TIMES).unwrap_or_default().iter();
    let ticks: u32 = times.filter_map(|time| time.parse::<u32>().ok()).sum();
    ticks * TICK
}

/// The fields of proc_pid_stat(5) after the name, which may hold anything.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_ascii_whitespace().map(str::to_owned).collect())
}

fn numbers(directory: &str) -> impl Iterator<Item = u32> + use<> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn first_number(file: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.split_ascii_whitespace().next()?.parse().ok()
}

const PARENT: usize = 1;
/// utime, stime, cutime, cstime.
const TIMES: std::ops::Range<usize> = 11..15;
/// USER_HZ is 100 on every Linux that Rust knows.
const TICK: Duration = Duration::from_millis(10);
