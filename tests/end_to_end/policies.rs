//! What policies say is what listeners do: against openssl and rustls as clients, and over a reload.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use certgate::policy::{
    Agreement, CertificateKey, Client, Element, Group, Version, built_in, clients, names, openssl_name,
};
use futures_util::{StreamExt, stream};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedCipherSuite};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::foreign_clients::openssl;
use crate::gateway::{Gateway, Home, free_address};
use crate::peer::{TlsClient, backend};
use crate::reload::{self, client_of, reloaded};

const KEYS: [(CertificateKey, &str); 2] = [(CertificateKey::Ecdsa, "ecdsa"), (CertificateKey::Rsa, "rsa")];

/// A gateway with a listener for each policy and kind of key.
struct Scene {
    _home: Home,
    gateway: Gateway,
    listeners: BTreeMap<(&'static str, &'static str), SocketAddr>,
}

impl Scene {
    async fn new() -> Self {
        let server = backend("hello").await;
        let mut config = format!(
            "issuers.internal.kind = \"local-ca\"\nserver_groups.app.servers = [\"{server}\"]\n\
             [certificates.ecdsa]\ndomains = [\"localhost\"]\nissuer = \"internal\"\n\
             [certificates.rsa]\ndomains = [\"localhost\"]\nissuer = \"internal\"\nkey_type = \"rsa-2048\"\n"
        );
        let mut listeners = BTreeMap::new();
        for policy in names().into_iter().filter(|name| !name.ends_with("-2026-11")) {
            for (_, key) in KEYS {
                let address = free_address();
                config.push_str(&format!(
                    "[listeners.\"{policy}.{key}\"]\naddress = \"{}\"\nport = {}\npolicy = \"{policy}\"\n\
                     certificates = [\"{key}\"]\nserver_group = \"app\"\n",
                    address.ip(),
                    address.port()
                ));
                listeners.insert((policy, key), address);
            }
        }
        let home = Home::new();
        let gateway = home.start(&config).await;
        for (_, key) in KEYS {
            gateway.published(key).await;
        }
        Self {
            _home: home,
            gateway,
            listeners,
        }
    }

    /// Compares what `clients` come to with what is computed, for each listener; how often they agreed and were refused.
    async fn compare<F>(
        &self,
        clients: &[Client],
        handshake: impl Fn(Client, SocketAddr) -> F + Copy,
    ) -> (usize, usize)
    where
        F: Future<Output = Result<Live, String>>,
    {
        let pairs = clients.iter().flat_map(|client| {
            let listeners = self.listeners.iter();
            listeners.map(move |((policy, key), address)| (client, *policy, *key, *address))
        });
        let compared = stream::iter(pairs).map(|(client, policy, key, address)| async move {
            let kind = KEYS
                .into_iter()
                .find(|(_, name)| *name == key)
                .expect("one of both")
                .0;
            let expected = client.meet(built_in(policy).expect("listed"), kind);
            let found = handshake(client.clone(), address).await;
            let name = &client.name;
            match (&expected, &found) {
                (Ok(agreement), Ok(live)) => {
                    assert_eq!(live, &Live::expected(*agreement), "{name}, {policy}, {key}");
                }
                (Err(_), Err(_)) => {}
                _ => panic!("{name}, {policy}, {key}: explained as {expected:?}, found {found:?}"),
            }
            expected.is_ok()
        });
        let agreed: Vec<bool> = compared.buffer_unordered(8).collect().await;
        let admitted = agreed.iter().filter(|agreed| **agreed).count();
        (admitted, agreed.len() - admitted)
    }
}

/// What a client saw of a handshake.
#[derive(Debug, Eq, PartialEq)]
struct Live {
    version: String,
    cipher_suite: String,
    group: String,
}

impl Live {
    fn expected(agreement: Agreement) -> Self {
        let suite = SupportedCipherSuite::named(agreement.cipher_suite).expect("a suite");
        Self {
            version: agreement.version.to_owned(),
            cipher_suite: openssl_name(suite),
            group: agreement.group.to_owned(),
        }
    }
}

