//! A message to a server and its answer, by TCP (RFC 1035 §4.2.2): both with their length before them.
//!
//! The library's own client takes an answer that is not signed for none, and an update that is refused for want of the
//! right key is answered so (RFC 8945 §5.2); here the answer is handed on as it came.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The answer of `server` to `message`.
///
/// # Errors
/// The connection's; [`io::ErrorKind::TimedOut`] after `patience`.
pub(super) async fn exchange(server: SocketAddr, message: &[u8], patience: Duration) -> io::Result<Vec<u8>> {
    match tokio::time::timeout(patience, by_tcp(server, message)).await {
        Ok(answer) => answer,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no answer by TCP within {} s", patience.as_secs()),
        )),
    }
}

async fn by_tcp(server: SocketAddr, message: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(message.len()).map_err(|_| io::Error::other("the message is too long"))?;
    let mut framed = Vec::with_capacity(message.len() + 2);
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(message);
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(&framed).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; length.into()];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}
