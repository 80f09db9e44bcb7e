//! CPU time of a process and all its descendants.
//!
//! `/proc/PID/task/*/schedstat` counts nanoseconds of every thread that lives; a thread or process that ends takes its
//! count away. Where something ends while it is measured, as the old workers of a reload do, `/proc/PID/stat` is used: it
//! includes children that ended, in ticks of 10 ms.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// User and system time until a moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CpuTime {
    /// Of the threads that live.
    living: Duration,
    /// Of the processes that live and of their children that were waited for, in ticks.
    all: Duration,
}

impl CpuTime {
    /// What was used since `earlier`, by threads that live then and now.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        self.living.saturating_sub(earlier.living)
    }

    /// What was used since `earlier`, where processes have ended since; ±10 ms for each process.
    pub(crate) fn with_ended_since(self, earlier: Self) -> Duration {
        self.all.saturating_sub(earlier.all)
    }
}

/// The time of `root` and its descendants.
pub(crate) fn of_tree(root: u32) -> CpuTime {
    let mut sum = CpuTime::default();
    for pid in tree(root) {
        sum.all += ticks(pid);
        sum.living += match nanoseconds(pid) {
            Some(time) => time,
            None => ticks(pid),
        };
    }
    sum
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

fn nanoseconds(pid: u32) -> Option<Duration> {
    let threads = numbers(&format!("/proc/{pid}/task"));
    threads
        .map(|thread| first_number(&format!("/proc/{pid}/task/{thread}/schedstat")))
        .sum::<Option<u64>>()
        .map(Duration::from_nanos)
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
