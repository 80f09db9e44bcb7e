//! The copy loop: decrypted bytes to the backend, its bytes encrypted to the client.
//!
//! Both directions are turned by one task with the worker's buffers. A direction reads only when what it read
//! before is gone, so a slow peer holds back the other one through TCP itself, and a connection that waits holds
//! no buffer. The end of one direction is passed on, `close_notify` as FIN and FIN as `close_notify`, and the
//! other direction goes on. Everything else that ends a stream is not passed on as an end: see [`End`].

use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use crate::record::{RecordError, Session};
use crate::tls::RejectionReason;

use super::admitted::{Admissions, Admitted};
use super::handshake::Established;
use super::linger::Peer;
use super::report::Report;
use super::scratch::{self, Scratch};
use super::socket;

/// A client and the backend it was given.
pub(super) struct Link {
    client: Peer,
    session: Box<Session>,
    backend: Peer,
    admitted: Admitted,
    /// The beginning of a record whose rest has not come; before the first turn, all that came with the handshake.
    received: Vec<u8>,
    /// Plaintext on its way up.
    upward: Held,
    /// Records on their way down.
    downward: Held,
    /// The session's tickets, which are the first thing to be said but wait for company.
    tickets: Vec<u8>,
    /// Why the backend takes no more.
    refusal: Option<io::Error>,
    /// The backend's connection broke after what has been read.
    reset: Option<io::Error>,
}

impl Link {
    pub(super) fn new(
        client: Peer,
        established: Established,
        backend: Peer,
        open: &Arc<Admissions>,
    ) -> Box<Self> {
        Box::new(Self {
            client,
            session: established.session,
            backend,
            admitted: open.admit(established.certificates),
            received: established.received,
            upward: Held::default(),
            downward: Held::default(),
            tickets: established.unsent,
            refusal: None,
            reset: None,
        })
    }

    /// Copies until both directions have ended, or the connection has.
    pub(super) async fn copy(&mut self, idle_timeout: Duration, report: &mut Report) -> End {
        let mut idle = pin!(sleep(idle_timeout.min(DOZE)));
        let mut copying = Copying {
            upward: Direction::Open,
            downward: Direction::Open,
            has_unread: !self.received.is_empty(),
            link: self,
            report,
            idle_timeout,
            last_byte: Instant::now(),
            is_dozing: false,
            is_known: false,
        };
        poll_fn(|cx| copying.poll(idle.as_mut(), cx)).await
    }

    /// The client and what is still to be said to it, last of all why the session ends, if by an error.
    pub(super) fn part(mut self, error: Option<RecordError>) -> (Peer, Vec<u8>) {
        let mut last_words = std::mem::take(&mut self.tickets);
        last_words.extend_from_slice(self.downward.rest());
        if let Some(error) = error {
            last_words.extend(self.session.last_words(error));
        }
        (self.client, last_words)
    }

    /// Everything that was to be said has been said, to both.
    pub(super) fn ended_cleanly(&mut self) {
        self.client.ended_cleanly();
        self.backend.ended_cleanly();
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
    ClientProtocolError(RecordError),
    /// The client's connection broke. The backend may not see that as an end.
    ClientReset(io::Error),
    /// FIN without `close_notify`: somebody may have cut off the rest (RFC 8446 §6.1). The backend gets a reset.
    ClientTruncated,
    /// Both directions have ended as they should.
    Closed,
    /// No byte in either direction for too long.
    IdleTimeout,
    /// What let the client in does so no more. The backend may not see that as an end.
    NoLongerAdmitted(RejectionReason),
}

/// How far a direction is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Direction {
    Open,
    /// The source has ended; its last bytes are on their way.
    Ending,
    Closed,
}

struct Copying<'a> {
    link: &'a mut Link,
    report: &'a mut Report,
    /// Client to backend.
    upward: Direction,
    /// Backend to client.
    downward: Direction,
    /// What was received before the first turn is to be looked at before anything is read.
    has_unread: bool,
    idle_timeout: Duration,
    last_byte: Instant,
    is_dozing: bool,
    /// Whoever may dismiss the connection knows the task to wake.
    is_known: bool,
}

