//! A running gateway in a directory of its own.

use std::fmt::Debug;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use certgate::admin::{Client, ClientError, api};
use tempfile::TempDir;
use tokio::process::{Child, ChildStderr, Command};

/// How long anything here may take before the test fails; nothing depends on it being short.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Where one gateway lives, over as many starts as a test wants.
pub(crate) struct Home {
    directory: TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("a writable directory");
        path
    }

    /// Starts the gateway with `config`, to which the store's place is added, and waits until it answers.
    pub(crate) async fn start(&self, config: &str) -> Gateway {
        let gateway = self.launch(config);
        gateway.answered().await;
        gateway
    }

    /// Starts it without waiting for anything.
    pub(crate) fn launch(&self, config: &str) -> Gateway {
        self.launch_by(Command::new(certgate()), config)
    }

    /// Starts it by `program`, to which the arguments are added.
    pub(crate) fn launch_by(&self, program: Command, config: &str) -> Gateway {
        self.configure(config);
        self.spawn(program, &RUN, "store/admin.sock", self.log_file())
    }

    /// Starts it with its log going to `log`.
    pub(crate) fn launch_with(&self, config: &str, log: Stdio) -> Gateway {
        self.configure(config);
        self.spawn(Command::new(certgate()), &RUN, "store/admin.sock", log)
    }

    /// Starts it with `arguments` as a person does in this directory, where nothing is set: the store goes where it
    /// goes by default.
    pub(crate) fn launch_here(&self, arguments: &[&str]) -> Gateway {
        self.spawn(
            self.here(),
            arguments,
            "certgate-data/admin.sock",
            self.log_file(),
        )
    }

    /// The program in this directory, with nothing set in its environment.
    pub(crate) fn here(&self) -> Command {
        let mut program = Command::new(certgate());
        program.env_remove("STATE_DIRECTORY").env_remove("CERTGATE_ADMIN");
        program.current_dir(self.directory.path());
        program
    }

    fn log_file(&self) -> Stdio {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .expect("a log file");
        log.into()
    }

    fn spawn(&self, mut program: Command, arguments: &[&str], socket: &str, log: Stdio) -> Gateway {
        let child = program
            .args(arguments)
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        Gateway {
            child,
            socket: self.path(socket),
            log: self.path("log"),
        }
    }

    /// Writes the configuration file, for a start or a reload.
    pub(crate) fn configure(&self, config: &str) {
        let store = self.path("store");
        self.write(
            "certgate.toml",
            &format!("store.path = {:?}\n{config}", store.display().to_string()),
        );
    }

    /// What the gateway has logged, over all its starts.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

const RUN: [&str; 3] = ["run", "--config", "certgate.toml"];

/// The process.
pub(crate) struct Gateway {
    child: Child,
    socket: PathBuf,
    log: PathBuf,
}

impl Gateway {
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.socket)
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("the gateway runs")
    }

    /// Waits until the admin socket answers.
    pub(crate) async fn answered(&self) {
        self.status_until("answers", |_| true).await;
    }

    /// Waits until `name` is published, and returns it.
    pub(crate) async fn published(&self, name: &str) -> api::Certificate {
        let (client, name) = (self.client(), name.parse().expect("a name"));
        let asked = async || client.certificate(&name).await;
        let published = |certificate: &api::Certificate| certificate.published;
        self.until(&format!("publishes {name}"), asked, published).await
    }

    /// Waits until the status is as `wanted` says, and returns it.
    pub(crate) async fn status_until(
        &self,
        what: &str,
        wanted: impl Fn(&api::Status) -> bool,
    ) -> api::Status {
        let client = self.client();
        self.until(what, async || client.status().await, wanted).await
    }

    async fn until<T: Debug>(
        &self,
        what: &str,
        asked: impl AsyncFn() -> Result<T, ClientError>,
        wanted: impl Fn(&T) -> bool,
    ) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let last = match asked().await {
                Ok(answer) if wanted(&answer) => return answer,
                last => last,
            };
            if Instant::now() >= deadline {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                panic!(
                    "after {PATIENCE:?} it is not so that the gateway {what}\nlast: {last:#?}\nlog:\n{log}"
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn signal(&self, signal: &str) {
        let status = std::process::Command::new("kill")
            .args([format!("-{signal}"), self.pid().to_string()])
            .status()
            .expect("kill runs");
        assert!(status.success());
    }

    /// Its log, where it was started with a pipe for it.
    pub(crate) fn stderr(&mut self) -> ChildStderr {
        self.child.stderr.take().expect("a pipe")
    }

    /// SIGKILL, and the end of it.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("the gateway is killed");
    }

    /// SIGTERM, and the exit status.
    pub(crate) async fn terminate(mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended().await
    }

    /// Waits for the end of the process.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.expect("the gateway ends").expect("its status is known")
    }
}

/// The program under test.
pub(crate) fn certgate() -> &'static str {
    env!("CARGO_BIN_EXE_certgate")
}

/// Runs a command of the program to its end: exit code, standard output, standard error.
pub(crate) async fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(certgate())
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    let output = tokio::time::timeout(PATIENCE, output)
        .await
        .expect("the command ends")
        .expect("it starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (
        output.status.code().unwrap_or(-1),
        text(output.stdout),
        text(output.stderr),
    )
}

/// A listener that needs no certificate: it redirects everybody.
pub(crate) fn redirecting(address: SocketAddr) -> String {
    format!(
        "[listeners.plain]\naddress = \"{}\"\nport = {}\nprotocol = \"http\"\n",
        address.ip(),
        address.port()
    )
}

/// A loopback address with a free port. Each test process has addresses of its own in 127.0.0.0/8, so a port that
/// was free a moment ago is still free when the gateway binds it.
pub(crate) fn free_address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let ip = Ipv4Addr::new(127, high | 64, low, number);
    let listener = TcpListener::bind((ip, 0)).expect("a loopback address");
    listener.local_addr().expect("a bound address")
}
