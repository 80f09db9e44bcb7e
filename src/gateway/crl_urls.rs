//! CRLs that are got from URLs, on a schedule. What was got is a file beside the store, which is watched like any other; so
//! it counts at the next start too, whether the URL answers then or not.

mod download;
mod schedule;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use futures_util::future::join_all;
use tokio::sync::watch;

use crate::cause::with_causes;
use crate::certificate::CaBundle;
use crate::clock::Timestamp;
use crate::config::{CaBundleConfig, Config};
use crate::gateway::control_plane::ControlPlane;
use crate::gateway::three_way::KnownBundles;
use crate::gateway::{GatewayError, kept_file};
use download::download;
use schedule::{Attempts, LONGEST_SLEEP};

/// Where the CRLs of `bundle` are that are got from URLs, in the order of these; not all of them may be there yet.
pub(super) fn files(bundle: &CaBundleConfig, store: &Path) -> impl Iterator<Item = PathBuf> {
    bundle
        .crl_urls
        .iter()
        .map(move |url| file(store, &bundle.name, url))
}

/// Gets each CRL when its time has come, until told to stop.
pub(super) async fn keep(control: Arc<ControlPlane>, mut stop: watch::Receiver<bool>) {
    let mut known: BTreeMap<Source, Attempts> = BTreeMap::new();
    loop {
        let config = control.config.load_full();
        known.retain(|source, _| is_wanted(&config, source));
        let now = control.clock.now();
        let due: Vec<_> = sources(&config)
            .filter(|(source, _)| known.get(source).is_none_or(|attempts| attempts.next() <= now))
            .collect();
        let attempts = due.iter().map(|(source, _)| control.renew(&config, source));
        let results = join_all(attempts).await;
        let now = control.clock.now();
        for ((source, bundle), result) in due.into_iter().zip(results) {
            let attempts = known.entry(source.clone()).or_default();
            match &result {
                Ok(next_update) => attempts.succeeded(now, bundle.crl_refresh, *next_update),
                Err(_) => attempts.failed(now, bundle.crl_refresh),
            }
            control.note_crl(source, result.err());
        }
        let next = known.values().map(Attempts::next).min();
        let until = next.unwrap_or(now + LONGEST_SLEEP).min(now + LONGEST_SLEEP);
        tokio::select! {
            // Ends by the word, or with whoever could give it.
            _ = stop.wait_for(|stop| *stop) => return,
            () = control.clock.sleep_until(until) => {}
        }
    }
}

/// One URL of one bundle.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Source {
    bundle: String,
    url: String,
}

