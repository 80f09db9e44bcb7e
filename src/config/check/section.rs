//! `[store]`, `[gateway]`, `[runtime]` and `[log]`.

use std::time::Duration;

use super::Checker;
use crate::config::byte_size::ByteSize;
use crate::config::collection::Zones;
use crate::config::diagnostic::{Code, Diagnostic};
use crate::config::period::Period;
use crate::config::reader::Key;
use crate::config::settings::{DnsChecks, GatewayConfig, LogConfig, LogFormat, RuntimeConfig, StoreConfig};
use crate::config::source::Located;
use crate::config::value::Integer;
use crate::config::word::{ConnectionLines, LogLevel};

impl Checker<'_> {
    pub(super) fn store(&mut self) -> Option<StoreConfig> {
        let written = match &self.document.store {
            Key::Absent => &Key::Absent,
            Key::Invalid => return None,
            Key::Present(store, _) => &store.value.path,
        };
        let path = match written {
            Key::Absent => self.environment.default_store(),
            Key::Invalid => return None,
            Key::Present(path, _) => self.sources.resolve(path),
        };
        Some(StoreConfig { path })
    }

    pub(super) fn gateway(&mut self) -> Option<Option<GatewayConfig>> {
        let (gateway, place) = match &self.document.gateway {
            Key::Absent => return Some(None),
            Key::Invalid => return None,
            Key::Present(gateway, place) => (&gateway.value, place),
        };
        if gateway.addresses.is_absent() && gateway.hostname.is_absent() {
            self.report.push(
                Diagnostic::new(
                    Code::MissingKey,
                    "[gateway] says neither `addresses` nor `hostname`",
                )
                .at(place, "nothing to compare DNS answers with")
                .help("add the public addresses, as in addresses = [\"203.0.113.10\"], or remove [gateway]"),
            );
        }
        let (addresses, resolvers) = (gateway.addresses.items(), gateway.resolvers.items());
        self.no_repetition(
            "`addresses`",
            addresses.iter().map(|item| (item.value, &item.place)),
        );
        self.no_repetition(
            "`resolvers`",
            resolvers.iter().map(|item| (item.value.0, &item.place)),
        );
        for Located { value, place } in addresses {
            if value.is_unspecified() || value.is_multicast() {
                self.report.push(
                    Diagnostic::new(Code::InvalidValue, format!("no DNS record can say `{value}`"))
                        .at(place, "not the address of a machine")
                        .help("write the addresses under which the gateway is reached from outside"),
                );
            }
        }
        Some(Some(GatewayConfig {
            addresses: addresses.iter().map(|item| item.value).collect(),
            hostname: gateway.hostname.value().map(|hostname| hostname.value.clone()),
            resolvers: resolvers.iter().map(|item| item.value.0).collect(),
            name_servers: gateway.name_servers.or(Zones::default())?.0,
            dns_checks: gateway.dns_checks.or(DnsChecks::default())?,
            ownership: gateway.ownership.value().map(|text| text.value.0.clone()),
        }))
    }

    pub(super) fn runtime(&mut self) -> Option<RuntimeConfig> {
        let cores = Integer(self.environment.cores.max(1) as u64);
        let drain = Period(Duration::from_secs(30));
        let cache = ByteSize(256 << 20);
        let (workers, cache, drain) = match &self.document.runtime {
            Key::Absent => (cores, cache, drain),
            Key::Invalid => return None,
            Key::Present(runtime, _) => (
                runtime.value.workers.or(cores)?,
                runtime.value.certificate_cache.or(cache)?,
                runtime.value.drain_timeout.or(drain)?,
            ),
        };
        Some(RuntimeConfig {
            workers: usize::try_from(workers.0).ok()?,
            certificate_cache: cache.0,
            drain_timeout: drain.0,
        })
    }

    pub(super) fn log(&mut self) -> Option<LogConfig> {
        let (level, format, connections) = (LogLevel::Info, LogFormat::Text, ConnectionLines::Info);
        let (level, format, connections) = match &self.document.log {
            Key::Absent => (level, format, connections),
            Key::Invalid => return None,
            Key::Present(log, _) => {
                let log = &log.value;
                (
                    log.level.or(level)?,
                    log.format.or(format)?,
                    log.connections.or(connections)?,
                )
            }
        };
        Some(LogConfig {
            level: level.into(),
            format,
            connections: connections == ConnectionLines::Info,
        })
    }
}
