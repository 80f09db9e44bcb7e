//! Snapshots that are damaged, missing, or newer than the database.

use std::fs;
use std::path::{Path, PathBuf};

use certgate_store::embedded::{Options, Recovery};
use certgate_store::{Batch, EmbeddedStore, Entry, Expect, Store, StoreError};

use super::{copy, everything, open, quiet};

#[tokio::test]
async fn a_missing_database_is_rebuilt_from_the_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let before = two_snapshots(dir.path()).await.1;
    fs::remove_dir_all(dir.path().join("db")).unwrap();
    let (store, recovery) = open(dir.path());
    match &recovery {
        Recovery::Rebuilt {
            damaged: None,
            snapshot: Some(_),
            lost_after: None,
            ..
        } => {}
        other => panic!("{other}"),
    }
    assert_eq!(everything(&store).await, before);
}

#[tokio::test]
async fn a_snapshot_damaged_in_any_region_gives_way_to_the_older_one() {
    let original = tempfile::tempdir().unwrap();
    let (older, newer) = two_snapshots(original.path()).await;
    fs::remove_dir_all(original.path().join("db")).unwrap();
    let snapshot = snapshots(original.path()).pop().unwrap();
    let whole = fs::read(&snapshot).unwrap();
    let name = snapshot.file_name().unwrap();
    for at in (0..24).map(|n| n * whole.len() / 24) {
        for cut in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            copy(original.path(), dir.path());
            let mut damaged = whole.clone();
            if cut {
                damaged.truncate(at)
            } else {
                damaged[at] ^= 0x40
            }
            fs::write(dir.path().join("snapshots").join(name), damaged).unwrap();

            let (store, recovery) = open(dir.path());
            assert_eq!(everything(&store).await, older, "at {at}, cut: {cut}");
            let Recovery::Rebuilt {
                snapshot: Some(used),
                lost_after,
                ..
            } = recovery
            else {
                panic!("{recovery}")
            };
            assert_eq!(lost_after, Some(used), "the loss of the newer commits is told");
            assert!(
                store.revision().await.unwrap() > newer.iter().map(|entry| entry.revision).max().unwrap()
            );
        }
    }
}

#[tokio::test]
async fn without_database_and_snapshots_the_store_refuses_to_begin_anew() {
    let dir = tempfile::tempdir().unwrap();
    two_snapshots(dir.path()).await;
    fs::remove_dir_all(dir.path().join("db")).unwrap();
    fs::remove_dir_all(dir.path().join("snapshots")).unwrap();
    let refused = EmbeddedStore::open(dir.path(), quiet());
    assert!(matches!(refused, Err(StoreError::Damaged { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_database_older_than_its_snapshot_gives_way_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let old = tempfile::tempdir().unwrap();
    drop(open(dir.path()).0);
    copy(&dir.path().join("db"), &old.path().join("db"));
    let before = two_snapshots(dir.path()).await.1;
    fs::remove_dir_all(dir.path().join("db")).unwrap();
    copy(&old.path().join("db"), &dir.path().join("db"));

    let (store, recovery) = open(dir.path());
    assert!(
        matches!(recovery, Recovery::Rebuilt { lost_after: None, .. }),
        "{recovery}"
    );
    assert_eq!(everything(&store).await, before);
}

#[tokio::test]
async fn changes_are_in_a_snapshot_soon_after_without_being_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        snapshot_delay: std::time::Duration::from_millis(10),
        ..Options::default()
    };
    let (store, _) = EmbeddedStore::open(dir.path(), options).unwrap();
    let revision = store
        .commit(Batch::new().put("a", "1", Expect::Any))
        .await
        .unwrap();
    let wanted = dir
        .path()
        .join(format!("snapshots/{:020}.snapshot", revision.value()));
    tokio::time::timeout(std::time::Duration::from_secs(20), async {
        while !wanted.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    })
    .await
    .expect("the snapshot is written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_taken_under_commits_holds_no_torn_batch() {
    let dir = tempfile::tempdir().unwrap();
    let store = std::sync::Arc::new(open(dir.path()).0);
    let keys = 1200;
    let write = move |round: u32| {
        (0..keys).step_by(3).fold(Batch::new(), move |batch, n| {
            batch.put(format!("k/{n:04}"), round.to_le_bytes(), Expect::Any)
        })
    };
    for n in (0..keys).step_by(400) {
        let fill = (n..n + 400).fold(Batch::new(), |batch, n| {
            batch.put(format!("k/{n:04}"), "fill", Expect::Any)
        });
        store.commit(fill).await.unwrap();
    }
    store.commit(write(0)).await.unwrap();
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            for round in 1..60 {
                store.commit(write(round)).await.unwrap();
            }
        })
    };
    while !writer.is_finished() {
        store.snapshot().await.unwrap();
        let aside = tempfile::tempdir().unwrap();
        fs::create_dir(aside.path().join("snapshots")).unwrap();
        let newest = snapshots(dir.path()).pop().unwrap();
        fs::copy(
            &newest,
            aside.path().join("snapshots").join(newest.file_name().unwrap()),
        )
        .unwrap();
        let (rebuilt, _) = open(aside.path());
        let entries = everything(&rebuilt).await;
        assert_eq!(entries.len(), keys);
        assert!(
            entries
                .iter()
                .step_by(3)
                .all(|entry| entry.value == entries[0].value),
            "a torn batch"
        );
    }
    writer.await.unwrap();
}

/// A closed store with two snapshots, and what it held at each.
async fn two_snapshots(path: &Path) -> (Vec<Entry>, Vec<Entry>) {
    let (store, _) = open(path);
    let mut states = Vec::new();
    for round in 0..2_u8 {
        for n in 0..20_usize {
            let batch = Batch::new().put(format!("k/{n}"), vec![round; n * 700], Expect::Any);
            store.commit(batch).await.unwrap();
        }
        store
            .commit(Batch::new().delete(format!("k/{round}"), Expect::Any))
            .await
            .unwrap();
        store.snapshot().await.unwrap();
        states.push(everything(&store).await);
    }
    drop(store);
    assert_eq!(snapshots(path).len(), 2);
    let newer = states.pop().unwrap();
    (states.pop().unwrap(), newer)
}

fn snapshots(path: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(path.join("snapshots"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

#[tokio::test]
async fn what_was_there_at_a_checkpoint_is_kept_without_the_database() {
    // From the first byte on, so that the later checkpoints write changes only.
    let options = Options {
        changes_from_bytes: 0,
        ..quiet()
    };
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = EmbeddedStore::open(dir.path(), options).unwrap();
    for n in 0..5 {
        let batch = Batch::new().put(format!("key/{n}"), vec![n], Expect::Absent);
        store.commit(batch).await.unwrap();
        store.checkpoint().await.unwrap();
        let copied = tempfile::tempdir().unwrap();
        copy(&dir.path().join("snapshots"), &copied.path().join("snapshots"));
        let before = everything(&store).await;
        let (again, _) = open(copied.path());
        assert_eq!(everything(&again).await, before, "after checkpoint {n}");
    }
}
