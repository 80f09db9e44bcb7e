//! What stands on the two sides of the gateway: clients and backends.

use std::net::SocketAddr;
use std::sync::Arc;

use certgate::certificate::Leaf;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ALL_VERSIONS, ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A client's certificate and its key.
pub(crate) type Shown = (CertificateDer<'static>, PrivateKeyDer<'static>);

/// A client that trusts one root and never resumes a session.
#[derive(Clone)]
pub(crate) struct TlsClient {
    connector: TlsConnector,
}

impl TlsClient {
    pub(crate) fn trusting(root_pem: &str) -> Self {
        Self::presenting(root_pem, None)
    }

    /// One that shows a certificate when it is asked for one.
    pub(crate) fn presenting(root_pem: &str, shown: Option<Shown>) -> Self {
        Self::speaking(ALL_VERSIONS, root_pem, shown)
    }

    /// The same with some versions of TLS only.
    pub(crate) fn speaking(
        versions: &[&'static SupportedProtocolVersion],
        root_pem: &str,
        shown: Option<Shown>,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(root_pem.as_bytes()) {
            roots.add(root.expect("PEM")).expect("a root");
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match shown {
            // A thief has another's certificate, and a key of his own.
            Some((certificate, key)) => {
                let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).expect("a key");
                let shown = CertifiedKey::new(vec![certificate], key);
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown)))
            }
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        Self {
            connector: Arc::new(config).into(),
        }
    }

    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
        name: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        self.connect_over(TcpStream::connect(address).await?, name).await
    }

    async fn connect_over(&self, stream: TcpStream, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
        // The request need not wait for an answer to the end of the handshake.
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(name.to_owned()).expect("a server name");
        self.connector.connect(name, stream).await
    }

    /// One fresh connection: sends a line, returns what the backend answered and the certificate it came with.
    pub(crate) async fn ask(&self, address: SocketAddr, name: &str) -> std::io::Result<(String, Leaf)> {
        self.ask_over(TcpStream::connect(address).await?, name).await
    }

    /// The same over a connection that is there.
    pub(crate) async fn ask_over(&self, stream: TcpStream, name: &str) -> std::io::Result<(String, Leaf)> {
        let mut stream = self.connect_over(stream, name).await?;
        let leaf = served(&stream);
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok((answer, leaf))
    }
}

/// The certificate that a connection was made with.
pub(crate) fn served(stream: &TlsStream<TcpStream>) -> Leaf {
    let chain = stream.get_ref().1.peer_certificates().expect("a verified server");
    Leaf::parse(&chain[0]).expect("a certificate")
}

/// Each of `names` leads to a backend that says hello.
pub(crate) async fn says_hello(client: &TlsClient, address: SocketAddr, names: &[&str]) {
    for name in names {
        let (answer, _) = client.ask(address, name).await.expect("served");
        assert!(answer.ends_with("hello"), "{name}: {answer}");
    }
}

/// A backend that answers any request with `name` and closes; works for HTTP clients too.
pub(crate) async fn backend(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, name));
        }
    });
    address
}

async fn answer(stream: TcpStream, name: &'static str) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 2 {
        line.clear();
    }
    let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", name.len());
    stream.write_all(format!("{head}{name}").as_bytes()).await?;
    stream.shutdown().await
}
