//! What the data path costs in instructions, which do not depend on how busy the machine is.
//!
//! The gateway runs under valgrind's callgrind, which counts what the tasks of connections execute and nothing else.
//! Several runs that differ only in how much they carry give the cost of a handshake and of a mebibyte each way. The
//! figures are those of the development profile: good for comparing with those recorded, and for nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command as Blocking;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use crate::gateway::{Home, certgate, free_address};
use crate::peer::TlsClient;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_and_a_mebibyte_each_way_take_no_more_instructions_than_recorded() {
    let (base, handshakes, up, down) = tokio::join!(
        instructions(Load::default()),
        instructions(Load {
            handshakes: HANDSHAKES,
            ..Load::default()
        }),
        instructions(Load {
            handshakes: 1,
            up: MEBIBYTES,
            ..Load::default()
        }),
        instructions(Load {
            handshakes: 1,
            down: MEBIBYTES,
            ..Load::default()
        }),
    );
    let handshake = (handshakes - base) / HANDSHAKES;
    let measured = BTreeMap::from([
        ("handshake", handshake),
        ("mebibyte_down", (down - base - handshake) / MEBIBYTES),
        ("mebibyte_up", (up - base - handshake) / MEBIBYTES),
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

/// What one run carries, beyond what every run does.
#[derive(Clone, Copy, Default)]
struct Load {
    handshakes: i64,
    /// MiB from the client, and to it, on one of the connections.
    up: i64,
    down: i64,
}

/// How many instructions the gateway's connections took.
async fn instructions(load: Load) -> i64 {
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
    let counts = home.path("counts");
    let mut valgrind = Command::new("valgrind");
    valgrind
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", counts.display()))
        .arg("--toggle-collect=certgate::listener::connection::run::{{closure}}")
        .arg(certgate());
    let mut gateway = home.launch_by(valgrind, &config);
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
    // The first ones do more than others: what is made once for a process or a worker.
    for _ in 0..WARM_UP {
        carry(&client, listen, 1, 1).await;
    }
    for number in 0..load.handshakes {
        let is_last = number + 1 == load.handshakes;
        let of_last = |mebibytes| if is_last { mebibytes * STEPS_EACH } else { 0 };
        carry(&client, listen, of_last(load.up), of_last(load.down)).await;
    }
    gateway.signal("TERM");
    assert!(gateway.ended().await.success(), "{}", home.log());
    let counts = fs::read_to_string(counts).expect("callgrind has written");
    let total = counts.lines().find_map(|line| line.strip_prefix("summary: "));
    total.and_then(|total| total.parse().ok()).expect("a total")
}

/// One connection on which so many blocks go up and down, each only after the one before has arrived: the pieces that
/// the gateway reads are then the same in every run.
async fn carry(client: &TlsClient, address: SocketAddr, up: i64, down: i64) {
    let mut stream = client
        .connect(address, "www.example.test")
        .await
        .expect("a session");
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
