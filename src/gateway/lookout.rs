//! DNS before an order, and after: what is asked, against what, and what was found last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use tokio::sync::broadcast;

use crate::admin::api;
use crate::cause::with_causes;
use crate::certificate::{CertificateName, DesiredCertificate};
use crate::clock::{Clock, Timestamp};
use crate::config::{ChallengeType, Config, DnsChecks, HookEvent, IssuerConfig};
use crate::dns::{CaIdentity, Conditions, DnsChecker, DomainState, DomainVerdict, Doors};
use crate::dns01::{Claims, Dns01};
use crate::gateway::on_demand::{Asker, may_be_renewed};
use crate::gateway::zones;
use crate::inventory::{Inventory, InventoryError, Notice};
use crate::issuer::ChallengeChoices;
use crate::metrics::Metrics;
use crate::name::NamePattern;
use crate::renewal::{DnsGate, DnsVerdict};

/// Looks names up for orders, for operators and on a schedule.
pub(super) struct Lookout {
    pub(super) config: Arc<ArcSwap<Config>>,
    pub(super) inventory: Inventory,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) events: broadcast::Sender<api::Event>,
    pub(super) claims: Claims,
    pub(super) sightings: Mutex<BTreeMap<CertificateName, Sighting>>,
}

/// What the last look at the names of a certificate brought.
#[derive(Clone, Debug)]
pub(super) struct Sighting {
    pub(super) at: Timestamp,
    pub(super) verdicts: Vec<DomainVerdict>,
}

impl Sighting {
    /// Whether nothing is wrong.
    pub(super) fn is_good(&self) -> bool {
        self.verdicts.iter().all(|verdict| verdict.verdict.allows_order())
    }
}

impl Lookout {
    /// What an order at `issuer` would need for the names of `certificate`.
    pub(super) async fn conditions(
        &self,
        certificate: Option<&CertificateName>,
        issuer: Option<&str>,
    ) -> Result<Conditions, InventoryError> {
        let config = self.config.load();
        let (checks, ownership) = match certificate {
            Some(certificate) => config.dns_checks(certificate),
            None => (
                DnsChecks::default(),
                config
                    .gateway
                    .as_ref()
                    .and_then(|gateway| gateway.ownership.as_deref()),
            ),
        };
        let mut conditions = Conditions {
            ca: None,
            challenges: None,
            doors: Doors::of(&config),
            ownership: ownership.map(ToOwned::to_owned),
            off: checks == DnsChecks::Off,
        };
        if let Some(issuer) = issuer
            && let Some(IssuerConfig::Acme(acme)) = config.issuers.get(issuer)
        {
            let known = self.inventory.account(issuer).await?;
            let known = known.filter(|known| known.value.directory == acme.directory);
            conditions.ca = Some(CaIdentity {
                domains: acme.caa_identities.iter().map(ToString::to_string).collect(),
                account: known.and_then(|known| account_url(known.value.credentials.expose())),
            });
            conditions.challenges = Some(acme.challenges.clone());
        }
        Ok(conditions)
    }

    /// Looks at names that an operator asks about, each as the certificate that holds it has it.
    pub(super) async fn check_names(
        &self,
        names: &[NamePattern],
        issuer: Option<&str>,
        desired: &[DesiredCertificate],
    ) -> Result<Vec<DomainVerdict>, InventoryError> {
        let mut groups = BTreeMap::<_, Vec<_>>::new();
        for (place, name) in names.iter().enumerate() {
            let of = desired.iter().find(|desired| desired.domains.contains(name));
            let issuer = issuer.map(ToOwned::to_owned).or_else(|| self.issuer_of(of));
            groups
                .entry((of.map(|of| &of.name), issuer))
                .or_default()
                .push((place, name.clone()));
        }
        let mut found = BTreeMap::new();
        for ((certificate, issuer), group) in groups {
            let conditions = self.conditions(certificate, issuer.as_deref()).await?;
            let (places, patterns): (Vec<_>, Vec<_>) = group.into_iter().unzip();
            let mut verdicts = self.look(&patterns, &conditions, issuer.as_deref()).await;
            if let Some(certificate) = certificate {
                verdicts = self.with_certificates(certificate, verdicts).await?;
                // What an operator has put right is right at once, and not with the next round.
                self.note(certificate, &verdicts).await;
            }
            found.extend(places.into_iter().zip(verdicts));
        }
        Ok(found.into_values().collect())
    }

