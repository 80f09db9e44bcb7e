//! `kill -9` at any moment.
//!
//! A child process writes batches from several tasks and prints each acknowledgement. Whenever it is killed,
//! what it had printed must be there. `CERTGATE_KILL_ROUNDS` sets the number of kills.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use certgate_store::embedded::{Options, Recovery};
use certgate_store::{Batch, EmbeddedStore, Expect, Revision, Store};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::{child, child_store, open};

const TASKS: u64 = 4;
/// Each task goes round so many log entries.
const LOG: u64 = 60;

#[tokio::test]
async fn whatever_was_acknowledged_before_a_kill_is_there_after_it() {
    let rounds = std::env::var("CERTGATE_KILL_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(40);
    let dir = tempfile::tempdir().unwrap();
    let mut runner = TestRunner::default();
    let mut acknowledged: HashMap<u64, u64> = HashMap::new();
    let mut revision = Revision::default();
    let mut total = 0;
    for round in 0..rounds {
        let delay = Duration::from_millis((0..250_u64).new_tree(&mut runner).unwrap().current());
        for line in killed_after(delay, dir.path()) {
            total += 1;
            let mut numbers = line.split(' ').map(|number| number.parse::<u64>().unwrap());
            let mut next = || numbers.next().unwrap();
            acknowledged.insert(next(), next());
            revision = revision.max(Revision::new(next()));
        }

        let (store, recovery) = open(dir.path());
        assert!(
            matches!(recovery, Recovery::Created | Recovery::Clean),
            "round {round}: {recovery}"
        );
        let found = store.revision().await.unwrap();
        assert!(
            found >= revision,
            "round {round}: revision {found} after {revision}"
        );
        revision = found;
        for task in 0..TASKS {
            let last = check_task(&store, task, acknowledged.get(&task).copied()).await;
            acknowledged.extend(last.map(|last| (task, last)));
        }
        assert!(store.verify().await.unwrap().damaged.is_empty());
    }
    assert!(total > rounds, "only {total} acknowledgements in {rounds} rounds");
}

/// Everything of this task up to the last acknowledged batch is there, and no batch is there in part.
async fn check_task(store: &EmbeddedStore, task: u64, acknowledged: Option<u64>) -> Option<u64> {
    let number = async |key: String| {
        let entry = store.get(&key).await.unwrap()?;
        Some(u64::from_le_bytes(entry.value.try_into().unwrap()))
    };
    let one = number(format!("{task}/one")).await;
    let two = number(format!("{task}/two")).await;
    assert_eq!(one, two, "task {task}: a torn batch");
    assert!(
        one >= acknowledged,
        "task {task}: {one:?} after {acknowledged:?} was acknowledged"
    );
    let last = one?;
    for batch in last.saturating_sub(LOG / 2).max(1)..=last {
        let entry = store
            .get(&log_key(task, batch))
            .await
            .unwrap()
            .expect("an acknowledged entry");
        assert!(
            entry.value == log_value(task, batch),
            "task {task}, batch {batch}"
        );
    }
    let deleted = store.get(&log_key(task, last + LOG / 4)).await.unwrap();
    assert_eq!(
        deleted, None,
        "task {task}, batch {last}: its deletion is missing"
    );
    Some(last)
}

/// The acknowledgements a child printed before it was killed.
fn killed_after(delay: Duration, path: &std::path::Path) -> Vec<String> {
    let mut child = child("killing::child_that_writes_until_it_is_killed", path)
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        let lines = stdout.lines().map_while(Result::ok);
        lines
            .filter_map(|line| line.strip_prefix("ack ").map(str::to_owned))
            .collect()
    });
    // The moment of the kill is random; nothing is waited for.
    std::thread::sleep(delay);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "is the process that the test above kills"]
async fn child_that_writes_until_it_is_killed() {
    let options = Options {
        snapshot_delay: Duration::from_millis(15),
        changes_from_bytes: 0,
        ..Options::default()
    };
    let store = Arc::new(EmbeddedStore::open(&child_store(), options).unwrap().0);
    println!();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| tokio::spawn(write(store.clone(), task)))
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn write(store: Arc<EmbeddedStore>, task: u64) {
    let found = store.get(&format!("{task}/one")).await.unwrap();
    let mut batch = found.map_or(0, |entry| u64::from_le_bytes(entry.value.try_into().unwrap()));
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end {
        batch += 1;
        let changes = Batch::new()
            .put(format!("{task}/one"), batch.to_le_bytes(), Expect::Any)
            .put(log_key(task, batch), log_value(task, batch), Expect::Any)
            .delete(log_key(task, batch + LOG / 4), Expect::Any)
            .put(format!("{task}/two"), batch.to_le_bytes(), Expect::Any);
        let revision = store.commit(changes).await.unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "ack {task} {batch} {revision}")
            .and_then(|()| out.flush())
            .unwrap();
    }
}

fn log_key(task: u64, batch: u64) -> String {
    format!("{task}/log/{}", batch % LOG)
}

fn log_value(task: u64, batch: u64) -> Vec<u8> {
    let size = if batch.is_multiple_of(17) {
        50_000
    } else {
        batch * 37 % 4000
    };
    batch
        .to_le_bytes()
        .into_iter()
        .cycle()
        .take(size as usize)
        .map(|byte| byte ^ task as u8)
        .collect()
}
