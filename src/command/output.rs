//! What a program writes: read to the end so that it never waits for a reader, and only the end of it kept.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStderr, ChildStdout};
use tokio::time::timeout;

/// The end of both outputs, as they came.
pub(super) struct Output {
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    kept: Vec<u8>,
    cut: bool,
}

impl Output {
    pub(super) fn of(child: &mut Child) -> Self {
        Self {
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
            kept: Vec::new(),
            cut: false,
        }
    }

    /// Reads for as long as `work` takes.
    pub(super) async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                // Once both have ended, only `work` is waited for.
                () = self.read(), if self.is_open() => {}
            }
        }
    }

    /// The rest and all of it, as text. What the program has left running may keep an output open: that is not waited for.
    pub(super) async fn end(mut self) -> String {
        let rest = async {
            while self.is_open() {
                self.read().await;
            }
        };
        // Late is as good as never.
        let _ = timeout(REST, rest).await;
        let text = String::from_utf8_lossy(&self.kept);
        let text: String = text
            .chars()
            .map(|c| if c.is_control() && c != '\n' { ' ' } else { c })
            .collect();
        match self.cut {
            true => format!("… {text}"),
            false => text,
        }
    }

    fn is_open(&self) -> bool {
        self.stdout.is_some() || self.stderr.is_some()
    }

    async fn read(&mut self) {
        let (mut out, mut err) = ([0; 1024], [0; 1024]);
        let read = tokio::select! {
            read = next(&mut self.stdout, &mut out), if self.stdout.is_some() => out.get(..read),
            read = next(&mut self.stderr, &mut err), if self.stderr.is_some() => err.get(..read),
            else => None,
        };
        self.kept.extend_from_slice(read.unwrap_or_default());
        if let Some(surplus) = self.kept.len().checked_sub(KEPT).filter(|surplus| *surplus > 0) {
            self.kept.drain(..surplus);
            self.cut = true;
        }
    }
}

/// The next octets; at the end of it the stream is given up.
async fn next(stream: &mut Option<impl AsyncRead + Unpin>, buffer: &mut [u8]) -> usize {
    let read = match stream {
        Some(stream) => stream.read(buffer).await.unwrap_or(0),
        None => 0,
    };
    if read == 0 {
        *stream = None;
    }
    read
}

const KEPT: usize = 2048;
/// For what is still in the pipes when the program has ended.
const REST: Duration = Duration::from_millis(200);
