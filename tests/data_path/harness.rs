//! A listener in front of backends, and clients for it.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use certgate::backend::ServerGroup;
use certgate::certificate::{CertificateName, Credential, CredentialPem};
use certgate::config::{
    AlpnMismatch, Authentication, CertificateSelector, ExpiredCrl, ListenerConfig, Protocol, ServerConfig,
    ServerGroupConfig, UnknownSni,
};
use certgate::listener::{ListenerSettings, RunningListener, Service, Workers};
use certgate::metrics::{ListenerMetrics, Metrics, Outcome};
use certgate::policy;
use certgate::tls::{CertificateTable, ChallengeTable, PublishedCertificates, ServerTls};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) const NAME: &str = "www.example.com";

/// A listener with one certificate, for [`NAME`].
pub(crate) struct Stand {
    pub(crate) workers: Workers,
    pub(crate) running: RunningListener,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) published: Arc<PublishedCertificates>,
    pub(crate) challenges: Arc<ChallengeTable>,
    pub(crate) roots: Arc<RootCertStore>,
}

impl Stand {
    pub(crate) fn new(servers: &[SocketAddr]) -> Self {
        Self::with(servers, |_| {})
    }

    pub(crate) fn with(servers: &[SocketAddr], adjust: impl FnOnce(&mut ListenerConfig)) -> Self {
        let metrics = Arc::new(Metrics::new());
        let published = Arc::new(PublishedCertificates::new());
        let challenges = Arc::new(ChallengeTable::new());
        let (credential, roots) = credential();
        published.publish(CertificateTable::new().with(certificate_name(), vec![credential]));
        let mut config = listener_config("web");
        adjust(&mut config);
        let workers = Workers::start(2).unwrap();
        let bound = workers.bind(&config).unwrap();
        let settings = settings(config, servers, &metrics, &published, &challenges);
        let running = workers.serve(bound, settings, &metrics);
        Self {
            workers,
            running,
            metrics,
            published,
            challenges,
            roots,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.running.local_addr()
    }

    pub(crate) fn settings(&self, servers: &[SocketAddr]) -> ListenerSettings {
        let config = ListenerConfig::clone(&self.running.settings().config);
        settings(config, servers, &self.metrics, &self.published, &self.challenges)
    }

    pub(crate) fn counted(&self) -> Arc<ListenerMetrics> {
        let name = self.running.settings().config.name.clone();
        self.metrics.listener(&name)
    }

    /// Waits until `count` connections have ended like this.
    pub(crate) async fn ended(&self, outcome: Outcome, count: u64) {
        let counted = self.counted();
        let what = format!("{count} connections {}", outcome.label());
        until(&what, || counted.outcomes(outcome) >= count).await;
        assert_eq!(counted.outcomes(outcome), count, "{what}");
    }

    pub(crate) fn client_config(&self) -> ClientConfig {
        ClientConfig::builder_with_provider(policy::built_in("intermediate").unwrap().provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth()
    }

    /// A client of rustls that does no I/O of its own.
    pub(crate) fn session(&self) -> ClientConnection {
        ClientConnection::new(Arc::new(self.client_config()), server_name()).unwrap()
    }

    pub(crate) async fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    pub(crate) async fn try_connect(&self) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address()).await?;
        TlsConnector::from(Arc::new(self.client_config()))
            .connect(server_name(), stream)
            .await
    }

    pub(crate) async fn connect(&self) -> TlsStream<TcpStream> {
        within(self.try_connect()).await.unwrap()
    }

    /// One whole exchange with an echoing backend.
    pub(crate) async fn echo_works(&self) {
        let mut client = self.connect().await;
        within(async {
            client.write_all(b"are you there?").await.unwrap();
            client.shutdown().await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            assert_eq!(answer, "are you there?");
        })
        .await;
    }
}

pub(crate) fn settings(
    config: ListenerConfig,
    servers: &[SocketAddr],
    metrics: &Arc<Metrics>,
    published: &Arc<PublishedCertificates>,
    challenges: &Arc<ChallengeTable>,
) -> ListenerSettings {
    let policy = policy::built_in(&config.policy).unwrap();
    let tls = ServerTls::build(&config, policy, None, published.clone(), challenges.clone()).unwrap();
    ListenerSettings {
        config: Arc::new(config),
        service: Service::Tls {
            tls: Arc::new(tls),
            server_group: server_group(servers.iter().map(|address| (*address, 1)), metrics),
        },
    }
}

