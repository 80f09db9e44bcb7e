//! An issuer, its inventory and everything that it asks of others.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use certgate::certificate::{CertificateName, CredentialPem, DesiredCertificate, KeyType};
use certgate::clock::{Clock, ManualClock, Timestamp};
use certgate::config::{AcmeConfig, ChallengeType, RateLimits};
use certgate::inventory::{Inventory, OrderRecord};
use certgate::issuer::{
    AcmeIssuer, Challenge, ChallengeChoices, ChallengeSolver, IssueError, IssueRequest, Issuer, Limits,
    Progress, Round, SolveError, Step,
};
use certgate::name::{DnsName, NamePattern};
use certgate_store::{Lease, MemoryStore};

use crate::support::acme_double::AcmeDouble;

/// Longer than any step takes, on whatever machine.
const PATIENT: Limits = Limits {
    connect: Duration::from_secs(30),
    request: Duration::from_secs(30),
    issuance: Duration::from_secs(60),
    first_poll: Duration::from_millis(10),
};

/// For a CA that is waited for in vain.
pub(crate) const HASTY: Limits = Limits {
    connect: Duration::from_millis(500),
    request: Duration::from_millis(700),
    issuance: Duration::from_millis(1800),
    first_poll: Duration::from_millis(10),
};

/// One gateway and its CA.
pub(crate) struct Gateway {
    pub ca: AcmeDouble,
    pub clock: ManualClock,
    pub inventory: Inventory,
    pub solver: Arc<Answers>,
    pub steps: Steps,
    pub config: AcmeConfig,
    pub limits: Limits,
    /// What is known to work before the CA is asked.
    pub choices: ChallengeChoices,
    files: tempfile::TempDir,
}

impl Gateway {
    pub(crate) async fn start() -> Self {
        let clock = ManualClock::new(Timestamp::from_unix_seconds(1_795_219_200));
        let ca = AcmeDouble::start(Arc::new(clock.clone())).await;
        let files = tempfile::tempdir().unwrap();
        let root: PathBuf = files.path().join("root.pem");
        std::fs::write(&root, ca.https_root()).unwrap();
        let config = AcmeConfig {
            directory: ca.directory(),
            contact: vec!["mailto:ops@example.com".to_owned()],
            challenges: vec![ChallengeType::TlsAlpn01, ChallengeType::Http01],
            root_ca_file: Some(root),
            profile: None,
            preferred_chain: None,
            external_account: None,
            rate_limits: RateLimits::None,
            caa_identities: Vec::new(),
            dns: None,
        };
        Self {
            ca,
            clock,
            inventory: Inventory::new(Arc::new(MemoryStore::new())),
            solver: Arc::default(),
            steps: Steps::default(),
            config,
            limits: PATIENT,
            choices: ChallengeChoices::new(),
            files,
        }
    }

    /// An issuer as a process that has just started has it.
    pub(crate) fn issuer(&self) -> AcmeIssuer {
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        AcmeIssuer::new(
            "double",
            &self.config,
            self.inventory.clone(),
            self.solver.clone(),
            clock,
            self.limits,
        )
    }

    pub(crate) async fn lease(&self, certificate: &str) -> Lease {
        let name = format!("certificate/{certificate}");
        self.inventory
            .lease(&name, Duration::from_secs(600))
            .await
            .unwrap()
            .unwrap()
    }

    /// One attempt by `issuer`, under a lease of its own.
    pub(crate) async fn attempt(
        &self,
        issuer: &dyn Issuer,
        desired: &DesiredCertificate,
    ) -> Result<CredentialPem, IssueError> {
        let lease = self.lease(desired.name.as_str()).await;
        let request = IssueRequest {
            desired,
            lease: &lease,
            replaces: None,
            challenges: &self.choices,
            progress: &self.steps,
        };
        let result = issuer.issue(&request).await;
        self.inventory.release_lease(lease).await.unwrap();
        result
    }

    /// One attempt by a process that has just started.
    pub(crate) async fn issue(&self, desired: &DesiredCertificate) -> Result<CredentialPem, IssueError> {
        self.attempt(&self.issuer(), desired).await
    }

