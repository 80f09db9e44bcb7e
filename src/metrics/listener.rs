//! What is counted for each connection of a listener.

use std::sync::{Arc, OnceLock};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use rustls::CipherSuite;
use rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES;

/// The counters of one listener.
#[derive(Debug)]
pub struct ListenerMetrics {
    listener: Arc<str>,
    families: ListenerFamilies,
    bytes: [Counter; 2],
    connections: Gauge,
    handshake_seconds: Histogram,
    /// One for each suite and for full and resumed; made at first use, so that what never happens is not shown.
    handshakes: Vec<[OnceLock<Counter>; 2]>,
    outcomes: [Counter; Outcome::ALL.len()],
}

impl ListenerMetrics {
    /// A connection was accepted.
    pub fn opened(&self) {
        self.connections.inc();
    }

    /// An accepted connection ended in this way.
    pub fn ended(&self, outcome: Outcome) {
        self.connections.dec();
        self.outcomes[outcome as usize].inc();
    }

    /// A connection was closed at accept because of a limit.
    pub fn limited(&self, limit: Limit) {
        let labels = LimitLabels {
            listener: self.listener.to_string(),
            limit: limit.label(),
        };
        self.families.limited.get_or_create(&labels).inc();
        self.outcomes[Outcome::Limited as usize].inc();
    }

    /// Bytes of payload went through.
    pub fn transferred(&self, direction: Direction, bytes: u64) {
        self.bytes[direction as usize].inc_by(bytes);
    }

    /// A handshake succeeded.
    pub fn established(&self, handshake: &Established) {
        self.handshake_seconds.observe(handshake.seconds);
        let make = || {
            let labels = HandshakeLabels::succeeded(&self.listener, handshake);
            self.families.handshakes.get_or_create_owned(&labels)
        };
        let suite = ALL_CIPHER_SUITES
            .iter()
            .position(|known| known.suite() == handshake.cipher_suite);
        match suite.and_then(|position| self.handshakes.get(position)) {
            Some(counters) => counters[usize::from(handshake.resumed)].get_or_init(make).inc(),
            None => make().inc(),
        };
    }

    /// A handshake failed; `outcome` says why.
    pub fn handshake_failed(&self, outcome: Outcome) {
        let labels = HandshakeLabels {
            listener: self.listener.to_string(),
            result: outcome.label(),
            version: "",
            cipher: String::new(),
            resumed: "",
        };
        self.families.handshakes.get_or_create(&labels).inc();
    }

    /// A client certificate was refused, in one word why.
    pub fn client_certificate_rejected(&self, reason: &'static str) {
        let labels = RejectionLabels {
            listener: self.listener.to_string(),
            reason,
        };
        self.families.rejections.get_or_create(&labels).inc();
    }

    /// A client was verified where that is only observed: `verdict` is `verified` or why it would have been refused.
    pub fn client_certificate_observed(&self, verdict: &'static str) {
        let labels = ObservationLabels {
            listener: self.listener.to_string(),
            verdict,
        };
        self.families.observations.get_or_create(&labels).inc();
    }

    /// A client was let in although a CRL that it had to be checked against is out of date.
    pub fn expired_crl_accepted(&self) {
        let label = ListenerLabel {
            listener: self.listener.to_string(),
        };
        self.families.expired_crls.get_or_create(&label).inc();
    }

    /// Connections open now.
    pub fn connections(&self) -> i64 {
        self.connections.get()
    }

