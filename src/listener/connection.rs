//! The life of one connection: ClientHello, decision, handshake, backend, copy, close.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::ListenerConfig;
use crate::http::{CrlTable, TokenTable, serve_connection};
use crate::metrics::Outcome;
use crate::on_demand::Denial;
use crate::record::RecordError;
use crate::tls::{Decision, Fate, Refusal};

use super::copy::{End, Link};
use super::handshake::{Established, Greeted, HandshakeError};
use super::linger::{self, Peer};
use super::report::Report;
use super::running::{ListenerSettings, Permit, Service, Shared};

/// Serves an accepted connection to its end. Dropped before that, it is cut: both peers see a reset.
///
/// What comes before and after the copying is boxed: an open connection has room for the copying only.
pub(super) async fn run(
    client: TcpStream,
    source: SocketAddr,
    mut settings: Arc<ListenerSettings>,
    shared: Arc<Shared>,
    permit: Permit,
) {
    let config = &settings.config;
    let mut report = Report::new(config.name.clone(), shared.metrics.clone(), source, permit);
    match &settings.service {
        Service::Http { tokens, crls } => {
            Box::pin(serve_http(client, config, tokens, crls, &mut report)).await;
        }
        Service::Tls { .. } => {
            let link = Box::pin(open(client, &mut settings, &shared, &mut report)).await;
            drop(shared);
            let Some(mut link) = link else { return };
            let end = link.copy(settings.config.idle_timeout, &mut report).await;
            Box::pin(close(link, end, &mut report)).await;
        }
    }
}

async fn serve_http(
    client: TcpStream,
    config: &ListenerConfig,
    tokens: &Arc<TokenTable>,
    crls: &Arc<CrlTable>,
    report: &mut Report,
) {
    let served = serve_connection(client, tokens.clone(), crls.clone());
    match timeout(config.handshake_timeout, served).await {
        Ok(Ok(())) => report.ended(Outcome::Closed),
        Ok(Err(error)) => report.failed(Outcome::ClientProtocolError, &error),
        Err(_) => report.ended(Outcome::IdleTimeout),
    }
}

/// The handshake, and a backend for whoever completes it. `settings` become those that the handshake was done by.
async fn open(
    mut client: TcpStream,
    settings: &mut Arc<ListenerSettings>,
    shared: &Shared,
    report: &mut Report,
) -> Option<Box<Link>> {
    let deadline = settings.config.handshake_timeout;
    let handshake = shake_hands(&mut client, settings, shared, report);
    match timeout(deadline, handshake).await {
        Ok(Ok(Session::Forward(session))) => forward(client, session, settings, shared, report).await,
        Ok(Ok(Session::Challenge(mut session))) => {
            report.ended(Outcome::Challenge);
            let mut last_words = session.unsent;
            // Whoever has closed a session that has hardly begun can do without.
            let _ = session.session.close_notify(&mut last_words);
            linger::part(&mut client, &last_words).await;
            None
        }
        Ok(Err(error)) => {
            report.handshake_failed(error.outcome(), &error);
            linger::part(&mut client, &error.reply()).await;
            None
        }
        Err(_) => {
            let allowed = format!("the handshake took longer than {deadline:?}");
            report.handshake_failed(Outcome::HandshakeTimeout, &allowed);
            None
        }
    }
}

enum Session {
    /// A CA's look at a challenge certificate; there is nothing more to it (RFC 8737 §3).
    Challenge(Established),
    Forward(Established),
}

async fn shake_hands(
    client: &mut TcpStream,
    settings: &mut Arc<ListenerSettings>,
    shared: &Shared,
    report: &mut Report,
) -> Result<Session, HandshakeError> {
    let unacceptable = |hello: &[u8]| shared.tallies.note(hello, Fate::Unacceptable);
    let greeted = Greeted::read(client, unacceptable).await?;
    let mut decision = decide(&greeted, settings, shared, report).await?;
    if let Decision::Obtain = decision {
        Box::pin(obtain(&greeted, settings)).await?;
        decision = match decide(&greeted, settings, shared, report).await? {
            // It has gone again.
            Decision::Obtain => Decision::Refuse(Refusal::NotObtained(Denial::Failed)),
            decision => decision,
        };
    }
    let Service::Tls { tls, .. } = &settings.service else {
        return Err(HandshakeError::Refused(Refusal::NothingPublished));
    };
    if let Some(fate) = Fate::of(&decision) {
        shared.tallies.note(greeted.received(), fate);
    }
    match decision {
        Decision::Challenge(challenge) => {
            let session = greeted.finish(client, challenge, None).await?;
            Ok(Session::Challenge(session))
        }
        Decision::Handshake { config, chosen } => {
            let finished = greeted.finish(client, config, Some(&chosen)).await;
            let error = finished.as_ref().err();
            if error.is_none_or(|error| error.tls().is_some())
                && let Some(verdict) = chosen.verdict(error.and_then(HandshakeError::tls))
            {
                report.judged(verdict, tls.observed());
            }
            let mut session = finished?;
            report.established(&session.negotiated);
            if !chosen.is_clients_own() {
                // Judged once more, it would be somebody else who is let in.
                session.certificates = Box::default();
            }
            Ok(Session::Forward(session))
        }
        Decision::LookUp(_) | Decision::Obtain => Err(HandshakeError::Refused(Refusal::NotLoaded)),
        Decision::Refuse(refusal) => Err(HandshakeError::Refused(refusal)),
    }
}