/// What has openssl offer what `client` offers.
pub(crate) fn offering(client: &Client) -> Vec<String> {
    let is_new = |suite: &&String| suite.starts_with("TLS_");
    let join = |suites: Vec<&String>| {
        let suites: Vec<_> = suites.into_iter().map(String::as_str).collect();
        suites.join(":")
    };
    let (new, old): (Vec<_>, Vec<_>) = client.cipher_suites.iter().partition(is_new);
    // TLS 1.0 is below what OpenSSL 3 offers by default.
    let old = format!("{}:@SECLEVEL=0", join(old));
    let (new, groups) = (join(new), client.groups.join(":"));
    let (newest, oldest) = (&client.versions[0], &client.versions[client.versions.len() - 1]);
    let mut arguments = vec!["-min_protocol", oldest, "-max_protocol", newest];
    arguments.extend(["-groups", &groups, "-cipher", &old]);
    if !new.is_empty() {
        arguments.extend(["-ciphersuites", &new]);
    }
    arguments.into_iter().map(ToOwned::to_owned).collect()
}

/// openssl made to offer what `client` offers.
async fn by_openssl(client: Client, address: SocketAddr) -> Result<Live, String> {
    let (address, offer) = (address.to_string(), offering(&client));
    let mut arguments = vec![
        "s_client",
        "-brief",
        "-servername",
        "localhost",
        "-connect",
        &address,
    ];
    arguments.extend(offer.iter().map(String::as_str));
    let (connected, text) = openssl(&arguments).await;
    let value = |label: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(label));
        line.map(|value| value.trim().to_owned())
    };
    match (
        value("Protocol version:"),
        value("Ciphersuite:"),
        value("Server Temp Key:"),
    ) {
        (Some(version), Some(cipher_suite), Some(group)) if connected => Ok(Live {
            version,
            cipher_suite,
            group: group_of(&group),
        }),
        _ if text.contains("alert") => Err(text),
        _ => panic!("{}: neither connected nor alerted: {text}", client.name),
    }
}

/// `X25519, 253 bits` and `ECDH, prime256v1, 256 bits` as certgate calls them.
pub(crate) fn group_of(temporary_key: &str) -> String {
    let curve = temporary_key.trim_start_matches("ECDH, ").split(',').next();
    match curve.unwrap_or_default() {
        "prime256v1" => "secp256r1".to_owned(),
        curve => curve.to_owned(),
    }
}

/// By hand, for the other tests compare two things that could be wrong together. The groups are named, for OpenSSL
/// since 3.5 would offer ML-KEM too.
#[tokio::test]
async fn each_policy_takes_and_refuses_of_openssl_what_it_is_for() {
    let scene = Scene::new().await;
    let offers = [
        &["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"][..],
        &["-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"],
        &["-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384"],
        &["-tls1_2", "-cipher", "ECDHE-RSA-CHACHA20-POLY1305"],
        &[
            "-tls1_2",
            "-cipher",
            "ECDHE-RSA-AES256-SHA384:AES128-GCM-SHA256:DHE-RSA-AES128-GCM-SHA256",
        ],
        &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
    ];
    let expected = BTreeMap::from([
        (
            "ELBSecurityPolicy-FS-1-2-Res-2020-10",
            [false, false, true, false],
        ),
        (
            "ELBSecurityPolicy-TLS13-1-2-Res-2021-06",
            [true, true, true, false],
        ),
        ("ELBSecurityPolicy-TLS13-1-3-2021-06", [true, true, false, false]),
        ("gcm-only", [true, false, true, false]),
        ("intermediate", [true, true, true, true]),
        ("modern", [true, true, false, false]),
        ("post-quantum-preferred", [true, true, true, true]),
        ("post-quantum-required", [false; 4]),
    ]);
    for ((policy, _), address) in scene.listeners.iter().filter(|((_, key), _)| *key == "rsa") {
        let address = address.to_string();
        let fixed = ["s_client", "-connect", &address, "-groups", "X25519:P-256"];
        let takes = expected[policy].into_iter().chain([false; 2]);
        for (offer, takes) in offers.into_iter().zip(takes) {
            let (connected, text) = openssl(&[&fixed[..], offer].concat()).await;
            assert_eq!(connected, takes, "{policy}, {offer:?}: {text}");
            assert!(connected || text.contains("SSL alert number"), "{text}");
        }
    }
}

#[tokio::test]
async fn what_is_explained_of_each_client_is_what_openssl_finds_when_it_offers_the_same() {
    let scene = Scene::new().await;
    // OpenSSL before 3.5 has no ML-KEM.
    let classical: Vec<_> = clients()
        .iter()
        .map(|client| {
            let mut client = client.clone();
            client.groups.retain(|group| !group.contains("MLKEM"));
            client
        })
        .collect();
    let (admitted, refused) = scene.compare(&classical, by_openssl).await;
    assert!(admitted > 150 && refused > 150, "{admitted}, {refused}");
}

