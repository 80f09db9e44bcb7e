//! DNS before an order, and after: what is asked, against what, and what was found last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use serde::Deserialize;
use tokio::sync::broadcast;

use crate::admin::api;
use crate::certificate::{CertificateName, DesiredCertificate};
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, DnsChecks, IssuerConfig};
use crate::dns::{CaIdentity, Conditions, DnsChecker, DomainState, DomainVerdict, Doors};
use crate::inventory::{Inventory, InventoryError};
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
            let mut verdicts = self.look(&patterns, &conditions).await;
            if let Some(certificate) = certificate {
                verdicts = self.with_certificates(certificate, verdicts).await?;
                // What an operator has put right is right at once, and not with the next round.
                self.note(certificate, &verdicts);
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
        let verdicts = self.look(&names.cloned().collect::<Vec<_>>(), &conditions).await;
        let verdicts = self.with_certificates(&desired.name, verdicts).await?;
        self.note(&desired.name, &verdicts);
        Ok(verdicts)
    }

    async fn look(&self, names: &[NamePattern], conditions: &Conditions) -> Vec<DomainVerdict> {
        let checker = DnsChecker::new(self.config.load().gateway.as_ref());
        checker.check_all(names, conditions, self.clock.now()).await
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

    fn note(&self, certificate: &CertificateName, verdicts: &[DomainVerdict]) {
        for verdict in verdicts {
            let (certificate, domain) = (certificate.as_str(), verdict.domain.to_string());
            let states = DomainState::ALL.map(|state| (state.word(), state == verdict.state));
            self.metrics
                .dns_checked(certificate, &domain, verdict.verdict.allows_order());
            self.metrics.domain_state(certificate, &domain, &states);
        }
        let before = self.remember(certificate, verdicts);
        if !self.is_enforced(certificate) {
            return;
        }
        let drifted = |verdicts: &[DomainVerdict], domain: &NamePattern| {
            let mut all = verdicts.iter();
            all.any(|verdict| verdict.domain == *domain && verdict.state == DomainState::Drifted)
        };
        for verdict in verdicts {
            let domain = &verdict.domain;
            match (drifted(&before, domain), drifted(verdicts, domain)) {
                (false, true) => {
                    let detail = drift_text(verdict);
                    tracing::warn!(%certificate, "{detail}");
                    self.tell(certificate, "drifted", detail);
                }
                (true, false) => {
                    let detail = format!("{domain} is right in DNS again");
                    tracing::info!(%certificate, "{detail}");
                    self.tell(certificate, "restored", detail);
                }
                _ => {}
            }
        }
    }

    /// Whether a renewal will be held back by what DNS says. Elsewhere nothing of it is worth an alarm.
    fn is_enforced(&self, certificate: &CertificateName) -> bool {
        self.config.load().dns_checks(certificate).0 == DnsChecks::Enforce
    }

    /// Puts `verdicts` in the place of what was found of the same names before, and gives that back.
    fn remember(&self, certificate: &CertificateName, verdicts: &[DomainVerdict]) -> Vec<DomainVerdict> {
        let at = self.clock.now();
        let mut sightings = self.sightings();
        let Some(known) = sightings.get_mut(certificate) else {
            let verdicts = verdicts.to_vec();
            sightings.insert(certificate.clone(), Sighting { at, verdicts });
            return Vec::new();
        };
        let before = known.verdicts.clone();
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
        before
    }

    fn tell(&self, certificate: &CertificateName, kind: &str, detail: String) {
        // Nobody watching is no error.
        let _ = self.events.send(api::Event {
            at: self.clock.now(),
            certificate: certificate.clone(),
            kind: kind.to_owned(),
            detail,
        });
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

/// The look at DNS before an order from a CA of the world; a CA of our own does not look.
pub(super) struct Gate(pub(super) Arc<Lookout>);

#[async_trait]
impl DnsGate for Gate {
    async fn check(&self, desired: &DesiredCertificate, issuer: &str) -> DnsVerdict {
        let config = self.0.config.load_full();
        if let Some(IssuerConfig::LocalCa(_)) = config.issuers.get(issuer) {
            return DnsVerdict::Go {
                challenges: ChallengeChoices::new(),
            };
        }
        let verdicts = match self.0.check(desired, issuer).await {
            Ok(verdicts) => verdicts,
            Err(error) => {
                return DnsVerdict::No {
                    reason: error.to_string(),
                    remedy: Vec::new(),
                    until: None,
                };
            }
        };
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
