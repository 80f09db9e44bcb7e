//! The copy loop: decrypted bytes to the backend, its bytes encrypted to the client.
//!
//! Both directions are turned by one task with the worker's buffers. A direction reads only when what it read
//! before is gone, so a slow peer holds back the other one through TCP itself, and a connection that waits holds
//! no buffer. The end of one direction is passed on, `close_notify` as FIN and FIN as `close_notify`, and the
//! other direction goes on. Everything else that ends a stream is not passed on as an end: see [`End`].

use std::future::poll_fn;
use std::io;
use std::io::Write;
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::ServerConnection;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use super::linger::Peer;
use super::report::Report;
use super::{records, scratch};

/// A client and the backend it was given.
pub(super) struct Link {
    pub(super) client: Peer,
    pub(super) tls: ServerConnection,
    pub(super) backend: Peer,
}

impl Link {
    /// Copies until both directions have ended, or the connection has.
    pub(super) async fn copy(&mut self, idle_timeout: Duration, report: &mut Report) -> End {
        let mut idle = pin!(sleep(idle_timeout));
        let mut copy = Copy {
            link: self,
            report,
            upward: Direction::Open,
            downward: Direction::Open,
            held: Held::default(),
            refusal: None,
            idle_timeout,
            last_byte: Instant::now(),
        };
        if let Err(error) = copy.take_first_data() {
            return End::ClientProtocolError(error);
        }
        poll_fn(|cx| copy.poll(idle.as_mut(), cx)).await
    }
}

/// How copying ended.
#[derive(Debug)]
pub(super) enum End {
    /// The backend's connection broke. The client may not see that as an end.
    BackendReset(io::Error),
    /// The backend takes no more; all it had said has been passed on.
    BackendStoppedReading(io::Error),
    /// A record that does not open, a renegotiation, a flood of messages without payload.
    ClientProtocolError(rustls::Error),
    /// The client's connection broke. The backend may not see that as an end.
    ClientReset(io::Error),
    /// FIN without `close_notify`: somebody may have cut off the rest (RFC 8446 §6.1). The backend gets a reset.
    ClientTruncated,
    /// Both directions have ended as they should.
    Closed,
    /// No byte in either direction for too long.
    IdleTimeout,
}

/// How far a direction is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Direction {
    Open,
    /// The source has ended; its last bytes are on their way.
    Ending,
    Closed,
}

struct Copy<'a> {
    link: &'a mut Link,
    report: &'a mut Report,
    /// Client to backend.
    upward: Direction,
    /// Backend to client. What is on its way is in the buffer of `tls`.
    downward: Direction,
    /// On its way up.
    held: Held,
    /// Why the backend takes no more.
    refusal: Option<io::Error>,
    idle_timeout: Duration,
    last_byte: Instant,
}

