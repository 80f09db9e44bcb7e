//! Looks at one certificate's name, half an hour after each other.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use certgate_store::{Expect, MemoryStore};

use super::*;
use crate::certificate::{DesiredCertificate, Leaf};
use crate::clock::{Clock, ManualClock, Timestamp};
use crate::config::{Config, Environment};
use crate::dns::{Change, Obstacle};
use crate::gateway::lookout::first_of;
use crate::inventory::{CertificateRecord, CertificateState, Inventory};

const BEGIN: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
const NAME: &str = "www.example.com";
const HALF_HOUR: Duration = Duration::from_secs(1800);
const DAY: Duration = Duration::from_secs(86_400);

/// A certificate that is renewed in two months, and who looks at its name.
struct Scene {
    lookout: Lookout,
    clock: ManualClock,
}

impl Scene {
    async fn new() -> Self {
        let inventory = Inventory::new(Arc::new(MemoryStore::new()));
        let leaf = Leaf {
            names: vec![domain()],
            not_before: BEGIN,
            not_after: BEGIN + 90 * DAY,
            serial: "1".to_owned(),
            issuer: "CN=ca".to_owned(),
            key: "ECDSA P-256".to_owned(),
            fingerprint: "aa".to_owned(),
        };
        let record = CertificateRecord {
            state: CertificateState::Valid,
            current: Some(CurrentCertificate {
                leaf,
                issuer: "ca".to_owned(),
                obtained_at: BEGIN,
                renew_at: Some(BEGIN + 60 * DAY),
                suggested: None,
                ask_at: None,
                revoked: None,
            }),
            ..CertificateRecord::wanted(name())
        };
        let saved = inventory.save_certificate(&record, Expect::Any, None).await;
        saved.expect("the store takes it");
        Self::over(inventory, ManualClock::new(BEGIN))
    }

    fn over(inventory: Inventory, clock: ManualClock) -> Self {
        let lookout = Lookout {
            config: Arc::new(ArcSwap::from_pointee(config())),
            inventory,
            issuers: Arc::default(),
            clock: Arc::new(clock.clone()),
            metrics: Arc::default(),
            events: tokio::sync::broadcast::Sender::new(16),
            claims: Default::default(),
            sightings: Default::default(),
            telling: Default::default(),
        };
        Self { lookout, clock }
    }

    /// As another process finds it.
    fn restarted(&self) -> Self {
        Self::over(self.lookout.inventory.clone(), self.clock.clone())
    }

    /// Looks for so long, and gives the last state.
    async fn looks(&self, time: Duration, found: &Verdict) -> DomainState {
        self.sees(time, &seen(found.clone(), None)).await
    }

    async fn sees(&self, time: Duration, found: &DomainVerdict) -> DomainState {
        let mut state = DomainState::Declared;
        let end = self.clock.now() + time;
        while self.clock.now() < end {
            self.clock.advance(HALF_HOUR);
            let verdicts = vec![found.clone().with_certificate()];
            state = self.lookout.note(&name(), verdicts).await[0].state;
        }
        state
    }

    async fn told(&self) -> Vec<(HookEvent, String)> {
        let notices = self.lookout.inventory.notices(100).await.expect("notices");
        notices
            .into_iter()
            .map(|notice| (notice.event, notice.detail))
            .collect()
    }
}

fn config() -> Config {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("certgate.toml");
    let text = "[gateway]\naddresses = [\"203.0.113.10\"]\n\
                [issuers.internal]\nkind = \"local-ca\"\ncommon_name = \"Test CA\"\n\
                [certificates.www]\ndomains = [\"www.example.com\"]\nissuer = \"internal\"\n\
                [server_groups.app]\nservers = [\"127.0.0.1:8080\"]\n\
                [listeners.web]\naddress = \"127.0.0.1\"\nport = 8443\ncertificates = [\"www\"]\nserver_group = \"app\"\n";
    std::fs::write(&path, text).expect("a file");
    let environment = Environment {
        state_directory: None,
        cores: 1,
    };
    crate::config::load(&path, &environment)
        .expect("it is valid")
        .config
}

fn name() -> CertificateName {
    CertificateName::parse("www").expect("a name")
}

fn domain() -> NamePattern {
    NamePattern::parse(NAME).expect("a name")
}

fn by_local_ca() -> DesiredCertificate {
    DesiredCertificate {
        name: name(),
        domains: vec![domain()],
        issuers: vec!["internal".to_owned()],
        key_type: Default::default(),
        reuse_key: false,
        tags: BTreeMap::new(),
        spare_of: None,
    }
}

