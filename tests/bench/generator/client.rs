//! One TLS client: connects, asks, reads the answer, asks again.

use std::io::{BufRead, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Instant;

use mio::net::TcpStream;
use rustls::{ClientConnection, HandshakeKind};

use super::records::Records;
use super::{Answered, Buffers, Identity, Turn};

/// What is asked of the backend.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Request {
    /// An answer of so many bytes.
    Get(u64),
    /// An answer of so many bytes, which are counted without being decrypted. It is the last on its connection.
    Count(u64),
    /// To take so many bytes.
    Post(u64),
}

/// A connection of the client side.
pub(super) struct Client {
    socket: TcpStream,
    tls: ClientConnection,
    host: String,
    slot: usize,
    began: Instant,
    is_first: bool,
    phase: Phase,
    ignores: bool,
    counted: Option<Records>,
    /// Of the request's body, still to be sent.
    unsent: u64,
    bytes: u64,
    received: u64,
}

enum Phase {
    /// The answer's head, as far as it has come.
    Head(Vec<u8>),
    /// So many bytes of the answer's body are to come.
    Body(u64),
    Idle,
}

impl Client {
    pub(super) fn new(
        socket: TcpStream,
        slot: usize,
        identity: Identity,
        request: Request,
    ) -> Result<Self, String> {
        let host = identity.name.to_str().into_owned();
        let mut tls =
            ClientConnection::new(identity.config, identity.name).map_err(|error| error.to_string())?;
        tls.set_buffer_limit(None);
        let mut client = Self {
            socket,
            tls,
            host,
            slot,
            began: Instant::now(),
            is_first: true,
            phase: Phase::Idle,
            ignores: false,
            counted: None,
            unsent: 0,
            bytes: 0,
            received: 0,
        };
        client.begin(request);
        Ok(client)
    }

    /// Begins a request; it leaves with the next turn.
    pub(super) fn begin(&mut self, request: Request) {
        let (method, path, length) = match request {
            Request::Get(bytes) | Request::Count(bytes) => ("GET", bytes, 0),
            Request::Post(bytes) => ("POST", 0, bytes),
        };
        let head = format!(
            "{method} /{path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {length}\r\n\r\n",
            self.host
        );
        self.tls
            .writer()
            .write_all(head.as_bytes())
            .expect("the buffer has no limit");
        self.unsent = length;
        self.counted = matches!(request, Request::Count(_)).then(Records::default);
        self.bytes = path + length;
        if !self.is_first {
            self.began = Instant::now();
        }
        self.phase = Phase::Head(Vec::new());
    }

    /// Reads nothing from now on; the request under way, if there is one, will stay so.
    pub(super) fn ignore(&mut self) {
        self.ignores = true;
    }

    pub(super) fn is_ignoring(&self) -> bool {
        self.ignores
    }

    pub(super) fn is_busy(&self) -> bool {
        !matches!(self.phase, Phase::Idle)
    }

    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Says goodbye and closes; the slot is free again.
    pub(super) fn close(mut self) -> usize {
        self.tls.send_close_notify();
        // A peer that has gone before misses nothing.
        let _ = self.tls.write_tls(&mut self.socket);
        let _ = self.socket.shutdown(Shutdown::Write);
        self.slot
    }

    pub(super) fn advance(&mut self, buffers: &mut Buffers) -> Result<Turn, String> {
        for _ in 0..ROUNDS {
            if let Err(error) = self.send(buffers) {
                // It may have said why before it closed.
                let length = self.socket.read(&mut buffers.received).unwrap_or_default();
                self.take(&buffers.received[..length])?;
                return Err(error);
            }
            if self.ignores {
                return Ok(self.waits());
            }
            let room = buffers.received.len();
            let length = match self.socket.read(&mut buffers.received) {
                Ok(0) => return Ok(Turn::Closed),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(self.waits()),
                Err(error) => return Err(format!("cannot read: {error}")),
            };
            if let Some(answered) = self.take(&buffers.received[..length])? {
                return Ok(Turn::Answered(answered));
            }
            if length < room && !self.tls.wants_write() {
                return Ok(self.waits());
            }
        }
        Ok(Turn::More)
    }

