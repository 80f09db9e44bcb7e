//! Ten thousand certificates in a store, of which few fit into memory.

use std::sync::Arc;

use certgate::certificate::{CertificateName, Credential, CredentialPem};
use certgate::clock::{Clock, SystemClock};
use certgate::inventory::{Inventory, Source};
use certgate_store::EmbeddedStore;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::task::JoinSet;

use crate::dns::metrics;
use crate::gateway::{Gateway, Home, free_address, run};
use crate::peer::{TlsClient, backend};
use crate::runtime::request;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_10000_certificates_any_is_served_at_once_in_bounded_memory_and_one_that_changes_at_once() {
    let home = Home::new();
    let authority = Authority::new();
    {
        let (store, _) = EmbeddedStore::open(&home.path("store"), Default::default()).expect("a store");
        let inventory = Inventory::new(Arc::new(store));
        let mut imports = JoinSet::new();
        for number in 0..COUNT {
            let (inventory, pem) = (inventory.clone(), authority.issue(number));
            imports.spawn(async move {
                let pem = CredentialPem::parse(pem.as_bytes()).expect("a chain and a key");
                let credential = Credential::from_pem(&pem).expect("they fit");
                let name = CertificateName::parse(&domain(number)).expect("a name");
                inventory
                    .import(&name, Source::Imported, &pem, &credential, SystemClock.now())
                    .await
                    .expect("imported");
            });
            if imports.len() == 64 {
                imports.join_next().await;
            }
        }
        imports.join_all().await;
    }

    let listen = free_address();
    let config = format!(
        "[runtime]\nworkers = 1\ncertificate_cache = \"1MiB\"\n\
         [server_groups.app]\nservers = [\"{}\"]\n\
         [listeners.web]\naddress = \"{}\"\nport = {}\ncertificates = [\"*\"]\nserver_group = \"app\"\n\
         unknown_sni = \"refuse\"\n",
        backend("hello").await,
        listen.ip(),
        listen.port()
    );
    let gateway = home.start(&config).await;
    let client = TlsClient::trusting(&authority.root());
    // Scattered over all of them, so that none is there because of another.
    for number in (0..COUNT).step_by(97).map(|number| number * 7919 % COUNT) {
        let (answer, leaf) = client.ask(listen, &domain(number)).await.expect("served");
        assert!(answer.contains("hello"), "{answer}");
        assert_eq!(leaf.names.len(), 1);
        assert_eq!(leaf.names[0].to_string(), domain(number));
    }
    let refused = client
        .ask(listen, "nobody.example.test")
        .await
        .expect_err("no such name");
    assert!(refused.to_string().contains("UnrecognisedName"), "{refused}");
    let resident = resident(&gateway);
    println!("{resident} KiB resident with {COUNT} certificates");
    assert!(resident < MOST_RESIDENT, "{resident} KiB");
    let loaded = loaded(&gateway).await;
    assert!(
        (FEWEST_LOADED..=MOST_LOADED).contains(&loaded),
        "{loaded} certificates are loaded"
    );

    // A list comes in parts, and whoever wants all of it gets each once.
    let listed = gateway.client().certificates().await.expect("a list");
    assert_eq!(listed.len(), COUNT);
    assert!(listed.is_sorted_by(|one, other| one.name < other.name));
    let status = gateway.client().status().await.expect("a status");
    assert_eq!(status.certificates.len(), COUNT);
    let (_, _, status) = request(gateway.socket(), "GET /v1/status", &[], b"").await;
    assert_eq!(status["certificates"].as_array().map(Vec::len), Some(1000));
    assert_eq!(status["more_certificates"], true);

    let (_, before) = client.ask(listen, &domain(CHANGED)).await.expect("served");
    let file = home
        .write("changed.pem", &authority.issue(CHANGED))
        .display()
        .to_string();
    let socket = gateway.socket().display().to_string();
    let import = ["cert", "import", &domain(CHANGED), "--certificate", &file];
    let (code, _, errors) = run(&[&import[..], &["--admin", &socket]].concat()).await;
    assert_eq!(code, 0, "{errors}");
    gateway.published(&domain(CHANGED)).await;
    let (_, after) = client.ask(listen, &domain(CHANGED)).await.expect("served");
    assert_ne!(before.fingerprint, after.fingerprint);
}

const COUNT: usize = 10_000;
const CHANGED: usize = 4_711;
/// KiB, of a debug build; all the certificates would take ten times the cache.
const MOST_RESIDENT: u64 = 160 << 10;
/// What fits into the cache of 1 MiB: at 3,000 bytes and its chain each.
const MOST_LOADED: usize = (1 << 20) / 3_000;
const FEWEST_LOADED: usize = MOST_LOADED / 2;

fn domain(number: usize) -> String {
    format!("h{number:05}.example.test")
}

/// Those that are ready to be served have a metric.
async fn loaded(gateway: &Gateway) -> usize {
    let metrics = metrics(gateway).await;
    let each = "certgate_certificate_not_after_timestamp_seconds{";
    metrics.lines().filter(|line| line.starts_with(each)).count()
}

/// KiB.
fn resident(gateway: &Gateway) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.expect("a figure").parse().expect("a number")
}

struct Authority {
    ca: CertifiedIssuer<'static, KeyPair>,
    /// Of every leaf: it is their number that counts.
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = || KeyPair::generate().expect("a key");
        Self {
            ca: CertifiedIssuer::self_signed(params, key()).expect("a root"),
            key: key(),
        }
    }

    fn root(&self) -> String {
        self.ca.pem()
    }

    /// Chain and key.
    fn issue(&self, number: usize) -> String {
        let params = CertificateParams::new([domain(number)]).expect("a name");
        let leaf = params.signed_by(&self.key, &self.ca).expect("signed");
        leaf.pem() + &self.key.serialize_pem()
    }
}
