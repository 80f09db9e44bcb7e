//! Certificates that others obtained and left as files.
//!
//! Every file named in the configuration, and every `NAME.pem` (chain and key) or `NAME.crt` with `NAME.key` of a
//! certificate directory, is imported when it appears and whenever it changes. A directory is watched rather than
//! the files in it, for most tools replace a file instead of writing into it; and everything is looked at again at
//! an interval, for no notification is certain (network file systems, links to elsewhere).
//!
//! Nothing is imported that does not fit, so a pair of which one half has been written is left alone until the
//! other half is there too; what was imported before goes on being served, and the problem is reported once. So it
//! is with a file that vanishes: as with nginx and HAProxy, a certificate is withdrawn only when the configuration
//! is applied again (or at a start) and its file is not there. A directory that cannot be read withdraws nothing.

mod listing;
mod pair;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::ModifyKind;
use notify::{EventKind, RecursiveMode, Watcher};
use tokio::sync::{Notify, watch};

use self::listing::{Candidate, Listing};
use self::pair::{Checked, Flaw, Found};
use crate::cause::with_causes;
use crate::certificate::{CertificateName, Credential, CredentialPem};
use crate::clock::{Clock, Timestamp};
use crate::config::CertificateFiles;
use crate::inventory::{CertificateRecord, Inventory, InventoryError, Source};

/// Watches certificate files and imports what fits.
pub struct FileSource {
    files: Vec<CertificateFiles>,
    directories: BTreeMap<String, PathBuf>,
    inventory: Inventory,
    clock: Arc<dyn Clock>,
    interval: Duration,
    seen: BTreeMap<CertificateName, Seen>,
    problems: watch::Sender<Vec<FileProblem>>,
    /// Whether what was imported from files that are not there is still to be withdrawn.
    withdraws: bool,
    /// The certificates imported from files; unknown until they are asked for.
    imported: Option<BTreeSet<CertificateName>>,
}

/// A file that gives no certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileProblem {
    /// The entry it is or would be; `None` for a directory, and for a file whose name cannot be one's.
    pub certificate: Option<CertificateName>,
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it, and what to do.
    pub reason: String,
}

/// What became of the content that was last found for an entry.
struct Seen {
    file: PathBuf,
    digest: [u8; 32],
    /// Whether this content, or one before it, was imported.
    imported: bool,
    problem: Option<Flaw>,
}

/// What is wrong at `now` with the files of a configuration, by the same looks as a [`FileSource`] takes; nothing is imported.
/// Blocks on the file system.
pub fn file_problems(
    files: &[CertificateFiles],
    directories: &BTreeMap<String, PathBuf>,
    now: Timestamp,
) -> Vec<FileProblem> {
    let Listing {
        candidates,
        mut problems,
        ..
    } = Listing::read(files, directories);
    problems.extend(candidates.into_iter().filter_map(|candidate| {
        let flaw = match pair::find(&candidate, None, now) {
            Found::Unreadable(flaw) => flaw,
            Found::New {
                checked: Checked::Broken(flaw) | Checked::NotYet(flaw),
                ..
            } => flaw,
            Found::New { .. } | Found::Unchanged => return None,
        };
        Some(FileProblem::new(candidate.name, flaw))
    }));
    problems
}

impl FileSource {
    /// A source of these files and directories, as a configuration has them. Everything is looked at again at least
    /// once in every `interval`.
    pub fn new(
        files: &[CertificateFiles],
        directories: &BTreeMap<String, PathBuf>,
        inventory: Inventory,
        clock: Arc<dyn Clock>,
        interval: Duration,
    ) -> Self {
        Self {
            files: files.to_vec(),
            directories: directories.clone(),
            inventory,
            clock,
            interval,
            seen: BTreeMap::new(),
            problems: watch::Sender::default(),
            withdraws: true,
            imported: None,
        }
    }

    /// What is wrong with the files now, as of the last look.
    pub fn problems(&self) -> watch::Receiver<Vec<FileProblem>> {
        self.problems.subscribe()
    }

