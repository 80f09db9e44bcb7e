//! A process group: the program and all that it starts, unless that leaves it.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// A running program that leads a group of its own. Dropped before it has ended, the whole group is killed.
pub(crate) struct Group {
    child: Child,
    /// Known until the program has been waited for: after that the number may be another's.
    leader: Option<Pid>,
}

impl Group {
    /// Starts the program.
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        let child = command.process_group(0).spawn()?;
        let leader = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .map(Pid::from_raw);
        Ok(Self { child, leader })
    }

    /// The program itself, for its pipes.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits for the program's end.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await;
        if status.is_ok() {
            self.leader = None;
        }
        status
    }

    /// Asks the group to end, and makes it end after `grace`.
    pub(crate) async fn end(&mut self, grace: Duration) {
        let leader = self.leader;
        self.signal(Signal::SIGTERM);
        let ended = timeout(grace, self.child.wait()).await.is_ok();
        // Also where the leader has gone: what it started and left behind is of the same group, and keeps its number
        // from being given to another.
        if let Some(leader) = leader {
            let _ = killpg(leader, Signal::SIGKILL);
        }
        if !ended {
            // Killed, so this does not last.
            let _ = self.child.wait().await;
        }
        self.leader = None;
    }

    fn signal(&self, signal: Signal) {
        if let Some(leader) = self.leader {
            // An error says that nobody is left to be told.
            let _ = killpg(leader, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}