    /// Connections that have ended in this way.
    pub fn outcomes(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize].get()
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Outcome {
    /// The backend reset the connection.
    BackendReset,
    /// No server of the group took the connection.
    BackendUnavailable,
    /// A tls-alpn-01 challenge was answered (RFC 8737).
    Challenge,
    /// The client broke the TLS protocol after the handshake.
    ClientProtocolError,
    /// The client reset the connection.
    ClientReset,
    /// The client closed without `close_notify`: what it sent may be incomplete (RFC 8446 §6.1).
    ClientTruncated,
    /// Both sides closed as they should.
    Closed,
    /// The client left before its ClientHello was complete.
    HandshakeAbandoned,
    /// The handshake ended with an alert from either side.
    HandshakeFailed,
    /// The handshake took longer than the listener allows.
    HandshakeTimeout,
    /// The ClientHello is larger than any client sends.
    HelloTooLarge,
    /// No byte in either direction for as long as the listener allows.
    IdleTimeout,
    /// Closed at accept because of a limit.
    Limited,
    /// What let the client in does so no more: see `certgate listener recheck`.
    NoLongerAdmitted,
    /// No certificate was there for the name, and none was obtained on demand.
    NotObtained,
    /// Neither TLS nor anything else that is known.
    NotTls,
    /// A request in plain HTTP on a TLS port.
    PlainHttp,
    /// A PROXY protocol header where none is expected.
    ProxyHeader,
    /// No certificate for the name, or no certificate at all.
    Refused,
    /// The listener was stopped and the time to drain was over.
    Shutdown,
    /// An SSLv2 hello.
    SslV2,
}

impl Outcome {
    /// Every one, in the order of their discriminants.
    pub const ALL: [Self; 21] = [
        Self::BackendReset,
        Self::BackendUnavailable,
        Self::Challenge,
        Self::ClientProtocolError,
        Self::ClientReset,
        Self::ClientTruncated,
        Self::Closed,
        Self::HandshakeAbandoned,
        Self::HandshakeFailed,
        Self::HandshakeTimeout,
        Self::HelloTooLarge,
        Self::IdleTimeout,
        Self::Limited,
        Self::NoLongerAdmitted,
        Self::NotObtained,
        Self::NotTls,
        Self::PlainHttp,
        Self::ProxyHeader,
        Self::Refused,
        Self::Shutdown,
        Self::SslV2,
    ];

    /// The word in labels and log lines.
    pub fn label(self) -> &'static str {
        match self {
            Self::BackendReset => "backend_reset",
            Self::BackendUnavailable => "backend_unavailable",
            Self::Challenge => "challenge",
            Self::ClientProtocolError => "client_protocol_error",
            Self::ClientReset => "client_reset",
            Self::ClientTruncated => "client_truncated",
            Self::Closed => "closed",
            Self::HandshakeAbandoned => "handshake_abandoned",
            Self::HandshakeFailed => "handshake_failed",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::HelloTooLarge => "hello_too_large",
            Self::IdleTimeout => "idle_timeout",
            Self::Limited => "limited",
            Self::NoLongerAdmitted => "no_longer_admitted",
            Self::NotObtained => "not_obtained",
            Self::NotTls => "not_tls",
            Self::PlainHttp => "plain_http",
            Self::ProxyHeader => "proxy_header",
            Self::Refused => "refused",
            Self::Shutdown => "shutdown",
            Self::SslV2 => "sslv2",
        }
    }

    /// Who made it end so: `client`, `backend` or `gateway`.
    pub fn side(self) -> &'static str {
        match self {
            Self::BackendReset | Self::BackendUnavailable => "backend",
            Self::Challenge
            | Self::IdleTimeout
            | Self::Limited
            | Self::NoLongerAdmitted
            | Self::NotObtained
            | Self::Refused
            | Self::Shutdown => "gateway",
            _ => "client",
        }
    }
}

/// Which way payload went, seen from the gateway.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// From the client.
    In,
    /// To the client.
    Out,
}

/// A limit that closed a connection at accept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Limit {
    /// `max_connections` of the listener.
    MaxConnections,
}

impl Limit {
    fn label(self) -> &'static str {
        match self {
            Self::MaxConnections => "max_connections",
        }
    }
}

/// What is counted of a handshake that succeeded.
#[derive(Clone, Copy, Debug)]
pub struct Established {
    /// The suite; the version follows from it.
    pub cipher_suite: CipherSuite,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// From accept to the end of the handshake.
    pub seconds: f64,
}

