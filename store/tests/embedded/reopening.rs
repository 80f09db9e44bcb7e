//! Closing and opening again.

use certgate_store::embedded::Recovery;
use certgate_store::{Batch, Expect, Store};

use super::{everything, open};

#[tokio::test]
async fn a_store_opened_again_holds_everything_and_goes_on_counting() {
    let dir = tempfile::tempdir().unwrap();
    let (store, recovery) = open(dir.path());
    assert_eq!(recovery, Recovery::Created);
    for n in 0..50_usize {
        store
            .commit(Batch::new().put(format!("k/{n}"), vec![n as u8; n * 1000], Expect::Absent))
            .await
            .unwrap();
    }
    let last = store
        .commit(Batch::new().delete("k/7", Expect::Any))
        .await
        .unwrap();
    let before = everything(&store).await;
    drop(store);

    let (store, recovery) = open(dir.path());
    assert_eq!(recovery, Recovery::Clean);
    assert_eq!(everything(&store).await, before);
    assert_eq!(store.revision().await.unwrap(), last);
    assert!(store.commit(Batch::new()).await.unwrap() > last);
}

#[tokio::test]
async fn a_lease_of_a_closed_store_is_free_and_its_token_outdated() {
    let dir = tempfile::tempdir().unwrap();
    let ttl = std::time::Duration::from_secs(3600);
    let (store, _) = open(dir.path());
    let old = store.acquire("job", "a", ttl).await.unwrap().unwrap();
    drop(store);

    let (store, _) = open(dir.path());
    assert!(store.commit(Batch::new().under(&old)).await.is_err());
    let new = store.acquire("job", "b", ttl).await.unwrap().unwrap();
    assert!(new.token() > old.token());
    assert!(store.keep(&old).await.is_err());
}

#[tokio::test]
async fn no_value_however_large_leaves_the_synced_log() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    for round in 0..3_u8 {
        for n in 0..30_usize {
            let value = vec![round; [11_264, 11_265, 100_000, 1_000_000][n % 4]];
            store
                .commit(Batch::new().put(format!("{}/{n}", "k".repeat(500)), value, Expect::Any))
                .await
                .unwrap();
        }
    }
    let blobs = std::fs::read_dir(dir.path().join("db/blobs")).unwrap().count();
    assert_eq!(blobs, 0, "sled never syncs its side files");
}

#[tokio::test]
async fn verifying_counts_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    for n in 0..1500 {
        store
            .commit(Batch::new().put(format!("k/{n}"), [7; 10], Expect::Any))
            .await
            .unwrap();
    }
    let found = store.verify().await.unwrap();
    assert_eq!(
        (found.entries, found.bytes, found.damaged.len()),
        (1500, 15_000, 0)
    );
    assert_eq!(found.revision, store.revision().await.unwrap());
    assert!(store.size_on_disk().await.unwrap() > 15_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verifying_while_commits_go_on_finds_nothing_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let store = std::sync::Arc::new(open(dir.path()).0);
    for n in 0..40 {
        let fill = (0..100).fold(Batch::new(), |batch, m| {
            batch.put(format!("k/{n}/{m}"), [1; 50], Expect::Any)
        });
        store.commit(fill).await.unwrap();
    }
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0..400_usize {
                let (here, there) = (n * 7 % 40, n * 13 % 100);
                let batch = Batch::new()
                    .put(format!("k/{here}/{there}"), vec![2; n], Expect::Any)
                    .delete(format!("k/{}/{there}", (here + 1) % 40), Expect::Any)
                    .put(format!("k/{here}/new-{n}"), "x", Expect::Any);
                store.commit(batch).await.unwrap();
            }
        })
    };
    let mut rounds = 0;
    while !writer.is_finished() || rounds == 0 {
        let found = store.verify().await.unwrap();
        assert!(found.damaged.is_empty(), "{found:?}");
        rounds += 1;
    }
    writer.await.unwrap();
    assert!(!dir.path().join("suspect").exists());
}