/// Why a CRL is not there, or not a newer one.
#[derive(Debug, thiserror::Error)]
pub enum CrlFetchError {
    /// It is no CRL of the bundle's CAs.
    #[error(transparent)]
    Unusable(#[from] crate::certificate::CaBundleError),
    /// The URL does not answer as it should.
    #[error("{0}")]
    Download(String),
    /// It cannot be kept.
    #[error("cannot write {}", file.display())]
    Unwritable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The bundle is not in force any more.
    #[error("the CA bundle has gone meanwhile")]
    Gone,
}

impl ControlPlane {
    /// Gets the CRLs of `wanted` at URLs that the configuration before does not have, so that a change that cannot verify
    /// clients is refused instead of refusing them. Not for whoever has the turn: it may take its time.
    pub(super) async fn fetch_new_crls(
        &self,
        wanted: &Config,
        known: &KnownBundles,
    ) -> Result<(), GatewayError> {
        let before = self.config.load_full();
        let is_new = |source: &Source| {
            !is_wanted(&before, source) && !file(&wanted.store.path, &source.bundle, &source.url).exists()
        };
        let new: Vec<_> = sources(wanted).filter(|(source, _)| is_new(source)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let bundles = self.bundles(wanted, known).await?;
        let fetches = new.into_iter().map(async |(Source { bundle, url }, _)| {
            let fetched = match bundles.by_name.get(&bundle) {
                Some(known) => fetch(&wanted.store.path, known, &url).await,
                None => Err(CrlFetchError::Gone),
            };
            fetched.map(drop).map_err(|source| GatewayError::Crl {
                bundle,
                url,
                source: Box::new(source),
            })
        });
        join_all(fetches).await.into_iter().collect()
    }

    /// What is to be said of URLs that do not answer as they should, a line for each.
    pub(super) fn crl_problems(&self) -> Vec<String> {
        let problems = self.crl_problems.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = problems.iter().map(|(Source { bundle, url }, (since, problem))| {
            format!("CA bundle `{bundle}`: no CRL from {url} since {since}: {problem}")
        });
        lines.collect()
    }

    /// Gets a CRL of a bundle that is in force; when the next one is due.
    async fn renew(&self, config: &Config, source: &Source) -> Result<Option<Timestamp>, CrlFetchError> {
        let bundles = self.data_plane.bundles();
        let bundle = bundles.by_name.get(&source.bundle).ok_or(CrlFetchError::Gone)?;
        fetch(&config.store.path, bundle, &source.url).await
    }

    fn note_crl(&self, source: Source, error: Option<CrlFetchError>) {
        let mut problems = self.crl_problems.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(error) = error else {
            if problems.remove(&source).is_some() {
                tracing::info!(
                    ca_bundle = source.bundle,
                    url = source.url,
                    "the CRL can be had again"
                );
            }
            return;
        };
        let problem = with_causes(&error);
        let since = problems
            .get(&source)
            .map_or_else(|| self.clock.now(), |(since, _)| *since);
        let Source { bundle, url } = &source;
        tracing::warn!(
            ca_bundle = bundle,
            url,
            "no CRL was had; what was had before counts, and where there is none, clients are refused: {problem}"
        );
        problems.insert(source, (since, problem));
    }
}

/// Since when, and why.
pub(super) type Problems = BTreeMap<Source, (Timestamp, String)>;

/// Gets the CRLs at `url`, checks that CAs of `bundle` have signed them, and keeps those that are newer than what is there.
/// When the next one is due.
async fn fetch(store: &Path, bundle: &CaBundle, url: &str) -> Result<Option<Timestamp>, CrlFetchError> {
    let content = download(url).await.map_err(CrlFetchError::Download)?;
    let file = file(store, bundle.name(), url);
    let (bundle, url) = (bundle.clone(), url.to_owned());
    let work = move || {
        let known = std::fs::read(&file).unwrap_or_default();
        // Of each CA the newest: an older one, as a cache may have it, takes nothing back, nor does one that is missing.
        let (newest, lists) = bundle.newest_crls(&content, &known, &url)?;
        if newest.as_bytes() != known {
            kept_file::write(&file, newest.as_bytes())
                .map_err(|source| CrlFetchError::Unwritable { file, source })?;
        }
        Ok(lists.iter().map(|list| list.next_update).min())
    };
    let worked = tokio::task::spawn_blocking(work).await;
    worked.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

fn file(store: &Path, bundle: &str, url: &str) -> PathBuf {
    let name = kept_file::name(&format!("{bundle}\n{url}"), ".crl");
    store.join("fetched-crls").join(name)
}

fn sources(config: &Config) -> impl Iterator<Item = (Source, &CaBundleConfig)> {
    config.ca_bundles.values().flat_map(|bundle| {
        let source = |url: &String| Source {
            bundle: bundle.name.clone(),
            url: url.clone(),
        };
        bundle
            .crl_urls
            .iter()
            .map(move |url| (source(url), bundle.as_ref()))
    })
}

fn is_wanted(config: &Config, source: &Source) -> bool {
    let bundle = config.ca_bundles.get(&source.bundle);
    bundle.is_some_and(|bundle| bundle.crl_urls.contains(&source.url))
}
