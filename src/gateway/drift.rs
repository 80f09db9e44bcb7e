//! What becomes otherwise in DNS after a certificate is there: noticed with every look, told once, and over when it is over.

use std::collections::BTreeMap;

use crate::admin::api;
use crate::certificate::CertificateName;
use crate::config::{CertificateSelector, ChallengeType, DnsChecks, HookEvent};
use crate::dns::{DomainState, DomainVerdict, Verdict, Waiting, in_a_line, is_lasting};
use crate::gateway::look::Against;
use crate::gateway::lookout::Lookout;
use crate::inventory::{CurrentCertificate, Drift, InventoryError, Notice};
use crate::name::NamePattern;
use crate::renewal::Hindrance;

impl Lookout {
    /// Writes down what was found of names of `certificate`, and tells what has become otherwise. Gives it back with what
    /// is known of the time before: what is unknown for too long has drifted.
    pub(super) async fn note(
        &self,
        certificate: &CertificateName,
        mut verdicts: Vec<DomainVerdict>,
    ) -> Vec<DomainVerdict> {
        if self.is_enforced(certificate)
            && let Err(error) = self.follow(certificate, &mut verdicts).await
        {
            tracing::warn!(%certificate, %error, "whether DNS has changed is told with the next look");
        }
        self.measure(certificate, &verdicts);
        self.remember(certificate, &verdicts);
        verdicts
    }

    /// Says of the names of `certificate` that there is one now: the last look was before the order.
    pub(super) fn obtained(&self, certificate: &CertificateName) {
        let mut sightings = self.sightings();
        let Some(sighting) = sightings.get_mut(certificate) else {
            return;
        };
        for verdict in &mut sighting.verdicts {
            *verdict = verdict.clone().with_certificate();
        }
        self.measure(certificate, &sighting.verdicts);
    }

    fn measure(&self, certificate: &CertificateName, verdicts: &[DomainVerdict]) {
        for verdict in verdicts {
            let (certificate, domain) = (certificate.as_str(), verdict.domain.to_string());
            let states = DomainState::ALL.map(|state| (state.word(), state == verdict.state));
            self.metrics
                .dns_checked(certificate, &domain, verdict.verdict.allows_order());
            self.metrics.domain_state(certificate, &domain, &states);
        }
    }

    /// Whether there is something about `certificate` to be taken back, from before a restart perhaps.
    pub(super) async fn has_told_of(&self, certificate: &CertificateName) -> bool {
        let known = self.inventory.drift(certificate).await;
        self.sightings().contains_key(certificate) || known.is_ok_and(|drift| !drift.told.is_empty())
    }

    /// Compares with what was known before, before a restart perhaps.
    async fn follow(
        &self,
        certificate: &CertificateName,
        verdicts: &mut [DomainVerdict],
    ) -> Result<(), InventoryError> {
        let _turn = self.telling.lock().await;
        let before = self.inventory.drift(certificate).await?;
        let record = self.inventory.certificate(certificate).await?;
        let current = record.and_then(|record| record.value.current);
        let renew_at = current.as_ref().and_then(|current| current.renew_at);
        let mut drift = before.clone();
        if let Some(CurrentCertificate { leaf, .. }) = &current {
            drift.told.retain(|domain| leaf.names.contains(domain));
            drift.waiting.retain(|domain, _| leaf.names.contains(domain));
            drift.pointed.retain(|domain| leaf.names.contains(domain));
            drift.told_astray.retain(|domain| leaf.names.contains(domain));
        }
        let waiting = self.still_waiting(certificate, verdicts, &mut drift);
        for verdict in verdicts.iter_mut() {
            if let Some(waiting) = waiting.get(&verdict.domain)
                // That nobody answers does not make right what was wrong.
                && (before.told.contains(&verdict.domain)
                    || is_lasting(*waiting, verdict.verdict.until(), renew_at, self.clock.now()))
            {
                *verdict = verdict.clone().lasting(waiting.since);
            }
        }
        let mut news = Vec::new();
        for verdict in verdicts.iter() {
            let domain = &verdict.domain;
            match (
                before.told.contains(domain),
                verdict.state == DomainState::Drifted,
            ) {
                (false, true) => {
                    drift.told.insert(domain.clone());
                    let detail = drift_text(verdict, waiting.get(domain));
                    tracing::warn!(%certificate, "{detail}");
                    news.push((HookEvent::Drifted, detail));
                }
                (true, false) if verdict.verdict.allows_order() => {
                    drift.told.remove(domain);
                    let detail = match &verdict.verdict {
                        Verdict::Skipped { reason } => {
                            format!("{domain} can be renewed again: DNS is {reason}")
                        }
                        _ => format!("{domain} is right in DNS again"),
                    };
                    tracing::info!(%certificate, "{detail}");
                    news.push((HookEvent::Restored, detail));
                }
                _ => {}
            }
        }
        if self.serves(certificate) {
            let strayed = verdicts.iter().filter_map(|verdict| astray(verdict, &mut drift));
            let strayed: Vec<_> = strayed.collect();
            for (_, detail) in &strayed {
                tracing::warn!(%certificate, "{detail}");
            }
            news.extend(strayed);
        } else {
            drift.told_astray.clear();
        }
        if let Some(sighting) = self.sightings().get_mut(certificate) {
            sighting.astray.clone_from(&drift.told_astray);
        }
        if drift == before {
            return Ok(());
        }
        self.tell(certificate, current.as_ref(), &drift, news).await
    }

