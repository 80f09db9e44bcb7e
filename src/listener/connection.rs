//! The life of one connection: ClientHello, decision, handshake, backend, copy, close.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::backend::ServerGroup;
use crate::config::ListenerConfig;
use crate::http::{TokenTable, serve_connection};
use crate::metrics::{ListenerMetrics, Outcome};
use crate::tls::{Decision, ServerTls};

use super::copy::{End, Link};
use super::handshake::{Established, Greeted, HandshakeError};
use super::linger::{self, Peer};
use super::report::Report;
use super::running::{ListenerSettings, Permit, Service};

/// Serves an accepted connection to its end. Dropped before that, it is cut: both peers see a reset.
pub(super) async fn run(
    client: TcpStream,
    source: SocketAddr,
    settings: Arc<ListenerSettings>,
    metrics: Arc<ListenerMetrics>,
    permit: Permit,
) {
    let config = &settings.config;
    let mut report = Report::new(config.name.clone(), metrics, source, permit);
    // Without it a small answer waits for the acknowledgement of the one before; gone already if it fails.
    let _ = client.set_nodelay(true);
    match &settings.service {
        Service::Http { tokens } => serve_http(client, config, tokens, &mut report).await,
        Service::Tls { tls, server_group } => {
            serve_tls(client, config, tls, server_group, &mut report).await;
        }
    }
}

async fn serve_http(
    client: TcpStream,
    config: &ListenerConfig,
    tokens: &Arc<TokenTable>,
    report: &mut Report,
) {
    match timeout(config.handshake_timeout, serve_connection(client, tokens.clone())).await {
        Ok(Ok(())) => report.ended(Outcome::Closed),
        Ok(Err(error)) => report.failed(Outcome::ClientProtocolError, &error),
        Err(_) => report.ended(Outcome::IdleTimeout),
    }
}

async fn serve_tls(
    mut client: TcpStream,
    config: &ListenerConfig,
    tls: &ServerTls,
    server_group: &ServerGroup,
    report: &mut Report,
) {
    let handshake = shake_hands(&mut client, tls, report);
    let session = match timeout(config.handshake_timeout, handshake).await {
        Ok(Ok(session)) => session,
        Ok(Err(error)) => {
            report.handshake_failed(error.outcome(), &error);
            if let Some(reason) = error.client_certificate_rejection() {
                report.client_certificate_rejected(reason);
            }
            linger::part(&mut client, &error.reply()).await;
            return;
        }
        Err(_) => {
            let allowed = format!("the handshake took longer than {:?}", config.handshake_timeout);
            report.handshake_failed(Outcome::HandshakeTimeout, &allowed);
            return;
        }
    };
    match session {
        Session::Challenge(mut session) => {
            report.ended(Outcome::Challenge);
            let mut last_words = session.unsent;
            // Whoever has closed a session that has hardly begun can do without.
            let _ = session.session.close_notify(&mut last_words);
            linger::part(&mut client, &last_words).await;
        }
        Session::Forward(session) => forward(client, session, config, server_group, report).await,
    }
}

enum Session {
    /// A CA's look at a challenge certificate; there is nothing more to it (RFC 8737 §3).
    Challenge(Established),
    Forward(Established),
}

async fn shake_hands(
    client: &mut TcpStream,
    tls: &ServerTls,
    report: &mut Report,
) -> Result<Session, HandshakeError> {
    let greeted = Greeted::read(client).await?;
    let decision = {
        let hello = greeted.accepted.client_hello();
        report.greeted(hello.server_name());
        tls.decide(&hello)
    };
    match decision {
        Decision::Challenge(challenge) => {
            let session = greeted.finish(client, challenge).await?;
            Ok(Session::Challenge(session))
        }
        Decision::Handshake(config) => {
            let session = greeted.finish(client, config).await?;
            report.established(&session.negotiated);
            Ok(Session::Forward(session))
        }
        Decision::Refuse(refusal) => Err(HandshakeError::Refused(refusal)),
    }
}

async fn forward(
    client: TcpStream,
    established: Established,
    config: &ListenerConfig,
    server_group: &ServerGroup,
    report: &mut Report,
) {
    let client = Peer::new(client);
    let connected = match server_group.connect(config.connect_timeout).await {
        Ok(connected) => connected,
        Err(error) => {
            // The client sees a reset, as it would if it had come to the backend itself. A `close_notify` would
            // be a complete and empty answer.
            tracing::warn!(listener = %config.name, %error, "connection not forwarded");
            report.failed(Outcome::BackendUnavailable, &error);
            return;
        }
    };
    report.forwarded_to(connected.server.address().clone());
    let mut link = Link::new(client, established, Peer::new(connected.stream));
    match link.copy(config.idle_timeout, report).await {
        End::Closed => {
            report.ended(Outcome::Closed);
            link.ended_cleanly();
        }
        End::BackendReset(error) => report.failed(Outcome::BackendReset, &error),
        End::BackendStoppedReading(error) => {
            // What it said before that is the client's, but it may not be all: no `close_notify`.
            report.failed(Outcome::BackendReset, &error);
            part_from_client(link.part(None)).await;
        }
        End::ClientProtocolError(error) => {
            report.failed(Outcome::ClientProtocolError, &error);
            part_from_client(link.part(Some(error))).await;
        }
        End::ClientReset(error) => report.failed(Outcome::ClientReset, &error),
        End::ClientTruncated => report.ended(Outcome::ClientTruncated),
        End::IdleTimeout => report.ended(Outcome::IdleTimeout),
    }
}

async fn part_from_client((mut client, last_words): (Peer, Vec<u8>)) {
    linger::part(&mut client, &last_words).await;
    client.ended_cleanly();
}
