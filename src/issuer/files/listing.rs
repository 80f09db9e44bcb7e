//! Which files there are, and which certificates they would be.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use crate::certificate::CertificateName;
use crate::config::CertificateFiles;
use crate::issuer::files::{FileProblem, name_in};

/// What there is, before any file is opened.
#[derive(Default)]
pub(super) struct Listing {
    /// What may be certificates.
    pub(super) candidates: Vec<Candidate>,
    /// Entries of which at least something is there.
    pub(super) present: BTreeSet<CertificateName>,
    /// Names of directories that could not be read.
    pub(super) unread: Vec<String>,
    /// What can be said already.
    pub(super) problems: Vec<FileProblem>,
}

/// The files of one entry.
pub(super) struct Candidate {
    pub(super) name: CertificateName,
    pub(super) certificate_file: PathBuf,
    /// `None`: the key is in the certificate's file.
    pub(super) key_file: Option<PathBuf>,
}

/// The files of a directory that go by one name.
#[derive(Default)]
struct Group {
    pem: Option<PathBuf>,
    crt: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Listing {
    pub(super) fn read(files: &[CertificateFiles], directories: &BTreeMap<String, PathBuf>) -> Self {
        let mut listing = Self::default();
        for files in files {
            listing.present.insert(files.name.clone());
            listing.candidates.push(Candidate {
                name: files.name.clone(),
                certificate_file: files.certificate_file.clone(),
                key_file: files.key_file.clone(),
            });
        }
        for (directory, path) in directories {
            match groups(path) {
                Ok(groups) => groups
                    .into_values()
                    .for_each(|group| listing.add(directory, group)),
                Err(error) => {
                    listing.unread.push(directory.clone());
                    listing.problem(None, path, format!("the directory cannot be read: {error}"));
                }
            }
        }
        listing
    }

    fn add(&mut self, directory: &str, group: Group) {
        let Group { pem, crt, key } = group;
        let Some(first) = pem.as_ref().or(crt.as_ref()).or(key.as_ref()) else {
            return;
        };
        let name = match name_in(directory, first) {
            Ok(name) => name,
            Err(reason) => return self.problem(None, &first.clone(), reason),
        };
        self.present.insert(name.clone());
        let (certificate_file, key_file) = match (pem, crt, key) {
            (Some(pem), None, None) => (pem, None),
            (None, Some(crt), Some(key)) => (crt, Some(key)),
            (Some(pem), _, _) => {
                let reason = "there is a .crt or .key of the same name; either a .pem with chain and key is taken, or a \
                              .crt with a .key";
                return self.problem(Some(name), &pem, reason.to_owned());
            }
            (None, Some(crt), None) => {
                return self.problem(
                    Some(name),
                    &crt,
                    "there is no .key of the same name beside it".to_owned(),
                );
            }
            (None, None, Some(key)) => {
                return self.problem(
                    Some(name),
                    &key,
                    "there is no .crt of the same name beside it".to_owned(),
                );
            }
            (None, None, None) => return,
        };
        self.candidates.push(Candidate {
            name,
            certificate_file,
            key_file,
        });
    }

    fn problem(&mut self, certificate: Option<CertificateName>, file: &Path, reason: String) {
        self.problems.push(FileProblem {
            certificate,
            file: file.to_owned(),
            reason,
        });
    }
}

/// The files of a directory by their names without ending. Hidden ones, which editors and tools write first and
/// rename then, and those with other endings are none of ours.
fn groups(directory: &Path) -> io::Result<BTreeMap<PathBuf, Group>> {
    let mut groups = BTreeMap::<PathBuf, Group>::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let Some(ending) = path
            .extension()
            .filter(|ending| !hidden && is_ending(ending))
            .map(ToOwned::to_owned)
        else {
            continue;
        };
        let group = groups.entry(path.with_extension("")).or_default();
        match ending.as_encoded_bytes() {
            b"pem" => group.pem = Some(path),
            b"crt" => group.crt = Some(path),
            _ => group.key = Some(path),
        }
    }
    Ok(groups)
}

/// Whether files of a certificate directory that end so are read.
pub(super) fn is_ending(ending: &OsStr) -> bool {
    ["pem", "crt", "key"].iter().any(|known| ending == *known)
}
