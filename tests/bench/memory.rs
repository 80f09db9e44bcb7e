//! Memory of a process and all its descendants.

use std::fs;

use crate::cpu::tree;

/// The proportional set size, in bytes: a page that several processes share counts by its share.
pub(crate) fn of_tree(root: u32) -> u64 {
    tree(root).into_iter().map(pss).sum()
}

fn pss(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kibibytes.unwrap_or_default() * 1024
}