    /// Looks at everything once, and imports what is new and fits. The first look also withdraws what was imported
    /// from files that are not there any more.
    ///
    /// # Errors
    /// The inventory's, when it cannot be asked what to withdraw; the next look asks again.
    pub async fn look(&mut self) -> Result<(), InventoryError> {
        let (files, directories, now) = (self.files.clone(), self.directories.clone(), self.clock.now());
        let digests: BTreeMap<_, _> = self
            .seen
            .iter()
            .map(|(name, seen)| (name.clone(), seen.digest))
            .collect();
        let read = tokio::task::spawn_blocking(move || {
            let mut listing = Listing::read(&files, &directories);
            let candidates = std::mem::take(&mut listing.candidates);
            let found = |candidate: Candidate| {
                let found = pair::find(&candidate, digests.get(&candidate.name), now);
                (candidate, found)
            };
            (listing, candidates.into_iter().map(found).collect::<Vec<_>>())
        });
        // A look that was cut short, as at the end of the process, has seen nothing.
        let Ok((listing, found)) = read.await else {
            return Ok(());
        };
        let mut problems = listing.problems.clone();
        for (candidate, found) in found {
            if let Some(flaw) = self.take(&candidate, found).await {
                problems.push(FileProblem::new(candidate.name, flaw));
            }
        }
        let withdrawn = match self.withdraws {
            true => self.withdraw(&listing).await,
            false => Ok(()),
        };
        self.withdraws = withdrawn.is_err();
        self.seen
            .retain(|name, seen| seen.imported || listing.present.contains(name));
        for (name, seen) in self
            .seen
            .iter()
            .filter(|(name, _)| !listing.present.contains(*name))
        {
            problems.push(FileProblem {
                certificate: Some(name.clone()),
                file: seen.file.clone(),
                reason: GONE.to_owned(),
            });
        }
        self.report(problems);
        withdrawn
    }

    /// Looks whenever something has changed, and as for the first time when `applied` says that the configuration was
    /// applied again. Never returns; drop the future to end it.
    pub async fn run(mut self, applied: Arc<Notify>) {
        let changed = Arc::new(Notify::new());
        let mut watcher = self.watcher(changed.clone());
        loop {
            // Watches are set before the look, so that no change falls between.
            if let Some(watcher) = &mut watcher {
                for directory in self.watched() {
                    if let Err(error) = watcher.watch(&directory, RecursiveMode::NonRecursive) {
                        tracing::debug!(directory = %directory.display(), %error, "not watched; looked at in intervals");
                    }
                }
            }
            if let Err(error) = self.look().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "certificate files could not be imported"
                );
            }
            tokio::select! {
                () = applied.notified() => self.withdraws = true,
                () = changed.notified() => settle(&changed).await,
                () = tokio::time::sleep(self.interval) => {}
            }
        }
    }

    /// Imports one candidate if it is new and fits; gives what is wrong with it.
    async fn take(&mut self, candidate: &Candidate, found: Found) -> Option<Flaw> {
        let before = self.seen.get(&candidate.name);
        let imported = before.is_some_and(|seen| seen.imported);
        let (digest, checked) = match found {
            Found::Unchanged => return before.and_then(|seen| seen.problem.clone()),
            Found::Unreadable(flaw) => return Some(flaw),
            Found::New { digest, checked } => (digest, checked),
        };
        let (imported, problem) = match checked {
            Checked::Fits { pem, credential } => {
                if let Err(error) = self.import(candidate, &pem, &credential).await {
                    return Some(Flaw {
                        file: candidate.certificate_file.clone(),
                        reason: format!("it could not be stored: {}", with_causes(&error)),
                    });
                }
                (true, None)
            }
            // Not remembered, so the next look checks it again.
            Checked::NotYet(flaw) => return Some(flaw),
            Checked::Broken(flaw) => (imported, Some(flaw)),
        };
        let seen = Seen {
            file: candidate.certificate_file.clone(),
            digest,
            imported,
            problem: problem.clone(),
        };
        self.seen.insert(candidate.name.clone(), seen);
        problem
    }

    async fn import(
        &mut self,
        candidate: &Candidate,
        pem: &CredentialPem,
        credential: &Credential,
    ) -> Result<(), InventoryError> {
        let (name, now) = (&candidate.name, self.clock.now());
        if self
            .inventory
            .import(name, Source::Files, pem, credential, now)
            .await?
        {
            let not_after = credential.leaf().not_after;
            let file = candidate.certificate_file.display();
            tracing::info!(certificate = %name, %file, %not_after, "imported a certificate");
        }
        if let Some(imported) = &mut self.imported {
            imported.insert(name.clone());
        }
        Ok(())
    }

    /// Logs what has changed, and shows the rest to whoever asks.
    fn report(&self, problems: Vec<FileProblem>) {
        self.problems.send_if_modified(|known| {
            for problem in problems.iter().filter(|problem| !known.contains(problem)) {
                tracing::error!("{problem}");
            }
            for gone in known
                .iter()
                .filter(|gone| !problems.iter().any(|problem| problem.file == gone.file))
            {
                let file = gone.file.display();
                match gone.file.exists() {
                    true => tracing::info!(%file, "this certificate file is fine now"),
                    false => tracing::warn!(%file, "this certificate file, which could not be used, is gone"),
                }
            }
            let changed = *known != problems;
            *known = problems;
            changed
        });
    }

    async fn withdraw(&mut self, listing: &Listing) -> Result<(), InventoryError> {
        let imported = match &mut self.imported {
            Some(imported) => imported,
            unknown => unknown.insert(imported(&self.inventory).await?),
        };
        let is_gone = |name: &CertificateName| {
            !listing.present.contains(name) && !listing.unread.iter().any(|directory| is_in(name, directory))
        };
        let gone: Vec<_> = imported.iter().filter(|name| is_gone(name)).cloned().collect();
        for name in gone {
            let record = match self.inventory.certificate(&name).await {
                Err(error @ InventoryError::Store { .. }) => return Err(error),
                read => read.ok().flatten(),
            };
            if record.is_some_and(|record| record.value.source == Source::Files) {
                self.inventory.remove_certificate(&name).await?;
                tracing::info!(certificate = %name, "withdrew a certificate: its file is not there any more");
            }
            imported.remove(&name);
            self.seen.remove(&name);
        }
        Ok(())
    }

    fn named_files(&self) -> impl Iterator<Item = &PathBuf> {
        let files = self.files.iter();
        files.flat_map(|files| [&files.certificate_file].into_iter().chain(&files.key_file))
    }

    /// What is to be watched: every directory with certificates, or what is there on the way to it.
    fn watched(&self) -> BTreeSet<PathBuf> {
        let parents = self
            .named_files()
            .filter_map(|file| file.parent())
            .map(|parent| match parent {
                parent if parent.as_os_str().is_empty() => PathBuf::from("."),
                parent => parent.to_owned(),
            });
        let directories = parents.chain(self.directories.values().cloned());
        let there = |directory: PathBuf| {
            let found = directory.ancestors().find(|ancestor| ancestor.is_dir());
            found.map_or_else(|| PathBuf::from("."), Path::to_owned)
        };
        directories.map(there).collect()
    }

    fn watcher(&self, changed: Arc<Notify>) -> Option<impl Watcher + use<>> {
        let names: BTreeSet<_> = self
            .named_files()
            .filter_map(|file| file.file_name().map(ToOwned::to_owned))
            .collect();
        let told = move |event: notify::Result<notify::Event>| {
            if event.map_or(true, |event| may_matter(&event, &names)) {
                changed.notify_one();
            }
        };
        let watcher = notify::recommended_watcher(told);
        watcher
            .map_err(|error| {
                let seconds = self.interval.as_secs();
                tracing::warn!(%error, "certificate files are not watched, but looked at every {seconds} s");
            })
            .ok()
    }
}

