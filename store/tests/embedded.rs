//! What the store on disk promises beyond the contract: to be there again, whatever happened in between.

#[path = "embedded/changes.rs"]
mod changes;
#[path = "embedded/damage.rs"]
mod damage;
#[path = "embedded/killing.rs"]
mod killing;
#[path = "embedded/locking.rs"]
mod locking;
#[path = "embedded/modes.rs"]
mod modes;
#[path = "embedded/reopening.rs"]
mod reopening;
#[path = "embedded/snapshots.rs"]
mod snapshots;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use certgate_store::embedded::{Options, Recovery};
use certgate_store::{EmbeddedStore, Entry, Store};

/// Snapshots are written only when a test asks for one.
fn quiet() -> Options {
    Options {
        snapshot_delay: Duration::from_secs(3600),
        ..Options::default()
    }
}

fn open(path: &Path) -> (EmbeddedStore, Recovery) {
    EmbeddedStore::open(path, quiet()).expect("the store opens")
}

async fn everything(store: &EmbeddedStore) -> Vec<Entry> {
    store.list("").await.expect("all entries can be read").entries
}

/// A fresh copy of a closed store.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (source, target) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if source.is_dir() {
            copy(&source, &target);
        } else {
            fs::copy(&source, &target).unwrap();
        }
    }
}

/// Runs a test of this binary, one that is written to be a child, in another process on the store in `path`.
fn child(test: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(CHILD_STORE, path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// In a child: the store to work on.
fn child_store() -> std::path::PathBuf {
    std::env::var_os(CHILD_STORE)
        .expect("only started by another test")
        .into()
}

const CHILD_STORE: &str = "CERTGATE_STORE_CHILD";
