//! One process at a time.

use std::io::{BufRead, BufReader, Read};

use certgate_store::{EmbeddedStore, StoreError};

use super::{child, child_store, open, quiet};

#[test]
fn a_second_opening_in_the_same_process_is_told_the_pid() {
    let dir = tempfile::tempdir().unwrap();
    let _store = open(dir.path());
    match EmbeddedStore::open(dir.path(), quiet()) {
        Err(StoreError::AlreadyRunning { path, pid }) => {
            assert_eq!((path.as_path(), pid), (dir.path(), Some(std::process::id())));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_second_process_is_told_the_pid_until_the_first_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut holder = child("locking::child_that_holds_the_store", dir.path())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("holding")));

    match EmbeddedStore::open(dir.path(), quiet()) {
        Err(StoreError::AlreadyRunning { pid, .. }) => assert_eq!(pid, Some(holder.id())),
        other => panic!("{other:?}"),
    }
    holder.kill().unwrap();
    holder.wait().unwrap();
    open(dir.path());
}

#[test]
#[ignore = "is the other process of the test above"]
fn child_that_holds_the_store() {
    let _store = open(&child_store());
    println!("\nholding");
    // Until the parent closes the pipe, or kills.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}