    /// Whether anything can be sent at once is known by trying only.
    fn waits(&self) -> Turn {
        if self.tls.wants_write() || self.unsent == 0 || self.tls.is_handshaking() {
            Turn::Waits
        } else {
            Turn::More
        }
    }

    /// Sends what the socket takes, up to a few buffers.
    fn send(&mut self, buffers: &Buffers) -> Result<(), String> {
        for _ in 0..ROUNDS {
            if self.unsent > 0 && !self.tls.wants_write() && !self.tls.is_handshaking() {
                let length = self.unsent.min(buffers.payload.len() as u64);
                self.tls
                    .writer()
                    .write_all(&buffers.payload[..length as usize])
                    .expect("the buffer has no limit");
                self.unsent -= length;
            }
            while self.tls.wants_write() {
                match self.tls.write_tls(&mut self.socket) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                    // Not connected yet.
                    Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(()),
                    Err(error) => return Err(format!("cannot write: {error}")),
                }
            }
            if self.unsent == 0 {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes what was received, whole: nobody asks for more than one answer at a time.
    fn take(&mut self, mut wire: &[u8]) -> Result<Option<Answered>, String> {
        let Some(mut records) = self.counted.take() else {
            return self.open(wire);
        };
        while let Phase::Head(_) = self.phase {
            // One by one, or rustls would hold the beginning of the next.
            let answered = match records.whole(&mut wire) {
                Some(record) => self.open(&record)?,
                None => break,
            };
            if answered.is_some() {
                return Ok(answered);
            }
        }
        let plain = records.count(wire);
        self.received += plain;
        let is_whole = self.phase.take_body(plain)? && records.is_at_end();
        self.counted = Some(records);
        Ok(is_whole.then(|| self.answered()))
    }

    fn open(&mut self, mut wire: &[u8]) -> Result<Option<Answered>, String> {
        let mut answered = None;
        while !wire.is_empty() {
            self.tls
                .read_tls(&mut wire)
                .map_err(|error| format!("cannot take records: {error}"))?;
            if let Err(error) = self.tls.process_new_packets() {
                // The proxy is told why.
                let _ = self.tls.write_tls(&mut self.socket);
                return Err(error.to_string());
            }
            loop {
                let mut reader = self.tls.reader();
                let plain = match reader.fill_buf() {
                    Ok([]) => break,
                    Ok(plain) => plain,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(format!("cannot read: {error}")),
                };
                let length = plain.len();
                self.received += length as u64;
                let is_whole = self.phase.take(plain)?;
                reader.consume(length);
                if is_whole {
                    answered = Some(self.answered());
                }
            }
        }
        Ok(answered)
    }

    fn answered(&mut self) -> Answered {
        self.phase = Phase::Idle;
        let is_first = std::mem::replace(&mut self.is_first, false);
        Answered {
            latency: self.began.elapsed(),
            resumed: is_first.then(|| self.tls.handshake_kind() == Some(HandshakeKind::Resumed)),
            bytes: self.bytes,
            tickets: self.tls.tls13_tickets_received(),
        }
    }
}

impl Phase {
    /// Takes a part of the answer; true when that was the last.
    fn take(&mut self, plain: &[u8]) -> Result<bool, String> {
        match self {
            Self::Idle => Err("bytes after the answer".to_owned()),
            Self::Head(head) => {
                head.extend_from_slice(plain);
                let Some(end) = super::backend::head_end(head) else {
                    return Ok(false);
                };
                if !head.starts_with(b"HTTP/1.1 200") {
                    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
                    return Err(format!("the answer is {}", String::from_utf8_lossy(line)));
                }
                let length = super::backend::content_length(&head[..end]);
                let begun = (head.len() - end) as u64;
                *self = Self::Body(length);
                self.take_body(begun)
            }
            Self::Body(_) => self.take_body(plain.len() as u64),
        }
    }

    fn take_body(&mut self, length: u64) -> Result<bool, String> {
        let Self::Body(left) = self else { return Ok(false) };
        *left = left
            .checked_sub(length)
            .ok_or_else(|| "the answer is longer than it says".to_owned())?;
        Ok(*left == 0)
    }
}

/// Buffers that one turn sends or receives at most.
const ROUNDS: usize = 4;
