//! From the first byte to the end of the handshake. The caller sets the deadline.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::pki_types::CertificateDer;
use rustls::server::{Accepted, AcceptedAlert, Acceptor, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};
use rustls::{AlertDescription, CipherSuite, HandshakeKind, NamedGroup, ProtocolVersion, ServerConfig};
use tokio::net::TcpStream;

use crate::metrics::Outcome;
use crate::record::Session;
use crate::tls::{Chosen, Refusal, alert_record};

use super::client_hello::{HelloGate, NotAHello};
use super::{scratch, socket};

/// A client that has said what it wants and has not been answered yet.
pub(super) struct Greeted {
    pub(super) accepted: Accepted,
    /// All it has sent.
    received: Vec<u8>,
}

impl Greeted {
    /// Reads the ClientHello. What is held until then is bounded by the largest one allowed. One that rustls does not
    /// take is given to `unacceptable`.
    pub(super) async fn read(
        client: &mut TcpStream,
        unacceptable: impl FnOnce(&[u8]),
    ) -> Result<Self, HandshakeError> {
        let mut gate = HelloGate::default();
        let mut acceptor = Acceptor::default();
        let mut received = Vec::new();
        loop {
            let new = receive(client, &mut received).await?;
            gate.push(&received[new..])?;
            match feed(&mut acceptor, &received[new..]) {
                Ok(Some(accepted)) => return Ok(Self { accepted, received }),
                Ok(None) => {}
                Err(error) => {
                    unacceptable(&received);
                    return Err(error);
                }
            }
        }
    }

    /// Takes `hello` for all that a client has sent.
    pub(super) fn with(hello: Vec<u8>) -> Result<Self, HandshakeError> {
        HelloGate::default().push(&hello)?;
        let accepted = feed(&mut Acceptor::default(), &hello)?;
        Ok(Self {
            accepted: accepted.ok_or(HandshakeError::Abandoned)?,
            received: hello,
        })
    }

    /// All that the client has sent.
    pub(super) fn received(&self) -> &[u8] {
        &self.received
    }

    /// Completes the handshake with the configuration for this client, and the certificate unless `config` has its
    /// own.
    pub(super) async fn finish(
        self,
        client: &mut TcpStream,
        config: Arc<ServerConfig>,
        chosen: Option<&Chosen>,
    ) -> Result<Established, HandshakeError> {
        let mut handshake = self.begin(config)?;
        loop {
            let is_complete = match chosen {
                Some(chosen) => chosen.during(|| handshake.advance())?,
                None => handshake.advance()?,
            };
            if !is_complete || !handshake.may_wait_to_send() {
                handshake.send(client).await?;
            }
            if is_complete {
                return handshake.establish();
            }
            receive(client, &mut handshake.received).await?;
        }
    }

    /// The handshake before its first step.
    pub(super) fn begin(self, config: Arc<ServerConfig>) -> Result<Handshake, HandshakeError> {
        // The ClientHello is read once more: there is no other way to a connection without buffers.
        let tls = UnbufferedServerConnection::new(config).map_err(|error| HandshakeError::Tls {
            error,
            alert: alert_record(AlertDescription::InternalError).into(),
        })?;
        Ok(Handshake {
            tls,
            received: self.received,
            shown: 0,
            unsent: Vec::new(),
        })
    }
}

/// A session, and what has come with the end of its handshake.
pub(super) struct Established {
    pub(super) session: Box<Session>,
    pub(super) negotiated: Negotiated,
    /// What the client has shown, its own certificate first; nothing of what is not its own.
    pub(super) certificates: Box<[CertificateDer<'static>]>,
    /// Records that have not been looked at yet.
    pub(super) received: Vec<u8>,
    /// Session tickets; they can wait for the first data that goes the same way.
    pub(super) unsent: Vec<u8>,
}

/// What the handshake agreed on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Negotiated {
    pub(super) version: Option<ProtocolVersion>,
    pub(super) cipher_suite: Option<CipherSuite>,
    pub(super) group: Option<NamedGroup>,
    pub(super) resumed: bool,
}

