//! Listeners that ask for a client certificate: who enters, who does not, and that nothing opens them by accident.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use crate::client_authority::ClientAuthority;
use crate::gateway::{Gateway, Home, run};
use crate::issuance::Scene;
use crate::reload::reloaded;

const NAME: &str = "www.example.test";

/// What a client offers.
struct Offer<'a> {
    root: &'a str,
    certificate_of: Option<&'a ClientAuthority>,
    alpn: &'a [&'a str],
    version: &'static SupportedProtocolVersion,
}

impl Offer<'_> {
    /// One connection: what the backend said, and the protocol agreed upon.
    async fn ask(&self, address: SocketAddr) -> std::io::Result<(String, Option<Vec<u8>>)> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.root.as_bytes()).expect("PEM"))
            .expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[self.version])
            .expect("a version")
            .with_root_certificates(roots);
        let mut config = match self.certificate_of.map(|ca| ca.sign_named("a client")) {
            Some((certificate, key)) => builder
                .with_client_auth_cert(vec![certificate], key)
                .expect("a pair"),
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        config.alpn_protocols = self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from(NAME).expect("a name");
        let connector = TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect(name, stream).await?;
        let alpn = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok((answer, alpn))
    }

    async fn is_refused_with(&self, address: SocketAddr, alert: &str) {
        let error = self.ask(address).await.expect_err("refused");
        assert!(error.to_string().contains(alert), "{error}");
    }
}

/// A backend that answers and counts who got through to it.
pub(crate) async fn counting_backend() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = stream.write_all(b"let in").await;
        }
    });
    (address, count)
}

/// `scene`'s file with its TLS listener made mutual; clients are checked against `bundle`.
fn config(scene: &Scene, server: SocketAddr, bundle: &std::path::Path) -> String {
    let one_way = scene.config(&[NAME], "tls-alpn-01", &[server]);
    let listener = "certificates = [\"www\"]\n";
    let mutual = "certificates = [\"www\"]\nauthentication = \"mutual\"\nclient_ca = \"partners\"\nalpn = \"HTTP2Only\"\n";
    assert!(one_way.contains(listener));
    let mutual = one_way.replace(listener, mutual);
    format!("{mutual}[ca_bundles.partners]\nfiles = [{bundle:?}]\n")
}

/// A gateway whose only TLS listener is mutual and speaks h2 alone, with its certificate.
struct Partners {
    scene: Scene,
    home: Home,
    gateway: Gateway,
    ca: ClientAuthority,
    root: String,
    config: String,
    let_in: Arc<AtomicUsize>,
}

impl Partners {
    async fn new() -> Self {
        let (scene, home, ca) = (
            Scene::new(&[NAME], None),
            Home::new(),
            ClientAuthority::new("partners"),
        );
        let (server, let_in) = counting_backend().await;
        let bundle = home.write("partners.pem", &ca.pem());
        let config = config(&scene, server, &bundle);
        let gateway = home.start(&config).await;
        gateway.published("www").await;
        let root = scene.pebble.issuing_root();
        Self {
            scene,
            home,
            gateway,
            ca,
            root,
            config,
            let_in,
        }
    }

    fn offer(&self) -> Offer<'_> {
        Offer {
            root: &self.root,
            certificate_of: Some(&self.ca),
            alpn: &["h2"],
            version: &TLS13,
        }
    }

    async fn lets_partners_in_and_nobody_else(&self) {
        let (answer, alpn) = self.offer().ask(self.scene.tls).await.expect("let in");
        assert_eq!((answer.as_str(), alpn.as_deref()), ("let in", Some(&b"h2"[..])));
        let before = self.let_in.load(Ordering::SeqCst);
        let nobody = Offer {
            certificate_of: None,
            ..self.offer()
        };
        nobody
            .is_refused_with(self.scene.tls, "CertificateRequired")
            .await;
        assert_eq!(self.let_in.load(Ordering::SeqCst), before);
    }
}

#[tokio::test]
async fn a_mutual_listener_obtains_its_own_certificate_and_lets_in_only_whom_its_bundle_vouches_for() {
    let partners = Partners::new().await;
    let (address, let_in) = (partners.scene.tls, &partners.let_in);
    assert_eq!(
        let_in.load(Ordering::SeqCst),
        0,
        "the CA's look at the challenge is not forwarded"
    );
    let stranger = ClientAuthority::new("partners");
    for version in [&TLS12, &TLS13] {
        let right = Offer {
            version,
            ..partners.offer()
        };
        let before = let_in.load(Ordering::SeqCst);
        assert_eq!(right.ask(address).await.expect("let in").0, "let in");
        assert_eq!(let_in.load(Ordering::SeqCst), before + 1);

        let nobody = Offer {
            certificate_of: None,
            version,
            ..partners.offer()
        };
        nobody.is_refused_with(address, "CertificateRequired").await;
        let other = Offer {
            certificate_of: Some(&stranger),
            version,
            ..partners.offer()
        };
        other.is_refused_with(address, "received fatal alert").await;
        assert_eq!(
            let_in.load(Ordering::SeqCst),
            before + 1,
            "the refused reach no server"
        );
    }
    let socket = partners.gateway.socket().display().to_string();
    let (_, status, _) = run(&["status", "--admin", &socket]).await;
    let row = status
        .lines()
        .find(|line| line.starts_with(" web") || line.starts_with("web"));
    assert!(row.is_some_and(|row| row.contains("mutual")), "{status}");
}

