//! Who would have been refused, had the listener been mutual.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::RejectionReason;

/// The latest clients that would have been refused, those of one kind together. Bounded, however many there are.
#[derive(Debug)]
pub struct Observations {
    kinds: Arc<Mutex<Vec<Observation>>>,
    since: Instant,
    judged_alike_since: Instant,
}

/// Clients of one kind.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Observation {
    /// Why they would have been refused.
    pub reason: RejectionReason,
    /// The subject of their certificate; absent when none was shown, or none that can be read.
    pub subject: Option<String>,
    /// Where they come from.
    pub source: IpAddr,
    /// How many connections there were.
    pub count: u64,
    /// When the last one was.
    pub last: Instant,
}

impl Observations {
    /// Those of a listener that observes its clients from `now` on.
    pub(in crate::tls) fn from(now: Instant) -> Self {
        Self {
            kinds: Arc::default(),
            since: now,
            judged_alike_since: now,
        }
    }

    /// Goes on with what was seen `before`, by the same rules or by others.
    pub(in crate::tls) fn continue_with(&mut self, before: &Self, by_same_rules: bool) {
        self.kinds = before.kinds.clone();
        self.since = before.since;
        if by_same_rules {
            self.judged_alike_since = before.judged_alike_since;
        }
    }

    /// Since when clients are observed.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Since when they are judged by the same CA certificates, CRLs and allow list, where these were others before.
    pub fn judged_otherwise_until(&self) -> Option<Instant> {
        (self.judged_alike_since > self.since).then_some(self.judged_alike_since)
    }

    /// Notes one more client. When there is no room, the kind that was not seen for the longest time is forgotten.
    /// Of a subject's text, which the client has made up, only the beginning is kept.
    pub fn note(&self, reason: RejectionReason, subject: Option<&str>, source: IpAddr, now: Instant) {
        let subject = subject.map(beginning);
        let mut all = self.all();
        let known = all.iter_mut().find(|known| {
            known.reason == reason && known.source == source && known.subject.as_deref() == subject.as_deref()
        });
        if let Some(known) = known {
            known.count += 1;
            known.last = now;
            return;
        }
        if all.len() >= KEPT
            && let Some(oldest) = (0..all.len()).min_by_key(|index| all.get(*index).map(|known| known.last))
        {
            all.swap_remove(oldest);
        }
        all.push(Observation {
            reason,
            subject: subject.map(Cow::into_owned),
            source,
            count: 1,
            last: now,
        });
    }

    /// Every kind that is remembered, the latest first.
    pub fn latest(&self) -> Vec<Observation> {
        let mut all = self.all().clone();
        all.sort_by_key(|known| std::cmp::Reverse(known.last));
        all
    }

    fn all(&self) -> MutexGuard<'_, Vec<Observation>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn beginning(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(SUBJECT) {
        None => text.into(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()).into(),
    }
}

/// Characters of a subject that are kept.
const SUBJECT: usize = 256;
/// Kinds that are remembered.
const KEPT: usize = 256;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    #[test]
    fn clients_of_one_kind_are_counted_together_and_the_oldest_kind_gives_way() {
        let start = Instant::now();
        let observations = Observations::from(start);
        let note = |host: u32, seconds| {
            let at = start + Duration::from_secs(seconds);
            let source = Ipv4Addr::from(host).into();
            observations.note(RejectionReason::Expired, Some("CN=a"), source, at);
        };
        note(0, 0);
        note(0, 1);
        (1..=256).for_each(|host| note(host, 1 + u64::from(host)));
        let latest = observations.latest();
        assert_eq!(latest.len(), KEPT);
        assert_eq!(latest.first().unwrap().source, Ipv4Addr::from(256));
        assert!(latest.iter().all(|known| known.source != Ipv4Addr::from(0)));
        note(256, 300);
        let long = "ä".repeat(100_000);
        observations.note(
            RejectionReason::UnknownCa,
            Some(&long),
            Ipv4Addr::LOCALHOST.into(),
            start + Duration::from_secs(250),
        );
        let subjects = observations
            .latest()
            .into_iter()
            .filter_map(|known| known.subject);
        assert_eq!(subjects.map(|subject| subject.chars().count()).max(), Some(257));
        assert_eq!(observations.latest().first().unwrap().count, 2);
    }
}
