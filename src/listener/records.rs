//! Between a socket and rustls' buffers.

use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::ServerConnection;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

/// Gives received bytes to the handshake.
pub(super) fn feed(tls: &mut ServerConnection, mut wire: &[u8]) -> Result<(), rustls::Error> {
    while !wire.is_empty() {
        take_in(tls, &mut wire)?;
        tls.process_new_packets()?;
    }
    Ok(())
}

/// Opens received records: their plaintext is put into `plain`, its length returned, and whether the client said
/// that it was the last (`close_notify`).
pub(super) fn open(
    tls: &mut ServerConnection,
    mut wire: &[u8],
    plain: &mut [u8],
) -> Result<(usize, bool), rustls::Error> {
    let mut opened = 0;
    loop {
        let state = tls.process_new_packets()?;
        while opened < plain.len() {
            match tls.reader().read(&mut plain[opened..]) {
                Ok(0) | Err(_) => break,
                Ok(read) => opened += read,
            }
        }
        if wire.is_empty() || state.peer_has_closed() {
            return Ok((opened, state.peer_has_closed()));
        }
        take_in(tls, &mut wire)?;
    }
}

/// Writes the records that are ready until none is left.
pub(super) fn poll_send(
    tls: &mut ServerConnection,
    stream: &mut TcpStream,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while tls.wants_write() {
        let mut socket = Socket { stream, cx };
        match tls.write_tls(&mut socket) {
            Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
    Poll::Ready(Ok(()))
}

/// What is ready to be written, taken out: the last words of a connection that is over.
pub(super) fn rest(tls: &mut ServerConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut bytes).expect("writing to a Vec cannot fail");
    }
    bytes
}

/// Writes `bytes` as far as they go; how many went, and whether the socket is full now.
pub(super) fn poll_send_plain(
    stream: &mut TcpStream,
    cx: &mut Context<'_>,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    let mut sent = 0;
    while sent < bytes.len() {
        match Pin::new(&mut *stream).poll_write(cx, &bytes[sent..]) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(written)) => sent += written,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending if sent == 0 => return Poll::Pending,
            Poll::Pending => break,
        }
    }
    Poll::Ready(Ok(sent))
}

/// rustls takes at most 4 KiB a call.
fn take_in(tls: &mut ServerConnection, wire: &mut &[u8]) -> Result<(), rustls::Error> {
    match tls.read_tls(wire) {
        // After `close_notify` nothing is taken any more.
        Ok(0) => *wire = &[],
        Ok(_) => {}
        Err(error) => return Err(rustls::Error::General(error.to_string())),
    }
    Ok(())
}

/// A socket as rustls wants to write to it.
struct Socket<'a, 'b> {
    stream: &'a mut TcpStream,
    cx: &'a mut Context<'b>,
}

impl Socket<'_, '_> {
    fn done(poll: Poll<io::Result<usize>>) -> io::Result<usize> {
        match poll {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Socket<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::done(Pin::new(&mut *self.stream).poll_write(self.cx, bytes))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Self::done(Pin::new(&mut *self.stream).poll_write_vectored(self.cx, slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