#[tokio::test]
async fn what_is_explained_of_each_client_is_what_rustls_finds_when_it_offers_the_same() {
    let scene = Scene::new().await;
    let root = scene
        .gateway
        .client()
        .local_ca_root("internal")
        .await
        .expect("a root");
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(root.as_bytes()) {
        roots.add(root.expect("PEM")).expect("a root");
    }
    let roots = Arc::new(roots);
    let mut reluctant = clients().to_vec();
    for client in &mut reluctant {
        client.groups.reverse();
        client.name.push_str(" with its groups reversed");
    }
    let offering: Vec<_> = clients()
        .iter()
        .chain(&reluctant)
        .filter(|client| by_rustls(client, &roots).is_some())
        .cloned()
        .collect();
    let connect = |client: Client, address| {
        let config = by_rustls(&client, &roots).expect("just seen");
        async move {
            let stream = TcpStream::connect(address)
                .await
                .map_err(|error| error.to_string())?;
            let name = ServerName::try_from("localhost").expect("a name");
            let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
            let stream = stream.map_err(|error| error.to_string())?;
            let session = stream.get_ref().1;
            let group = session.negotiated_key_exchange_group().expect("complete");
            let suite = session.negotiated_cipher_suite().expect("complete");
            let version: Version = suite.version();
            Ok(Live {
                version: version.name().to_owned(),
                cipher_suite: openssl_name(suite),
                group: Element::name(group).to_owned(),
            })
        }
    };
    let (admitted, refused) = scene.compare(&offering, connect).await;
    assert!(admitted > 300 && refused > 100, "{admitted}, {refused}");
    let has_preferred = |client: &&Client| client.groups.last().is_some_and(|group| group.contains("MLKEM"));
    assert!(offering.iter().filter(has_preferred).count() >= 4);
}

/// rustls offering what `client` offers, as far as it has it; nothing where that is not enough for a version.
fn by_rustls(client: &Client, roots: &Arc<RootCertStore>) -> Option<ClientConfig> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    let suites = client.cipher_suites.iter().filter_map(|name| {
        let mut all = SupportedCipherSuite::all().iter().copied();
        all.find(|suite| openssl_name(*suite) == *name)
    });
    provider.cipher_suites = suites.collect();
    provider.kx_groups = client
        .groups
        .iter()
        .filter_map(|name| Group::named(name))
        .collect();
    let versions: Vec<_> = client
        .versions
        .iter()
        .filter_map(|name| Version::named(name))
        .collect();
    if versions.is_empty() {
        return None;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(&versions);
    let mut config = config
        .ok()?
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Some(config)
}

#[tokio::test]
async fn a_changed_policy_of_ones_own_is_in_force_after_a_reload_and_open_connections_stay() {
    let (home, listen, echo) = (Home::new(), free_address(), reload::echo().await);
    let with = |house: &str| {
        let policy = format!("policy = \"house\"\n[policies.house]\nextends = \"base\"\n{house}\n");
        reload::config(
            listen,
            echo,
            &format!("{policy}[policies.base]\nextends = \"intermediate\"\n"),
        )
    };
    let gateway = home.start(&with("")).await;
    let client: TlsClient = client_of(&gateway).await;
    let mut open = client.connect(listen, "localhost").await.expect("connected");
    let tls12 = async || {
        let address = listen.to_string();
        openssl(&["s_client", "-tls1_2", "-connect", &address]).await
    };
    let (connected, text) = tls12().await;
    assert!(connected, "{text}");
    let shown = gateway
        .status_until("has a listener", |status| !status.listeners.is_empty())
        .await;
    assert_eq!(shown.listeners[0].policy.as_deref(), Some("house"));

    home.configure(&with("versions = [\"TLSv1.3\"]"));
    assert_eq!(reloaded(&gateway).await, None);
    let (connected, text) = tls12().await;
    assert!(!connected && text.contains("SSL alert number 70"), "{text}");

    // The policy that it extends counts as well.
    home.configure(&with("").replace("\"intermediate\"", "\"modern\""));
    assert_eq!(reloaded(&gateway).await, None);
    let (connected, text) = tls12().await;
    assert!(!connected && text.contains("SSL alert number 70"), "{text}");

    home.configure(&with("versions = [\"TLSv1.2\"]\ngroups = [\"X25519MLKEM768\"]"));
    let refused = reloaded(&gateway).await.expect("a reason");
    assert!(
        refused.contains("none of its `groups` works with TLSv1.2"),
        "{refused}"
    );
    client.connect(listen, "localhost").await.expect("as before");

    open.write_all(b"still").await.expect("written");
    let mut back = [0; 5];
    open.read_exact(&mut back).await.expect("read");
    assert_eq!(&back, b"still");
}
