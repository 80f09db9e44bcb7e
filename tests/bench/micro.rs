//! Single steps of the data path, by criterion: what they cost, and how that grows with the names.
//! `README.md` says what they are for.

use std::hint::black_box;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use certgate::certificate::{CertificateName, Credential, CredentialPem, KeyType, PrivateKey};
use certgate::config::{
    AlpnMismatch, Authentication, CertificateSelector, ExpiredCrl, ListenerConfig, Protocol, UnknownSni,
};
use certgate::policy;
use certgate::record::{LARGEST_PLAINTEXT, LARGEST_RECORD, Session};
use certgate::tls::{
    CertificateTable, ChallengeTable, Choice, ClientOffer, Decision, Fate, KeyKind, MatchedBy, Offer,
    PublishedCertificates, Selection, ServerTls, Tally, client_hello, select,
};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use rcgen::{CertificateParams, KeyPair};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::server::{Accepted, Acceptor, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, NamedGroup, RootCertStore, ServerConfig, SignatureScheme,
};

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    for names in [10, 10_000, 1_000_000] {
        let many = Many::new(names);
        lookup(&mut criterion, &many);
        decision(&mut criterion, &many);
        swap(&mut criterion, &many);
    }
    tally(&mut criterion);
    for length in [1 << 10, LARGEST_PLAINTEXT, 4 * LARGEST_PLAINTEXT] {
        open(&mut criterion, length);
        seal(&mut criterion, length);
    }
    criterion.final_summary();
}

fn lookup(criterion: &mut Criterion, many: &Many) {
    let table = many.published.load();
    let selection = Selection::new(&[CertificateSelector::All], UnknownSni::Default);
    let kinds = [
        ("exact", &many.exact, MatchedBy::Exact),
        ("wildcard", &many.wildcard, MatchedBy::Wildcard),
        ("unknown", &many.unknown, MatchedBy::Default),
    ];
    let mut group = criterion.benchmark_group("lookup");
    for (kind, asked_for, expected) in kinds {
        let mut asked_for = asked_for.iter().cycle();
        group.bench_function(BenchmarkId::new(kind, many.names), |bencher| {
            bencher.iter(|| {
                let name = asked_for.next().expect("a cycle");
                match select(&table, &selection, &offer(black_box(name))) {
                    Choice::Certificate { by, candidate, .. } if by == expected => {
                        black_box(candidate);
                    }
                    other => panic!("{name}: {other:?}"),
                }
            });
        });
    }
}

fn decision(criterion: &mut Criterion, many: &Many) {
    let listener = listener();
    let policy = policy::built_in(&listener.policy).expect("a built-in policy");
    let tls = ServerTls::build(
        &listener,
        policy,
        None,
        many.published.clone(),
        Arc::new(ChallengeTable::new()),
    );
    let tls = tls.expect("a listener");
    let hellos: Vec<_> = many.exact.iter().take(1000).map(|name| hello(name)).collect();
    let mut hellos = hellos.iter().cycle();
    let mut group = criterion.benchmark_group("decision");
    group.bench_function(BenchmarkId::from_parameter(many.names), |bencher| {
        bencher.iter(|| {
            let accepted = hellos.next().expect("a cycle");
            let decision = tls.decide(&accepted.client_hello());
            assert!(matches!(decision, Decision::Handshake { .. }), "{decision:?}");
            decision
        });
    });
}

/// What it costs to count a ClientHello beside those of the other well-known clients.
fn tally(criterion: &mut Criterion) {
    let hellos: Vec<_> = policy::clients()
        .iter()
        .map(|client| client_hello(client, None, &[b"h2".to_vec(), b"http/1.1".to_vec()]))
        .map(|hello| hello.expect("keys")[RECORD_HEADER..].to_vec())
        .collect();
    let mut hellos = hellos.iter().cycle();
    let mut tally = Tally::default();
    criterion.bench_function("tally", |bencher| {
        bencher.iter(|| {
            let offer = Offer::read(black_box(hellos.next().expect("a cycle")));
            tally.note(
                offer.expect("a hello"),
                Fate::Certificate(KeyKind::Rsa),
                Instant::now,
            );
        });
    });
    assert!(tally.counts().handshakes > 0);
}

