//! Between a socket and the buffers of a turn.

use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// Reads what is there into `buffer`; zero is the end of the stream.
pub(super) fn poll_fill(
    stream: &mut TcpStream,
    cx: &mut Context<'_>,
    buffer: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut into = ReadBuf::new(buffer);
    ready!(Pin::new(stream).poll_read(cx, &mut into))?;
    Poll::Ready(Ok(into.filled().len()))
}

/// As [`poll_fill`], into one slot after the other.
pub(super) fn poll_fill_slots(
    stream: &TcpStream,
    cx: &mut Context<'_>,
    slots: &mut [IoSliceMut<'_>],
) -> Poll<io::Result<usize>> {
    let room: usize = slots.iter().map(|slot| slot.len()).sum();
    loop {
        ready!(stream.poll_read_ready(cx))?;
        let mut read = None;
        let tried = stream.try_io(Interest::READABLE, || {
            let length = (&*SockRef::from(stream)).read_vectored(slots)?;
            read = Some(length);
            // Less than there is room for: there is no more. The runtime learns it so, without another read.
            match length {
                0 => Ok(()),
                _ if length < room => Err(io::ErrorKind::WouldBlock.into()),
                _ => Ok(()),
            }
        });
        match (read, tried) {
            (Some(length), _) => return Poll::Ready(Ok(length)),
            (None, Err(error)) if error.kind() != io::ErrorKind::WouldBlock => {
                return Poll::Ready(Err(error));
            }
            (None, _) => {}
        }
    }
}

/// Whether all has been read and the peer has closed its side. False also when it is too early to tell. An error is told
/// here and nowhere else: the socket forgets it.
pub(super) fn has_ended(stream: &TcpStream, cx: &mut Context<'_>) -> io::Result<bool> {
    let readiness = pin!(stream.ready(Interest::READABLE));
    match readiness.poll(cx) {
        Poll::Ready(Ok(ready)) if ready.is_read_closed() => {}
        _ => return Ok(false),
    }
    match SockRef::from(stream).peek(&mut [MaybeUninit::uninit()]) {
        Ok(length) => Ok(length == 0),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes `bytes` as far as they go; how many went. Pending only if none did.
pub(super) fn poll_send(
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

/// Writes the `parts` of `bytes` as far as they go, without putting them together first. What could not be written is
/// left in `parts`; only then is it pending.
pub(super) fn poll_send_parts(
    stream: &mut TcpStream,
    cx: &mut Context<'_>,
    bytes: &[u8],
    parts: &mut Vec<Range<usize>>,
) -> Poll<io::Result<()>> {
    while !parts.is_empty() {
        let mut slices = [IoSlice::new(&[]); SLICES];
        for (slice, part) in slices.iter_mut().zip(&*parts) {
            *slice = IoSlice::new(&bytes[part.clone()]);
        }
        let filled = parts.len().min(SLICES);
        let written = Pin::new(&mut *stream).poll_write_vectored(cx, &slices[..filled]);
        match ready!(written)? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => take_from_front(parts, written),
        }
    }
    Poll::Ready(Ok(()))
}

fn take_from_front(parts: &mut Vec<Range<usize>>, mut bytes: usize) {
    let whole = parts
        .iter()
        .take_while(|part| match bytes.checked_sub(part.len()) {
            Some(left) => {
                bytes = left;
                true
            }
            None => false,
        });
    let whole = whole.count();
    parts.drain(..whole);
    if let Some(first) = parts.first_mut() {
        first.start += bytes;
    }
}

/// At once; a turn has more of them only when a client sends crumbs.
const SLICES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_taken_from_the_front_also_within_a_part() {
        for (bytes, left) in [(0, 16), (3, 13), (4, 12), (5, 11), (6, 10), (15, 1), (16, 0)] {
            let whole = [0, 1, 2, 3, 10, 11, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29];
            let mut parts = vec![0..4, 10..12, 20..30];
            take_from_front(&mut parts, bytes);
            assert!(parts.iter().all(|part| !part.is_empty()));
            assert_eq!(
                parts.into_iter().flatten().collect::<Vec<_>>(),
                whole[16 - left..]
            );
        }
    }
}
