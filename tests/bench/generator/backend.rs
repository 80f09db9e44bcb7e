//! The backend: answers `GET /N` with N bytes, and `POST` when it has taken the whole body.

use std::io::{ErrorKind, Read, Write};

use mio::net::TcpStream;
use rustix::net::{RecvFlags, recv};

use super::{Buffers, Turn};

/// A connection of the proxy to the backend.
pub(super) struct Backend {
    socket: TcpStream,
    phase: Phase,
}

enum Phase {
    /// A request's head, as far as it has come.
    Head(Vec<u8>),
    /// So many bytes of the request's body are to come.
    Body(u64),
    /// The answer: the rest of its beginning, and how many bytes follow that.
    Answer(Vec<u8>, u64),
}

impl Backend {
    pub(super) fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            phase: Phase::Head(Vec::new()),
        }
    }

    /// Whether it is in the middle of a request's body.
    pub(super) fn has_body(&self) -> bool {
        matches!(self.phase, Phase::Body(_))
    }

    pub(super) fn advance(&mut self, buffers: &mut Buffers) -> Turn {
        for _ in 0..ROUNDS {
            let turn = match self.phase {
                Phase::Answer(..) => self.send(&buffers.payload),
                Phase::Body(_) | Phase::Head(_) => self.receive(&mut buffers.received),
            };
            match turn {
                Turn::More => {}
                turn => return turn,
            }
        }
        Turn::More
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Turn {
        let received = match self.phase {
            // Bodies are counted; the kernel need not copy them.
            Phase::Body(_) => recv(&self.socket, &mut *buffer, RecvFlags::TRUNC)
                .map(|(_, length)| length)
                .map_err(std::io::Error::from),
            _ => self.socket.read(buffer),
        };
        let length = match received {
            Ok(0) => return Turn::Closed,
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Turn::Waits,
            // The proxy has gone, as it may.
            Err(_) => return Turn::Closed,
        };
        match &mut self.phase {
            Phase::Answer(..) => {}
            Phase::Body(left) => {
                *left = left.saturating_sub(length as u64);
                if *left == 0 {
                    self.phase = answer(2);
                }
            }
            Phase::Head(head) => {
                head.extend_from_slice(&buffer[..length]);
                let Some(end) = head_end(head) else {
                    return Turn::More;
                };
                let body = content_length(&head[..end]);
                let begun = (head.len() - end) as u64;
                self.phase = match wanted(head) {
                    _ if body > begun => Phase::Body(body - begun),
                    wanted => answer(wanted),
                };
            }
        }
        Turn::More
    }

    fn send(&mut self, payload: &[u8]) -> Turn {
        let Phase::Answer(beginning, rest) = &mut self.phase else {
            return Turn::More;
        };
        let next = match beginning.is_empty() {
            true => &payload[..(*rest).min(payload.len() as u64) as usize],
            false => beginning.as_slice(),
        };
        match self.socket.write(next) {
            Ok(length) if beginning.is_empty() => *rest -= length as u64,
            Ok(length) => drop(beginning.drain(..length)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Turn::Waits,
            Err(_) => return Turn::Closed,
        }
        if beginning.is_empty() && *rest == 0 {
            self.phase = Phase::Head(Vec::new());
        }
        Turn::More
    }
}

/// Where a message's head ends, if it is all there.
pub(super) fn head_end(message: &[u8]) -> Option<usize> {
    message
        .windows(4)
        .position(|part| part == b"\r\n\r\n")
        .map(|start| start + 4)
}

/// The length of the body, 0 where nothing is said.
pub(super) fn content_length(head: &[u8]) -> u64 {
    let lines = head.split(|byte| *byte == b'\n');
    let mut length = lines.filter_map(|line| {
        let (name, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
        let named = name.eq_ignore_ascii_case("content-length");
        named.then(|| value.trim().parse().ok()).flatten()
    });
    length.next().unwrap_or_default()
}

/// The N of `GET /N`.
fn wanted(head: &[u8]) -> u64 {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = std::str::from_utf8(line).unwrap_or_default();
    let path = line.split(' ').nth(1).unwrap_or_default();
    path.trim_start_matches('/').parse().unwrap_or_default()
}

/// A small answer is one write.
fn answer(length: u64) -> Phase {
    let mut beginning = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
    let small = if length <= 1024 { length } else { 0 };
    beginning.resize(beginning.len() + small as usize, b'x');
    Phase::Answer(beginning, length - small)
}

/// Buffers that one turn sends or receives at most.
const ROUNDS: usize = 4;