    /// The issuer that would be asked: the first of the certificate, or the only one there is.
    fn issuer_of(&self, desired: Option<&DesiredCertificate>) -> Option<String> {
        let config = self.config.load();
        let mut all = config.issuers.keys();
        match desired {
            Some(desired) => desired
                .issuers
                .iter()
                .find(|issuer| config.is_acme(issuer))
                .cloned(),
            None => all.next().filter(|_| all.next().is_none()).cloned(),
        }
    }

    /// Looks at the names of `desired`, as an order at `issuer` would need them, and writes down what is found.
    pub(super) async fn check(
        &self,
        desired: &DesiredCertificate,
        issuer: &str,
    ) -> Result<Vec<DomainVerdict>, InventoryError> {
        let conditions = self.conditions(Some(&desired.name), Some(issuer)).await?;
        // An address is where it is; DNS has nothing to say of it.
        let names = desired.domains.iter().filter(|name| name.address().is_none());
        let verdicts = self
            .look(&names.cloned().collect::<Vec<_>>(), &conditions, Some(issuer))
            .await;
        let verdicts = self.with_certificates(&desired.name, verdicts).await?;
        self.note(&desired.name, &verdicts).await;
        Ok(verdicts)
    }

    /// Whether `desired`, which nobody wants yet, could be ordered at `issuer`; nothing of it is written down.
    pub(super) async fn first_look(&self, desired: &DesiredCertificate, issuer: &str) -> DnsVerdict {
        let look = async {
            let conditions = self.conditions(Some(&desired.name), Some(issuer)).await?;
            Ok(self.look(&desired.domains, &conditions, Some(issuer)).await)
        };
        self.order(issuer, desired, look).await
    }

    /// What a look at the names of `desired` means for an order at `issuer`; a CA of our own does not look.
    async fn order(
        &self,
        issuer: &str,
        desired: &DesiredCertificate,
        look: impl Future<Output = Result<Vec<DomainVerdict>, InventoryError>>,
    ) -> DnsVerdict {
        let config = self.config.load_full();
        if let Some(IssuerConfig::LocalCa(_)) = config.issuers.get(issuer) {
            return DnsVerdict::Go {
                challenges: ChallengeChoices::new(),
            };
        }
        match look.await {
            Ok(verdicts) => verdict(&config, desired, &verdicts),
            Err(error) => DnsVerdict::No {
                reason: error.to_string(),
                remedy: Vec::new(),
                until: None,
            },
        }
    }

    async fn look(
        &self,
        names: &[NamePattern],
        conditions: &Conditions,
        issuer: Option<&str>,
    ) -> Vec<DomainVerdict> {
        let config = self.config.load_full();
        let checker = DnsChecker::new(config.gateway.as_ref());
        let verdicts = checker.check_all(names, conditions, self.clock.now()).await;
        let zones = issuer.filter(|_| !conditions.off);
        let zones = zones
            .and_then(|issuer| zones::dns01(&config, issuer, &self.inventory, &self.clock, &self.claims));
        let Some(zones) = &zones else {
            return verdicts;
        };
        stream::iter(verdicts)
            .map(|verdict| rehearsed(zones, verdict))
            .buffered(AT_A_TIME)
            .collect()
            .await
    }

    async fn with_certificates(
        &self,
        certificate: &CertificateName,
        verdicts: Vec<DomainVerdict>,
    ) -> Result<Vec<DomainVerdict>, InventoryError> {
        let record = self.inventory.certificate(certificate).await?;
        let leaf = record
            .and_then(|record| record.value.current)
            .map(|current| current.leaf);
        let now = self.clock.now();
        let holds = |verdict: &DomainVerdict| {
            let leaf = leaf.as_ref().filter(|leaf| leaf.not_after > now);
            leaf.is_some_and(|leaf| leaf.names.contains(&verdict.domain))
        };
        let certified = verdicts.into_iter().map(|verdict| match holds(&verdict) {
            true => verdict.with_certificate(),
            false => verdict,
        });
        Ok(certified.collect())
    }

    async fn has_certificate(&self, certificate: &CertificateName) -> bool {
        let record = self.inventory.certificate(certificate).await;
        record
            .ok()
            .flatten()
            .is_some_and(|record| record.value.current.is_some())
    }

