//! One certificate in one directory. What programs open are links through `current`, which is a link itself: it is swapped
//! by one rename, so all files change at once, and whoever opens them finds a certificate and its own key.
//!
//! ```text
//! fullchain.pem -> current/fullchain.pem
//! current       -> version-7
//! version-7/fullchain.pem, privkey.pem …
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown, symlink};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::certificate::CredentialPem;
use crate::config::ExportConfig;

/// Why a certificate could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Something else is in the way.
    #[error("{} is there and is not what certgate has put there; move it away, or export to another directory", path.display())]
    InTheWay {
        /// What is there.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was to be done.
        what: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A file of an export.
struct Content {
    name: &'static str,
    text: Zeroizing<String>,
    mode: u32,
}

/// Whether `export` shows `pem` already: every file with its content, its mode and its owner.
pub fn is_current(export: &ExportConfig, pem: &CredentialPem) -> bool {
    contents(export, pem).iter().all(|content| {
        let (link, target) = (export.directory.join(content.name), linked(content.name));
        fs::read_link(&link).is_ok_and(|found| found == target) && is_as_written(export, &link, content)
    })
}

/// Writes `pem` beside what is there, and puts it in its place at once. What was there before is kept until the next time,
/// for programs that are just reading it.
///
/// # Errors
/// [`WriteError`]; what was there is shown as before.
pub fn write(export: &ExportConfig, pem: &CredentialPem) -> Result<(), WriteError> {
    let directory = &export.directory;
    fs::create_dir_all(directory).map_err(failed("make the directory", directory))?;
    let contents = contents(export, pem);
    for content in &contents {
        is_free(&directory.join(content.name))?;
    }
    let current = directory.join(CURRENT);
    is_free(&current)?;
    let shown = fs::read_link(&current).ok();
    let versions = versions(directory)?;
    let number = versions.iter().map(|(number, _)| number + 1).max().unwrap_or(1);
    let name = PathBuf::from(format!("{VERSION}{number}"));
    let version = directory.join(&name);
    fs::create_dir(&version).map_err(failed("make the directory", &version))?;
    fs::set_permissions(&version, fs::Permissions::from_mode(0o755))
        .map_err(failed("set the mode of", &version))?;
    for content in &contents {
        let path = version.join(content.name);
        write_file(export, &path, content).map_err(failed("write", &path))?;
    }
    sync(&version)?;
    replace(&name, &current)?;
    for content in &contents {
        let link = directory.join(content.name);
        let target = linked(content.name);
        if !fs::read_link(&link).is_ok_and(|found| found == target) {
            replace(&target, &link)?;
        }
    }
    sync(directory)?;
    for (_, old) in versions {
        if shown.as_deref() != old.file_name().map(Path::new) {
            fs::remove_dir_all(&old).map_err(failed("remove", &old))?;
        }
    }
    Ok(())
}

fn contents(export: &ExportConfig, pem: &CredentialPem) -> [Content; 5] {
    let (chain, key) = (pem.chain_to_pem(), pem.key_to_pem());
    let end = chain.find(END).map_or(chain.len(), |at| at + END.len());
    let (leaf, rest) = chain.split_at(end);
    let file = |name, text: &str, mode| Content {
        name,
        text: Zeroizing::new(text.to_owned()),
        mode,
    };
    [
        file("cert.pem", leaf, export.mode),
        file("chain.pem", rest, export.mode),
        file("fullchain.pem", &chain, export.mode),
        file("privkey.pem", &key, export.key_mode),
        Content {
            name: "combined.pem",
            text: pem.to_pem(),
            mode: export.key_mode,
        },
    ]
}

fn is_as_written(export: &ExportConfig, path: &Path, content: &Content) -> bool {
    let Ok(mut file) = File::open(path) else {
        return false;
    };
    let Ok(found) = file.metadata() else {
        return false;
    };
    let is_right = found.is_file()
        && found.len() == content.text.len() as u64
        && found.mode() & 0o7777 == content.mode
        && export.owner.is_none_or(|owner| owner == found.uid())
        && export.group.is_none_or(|group| group == found.gid());
    let mut text = Zeroizing::new(Vec::with_capacity(content.text.len()));
    is_right && file.read_to_end(&mut text).is_ok() && *text == content.text.as_bytes()
}

/// The mode and the owner come before the content: no key is ever seen by whom it is not for.
fn write_file(export: &ExportConfig, path: &Path, content: &Content) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    fchown(&file, export.owner, export.group)?;
    // Once more, and now whatever the umask says.
    file.set_permissions(fs::Permissions::from_mode(content.mode))?;
    file.write_all(content.text.as_bytes())?;
    file.sync_all()
}

/// Puts a link to `target` at `link`, in the place of the one that is there.
fn replace(target: &Path, link: &Path) -> Result<(), WriteError> {
    let unready = link.with_extension("new");
    match fs::remove_file(&unready) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed("remove", &unready)(error));
        }
        _ => {}
    }
    symlink(target, &unready).map_err(failed("make the link", &unready))?;
    fs::rename(&unready, link).map_err(failed("replace", link))
}

/// A link is ours, or takes the place of one; nothing else is overwritten.
fn is_free(path: &Path) -> Result<(), WriteError> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_symlink() => Err(WriteError::InTheWay {
            path: path.to_owned(),
        }),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("look at", path)(error)),
    }
}

/// The versions that are there, with their numbers.
fn versions(directory: &Path) -> Result<Vec<(u64, PathBuf)>, WriteError> {
    let entries = fs::read_dir(directory).map_err(failed("list", directory))?;
    let number = |entry: io::Result<fs::DirEntry>| {
        let entry = entry.ok()?;
        let name = entry.file_name();
        let number = name.to_str()?.strip_prefix(VERSION)?.parse().ok()?;
        Some((number, entry.path()))
    };
    Ok(entries.filter_map(number).collect())
}

fn sync(directory: &Path) -> Result<(), WriteError> {
    let synced = File::open(directory).and_then(|opened| opened.sync_all());
    synced.map_err(failed("write", directory))
}

fn linked(name: &str) -> PathBuf {
    Path::new(CURRENT).join(name)
}

fn failed(what: &'static str, path: &Path) -> impl Fn(io::Error) -> WriteError {
    move |source| WriteError::Io {
        what,
        path: path.to_owned(),
        source,
    }
}

const CURRENT: &str = "current";
const VERSION: &str = "version-";
const END: &str = "-----END CERTIFICATE-----\n";

#[cfg(test)]
mod tests;
