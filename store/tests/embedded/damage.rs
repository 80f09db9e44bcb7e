//! A database that is not what was written.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use certgate_store::embedded::Recovery;
use certgate_store::{Batch, Entry, Expect, Revision, Store};

use super::{copy, everything, open};

#[tokio::test]
async fn a_database_flipped_anywhere_comes_up_with_all_that_its_snapshot_holds() {
    for log in [Log::Settled, Log::Unsettled] {
        let original = tempfile::tempdir().unwrap();
        let state = fill(original.path(), true, log).await;
        let noticed = try_damages(original.path(), |found, recovery, damage| {
            assert!(found == state, "{log:?}, {damage}: {recovery}");
            if let Recovery::Rebuilt { lost_after, .. } = recovery {
                assert_eq!(
                    *lost_after, None,
                    "{log:?}, {damage}: the snapshot held everything"
                );
            }
        })
        .await;
        assert!(noticed >= 5, "{log:?}: only {noticed} damages were noticed");
    }
}

#[tokio::test]
async fn entries_newer_than_the_snapshot_are_saved_or_their_loss_is_told() {
    for log in [Log::Settled, Log::Unsettled] {
        let original = tempfile::tempdir().unwrap();
        let state = fill(original.path(), false, log).await;
        let snapshot: Vec<_> = state
            .iter()
            .filter(|entry| entry.key.starts_with("old/"))
            .collect();
        let mut saved = 0;
        try_damages(original.path(), |found, recovery, damage| {
            let damage = format!("{log:?}, {damage}, {recovery}");
            let by_key: BTreeMap<_, _> = found.iter().map(|entry| (&entry.key, entry)).collect();
            assert!(
                snapshot.iter().all(|entry| by_key.get(&entry.key) == Some(entry)),
                "lost: {damage}"
            );
            assert!(
                found.iter().all(|entry| state.contains(entry)),
                "made up: {damage}"
            );
            match recovery {
                Recovery::Rebuilt {
                    lost_after, salvaged, ..
                } => {
                    saved += salvaged;
                    assert!(
                        found == state || lost_after.is_some(),
                        "a loss was not told: {damage}"
                    );
                }
                Recovery::Shortened { lost_after, .. } => {
                    let kept = state.iter().filter(|entry| entry.revision <= *lost_after);
                    assert!(kept.eq(found), "another state than told: {damage}");
                }
                _ => assert!(found == state, "a loss was not noticed: {damage}"),
            }
        })
        .await;
        // Of a log that sled has to replay, it gives nothing that comes after the damage.
        assert!(
            saved > 0 || log == Log::Unsettled,
            "nothing was saved from a damaged database"
        );
    }
}

#[tokio::test]
async fn leftovers_of_sleds_own_snapshot_do_not_matter() {
    let dir = tempfile::tempdir().unwrap();
    let state = fill(dir.path(), false, Log::Unsettled).await;
    for name in [
        "snap.0000000000000000.generating",
        "snap.FFFFFFFFFFFFFFFF.generating",
    ] {
        fs::write(dir.path().join("db").join(name), b"half of it").unwrap();
    }
    let (store, recovery) = open(dir.path());
    assert_eq!(recovery, Recovery::Clean);
    assert_eq!(everything(&store).await, state);
}

#[tokio::test]
async fn a_damaged_snapshot_of_sleds_own_is_set_aside_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), false, Log::Unsettled).await;
    // sled writes one at each opening.
    let (store, _) = open(dir.path());
    let state = everything(&store).await;
    drop(store);
    let snapshots: Vec<_> = fs::read_dir(dir.path().join("db"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("snap."))
        .collect();
    assert!(!snapshots.is_empty());
    for path in &snapshots {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    }
    let (store, recovery) = open(dir.path());
    match recovery {
        Recovery::Replayed { set_aside } => assert!(set_aside.is_dir()),
        other => panic!("{other}"),
    }
    assert_eq!(everything(&store).await, state);
}

