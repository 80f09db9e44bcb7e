//! The whole program in one value: assembled, reloaded in two phases, drained.
//!
//! Start order: store, what is stored is published, sockets bound, everything served, and only then renewal begins.
//! So a restart serves from the store at once, whether the CA can be reached or not.

mod control_plane;
mod data_plane;
mod error;
mod operations;
mod views;

use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use certgate_store::EmbeddedStore;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;

pub use error::GatewayError;

use crate::admin;
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, IssuerConfig};
use crate::dns::DnsChecker;
use crate::gateway::control_plane::{ControlPlane, Gate};
use crate::gateway::data_plane::DataPlane;
use crate::inventory::Inventory;
use crate::issuer::{ChallengeSolver, FileSource};
use crate::publish::{Publisher, Solver};
use crate::renewal::{Issuers, Renewal};

/// A running gateway.
pub struct Gateway {
    control: Arc<ControlPlane>,
    files: FileSource,
    admin: admin::Server,
    tasks: JoinSet<()>,
}

impl Gateway {
    /// Starts to serve what `config` says, on this machine's clock.
    ///
    /// # Errors
    /// [`GatewayError`]; nothing is left running then.
    pub async fn start(config: Config) -> Result<Self, GatewayError> {
        todo_start(config).await
    }
}
