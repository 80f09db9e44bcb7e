//! What the tests of this room share: a CA, credentials of it, and both ends of a handshake.

mod alpn;
mod challenge;
mod client;
mod handshake;
mod mutual;
mod select;
mod sessions;
mod swap;
mod tally;
mod verdicts;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::Acceptor;
use rustls::{ClientConfig, SignatureScheme};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::{LazyConfigAcceptor, TlsConnector};

use super::*;
use crate::certificate::{
    CaBundle, CaBundleSources, CertificateName, Credential, CredentialPem, KeyType, PrivateKey,
};
use crate::config::{
    AlpnMismatch, Authentication, CertificateSelector, ExpiredCrl, ListenerConfig, Protocol, UnknownSni,
};
use crate::policy::built_in;
use client::{Client, Session, call, hello, tls_error};

/// The CA of a test: a key, and a certificate that may sign.
struct Ca {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    fn new(name: &str) -> Self {
        // A key of its own: CAs of one name differ by it.
        let (_, key) = generate(KeyType::EcdsaP256);
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    /// A chain for `names` that ends `days` after the year 2100 began.
    fn sign(&self, names: &[&str], key_type: KeyType, days: i64) -> CredentialPem {
        let mut params =
            CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).unwrap();
        params.not_before = OffsetDateTime::UNIX_EPOCH;
        params.not_after = OffsetDateTime::from_unix_timestamp(4_102_444_800 + days * 86_400).unwrap();
        self.sign_params(&params, key_type)
    }

    fn sign_params(&self, params: &CertificateParams, key_type: KeyType) -> CredentialPem {
        let (key, pair) = key(key_type);
        let leaf = params.signed_by(pair, &self.issuer).unwrap();
        CredentialPem::new(vec![leaf.der().clone()], key)
    }

    /// A bundle of this CA alone.
    fn bundle(&self, name: &str) -> CaBundle {
        let file = tempfile::NamedTempFile::new().unwrap();
        let pem =
            CredentialPem::new(vec![self.certificate.clone()], &key(KeyType::EcdsaP256).0).chain_to_pem();
        std::fs::write(file.path(), pem).unwrap();
        let sources = CaBundleSources {
            files: &[file.path().to_owned()],
            ..CaBundleSources::default()
        };
        CaBundle::load(name, &sources).unwrap()
    }

    fn credential(&self, names: &[&str], key_type: KeyType, days: i64) -> Credential {
        Credential::from_pem(&self.sign(names, key_type, days)).unwrap()
    }
}

/// One key for each kind: what is tested here is never the key itself, and RSA takes long to generate.
fn key(key_type: KeyType) -> &'static (PrivateKey, KeyPair) {
    static P256: LazyLock<(PrivateKey, KeyPair)> = LazyLock::new(|| generate(KeyType::EcdsaP256));
    static P384: LazyLock<(PrivateKey, KeyPair)> = LazyLock::new(|| generate(KeyType::EcdsaP384));
    static RSA: LazyLock<(PrivateKey, KeyPair)> = LazyLock::new(|| generate(KeyType::Rsa2048));
    match key_type {
        KeyType::EcdsaP256 => &P256,
        KeyType::EcdsaP384 => &P384,
        _ => &RSA,
    }
}

fn generate(key_type: KeyType) -> (PrivateKey, KeyPair) {
    let key = PrivateKey::generate(key_type).unwrap();
    let pair = key.to_key_pair().unwrap();
    (key, pair)
}

/// A listener's TLS and what it reads its certificates from.
struct Gateway {
    published: Arc<PublishedCertificates>,
    challenges: Arc<ChallengeTable>,
    tls: ServerTls,
}

impl Gateway {
    fn new(listener: &ListenerConfig, client_ca: Option<&CaBundle>, entries: &[(&str, Credential)]) -> Self {
        let published = Arc::new(PublishedCertificates::new());
        published.publish(table(entries));
        let challenges = Arc::new(ChallengeTable::new());
        let policy = built_in(&listener.policy).unwrap();
        let tls =
            ServerTls::build(listener, policy, client_ca, published.clone(), challenges.clone()).unwrap();
        Self {
            published,
            challenges,
            tls,
        }
    }

    /// What the gateway decides about the first message of `client`.
    fn decide(&self, client: &Arc<ClientConfig>, name: &str) -> Decision {
        self.decide_bytes(&hello(client, name))
    }

