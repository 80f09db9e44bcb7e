//! `certgate demo`: the whole of it on one machine, with a self-test by fresh TLS connections.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::Level;

use super::Failure;
use super::arguments::{Demo, localhost};
use super::certificates;
use super::environment;
use super::log::Log;
use super::output::{Printed, Surplus};
use super::probe::Prober;
use super::run::{self, control_runtime};
use crate::admin::Client;
use crate::certificate::CertificateName;
use crate::config::{Files, LogConfig, RuntimeChanges};
use crate::gateway::Gateway;

const CONNECTIONS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(30);
/// What the servers say before their names.
const GREETING: &str = "hello from ";

pub(super) fn demo(demo: &Demo) -> Result<ExitCode, Failure> {
    let directory = Directory::new()?;
    control_runtime()?.block_on(async {
        // However it ends, the directory goes.
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            shown = show(&directory.0, demo) => shown,
            _ = tokio::signal::ctrl_c() => Ok(ExitCode::SUCCESS),
            _ = terminate.recv() => Ok(ExitCode::SUCCESS),
        }
    })
}

async fn show(directory: &Path, demo: &Demo) -> Result<ExitCode, Failure> {
    let servers = [backend("one").await?, backend("two").await?];
    let port = free_port().await?;
    let text = configuration(directory, port, &servers);
    let path = directory.join("certgate.toml");
    std::fs::write(&path, &text)?;
    let files = environment::with(|environment| Files::read(&path, environment))?;
    let config = run::meaning(&files, &RuntimeChanges::new(), &Default::default())?.config;
    let _log = Log::start(&LogConfig {
        level: if demo.verbose { Level::INFO } else { Level::WARN },
        ..config.log.clone()
    })?;
    Printed::text(format!(
        "The gateway runs with this file, {}:\n\n{}\n\
         Its local CA signs for localhost; then {CONNECTIONS} fresh TLS connections:\n\n",
        path.display(),
        indented(&text)
    ))?;

    let gateway = Gateway::start(files, &config.store, Arc::new(run::meaning)).await?;
    let client = Client::new(&directory.join("admin.sock"));
    let root = obtained(&client).await?;
    let root_file = directory.join("root.pem");
    std::fs::write(&root_file, &root)?;
    let passed = self_test(&root, port).await?;

    let verdict = if passed {
        format!("All {CONNECTIONS} were verified and answered, by both servers in turn.")
    } else {
        "The self-test FAILED: not every connection was verified and answered, by both servers in turn."
            .to_owned()
    };
    Printed::text(format!("\n{verdict}\n"))?;
    if !demo.once {
        Printed::text(format!(
            "\nIt goes on serving; Ctrl-C ends it. In another terminal:\n\n  \
             curl --cacert {} https://localhost:{port}/\n  certgate status --admin {}\n",
            root_file.display(),
            directory.join("admin.sock").display(),
        ))?;
        std::future::pending::<()>().await;
    }
    gateway.drain().await;
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn configuration(directory: &Path, port: u16, servers: &[SocketAddr; 2]) -> String {
    let [one, two] = servers;
    format!(
        "[store]\npath = {}\n\n\
         [issuers.internal]\nkind = \"local-ca\"\ncommon_name = \"certgate demo CA\"\n\n\
         [certificates.localhost]\ndomains = [\"localhost\"]\nissuer = \"internal\"\n\n\
         [server_groups.app]\nservers = [\"{one}\", \"{two}\"]\n\n\
         [listeners.web]\naddress = \"127.0.0.1\"\nport = {port}\ncertificates = [\"localhost\"]\nserver_group = \"app\"\n",
        toml::Value::from(directory.display().to_string()),
    )
}

/// Waits until the certificate is served, and returns the root that signed for it.
async fn obtained(client: &Client) -> Result<String, Failure> {
    let name = CertificateName::parse("localhost")?;
    let deadline = Instant::now() + PATIENCE;
    let mut events = client.events().await?;
    loop {
        let list = client.certificates().await?;
        if certificates::is_served(&list, &name) {
            break;
        }
        if Instant::now() > deadline {
            let reason = list
                .into_iter()
                .find_map(|certificate| certificate.reason)
                .unwrap_or_default();
            return Err(format!("no certificate for localhost after {PATIENCE:?}: {reason}").into());
        }
        let _ = tokio::time::timeout(Duration::from_millis(50), events.next()).await;
    }
    Ok(client.local_ca_root("internal").await?)
}

/// Opens fresh connections and prints a line for each; whether all were answered, and both servers did.
async fn self_test(root: &str, port: u16) -> Result<bool, Failure> {
    let prober = Prober::new(&[("internal".to_owned(), root.to_owned())], false)?;
    let name = ServerName::try_from(localhost().as_str().to_owned())?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port)).to_string();
    let (mut rows, mut seen) = (Vec::new(), Vec::new());
    for number in 1..=CONNECTIONS {
        let connection = prober.connection(&address, &name).await;
        let answer = connection
            .answer
            .as_ref()
            .and_then(|answer| answer.body.as_deref());
        let server = answer
            .and_then(|body| body.strip_prefix(GREETING))
            .unwrap_or_default()
            .to_owned();
        let told = match (&connection.error, &connection.verdict) {
            (Some(error), _) | (None, Some(Err(error))) => format!("failed: {error}"),
            _ => server.clone(),
        };
        if connection.is_good() && !server.is_empty() {
            seen.push(server);
        }
        rows.push(vec![
            number.to_string(),
            told,
            connection.version.unwrap_or_default(),
            connection.group.unwrap_or_default(),
            format!("{:.1} ms", connection.ended_after.as_secs_f64() * 1000.0),
        ]);
    }
    let header = ["CONNECTION", "ANSWERED BY", "VERSION", "KEY EXCHANGE", "TIME"];
    Printed::table(&header, rows, Surplus::Wrap)?;
    let answered = seen.len();
    seen.sort();
    seen.dedup();
    Ok(answered == CONNECTIONS && seen.len() == 2)
}

/// A server that answers any HTTP request with its name.
async fn backend(name: &'static str) -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                while stream.read_line(&mut line).await? > 2 {
                    line.clear();
                }
                let body = format!("{GREETING}{name}\n");
                let length = body.len();
                let head =
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                stream.write_all(format!("{head}{body}").as_bytes()).await?;
                stream.shutdown().await
            });
        }
    });
    Ok(address)
}

/// 8443 where it is free, else any that is.
async fn free_port() -> Result<u16, Failure> {
    for port in [8443, 0] {
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            return Ok(listener.local_addr()?.port());
        }
    }
    Err("there is no free port on 127.0.0.1".into())
}

fn indented(text: &str) -> String {
    text.lines().fold(String::new(), |mut all, line| {
        let _ = match line {
            "" => writeln!(all),
            line => writeln!(all, "    {line}"),
        };
        all
    })
}

/// A directory that only this user can enter, gone with the demo.
struct Directory(std::path::PathBuf);

impl Directory {
    fn new() -> Result<Self, Failure> {
        use std::os::unix::fs::DirBuilderExt;
        let path = std::env::temp_dir().join(format!("certgate-demo-{}", std::process::id()));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| format!("cannot make the demo's directory {}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
