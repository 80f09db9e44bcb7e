//! One CA bundle made of its files, of what these held last, and of what is known without them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::with_crl_of;
use crate::cause::with_causes;
use crate::certificate::{CaBundle, CaBundleError, CaBundleSources, MAX_CRL_BYTES};
use crate::clock::Timestamp;
use crate::config::CaBundleConfig;
use crate::gateway::crl_urls;
use crate::gateway::kept_file::LastGood;
use crate::issuer::ClientAuthority;

/// What a bundle is made of.
pub(super) struct Sources<'s> {
    pub(super) config: &'s CaBundleConfig,
    /// The directory of the store.
    pub(super) store: &'s Path,
    /// The CA of the gateway's own that belongs to it.
    pub(super) authority: Option<&'s Arc<ClientAuthority>>,
    pub(super) now: Timestamp,
}

/// With what an operator should know of it.
type Loaded = (CaBundle, Option<String>);

impl Sources<'_> {
    /// The bundle as its files are, which are kept for when they are not.
    pub(super) fn load(&self) -> Result<Loaded, CaBundleError> {
        let mut contents = BTreeMap::new();
        let bundle = self.made_of(self.config, &mut |file, content| {
            contents.insert(file.to_owned(), content.to_vec());
        })?;
        let problem = self.last_good().keep(&contents).err().map(|error| {
            format!(
                "CA bundle `{}`: what its files hold cannot be kept for when they are gone: {error}",
                self.config.name
            )
        });
        Ok((bundle, problem))
    }

    /// The bundle as its files are, of which nothing is kept; what comes from URLs is not there yet.
    pub(super) fn rehearse(&self) -> Result<CaBundle, CaBundleError> {
        let files_only = CaBundleConfig {
            crl_urls: Vec::new(),
            ..self.config.clone()
        };
        self.made_of(&files_only, &mut |_, _| ())
    }

    /// The bundle with what its files held last, after `error`; where there is none of that, one that vouches for nobody.
    pub(super) fn load_last_good(&self, error: &CaBundleError) -> Loaded {
        let name = &self.config.name;
        match self.made_of_copies(error) {
            Ok(bundle) => (bundle, Some(self.by_copies(error))),
            Err(_) => (
                CaBundle::unavailable(name, error.skipped()),
                Some(format!(
                    "{}; nothing good is known of CA bundle `{name}`, so listeners that need it refuse every client",
                    with_causes(error)
                )),
            ),
        }
    }

    /// The bundle, which has only got more CRLs, with what its other files held last, after `error`.
    pub(super) fn load_tightened(&self, error: CaBundleError) -> Result<Loaded, CaBundleError> {
        match self.made_of_copies(&error) {
            Ok(bundle) => Ok((bundle, Some(self.by_copies(&error)))),
            // What is wrong with the new one comes before what has been wrong for long.
            Err(new) if new.file().is_some_and(|file| !self.last_good().has(file)) => Err(new),
            Err(_) => Err(error),
        }
    }

    /// What an operator should know of a bundle in which copies stand in after `error`.
    fn by_copies(&self, error: &CaBundleError) -> String {
        format!(
            "{}; clients are verified by what the files of CA bundle `{}` held when they were good last",
            with_causes(error),
            self.config.name
        )
    }

    /// Copies stand in for files one by one, so that what is good of the others counts; if they do not fit together, for all.
    fn made_of_copies(&self, error: &CaBundleError) -> Result<CaBundle, CaBundleError> {
        let (mut config, last_good) = (self.config.clone(), self.last_good());
        let mut broken = error.file().map(Path::to_owned);
        while let Some(file) = broken.take().filter(|file| !last_good.has(file)) {
            let mut files = config.files.iter_mut().chain(&mut config.crl_files);
            let Some(place) = files.find(|place| **place == file) else {
                break;
            };
            *place = last_good.copy_of(&file);
            match self.made_of(&config, &mut |_, _| ()) {
                Ok(bundle) => return Ok(bundle),
                Err(error) => broken = error.file().map(Path::to_owned),
            }
        }
        let files = config.files.iter_mut().chain(&mut config.crl_files);
        for file in files.filter(|file| !last_good.has(file)) {
            *file = last_good.copy_of(file);
        }
        self.made_of(&config, &mut |_, _| ())
    }

    /// The bundle with the files of `config`; `seen` is shown what these hold.
    fn made_of(
        &self,
        config: &CaBundleConfig,
        seen: &mut dyn FnMut(&Path, &[u8]),
    ) -> Result<CaBundle, CaBundleError> {
        let inline = config.certificates_pem.as_deref();
        let with_authority = self.authority.map(|authority| {
            let parts = [
                inline.unwrap_or_default(),
                &authority.root_pem,
                &authority.certificate_pem,
            ];
            parts.join("\n")
        });
        let fetched: Vec<PathBuf> = crl_urls::files(config, self.store).collect();
        let sources = CaBundleSources {
            files: &config.files,
            certificates_pem: with_authority.as_deref().or(inline),
            crl_files: &config.crl_files,
            fetched_crls: &fetched,
            crls_pem: config.crls_pem.as_deref(),
            now: self.now,
        };
        let bundle = CaBundle::load_with(&config.name, &sources, &mut |file| {
            let content = bounded(file)?;
            seen(file, &content);
            Ok(content)
        })?;
        match self.authority {
            Some(authority) => with_crl_of(&bundle, authority),
            None => Ok(bundle),
        }
    }

    fn last_good(&self) -> LastGood {
        LastGood::of(self.store, &self.config.name)
    }
}

/// What `file` holds. No more is read than a file of a bundle may have.
fn bounded(file: &Path) -> io::Result<Vec<u8>> {
    let opened = File::open(file)?;
    // A named pipe would be waited for, a device have no end.
    if !opened.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut content = Vec::new();
    opened.take(MAX_CRL_BYTES + 1).read_to_end(&mut content)?;
    match u64::try_from(content.len()) {
        Ok(length) if length <= MAX_CRL_BYTES => Ok(content),
        _ => Err(io::Error::other(format!(
            "it has more than {MAX_CRL_BYTES} bytes"
        ))),
    }
}