    async fn note(&self, certificate: &CertificateName, verdicts: &[DomainVerdict]) {
        for verdict in verdicts {
            let (certificate, domain) = (certificate.as_str(), verdict.domain.to_string());
            let states = DomainState::ALL.map(|state| (state.word(), state == verdict.state));
            self.metrics
                .dns_checked(certificate, &domain, verdict.verdict.allows_order());
            self.metrics.domain_state(certificate, &domain, &states);
        }
        self.remember(certificate, verdicts);
        if self.is_enforced(certificate)
            && let Err(error) = self.tell_drift(certificate, verdicts).await
        {
            tracing::warn!(%certificate, %error, "whether DNS has changed is told with the next look");
        }
    }

    /// Tells what has become otherwise since it was last told, before a restart perhaps.
    async fn tell_drift(
        &self,
        certificate: &CertificateName,
        verdicts: &[DomainVerdict],
    ) -> Result<(), InventoryError> {
        let before = self.inventory.told_drifted(certificate).await?;
        let (mut drifted, mut news) = (before.clone(), Vec::new());
        for verdict in verdicts {
            let domain = &verdict.domain;
            match (before.contains(domain), verdict.state == DomainState::Drifted) {
                (false, true) => {
                    drifted.insert(domain.clone());
                    let detail = drift_text(verdict);
                    tracing::warn!(%certificate, "{detail}");
                    news.push((HookEvent::Drifted, detail));
                }
                (true, false) => {
                    drifted.remove(domain);
                    let detail = format!("{domain} is right in DNS again");
                    tracing::info!(%certificate, "{detail}");
                    news.push((HookEvent::Restored, detail));
                }
                _ => {}
            }
        }
        if news.is_empty() {
            return Ok(());
        }
        let record = self.inventory.certificate(certificate).await?;
        let current = record.and_then(|record| record.value.current);
        let notice = |(event, detail)| Notice {
            leaf: current.as_ref().map(|current| current.leaf.clone()),
            next_attempt: current.as_ref().and_then(|current| current.renew_at),
            ..Notice::new(event, certificate.clone(), self.clock.now(), detail)
        };
        let notices: Vec<_> = news.into_iter().map(notice).collect();
        self.inventory
            .tell_drifted(certificate, &drifted, &notices)
            .await?;
        for notice in notices {
            // Nobody watching is no error.
            let _ = self.events.send(api::Event {
                at: notice.at,
                certificate: notice.certificate,
                kind: notice.event.to_string(),
                detail: notice.detail,
            });
        }
        Ok(())
    }

    /// Whether a renewal will be held back by what DNS says. Elsewhere nothing of it is worth an alarm.
    fn is_enforced(&self, certificate: &CertificateName) -> bool {
        self.config.load().dns_checks(certificate).0 == DnsChecks::Enforce
    }

    /// Puts `verdicts` in the place of what was found of the same names before.
    fn remember(&self, certificate: &CertificateName, verdicts: &[DomainVerdict]) {
        let at = self.clock.now();
        let mut sightings = self.sightings();
        let Some(known) = sightings.get_mut(certificate) else {
            let verdicts = verdicts.to_vec();
            sightings.insert(certificate.clone(), Sighting { at, verdicts });
            return;
        };
        for verdict in verdicts {
            match known
                .verdicts
                .iter_mut()
                .find(|other| other.domain == verdict.domain)
            {
                Some(other) => other.clone_from(verdict),
                None => known.verdicts.push(verdict.clone()),
            }
        }
        known.at = at;
    }

    /// What was found last.
    pub(super) fn sightings(&self) -> MutexGuard<'_, BTreeMap<CertificateName, Sighting>> {
        self.sightings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what is no longer wanted.
    pub(super) fn keep_only(&self, desired: &[DesiredCertificate]) {
        let mut wanted: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for desired in desired {
            wanted.insert(&desired.name, desired.domains.iter().collect());
        }
        self.sightings().retain(|name, sighting| {
            let domains = wanted.get(name);
            for verdict in &sighting.verdicts {
                if !domains.is_some_and(|domains| domains.contains(&verdict.domain)) {
                    let words = DomainState::ALL.map(DomainState::word);
                    self.metrics
                        .forget_domain(name.as_str(), &verdict.domain.to_string(), &words);
                }
            }
            sighting
                .verdicts
                .retain(|verdict| domains.is_some_and(|domains| domains.contains(&verdict.domain)));
            domains.is_some()
        });
    }

