//! `[listeners.NAME]`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::Checker;
use crate::certificate::{AllowedClients, CertificateName, ON_DEMAND_DIRECTORY};
use crate::config::alpn::Alpn;
use crate::config::collection::Tags;
use crate::config::diagnostic::{Code, Diagnostic};
use crate::config::period::Period;
use crate::config::reader::Key;
use crate::config::settings::{
    AlpnMismatch, Authentication, CertificateSelector, ExpiredCrl, ListenerConfig, Protocol, UnknownSni,
};
use crate::config::source::{Located, Place};
use crate::config::suggestion;
use crate::config::text::AdminAddress;
use crate::config::word::AuthenticationKind;
use crate::config::written::Listener;
use crate::policy::DEFAULT;

/// Where a listener listens; nothing when its file does not say so in a usable way.
pub(super) fn socket_address(listener: &Listener) -> Option<SocketAddr> {
    let address = listener.address.or(IpAddr::V6(Ipv6Addr::UNSPECIFIED))?;
    let port = u16::try_from(listener.port.value()?.value.0).ok()?;
    Some(SocketAddr::new(address, port))
}

impl Checker<'_> {
    pub(super) fn listener(&mut self, name: &Located<String>, listener: &Listener) -> Option<ListenerConfig> {
        let protocol = listener.protocol.or(Protocol::Tls);
        match protocol {
            Some(Protocol::Http) => self.plain(listener),
            Some(Protocol::Tls) => self.needed_for_tls(name, listener),
            None => {}
        }
        let certificates = self.selectors(listener.certificates.items());
        let on_demand = self.on_demand(name, listener);
        let policy = self.policy(listener);
        let authentication = self.authentication(name, listener);
        if let Some(group) = listener.server_group.value() {
            let groups = &self.document.server_groups;
            self.refers(
                groups,
                "server_groups",
                "server group",
                &group.value,
                &group.place,
            );
        }
        let max_connections = match &listener.max_connections {
            Key::Absent => None,
            Key::Invalid => return None,
            Key::Present(limit, _) => Some(usize::try_from(limit.value.0).ok()?),
        };
        Some(ListenerConfig {
            name: name.value.as_str().into(),
            enabled: listener.enabled.or(true)?,
            address: socket_address(listener)?,
            protocol: protocol?,
            certificates,
            unknown_sni: listener.unknown_sni.or(UnknownSni::default())?,
            on_demand: on_demand?.map(Arc::new),
            policy: policy?,
            alpn: listener.alpn.or(Alpn(Vec::new()))?.0,
            alpn_mismatch: listener.alpn_mismatch.or(AlpnMismatch::default())?,
            authentication: authentication?,
            allow_clients: self.allow_clients(listener)?.map(Arc::new),
            expired_crl: listener.expired_crl.or(ExpiredCrl::default())?,
            server_group: listener.server_group.value().map(|group| group.value.clone()),
            idle_timeout: listener.idle_timeout.or(Period(Duration::from_secs(900)))?.0,
            handshake_timeout: listener.handshake_timeout.or(Period(Duration::from_secs(10)))?.0,
            connect_timeout: listener.connect_timeout.or(Period(Duration::from_secs(5)))?.0,
            max_connections,
            tags: listener.tags.or(Tags::default())?.0,
        })
    }

    /// An `http` listener ends no TLS and forwards nothing.
    fn plain(&mut self, listener: &Listener) {
        let keys = [
            ("certificates", listener.certificates.place()),
            ("unknown_sni", listener.unknown_sni.place()),
            ("on_demand", listener.on_demand.place()),
            ("policy", listener.policy.place()),
            ("alpn", listener.alpn.place()),
            ("alpn_mismatch", listener.alpn_mismatch.place()),
            ("authentication", listener.authentication.place()),
            ("client_ca", listener.client_ca.place()),
            ("allow_clients", listener.allow_clients.place()),
            ("expired_crl", listener.expired_crl.place()),
            ("server_group", listener.server_group.place()),
            ("handshake_timeout", listener.handshake_timeout.place()),
            ("connect_timeout", listener.connect_timeout.place()),
        ];
        self.not_applicable(&keys, "protocol = \"http\"");
    }

    fn needed_for_tls(&mut self, name: &Located<String>, listener: &Listener) {
        let table = format!("listeners.{}", name.value);
        if listener.certificates.is_absent() && listener.on_demand.is_absent() {
            let help =
                "add certificates = [\"*\"] to serve every certificate, or name them, the default first";
            self.missing("certificates", &table, &name.place, help);
        }
        if listener.server_group.is_absent() {
            let groups = &self.document.server_groups;
            let help = if groups.is_empty() {
                "add `server_group`, and the group itself as [server_groups.NAME] with `servers`".to_owned()
            } else {
                format!(
                    "add `server_group`; there are: {}",
                    suggestion::list(groups.names())
                )
            };
            self.missing("server_group", &table, &name.place, help);
        }
    }

    /// What a list of certificates selects; each must be there.
    pub(super) fn selectors(&mut self, items: &[Located<CertificateSelector>]) -> Vec<CertificateSelector> {
        let document = self.document;
        self.no_repetition(
            "`certificates`",
            items.iter().map(|item| (written(&item.value), &item.place)),
        );
        for Located { value, place } in items {
            let directory = match value {
                CertificateSelector::All => continue,
                CertificateSelector::Directory(directory) => directory.trim_end_matches('/'),
                CertificateSelector::Named(name) => match name.as_str().split_once('/') {
                    Some((directory, _)) => directory,
                    None => {
                        self.refers(
                            &document.certificates,
                            "certificates",
                            "certificate",
                            name.as_str(),
                            place,
                        );
                        continue;
                    }
                },
            };
            let mut listeners = document.listeners.tables();
            if directory == ON_DEMAND_DIRECTORY && listeners.any(|(_, other)| !other.on_demand.is_absent()) {
                continue;
            }
            let directories = &document.certificate_directories;
            let kind = "certificate directory";
            self.refers(directories, "certificate_directories", kind, directory, place);
        }
        let with_companion = |selector: &CertificateSelector| {
            let companion = match selector {
                CertificateSelector::Named(name) => self.companion(name).map(CertificateSelector::Named),
                _ => None,
            };
            [Some(selector.clone()), companion]
        };
        items
            .iter()
            .flat_map(|item| with_companion(&item.value))
            .flatten()
            .collect()
    }

    /// The entry of a certificate's second kind of key, which is served beside it.
    fn companion(&self, name: &CertificateName) -> Option<CertificateName> {
        let table = self.document.certificates.entry(name.as_str())?.table.as_ref()?;
        let second = table.key_type.value()?.value.0.get(1)?;
        name.companion(second.value).ok()
    }

    fn policy(&mut self, listener: &Listener) -> Option<String> {
        let policy = listener.policy.or(DEFAULT.to_owned())?;
        if let Some(written) = listener.policy.value() {
            self.refers_to_policy(written);
        }
        Some(policy)
    }

    fn authentication(&mut self, name: &Located<String>, listener: &Listener) -> Option<Authentication> {
        let bundles = &self.document.ca_bundles;
        if let Some(bundle) = listener.client_ca.value() {
            self.refers(bundles, "ca_bundles", "CA bundle", &bundle.value, &bundle.place);
        }
        match (&listener.authentication, &listener.client_ca) {
            (Key::Invalid, _) | (_, Key::Invalid) => None,
            (Key::Present(kind, place), client_ca) if kind.value != AuthenticationKind::OneWay => {
                if let Key::Present(bundle, _) = client_ca {
                    let client_ca = bundle.value.clone();
                    return Some(match kind.value {
                        AuthenticationKind::Observe => Authentication::Observe { client_ca },
                        _ => Authentication::Mutual { client_ca },
                    });
                }
                let help = if bundles.is_empty() {
                    "add `client_ca`, and the bundle itself as [ca_bundles.NAME] with `files`".to_owned()
                } else {
                    format!(
                        "add `client_ca`; there are: {}",
                        suggestion::list(bundles.names())
                    )
                };
                let what = match kind.value {
                    AuthenticationKind::Observe => "observing clients",
                    _ => "mutual authentication",
                };
                let message = format!("{what} in [listeners.{}] needs `client_ca`", name.value);
                self.report.push(
                    Diagnostic::new(Code::MissingKey, message)
                        .at(place, "nothing to check client certificates against")
                        .help(help),
                );
                None
            }
            _ => {
                self.asks_nobody(name, listener);
                Some(Authentication::OneWay)
            }
        }
    }

    /// Warns of a list of clients at a listener that asks none of them who it is.
    fn asks_nobody(&mut self, name: &Located<String>, listener: &Listener) {
        let Key::Present(_, place) = &listener.allow_clients else {
            return;
        };
        if listener.protocol.or(Protocol::Tls) != Some(Protocol::Tls) {
            return;
        }
        let message = format!(
            "`allow_clients` in [listeners.{}] keeps nobody out: it is one-way, and asks no client for a certificate",
            name.value
        );
        self.report.push(
            Diagnostic::new(Code::WithoutEffect, message)
                .at(place, "everybody is let in")
                .help("say authentication = \"mutual\", or \"observe\" to see who would be refused; or remove the list"),
        );
    }

    /// Who may enter; `None` when that was not written in a usable way, so that nobody is let in by mistake.
    fn allow_clients(&mut self, listener: &Listener) -> Option<Option<AllowedClients>> {
        let (written, place) = match &listener.allow_clients {
            Key::Absent => return Some(None),
            Key::Invalid => return None,
            Key::Present(written, place) => (&written.value, place),
        };
        let is_invalid = matches!(written.dns, Key::Invalid)
            || matches!(written.uri, Key::Invalid)
            || matches!(written.common_name, Key::Invalid)
            || matches!(written.organizational_unit, Key::Invalid)
            || matches!(written.fingerprint_sha256, Key::Invalid);
        if let Some(item) = written
            .dns
            .items()
            .iter()
            .find(|item| item.value.address().is_some())
        {
            let message = format!("`dns` of `allow_clients` has the IP address `{}`", item.value);
            self.report.push(
                Diagnostic::new(Code::InvalidValue, message)
                    .at(&item.place, "not a DNS name")
                    .help("clients are not told apart by addresses in their certificates; name them by dns, uri or fingerprint_sha256"),
            );
            return None;
        }
        let allowed = AllowedClients {
            dns: values(written.dns.items(), |pattern| pattern.clone()),
            uri: values(written.uri.items(), |pattern| pattern.clone()),
            common_name: values(written.common_name.items(), |name| name.0.clone()),
            organizational_unit: values(written.organizational_unit.items(), |name| name.0.clone()),
            fingerprint_sha256: values(written.fingerprint_sha256.items(), |digits| digits.0.clone()),
        };
        let is_empty = written.dns.is_absent()
            && written.uri.is_absent()
            && written.common_name.is_absent()
            && written.organizational_unit.is_absent()
            && written.fingerprint_sha256.is_absent();
        if is_empty {
            self.report.push(
                Diagnostic::new(Code::EmptyList, "`allow_clients` names nobody")
                    .at(place, "nobody could enter")
                    .help("add `dns`, `uri`, `common_name`, `organizational_unit` or `fingerprint_sha256`, or remove it"),
            );
            return None;
        }
        // Of one whose items were all left out something was reported.
        (!is_invalid && allowed != AllowedClients::default()).then_some(Some(allowed))
    }

    /// Reports listeners that cannot have their addresses at the same time.
    pub(super) fn shared_addresses(&mut self) {
        let document = self.document;
        let admin = document
            .admin
            .value()
            .and_then(|admin| admin.value.listen.value());
        let admin: Vec<_> = admin
            .into_iter()
            .flat_map(|listen| &listen.value.0)
            .filter_map(|item| match item.value {
                AdminAddress::Tcp(address) => Some((address, &item.place)),
                AdminAddress::Unix(_) => None,
            })
            .collect();
        let mut taken: Vec<(SocketAddr, &Located<String>, &Place)> = Vec::new();
        for (name, listener) in self.document.listeners.tables() {
            let (Some(address), Some(port)) = (socket_address(listener), listener.port.value()) else {
                continue;
            };
            if listener.enabled.or(true) == Some(false) {
                continue;
            }
            if let Some((other, place)) = admin.iter().find(|(other, _)| collide(*other, address)) {
                let name = &name.value;
                self.report.push(
                    Diagnostic::new(
                        Code::AddressInUse,
                        format!(
                            "the listener `{name}` on {address} is in the way of the admin API on {other}"
                        ),
                    )
                    .at(&port.place, "taken already")
                    .and(place, "by the admin API")
                    .help("give one of them another port, or another address"),
                );
                continue;
            }
            let conflict = taken.iter().find(|(other, ..)| overlap(*other, address));
            if let Some((other, first, place)) = conflict {
                let message = if *other == address {
                    format!(
                        "the listeners `{}` and `{}` both have {address}",
                        first.value, name.value
                    )
                } else {
                    format!(
                        "the listeners `{}` on {other} and `{}` on {address} overlap: [::] takes IPv4 as well",
                        first.value, name.value
                    )
                };
                self.report.push(
                    Diagnostic::new(Code::AddressInUse, message)
                        .at(&port.place, "taken already")
                        .and(place, format!("by `{}`", first.value))
                        .help("give one of them another port, or another `address`"),
                );
            } else {
                taken.push((address, name, &port.place));
            }
        }
    }
}

fn values<T, U>(items: &[Located<T>], value: impl Fn(&T) -> U) -> Vec<U> {
    items.iter().map(|item| value(&item.value)).collect()
}

fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip().to_canonical(), other.ip().to_canonical());
    one.port() == other.port() && (a == b || a.is_unspecified() && b.is_unspecified())
}

/// Whether the sockets of both cannot be there at once; those of listeners can, on all addresses and on one of them.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    overlap(one, other)
        || one.port() == other.port() && (one.ip().is_unspecified() || other.ip().is_unspecified())
}

fn written(selector: &CertificateSelector) -> String {
    match selector {
        CertificateSelector::All => "*".to_owned(),
        CertificateSelector::Directory(directory) => format!("{directory}*"),
        CertificateSelector::Named(name) => name.to_string(),
    }
}