pub(crate) fn server_group(
    servers: impl IntoIterator<Item = (SocketAddr, u16)>,
    metrics: &Arc<Metrics>,
) -> Arc<ServerGroup> {
    let server = |(address, weight): (SocketAddr, u16)| ServerConfig {
        address: address.to_string(),
        weight,
    };
    let config = ServerGroupConfig {
        name: "app".into(),
        servers: servers.into_iter().map(server).collect(),
    };
    ServerGroup::new(&config, metrics.clone())
}

pub(crate) fn listener_config(name: &str) -> ListenerConfig {
    ListenerConfig {
        enabled: true,
        name: name.into(),
        address: "127.0.0.1:0".parse().unwrap(),
        protocol: Protocol::Tls,
        certificates: vec![CertificateSelector::Named(certificate_name())],
        unknown_sni: UnknownSni::Default,
        on_demand: None,
        policy: "intermediate".into(),
        alpn: Vec::new(),
        alpn_mismatch: AlpnMismatch::Alert,
        authentication: Authentication::OneWay,
        allow_clients: None,
        expired_crl: ExpiredCrl::Refuse,
        server_group: Some("app".into()),
        idle_timeout: Duration::from_secs(60),
        handshake_timeout: Duration::from_secs(20),
        connect_timeout: Duration::from_secs(5),
        max_connections: None,
        tags: Default::default(),
    }
}

pub(crate) fn certificate_name() -> CertificateName {
    CertificateName::parse("www").unwrap()
}

pub(crate) fn server_name() -> ServerName<'static> {
    ServerName::try_from(NAME).unwrap()
}

/// A fresh self-signed certificate for [`NAME`], and the trust in it.
pub(crate) fn credential() -> (Credential, Arc<RootCertStore>) {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let pem = CredentialPem::parse_pair(
        made.cert.pem().as_bytes(),
        made.signing_key.serialize_pem().as_bytes(),
    );
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    (Credential::from_pem(&pem.unwrap()).unwrap(), Arc::new(roots))
}

/// A backend that does `serve` with each connection.
pub(crate) async fn backend<F, S>(serve: F) -> SocketAddr
where
    F: Fn(TcpStream) -> S + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// A backend that sends back what it gets until it gets the end.
pub(crate) async fn echo() -> SocketAddr {
    backend(|mut stream| async move {
        let (mut read, mut write) = stream.split();
        if tokio::io::copy(&mut read, &mut write).await.is_ok() {
            let _ = write.shutdown().await;
        }
    })
    .await
}

/// A backend that says `greeting` and closes.
pub(crate) async fn greeter(greeting: &'static str) -> SocketAddr {
    backend(move |mut stream| async move {
        let _ = stream.write_all(greeting.as_bytes()).await;
        let _ = stream.shutdown().await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await
}

/// A backend whose connections are handed to the test.
pub(crate) async fn handed_over() -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<TcpStream>) {
    let (give, take) = tokio::sync::mpsc::unbounded_channel();
    let address = backend(move |stream| {
        let _ = give.send(stream);
        async {}
    })
    .await;
    (address, take)
}

/// An address on which nobody listens.
pub(crate) async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
}

pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, what).await.expect("it takes too long")
}

/// Looks again until `state` is reached.
pub(crate) async fn until(what: &str, mut state: impl FnMut() -> bool) {
    let reached = async {
        while !state() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LONG, reached)
        .await
        .unwrap_or_else(|_| panic!("not reached: {what}"));
}

/// Whether reading ended in a way that tells of missing data: anything but a clean end.
pub(crate) fn is_truncated(result: &io::Result<usize>) -> bool {
    matches!(
        result,
        Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof)
    )
}

/// Runs the rest of the test `name` in a process of its own that may have so many descriptors. True in there.
pub(crate) fn is_alone_with_descriptors(name: &str, descriptors: &str) -> bool {
    const MARK: &str = "CERTGATE_TEST_ALONE";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let status = Command::new("sh")
        .args(["-c", r#"ulimit -n "$0" && exec "$@""#, descriptors])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads", "1"])
        .env(MARK, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{name} failed in its own process");
    false
}

const LONG: Duration = Duration::from_secs(30);
