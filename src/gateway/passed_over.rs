//! The issuers that DNS passes over, as looks have found it: the plan names the issuer that will be asked in the end.

use std::collections::BTreeMap;

use crate::certificate::{CertificateName, DesiredCertificate};
use crate::clock::Timestamp;
use crate::gateway::look::Look;
use crate::gateway::lookout::{Lookout, Sighting, first_of};
use crate::inventory::CertificateRecord;
use crate::renewal::{Candidates, WAITED};

impl Lookout {
    /// Takes note of what a look at all names of `certificate` says of its issuers.
    pub(super) fn note_issuers(&self, certificate: &CertificateName, look: &Look) {
        if let Some(sighting) = self.sightings().get_mut(certificate) {
            sighting.note_issuers(look);
        }
    }

    /// `issuers`, as a renewal of `certificate` would ask them in the end.
    pub(super) fn in_the_end(&self, certificate: &CertificateName, issuers: &[String]) -> Candidates {
        let now = self.clock.now();
        let sightings = self.sightings();
        let sighting = sightings.get(certificate).zip(issuers.first());
        Candidates {
            is_waiting_over: sighting.is_some_and(|(sighting, first)| sighting.has_waited(first, now)),
            ..first_of(issuers)
        }
    }

    /// What `records` would say, were there an order for each of `desired` by what was found last.
    pub(super) fn as_found(
        &self,
        desired: &[DesiredCertificate],
        records: Vec<CertificateRecord>,
    ) -> Vec<CertificateRecord> {
        let mut records: BTreeMap<_, _> = records
            .into_iter()
            .map(|record| (record.name.clone(), record))
            .collect();
        let sightings = self.sightings();
        for desired in desired {
            if let Some(sighting) = sightings.get(&desired.name) {
                let record = records.remove(&desired.name);
                let found = sighting.found(desired, record);
                records.extend(found.map(|record| (desired.name.clone(), record)));
            }
        }
        records.into_values().collect()
    }
}

impl Sighting {
    /// Whether a renewal would go on to the next issuer by now: it would have waited for `first`, or that was passed over.
    fn has_waited(&self, first: &str, now: Timestamp) -> bool {
        let mut waiting = self.waiting.values();
        waiting.any(|waiting| now.since(waiting.since) >= WAITED) || self.issuers.get(first) == Some(&false)
    }

    fn note_issuers(&mut self, look: &Look) {
        if look.against.is_some() {
            // None of them: the next order begins with the first again.
            self.issuers.clear();
            return;
        }
        let passed_over = look.passed_over.iter().map(|(issuer, _)| (issuer.clone(), false));
        self.issuers.extend(passed_over);
        self.issuers.insert(look.issuer.clone(), true);
    }

    /// The record of `desired` with what was found here.
    fn found(
        &self,
        desired: &DesiredCertificate,
        record: Option<CertificateRecord>,
    ) -> Option<CertificateRecord> {
        let is_against = self.issuers.values().any(|may_sign| !may_sign);
        if record.is_none() && !is_against {
            return None;
        }
        let mut record = record.unwrap_or_else(|| CertificateRecord::wanted(desired.name.clone()));
        let digest = desired.digest();
        if record.pursued.is_empty() && is_against {
            record.pursued.clone_from(&digest);
        }
        // Of what is wanted otherwise by now nothing was found.
        if record.pursued == digest {
            for (issuer, may_sign) in &self.issuers {
                match may_sign {
                    true => drop(record.passed_over.remove(issuer)),
                    false => drop(record.passed_over.insert(issuer.clone(), self.at)),
                }
            }
        }
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::KeyType;
    use crate::dns::Waiting;
    use crate::gateway::look::Against;
    use crate::name::NamePattern;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    fn desired() -> DesiredCertificate {
        DesiredCertificate {
            name: CertificateName::parse("www").unwrap(),
            domains: vec![NamePattern::parse("www.example.com").unwrap()],
            issuers: vec!["one".into(), "two".into()],
            key_type: KeyType::EcdsaP256,
            reuse_key: false,
            tags: BTreeMap::new(),
            spare_of: None,
        }
    }

    fn look(issuer: &str, passed_over: &[&str]) -> Look {
        let passed_over = passed_over.iter();
        Look {
            issuer: issuer.to_owned(),
            passed_over: passed_over
                .map(|issuer| ((*issuer).to_owned(), "CAA".to_owned()))
                .collect(),
            ..Look::default()
        }
    }

    fn sighting() -> Sighting {
        Sighting {
            at: NOW,
            ..Sighting::default()
        }
    }

    fn passed_over(sighting: &Sighting, record: Option<CertificateRecord>) -> Vec<String> {
        let found = sighting.found(&desired(), record);
        found.map_or_else(Vec::new, |record| record.passed_over.into_keys().collect())
    }

    #[test]
    fn what_the_last_look_at_an_issuer_found_holds_until_another_one() {
        let mut sighting = sighting();
        assert_eq!(sighting.found(&desired(), None), None);
        sighting.note_issuers(&look("two", &["one"]));
        assert_eq!(passed_over(&sighting, None), ["one"]);
        // Within the same attempt `one` is not looked at once more.
        sighting.note_issuers(&look("two", &[]));
        assert_eq!(passed_over(&sighting, None), ["one"]);

        let mut record = CertificateRecord::wanted(desired().name);
        record.pursued = desired().digest();
        record.passed_over.insert("two".into(), NOW);
        assert_eq!(passed_over(&sighting, Some(record.clone())), ["one"]);
        sighting.note_issuers(&look("one", &[]));
        assert_eq!(passed_over(&sighting, Some(record.clone())), [""; 0]);

        record.pursued = "something else".into();
        assert_eq!(passed_over(&sighting, Some(record)), ["two"]);
        sighting.note_issuers(&look("two", &["one"]));
        sighting.note_issuers(&Look {
            against: Some(Against {
                reason: "it leads elsewhere".into(),
                remedy: Vec::new(),
                until: None,
                is_definite: true,
            }),
            ..look("one", &[])
        });
        assert_eq!(passed_over(&sighting, None), [""; 0]);
    }

    #[test]
    fn the_next_issuer_is_looked_at_once_a_renewal_would_have_waited_for_the_first() {
        let mut sighting = sighting();
        assert!(!sighting.has_waited("one", NOW));
        let domain = NamePattern::parse("www.example.com").unwrap();
        let waiting = Waiting { since: NOW, looks: 1 };
        sighting.waiting.insert(domain, waiting);
        assert!(!sighting.has_waited("one", NOW + WAITED / 2));
        assert!(sighting.has_waited("one", NOW + WAITED));
        // What was found by that holds until the first one need not be waited for.
        sighting.waiting.clear();
        sighting.note_issuers(&look("two", &["one"]));
        assert!(sighting.has_waited("one", NOW + WAITED));
        sighting.note_issuers(&look("one", &[]));
        assert!(!sighting.has_waited("one", NOW + WAITED));
    }
}
