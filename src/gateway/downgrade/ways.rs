//! Which servers can be reached through which listeners: told apart by their addresses, so that no other name, of a listener
//! or of a server group, is a way around authentication.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::Value;

use super::admission::is_mutual;
use super::listeners;
use crate::config::{ResourceId, ResourceKind, ResourceTable};
use crate::inventory::ResourceRecords;

/// Servers as `host:port`, each written in one way.
pub(super) type Servers = BTreeSet<String>;

/// The ways to servers.
pub(super) struct Ways<'r> {
    by_listener: BTreeMap<&'r str, Servers>,
    /// The servers that somebody without a client certificate can reach.
    open: Servers,
    none: Servers,
}

impl<'r> Ways<'r> {
    /// Those of `records`.
    pub(super) fn of(records: &'r ResourceRecords) -> Self {
        let mut open = Servers::new();
        let mut by_listener = BTreeMap::new();
        for (name, table) in listeners(records) {
            let servers = servers(records, table);
            if is_enabled(table) && !is_mutual(table) {
                open.extend(servers.iter().cloned());
            }
            by_listener.insert(name, servers);
        }
        Self {
            by_listener,
            open,
            none: Servers::new(),
        }
    }

    /// The servers that a listener leads to, or would if it were enabled.
    pub(super) fn through(&self, listener: &str) -> &Servers {
        self.by_listener.get(listener).unwrap_or(&self.none)
    }

    /// Whether somebody without a client certificate can reach a server.
    pub(super) fn is_open(&self, server: &str) -> bool {
        self.open.contains(server)
    }
}

/// Whether a listener accepts connections.
pub(super) fn is_enabled(table: &ResourceTable) -> bool {
    table.get("enabled").and_then(Value::as_bool) != Some(false)
}

/// The server group of a listener.
pub(super) fn group_id(listener: &ResourceTable) -> Option<ResourceId> {
    let name = listener.get("server_group")?.as_str()?;
    Some(ResourceId::new(ResourceKind::ServerGroup, name))
}

/// A few of them for people.
pub(super) fn listed(servers: &Servers) -> String {
    let mut shown: Vec<_> = servers.iter().take(SHOWN).cloned().collect();
    let more = servers.len().saturating_sub(SHOWN);
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    shown.join(", ")
}

fn servers(records: &ResourceRecords, listener: &ResourceTable) -> Servers {
    let group = group_id(listener).and_then(|group| records.get(&group)?.in_force());
    let servers = group.and_then(|group| group.get("servers")?.as_array());
    let address = |server: &Value| {
        let written = server.get("address").unwrap_or(server).as_str()?;
        Some(canonical(written))
    };
    servers.into_iter().flatten().filter_map(address).collect()
}

/// One way of writing an address. Names are not looked up: what they lead to may be another server tomorrow.
fn canonical(address: &str) -> String {
    let Some((host, port)) = address.rsplit_once(':') else {
        return address.to_ascii_lowercase();
    };
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host);
    // As a number: it may begin with zeros.
    let port = port.parse().unwrap_or(0_u16);
    match host.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        // A connection to no address in particular is one to this machine, and its name leads to both of its addresses.
        Ok(ip) if ip.is_unspecified() || ip == LOOPBACK_V4 || ip == LOOPBACK_V6 => {
            format!("localhost:{port}")
        }
        Ok(IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
        Ok(ip) => format!("{ip}:{port}"),
        Err(_) => format!("{host}:{port}"),
    }
}

const LOOPBACK_V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const LOOPBACK_V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);
/// Of the servers in a message.
const SHOWN: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_the_same_however_its_address_is_written() {
        for (one, other, same) in [
            ("10.0.0.11:8080", "10.0.0.11:8080", true),
            ("10.0.0.11:8080", "10.0.0.11:08080", true),
            ("10.0.0.11:8080", "[::ffff:10.0.0.11]:8080", true),
            ("[2001:db8::1]:80", "[2001:DB8:0::1]:80", true),
            ("App.internal:80", "app.internal.:80", true),
            ("localhost:80", "127.0.0.1:80", true),
            ("[::1]:80", "0.0.0.0:80", true),
            ("127.0.0.2:80", "127.0.0.1:80", false),
            ("10.0.0.11:8080", "10.0.0.11:8081", false),
            ("app.internal:80", "app2.internal:80", false),
        ] {
            assert_eq!(canonical(one) == canonical(other), same, "{one} and {other}");
        }
    }
}
