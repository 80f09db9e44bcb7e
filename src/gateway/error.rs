//! Why a gateway does not start, or does not change.

use std::io;
use std::sync::Arc;

use certgate_store::StoreError;

use crate::admin::ServerError;
use crate::certificate::CaBundleError;
use crate::clock::Timestamp;
use crate::config::Diagnostics;
use crate::gateway::crl_urls::CrlFetchError;
use crate::inventory::InventoryError;
use crate::issuer::IssueError;
use crate::listener::ListenerError;
use crate::tls::TlsError;

impl GatewayError {
    /// The word for why a change is refused, as findings of a configuration have one.
    pub(super) fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::Bind { .. } => "address-in-use",
            Self::CaBundle { source } => source.code(),
            Self::Crl { .. } => "crl-not-fetched",
            Self::Downgrade { .. } | Self::WayAround { .. } => "downgrade",
            Self::ExpiredCrl { .. } => "expired-crl",
            Self::Fixed { .. } => "needs-restart",
            Self::Inconsistent { .. } => "inconsistent",
            Self::Tls { .. } => "unusable-tls",
            Self::UnavailableBundle { .. } => "bundle-unavailable",
            _ => return None,
        })
    }
}

/// Why a gateway does not start, or does not change. Nothing has changed where this is returned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// The admin socket cannot be served.
    #[error(transparent)]
    Admin(#[from] ServerError),
    /// The admin API cannot speak TLS.
    #[error("the admin API cannot serve TLS")]
    AdminTls {
        /// Why.
        source: rustls::Error,
    },
    /// A CRL cannot be had that a CA bundle has a URL for.
    #[error("CA bundle `{bundle}`: its CRL cannot be had from {url}")]
    Crl {
        /// The bundle.
        bundle: String,
        /// The URL.
        url: String,
        /// Why not.
        source: Box<CrlFetchError>,
    },
    /// A CRL was given that is out of date already.
    #[error(
        "CA bundle `{bundle}`: the CRL of `{issuer}` is out of date since {due}, and would have every client of that CA \
         refused; give the one that followed it"
    )]
    ExpiredCrl {
        /// The bundle.
        bundle: String,
        /// Who has issued it.
        issuer: String,
        /// When the next one was due.
        due: Timestamp,
    },
    /// A listener's address cannot be had.
    #[error(transparent)]
    Bind {
        /// The listener, the address and the reason.
        source: ListenerError,
    },
    /// A CA bundle cannot be used.
    #[error(transparent)]
    CaBundle {
        /// The bundle and the reason.
        source: CaBundleError,
    },
    /// A CA of the gateway's own that a CA bundle names cannot be used.
    #[error("the local CA `{issuer}` cannot be used")]
    ClientCa {
        /// The issuer.
        issuer: String,
        /// Why.
        source: Box<IssueError>,
    },
    /// The configuration is not valid, alone or with what was changed at run time.
    #[error("{0}")]
    Configuration(Diagnostics),
    /// A file would have listeners ask less of their clients.
    #[error("{what}; `certgate apply --config FILE --allow-downgrade` does it")]
    Downgrade {
        /// Which, what is in force, and what the file says.
        what: String,
    },
    /// A change that needs a restart.
    #[error(
        "`{key}` was `{before}` when the gateway started and cannot be changed to `{wanted}` while it runs; restart it, or \
         change it back"
    )]
    Fixed {
        /// The key of the configuration file.
        key: &'static str,
        /// What it was.
        before: String,
        /// What it should be.
        wanted: String,
    },
    /// The configuration was not checked.
    #[error("listener `{listener}`: {what}")]
    Inconsistent {
        /// The listener.
        listener: Arc<str>,
        /// What is missing.
        what: &'static str,
    },
    /// A listener would come to a CA bundle that vouches for nobody.
    #[error("listener `{listener}`: {problem}")]
    UnavailableBundle {
        /// The listener.
        listener: Arc<str>,
        /// Why it does not.
        problem: String,
    },
    /// What is stored cannot be read.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A listener's TLS cannot be set up.
    #[error("listener `{listener}` cannot serve TLS")]
    Tls {
        /// The listener.
        listener: Arc<str>,
        /// Why.
        source: TlsError,
    },
    /// A request would have another listener than it names let in clients that were asked for more.
    #[error("{what}; `allow_downgrade=true` in the query, or `--allow-downgrade`, does it")]
    WayAround {
        /// Which, what is in force, and what the request says.
        what: String,
    },
    /// The data plane's threads cannot be started.
    #[error("cannot start the data plane's threads")]
    Workers {
        /// What the system said.
        source: io::Error,
    },
}
