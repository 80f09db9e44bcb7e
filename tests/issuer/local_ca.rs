//! A CA of the gateway's own, seen with the eyes of its clients.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use certgate::certificate::{Credential, CredentialPem, DesiredCertificate, KeyType};
use certgate::clock::{Clock, ManualClock, Timestamp};
use certgate::config::LocalCaConfig;
use certgate::inventory::Inventory;
use certgate::issuer::{FailureClass, IssueError, IssueRequest, Issuer, LocalCa};
use certgate::name::DnsName;
use certgate_store::MemoryStore;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::fixture::{Steps, desired};

pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// A CA and its time.
pub(crate) struct World {
    pub(crate) clock: ManualClock,
    pub(crate) config: LocalCaConfig,
    inventory: Inventory,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            clock: ManualClock::new(Timestamp::from_unix_seconds(1_795_219_200)),
            config: LocalCaConfig {
                common_name: "Example Internal CA".to_owned(),
                permitted_domains: Vec::new(),
                certificate_lifetime: 30 * DAY,
            },
            inventory: Inventory::new(Arc::new(MemoryStore::new())),
        }
    }

    /// The CA as the configuration has it now.
    pub(crate) fn ca(&self) -> LocalCa {
        let clock = Arc::new(self.clock.clone());
        LocalCa::new("internal", &self.config, self.inventory.clone(), clock)
    }

    async fn issue(&self, wanted: &DesiredCertificate) -> Result<CredentialPem, IssueError> {
        let lease = self
            .inventory
            .lease("test", Duration::from_secs(60))
            .await
            .unwrap()
            .unwrap();
        let request = IssueRequest {
            desired: wanted,
            lease: &lease,
            replaces: None,
            challenges: &Default::default(),
            progress: &Steps::default(),
        };
        let result = self.ca().issue(&request).await;
        self.inventory.release_lease(lease).await.unwrap();
        result
    }

    /// Whether OpenSSL, with the root alone, takes the chain for `name` now.
    fn openssl_verifies(&self, pem: &CredentialPem, root: &str, name: &str) -> bool {
        let files = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let path = files.path().join(file);
            std::fs::write(&path, text).unwrap();
            path
        };
        let output = Command::new("openssl")
            .args([
                "verify",
                "-x509_strict",
                "-purpose",
                "sslserver",
                "-verify_hostname",
                name,
            ])
            .args(["-attime", &self.clock.now().unix_seconds().to_string()])
            .arg("-CAfile")
            .arg(write("root.pem", root))
            .arg("-untrusted")
            .arg(write("chain.pem", &pem.chain_to_pem()))
            .arg(write("leaf.pem", &pem.chain_to_pem()))
            .output()
            .expect("this test needs openssl: apt-get install openssl");
        output.status.success()
    }
}

#[tokio::test]
async fn openssl_accepts_every_kind_of_key_with_the_exported_root_alone() {
    let world = World::new();
    let root = world.ca().root_pem().await.unwrap();
    for key_type in [KeyType::EcdsaP256, KeyType::EcdsaP384, KeyType::Rsa2048] {
        let mut wanted = desired("www", &["localhost", "*.example.test"]);
        wanted.key_type = key_type;
        let pem = world.issue(&wanted).await.unwrap();
        assert_eq!(pem.chain().len(), 2);
        assert!(world.openssl_verifies(&pem, &root, "localhost"), "{key_type}");
        assert!(
            world.openssl_verifies(&pem, &root, "a.example.test"),
            "{key_type}"
        );
        assert!(!world.openssl_verifies(&pem, &root, "example.test"), "{key_type}");
    }
}

#[tokio::test]
async fn a_leaf_says_what_it_should() {
    let world = World::new();
    let wanted = desired("www", &["localhost"]);
    let first = world.issue(&wanted).await.unwrap();
    let (_, leaf) = X509Certificate::from_der(&first.chain()[0]).unwrap();
    assert!(leaf.subject().iter().next().is_none());
    assert!(leaf.subject_alternative_name().unwrap().unwrap().critical);
    assert!(!leaf.is_ca());
    let usage = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && !usage.client_auth && !usage.any);
    assert_eq!(leaf.raw_serial().len(), 16);

    let credential = Credential::from_pem(&first).unwrap();
    assert_eq!(credential.leaf().not_after, world.clock.now() + 30 * DAY);
    assert_eq!(
        credential.leaf().not_before,
        world.clock.now() - Duration::from_secs(3600)
    );
    let second = Credential::from_pem(&world.issue(&wanted).await.unwrap()).unwrap();
    assert_ne!(second.leaf().serial, credential.leaf().serial);
}

