//! What goes on at once: clients that behave, and those that do not.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::gateway::PATIENCE;

/// The clients of one listener, and what they have done.
pub(super) struct Traffic {
    address: SocketAddr,
    fresh: [TlsConnector; 2],
    resuming: [TlsConnector; 2],
    pub(super) rounds: Cell<u64>,
    pub(super) resumed: Cell<u64>,
}

impl Traffic {
    /// Clients of `address` that trust `roots_pem`, by TLS 1.2 and 1.3.
    pub(super) fn new(address: SocketAddr, roots_pem: &str) -> Self {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(roots_pem.as_bytes()) {
            roots.add(root.expect("PEM")).expect("a root");
        }
        let roots = Arc::new(roots);
        let connectors = |resumption: fn() -> Resumption| {
            [&TLS12, &TLS13].map(|version| connector(version, &roots, resumption()))
        };
        Self {
            address,
            fresh: connectors(Resumption::disabled),
            resuming: connectors(|| Resumption::in_memory_sessions(16)),
            rounds: Cell::new(0),
            resumed: Cell::new(0),
        }
    }

    /// All of it, each kind again and again, until `end`; every connection is over then.
    pub(super) async fn until(&self, end: Instant) {
        tokio::join!(
            self.again(end, "a full handshake", || self.echo(&self.fresh)),
            self.again(end, "a resumed handshake", || self.echo(&self.resuming)),
            self.again(end, "a download", || self.download()),
            self.again(end, "an upload", || self.upload()),
            self.again(end, "a client's reset", || self.client_resets()),
            self.again(end, "a backend's reset", || self.backend_resets()),
            self.again(end, "a truncated close", || self.truncate()),
            self.again(end, "garbage", || self.garbage()),
            self.again(end, "half-open clients", || self.half_open()),
            self.again(end, "idle clients", || self.idle()),
        );
    }

    async fn again(&self, end: Instant, what: &str, round: impl AsyncFn() -> io::Result<()>) {
        while Instant::now() < end {
            let done = tokio::time::timeout(PATIENCE, round()).await;
            let done = done.unwrap_or_else(|_| panic!("{what} takes longer than {PATIENCE:?}"));
            done.unwrap_or_else(|error| panic!("{what}: {error}"));
            self.rounds.set(self.rounds.get() + 1);
            tokio::time::sleep(PACE).await;
        }
    }

    async fn connect(&self, connectors: &[TlsConnector; 2]) -> io::Result<TlsStream<TcpStream>> {
        let turn = self.rounds.get() as usize;
        let name = [NAMES[turn / 2 % 2], NAMES[0]][usize::from(turn.is_multiple_of(3))];
        let name = ServerName::try_from(name).expect("a server name");
        let stream = TcpStream::connect(self.address).await?;
        connectors[turn % 2].connect(name, stream).await
    }