impl Copy<'_> {
    fn poll(&mut self, idle: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<End> {
        for turn in 0..TURNS {
            let up = self.turn_up(cx);
            let down = self.turn_down(cx);
            let moved = match (up, down) {
                (Poll::Ready(Err(end)), _) | (_, Poll::Ready(Err(end))) => return Poll::Ready(end),
                (Poll::Pending, Poll::Pending) => false,
                _ => true,
            };
            if self.upward == Direction::Closed && self.downward == Direction::Closed {
                return Poll::Ready(match self.refusal.take() {
                    Some(refusal) => End::BackendStoppedReading(refusal),
                    None => End::Closed,
                });
            }
            if !moved {
                if turn > 0 {
                    self.last_byte = Instant::now();
                }
                return self.poll_idle(idle, cx);
            }
        }
        // The others of this worker have their turns too.
        self.last_byte = Instant::now();
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// One timer for a connection's whole life: it is set again when it fires, not at each byte.
    fn poll_idle(&self, mut idle: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            ready!(idle.as_mut().poll(cx));
            let due = self.last_byte + self.idle_timeout;
            if due <= Instant::now() {
                return Poll::Ready(End::IdleTimeout);
            }
            idle.as_mut().reset(due);
        }
    }

    /// Client to backend. Ready when something moved.
    fn turn_up(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        if self.upward == Direction::Closed {
            return Poll::Pending;
        }
        if !self.held.is_empty() {
            let sent = ready!(records::poll_send_plain(
                &mut self.link.backend,
                cx,
                self.held.rest()
            ));
            match sent {
                Ok(sent) => self.held.consume(sent),
                Err(error) => self.backend_refuses(error),
            }
            return Poll::Ready(Ok(()));
        }
        if self.upward == Direction::Ending {
            end(&self.link.backend);
            self.upward = Direction::Closed;
            return Poll::Ready(Ok(()));
        }
        scratch::with(|scratch| {
            let client = &mut self.link.client;
            let wire = match ready!(scratch::poll_fill(client, cx, &mut scratch.wire)) {
                Ok([]) => return Poll::Ready(Err(End::ClientTruncated)),
                Ok(wire) => wire,
                Err(error) => return Poll::Ready(Err(End::ClientReset(error))),
            };
            let opened = records::open(&mut self.link.tls, wire, &mut scratch.plain);
            let (length, is_last) = opened.map_err(End::ClientProtocolError)?;
            self.send_up(&scratch.plain[..length], cx);
            if is_last && self.upward == Direction::Open {
                self.upward = Direction::Ending;
            }
            Poll::Ready(Ok(()))
        })
    }

    /// What came together with the end of the handshake has been read from the socket already.
    fn take_first_data(&mut self) -> Result<(), rustls::Error> {
        scratch::with(|scratch| {
            let (length, is_last) = records::open(&mut self.link.tls, &[], &mut scratch.plain)?;
            if is_last {
                self.upward = Direction::Ending;
            }
            if length > 0 {
                self.report.received(length);
                self.held.hold(&scratch.plain[..length]);
            }
            Ok(())
        })
    }

    fn send_up(&mut self, plain: &[u8], cx: &mut Context<'_>) {
        if plain.is_empty() {
            return;
        }
        self.report.received(plain.len());
        match records::poll_send_plain(&mut self.link.backend, cx, plain) {
            Poll::Ready(Ok(sent)) => self.held.hold(&plain[sent..]),
            Poll::Ready(Err(error)) => self.backend_refuses(error),
            Poll::Pending => self.held.hold(plain),
        }
    }

    /// It may have answered before it stopped reading, as servers do that refuse an upload: the answer is passed on.
    fn backend_refuses(&mut self, error: io::Error) {
        self.refusal = Some(error);
        self.upward = Direction::Closed;
        self.held = Held::default();
    }

    /// Backend to client. Ready when something moved.
    fn turn_down(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        if self.link.tls.wants_write() {
            let sent = ready!(records::poll_send(&mut self.link.tls, &mut self.link.client, cx));
            return Poll::Ready(sent.map_err(End::ClientReset));
        }
        match self.downward {
            Direction::Open => {}
            Direction::Ending => {
                end(&self.link.client);
                self.downward = Direction::Closed;
                return Poll::Ready(Ok(()));
            }
            Direction::Closed => return Poll::Pending,
        }
        scratch::with(|scratch| {
            let plain = match ready!(scratch::poll_fill(&mut self.link.backend, cx, &mut scratch.wire)) {
                Ok(plain) => plain,
                Err(error) => {
                    return Poll::Ready(Err(match self.refusal.take() {
                        Some(refusal) => End::BackendStoppedReading(refusal),
                        None => End::BackendReset(error),
                    }));
                }
            };
            if plain.is_empty() {
                // After a reset that showed when writing, the end of what can be read says nothing.
                if let Some(refusal) = self.refusal.take() {
                    return Poll::Ready(Err(End::BackendStoppedReading(refusal)));
                }
                self.link.tls.send_close_notify();
                self.downward = Direction::Ending;
            } else {
                self.report.sent(plain.len());
                // Nothing is on its way and the buffer has no limit, so all of it is taken.
                let taken = self.link.tls.writer().write_all(plain);
                taken.map_err(End::ClientReset)?;
            }
            match records::poll_send(&mut self.link.tls, &mut self.link.client, cx) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(End::ClientReset(error))),
                Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(())),
            }
        })
    }
}

/// What one direction could not get rid of: at most one turn's worth, and no memory when there is none.
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    sent: usize,
}

impl Held {
    fn hold(&mut self, bytes: &[u8]) {
        *self = Self {
            bytes: bytes.to_vec(),
            sent: 0,
        };
    }

    fn consume(&mut self, sent: usize) {
        self.sent += sent;
        if self.is_empty() {
            *self = Self::default();
        }
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }
}

/// FIN; the other direction stays open. That it fails means that the connection is gone, which shows elsewhere.
fn end(stream: &TcpStream) {
    let _ = SockRef::from(stream).shutdown(Shutdown::Write);
}

/// Turns before another connection of the worker has its own.
const TURNS: usize = 8;
