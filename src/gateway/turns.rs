//! Issuers asked in the place of others: what certgate does by itself and an operator asks about later, for the audit trail.

use std::collections::BTreeMap;

use crate::certificate::{CertificateName, DesiredCertificate};
use crate::gateway::control_plane::ControlPlane;
use crate::renewal::{Event, EventKind, Reason};

/// Whose turn it is, as far as that is not the first issuer of a certificate's list.
#[derive(Debug, Default)]
pub(super) struct Turns {
    asked: BTreeMap<CertificateName, String>,
    failed: BTreeMap<CertificateName, String>,
}

impl Turns {
    /// What an event of renewal means for whose turn it is, in words, where that changes.
    fn told(&mut self, event: &Event, desired: Option<&DesiredCertificate>) -> Option<String> {
        let name = &event.certificate;
        match &event.kind {
            EventKind::Failed { issuer, error, .. } => {
                self.failed
                    .insert(name.clone(), format!("`{issuer}` has failed: {error}"));
                None
            }
            EventKind::Obtained { .. } => {
                self.failed.remove(name);
                None
            }
            // Who has signed is asked when to renew, whoever has the next turn.
            EventKind::Started {
                reason: Reason::Asking,
                ..
            } => None,
            EventKind::Started { issuer, .. } => {
                let first = desired?.issuers.first()?;
                let before = match issuer == first {
                    true => self.asked.remove(name),
                    false => self.asked.insert(name.clone(), issuer.clone()),
                };
                let before = before.as_ref().unwrap_or(first);
                let why = self
                    .failed
                    .get(name)
                    .map_or_else(String::new, |why| format!("; {why}"));
                (before != issuer)
                    .then(|| format!("issuer `{issuer}` is asked in the place of `{before}`{why}"))
            }
            EventKind::Blocked { .. } | EventKind::Step(_) => None,
        }
    }
}

impl ControlPlane {
    /// Writes down where an event of renewal means that another issuer has its turn.
    pub(super) async fn note_turn(&self, turns: &mut Turns, event: &Event) {
        let desired = self.desired();
        // Sorted by name, and there may be a million.
        let found = desired.binary_search_by(|desired| desired.name.cmp(&event.certificate));
        let desired = found.ok().and_then(|place| desired.get(place));
        if let Some(detail) = turns.told(event, desired) {
            tracing::warn!(certificate = %event.certificate, "{detail}");
            self.trail.note(&event.certificate, "fail-over", detail).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    fn event(kind: EventKind) -> Event {
        Event {
            at: Timestamp::from_unix_seconds(1_795_000_000),
            certificate: CertificateName::parse("www").unwrap(),
            kind,
        }
    }

    #[test]
    fn a_change_of_turn_is_told_once_each_way_with_what_went_before() {
        let desired = DesiredCertificate {
            name: CertificateName::parse("www").unwrap(),
            domains: Vec::new(),
            issuers: vec!["one".to_owned(), "two".to_owned()],
            key_type: Default::default(),
            reuse_key: false,
            tags: Default::default(),
            spare_of: None,
        };
        let mut turns = Turns::default();
        let mut started = |issuer: &str, fails: bool| {
            let reason = Reason::Requested;
            let issuer = issuer.to_owned();
            let told = turns.told(
                &event(EventKind::Started {
                    issuer: issuer.clone(),
                    reason,
                }),
                Some(&desired),
            );
            if fails {
                let (error, at) = ("no".to_owned(), Timestamp::from_unix_seconds(0));
                let failed = EventKind::Failed {
                    issuer,
                    error,
                    stopped: false,
                    next_attempt: at,
                };
                assert_eq!(turns.told(&event(failed), Some(&desired)), None);
            }
            told
        };
        assert_eq!(started("one", true), None);
        let second = started("two", true).unwrap();
        assert_eq!(
            second,
            "issuer `two` is asked in the place of `one`; `one` has failed: no"
        );
        assert_eq!(started("two", true), None);
        let first = started("one", false).unwrap();
        assert_eq!(
            first,
            "issuer `one` is asked in the place of `two`; `two` has failed: no"
        );
        assert_eq!(started("one", false), None);
    }
}
