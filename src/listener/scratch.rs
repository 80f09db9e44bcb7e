//! One set of buffers for each worker: a connection that waits holds none.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

/// The buffers of the thread. What they hold is worth nothing once the turn is over.
pub(super) struct Scratch {
    /// As it came from a socket.
    pub(super) wire: Box<[u8]>,
    /// Opened records. A turn's worth of them, and what TLS held of earlier ones.
    pub(super) plain: Box<[u8]>,
}

/// Runs one turn of a connection with the thread's buffers. Turns do not nest.
pub(super) fn with<T>(turn: impl FnOnce(&mut Scratch) -> T) -> T {
    thread_local! {
        static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
            wire: vec![0; WIRE].into(),
            plain: vec![0; WIRE + HELD].into(),
        });
    }
    SCRATCH.with_borrow_mut(turn)
}

/// Reads what is there into `buffer`; nothing is the end of the stream.
pub(super) fn poll_fill<'b>(
    stream: &mut TcpStream,
    cx: &mut Context<'_>,
    buffer: &'b mut [u8],
) -> Poll<io::Result<&'b [u8]>> {
    let mut into = ReadBuf::new(buffer);
    ready!(Pin::new(stream).poll_read(cx, &mut into))?;
    let filled = into.filled().len();
    Poll::Ready(Ok(&buffer[..filled]))
}

/// Also the most that one connection holds of each direction under back-pressure.
const WIRE: usize = 64 * 1024;
/// A record that was incomplete, and plaintext that came with the end of the handshake.
const HELD: usize = 32 * 1024;