    fn decide_bytes(&self, hello: &[u8]) -> Decision {
        let mut acceptor = Acceptor::default();
        acceptor.read_tls(&mut &*hello).unwrap();
        let accepted = acceptor.accept().ok().flatten().unwrap();
        self.tls.decide(&accepted.client_hello())
    }

    /// A whole connection: the handshake, then a byte there and back.
    async fn connect(&self, client: &Arc<ClientConfig>, name: &'static str) -> Ends {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let name = ServerName::try_from(name).unwrap();
        let connector = TlsConnector::from(client.clone());
        let judged = OnceLock::new();
        let both = async { tokio::join!(self.serve(far, &judged), call(connector.connect(name, near))) };
        let (server, client) = tokio::time::timeout(Duration::from_secs(20), both).await.unwrap();
        let verdict = judged.into_inner().flatten();
        Ends {
            server,
            client,
            verdict,
        }
    }

    async fn serve(
        &self,
        socket: DuplexStream,
        judged: &OnceLock<Option<Verdict>>,
    ) -> Result<(), rustls::Error> {
        let mut start = LazyConfigAcceptor::new(Acceptor::default(), socket)
            .await
            .map_err(tls_error)?;
        let decision = self.tls.decide(&start.client_hello());
        let (handshake, chosen) = match decision {
            Decision::Challenge(config) => (start.into_stream(config), None),
            // rustls asks for the certificate before this returns.
            Decision::Handshake { config, chosen } => {
                (chosen.during(|| start.into_stream(config)), Some(chosen))
            }
            Decision::LookUp(lookup) => panic!("{lookup:?} is not in a whole table"),
            Decision::Obtain => panic!("nothing is obtained on demand"),
            Decision::Refuse(refusal) => {
                start.io.write_all(&refusal.alert_record()).await.unwrap();
                return Err(rustls::Error::General(refusal.to_string()));
            }
        };
        let mut handshake = pin!(handshake);
        let finished = poll_fn(|cx| match &chosen {
            Some(chosen) => chosen.during(|| handshake.as_mut().poll(cx)),
            None => handshake.as_mut().poll(cx),
        });
        let finished = finished.await.map_err(tls_error);
        let error = finished.as_ref().err();
        let _ = judged.set(chosen.and_then(|chosen| chosen.verdict(error)));
        let mut stream = finished?;
        let byte = stream.read_u8().await.map_err(tls_error)?;
        stream.write_u8(byte).await.map_err(tls_error)?;
        stream.shutdown().await.map_err(tls_error)
    }
}

/// How both ends of a connection came out of it.
#[derive(Debug)]
struct Ends {
    server: Result<(), rustls::Error>,
    client: Result<Session, rustls::Error>,
    /// What became of the client's certificate.
    verdict: Option<Verdict>,
}

impl Ends {
    #[track_caller]
    fn session(self) -> Session {
        self.server.unwrap();
        self.client.unwrap()
    }

    /// The alert that the client was sent.
    #[track_caller]
    fn alert(&self) -> rustls::AlertDescription {
        match self.client {
            Err(rustls::Error::AlertReceived(alert)) => alert,
            ref other => panic!("an alert was expected, not {other:?}"),
        }
    }
}

/// A listener for all certificates that asks nothing of clients; tests change what they are about.
fn listener() -> ListenerConfig {
    ListenerConfig {
        enabled: true,
        name: "web".into(),
        address: ([127, 0, 0, 1], 0).into(),
        protocol: Protocol::Tls,
        certificates: vec![CertificateSelector::All],
        unknown_sni: UnknownSni::Default,
        on_demand: None,
        policy: "intermediate".into(),
        alpn: Vec::new(),
        alpn_mismatch: AlpnMismatch::Alert,
        authentication: Authentication::OneWay,
        allow_clients: None,
        expired_crl: ExpiredCrl::Refuse,
        server_group: Some("app".into()),
        idle_timeout: Duration::from_secs(900),
        handshake_timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(5),
        max_connections: None,
        tags: Default::default(),
    }
}

fn entry(name: &str) -> CertificateName {
    CertificateName::parse(name).unwrap()
}

fn table(entries: &[(&str, Credential)]) -> CertificateTable {
    entries
        .iter()
        .fold(CertificateTable::new(), |table, (name, credential)| {
            table.with(entry(name), vec![credential.clone()])
        })
}
