//! DNS before an order, and after: what is asked, against what, and what was found last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use serde::Deserialize;
use tokio::sync::broadcast;

use crate::admin::api;
use crate::certificate::{CertificateName, DesiredCertificate};
use crate::clock::{Clock, Timestamp};
use crate::config::{AcmeConfig, Config, DnsChecks, IssuerConfig};
use crate::dns::{CaIdentity, Conditions, DnsChecker, DomainState, DomainVerdict, Doors, Waiting};
use crate::dns01::Claims;
use crate::gateway::look::Look;
use crate::gateway::zones;
use crate::inventory::{Inventory, InventoryError};
use crate::metrics::Metrics;
use crate::name::NamePattern;
use crate::renewal::{Candidates, Issuers};

/// Looks names up for orders, for operators and on a schedule.
pub(super) struct Lookout {
    pub(super) config: Arc<ArcSwap<Config>>,
    pub(super) inventory: Inventory,
    pub(super) issuers: Arc<Issuers>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) events: broadcast::Sender<api::Event>,
    pub(super) claims: Claims,
    pub(super) sightings: Mutex<BTreeMap<CertificateName, Sighting>>,
    /// Held by whoever compares what was found with what was told: of two looks at once one tells.
    pub(super) telling: tokio::sync::Mutex<()>,
}

/// What the last look at the names of a certificate brought.
#[derive(Clone, Debug, Default)]
pub(super) struct Sighting {
    pub(super) at: Timestamp,
    pub(super) verdicts: Vec<DomainVerdict>,
    /// Of the issuers that were looked at for, whether they may sign.
    pub(super) issuers: BTreeMap<String, bool>,
    /// The names that have a certificate and of which nothing is known for sure.
    pub(super) waiting: BTreeMap<NamePattern, Waiting>,
    /// The names that have led here and do not any more, though they can be renewed.
    pub(super) astray: BTreeSet<NamePattern>,
}