/// What to do with the client by the settings that hold now: whoever waited must not get what held before.
async fn decide(
    greeted: &Greeted,
    settings: &mut Arc<ListenerSettings>,
    shared: &Shared,
    report: &mut Report,
) -> Result<Decision, HandshakeError> {
    *settings = shared.settings.load_full();
    if shared.is_gone() {
        return Err(HandshakeError::Refused(Refusal::ListenerGone));
    }
    let Service::Tls { tls, .. } = &settings.service else {
        return Err(HandshakeError::Refused(Refusal::NothingPublished));
    };
    let hello = greeted.accepted.client_hello();
    report.greeted(hello.server_name());
    Ok(tls.decide_loaded(&hello).await)
}

/// Waits for the certificate of a name that has none yet.
async fn obtain(greeted: &Greeted, settings: &ListenerSettings) -> Result<(), HandshakeError> {
    let Service::Tls { tls, .. } = &settings.service else {
        return Err(HandshakeError::Refused(Refusal::NothingPublished));
    };
    let hello = greeted.accepted.client_hello();
    let obtained = tls.obtain(hello.server_name().unwrap_or_default()).await;
    obtained.map_err(HandshakeError::Refused)
}

async fn forward(
    client: TcpStream,
    established: Established,
    settings: &ListenerSettings,
    shared: &Shared,
    report: &mut Report,
) -> Option<Box<Link>> {
    let ListenerSettings { config, service } = settings;
    let Service::Tls { server_group, .. } = service else {
        return None;
    };
    let client = Peer::new(client);
    match server_group.connect(config.connect_timeout).await {
        Ok(connected) => {
            report.forwarded_to(connected.server.address().clone());
            let backend = Peer::new(connected.stream);
            Some(Link::new(client, established, backend, &shared.admissions))
        }
        Err(error) => {
            // The client sees a reset, as it would if it had come to the backend itself. A `close_notify` would
            // be a complete and empty answer.
            tracing::warn!(listener = %config.name, %error, "connection not forwarded");
            report.failed(Outcome::BackendUnavailable, &error);
            None
        }
    }
}

/// Lets the client know how it ended, unless that is a reset.
async fn close(mut link: Box<Link>, end: End, report: &mut Report) {
    match end {
        End::Closed => {
            report.ended(Outcome::Closed);
            link.ended_cleanly();
        }
        End::BackendReset(error) => report.failed(Outcome::BackendReset, &error),
        End::BackendStoppedReading(error) => {
            // What it said before that is the client's, but it may not be all: no `close_notify`.
            report.failed(Outcome::BackendReset, &error);
            part_from_client(link, None).await;
        }
        End::ClientProtocolError(error) => {
            report.failed(Outcome::ClientProtocolError, &error);
            part_from_client(link, Some(error)).await;
        }
        End::ClientReset(error) => report.failed(Outcome::ClientReset, &error),
        End::ClientTruncated => report.ended(Outcome::ClientTruncated),
        End::IdleTimeout => report.ended(Outcome::IdleTimeout),
        End::NoLongerAdmitted(reason) => {
            report.failed(Outcome::NoLongerAdmitted, &reason);
            part_from_client(link, Some(RecordError::NoLongerAdmitted)).await;
        }
    }
}

/// The backend need not wait until the client has been told.
async fn part_from_client(link: Box<Link>, error: Option<RecordError>) {
    let (mut client, last_words) = link.part(error);
    linger::part(&mut client, &last_words).await;
    client.ended_cleanly();
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn an_open_connection_has_no_room_for_what_is_over() {
        fn size<A, B, C, D, E, F: Future>(_: impl FnOnce(A, B, C, D, E) -> F) -> usize {
            size_of::<F>()
        }
        assert!(size(run) <= 536, "{} bytes", size(run));
    }
}