/// One certificate of many is replaced, as `publish` does it: the next table, the pointer, the end of the old one.
fn swap(criterion: &mut Criterion, many: &Many) {
    let name = CertificateName::parse("swapped").expect("a name");
    let names = ["swapped.example.test".to_owned()];
    let credentials = [many.credential(&names), many.credential(&names)];
    let mut credentials = credentials.iter().cycle();
    let mut group = criterion.benchmark_group("swap");
    group.bench_function(BenchmarkId::from_parameter(many.names), |bencher| {
        bencher.iter(|| {
            let credential = credentials.next().expect("a cycle").clone();
            let next = many.published.load().with(name.clone(), vec![credential]);
            many.published.publish(next);
        });
    });
}

/// What a turn upward costs without its two system calls.
fn open(criterion: &mut Criterion, length: usize) {
    let (mut client, mut session) = shake_hands();
    let data = vec![b'u'; length];
    let mut plaintext = Vec::new();
    let mut group = criterion.benchmark_group("open");
    group.throughput(Throughput::Bytes(length as u64));
    group.bench_function(BenchmarkId::from_parameter(length), |bencher| {
        bencher.iter_batched(
            || {
                client.writer().write_all(&data).expect("no limit");
                taken_from(&mut client)
            },
            |mut wire| {
                plaintext.clear();
                let opened = session.open(&mut wire, &mut plaintext).expect("good records");
                assert_eq!(opened.consumed, wire.len());
                wire
            },
            BatchSize::SmallInput,
        );
    });
}

/// What a turn downward costs without its two system calls.
fn seal(criterion: &mut Criterion, length: usize) {
    let (_, mut session) = shake_hands();
    let mut buffer = vec![b'd'; 4 * LARGEST_RECORD];
    let mut words = Vec::new();
    let mut group = criterion.benchmark_group("seal");
    group.throughput(Throughput::Bytes(length as u64));
    group.bench_function(BenchmarkId::from_parameter(length), |bencher| {
        bencher.iter(|| {
            if session.has_something_to_say() {
                words.clear();
                session.say(&mut words).expect("a next key");
            }
            let sealed = session.seal(black_box(&mut buffer), length).expect("a key");
            assert!(sealed > length);
        });
    });
}

/// A table with so many names, and names to ask it for.
struct Many {
    names: usize,
    key: PrivateKey,
    pair: KeyPair,
    published: Arc<PublishedCertificates>,
    exact: Vec<String>,
    wildcard: Vec<String>,
    unknown: Vec<String>,
}

impl Many {
    /// Every other name is a wildcard.
    fn new(names: usize) -> Self {
        let key = PrivateKey::generate(KeyType::EcdsaP256).expect("a key");
        let pair = key.to_key_pair().expect("the same key");
        // Never a step to the next in memory, and more of them than a processor's caches hold.
        let asked_for: Vec<_> = (0..names / 2)
            .map(|i| i * 7919 % (names / 2))
            .take(100_000)
            .collect();
        let names_like = |like: fn(usize) -> String| asked_for.iter().map(|i| like(*i)).collect();
        let many = Self {
            names,
            key,
            pair,
            published: Arc::new(PublishedCertificates::new()),
            exact: names_like(|i| format!("n{i}.example.test")),
            wildcard: names_like(|i| format!("www.w{i}.example.test")),
            unknown: names_like(|i| format!("www.u{i}.example.test")),
        };
        let name = |i: usize| match i % 2 {
            0 => format!("n{}.example.test", i / 2),
            _ => format!("*.w{}.example.test", i / 2),
        };
        let all: Vec<_> = (0..names).map(name).collect();
        let mut table = CertificateTable::new();
        for (i, names) in all.chunks(NAMES_EACH).enumerate() {
            let entry = CertificateName::parse(&format!("many-{i}")).expect("a name");
            table = table.with(entry, vec![many.credential(names)]);
        }
        many.published.publish(table);
        many
    }