#[derive(Clone, Debug)]
pub(super) struct ListenerFamilies {
    bytes: Family<DirectionLabels, Counter>,
    connections: Family<ListenerLabel, Gauge>,
    expired_crls: Family<ListenerLabel, Counter>,
    handshake_seconds: Family<ListenerLabel, Histogram>,
    handshakes: Family<HandshakeLabels, Counter>,
    limited: Family<LimitLabels, Counter>,
    observations: Family<ObservationLabels, Counter>,
    outcomes: Family<OutcomeLabels, Counter>,
    rejections: Family<RejectionLabels, Counter>,
}

impl ListenerFamilies {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let families = Self {
            bytes: Family::default(),
            connections: Family::default(),
            expired_crls: Family::default(),
            handshake_seconds: Family::new_with_constructor(|| Histogram::new(HANDSHAKE_SECONDS)),
            handshakes: Family::default(),
            limited: Family::default(),
            observations: Family::default(),
            outcomes: Family::default(),
            rejections: Family::default(),
        };
        registry.register(
            "bytes",
            "Payload by direction, in from clients",
            families.bytes.clone(),
        );
        registry.register("connections", "Open connections", families.connections.clone());
        registry.register(
            "connections",
            "Connections by how they ended",
            families.outcomes.clone(),
        );
        registry.register(
            "tls_handshake_seconds",
            "From accept to the end of the handshake",
            families.handshake_seconds.clone(),
        );
        registry.register(
            "tls_handshakes",
            "TLS handshakes by how they ended",
            families.handshakes.clone(),
        );
        registry.register(
            "limited_connections",
            "Connections closed at accept because of a limit",
            families.limited.clone(),
        );
        registry.register(
            "client_certificate_rejections",
            "Client certificates refused, by reason",
            families.rejections.clone(),
        );
        registry.register(
            "client_certificate_observations",
            "Clients verified where that is only observed, by what it came to",
            families.observations.clone(),
        );
        registry.register(
            "client_certificate_expired_crl_accepted",
            "Clients let in although a CRL of their CA is out of date",
            families.expired_crls.clone(),
        );
        families
    }

    pub(super) fn resolve(&self, listener: &Arc<str>) -> ListenerMetrics {
        let label = ListenerLabel {
            listener: listener.to_string(),
        };
        ListenerMetrics {
            listener: listener.clone(),
            families: self.clone(),
            bytes: ["in", "out"].map(|direction| {
                self.bytes.get_or_create_owned(&DirectionLabels {
                    listener: listener.to_string(),
                    direction,
                })
            }),
            connections: self.connections.get_or_create_owned(&label),
            handshake_seconds: self.handshake_seconds.get_or_create_owned(&label),
            handshakes: ALL_CIPHER_SUITES.iter().map(|_| Default::default()).collect(),
            outcomes: Outcome::ALL.map(|outcome| {
                self.outcomes.get_or_create_owned(&OutcomeLabels {
                    listener: listener.to_string(),
                    result: outcome.label(),
                })
            }),
        }
    }
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct DirectionLabels {
    listener: String,
    direction: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct HandshakeLabels {
    listener: String,
    result: &'static str,
    version: &'static str,
    cipher: String,
    resumed: &'static str,
}

impl HandshakeLabels {
    fn succeeded(listener: &str, handshake: &Established) -> Self {
        let cipher = format!("{:?}", handshake.cipher_suite);
        Self {
            listener: listener.to_owned(),
            result: "ok",
            version: if cipher.starts_with("TLS13_") {
                "TLSv1.3"
            } else {
                "TLSv1.2"
            },
            cipher,
            resumed: if handshake.resumed { "true" } else { "false" },
        }
    }
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct LimitLabels {
    listener: String,
    limit: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ListenerLabel {
    listener: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ObservationLabels {
    listener: String,
    verdict: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OutcomeLabels {
    listener: String,
    result: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RejectionLabels {
    listener: String,
    reason: &'static str,
}

const HANDSHAKE_SECONDS: [f64; 12] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_is_counted_under_its_own_word() {
        for (position, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, position, "{} is out of order", outcome.label());
        }
    }
}