fn seen(verdict: Verdict, not_pointed: Option<Verdict>) -> DomainVerdict {
    DomainVerdict {
        domain: domain(),
        reason_text: verdict.reason(),
        verdict,
        state: DomainState::Issuable,
        challenges: vec![ChallengeType::Dns01],
        not_pointed,
        fallback: Default::default(),
        notes: Vec::new(),
        rows: Vec::new(),
    }
}

fn stop() -> Verdict {
    Verdict::Stop {
        obstacles: vec![Obstacle::NoSuchName {
            name: NAME.to_owned(),
        }],
        remedy: vec![Change::Add(format!("{NAME}. IN A 203.0.113.10"))],
        alternative: Vec::new(),
    }
}

fn wait() -> Verdict {
    Verdict::Wait {
        obstacles: vec![Obstacle::NoChallenge {
            name: NAME.to_owned(),
            reasons: vec!["dns-01: BADSIG".to_owned()],
        }],
        until: None,
    }
}

#[tokio::test]
async fn what_is_unknown_for_a_day_is_told_once_and_over_when_it_is_right() {
    let scene = Scene::new().await;
    assert_eq!(scene.looks(DAY, &wait()).await, DomainState::Issued);
    assert!(scene.told().await.is_empty(), "it may be a hitch");
    assert!(scene.lookout.warnings().is_empty() && scene.lookout.hindrances().is_empty());

    assert_eq!(scene.looks(DAY, &wait()).await, DomainState::Drifted);
    let told = scene.told().await;
    let since = BEGIN + HALF_HOUR;
    let expected = format!(
        "{NAME} has a certificate whose renewal would fail: no challenge can be answered for {NAME}: dns-01: BADSIG, so \
         since {since}"
    );
    assert_eq!(told, [(HookEvent::Drifted, expected.clone())]);
    assert!(scene.lookout.warnings()[0].ends_with(&expected));
    assert!(scene.lookout.hindrances()[&name()].reason.contains("BADSIG"));

    assert_eq!(scene.looks(HALF_HOUR, &Verdict::Go).await, DomainState::Issued);
    let told = scene.told().await;
    assert_eq!(told.len(), 2);
    assert_eq!(told[1].0, HookEvent::Restored);
    assert!(scene.lookout.warnings().is_empty());
}

#[tokio::test]
async fn a_break_begins_the_wait_anew() {
    let scene = Scene::new().await;
    for _ in 0..3 {
        scene.looks(DAY, &wait()).await;
        scene.looks(HALF_HOUR, &Verdict::Go).await;
    }
    assert!(scene.told().await.is_empty());
}

#[tokio::test]
async fn a_restart_neither_ends_a_wait_nor_tells_it_again() {
    let mut scene = Scene::new().await;
    for _ in 0..12 {
        scene.looks(4 * HALF_HOUR, &wait()).await;
        scene = scene.restarted();
    }
    assert!(scene.told().await.is_empty());
    assert_eq!(scene.looks(4 * HALF_HOUR, &wait()).await, DomainState::Drifted);
    assert_eq!(scene.told().await.len(), 1);
    let again = scene.restarted();
    assert_eq!(again.looks(HALF_HOUR, &wait()).await, DomainState::Drifted);
    assert_eq!(again.told().await.len(), 1);
}

