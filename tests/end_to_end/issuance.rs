//! Certificates from a real ACME server, verified by clients that others wrote.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::gateway::{Home, PATIENCE, free_address};
use crate::peer::{TlsClient, backend, served};
use crate::support::pebble::{Pebble, PebbleOptions};

/// A gateway's addresses and the CA that looks for them.
pub(crate) struct Scene {
    pub(crate) pebble: Pebble,
    pub(crate) tls: SocketAddr,
    pub(crate) http: SocketAddr,
}

impl Scene {
    /// A CA that validates at the addresses of a gateway to be; every name of `names` leads there.
    pub(crate) fn new(names: &[&str], validity: Option<Duration>) -> Self {
        let options = PebbleOptions {
            certificate_validity: validity,
            ..PebbleOptions::default()
        };
        Self::with(names, options)
    }

    /// The same with a CA of these options.
    pub(crate) fn with(names: &[&str], options: PebbleOptions) -> Self {
        let tls = free_address();
        // Free at another address, and not the one taken here.
        let mut others = std::iter::repeat_with(|| free_address().port());
        let http = others.find(|port| *port != tls.port()).expect("without end");
        let http = SocketAddr::new(tls.ip(), http);
        let pebble = Pebble::start(&PebbleOptions {
            http_port: http.port(),
            tls_port: tls.port(),
            ..options
        });
        for name in names {
            pebble.dns.set_addresses(name, &[&tls.ip().to_string()]);
        }
        Self { pebble, tls, http }
    }

    /// The file for one certificate `www` by `challenge`, in front of `servers`.
    pub(crate) fn config(&self, names: &[&str], challenge: &str, servers: &[SocketAddr]) -> String {
        format!(
            "[issuers.pebble]\nkind = \"acme\"\ndirectory = \"{}\"\nagree_to_terms = true\n\
             challenges = [\"{challenge}\"]\nroot_ca_file = {:?}\n\
             [certificates.www]\ndomains = {names:?}\nissuer = \"pebble\"\n\
             [server_groups.app]\nservers = {:?}\n\
             [listeners.web]\naddress = \"{}\"\nport = {}\ncertificates = [\"www\"]\nserver_group = \"app\"\n\
             [listeners.plain]\naddress = \"{}\"\nport = {}\nprotocol = \"http\"\n",
            self.pebble.directory(),
            self.pebble.https_ca_file(),
            servers.iter().map(ToString::to_string).collect::<Vec<_>>(),
            self.tls.ip(),
            self.tls.port(),
            self.http.ip(),
            self.http.port(),
        )
    }
}

#[tokio::test]
async fn pebble_issues_by_http_01_and_curl_verifies_the_chain() {
    let names = ["www.example.test", "example.test"];
    let scene = Scene::new(&names, None);
    let home = Home::new();
    let gateway = home
        .start(&scene.config(&names, "http-01", &[backend("hello").await]))
        .await;
    gateway.published("www").await;
    let root = home.write("root.pem", &scene.pebble.issuing_root());
    for name in names {
        assert_eq!(curl(&root, name, scene.tls).await, "hello");
    }
}

#[tokio::test]
async fn pebble_issues_by_tls_alpn_01_and_openssl_verifies_the_chain() {
    let names = ["www.example.test"];
    let scene = Scene::new(&names, None);
    let home = Home::new();
    let gateway = home
        .start(&scene.config(&names, "tls-alpn-01", &[backend("hello").await]))
        .await;
    gateway.published("www").await;
    let root = home.write("root.pem", &scene.pebble.issuing_root());
    let output = Command::new("openssl")
        .args([
            "s_client",
            "-verify_return_error",
            "-verify_hostname",
            names[0],
            "-servername",
            names[0],
        ])
        .arg("-CAfile")
        .arg(&root)
        .args(["-connect", &scene.tls.to_string()])
        .stdin(std::process::Stdio::null())
        .output()
        .await
        .expect("openssl is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("Verify return code: 0 (ok)"), "{text}");
}

#[tokio::test]
async fn a_certificate_renews_under_load_and_no_client_notices() {
    const NAME: &str = "www.example.test";
    let scene = Scene::new(&[NAME], Some(Duration::from_secs(24)));
    let home = Home::new();
    let source = bytes_source().await;
    let gateway = home.start(&scene.config(&[NAME], "tls-alpn-01", &[source])).await;
    gateway.published("www").await;
    let client = TlsClient::trusting(&scene.pebble.issuing_root());

    // A transfer that outlives every renewal, beside 50 fresh connections a second.
    let slow = tokio::spawn(long_transfer(client.clone(), scene.tls, NAME));
    let (mut connections, mut serials) = (JoinSet::new(), BTreeSet::new());
    let failed = Arc::new(AtomicUsize::new(0));
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let deadline = Instant::now() + PATIENCE;
    let mut made = 0;
    while serials.len() < 3 {
        assert!(Instant::now() < deadline, "seen only {serials:?}\n{}", home.log());
        ticks.tick().await;
        let (client, failed) = (client.clone(), failed.clone());
        connections.spawn(async move {
            let result = transfer(&client, scene.tls, NAME).await;
            result.inspect_err(|error| {
                eprintln!("a connection failed: {error}");
                failed.fetch_add(1, Ordering::Relaxed);
            })
        });
        made += 1;
        while let Some(done) = connections.try_join_next() {
            serials.extend(done.expect("no panic"));
        }
    }
    while let Some(done) = connections.join_next().await {
        serials.extend(done.expect("no panic"));
    }
    assert_eq!(
        failed.load(Ordering::Relaxed),
        0,
        "of {made} connections\n{}",
        home.log()
    );
    slow.abort();
    let interrupted = slow
        .await
        .expect_err("the long transfer goes on until it is stopped");
    assert!(
        interrupted.is_cancelled(),
        "the long transfer broke: {interrupted}"
    );
}

const LENGTH: usize = 64 * 1024;

/// The `index`th byte of what the source sends.
fn byte(index: usize) -> u8 {
    (index % 251) as u8
}

/// A backend that sends the same bytes for ever, as fast as they are taken.
async fn bytes_source() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let block: Vec<u8> = (0..251 * 64).map(byte).collect();
                while stream.write_all(&block).await.is_ok() {}
            });
        }
    });
    address
}

/// One fresh connection that checks every byte; the serial number it was served with.
async fn transfer(client: &TlsClient, address: SocketAddr, name: &str) -> std::io::Result<String> {
    let mut stream = client.connect(address, name).await?;
    let serial = served(&stream).serial;
    let mut buffer = vec![0; LENGTH];
    stream.read_exact(&mut buffer).await?;
    assert!(
        buffer
            .iter()
            .enumerate()
            .all(|(index, found)| *found == byte(index)),
        "bytes were changed"
    );
    Ok(serial)
}

async fn long_transfer(client: TlsClient, address: SocketAddr, name: &'static str) {
    let mut stream = client.connect(address, name).await.expect("connected");
    let mut buffer = [0; 1024];
    let mut index = 0;
    loop {
        let length = stream.read(&mut buffer).await.expect("an unbroken transfer");
        assert_ne!(length, 0, "the transfer ended");
        for found in &buffer[..length] {
            assert_eq!(*found, byte(index), "bytes were changed");
            index += 1;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) async fn curl(root: &Path, name: &str, address: SocketAddr) -> String {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--fail", "--cacert"])
        .arg(root)
        .args([
            "--resolve",
            &format!("{name}:{}:{}", address.port(), address.ip()),
        ])
        .arg(format!("https://{name}:{}/", address.port()))
        .output()
        .await
        .expect("curl is installed");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