    async fn echo(&self, connectors: &[TlsConnector; 2]) -> io::Result<()> {
        let mut stream = self.connect(connectors).await?;
        stream.write_all(b"Echo").await?;
        let mut echoed = [0; 3];
        stream.read_exact(&mut echoed).await?;
        assert_eq!(&echoed, b"cho");
        if stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed) {
            self.resumed.set(self.resumed.get() + 1);
        }
        ended(stream).await
    }

    async fn download(&self) -> io::Result<()> {
        let mut stream = self.connect(&self.fresh).await?;
        stream.write_all(b"D").await?;
        let mut data = Vec::new();
        stream.read_to_end(&mut data).await?;
        assert_eq!(data.len(), BULK, "a clean end after all of it");
        ended(stream).await
    }

    /// With a half-close: the answer comes after the client's end.
    async fn upload(&self) -> io::Result<()> {
        let mut stream = self.connect(&self.fresh).await?;
        stream.write_all(b"U").await?;
        stream.write_all(&vec![b'u'; BULK]).await?;
        stream.shutdown().await?;
        assert_eq!(stream.read_u64().await?, BULK as u64);
        ended(stream).await
    }

    async fn client_resets(&self) -> io::Result<()> {
        let mut stream = self.connect(&self.fresh).await?;
        stream.write_all(b"D").await?;
        stream.read_u8().await?;
        reset(stream.get_ref().0)
    }

    async fn backend_resets(&self) -> io::Result<()> {
        let mut stream = self.connect(&self.fresh).await?;
        stream.write_all(b"R").await?;
        let read = stream.read_to_end(&mut Vec::new()).await;
        assert!(read.is_err(), "a reset must not look like a clean end");
        Ok(())
    }

    /// An end of TCP without one of TLS.
    async fn truncate(&self) -> io::Result<()> {
        let mut stream = self.connect(&self.fresh).await?;
        stream.write_all(b"Echo").await?;
        stream.read_exact(&mut [0; 3]).await?;
        let tcp = stream.get_mut().0;
        tcp.shutdown().await?;
        closed(tcp).await;
        Ok(())
    }

    async fn garbage(&self) -> io::Result<()> {
        let kinds: [&[u8]; 4] = [
            b"GET / HTTP/1.1\r\n\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
            b"\x16\x03\x01\xff\xff\x01\xff\xff\xff",
            &[0xa5; 300],
        ];
        let mut stream = TcpStream::connect(self.address).await?;
        stream.write_all(kinds[self.rounds.get() as usize % 4]).await?;
        closed(&mut stream).await;
        Ok(())
    }

    /// Some say nothing, others begin; the handshake's deadline ends them.
    async fn half_open(&self) -> io::Result<()> {
        let clients = (0..CROWD).map(async |number| {
            let mut stream = TcpStream::connect(self.address).await?;
            stream.write_all(&b"\x16\x03\x01\x02"[..number % 5]).await?;
            closed(&mut stream).await;
            io::Result::Ok(())
        });
        join_all(clients).await.into_iter().collect()
    }

    /// They have talked, and say nothing any more; the idle timeout ends them.
    async fn idle(&self) -> io::Result<()> {
        let clients = (0..CROWD).map(async |_| {
            let mut stream = self.connect(&self.fresh).await?;
            stream.write_all(b"Ei").await?;
            stream.read_u8().await?;
            closed(stream.get_mut().0).await;
            io::Result::Ok(())
        });
        join_all(clients).await.into_iter().collect()
    }
}

/// What the listener has certificates for.
pub(super) const NAMES: [&str; 2] = ["localhost", "bought.example.test"];
/// Between two rounds of a kind, so that an hour of it uses up neither ports nor the disk.
const PACE: Duration = Duration::from_millis(40);
const BULK: usize = 1 << 20;
const CROWD: usize = 20;

/// A backend whose first byte from a client says what it does.
pub(super) async fn backend() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

async fn serve(mut stream: TcpStream) -> io::Result<()> {
    match stream.read_u8().await? {
        b'D' => stream.write_all(&vec![b'd'; BULK]).await?,
        b'R' => {
            stream.write_all(b"not all of it").await?;
            return reset(&stream);
        }
        b'U' => {
            let received = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
            stream.write_u64(received).await?;
        }
        _ => {
            let (mut from, mut to) = stream.split();
            tokio::io::copy(&mut from, &mut to).await?;
        }
    }
    stream.shutdown().await
}

fn connector(
    version: &'static SupportedProtocolVersion,
    roots: &Arc<RootCertStore>,
    resumption: Resumption,
) -> TlsConnector {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    config.resumption = resumption;
    Arc::new(config).into()
}

/// Both ends say that they are done.
async fn ended(mut stream: TlsStream<TcpStream>) -> io::Result<()> {
    stream.shutdown().await?;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await?;
    assert!(rest.is_empty(), "{} bytes more", rest.len());
    Ok(())
}

/// Waits until the gateway has closed, however it does that.
async fn closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    // A reset is an end as well.
    let _ = stream.read_to_end(&mut rest).await;
}

/// The connection ends by a reset when it is dropped.
fn reset(stream: &TcpStream) -> io::Result<()> {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO))
}
