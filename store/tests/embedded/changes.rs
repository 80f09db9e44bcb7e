//! Snapshots that only hold what has changed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use certgate_store::embedded::{Options, Recovery};
use certgate_store::{Batch, EmbeddedStore, Expect, Revision, Store};
use tempfile::TempDir;

use super::{everything, open};

#[tokio::test]
async fn a_missing_database_is_rebuilt_from_a_snapshot_and_the_changes_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = eager(dir.path());
    let fill = (0..400).fold(Batch::new(), |batch, n| {
        batch.put(format!("k/{n:03}"), vec![0; 500], Expect::Any)
    });
    let first = store.commit(fill).await.unwrap();
    saved(dir.path(), first).await;
    for round in 1..20_u8 {
        let number = usize::from(round) * 7;
        let batch = Batch::new()
            .put(format!("k/{number:03}"), vec![round; number], Expect::Any)
            .put(format!("new/{}", round % 3), vec![round], Expect::Any)
            .delete(format!("k/{:03}", number + 1), Expect::Any);
        let revision = store.commit(batch).await.unwrap();
        saved(dir.path(), revision).await;
        let (_aside, rebuilt) = rebuilt(dir.path());
        assert_eq!(
            everything(&rebuilt).await,
            everything(&store).await,
            "round {round}"
        );
    }
    assert!(
        names(dir.path()).iter().any(|name| name.ends_with(".changes")),
        "{:?}",
        names(dir.path())
    );
}

#[tokio::test]
async fn changes_worth_a_quarter_of_the_whole_give_way_to_a_whole_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let store = eager(dir.path());
    let mut revision = store
        .commit(Batch::new().put("a", vec![1; 40_000], Expect::Any))
        .await
        .unwrap();
    saved(dir.path(), revision).await;
    let first = names(dir.path());
    for round in 0..8_u8 {
        revision = store
            .commit(Batch::new().put("b", vec![round; 5_000], Expect::Any))
            .await
            .unwrap();
        saved(dir.path(), revision).await;
    }
    let wholes = |names: &[String]| names.iter().filter(|name| name.ends_with(".snapshot")).count();
    let now = names(dir.path());
    assert!(wholes(&now) > wholes(&first), "{now:?}");
    assert!(now.len() > wholes(&now), "{now:?}");
}

#[tokio::test]
async fn a_store_opened_again_goes_on_with_changes() {
    let dir = tempfile::tempdir().unwrap();
    let store = eager(dir.path());
    let fill = Batch::new().put("a", vec![1; 40_000], Expect::Any);
    store.commit(fill).await.unwrap();
    // Otherwise it might be changes after an empty whole one, too large for others to follow.
    store.snapshot().await.unwrap();
    drop(store);
    let whole = names(dir.path());
    let store = eager(dir.path());
    let revision = store
        .commit(Batch::new().put("b", "2", Expect::Any))
        .await
        .unwrap();
    saved(dir.path(), revision).await;
    let added: Vec<_> = names(dir.path())
        .into_iter()
        .filter(|name| !whole.contains(name))
        .collect();
    assert_eq!(added.len(), 1);
    assert!(added[0].ends_with(".changes"), "{added:?}");
    let (_aside, rebuilt) = rebuilt(dir.path());
    assert_eq!(everything(&rebuilt).await, everything(&store).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_written_under_commits_hold_no_torn_batch() {
    let dir = tempfile::tempdir().unwrap();
    let store = eager(dir.path());
    let write = |round: u32| {
        (0..600).fold(Batch::new(), move |batch, n| {
            batch.put(format!("k/{n:04}"), round.to_le_bytes(), Expect::Any)
        })
    };
    let ballast = Batch::new().put("ballast", vec![0; 400_000], Expect::Any);
    saved(dir.path(), store.commit(ballast).await.unwrap()).await;
    let mut with_changes = 0;
    for round in 0..40 {
        store.commit(write(round)).await.unwrap();
        let (_aside, rebuilt) = rebuilt(dir.path());
        let entries = rebuilt.list("k/").await.unwrap().entries;
        assert!(
            entries.iter().all(|entry| entry.value == entries[0].value),
            "a torn batch"
        );
        with_changes += usize::from(names(dir.path()).iter().any(|name| name.ends_with(".changes")));
    }
    assert!(with_changes > 0);
}

/// Writes what has changed apart, whatever the size, and at once.
fn eager(path: &Path) -> EmbeddedStore {
    let options = Options {
        snapshot_delay: Duration::from_millis(1),
        changes_from_bytes: 0,
        ..Options::default()
    };
    EmbeddedStore::open(path, options).unwrap().0
}

/// What can be made of the snapshots alone.
fn rebuilt(path: &Path) -> (TempDir, EmbeddedStore) {
    let aside = tempfile::tempdir().unwrap();
    let (from, to) = (path.join("snapshots"), aside.path().join("snapshots"));
    let copy_all = || {
        fs::create_dir(&to)?;
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
        io::Result::Ok(())
    };
    // A file may be renamed while the others are copied: then once more.
    while copy_all().is_err() {
        fs::remove_dir_all(&to).unwrap();
    }
    let (store, recovery) = open(aside.path());
    assert!(matches!(recovery, Recovery::Rebuilt { .. }), "{recovery}");
    (aside, store)
}

/// Waits until the snapshots hold `revision`.
async fn saved(path: &Path, revision: Revision) {
    let wanted = format!("{:020}.", revision.value());
    tokio::time::timeout(Duration::from_secs(20), async {
        while !names(path).iter().any(|name| name.contains(&wanted)) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await
    .expect("it is saved");
}

fn names(path: &Path) -> Vec<String> {
    let paths = fs::read_dir(path.join("snapshots")).unwrap();
    let name = |path: PathBuf| Some(path.file_name()?.to_str()?.to_owned());
    paths.filter_map(|entry| name(entry.unwrap().path())).collect()
}
