//! The log on standard error. Its lines are written by a thread of its own: whoever logs never waits for who reads.

use std::io::{self, IsTerminal, Write};
use std::iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Thread;
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::Failure;
use crate::config::{LogConfig, LogFormat};

/// A log that is written. When dropped, what is queued is written first, unless nobody reads it.
pub(super) struct Log {
    queue: Queue,
}

impl Log {
    /// Sends the log to standard error in the form and from the level on that `config` says.
    pub(super) fn start(config: &LogConfig) -> Result<Self, Failure> {
        let connections = if config.connections {
            Level::INFO
        } else {
            Level::ERROR
        };
        let targets = Targets::new()
            .with_default(Level::WARN)
            .with_target("certgate", config.level)
            .with_target("certgate_store", config.level)
            .with_target(CONNECTIONS, connections.min(config.level));
        let queue = Queue::start(io::stderr())?;
        let format = tracing_subscriber::fmt::layer().with_writer(queue.clone());
        let registry = tracing_subscriber::registry().with(targets);
        match config.format {
            LogFormat::Json => registry.with(format.json().flatten_event(true)).try_init()?,
            LogFormat::Text => registry
                .with(format.with_ansi(io::stderr().is_terminal()))
                .try_init()?,
        }
        Ok(Self { queue })
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let (written, done) = sync_channel(1);
        if self.queue.pieces.try_send(Piece::End(written)).is_ok() {
            // Either way the log's time is over.
            let _ = done.recv_timeout(LAST_WAIT);
        }
    }
}

/// Lines on their way to the thread that writes them.
#[derive(Clone)]
struct Queue {
    pieces: SyncSender<Piece>,
    lost: Arc<AtomicU64>,
    thread: Thread,
}

/// Takes the lines of one event.
struct Line {
    queue: Queue,
    gathered: bool,
}

enum Piece {
    Line(Vec<u8>),
    /// Everything before it is to be written; then this is to be told.
    End(SyncSender<()>),
}

impl Queue {
    fn start(sink: impl Write + Send + 'static) -> io::Result<Self> {
        let (pieces, received) = sync_channel(MOST_LINES);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = lost.clone();
        let thread = std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_down(&received, &counted, sink))?
            .thread()
            .clone();
        Ok(Self { pieces, lost, thread })
    }
}

fn write_down(received: &Receiver<Piece>, lost: &AtomicU64, mut sink: impl Write) {
    let mut lines = Vec::new();
    while let Ok(first) = received.recv() {
        if matches!(first, Piece::Line(_)) {
            // Connections that end in the meantime need not wake this thread, which costs more than their line.
            std::thread::park_timeout(GATHERING);
        }
        for piece in iter::once(first).chain(received.try_iter()).take(MOST_LINES) {
            match piece {
                Piece::Line(line) => lines.extend_from_slice(&line),
                Piece::End(written) => {
                    write_all(&mut sink, &mut lines);
                    // Nobody waits any more if it fails.
                    let _ = written.try_send(());
                }
            }
        }
        write_all(&mut sink, &mut lines);
        let lines = lost.swap(0, Ordering::Relaxed);
        if lines > 0 {
            tracing::warn!(
                lines,
                "log lines were lost, for standard error was not read fast enough"
            );
        }
    }
}

fn write_all(sink: &mut impl Write, lines: &mut Vec<u8>) {
    // There is no other place to say that the log cannot be written.
    let _ = sink.write_all(lines);
    lines.clear();
}

impl MakeWriter<'_> for Queue {
    type Writer = Line;

    fn make_writer(&self) -> Line {
        Line {
            queue: self.clone(),
            gathered: false,
        }
    }

    /// The line of a connection waits for others; whatever else there is to say is written at once, for it may be the
    /// last that is heard of this process.
    fn make_writer_for(&self, event: &Metadata<'_>) -> Line {
        Line {
            queue: self.clone(),
            gathered: event.target() == CONNECTIONS,
        }
    }
}

impl Write for Line {
    /// Takes one line, whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.queue.pieces.try_send(Piece::Line(line.to_vec())).is_err() {
            self.queue.lost.fetch_add(1, Ordering::Relaxed);
        }
        if !self.gathered {
            self.queue.thread.unpark();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// At a few hundred bytes each, about a megabyte.
const MOST_LINES: usize = 4096;
/// The target of the line that is written for each connection.
const CONNECTIONS: &str = "certgate::connection";
/// How long a connection's line waits for others to be written with.
const GATHERING: Duration = Duration::from_millis(5);
const LAST_WAIT: Duration = Duration::from_secs(1);
