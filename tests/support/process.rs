//! A program that runs for one test: its output in a file, ended by its own process id.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A running program. It is killed and waited for when this is dropped; a failing test shows what it wrote.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
    name: String,
}

impl Process {
    /// Starts `command` with both outputs going to the file `log`.
    pub(crate) fn start(command: &mut Command, log: PathBuf) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let file = File::create(&log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start ({error}); ./tests/run installs it"));
        Self { child, log, name }
    }

    /// What it wrote so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended; `None` while it runs.
    pub(crate) fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Ends it at once, as a power cut would.
    pub(crate) fn kill(&mut self) {
        // An error means that it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until `ready` says so; `false` when the program ends before that or `patience` runs out.
    pub(crate) fn is_ready(&mut self, patience: Duration, mut ready: impl FnMut() -> bool) -> bool {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if self.exit_status().is_some() {
                return false;
            }
            if ready() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- {} wrote:\n{}---", self.name, self.log());
        }
    }
}

/// A loopback address whose port is free for both TCP and UDP at the moment.
pub(crate) fn free_address() -> SocketAddr {
    held_address().1
}

/// Two of them.
pub(crate) fn two_free_addresses() -> (SocketAddr, SocketAddr) {
    // Both held until both are chosen, or they may be the same.
    let (one, other) = (held_address(), held_address());
    (one.1, other.1)
}

fn held_address() -> (TcpListener, SocketAddr) {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        if UdpSocket::bind(address).is_ok() {
            return (tcp, address);
        }
    }
}
