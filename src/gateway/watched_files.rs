//! The certificate files of a configuration, watched for as long as it is in force.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::clock::Clock;
use crate::config::{CertificateFiles, Config};
use crate::inventory::Inventory;
use crate::issuer::{FileProblem, FileSource};

/// Files under watch; dropping it ends the watch.
pub(super) struct WatchedFiles {
    files: Vec<CertificateFiles>,
    directories: BTreeMap<String, PathBuf>,
    applied: Arc<Notify>,
    problems: watch::Receiver<Vec<FileProblem>>,
    watching: AbortHandle,
}

impl WatchedFiles {
    /// Looks at every file and imports what is new, and goes on watching. Nothing waits for it: what is stored is
    /// served meanwhile.
    pub(super) fn watch(config: &Config, inventory: &Inventory, clock: &Arc<dyn Clock>) -> Self {
        let source = FileSource::new(
            &config.certificate_files,
            &config.certificate_directories,
            inventory.clone(),
            clock.clone(),
            RESCAN,
        );
        let (problems, applied) = (source.problems(), Arc::new(Notify::new()));
        Self {
            files: config.certificate_files.clone(),
            directories: config.certificate_directories.clone(),
            problems,
            watching: tokio::spawn(source.run(applied.clone())).abort_handle(),
            applied,
        }
    }

    /// Does the same for `config` if it has these files; false if it has others.
    pub(super) fn apply_again(&self, config: &Config) -> bool {
        let same =
            self.files == config.certificate_files && self.directories == config.certificate_directories;
        if same {
            self.applied.notify_one();
        }
        same
    }

    /// What is wrong with them, a line for each.
    pub(super) fn problems(&self) -> Vec<String> {
        self.problems.borrow().iter().map(ToString::to_string).collect()
    }
}

impl Drop for WatchedFiles {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// Where the system's notifications do not work, as on network file systems, a change is found after this time.
const RESCAN: Duration = Duration::from_secs(60);
