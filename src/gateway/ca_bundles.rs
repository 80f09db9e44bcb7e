//! What client certificates are verified against: bundles of files, taken over when those change, and the gateway's own
//! CAs; and an alarm before a CRL is out of date.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::sync::watch;

use crate::cause::with_causes;
use crate::certificate::{CaBundle, CaBundleError, CaBundleSources, RevocationList};
use crate::clock::Timestamp;
use crate::config::{CaBundleConfig, Config};
use crate::gateway::control_plane::ControlPlane;
use crate::gateway::{GatewayError, crl_urls};
use crate::issuer::ClientAuthority;

/// Looks at the bundles' files and CRLs until told to stop.
pub(super) async fn watch(control: Arc<ControlPlane>, mut stop: watch::Receiver<bool>) {
    let mut seen = states(&control.config.load());
    let mut told = BTreeSet::new();
    loop {
        tell(&control, &mut told);
        tokio::select! {
            // Ends by the word, or with whoever could give it.
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let found = states(&control.config.load());
        // A file that is being written changes again: what could not be used is looked at with its next change.
        if found != seen {
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
}

/// The gateway's own CAs for clients, by the names of issuers.
pub(super) type Authorities = BTreeMap<String, Arc<ClientAuthority>>;

impl Bundles {
    /// Reads the bundles of `config`, of which some hold `authorities`. Elsewhere: large ones take their time.
    pub(super) async fn load(config: &Config, authorities: Authorities) -> Result<Self, GatewayError> {
        let (bundles, store) = (config.ca_bundles.clone(), config.store.path.clone());
        let loading = tokio::task::spawn_blocking(move || Self::read(&bundles, &store, authorities));
        loading
            .await
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    fn read(
        bundles: &BTreeMap<String, Arc<CaBundleConfig>>,
        store: &Path,
        authorities: Authorities,
    ) -> Result<Self, GatewayError> {
        let load = |(name, config): (&String, &Arc<CaBundleConfig>)| {
            let bundle =
                load(config, &authorities, store).map_err(|source| GatewayError::CaBundle { source })?;
            Ok::<_, GatewayError>((name.clone(), bundle))
        };
        let by_name = bundles.iter().map(load).collect::<Result<_, _>>()?;
        Ok(Self { by_name, authorities })
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

fn load(config: &CaBundleConfig, authorities: &Authorities, store: &Path) -> Result<CaBundle, CaBundleError> {
    let authority = config.issuer.as_ref().and_then(|issuer| authorities.get(issuer));
    let inline = config.certificates_pem.as_deref();
    let with_authority = authority.map(|authority| {
        let parts = [
            inline.unwrap_or_default(),
            &authority.root_pem,
            &authority.certificate_pem,
        ];
        parts.join("\n")
    });
    let fetched: Vec<_> = crl_urls::files(config, store).collect();
    let sources = CaBundleSources {
        files: &config.files,
        certificates_pem: with_authority.as_deref().or(inline),
        crl_files: &config.crl_files,
        fetched_crls: &fetched,
        crls_pem: config.crls_pem.as_deref(),
    };
    let bundle = CaBundle::load(&config.name, &sources)?;
    match authority {
        Some(authority) => with_crl_of(&bundle, authority),
        None => Ok(bundle),
    }
}

fn with_crl_of(bundle: &CaBundle, authority: &ClientAuthority) -> Result<CaBundle, CaBundleError> {
    // What does not parse has signed nothing, and that is said.
    let issuer = CertificateDer::from_pem_slice(authority.certificate_pem.as_bytes());
    let issuer = issuer.unwrap_or_else(|_| CertificateDer::from(Vec::new()));
    bundle.with_crl(&authority.crl.der, &issuer)
}

/// Has the next handshakes verified against what the files hold now; keeps what there is when that cannot be used.
async fn take_over(control: &ControlPlane) {
    let _alone = control.turn.lock().await;
    match control.renew_bundles().await {
        Ok(()) => {
            tracing::info!("the files of the CA bundles have changed and were taken over");
            control.bundle_problem.store(None);
        }
        Err(error) => {
            let problem = format!(
                "the files of the CA bundles have changed and cannot be used; clients are verified as before: {}",
                with_causes(&error)
            );
            tracing::error!("{problem}");
            control.bundle_problem.store(Some(Arc::new(problem)));
        }
    }
}

/// Writes down each alarm once.
fn tell(control: &ControlPlane, told: &mut BTreeSet<String>) {
    let alarms: BTreeSet<_> = control
        .data_plane
        .crl_alarms(control.clock.now())
        .into_iter()
        .collect();
    for alarm in alarms.difference(told) {
        tracing::warn!("{alarm}");
    }
    *told = alarms;
}

/// What is to be said of the CRLs of `bundle` at `now`, a line for each.
pub(super) fn alarms(bundle: &CaBundle, now: Timestamp) -> impl Iterator<Item = String> {
    let awaiting = bundle.revocation().is_awaiting().then(|| {
        format!(
            "CA bundle `{}`: a CRL of its `crl_urls` could not be had yet; clients are refused until then, unless the \
             listener has `expired_crl = \"accept\"`",
            bundle.name()
        )
    });
    let lists = bundle.revocation().iter();
    lists
        .filter_map(move |list| alarm(bundle.name(), list, now))
        .chain(awaiting)
}

/// A CRL that is out of date refuses every client of its CA; a quarter of its time before that somebody should know.
fn alarm(bundle: &str, list: &RevocationList, now: Timestamp) -> Option<String> {
    let (issuer, due) = (&list.issuer, list.next_update);
    let ahead = due.since(list.this_update) / 4;
    if now > due {
        Some(format!(
            "CA bundle `{bundle}`: the CRL of `{issuer}` is out of date since {due}; clients of that CA are refused \
             unless the listener has `expired_crl = \"accept\"`"
        ))
    } else if now + ahead > due {
        Some(format!(
            "CA bundle `{bundle}`: the CRL of `{issuer}` will be out of date at {due}; get the next one"
        ))
    } else {
        None
    }
}

/// By what a change of a file shows: when it was written, and its length.
type States = BTreeMap<PathBuf, Option<(SystemTime, u64)>>;

fn states(config: &Config) -> States {
    let files = config.ca_bundles.values().flat_map(|bundle| {
        let written = bundle.files.iter().chain(&bundle.crl_files).cloned();
        written.chain(crl_urls::files(bundle, &config.store.path))
    });
    let state = |file: PathBuf| {
        let metadata = std::fs::metadata(&file).ok();
        let written = metadata.and_then(|metadata| Some((metadata.modified().ok()?, metadata.len())));
        (file, written)
    };
    files.map(state).collect()
}

const INTERVAL: Duration = Duration::from_secs(1);
