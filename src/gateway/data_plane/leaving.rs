//! Listeners that accept no more, and what holds for the connections that they have open.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::ListenerConfig;
use crate::listener::{Admission, ListenerSettings, RunningListener, Service};
use crate::tls::ServerTls;

use super::{DataPlane, Running};

/// A listener that was disabled, deleted, renamed or moved. Its connections are found under its name while they are open.
#[derive(Clone)]
pub(super) struct Leaving {
    pub(super) listener: Arc<RunningListener>,
    /// How it treated clients last.
    settings: Arc<ListenerSettings>,
}

impl From<RunningListener> for Leaving {
    fn from(listener: RunningListener) -> Self {
        Self {
            settings: listener.settings(),
            listener: Arc::new(listener),
        }
    }
}

impl Leaving {
    /// The name that it had.
    pub(super) fn name(&self) -> &str {
        &self.settings.config.name
    }

    fn tls(&self) -> Option<&Arc<ServerTls>> {
        tls_of(&self.settings)
    }
}

/// By what connections are judged that are open.
pub(in crate::gateway) struct Rules {
    /// How a client would be treated now.
    pub(in crate::gateway) tls: Arc<ServerTls>,
    /// How long a handshake that has begun may take to become one of them.
    pub(in crate::gateway) longest_handshake: Duration,
}

impl Rules {
    fn of(config: &ListenerConfig, tls: Arc<ServerTls>) -> Self {
        Self {
            tls,
            longest_handshake: config.handshake_timeout + config.connect_timeout,
        }
    }
}

impl DataPlane {
    /// The connections of listener `name` that are past their handshake, whether it accepts more or not, and by what they
    /// are to be judged. Nothing where no listener of this name speaks TLS or has such connections.
    pub(in crate::gateway) fn admissions(&self, name: &str) -> Option<(Rules, Vec<Arc<Admission>>)> {
        let running = self.running();
        let rules = self.rules_of(&running, name)?;
        let leaving = running.leaving.iter().filter(|leaving| leaving.name() == name);
        let leaving = leaving.map(|leaving| leaving.listener.as_ref());
        let open = leaving.chain(running.listeners.get(name));
        Some((rules, open.flat_map(RunningListener::admissions).collect()))
    }

    /// How a client of listener `name` would be treated now: by the listener itself; where it is gone, by that which
    /// stands in its place; and otherwise as it treated clients last, by CA bundles as they are now.
    pub(in crate::gateway) fn rules(&self, name: &str) -> Option<Rules> {
        self.rules_of(&self.running(), name)
    }

    fn rules_of(&self, running: &Running, name: &str) -> Option<Rules> {
        let rules =
            |settings: &ListenerSettings| Some(Rules::of(&settings.config, tls_of(settings)?.clone()));
        let itself = running.listeners.get(name);
        if let Some(rules) = itself.and_then(|itself| rules(&itself.settings())) {
            return Some(rules);
        }
        // In the order in which they went.
        let mut gone = running.leaving.iter().enumerate();
        let (at, last) = gone.rfind(|(_, leaving)| {
            leaving.name() == name && leaving.tls().is_some() && leaving.listener.connections() > 0
        })?;
        let place = last.settings.config.address;
        let mut others = running.listeners.values().map(RunningListener::settings);
        if let Some(rules) = others.find_map(|other| {
            let in_place = share_a_place(other.config.address, place);
            in_place.then(|| rules(&other)).flatten()
        }) {
            return Some(rules);
        }
        // It may have had successors that are gone, too.
        let later = running.leaving.iter().skip(at).rev();
        let mut later = later.filter(|later| share_a_place(later.settings.config.address, place));
        later.find_map(|later| {
            let tls = self.with_bundles_of(running, later)?;
            Some(Rules::of(&later.settings.config, tls))
        })
    }

    /// As `leaving` treated clients last, by its CA bundle as that is now. Where the bundle is gone, as it was.
    fn with_bundles_of(&self, running: &Running, leaving: &Leaving) -> Option<Arc<ServerTls>> {
        let (config, before) = (&leaving.settings.config, leaving.tls()?);
        let bundle = config.authentication.client_ca();
        let Some(bundle) = bundle.and_then(|name| running.bundles.by_name.get(name)) else {
            return Some(before.clone());
        };
        let (published, challenges) = (self.published.clone(), self.challenges.clone());
        let built = ServerTls::build(config, before.policy(), Some(bundle), published, challenges);
        Some(built.map_or_else(|_| before.clone(), Arc::new))
    }
}

fn tls_of(settings: &ListenerSettings) -> Option<&Arc<ServerTls>> {
    match &settings.service {
        Service::Tls { tls, .. } => Some(tls),
        Service::Http { .. } => None,
    }
}

/// Whether a client of the one could come to the other.
fn share_a_place(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip().to_canonical(), other.ip().to_canonical());
    one.port() == other.port() && (a == b || a.is_unspecified() || b.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_shared_by_what_addresses_mean() {
        for (one, other, shared) in [
            ("127.0.0.1:443", "127.0.0.1:443", true),
            ("127.0.0.1:443", "0.0.0.0:443", true),
            ("[::]:443", "127.0.0.1:443", true),
            ("[::ffff:127.0.0.1]:443", "127.0.0.1:443", true),
            ("127.0.0.1:443", "127.0.0.1:444", false),
            ("127.0.0.1:443", "127.0.0.2:443", false),
        ] {
            let (a, b) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(share_a_place(a, b), shared, "{one} {other}");
            assert_eq!(share_a_place(b, a), shared, "{other} {one}");
        }
    }
}
