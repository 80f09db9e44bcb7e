//! Parting from a peer so that it learns how: what was said last arrives, and only a clean end looks clean.

use std::future::poll_fn;
use std::io;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{scratch, socket};

/// Says `last_words` and closes. A socket closed with unread input resets the connection, and the peer's system
/// throws away what it has not read yet; so input is read, and ignored, until the peer closes too, within bounds.
pub(super) async fn part(peer: &mut TcpStream, last_words: &[u8]) {
    // Who does not want to hear them need not.
    let _ = timeout(LONGEST, async {
        peer.write_all(last_words).await?;
        peer.shutdown().await?;
        ignore_input(peer).await
    })
    .await;
}

async fn ignore_input(peer: &mut TcpStream) -> io::Result<()> {
    let mut ignored = 0;
    while ignored < MOST_IGNORED {
        let read =
            poll_fn(|cx| scratch::with(|scratch| socket::poll_fill(peer, cx, &mut scratch.wire))).await?;
        if read == 0 {
            break;
        }
        ignored += read;
    }
    Ok(())
}

/// A peer that sees a reset unless a clean end was earned: however the connection ends, what is incomplete never
/// looks complete.
#[derive(Debug)]
pub(super) struct Peer {
    stream: TcpStream,
    ended_cleanly: bool,
}

impl Peer {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            ended_cleanly: false,
        }
    }

    /// Everything that was to be said has been said.
    pub(super) fn ended_cleanly(&mut self) {
        self.ended_cleanly = true;
    }
}

impl Deref for Peer {
    type Target = TcpStream;
    fn deref(&self) -> &TcpStream {
        &self.stream
    }
}

impl DerefMut for Peer {
    fn deref_mut(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if !self.ended_cleanly {
            // An error means that the connection is gone already.
            let _ = self.stream.set_zero_linger();
        }
    }
}

const LONGEST: Duration = Duration::from_secs(2);
const MOST_IGNORED: usize = 1024 * 1024;