#[tokio::test]
async fn a_lifetime_of_ten_minutes_is_backdated_by_one() {
    let mut world = World::new();
    world.config.certificate_lifetime = Duration::from_secs(600);
    let pem = world.issue(&desired("www", &["localhost"])).await.unwrap();
    let credential = Credential::from_pem(&pem).unwrap();
    assert_eq!(credential.leaf().lifetime(), Duration::from_secs(660));
}

#[tokio::test]
async fn nodes_that_begin_at_once_agree_on_one_root() {
    let world = World::new();
    let nodes: Vec<_> = (0..8).map(|_| world.ca()).collect();
    let roots = futures_util::future::join_all(nodes.iter().map(LocalCa::root_pem)).await;
    let roots: Vec<_> = roots.into_iter().map(Result::unwrap).collect();
    assert!(roots.iter().all(|root| *root == roots[0]));
}

#[tokio::test]
async fn a_name_outside_the_permitted_domains_is_refused_and_said_so() {
    let mut world = World::new();
    world.config.permitted_domains = vec![DnsName::parse("corp.example").unwrap()];
    let error = world
        .issue(&desired("www", &["www.corp.example", "www.example.com"]))
        .await
        .unwrap_err();
    assert_eq!(error.class(), FailureClass::Stop);
    assert!(
        error.to_string().contains("`www.example.com`") && error.to_string().contains("corp.example"),
        "{error}"
    );
}

#[tokio::test]
async fn the_constraint_is_in_the_issuing_ca_and_follows_the_configuration() {
    let mut world = World::new();
    let root = world.ca().root_pem().await.unwrap();
    let unconstrained = world.inventory.local_ca("internal").await.unwrap().unwrap().value;
    world.config.permitted_domains = ["corp.example", "a.example"]
        .map(|name| DnsName::parse(name).unwrap())
        .to_vec();
    let pem = world.issue(&desired("www", &["www.corp.example"])).await.unwrap();
    let (_, issuing) = X509Certificate::from_der(&pem.chain()[1]).unwrap();
    let constraints = issuing.name_constraints().unwrap().unwrap();
    assert!(constraints.critical);
    assert_eq!(constraints.value.permitted_subtrees.as_ref().unwrap().len(), 2);
    assert_eq!(
        issuing
            .basic_constraints()
            .unwrap()
            .unwrap()
            .value
            .path_len_constraint,
        Some(0)
    );
    assert!(world.openssl_verifies(&pem, &root, "www.corp.example"));

    let constrained = world.inventory.local_ca("internal").await.unwrap().unwrap();
    assert_ne!(
        constrained.value.issuing.certificate,
        unconstrained.issuing.certificate
    );
    assert_eq!(constrained.value.root.certificate, unconstrained.root.certificate);
    world.issue(&desired("www", &["www.corp.example"])).await.unwrap();
    let again = world.inventory.local_ca("internal").await.unwrap().unwrap();
    assert_eq!(again.revision, constrained.revision);
}

#[tokio::test]
async fn nothing_outlives_what_signed_it() {
    let world = World::new();
    let root = world.ca().root_pem().await.unwrap();
    let wanted = desired("www", &["localhost"]);
    for _ in 0..40 {
        let pem = world.issue(&wanted).await.unwrap();
        let leaf = Credential::from_pem(&pem).unwrap().leaf().clone();
        let (_, issuing) = X509Certificate::from_der(&pem.chain()[1]).unwrap();
        assert!(leaf.not_after.unix_seconds() <= issuing.validity().not_after.timestamp());
        assert!(world.openssl_verifies(&pem, &root, "localhost"));
        world.clock.advance(90 * DAY);
    }
    world.clock.advance(60 * DAY);
    let pem = world.issue(&wanted).await.unwrap();
    let renewed = world.ca().root_pem().await.unwrap();
    assert_ne!(renewed, root);
    assert!(world.openssl_verifies(&pem, &renewed, "localhost"));
}