/// Between the ClientHello and the session.
pub(super) struct Handshake {
    pub(super) tls: UnbufferedServerConnection,
    received: Vec<u8>,
    /// So much of it rustls may look at: whole records, and none after the last one of the handshake.
    shown: usize,
    pub(super) unsent: Vec<u8>,
}

impl Handshake {
    /// Takes in what was received, as far as it goes; true when the handshake is complete.
    pub(super) fn advance(&mut self) -> Result<bool, HandshakeError> {
        loop {
            let UnbufferedStatus { discard, state } =
                self.tls.process_tls_records(&mut self.received[..self.shown]);
            let mut next = None;
            match state {
                Ok(ConnectionState::EncodeTlsData(message)) => encode(message, &mut self.unsent),
                Ok(ConnectionState::TransmitTlsData(message)) => message.done(),
                Ok(ConnectionState::BlockedHandshake) => next = Some(Ok(false)),
                Ok(ConnectionState::WriteTraffic(_)) => next = Some(Ok(true)),
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    next = Some(Err(HandshakeError::Abandoned));
                }
                // Early data is not accepted, and there is nothing else.
                Ok(_) => next = Some(Err(without_alert(rustls::Error::HandshakeNotComplete))),
                Err(error) => return Err(self.failed(error)),
            }
            self.received.drain(..discard);
            self.shown -= discard;
            match next {
                Some(Ok(false)) => {
                    self.drop_early_data();
                    if !self.show_more() {
                        return Ok(false);
                    }
                }
                Some(next) => return next,
                None => {}
            }
        }
    }

    /// Early data that was not accepted has to be passed over (RFC 8446 §4.2.10): records that do not open, which rustls
    /// leaves where they are, and would take for more of it each time that it is shown them, up to the 16 KiB that it
    /// passes over.
    ///
    /// Where a record did not open, AWS-LC leaves zeros. A part of a message, which rustls has to be shown again, has the
    /// type of its content there (RFC 8446 §5.2), and that is no zero.
    fn drop_early_data(&mut self) {
        if let [APPLICATION_DATA, _, _, _, _, payload @ ..] = &self.received[..self.shown]
            && let opened = &payload[..payload.len().saturating_sub(TAG)]
            && opened.iter().all(|byte| *byte == 0)
        {
            self.received.drain(..self.shown);
            self.shown = 0;
        }
    }

    /// Lets rustls look at one more record, if there is one. What follows the handshake is not for it: our own records
    /// have their own answers to what clients do.
    fn show_more(&mut self) -> bool {
        let unseen = &self.received[self.shown..];
        let whole = match unseen {
            [] => return false,
            // RFC 8446 §5.1 and §5.2; what is no record, rustls refuses at once.
            [20..=23, 3, _, high, low, rest @ ..] => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                if length <= LARGEST_RECORD && rest.len() < length {
                    return false;
                }
                unseen.len().min(5 + length)
            }
            [20..=23] | [20..=23, 3, ..] => return false,
            _ => unseen.len(),
        };
        self.shown += whole;
        true
    }

    /// Whether what is left to be said is only tickets: in TLS 1.3 the server's part of the handshake ends before the
    /// client's.
    fn may_wait_to_send(&self) -> bool {
        self.tls.protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    async fn send(&mut self, client: &mut TcpStream) -> Result<(), HandshakeError> {
        let mut sent = 0;
        while sent < self.unsent.len() {
            let unsent = &self.unsent[sent..];
            sent += poll_fn(|cx| socket::poll_send(client, cx, unsent))
                .await
                .map_err(HandshakeError::Io)?;
        }
        self.unsent.clear();
        Ok(())
    }

    fn establish(self) -> Result<Established, HandshakeError> {
        let tls = &self.tls;
        let negotiated = Negotiated {
            version: tls.protocol_version(),
            cipher_suite: tls.negotiated_cipher_suite().map(|suite| suite.suite()),
            group: tls.negotiated_key_exchange_group().map(|group| group.name()),
            resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
        };
        let shown = tls.peer_certificates().unwrap_or_default();
        let shown = shown.iter().map(|certificate| certificate.clone().into_owned());
        Ok(Established {
            certificates: shown.collect(),
            session: Box::new(Session::new(self.tls).map_err(without_alert)?),
            negotiated,
            received: self.received,
            unsent: self.unsent,
        })
    }

    /// The error with what rustls has to say about it to the client, after what had been said already.
    fn failed(&mut self, error: rustls::Error) -> HandshakeError {
        let mut alert = std::mem::take(&mut self.unsent);
        // No further: it would look at the record that failed once more, and fail once more.
        while self.tls.wants_write() {
            // It remembers places in what was received, so it has to see that again.
            match self
                .tls
                .process_tls_records(&mut self.received[..self.shown])
                .state
            {
                Ok(ConnectionState::EncodeTlsData(message)) => encode(message, &mut alert),
                _ => break,
            }
        }
        HandshakeError::Tls { error, alert }
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
            Self::Refused(Refusal::NotObtained(_)) => Outcome::NotObtained,
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

    /// What rustls says.
    pub(super) fn tls(&self) -> Option<&rustls::Error> {
        match self {
            Self::Tls { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// Appends what has come to `received`; where it begins.
async fn receive(client: &mut TcpStream, received: &mut Vec<u8>) -> Result<usize, HandshakeError> {
    let before = received.len();
    let mut poll = |cx: &mut Context<'_>| {
        scratch::with(|scratch| {
            let read = ready!(socket::poll_fill(client, cx, &mut scratch.wire[..CHUNK]))?;
            received.extend_from_slice(&scratch.wire[..read]);
            Poll::Ready(io::Result::Ok(read))
        })
    };
    match poll_fn(&mut poll).await {
        Ok(0) => Err(HandshakeError::Abandoned),
        Ok(_) => Ok(before),
        Err(error) => Err(HandshakeError::Io(error)),
    }
}

fn feed(acceptor: &mut Acceptor, mut bytes: &[u8]) -> Result<Option<Accepted>, HandshakeError> {
    while !bytes.is_empty() {
        acceptor
            .read_tls(&mut bytes)
            .map_err(|error| HandshakeError::Tls {
                error: rustls::Error::General(error.to_string()),
                alert: alert_record(AlertDescription::DecodeError).into(),
            })?;
        if let Some(accepted) = acceptor.accept().map_err(rejected)? {
            return Ok(Some(accepted));
        }
    }
    Ok(None)
}

fn encode(mut message: EncodeTlsData<'_, impl Sized>, out: &mut Vec<u8>) {
    // The only way to ask for its length.
    if let Err(EncodeError::InsufficientSize(needed)) = message.encode(&mut []) {
        let start = out.len();
        out.resize(start + needed.required_size, 0);
        let written = message.encode(&mut out[start..]);
        out.truncate(start + written.unwrap_or_default());
    }
}

fn rejected((error, mut alert): (rustls::Error, AcceptedAlert)) -> HandshakeError {
    let mut bytes = Vec::new();
    alert.write_all(&mut bytes).expect("writing to a Vec cannot fail");
    HandshakeError::Tls { error, alert: bytes }
}

fn without_alert(error: rustls::Error) -> HandshakeError {
    HandshakeError::Tls {
        error,
        alert: Vec::new(),
    }
}

const APPLICATION_DATA: u8 = 23;
/// Of a record's payload with all that protects it (RFC 5246 §6.2.3).
const LARGEST_RECORD: usize = (1 << 14) + 2048;
/// Read at once; a handshake is rarely more.
const CHUNK: usize = 4096;
/// The same in all suites of TLS 1.3 that there are here.
const TAG: usize = 16;
const PLAIN_HTTP_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain\r\n\
    Content-Length: 54\r\n\
    Connection: close\r\n\
    \r\n\
    This port speaks TLS; use https:// instead of http://\n";
