//! Nobody else may read the store.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use certgate_store::{Batch, Expect, Store};

use super::{child, child_store, open};

#[test]
fn with_a_umask_of_zero_directories_are_0700_and_files_0600() {
    check_modes("000");
}

#[test]
fn with_a_umask_that_takes_everything_the_store_still_works() {
    check_modes("777");
}

fn check_modes(umask: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let plain = child("modes::child_that_fills_a_store", &path);
    let status = Command::new("sh")
        .arg("-c")
        .arg(format!("umask {umask}; exec \"$0\" \"$@\""))
        .arg(plain.get_program())
        .args(plain.get_args())
        .envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let mut seen = 0;
    check(&path, &mut seen);
    assert!(seen >= 8, "only {seen} files and directories");
}

fn check(path: &Path, seen: &mut u32) {
    *seen += 1;
    let metadata = fs::metadata(path).unwrap();
    let mode = metadata.permissions().mode() & 0o7777;
    assert_eq!(
        mode,
        if metadata.is_dir() { 0o700 } else { 0o600 },
        "{}",
        path.display()
    );
    if metadata.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            check(&entry.unwrap().path(), seen);
        }
    }
}

#[tokio::test]
#[ignore = "is run by the tests above in a process with another umask"]
async fn child_that_fills_a_store() {
    let path = child_store();
    for round in 0..2_u8 {
        let (store, _) = open(&path);
        for n in 0..40 {
            store
                .commit(Batch::new().put(format!("k/{n}"), vec![round; 60_000], Expect::Any))
                .await
                .unwrap();
        }
        store.snapshot().await.unwrap();
    }
}
