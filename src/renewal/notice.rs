//! What a change of a record means for those who are told.

use crate::clock::Timestamp;
use crate::config::HookEvent;
use crate::inventory::{CertificateRecord, CertificateState, Notice};
use crate::renewal::event::EventKind;

/// What there is to tell of `after`, which takes the place of `before` at the end of an attempt that came to `kind`.
pub(super) fn notice(
    before: &CertificateRecord,
    after: &CertificateRecord,
    kind: &EventKind,
    now: Timestamp,
) -> Option<Notice> {
    let event = match kind {
        // Asked again and again, and each time the answer is the same.
        EventKind::Blocked { reason, .. } if is_blocked_by(before, reason) => return None,
        EventKind::Blocked { .. } => HookEvent::Blocked,
        EventKind::Failed { .. } => HookEvent::Failed,
        EventKind::Obtained { renewed: true, .. } => HookEvent::Renewed,
        EventKind::Obtained { renewed: false, .. } => HookEvent::Obtained,
        EventKind::Started { .. } | EventKind::Step(_) => return None,
    };
    let current = after.current.as_ref();
    let issuer = match kind {
        EventKind::Failed { issuer, .. } => Some(issuer.clone()),
        _ => current.map(|current| current.issuer.clone()),
    };
    let renew_at = current.and_then(|current| current.renew_at);
    Some(Notice {
        leaf: current.map(|current| current.leaf.clone()),
        issuer,
        next_attempt: after.state.next_wake().or(renew_at),
        ..Notice::new(event, after.name.clone(), now, kind.to_string())
    })
}

fn is_blocked_by(record: &CertificateRecord, reason: &str) -> bool {
    matches!(&record.state, CertificateState::Blocked { reason: known, .. } if known == reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::{CertificateName, Leaf};
    use crate::inventory::CurrentCertificate;

    #[test]
    fn each_end_of_an_attempt_is_told_once_with_what_it_means() {
        let now = Timestamp::from_unix_seconds(1_795_000_000);
        let later = Timestamp::from_unix_seconds(1_795_000_600);
        let wanted = CertificateRecord::wanted(CertificateName::parse("www").unwrap());
        let leaf = Leaf {
            names: Vec::new(),
            not_before: now,
            not_after: later,
            serial: "5".to_owned(),
            issuer: "CN=ca".to_owned(),
            key: "ECDSA P-256".to_owned(),
            fingerprint: "aa".to_owned(),
        };
        let mut valid = CertificateRecord::imported(wanted.name.clone(), wanted.source, leaf, now);
        valid.current = valid.current.map(|current| CurrentCertificate {
            issuer: "first".to_owned(),
            renew_at: Some(later),
            ..current
        });
        let blocked = |reason: &str, checks| CertificateRecord {
            state: CertificateState::Blocked {
                reason: reason.to_owned(),
                remedy: Vec::new(),
                checks,
                waiting_since: None,
                next_check: later,
            },
            ..wanted.clone()
        };
        let failing = CertificateRecord {
            state: CertificateState::BackingOff {
                error: "no answer".to_owned(),
                next_attempt: later,
            },
            ..valid.clone()
        };
        let obtained = |renewed| EventKind::Obtained {
            issuer: "first".to_owned(),
            not_after: later,
            renew_at: later,
            renewed,
        };
        let of_state = |record: &CertificateRecord| EventKind::of_state(&record.state, "second").unwrap();
        for (before, after, kind, expected, issuer) in [
            (
                &wanted,
                &valid,
                obtained(false),
                Some(HookEvent::Obtained),
                Some("first"),
            ),
            (
                &valid,
                &valid,
                obtained(true),
                Some(HookEvent::Renewed),
                Some("first"),
            ),
            (
                &valid,
                &failing,
                of_state(&failing),
                Some(HookEvent::Failed),
                Some("second"),
            ),
            (
                &failing,
                &failing,
                of_state(&failing),
                Some(HookEvent::Failed),
                Some("second"),
            ),
            (
                &wanted,
                &blocked("no A", 1),
                of_state(&blocked("no A", 1)),
                Some(HookEvent::Blocked),
                None,
            ),
            (
                &blocked("no A", 1),
                &blocked("no A", 2),
                of_state(&blocked("no A", 2)),
                None,
                None,
            ),
            (
                &blocked("no A", 2),
                &blocked("CAA", 1),
                of_state(&blocked("CAA", 1)),
                Some(HookEvent::Blocked),
                None,
            ),
        ] {
            let found = notice(before, after, &kind, now);
            assert_eq!(found.as_ref().map(|found| found.event), expected, "{kind}");
            let Some(found) = found else { continue };
            assert_eq!((found.at, found.next_attempt), (now, Some(later)), "{kind}");
            assert_eq!(found.issuer.as_deref(), issuer, "{kind}");
            assert_eq!(found.leaf.is_some(), after.current.is_some(), "{kind}");
            assert_eq!(found.detail, kind.to_string());
        }
    }
}