#[tokio::test]
async fn what_has_drifted_is_not_right_because_nobody_answers() {
    let scene = Scene::new().await;
    assert_eq!(scene.looks(HALF_HOUR, &stop()).await, DomainState::Drifted);
    assert_eq!(scene.looks(HALF_HOUR, &wait()).await, DomainState::Drifted);
    assert_eq!(scene.told().await.len(), 1);
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_and_can_be_renewed_is_told_once_where_it_has_led_here() {
    let (scene, elsewhere) = (Scene::new().await, seen(Verdict::Go, Some(stop())));
    assert_eq!(scene.sees(DAY, &elsewhere).await, DomainState::Issued);
    assert!(scene.told().await.is_empty(), "it may be meant to be there");

    scene.looks(HALF_HOUR, &Verdict::Go).await;
    let scene = scene.restarted();
    assert_eq!(scene.sees(DAY, &elsewhere).await, DomainState::Issued);
    let expected = format!(
        "{NAME} has led here and does not any more, though its certificate can be renewed by dns-01: {NAME} does not exist \
         (NXDOMAIN); to put it right: add: {NAME}. IN A 203.0.113.10"
    );
    assert_eq!(scene.told().await, [(HookEvent::Drifted, expected.clone())]);
    assert!(scene.lookout.warnings()[0].ends_with(&expected));
    assert!(
        scene.lookout.hindrances().is_empty(),
        "it is renewed all the same"
    );

    scene.looks(HALF_HOUR, &Verdict::Go).await;
    let told = scene.told().await;
    assert_eq!(told[1], (HookEvent::Restored, format!("{NAME} leads here again")));
    assert!(scene.lookout.warnings().is_empty());
}

#[tokio::test]
async fn what_was_against_another_issuer_is_over_once_a_local_ca_is_the_first() {
    let scene = Scene::new().await;
    assert_eq!(scene.looks(HALF_HOUR, &stop()).await, DomainState::Drifted);
    let desired = by_local_ca();
    let candidates = first_of(&desired.issuers);
    let scene = scene.restarted();
    scene.clock.advance(HALF_HOUR);
    assert!(scene.lookout.has_told_of(&desired.name).await);
    let look = scene.lookout.check(&desired, &candidates).await.expect("a look");
    assert_eq!((look.issuer.as_str(), look.against), ("internal", None));
    assert_eq!(look.verdicts[0].state, DomainState::Issued);
    let told = scene.told().await;
    assert_eq!(told.len(), 2, "{told:?}");
    let expected =
        format!("{NAME} can be renewed again: DNS is not needed: a local CA signs whatever DNS says");
    assert_eq!(told[1], (HookEvent::Restored, expected));
    assert!(scene.lookout.warnings().is_empty() && scene.lookout.hindrances().is_empty());
}

#[tokio::test]
async fn of_a_look_for_a_local_ca_alone_nothing_is_kept() {
    let scene = Scene::new().await;
    let desired = by_local_ca();
    let candidates = first_of(&desired.issuers);
    let look = scene.lookout.check(&desired, &candidates).await.expect("a look");
    assert_eq!((look.issuer.as_str(), look.against), ("internal", None));
    assert!(look.verdicts.is_empty() && scene.lookout.sightings().is_empty());
    assert!(!scene.lookout.has_told_of(&desired.name).await);
}

#[tokio::test]
async fn where_no_listener_serves_a_name_it_may_lead_anywhere() {
    let scene = Scene::new().await;
    let mut config = config();
    config.listeners.clear();
    scene.lookout.config.store(Arc::new(config));
    scene.looks(HALF_HOUR, &Verdict::Go).await;
    scene.sees(DAY, &seen(Verdict::Go, Some(stop()))).await;
    assert!(scene.told().await.is_empty());
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_is_warned_of_no_more_once_no_listener_serves_it() {
    let (scene, elsewhere) = (Scene::new().await, seen(Verdict::Go, Some(stop())));
    scene.looks(HALF_HOUR, &Verdict::Go).await;
    scene.sees(HALF_HOUR, &elsewhere).await;
    assert_eq!(scene.lookout.warnings().len(), 1);
    let mut config = config();
    config.listeners.clear();
    scene.lookout.config.store(Arc::new(config));
    scene.sees(HALF_HOUR, &elsewhere).await;
    assert!(scene.lookout.warnings().is_empty());
    assert!(scene.lookout.sightings()[&name()].is_good());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_looks_at_once_one_tells() {
    let scene = Arc::new(Scene::new().await);
    let found = vec![seen(stop(), None).with_certificate()];
    let looks = (0..64).map(|_| {
        let (scene, found) = (scene.clone(), found.clone());
        tokio::spawn(async move { scene.lookout.note(&name(), found).await })
    });
    for look in looks.collect::<Vec<_>>() {
        look.await.expect("it ends");
    }
    assert_eq!(scene.told().await.len(), 1);
}

#[tokio::test]
async fn metrics_say_that_a_name_is_issued_as_soon_as_it_is() {
    let scene = Scene::new().await;
    let shows = |state: DomainState| {
        let line = format!("domain=\"{NAME}\",state=\"{}\"}} 1", state.word());
        scene.lookout.metrics.encode().contains(&line)
    };
    scene.lookout.note(&name(), vec![seen(Verdict::Go, None)]).await;
    assert!(shows(DomainState::Issuable));
    scene.lookout.obtained(&name());
    assert!(shows(DomainState::Issued) && !shows(DomainState::Issuable));
}