impl Copying<'_> {
    fn poll(&mut self, mut idle: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<End> {
        let dismissal = match std::mem::replace(&mut self.is_known, true) {
            true => self.link.admitted.admission.dismissal(),
            false => self.link.admitted.admission.dismissal_or_wake(cx),
        };
        if let Some(reason) = dismissal {
            return Poll::Ready(End::NoLongerAdmitted(reason));
        }
        for turn in 0..TURNS {
            let up = self.turn_up(cx);
            let down = self.turn_down(cx);
            let moved = match (up, down) {
                (Poll::Ready(Err(end)), _) | (_, Poll::Ready(Err(end))) => return Poll::Ready(end),
                (Poll::Pending, Poll::Pending) => false,
                _ => true,
            };
            if self.upward == Direction::Closed && self.downward == Direction::Closed {
                return Poll::Ready(match self.link.refusal.take() {
                    Some(refusal) => End::BackendStoppedReading(refusal),
                    None => End::Closed,
                });
            }
            if !moved {
                if turn > 0 {
                    self.moved(idle.as_mut());
                }
                return self.poll_idle(idle, cx);
            }
        }
        // The others of this worker have their turns too.
        self.moved(idle);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn moved(&mut self, idle: Pin<&mut Sleep>) {
        self.last_byte = Instant::now();
        if std::mem::take(&mut self.is_dozing) {
            idle.reset(self.last_byte + DOZE.min(self.idle_timeout));
        }
    }

    /// One timer for a connection's whole life: it is set again when it fires, not at each byte. First it tells when
    /// the connection dozes off, then when it has been idle for too long.
    fn poll_idle(&mut self, mut idle: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            ready!(idle.as_mut().poll(cx));
            let now = Instant::now();
            let due = self.last_byte + self.idle_timeout;
            if due <= now {
                return Poll::Ready(End::IdleTimeout);
            }
            let dozes = self.last_byte + DOZE;
            if dozes <= now {
                self.link.session.doze();
                self.is_dozing = true;
            }
            idle.as_mut()
                .reset(if dozes <= now { due } else { due.min(dozes) });
        }
    }

    /// Client to backend. Ready when something moved.
    fn turn_up(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        if self.upward == Direction::Closed {
            return Poll::Pending;
        }
        let link = &mut *self.link;
        if !link.upward.is_empty() {
            match ready!(socket::poll_send(&mut link.backend, cx, link.upward.rest())) {
                Ok(sent) => link.upward.consume(sent),
                Err(error) => self.backend_refuses(error),
            }
            return Poll::Ready(Ok(()));
        }
        if self.upward == Direction::Ending {
            if self.downward != Direction::Closed {
                end(&link.backend);
            }
            self.upward = Direction::Closed;
            return Poll::Ready(Ok(()));
        }
        scratch::with(|scratch| {
            let link = &mut *self.link;
            let before = link.received.len();
            let read = if self.has_unread {
                self.has_unread = false;
                0
            } else {
                let room = &mut scratch.wire[before..][..scratch::READ];
                match ready!(socket::poll_fill(&mut link.client, cx, room)) {
                    Ok(0) => return Poll::Ready(Err(End::ClientTruncated)),
                    Ok(read) => read,
                    Err(error) => return Poll::Ready(Err(End::ClientReset(error))),
                }
            };
            scratch.wire[..before].copy_from_slice(&link.received);
            Poll::Ready(self.open(scratch, before + read, cx))
        })
    }

    /// Opens what is in the first `filled` bytes and passes it on.
    fn open(&mut self, scratch: &mut Scratch, filled: usize, cx: &mut Context<'_>) -> Result<(), End> {
        let link = &mut *self.link;
        let Scratch { wire, plaintext, .. } = scratch;
        plaintext.clear();
        let opened = link.session.open(&mut wire[..filled], plaintext);
        let opened = opened.map_err(End::ClientProtocolError)?;
        keep(&mut link.received, &wire[opened.consumed..filled]);
        if opened.is_last {
            self.upward = Direction::Ending;
            link.received = Vec::new();
        }
        if plaintext.is_empty() {
            return Ok(());
        }
        self.report
            .received(plaintext.iter().map(ExactSizeIterator::len).sum());
        match socket::poll_send_parts(&mut link.backend, cx, wire, plaintext) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => self.backend_refuses(error),
            Poll::Pending => {
                let left: Vec<_> = plaintext.iter().map(|part| &wire[part.clone()]).collect();
                link.upward = Held::from(left.concat());
            }
        }
        Ok(())
    }

    /// It may have answered before it stopped reading, as servers do that refuse an upload: the answer is passed on.
    fn backend_refuses(&mut self, error: io::Error) {
        self.link.refusal = Some(error);
        self.upward = Direction::Closed;
        self.link.upward = Held::default();
    }

    /// Backend to client. Ready when something moved.
    fn turn_down(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let link = &mut *self.link;
        // Not while the client reads nothing: what it asks for again and again is answered once.
        if self.downward == Direction::Open && link.downward.is_empty() && link.session.has_something_to_say()
        {
            let mut said = std::mem::take(&mut link.tickets);
            link.session.say(&mut said).map_err(End::ClientProtocolError)?;
            link.downward = Held::from(said);
        }
        if !link.downward.is_empty() {
            return match ready!(socket::poll_send(&mut link.client, cx, link.downward.rest())) {
                Ok(sent) => {
                    link.downward.consume(sent);
                    Poll::Ready(Ok(()))
                }
                Err(error) => Poll::Ready(Err(End::ClientReset(error))),
            };
        }
        if let Some(error) = link.reset.take() {
            return Poll::Ready(Err(End::BackendReset(error)));
        }
        match self.downward {
            Direction::Open => {}
            Direction::Ending => {
                if self.upward != Direction::Closed {
                    end(&link.client);
                }
                self.downward = Direction::Closed;
                return Poll::Ready(Ok(()));
            }
            Direction::Closed => return Poll::Pending,
        }
        scratch::with(|scratch| {
            let link = &mut *self.link;
            let mut slots = scratch::no_slots();
            for (slot, place) in slots.iter_mut().zip(link.session.slots(&mut scratch.records)) {
                *slot = place;
            }
            match ready!(socket::poll_fill_slots(&link.backend, cx, &mut slots)) {
                Ok(0) => Poll::Ready(self.backend_ended(cx)),
                Ok(read) => Poll::Ready(self.seal(scratch, read, cx)),
                Err(error) => Poll::Ready(Err(match self.link.refusal.take() {
                    Some(refusal) => End::BackendStoppedReading(refusal),
                    None => End::BackendReset(error),
                })),
            }
        })
    }

    /// Seals what is in the slots and sends it.
    fn seal(&mut self, scratch: &mut Scratch, length: usize, cx: &mut Context<'_>) -> Result<(), End> {
        let link = &mut *self.link;
        self.report.sent(length);
        let sealed = link.session.seal(&mut scratch.records, length);
        let records = &scratch.records[..sealed.map_err(End::ClientProtocolError)?];
        // A short answer and its end go together, in one packet.
        let is_last = link.refusal.is_none()
            && socket::has_ended(&link.backend, cx).unwrap_or_else(|error| {
                link.reset = Some(error);
                false
            });
        if link.tickets.is_empty() && !is_last {
            match socket::poll_send(&mut link.client, cx, records) {
                Poll::Ready(Ok(sent)) => link.downward = Held::from(records[sent..].to_vec()),
                Poll::Ready(Err(error)) => return Err(End::ClientReset(error)),
                Poll::Pending => link.downward = Held::from(records.to_vec()),
            }
            return Ok(());
        }
        let mut first = std::mem::take(&mut link.tickets);
        first.extend_from_slice(records);
        if is_last {
            link.session
                .close_notify(&mut first)
                .map_err(End::ClientProtocolError)?;
            self.downward = Direction::Ending;
        }
        link.downward = Held::from(first);
        self.send_down(cx)
    }

    fn backend_ended(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        // After a reset that showed when writing, the end of what can be read says nothing.
        if let Some(refusal) = self.link.refusal.take() {
            return Err(End::BackendStoppedReading(refusal));
        }
        let link = &mut *self.link;
        let mut last = std::mem::take(&mut link.tickets);
        link.session
            .close_notify(&mut last)
            .map_err(End::ClientProtocolError)?;
        link.downward = Held::from(last);
        self.downward = Direction::Ending;
        self.send_down(cx)
    }

    /// Sends what is held as far as it goes.
    fn send_down(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        let link = &mut *self.link;
        match socket::poll_send(&mut link.client, cx, link.downward.rest()) {
            Poll::Ready(Ok(sent)) => link.downward.consume(sent),
            Poll::Ready(Err(error)) => return Err(End::ClientReset(error)),
            Poll::Pending => {}
        }
        Ok(())
    }
}

/// What one direction could not get rid of: at most one turn's worth, and no memory when there is none.
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    sent: usize,
}

impl Held {
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

impl From<Vec<u8>> for Held {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, sent: 0 }
    }
}

/// Keeps `rest` in the place of what was kept before; no memory when there is none.
fn keep(kept: &mut Vec<u8>, rest: &[u8]) {
    match rest {
        [] => *kept = Vec::new(),
        rest => {
            kept.clear();
            kept.extend_from_slice(rest);
        }
    }
}

/// FIN; the other direction stays open. Where that one has ended already, closing the socket does it.
/// That it fails means that the connection is gone, which shows elsewhere.
fn end(stream: &TcpStream) {
    let _ = SockRef::from(stream).shutdown(Shutdown::Write);
}

/// Without a byte; a connection takes a third less memory then.
const DOZE: Duration = Duration::from_millis(200);
/// Turns before another connection of the worker has its own. With eight, the slowest of eight bulk transfers gets 0.6 of
/// the mean, with two 0.9, at the same cost for each byte.
const TURNS: usize = 2;
