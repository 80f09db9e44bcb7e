//! The loop with a real ACME client, and a CA in this process that does as it is told.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use certgate::clock::Clock;
use certgate::config::{AcmeConfig, ChallengeType, RateLimits};
use certgate::inventory::{CertificateRecord, CertificateState};
use certgate::issuer::{AcmeIssuer, Challenge, ChallengeSolver, Limits, SolveError};
use tempfile::TempDir;

use crate::support::acme_double::AcmeDouble;
use crate::world::{DAY, Running, World, certificate};

/// The loop, the client, and a CA that does as it is told.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) ca: AcmeDouble,
    _files: TempDir,
}

/// Says that every answer is in place; the CA takes the client's word.
struct Trusted;

#[async_trait]
impl ChallengeSolver for Trusted {
    async fn present(&self, _: &Challenge) -> Result<(), SolveError> {
        Ok(())
    }
    async fn clear(&self, _: &Challenge) {}
}

/// Longer than any step takes, on whatever machine.
const PATIENT: Limits = Limits {
    connect: Duration::from_secs(30),
    request: Duration::from_secs(30),
    issuance: Duration::from_secs(60),
    first_poll: Duration::from_millis(10),
};

/// For a CA that is waited for in vain.
const HASTY: Limits = Limits {
    issuance: Duration::from_millis(1500),
    ..PATIENT
};

impl Scene {
    pub(crate) async fn new() -> Self {
        Self::with(PATIENT).await
    }

    /// One whose attempts are soon over.
    pub(crate) async fn hasty() -> Self {
        Self::with(HASTY).await
    }

    async fn with(limits: Limits) -> Self {
        let world = World::new(90 * DAY);
        let clock: Arc<dyn Clock> = Arc::new(world.clock.clone());
        let ca = AcmeDouble::start(clock.clone()).await;
        let files = tempfile::tempdir().unwrap();
        let root = files.path().join("root.pem");
        std::fs::write(&root, ca.https_root()).unwrap();
        let config = AcmeConfig {
            directory: ca.directory(),
            contact: Vec::new(),
            challenges: vec![ChallengeType::Http01],
            root_ca_file: Some(root),
            profile: None,
            preferred_chain: None,
            external_account: None,
            rate_limits: RateLimits::None,
            caa_identities: Vec::new(),
            dns: None,
        };
        let inventory = world.inventory.clone();
        let issuer = AcmeIssuer::new("ca", &config, inventory, Arc::new(Trusted), clock, limits);
        world.sign_by(Arc::new(issuer));
        Self {
            world,
            ca,
            _files: files,
        }
    }

    /// What comes of the first attempt for `www`.
    pub(crate) async fn first_attempt(&self) -> (Running, CertificateRecord) {
        self.world.desire([certificate("www")]);
        let running = self.world.start();
        let over = |record: &CertificateRecord| {
            !matches!(
                record.state,
                CertificateState::Wanted | CertificateState::Obtaining { .. }
            )
        };
        (running, self.world.wait_for("www", over).await)
    }
}
