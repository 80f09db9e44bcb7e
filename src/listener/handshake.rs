//! From the first byte to the end of the handshake. The caller sets the deadline.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Poll, ready};

use rustls::server::{Accepted, AcceptedAlert, Acceptor};
use rustls::{AlertDescription, CertificateError, ServerConfig, ServerConnection};
use tokio::net::TcpStream;

use crate::metrics::Outcome;
use crate::tls::{Refusal, alert_record};

use super::client_hello::{HelloGate, NotAHello};
use super::{records, scratch};

/// A client that has said what it wants and has not been answered yet.
pub(super) struct Greeted {
    pub(super) accepted: Accepted,
    /// What came after the ClientHello and could not be taken in yet; hardly ever anything.
    unread: Vec<u8>,
}

impl Greeted {
    /// Reads the ClientHello. What is held until then is bounded by the largest one allowed.
    pub(super) async fn read(client: &mut TcpStream) -> Result<Self, HandshakeError> {
        let mut gate = HelloGate::default();
        let mut acceptor = Acceptor::default();
        poll_fn(|cx| {
            loop {
                let greeted = scratch::with(|scratch| {
                    let wire = &mut scratch.wire[..CHUNK];
                    let bytes = ready!(scratch::poll_fill(client, cx, wire)).map_err(HandshakeError::Io)?;
                    if bytes.is_empty() {
                        return Poll::Ready(Err(HandshakeError::Abandoned));
                    }
                    gate.push(bytes)?;
                    Poll::Ready(Self::feed(&mut acceptor, bytes))
                });
                if let Some(greeted) = ready!(greeted)? {
                    return Poll::Ready(Ok(greeted));
                }
            }
        })
        .await
    }

    /// Completes the handshake with the configuration that was chosen for this client.
    pub(super) async fn finish(
        self,
        client: &mut TcpStream,
        config: Arc<ServerConfig>,
    ) -> Result<ServerConnection, HandshakeError> {
        let mut tls = self.accepted.into_connection(config).map_err(rejected)?;
        // Each turn writes no more than one read's worth, and only once the last one is gone.
        tls.set_buffer_limit(None);
        records::feed(&mut tls, &self.unread).map_err(|error| failed(&mut tls, error))?;
        poll_fn(|cx| {
            loop {
                ready!(records::poll_send(&mut tls, client, cx)).map_err(HandshakeError::Io)?;
                if !tls.is_handshaking() {
                    return Poll::Ready(Ok::<_, HandshakeError>(()));
                }
                ready!(scratch::with(|scratch| {
                    let wire = &mut scratch.wire[..CHUNK];
                    let bytes = ready!(scratch::poll_fill(client, cx, wire)).map_err(HandshakeError::Io)?;
                    if bytes.is_empty() {
                        return Poll::Ready(Err(HandshakeError::Abandoned));
                    }
                    let fed = records::feed(&mut tls, bytes).map_err(|error| failed(&mut tls, error));
                    Poll::Ready(fed)
                }))?;
            }
        })
        .await?;
        Ok(tls)
    }

    fn feed(acceptor: &mut Acceptor, mut bytes: &[u8]) -> Result<Option<Self>, HandshakeError> {
        while !bytes.is_empty() {
            acceptor
                .read_tls(&mut bytes)
                .map_err(|error| HandshakeError::Tls {
                    error: rustls::Error::General(error.to_string()),
                    alert: alert_record(AlertDescription::DecodeError).into(),
                })?;
            if let Some(accepted) = acceptor.accept().map_err(rejected)? {
                let unread = bytes.to_vec();
                return Ok(Some(Self { accepted, unread }));
            }
        }
        Ok(None)
    }
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error("the client closed the connection before the handshake was complete")]
    Abandoned,
    #[error("the client's connection failed: {0}")]
    Io(io::Error),
    #[error(transparent)]
    NotAHello(#[from] NotAHello),
    #[error(transparent)]
    Refused(Refusal),
    #[error("{error}")]
    Tls {
        error: rustls::Error,
        /// As it is to be sent; empty when the error is the client's own alert.
        alert: Vec<u8>,
    },
}

impl HandshakeError {
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::Abandoned | Self::Io(_) => Outcome::HandshakeAbandoned,
            Self::NotAHello(NotAHello::NotTls) => Outcome::NotTls,
            Self::NotAHello(NotAHello::PlainHttp) => Outcome::PlainHttp,
            Self::NotAHello(NotAHello::ProxyHeader) => Outcome::ProxyHeader,
            Self::NotAHello(NotAHello::SslV2) => Outcome::SslV2,
            Self::NotAHello(NotAHello::TooLarge { .. }) => Outcome::HelloTooLarge,
            Self::Refused(_) => Outcome::Refused,
            Self::Tls { .. } => Outcome::HandshakeFailed,
        }
    }

    /// The last words to the client.
    pub(super) fn reply(&self) -> Vec<u8> {
        match self {
            Self::Abandoned | Self::Io(_) => Vec::new(),
            Self::NotAHello(NotAHello::PlainHttp) => PLAIN_HTTP_ANSWER.into(),
            Self::NotAHello(NotAHello::SslV2) => alert_record(AlertDescription::ProtocolVersion).into(),
            Self::NotAHello(NotAHello::TooLarge { .. }) => {
                alert_record(AlertDescription::IllegalParameter).into()
            }
            Self::NotAHello(NotAHello::NotTls | NotAHello::ProxyHeader) => {
                alert_record(AlertDescription::UnexpectedMessage).into()
            }
            Self::Refused(refusal) => refusal.alert_record().into(),
            Self::Tls { alert, .. } => alert.clone(),
        }
    }

    /// In one word, why the client's certificate was refused, if that is what happened.
    pub(super) fn client_certificate_rejection(&self) -> Option<&'static str> {
        let Self::Tls { error, .. } = self else {
            return None;
        };
        match error {
            rustls::Error::NoCertificatesPresented => Some("missing"),
            rustls::Error::InvalidCertificate(problem) => Some(match problem {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => "expired",
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    "not_yet_valid"
                }
                CertificateError::Revoked => "revoked",
                CertificateError::UnknownIssuer => "unknown_issuer",
                _ => "invalid",
            }),
            _ => None,
        }
    }
}

fn rejected((error, mut alert): (rustls::Error, AcceptedAlert)) -> HandshakeError {
    let mut bytes = Vec::new();
    alert.write_all(&mut bytes).expect("writing to a Vec cannot fail");
    HandshakeError::Tls { error, alert: bytes }
}

fn failed(tls: &mut ServerConnection, error: rustls::Error) -> HandshakeError {
    let alert = records::rest(tls);
    HandshakeError::Tls { error, alert }
}

/// What rustls takes at once: nothing of one read is left over when the handshake is complete.
const CHUNK: usize = 4096;
const PLAIN_HTTP_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain\r\n\
    Content-Length: 54\r\n\
    Connection: close\r\n\
    \r\n\
    This port speaks TLS; use https:// instead of http://\n";