#[tokio::test]
async fn after_a_recovery_revisions_and_tokens_are_larger_than_any_before() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store
        .commit(Batch::new().put("a", "1", Expect::Any))
        .await
        .unwrap();
    store.snapshot().await.unwrap();
    let lease = store
        .acquire("job", "a", Duration::from_secs(3600))
        .await
        .unwrap()
        .unwrap();
    drop(store);
    fs::write(dir.path().join("db/db"), b"no database").unwrap();

    let (store, recovery) = open(dir.path());
    let Recovery::Rebuilt {
        damaged: Some(damaged),
        ..
    } = recovery
    else {
        panic!("{recovery}")
    };
    assert!(damaged.join("db").exists(), "the damaged database is kept");
    let next = store
        .acquire("job", "b", Duration::from_secs(3600))
        .await
        .unwrap()
        .unwrap();
    assert!(next.token() > lease.token());
    drop(store);
    let (store, recovery) = open(dir.path());
    assert_eq!(recovery, Recovery::Clean, "the recovered store is a sound one");
    assert!(store.revision().await.unwrap() >= Revision::new(next.token()));
}

/// What sled does with the log when it opens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Log {
    /// It was opened since the last write: pages are found through sled's own snapshot, and read when needed.
    Settled,
    /// It replays the whole log, and takes the first damage for the end of it.
    Unsettled,
}

/// A closed store. Everything is in its snapshot, or only the entries under `old/`.
async fn fill(path: &Path, all_in_snapshot: bool, log: Log) -> Vec<Entry> {
    let (store, _) = open(path);
    for n in 0..60_usize {
        let batch = Batch::new().put(format!("old/{n}"), vec![n as u8; n * 150], Expect::Absent);
        store.commit(batch).await.unwrap();
    }
    if !all_in_snapshot {
        store.snapshot().await.unwrap();
    }
    for n in 0..60_usize {
        let batch = Batch::new().put(format!("new/{n}"), vec![n as u8; n * 150], Expect::Absent);
        store.commit(batch).await.unwrap();
    }
    if all_in_snapshot {
        store.snapshot().await.unwrap();
    }
    let state = everything(&store).await;
    drop(store);
    if log == Log::Settled {
        open(path);
    }
    state
}

/// Flips a byte, blanks a block, or cuts the end off a copy, at many places; opens it; hands over what is found.
/// Returns how many were not simply clean.
async fn try_damages(original: &Path, mut check: impl FnMut(&[Entry], &Recovery, &str)) -> u32 {
    let whole = fs::read(original.join("db/db")).unwrap();
    let written = whole.iter().rposition(|byte| *byte != 0).unwrap();
    let places = std::env::var("CERTGATE_DAMAGE_PLACES")
        .ok()
        .and_then(|places| places.parse().ok())
        .unwrap_or(24);
    let mut noticed = 0;
    for place in 0..places {
        let at = place * written / places + place * 7 % 13;
        for kind in ["flip", "blank", "cut"] {
            let dir = tempfile::tempdir().unwrap();
            copy(original, dir.path());
            let mut bytes = whole.clone();
            match kind {
                "flip" => bytes[at] ^= 0x55,
                "blank" => bytes[at..].iter_mut().take(512).for_each(|byte| *byte = 0),
                _ => bytes.truncate(at),
            }
            fs::write(dir.path().join("db/db"), bytes).unwrap();

            let damage = format!("{kind} at {at} of {written}");
            let start = Instant::now();
            let (store, recovery) = open(dir.path());
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "{damage}: it took {:?}",
                start.elapsed()
            );
            check(&everything(&store).await, &recovery, &damage);
            noticed += u32::from(!recovery.is_clean());
            let next = store
                .commit(Batch::new().put("after", "1", Expect::Any))
                .await
                .unwrap();
            assert!(next > Revision::new(120), "{damage}");
        }
    }
    noticed
}
