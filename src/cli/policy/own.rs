//! Policies of one's own: those of a file, or of the running gateway.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use crate::admin::{Client, ClientError};
use crate::cli::arguments::Connection;
use crate::cli::run::load;
use crate::cli::{Failure, environment};
use crate::config::{self, ResourceKind};
use crate::policy::Policy;

/// Where policies of one's own come from.
#[derive(Debug, Args)]
pub(in crate::cli) struct Own {
    /// The configuration whose own policies count, instead of those of the running gateway.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What is known of them.
pub(super) struct OwnPolicies {
    pub(super) policies: BTreeMap<String, Arc<Policy>>,
    /// `configuration` or `gateway`.
    pub(super) source: &'static str,
    /// Why the running gateway could not be asked.
    pub(super) unasked: Option<ClientError>,
}

impl Own {
    /// Those of the file, if one is named; otherwise those of the gateway, made at run time or not.
    pub(super) fn load(&self, gateway: &Connection) -> Result<OwnPolicies, Failure> {
        match &self.config {
            Some(path) => Ok(OwnPolicies {
                policies: load(path)?.policies,
                source: "configuration",
                unasked: None,
            }),
            None => gateway.block_on(in_force),
        }
    }
}

async fn in_force(client: Client) -> Result<OwnPolicies, Failure> {
    let (tables, unasked) = match client.resources(ResourceKind::Policy).await {
        Ok(resources) => (resources, None),
        Err(error @ (ClientError::NotRunning { .. } | ClientError::NotPermitted { .. })) => {
            (Vec::new(), Some(error))
        }
        Err(error) => return Err(error.into()),
    };
    let own = tables.into_iter().filter(|resource| resource.built_in.is_none());
    let tables = own.map(|resource| (resource.name, resource.keys));
    Ok(OwnPolicies {
        policies: environment::with(|environment| config::policies(tables, environment))?,
        source: "gateway",
        unasked,
    })
}
