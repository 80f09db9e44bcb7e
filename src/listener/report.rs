//! The closing line of a connection, and its counters.

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::certificate::ClientIdentity;
use crate::metrics::{Direction, Established, ListenerMetrics, Outcome};
use crate::tls::{Observations, Verdict};

use super::handshake::Negotiated;
use super::running::Permit;

/// What is known of a connection. Written down when it is dropped, so that no way to end is without its line.
pub(super) struct Report {
    listener: Arc<str>,
    metrics: Arc<ListenerMetrics>,
    source: SocketAddr,
    started: Instant,
    server_name: Option<Box<str>>,
    session: Option<Negotiated>,
    client: Option<Box<Verdict>>,
    backend: Option<Arc<str>>,
    received: u64,
    sent: u64,
    outcome: Outcome,
    error: Option<Box<str>>,
    /// Given back after the line is written: a listener that has drained has said everything.
    _permit: Permit,
}

impl Report {
    pub(super) fn new(
        listener: Arc<str>,
        metrics: Arc<ListenerMetrics>,
        source: SocketAddr,
        permit: Permit,
    ) -> Self {
        metrics.opened();
        Self {
            listener,
            metrics,
            source: SocketAddr::new(source.ip().to_canonical(), source.port()),
            started: Instant::now(),
            server_name: None,
            session: None,
            client: None,
            backend: None,
            received: 0,
            sent: 0,
            // Who ends otherwise says so; being dropped in the midst of it is the one way that cannot.
            outcome: Outcome::Shutdown,
            error: None,
            _permit: permit,
        }
    }

    pub(super) fn greeted(&mut self, server_name: Option<&str>) {
        self.server_name = server_name.map(Into::into);
    }

    pub(super) fn established(&mut self, negotiated: &Negotiated) {
        if let Some(cipher_suite) = negotiated.cipher_suite {
            self.metrics.established(&Established {
                cipher_suite,
                resumed: negotiated.resumed,
                seconds: self.started.elapsed().as_secs_f64(),
            });
        }
        self.session = Some(*negotiated);
    }

    /// What became of the client's certificate; `observed` where that has no consequence.
    pub(super) fn judged(&mut self, verdict: Verdict, observed: Option<&Observations>) {
        match (observed, verdict.rejection()) {
            (None, Some(reason)) => self.metrics.client_certificate_rejected(reason.label()),
            (None, None) => {}
            (Some(observed), rejection) => {
                self.metrics.client_certificate_observed(verdict.label());
                if let Some(reason) = rejection {
                    let subject = verdict.identity().map(|identity| identity.subject.as_str());
                    observed.note(reason, subject, self.source.ip(), Instant::now());
                }
            }
        }
        if let Verdict::Verified {
            with_expired_crl: true,
            ..
        } = verdict
        {
            self.metrics.expired_crl_accepted();
        }
        self.client = Some(Box::new(verdict));
    }

    pub(super) fn forwarded_to(&mut self, backend: Arc<str>) {
        self.backend = Some(backend);
    }

    pub(super) fn received(&mut self, bytes: usize) {
        self.received += bytes as u64;
        self.metrics.transferred(Direction::In, bytes as u64);
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
        self.metrics.transferred(Direction::Out, bytes as u64);
    }

    pub(super) fn ended(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }

    pub(super) fn failed(&mut self, outcome: Outcome, error: &dyn Display) {
        self.outcome = outcome;
        self.error = Some(error.to_string().into());
    }

    pub(super) fn handshake_failed(&mut self, outcome: Outcome, error: &dyn Display) {
        self.metrics.handshake_failed(outcome);
        match self.client.as_ref().and_then(|verdict| verdict.rejection()) {
            // Nearer to it than what rustls can say.
            Some(reason) => self.failed(outcome, &reason),
            None => self.failed(outcome, error),
        }
    }

    fn client_identity(&self) -> Option<&ClientIdentity> {
        self.client.as_ref()?.identity().map(AsRef::as_ref)
    }

    /// Scanners and misdirected clients, of which anybody can send as many as they like. Of names that are not obtained on
    /// demand there is one line for many.
    fn is_noise(&self) -> bool {
        use Outcome::*;
        let noise = matches!(
            self.outcome,
            ClientProtocolError
                | HandshakeAbandoned
                | HandshakeTimeout
                | HelloTooLarge
                | NotTls
                | PlainHttp
                | ProxyHeader
                | SslV2
        );
        noise && self.server_name.is_none() && self.session.is_none() || self.outcome == NotObtained
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        self.metrics.ended(self.outcome);
        macro_rules! write_down {
            ($level:expr) => {
                tracing::event!(
                    target: "certgate::connection",
                    $level,
                    listener = %self.listener,
                    source = %self.source,
                    server_name = self.server_name.as_deref(),
                    version = self.session.as_ref().and_then(|s| s.version).map(tracing::field::debug),
                    cipher_suite = self.session.as_ref().and_then(|s| s.cipher_suite).map(tracing::field::debug),
                    group = self.session.as_ref().and_then(|s| s.group).map(tracing::field::debug),
                    resumed = self.session.as_ref().map(|s| s.resumed),
                    client_certificate = self.client.as_ref().map(|verdict| verdict.label()),
                    client_subject = self.client_identity().map(|client| client.subject.as_str()),
                    client_fingerprint = self.client_identity().map(|client| client.fingerprint.as_str()),
                    backend = self.backend.as_ref().map(tracing::field::display),
                    received = self.received,
                    sent = self.sent,
                    seconds = self.started.elapsed().as_secs_f64(),
                    outcome = self.outcome.label(),
                    side = self.outcome.side(),
                    error = self.error.as_deref(),
                    "connection closed"
                )
            };
        }
        if self.is_noise() {
            write_down!(tracing::Level::DEBUG);
        } else {
            write_down!(tracing::Level::INFO);
        }
    }
}