    fn credential(&self, names: &[String]) -> Credential {
        let params = CertificateParams::new(names).expect("names");
        let leaf = params.self_signed(&self.pair).expect("a certificate");
        let pem = CredentialPem::new(vec![leaf.der().clone()], &self.key);
        Credential::from_pem(&pem).expect("chain and key fit")
    }
}

/// A certificate for each of a million names would take gigabytes; to the index it is all the same.
const NAMES_EACH: usize = 100;

/// Octets before the message.
const RECORD_HEADER: usize = 5;

fn offer(name: &str) -> ClientOffer<'_> {
    ClientOffer {
        server_name: Some(name),
        signature_schemes: &[
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::RSA_PSS_SHA256,
        ],
        cipher_suites: &[CipherSuite::TLS13_AES_128_GCM_SHA256],
        named_groups: Some(&[NamedGroup::X25519, NamedGroup::secp256r1]),
    }
}

fn listener() -> ListenerConfig {
    ListenerConfig {
        name: "web".into(),
        address: ([127, 0, 0, 1], 0).into(),
        protocol: Protocol::Tls,
        enabled: true,
        certificates: vec![CertificateSelector::All],
        unknown_sni: UnknownSni::Default,
        on_demand: None,
        policy: policy::DEFAULT.into(),
        alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
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

/// A client that trusts nobody: its certificate is never looked at.
fn client(name: &str, roots: RootCertStore) -> ClientConnection {
    let provider = policy::built_in(policy::DEFAULT).expect("a policy").provider();
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    let name = ServerName::try_from(name.to_owned()).expect("a server name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
    client.set_buffer_limit(None);
    client
}

/// A ClientHello as the listener has it when it decides.
fn hello(name: &str) -> Accepted {
    let wire = taken_from(&mut client(name, RootCertStore::empty()));
    let mut acceptor = Acceptor::default();
    acceptor.read_tls(&mut &wire[..]).expect("bytes");
    let accepted = acceptor.accept();
    accepted.ok().flatten().expect("a whole ClientHello")
}

/// Both ends of a TLS 1.3 connection with AES-128-GCM.
fn shake_hands() -> (ClientConnection, Session) {
    let pair = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["record.test".to_owned()]).expect("a name");
    let certificate = params.self_signed(&pair).expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).expect("a root");
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], pair.into())
        .expect("chain and key fit");
    config.enable_secret_extraction = true;
    let mut client = client("record.test", roots);
    let mut server = UnbufferedServerConnection::new(Arc::new(config)).expect("a server");
    let mut received = Vec::new();
    loop {
        received.extend(taken_from(&mut client));
        let status = server.process_tls_records(&mut received);
        let discard = status.discard;
        let is_complete = match status.state.expect("a good handshake") {
            ConnectionState::EncodeTlsData(mut message) => {
                let Err(EncodeError::InsufficientSize(needed)) = message.encode(&mut []) else {
                    panic!("an empty message");
                };
                let mut out = vec![0; needed.required_size];
                message.encode(&mut out).expect("as much as it said");
                client.read_tls(&mut &out[..]).expect("bytes");
                client.process_new_packets().expect("a good handshake");
                false
            }
            ConnectionState::TransmitTlsData(message) => {
                message.done();
                false
            }
            ConnectionState::WriteTraffic(_) => true,
            ConnectionState::BlockedHandshake => false,
            other => panic!("{other:?}"),
        };
        received.drain(..discard);
        if is_complete {
            let suite = client.negotiated_cipher_suite().map(|suite| suite.suite());
            assert_eq!(suite, Some(CipherSuite::TLS13_AES_128_GCM_SHA256));
            return (client, Session::new(server).expect("a complete handshake"));
        }
    }
}

fn taken_from(client: &mut ClientConnection) -> Vec<u8> {
    let mut wire = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut wire).expect("memory");
    }
    wire
}