    /// An attempt that ends as a crash ends it, as soon as `moment` has come.
    pub(crate) async fn crash_at(&self, desired: &DesiredCertificate, moment: impl Future<Output = ()>) {
        let issuer = self.issuer();
        let lease = self.lease(desired.name.as_str()).await;
        let request = IssueRequest {
            desired,
            lease: &lease,
            replaces: None,
            challenges: &self.choices,
            progress: &self.steps,
        };
        tokio::select! {
            result = issuer.issue(&request) => panic!("it came to an end: {result:?}"),
            () = moment => {}
        }
        self.inventory.release_lease(lease).await.unwrap();
    }

    pub(crate) async fn journal(&self, desired: &DesiredCertificate) -> Option<OrderRecord> {
        self.inventory.order(&desired.name).await.unwrap()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.files.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

pub(crate) fn desired(name: &str, domains: &[&str]) -> DesiredCertificate {
    DesiredCertificate {
        name: CertificateName::parse(name).unwrap(),
        domains: domains
            .iter()
            .map(|domain| NamePattern::parse(domain).unwrap())
            .collect(),
        issuers: vec!["double".to_owned()],
        key_type: KeyType::EcdsaP256,
        reuse_key: false,
        tags: BTreeMap::new(),
        spare_of: None,
    }
}

pub(crate) fn www() -> DesiredCertificate {
    desired("www", &["www.example.com", "example.com"])
}

/// Keeps the answers that are in place.
#[derive(Default)]
pub(crate) struct Answers {
    pub in_place: Mutex<Vec<Challenge>>,
    pub ever: Mutex<Vec<(String, ChallengeType)>>,
    /// Fail.
    pub refuse: AtomicBool,
    /// Never come to an end.
    pub hold: AtomicBool,
    /// Say yes, and give no answer.
    pub lose: AtomicBool,
    /// So many can be in place at a time; 0 for any number.
    pub at_a_time: AtomicUsize,
    /// Held by the order that has answers in place, where these are not many.
    pub turn: Arc<tokio::sync::Mutex<()>>,
    /// The most that were in place at a time.
    pub most: AtomicUsize,
}

impl Answers {
    pub(crate) fn presented(&self) -> Vec<(String, ChallengeType)> {
        self.ever.lock().unwrap().clone()
    }

    pub(crate) fn left(&self) -> usize {
        self.in_place.lock().unwrap().len()
    }
}

#[async_trait]
impl ChallengeSolver for Answers {
    async fn round(&self, challenges: &[Challenge]) -> Result<Round, (DnsName, SolveError)> {
        let (number, turn) = match self.at_a_time.load(Ordering::SeqCst) {
            0 => (challenges.len(), None),
            number => (number, Some(self.turn.clone().lock_owned().await)),
        };
        Ok(Round {
            challenges: challenges.iter().take(number).cloned().collect(),
            turn: Box::new(turn),
        })
    }

    async fn present(&self, challenge: &Challenge) -> Result<(), SolveError> {
        if self.refuse.load(Ordering::SeqCst) {
            let reason = "there is no listener for it".to_owned();
            return Err(SolveError { reason });
        }
        if !self.lose.load(Ordering::SeqCst) {
            let mut in_place = self.in_place.lock().unwrap();
            in_place.push(challenge.clone());
            self.most.fetch_max(in_place.len(), Ordering::SeqCst);
        }
        self.ever
            .lock()
            .unwrap()
            .push((challenge.domain.to_string(), challenge.kind));
        if self.hold.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    async fn clear(&self, challenge: &Challenge) {
        self.in_place.lock().unwrap().retain(|kept| kept != challenge);
    }
}

/// Keeps the steps.
#[derive(Default)]
pub(crate) struct Steps(Mutex<Vec<String>>);

impl Steps {
    pub(crate) fn taken(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Progress for Steps {
    fn step(&self, _: &CertificateName, step: Step) {
        self.0.lock().unwrap().push(step.to_string());
    }
}

/// Waits for a state, not for a time.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let reached = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), reached)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}