impl Sighting {
    /// Whether nothing is wrong.
    pub(super) fn is_good(&self) -> bool {
        self.astray.is_empty() && self.verdicts.iter().all(|verdict| verdict.verdict.allows_order())
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
            advisory: checks == DnsChecks::Advisory,
        };
        if let Some(issuer) = issuer
            && let Some(IssuerConfig::Acme(acme)) = config.issuers.get(issuer)
        {
            let known = self.inventory.account(issuer).await?;
            let known = known.filter(|known| known.value.directory == acme.directory);
            let domains = match conditions.off {
                true => Vec::new(),
                false => self.caa_identities(issuer, acme).await,
            };
            conditions.ca = Some(CaIdentity {
                domains,
                account: known.and_then(|known| account_url(known.value.credentials.expose())),
            });
            conditions.challenges = Some(acme.challenges.clone());
        }
        Ok(conditions)
    }

    /// The names by which CAA records mean the CA: the operator's word, the CA's own, or what is generally known.
    async fn caa_identities(&self, issuer: &str, acme: &AcmeConfig) -> Vec<String> {
        let mut said = acme.caa_identities.clone();
        let signer = self.issuers.load().get(issuer).cloned();
        if let (true, true, Some(signer)) = (said.is_empty(), self.config.load().gateway.is_some(), signer) {
            said = signer.caa_identities().await;
        }
        if said.is_empty() {
            said.extend(acme.known_caa_identity());
        }
        said.iter().map(ToString::to_string).collect()
    }

    /// The issuers that would be asked, those of the certificate or the only one there is; none where DNS decides nothing.
    pub(super) fn issuers_of(&self, desired: Option<&DesiredCertificate>) -> Vec<String> {
        let config = self.config.load();
        let mut all = config.issuers.keys();
        match desired {
            Some(desired) => self.subject_to_dns(&desired.issuers),
            None => {
                let only = all.next().filter(|_| all.next().is_none());
                self.subject_to_dns(only.map_or(&[], std::slice::from_ref))
            }
        }
    }

    /// `issuers`, unless the first is a CA of our own, which signs whatever DNS says.
    pub(super) fn subject_to_dns(&self, issuers: &[String]) -> Vec<String> {
        let config = self.config.load();
        match issuers.first() {
            Some(first) if config.is_acme(first) => issuers.to_vec(),
            _ => Vec::new(),
        }
    }

    /// Looks at the names of `desired`, as an order at one of `candidates` would need them, and writes down what is found.
    pub(super) async fn check(
        &self,
        desired: &DesiredCertificate,
        candidates: &Candidates,
    ) -> Result<Look, InventoryError> {
        let certificate = (Some(&desired.name), true);
        let checker = self.checker();
        let mut look = self
            .find(&checker, certificate, &desired.domains, candidates)
            .await?;
        if look.verdicts.is_empty() {
            if !self.has_told_of(&desired.name).await {
                return Ok(look);
            }
            // What was against another issuer is not against a CA of our own.
            let domains = desired.domains.iter();
            look.verdicts = domains.map(DomainVerdict::of_local_ca).collect();
        }
        look.verdicts = self.with_certificates(&desired.name, look.verdicts).await?;
        look.verdicts = self.note(&desired.name, look.verdicts).await;
        self.note_issuers(&desired.name, &look);
        Ok(look)
    }

    /// The same, where nobody wants `desired` yet: nothing is written down.
    pub(super) async fn first_look(
        &self,
        desired: &DesiredCertificate,
        issuers: &[String],
    ) -> Result<Look, InventoryError> {
        let certificate = (Some(&desired.name), false);
        let candidates = first_of(issuers);
        self.find(&self.checker(), certificate, &desired.domains, &candidates)
            .await
    }

    /// Looks at names as the first of `issuers` would need them; where DNS is against that one for good, or was waited for
    /// long enough, as the next one would. A CA of our own needs nothing of them, so nothing is asked for it: what was found
    /// for the one before is shown.
    pub(super) async fn find(
        &self,
        checker: &DnsChecker,
        (certificate, is_wanted): (Option<&CertificateName>, bool),
        names: &[NamePattern],
        Candidates {
            issuers,
            is_waiting_over,
        }: &Candidates,
    ) -> Result<Look, InventoryError> {
        let config = self.config.load_full();
        let holds_back =
            certificate.is_none_or(|certificate| config.dns_checks(certificate).0 != DnsChecks::Advisory);
        let mut looks = Vec::new();
        let mut candidates = issuers.iter().map(Some).collect::<Vec<_>>();
        if candidates.is_empty() {
            candidates.push(None);
        }
        for issuer in candidates {
            let verdicts = match issuer.map(|issuer| config.issuers.get(issuer)) {
                Some(Some(IssuerConfig::LocalCa(_))) => {
                    let found = looks.first().map(|look: &Look| look.verdicts.as_slice());
                    Look::at_local_ca(found.unwrap_or_default())
                }
                _ => {
                    let issuer = issuer.map(String::as_str);
                    let conditions = self.conditions(certificate, issuer).await?;
                    self.look(checker, names, &conditions, issuer, is_wanted).await
                }
            };
            let look = Look::new(issuer.cloned().unwrap_or_default(), verdicts);
            let goes_on = holds_back && look.gives_way(*is_waiting_over);
            let is_last = look.against.is_none() || (looks.is_empty() && !goes_on);
            looks.push(look);
            if is_last {
                break;
            }
        }
        Ok(Look::of_all(looks))
    }

    /// What asks DNS, under the configuration of now.
    pub(super) fn checker(&self) -> DnsChecker {
        DnsChecker::new(self.config.load().gateway.as_ref())
    }

    async fn look(
        &self,
        checker: &DnsChecker,
        names: &[NamePattern],
        conditions: &Conditions,
        issuer: Option<&str>,
        is_wanted: bool,
    ) -> Vec<DomainVerdict> {
        let config = self.config.load_full();
        let verdicts = checker.check_all(names, conditions, self.clock.now()).await;
        let zones = issuer.filter(|_| !conditions.off);
        let zones = zones
            .and_then(|issuer| zones::dns01(&config, issuer, &self.inventory, &self.clock, &self.claims));
        match &zones {
            Some(zones) => zones::rehearsed(zones, verdicts, is_wanted).await,
            None => verdicts,
        }
    }

    pub(super) async fn with_certificates(
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

    pub(super) async fn has_certificate(&self, certificate: &CertificateName) -> bool {
        let record = self.inventory.certificate(certificate).await;
        record
            .ok()
            .flatten()
            .is_some_and(|record| record.value.current.is_some())
    }

    /// Puts `verdicts` in the place of what was found of the same names before.
    pub(super) fn remember(&self, certificate: &CertificateName, verdicts: &[DomainVerdict]) {
        let at = self.clock.now();
        let mut sightings = self.sightings();
        let Some(known) = sightings.get_mut(certificate) else {
            let sighting = Sighting {
                at,
                verdicts: verdicts.to_vec(),
                ..Sighting::default()
            };
            sightings.insert(certificate.clone(), sighting);
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
            sighting
                .astray
                .retain(|domain| domains.is_some_and(|domains| domains.contains(domain)));
            sighting
                .waiting
                .retain(|domain, _| domains.is_some_and(|domains| domains.contains(domain)));
            domains.is_some()
        });
    }
}

/// `issuers`, for which nothing has waited yet.
pub(super) fn first_of(issuers: &[String]) -> Candidates {
    Candidates {
        issuers: issuers.to_vec(),
        is_waiting_over: false,
    }
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