    /// What an operator should see to long before a renewal fails.
    pub(super) fn warnings(&self) -> Vec<String> {
        let sightings = self.sightings();
        let alarming = sightings.iter().filter(|(name, _)| self.is_enforced(name));
        let drifted = alarming.flat_map(|(name, sighting)| {
            let drifted = sighting.verdicts.iter();
            drifted
                .filter(|verdict| verdict.state == DomainState::Drifted)
                .map(move |verdict| {
                    let text = drift_text(verdict);
                    format!("certificate `{name}`, seen at {}: {text}", sighting.at)
                })
        });
        drifted.collect()
    }
}

/// The look at DNS before an order from a CA of the world; a CA of our own does not look. What was obtained on demand is
/// asked about as well before it is renewed.
pub(super) struct Gate {
    pub(super) lookout: Arc<Lookout>,
    pub(super) asker: Arc<Asker>,
}

#[async_trait]
impl DnsGate for Gate {
    async fn check(&self, desired: &DesiredCertificate, issuer: &str) -> DnsVerdict {
        let lookout = &self.lookout;
        if desired.name.is_on_demand() && lookout.has_certificate(&desired.name).await {
            let config = lookout.config.load_full();
            if let Err(reason) = may_be_renewed(&config, &self.asker, desired).await {
                return DnsVerdict::No {
                    reason,
                    remedy: Vec::new(),
                    until: None,
                };
            }
        }
        lookout
            .order(issuer, desired, lookout.check(desired, issuer))
            .await
    }
}

/// What is found of all the names of `desired` as one verdict.
fn verdict(config: &Config, desired: &DesiredCertificate, verdicts: &[DomainVerdict]) -> DnsVerdict {
    let choices = verdicts.iter().filter(|verdict| !verdict.challenges.is_empty());
    let challenges = choices.map(|verdict| (verdict.domain.clone(), verdict.challenges.clone()));
    let challenges: ChallengeChoices = challenges.collect();
    let against: Vec<_> = verdicts
        .iter()
        .filter(|verdict| !verdict.verdict.allows_order())
        .collect();
    if against.is_empty() {
        return DnsVerdict::Go { challenges };
    }
    let reasons: Vec<_> = against
        .iter()
        .map(|verdict| verdict.reason_text.as_str())
        .collect();
    let reason = reasons.join("; ");
    if config.dns_checks(&desired.name).0 == DnsChecks::Advisory {
        tracing::warn!(certificate = %desired.name, reason, "ordered all the same: `dns_checks` is advisory");
        return DnsVerdict::Go { challenges };
    }
    let changes = against.iter().flat_map(|verdict| verdict.verdict.remedy());
    DnsVerdict::No {
        reason,
        remedy: changes.map(ToString::to_string).collect(),
        // Of several, the last; but where one has to be put right by hand, nobody knows.
        until: against
            .iter()
            .map(|verdict| verdict.verdict.until())
            .collect::<Option<Vec<_>>>()
            .and_then(|all| all.into_iter().max()),
    }
}

/// The verdict with what the provider of dns-01 would do for it.
async fn rehearsed(zones: &Dns01, mut verdict: DomainVerdict) -> DomainVerdict {
    if !verdict.challenges.contains(&ChallengeType::Dns01) {
        return verdict;
    }
    match zones.rehearse(verdict.domain.base()).await {
        Ok(way) => {
            verdict
                .notes
                .push(format!("{}: {way}", ChallengeType::Dns01.word()));
            verdict
        }
        Err(error) => verdict.without_dns01(&with_causes(&error), error.remedy()),
    }
}

fn drift_text(verdict: &DomainVerdict) -> String {
    let changes: Vec<_> = verdict.verdict.remedy().iter().map(ToString::to_string).collect();
    let remedy = match changes.is_empty() {
        true => String::new(),
        false => format!("; to put it right: {}", changes.join("; ")),
    };
    format!(
        "{} has a certificate whose renewal would fail: {}{remedy}",
        verdict.domain, verdict.reason_text
    )
}

/// The account's URL in what instant-acme keeps of it; the key beside it is not read.
fn account_url(credentials: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Credentials {
        id: String,
    }
    serde_json::from_str::<Credentials>(credentials)
        .ok()
        .map(|credentials| credentials.id)
}

/// Names whose provider is asked side by side.
const AT_A_TIME: usize = 8;