    /// The names of which nothing is known for sure, in `drift` as well.
    fn still_waiting(
        &self,
        certificate: &CertificateName,
        verdicts: &[DomainVerdict],
        drift: &mut Drift,
    ) -> BTreeMap<NamePattern, Waiting> {
        let now = self.clock.now();
        let mut sightings = self.sightings();
        let known = &mut sightings.entry(certificate.clone()).or_default().waiting;
        for verdict in verdicts {
            let domain = &verdict.domain;
            let is_certified = verdict.state == DomainState::Issued;
            if !is_certified || !matches!(verdict.verdict, Verdict::Wait { .. }) {
                known.remove(domain);
                drift.waiting.remove(domain);
                continue;
            }
            // A clock that was set back would put it off for as long.
            let since = drift.waiting.get(domain).map_or(now, |since| now.min(*since));
            drift.waiting.insert(domain.clone(), since);
            let looks = known.get(domain).map_or(0, |waiting| waiting.looks);
            let looks = looks.saturating_add(1);
            known.insert(domain.clone(), Waiting { since, looks });
        }
        known.clone()
    }

    async fn tell(
        &self,
        certificate: &CertificateName,
        current: Option<&CurrentCertificate>,
        drift: &Drift,
        news: Vec<(HookEvent, String)>,
    ) -> Result<(), InventoryError> {
        let notice = |(event, detail)| Notice {
            leaf: current.map(|current| current.leaf.clone()),
            next_attempt: current.and_then(|current| current.renew_at),
            ..Notice::new(event, certificate.clone(), self.clock.now(), detail)
        };
        let notices: Vec<_> = news.into_iter().map(notice).collect();
        self.inventory.tell_drift(certificate, drift, &notices).await?;
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

    /// Whether a listener serves `certificate`, so that its names should lead here.
    fn serves(&self, certificate: &CertificateName) -> bool {
        let config = self.config.load();
        let mut listeners = config.listeners.values().filter(|listener| listener.enabled);
        listeners.any(|listener| {
            let mut selected = listener.certificates.iter();
            selected.any(|selector| match selector {
                CertificateSelector::All => true,
                CertificateSelector::Directory(directory) => certificate.as_str().starts_with(directory),
                CertificateSelector::Named(name) => name == certificate,
            })
        })
    }

    /// What would hold the next order back, by what was found last.
    pub(super) fn hindrances(&self) -> BTreeMap<CertificateName, Hindrance> {
        let sightings = self.sightings();
        let enforced = sightings.iter().filter(|(name, _)| self.is_enforced(name));
        let against = enforced.filter_map(|(name, sighting)| {
            let lasts = sighting.verdicts.iter().any(has_drifted);
            let against = Against::of(&sighting.verdicts).filter(|against| against.is_definite || lasts)?;
            let hindrance = Hindrance {
                reason: against.reason,
                remedy: against.remedy,
            };
            Some((name.clone(), hindrance))
        });
        against.collect()
    }

    /// What an operator should see to long before a renewal fails.
    pub(super) fn warnings(&self) -> Vec<String> {
        let sightings = self.sightings();
        let alarming = sightings.iter().filter(|(name, _)| self.is_enforced(name));
        let drifted = alarming.flat_map(|(name, sighting)| {
            let texts = sighting
                .verdicts
                .iter()
                .filter_map(move |verdict| match &verdict.not_pointed {
                    _ if has_drifted(verdict) => {
                        Some(drift_text(verdict, sighting.waiting.get(&verdict.domain)))
                    }
                    Some(pointed) if sighting.astray.contains(&verdict.domain) => {
                        Some(astray_text(verdict, pointed))
                    }
                    _ => None,
                });
            texts.map(move |text| format!("certificate `{name}`, seen at {}: {text}", sighting.at))
        });
        drifted.collect()
    }
}

fn has_drifted(verdict: &DomainVerdict) -> bool {
    verdict.state == DomainState::Drifted
}

/// What there is to tell of the address of a name that is renewed wherever it leads: that it led here, and does not any more.
/// One that never did may be meant to be elsewhere.
fn astray(verdict: &DomainVerdict, drift: &mut Drift) -> Option<(HookEvent, String)> {
    let domain = &verdict.domain;
    let is_certified = verdict.state == DomainState::Issued;
    let is_by_dns01 = verdict.challenges.contains(&ChallengeType::Dns01);
    match &verdict.not_pointed {
        Some(pointed @ Verdict::Stop { .. }) if is_certified && drift.pointed.contains(domain) => {
            let is_new = drift.told_astray.insert(domain.clone());
            is_new.then(|| (HookEvent::Drifted, astray_text(verdict, pointed)))
        }
        None if verdict.verdict == Verdict::Go && !domain.is_wildcard() => {
            if is_by_dns01 {
                drift.pointed.insert(domain.clone());
            }
            let was_astray = drift.told_astray.remove(domain);
            was_astray.then(|| (HookEvent::Restored, format!("{domain} leads here again")))
        }
        _ => None,
    }
}

fn astray_text(verdict: &DomainVerdict, pointed: &Verdict) -> String {
    format!(
        "{} has led here and does not any more, though its certificate can be renewed by dns-01: {}{}",
        verdict.domain,
        pointed.reason(),
        remedy_text(pointed)
    )
}

fn remedy_text(verdict: &Verdict) -> String {
    let changes: Vec<_> = verdict.remedy().iter().map(ToString::to_string).collect();
    match changes.is_empty() {
        true => String::new(),
        false => format!("; to put it right: {}", in_a_line(&changes)),
    }
}

fn drift_text(verdict: &DomainVerdict, waiting: Option<&Waiting>) -> String {
    let remedy = remedy_text(&verdict.verdict);
    let since = waiting.map_or_else(String::new, |Waiting { since, .. }| format!(", so since {since}"));
    format!(
        "{} has a certificate whose renewal would fail: {}{since}{remedy}",
        verdict.domain, verdict.reason_text
    )
}

#[cfg(test)]
mod tests;
