//! The meter of CPU time.

use std::hint::black_box;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::time::ClockId;

use crate::cpu;

/// Both measure this process's tree or add to it.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn a_thread_that_has_ended_counts_to_the_millisecond() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let own = process_clock();
    let before = cpu::of_tree(std::process::id());
    let burnt = std::thread::spawn(|| burn(Duration::from_millis(33)))
        .join()
        .unwrap();
    let counted = cpu::of_tree(std::process::id()).since(&before);
    let own = process_clock() - own;
    assert!(counted >= burnt, "{counted:?} of {burnt:?}");
    assert!(
        counted <= own + Duration::from_millis(1),
        "{counted:?} of {own:?}"
    );
}

#[test]
fn a_process_that_has_ended_counts_by_its_parent() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let loops = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
    // The outer one waits for the inner, says what that took, and stays.
    let script = format!("read go; sh -c '{loops}'; times; echo; read end");
    let mut parent = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let before = cpu::of_tree(parent.id());
    let mut input = parent.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, b"go\n").unwrap();
    let lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    let lines: Vec<_> = lines.map(Result::unwrap).take(2).collect();
    let counted = cpu::of_tree(parent.id()).since(&before);
    drop(input);
    parent.wait().unwrap();
    let child = said(&lines[1]);
    let apart = counted.abs_diff(child);
    assert!(child > Duration::from_millis(30), "{lines:?}");
    // Two counts in ticks, and what the parent did itself.
    assert!(
        apart <= Duration::from_millis(30),
        "{counted:?} of {child:?}: {lines:?}"
    );
}

#[test]
fn a_process_that_is_not_there_has_used_nothing() {
    let nobody = cpu::of_tree(u32::MAX);
    assert_eq!(nobody.since(&cpu::of_tree(u32::MAX)), Duration::ZERO);
}

#[test]
fn a_tree_holds_the_children_of_the_process() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let tree = cpu::tree(std::process::id());
    drop(child.stdin.take());
    child.wait().unwrap();
    assert!(
        tree.contains(&std::process::id()) && tree.contains(&child.id()),
        "{tree:?}"
    );
}

/// Works until this thread has used so much; how much it was in the end.
fn burn(wanted: Duration) -> Duration {
    let began = cpu::of_this_thread();
    let mut number = 0_u64;
    loop {
        let used = cpu::of_this_thread() - began;
        if used >= wanted {
            return used;
        }
        number = (0..10_000).fold(number, |sum, next| black_box(sum.wrapping_add(next)));
    }
}

fn process_clock() -> Duration {
    ClockId::CLOCK_PROCESS_CPUTIME_ID.now().unwrap().into()
}

/// User and system time of the children, as the shell's `times` writes them: `0m0.25s 0m0.01s`.
fn said(line: &str) -> Duration {
    let times = line.split_whitespace().map(|time| {
        let (minutes, seconds) = time.trim_end_matches('s').split_once('m').unwrap();
        60.0 * minutes.parse::<f64>().unwrap() + seconds.parse::<f64>().unwrap()
    });
    Duration::from_secs_f64(times.sum())
}