#[tokio::test]
async fn acme_tls_offered_by_a_client_reaches_no_server() {
    let partners = Partners::new().await;
    let offer = |alpn| Offer {
        alpn,
        ..partners.offer()
    };
    let address = partners.scene.tls;
    // Alone it is for a CA, and no challenge is pending.
    offer(&["acme-tls/1"])
        .is_refused_with(address, "NoApplicationProtocol")
        .await;
    offer(&["acme-tls/1", "http/1.1"])
        .is_refused_with(address, "NoApplicationProtocol")
        .await;
    assert_eq!(partners.let_in.load(Ordering::SeqCst), 0);
    // Among others it is never the one agreed upon, and the client's certificate is asked for as ever.
    let among = Offer {
        certificate_of: None,
        ..offer(&["acme-tls/1", "h2"])
    };
    among.is_refused_with(address, "CertificateRequired").await;
    assert_eq!(partners.let_in.load(Ordering::SeqCst), 0);
    let (_, alpn) = offer(&["acme-tls/1", "h2"]).ask(address).await.expect("let in");
    assert_eq!(alpn.as_deref(), Some(&b"h2"[..]));
}

#[tokio::test]
async fn without_a_usable_bundle_a_first_start_is_refused_and_one_that_is_in_force_counts_on() {
    let partners = Partners::new().await;
    let bundle = partners.home.path("partners.pem");
    let unusable: [(&str, &dyn Fn(), &str); 3] = [
        (
            "missing",
            &|| std::fs::remove_file(&bundle).expect("removed"),
            "cannot read",
        ),
        (
            "empty",
            &|| drop(partners.home.write("partners.pem", "")),
            "holds no",
        ),
        (
            "garbage",
            &|| drop(partners.home.write("partners.pem", "garbage\n")),
            "holds no",
        ),
    ];
    for (what, spoil, says) in unusable {
        spoil();
        // A change of the listener, so that everything of it is built anew.
        let changed = partners.config.replace("HTTP2Only", "HTTP2Preferred");
        partners.home.configure(&changed);
        assert_eq!(reloaded(&partners.gateway).await, None, "{what}");
        partners.home.configure(&partners.config);
        assert_eq!(reloaded(&partners.gateway).await, None, "{what}");
        partners.lets_partners_in_and_nobody_else().await;
        let is_told = |status: &certgate::admin::api::Status| {
            let mut lines = status.warnings.iter();
            lines.any(|line| line.contains("partners.pem") && line.contains(says))
        };
        partners.gateway.status_until("tells of it", is_told).await;
        let path = partners.home.path("certgate.toml").display().to_string();
        let (code, _, errors) = run(&["check", "--config", &path]).await;
        assert_eq!(code, 1, "{what}: `check` sees it too");
        assert!(errors.contains("partners.pem"), "{errors}");

        let elsewhere = Home::new();
        let mut fresh = elsewhere.launch(&partners.config);
        assert_eq!(fresh.ended().await.code(), Some(1), "{what}");
        let log = elsewhere.log();
        assert!(
            log.contains("partners.pem") && log.contains(says),
            "{what}: {log}"
        );
    }

    partners.home.write("partners.pem", &partners.ca.pem());
    partners.home.configure(&partners.config);
    assert_eq!(reloaded(&partners.gateway).await, None);
    partners.lets_partners_in_and_nobody_else().await;
}

#[tokio::test]
async fn a_reload_with_another_bundle_counts_for_the_next_handshake() {
    let partners = Partners::new().await;
    let successor = ClientAuthority::new("successors");
    let next = Offer {
        certificate_of: Some(&successor),
        ..partners.offer()
    };
    next.is_refused_with(partners.scene.tls, "received fatal alert")
        .await;
    partners.home.write("partners.pem", &successor.pem());
    assert_eq!(reloaded(&partners.gateway).await, None);
    assert_eq!(next.ask(partners.scene.tls).await.expect("let in").0, "let in");
    partners
        .offer()
        .is_refused_with(partners.scene.tls, "received fatal alert")
        .await;
}
