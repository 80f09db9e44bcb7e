//! `[server_groups.NAME]`.

use super::Checker;
use crate::config::settings::{ServerConfig, ServerGroupConfig};
use crate::config::source::Located;
use crate::config::written::ServerGroup;

impl Checker<'_> {
    pub(super) fn server_group(
        &mut self,
        name: &Located<String>,
        group: &ServerGroup,
    ) -> Option<ServerGroupConfig> {
        let servers = group.servers.items();
        let addresses = servers.iter().filter_map(|server| server.value.address.value());
        self.no_repetition(
            "`servers`",
            addresses.map(|address| (address.value.0.to_ascii_lowercase(), &address.place)),
        );
        // There is one algorithm; the word only had to be right.
        group.algorithm.or(crate::config::word::Algorithm::RoundRobin)?;
        let servers: Option<Vec<_>> = servers
            .iter()
            .map(|server| {
                Some(ServerConfig {
                    address: server.value.address.value()?.value.0.clone(),
                    weight: server.value.weight,
                })
            })
            .collect();
        group.servers.value()?;
        Some(ServerGroupConfig {
            name: name.value.as_str().into(),
            servers: servers?,
        })
    }
}
