//! What the data path costs in instructions, which do not depend on how busy the machine is.
//!
//! The gateway runs under valgrind's callgrind, which counts what the tasks of connections execute and nothing else, and
//! writes down what it has counted whenever the gateway is asked for its status. The figures are those of the
//! development profile: good for comparing with those recorded, and for nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command as Blocking;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use crate::gateway::{Gateway, Home, certgate, free_address};
use crate::peer::TlsClient;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_and_a_mebibyte_each_way_take_no_more_instructions_than_recorded() {
    let counted = Counted::start().await;
    // The first ones do more than others: what is made once for a process or a worker.
    for _ in 0..WARM_UP {
        counted.carry(1, 1).await;
    }
    let begun = counted.instructions().await;
    for _ in 0..HANDSHAKES {
        counted.carry(0, 0).await;
    }
    let handshakes = counted.instructions().await;
    counted.carry(MEBIBYTES * STEPS_EACH, 0).await;
    let up = counted.instructions().await;
    counted.carry(0, MEBIBYTES * STEPS_EACH).await;
    let down = counted.instructions().await;

    let handshake = (handshakes - begun) / HANDSHAKES;
    let measured = BTreeMap::from([
        ("handshake", handshake),
        ("mebibyte_down", (down - up - handshake) / MEBIBYTES),
        ("mebibyte_up", (up - handshakes - handshake) / MEBIBYTES),
    ]);
    eprintln!("instructions: {measured:?}");
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/instructions.toml");
    if std::env::var_os("CERTGATE_RECORD_INSTRUCTIONS").is_some() {
        let lines: String = measured
            .iter()
            .map(|(name, count)| format!("{name} = {count}\n"))
            .collect();
        fs::write(&fixture, format!("{HEAD}compiler = {:?}\n{lines}", compiler())).expect("written");
        return;
    }
    let recorded: toml::Table = fs::read_to_string(&fixture)
        .expect("recorded")
        .parse()
        .expect("TOML");
    let same_compiler = recorded["compiler"].as_str() == Some(compiler().as_str());
    let tolerance = if same_compiler {
        TOLERANCE
    } else {
        TOLERANCE_OF_ANOTHER_COMPILER
    };
    for (name, count) in measured {
        let before = recorded[name].as_integer().expect("a number");
        let change = 100.0 * (count as f64 / before as f64 - 1.0);
        assert!(
            change.abs() <= tolerance,
            "{name}: {count} instructions, recorded are {before} ({change:+.1} %, allowed {tolerance} %, by {}); if it \
             is meant to be so, run this test with CERTGATE_RECORD_INSTRUCTIONS=1",
            compiler()
        );
    }
}

/// A gateway whose instructions are counted.
struct Counted {
    gateway: Gateway,
    home: Home,
    client: TlsClient,
    listen: SocketAddr,
}

impl Counted {
    async fn start() -> Self {
        let (home, listen) = (Home::new(), free_address());
        let config = format!(
            r#"
            [runtime]
            workers = 1
            [issuers.local]
            kind = "local-ca"
            [certificates.www]
            domains = ["www.example.test"]
            issuer = "local"
            [server_groups.app]
            servers = ["{}"]
            [listeners.web]
            address = "{}"
            port = {}
            certificates = ["www"]
            server_group = "app"
            handshake_timeout = "60s"
            "#,
            lock_step_backend().await,
            listen.ip(),
            listen.port()
        );
        let mut valgrind = Command::new("valgrind");
        valgrind
            .arg("--tool=callgrind")
            .arg(format!("--callgrind-out-file={}", home.path("counts").display()))
            .arg("--toggle-collect=certgate::listener::connection::run::{{closure}}")
            .arg("--dump-before=certgate::admin::endpoints::status::{{closure}}")
            .arg(certgate());
        let gateway = home.launch_by(valgrind, &config);
        gateway.published("www").await;
        let (_, root, _) = crate::gateway::run(&[
            "ca",
            "export",
            "local",
            "--admin",
            &gateway.socket().display().to_string(),
        ])
        .await;
        let client = TlsClient::trusting(&root);
        Self {
            gateway,
            home,
            client,
            listen,
        }
    }

    /// How many instructions the gateway's connections have taken so far.
    async fn instructions(&self) -> i64 {
        self.gateway.client().status().await.expect("a status");
        let files = fs::read_dir(self.home.path("")).expect("a folder");
        let counts = files.filter_map(|file| {
            let path = file.expect("readable").path();
            let name = path.file_name().and_then(|name| name.to_str()).expect("UTF-8");
            let is_count = name.starts_with(COUNTS);
            is_count.then(|| count_in(&fs::read_to_string(path).expect("callgrind has written")))
        });
        let counts: Vec<i64> = counts.collect();
        assert!(!counts.is_empty(), "callgrind has written nothing");
        counts.iter().sum()
    }

    /// One connection on which so many blocks go up and down, each only after the one before has arrived: the pieces that
    /// the gateway reads are then the same in every run.
    async fn carry(&self, up: i64, down: i64) {
        let stream = self.client.connect(self.listen, "www.example.test").await;
        let mut stream = stream.expect("a session");
        let mut block = vec![7; BLOCK];
        for _ in 0..up {
            block[0] = b'u';
            stream.write_all(&block).await.expect("sent");
            stream.read_exact(&mut block[..1]).await.expect("taken");
        }
        for _ in 0..down {
            stream.write_all(b"d").await.expect("sent");
            stream.read_exact(&mut block).await.expect("answered");
        }
        stream.shutdown().await.expect("closed");
        stream
            .read_to_end(&mut block)
            .await
            .expect("closed by the other side");
    }
}

/// The total in a file of callgrind's.
fn count_in(text: &str) -> i64 {
    let total = text.lines().find_map(|line| line.strip_prefix("summary: "));
    total
        .and_then(|total| total.trim().parse().ok())
        .expect("a total")
}

/// Takes a block that begins with `u` and answers with one byte; answers `d` with a block.
async fn lock_step_backend() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    address
}

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut block = vec![0; BLOCK];
    while stream.read(&mut block[..1]).await? == 1 {
        if block[0] == b'u' {
            stream.read_exact(&mut block[1..]).await?;
            stream.write_all(b"!").await?;
        } else {
            stream.write_all(&block).await?;
        }
    }
    stream.shutdown().await
}

fn compiler() -> String {
    let output = Blocking::new("rustc")
        .arg("--version")
        .output()
        .expect("rustc runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The names of the files that callgrind writes are this and a number.
const COUNTS: &str = "counts.";
const WARM_UP: usize = 3;
const HANDSHAKES: i64 = 20;
const MEBIBYTES: i64 = 8;
const BLOCK: usize = 16 << 10;
const STEPS_EACH: i64 = (1 << 20) / BLOCK as i64;
/// In percent.
const TOLERANCE: f64 = 5.0;
/// Another one makes other code, so only what is much more is told.
const TOLERANCE_OF_ANOTHER_COMPILER: f64 = 30.0;
const HEAD: &str = "# Instructions of the development profile, counted by tests/end_to_end/instructions.rs; CERTGATE_RECORD_INSTRUCTIONS=1 records them.\n";