async fn imported(inventory: &Inventory) -> Result<BTreeSet<CertificateName>, InventoryError> {
    let mut imported = BTreeSet::new();
    let visit = |CertificateRecord { name, source, .. }| {
        if source == Source::Files {
            imported.insert(name);
        }
    };
    inventory.visit_certificates(visit).await?;
    Ok(imported)
}

impl FileProblem {
    fn new(certificate: CertificateName, Flaw { file, reason }: Flaw) -> Self {
        Self {
            certificate: Some(certificate),
            file,
            reason,
        }
    }
}

impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.certificate {
            write!(f, "certificate {name}: ")?;
        }
        write!(f, "{}: {}", self.file.display(), self.reason)
    }
}

/// Looking at a file is an access to it, and must not cause the next look; nor must a log that grows beside a
/// certificate. What appears, goes or is renamed may be a link on the way to one of ours.
fn may_matter(event: &notify::Event, names: &BTreeSet<OsString>) -> bool {
    let is_ours = |path: &PathBuf| {
        path.extension().is_some_and(listing::is_ending)
            || path.file_name().is_some_and(|name| names.contains(name))
    };
    match event.kind {
        EventKind::Access(_) => false,
        EventKind::Modify(ModifyKind::Data(_)) => event.paths.iter().any(is_ours),
        _ => true,
    }
}

/// Waits until nothing has changed for a moment: a file and its key are seldom written at once.
async fn settle(changed: &Notify) {
    let quiet = async { while tokio::time::timeout(QUIET, changed.notified()).await.is_ok() {} };
    let _ = tokio::time::timeout(LONGEST_SETTLING, quiet).await;
}

fn is_in(name: &CertificateName, directory: &str) -> bool {
    name.as_str()
        .split_once('/')
        .is_some_and(|(prefix, _)| prefix == directory)
}

/// The name of a certificate of a directory, by the file's name without its ending.
fn name_in(directory: &str, file: &Path) -> Result<CertificateName, String> {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    CertificateName::parse(&format!("{directory}/{stem}"))
        .map_err(|error| format!("{error}; rename the file"))
}

const GONE: &str =
    "the file is gone; what was imported from it is served until the configuration is applied again";
const LONGEST_SETTLING: Duration = Duration::from_secs(2);
const QUIET: Duration = Duration::from_millis(150);
