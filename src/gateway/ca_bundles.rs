//! What client certificates are verified against: bundles of files, taken over when those change, and the gateway's own
//! CAs; and what the log has to say of them.

mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::sync::watch;

use crate::cause::with_causes;
use crate::certificate::{CaBundle, CaBundleError, RevocationList};
use crate::clock::Timestamp;
use crate::config::{CaBundleConfig, Config};
use crate::gateway::bundle_alarms::Told;
use crate::gateway::control_plane::ControlPlane;
use crate::gateway::three_way::KnownBundles;
use crate::gateway::{GatewayError, crl_urls};
use crate::issuer::ClientAuthority;
use sources::Sources;

/// Looks at the bundles' files and CRLs until told to stop.
pub(super) async fn watch(control: Arc<ControlPlane>, mut stop: watch::Receiver<bool>) {
    let mut seen = states(&control.config.load());
    let (mut told, mut problems_told) = (Told::default(), BTreeSet::new());
    loop {
        tell(&control, &mut told, &mut problems_told);
        tokio::select! {
            // Ends by the word, or with whoever could give it.
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let found = states(&control.config.load());
        // A file that is being written changes again: what could not be used is looked at with its next change.
        if found != seen || control.data_plane.bundles().has_expired(control.clock.now()) {
            seen = found;
            take_over(&control).await;
        }
    }
}

/// What clients are verified against, by the names of bundles; and the gateway's own CAs that have signed for clients, by
/// the names of issuers.
#[derive(Clone, Default)]
pub(super) struct Bundles {
    pub(super) by_name: BTreeMap<String, CaBundle>,
    pub(super) authorities: Authorities,
    /// Why bundles are not what their files are, by their names.
    problems: BTreeMap<String, String>,
}

/// The gateway's own CAs for clients, by the names of issuers.
pub(super) type Authorities = BTreeMap<String, Arc<ClientAuthority>>;

impl Bundles {
    /// Makes the bundles of `config`, of which some hold `authorities`. Of `known` bundles, which are in force already,
    /// what their files held last goes on being used where these cannot be any more, and without that settled ones vouch for
    /// nobody; another one that cannot be made is an error. Roots that have expired at `now` are skipped. Elsewhere: large ones
    /// take their time.
    pub(super) async fn load(
        config: &Config,
        authorities: Authorities,
        known: &KnownBundles,
        now: Timestamp,
    ) -> Result<Self, GatewayError> {
        let (bundles, store) = (config.ca_bundles.clone(), config.store.path.clone());
        let known = known.clone();
        let loading =
            tokio::task::spawn_blocking(move || Self::read(&bundles, &store, authorities, &known, now));
        loading
            .await
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    fn read(
        bundles: &BTreeMap<String, Arc<CaBundleConfig>>,
        store: &Path,
        authorities: Authorities,
        known: &KnownBundles,
        now: Timestamp,
    ) -> Result<Self, GatewayError> {
        let mut all = Self::default();
        for (name, config) in bundles {
            let sources = Sources {
                config,
                store,
                authority: config.issuer.as_ref().and_then(|issuer| authorities.get(issuer)),
                now,
            };
            let loaded = match sources.load() {
                Err(error) if known.settled.contains(name) => Ok(sources.load_last_good(&error)),
                Err(error) if known.tightened.contains(name) => sources.load_tightened(error),
                loaded => loaded,
            };
            let (bundle, problem) = loaded.map_err(|source| GatewayError::CaBundle { source })?;
            all.by_name.insert(name.clone(), bundle);
            all.problems
                .extend(problem.map(|problem| (name.clone(), problem)));
        }
        all.authorities = authorities;
        Ok(all)
    }

    /// What each bundle of `config` would be, but for settled ones, and those of a local CA that is not among `authorities`.
    /// Nothing is kept of it. Elsewhere: large ones take their time.
    pub(super) async fn rehearse(
        config: &Config,
        authorities: Authorities,
        known: &KnownBundles,
        now: Timestamp,
    ) -> Vec<Result<CaBundle, CaBundleError>> {
        let (bundles, store) = (config.ca_bundles.clone(), config.store.path.clone());
        let known = known.clone();
        let rehearsing = tokio::task::spawn_blocking(move || {
            let is_new = |bundle: &&Arc<CaBundleConfig>| !known.settled.contains(&bundle.name);
            let rehearsed = bundles.values().filter(is_new).filter_map(|config| {
                let authority = match &config.issuer {
                    Some(issuer) => Some(authorities.get(issuer)?),
                    None => None,
                };
                let sources = Sources {
                    config,
                    store: &store,
                    authority,
                    now,
                };
                let rehearsed = sources.rehearse();
                Some(match rehearsed {
                    Err(error) if known.tightened.contains(&config.name) => {
                        sources.load_tightened(error).map(|(bundle, _)| bundle)
                    }
                    rehearsed => rehearsed,
                })
            });
            rehearsed.collect()
        });
        rehearsing
            .await
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// Why bundles are not what their files are, by their names.
    pub(super) fn problems(&self) -> &BTreeMap<String, String> {
        &self.problems
    }

    /// Whether one of them has a root that has expired at `now` and goes on counting.
    fn has_expired(&self, now: Timestamp) -> bool {
        let mut expiries = self.by_name.values().filter_map(CaBundle::first_expiry);
        expiries.any(|expiry| now > expiry)
    }

    /// Refuses `wanted` where a listener would come to a bundle that vouches for nobody and did not have it `before`.
    pub(super) fn check_new_users(&self, before: &Config, wanted: &Config) -> Result<(), GatewayError> {
        for listener in wanted.listeners.values().filter(|listener| listener.enabled) {
            let Some(name) = listener.authentication.client_ca() else {
                continue;
            };
            let had_it = before
                .listeners
                .get(listener.name.as_ref())
                .is_some_and(|before| before.enabled && before.authentication.client_ca() == Some(name));
            let is_unavailable = self.by_name.get(name).is_some_and(CaBundle::is_unavailable);
            if is_unavailable && !had_it {
                return Err(GatewayError::UnavailableBundle {
                    listener: listener.name.clone(),
                    problem: self.problems.get(name).cloned().unwrap_or_default(),
                });
            }
        }
        Ok(())
    }

    /// Refuses a CRL that is out of date at `now` and that a bundle, `settled` ones apart, did not have `before`: it would
    /// lock out every client of its CA.
    pub(super) fn check_new_crls(
        &self,
        before: &Self,
        settled: &BTreeSet<String>,
        now: Timestamp,
    ) -> Result<(), GatewayError> {
        for (name, bundle) in self.by_name.iter().filter(|(name, _)| !settled.contains(*name)) {
            let known = before.by_name.get(name).map(CaBundle::revocation);
            let is_new =
                |list: &RevocationList| known.is_none_or(|known| known.iter().all(|other| other != list));
            let mut lists = bundle.revocation().iter();
            if let Some(expired) = lists.find(|list| now > list.next_update && is_new(list)) {
                return Err(GatewayError::ExpiredCrl {
                    bundle: name.clone(),
                    issuer: expired.issuer.clone(),
                    due: expired.next_update,
                });
            }
        }
        Ok(())
    }

    /// The same bundles with a newer CRL of `issuer`. Reads no files: whatever has become of those, what was revoked is
    /// refused.
    pub(super) fn with_crl(
        mut self,
        config: &Config,
        issuer: &str,
        authority: ClientAuthority,
    ) -> Result<Self, GatewayError> {
        for (name, bundle) in &mut self.by_name {
            let of = config
                .ca_bundles
                .get(name)
                .and_then(|bundle| bundle.issuer.as_deref());
            if of == Some(issuer) {
                let newer = with_crl_of(bundle, &authority);
                *bundle = newer.map_err(|source| GatewayError::CaBundle { source })?;
            }
        }
        self.authorities.insert(issuer.to_owned(), Arc::new(authority));
        Ok(self)
    }
}

fn with_crl_of(bundle: &CaBundle, authority: &ClientAuthority) -> Result<CaBundle, CaBundleError> {
    // What does not parse has signed nothing, and that is said.
    let issuer = CertificateDer::from_pem_slice(authority.certificate_pem.as_bytes());
    let issuer = issuer.unwrap_or_else(|_| CertificateDer::from(Vec::new()));
    bundle.with_crl(&authority.crl.der, &issuer)
}

/// Has the next handshakes verified against what the files hold now.
async fn take_over(control: &ControlPlane) {
    let _alone = control.turn.lock().await;
    match control.renew_bundles().await {
        Ok(()) => {
            tracing::info!("the CA bundles have changed and were looked at");
            control.bundle_problem.store(None);
        }
        Err(error) => {
            let problem = format!(
                "the CA bundles have changed and cannot be taken over; clients are verified as before: {}",
                with_causes(&error)
            );
            tracing::error!("{problem}");
            control.bundle_problem.store(Some(Arc::new(problem)));
        }
    }
}

/// Writes down what an operator should know.
fn tell(control: &ControlPlane, told: &mut Told, problems_told: &mut BTreeSet<String>) {
    for line in told.look(&control.data_plane, control.clock.now()) {
        tracing::warn!("{line}");
    }
    let problems: BTreeSet<_> = control.data_plane.bundle_problems().into_iter().collect();
    for problem in problems.difference(problems_told) {
        tracing::error!("{problem}");
    }
    *problems_told = problems;
}

/// By what a change of a file shows: when it, its rights or its name were changed, and its length.
type States = BTreeMap<PathBuf, Option<(i64, i64, u64)>>;

fn states(config: &Config) -> States {
    let files = config.ca_bundles.values().flat_map(|bundle| {
        let written = bundle.files.iter().chain(&bundle.crl_files).cloned();
        written.chain(crl_urls::files(bundle, &config.store.path))
    });
    let state = |file: PathBuf| {
        let metadata = std::fs::metadata(&file).ok();
        let written = metadata.map(|metadata| (metadata.ctime(), metadata.ctime_nsec(), metadata.len()));
        (file, written)
    };
    files.map(state).collect()
}

const INTERVAL: Duration = Duration::from_secs(1);
