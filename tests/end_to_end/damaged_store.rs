//! A database that is lost right after a change was acknowledged.

use std::fs;
use std::path::Path;

use certgate::admin::api::Status;

use crate::runtime::{Stage, mutual};

#[tokio::test]
async fn a_toggle_outlives_a_database_that_is_damaged_right_after_it_was_acknowledged() {
    let mut stage = Stage::new("").await;
    assert_eq!(stage.seen().await, "one-way");
    stage.patch(mutual()).await.expect("changed");
    stage.gateway.signal("KILL");
    stage.gateway.ended().await;
    spoil(&stage.home.path("store/db"));
    stage.gateway = stage.home.start(&stage.config).await;
    stage.gateway.published("localhost").await;
    assert_eq!(stage.seen().await, "mutual");
    let is_told = |status: &Status| {
        let mut lines = status.warnings.iter();
        lines.any(|line| line.contains("was rebuilt from the snapshot") && line.contains("`web`"))
    };
    stage.gateway.status_until("tells of it", is_told).await;
}

/// Leaves no byte of any file under `folder` as it was.
fn spoil(folder: &Path) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            spoil(&path);
        } else {
            let spoiled: Vec<u8> = fs::read(&path).expect("read").iter().map(|byte| !byte).collect();
            fs::write(&path, spoiled).expect("written");
        }
    }
}
