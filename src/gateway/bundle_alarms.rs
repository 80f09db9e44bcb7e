//! What an operator should know of CA bundles: CRLs that are out of date or soon will be, which listeners let clients in all
//! the same, and what is skipped.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::certificate::{CaBundle, RevocationList};
use crate::clock::Timestamp;
use crate::config::{Authentication, ExpiredCrl};
use crate::gateway::data_plane::DataPlane;

/// A listener that lets clients in although nobody knows whether they have been revoked.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct FailsOpen {
    /// The listener.
    pub(super) listener: String,
    /// Its CA bundle.
    pub(super) ca_bundle: String,
    /// Whose CRL it is; nothing where one has never been had from a URL.
    pub(super) issuer: Option<String>,
    /// Since when it is out of date.
    pub(super) since: Option<Timestamp>,
}

/// What is to be said of `bundle` at `now`, a line for each: its CRLs, and what is skipped of it.
pub(super) fn lines(bundle: &CaBundle, now: Timestamp) -> Vec<String> {
    alarms(bundle, now).chain(skipped(bundle)).collect()
}

impl DataPlane {
    /// What is to be said of CA bundles at `now`, a line for each.
    pub(super) fn bundle_lines(&self, now: Timestamp) -> Vec<String> {
        let bundles = self.bundles();
        let of_bundles = bundles.by_name.values().flat_map(|bundle| lines(bundle, now));
        let open = self.fails_open(now);
        of_bundles.chain(open.iter().map(FailsOpen::alarm)).collect()
    }

    /// What is to be said of CRLs at `now`: those that are out of date or soon will be, a line for each, and one for each
    /// listener that lets clients in all the same.
    pub(super) fn crl_alarms(&self, now: Timestamp) -> Vec<String> {
        let bundles = self.bundles();
        let of_bundles = bundles.by_name.values().flat_map(|bundle| alarms(bundle, now));
        let open = self.fails_open(now);
        of_bundles.chain(open.iter().map(FailsOpen::alarm)).collect()
    }

    /// The listeners that let clients in at `now` although a CRL is out of date.
    pub(super) fn fails_open(&self, now: Timestamp) -> Vec<FailsOpen> {
        let bundles = self.bundles();
        let mut all = Vec::new();
        for (listener, ca_bundle) in self.accepting() {
            let Some(revocation) = bundles.by_name.get(&ca_bundle).map(CaBundle::revocation) else {
                continue;
            };
            let expired = revocation.iter().filter(|list| now > list.next_update);
            let expired = expired.map(|list| (Some(list.issuer.clone()), Some(list.next_update)));
            let awaiting = revocation.is_awaiting().then_some((None, None));
            all.extend(expired.chain(awaiting).map(|(issuer, since)| FailsOpen {
                listener: listener.clone(),
                ca_bundle: ca_bundle.clone(),
                issuer,
                since,
            }));
        }
        all
    }

    /// The listeners with mutual authentication and `expired_crl = "accept"`, and their CA bundles.
    fn accepting(&self) -> Vec<(String, String)> {
        let mut all = Vec::new();
        self.for_each_listener(|listener| {
            let config = &listener.settings().config;
            if let (Authentication::Mutual { client_ca }, ExpiredCrl::Accept) =
                (&config.authentication, config.expired_crl)
            {
                all.push((config.name.to_string(), client_ca.clone()));
            }
        });
        all
    }
}

impl FailsOpen {
    fn alarm(&self) -> String {
        let Self {
            listener,
            ca_bundle,
            issuer,
            since,
        } = self;
        let which = match (issuer, since) {
            (Some(issuer), Some(since)) => {
                format!("the CRL of `{issuer}` in CA bundle `{ca_bundle}` is out of date since {since}")
            }
            _ => format!("a CRL of CA bundle `{ca_bundle}` could not be had yet"),
        };
        format!(
            "listener `{listener}` fails open: {which}, and clients that may have been revoked are let in (`expired_crl = \
             \"accept\"`); get the CRL"
        )
    }
}

/// What the log and the metrics have been told.
#[derive(Default)]
pub(super) struct Told {
    lines: BTreeMap<String, Instant>,
    open: Vec<FailsOpen>,
}

impl Told {
    /// Looks at the CRLs, on whose state at `now` there are lines for the log.
    pub(super) fn look(&mut self, data_plane: &DataPlane, now: Timestamp) -> Vec<String> {
        let open = data_plane.fails_open(now);
        if open != self.open {
            data_plane.metrics.crls_fail_open(open.iter().map(|open| {
                let issuer = open.issuer.as_deref().unwrap_or_default();
                (open.listener.as_str(), open.ca_bundle.as_str(), issuer)
            }));
        }
        let accepting = data_plane.accepting().into_iter().map(|(listener, ca_bundle)| {
            format!(
                "listener `{listener}` has `expired_crl = \"accept\"`: as soon as a CRL of CA bundle `{ca_bundle}` is out \
                 of date it lets in clients that may have been revoked"
            )
        });
        let bundles = data_plane.bundles();
        let of_bundles = bundles.by_name.values().flat_map(|bundle| alarms(bundle, now));
        let skipped = bundles.by_name.values().flat_map(skipped);
        let lines = accepting
            .chain(of_bundles)
            .chain(skipped)
            .map(|line| (line, false));
        let repeated = open.iter().map(|open| (open.alarm(), true));
        let due = self.due(lines.chain(repeated), Instant::now());
        self.open = open;
        due
    }

    /// Those of `lines` that the log is to have at `now`: what is new, and, marked so, what must not be forgotten.
    fn due(&mut self, lines: impl Iterator<Item = (String, bool)>, now: Instant) -> Vec<String> {
        let before = std::mem::take(&mut self.lines);
        let mut due = Vec::new();
        for (line, repeats) in lines {
            let last = before.get(&line).copied();
            let last = last.filter(|last| !repeats || now.duration_since(*last) < AGAIN);
            if last.is_none() {
                due.push(line.clone());
            }
            self.lines.insert(line, last.unwrap_or(now));
        }
        due
    }
}

/// What is to be said of the CRLs of `bundle` at `now`, a line for each.
fn alarms(bundle: &CaBundle, now: Timestamp) -> impl Iterator<Item = String> {
    let awaiting = bundle.revocation().is_awaiting().then(|| {
        format!(
            "CA bundle `{}`: a CRL of its `crl_urls` could not be had yet; clients are refused until then, unless the \
             listener has `expired_crl = \"accept\"`",
            bundle.name()
        )
    });
    let lists = bundle.revocation().iter();
    lists
        .filter_map(move |list| alarm(bundle.name(), list, now))
        .chain(awaiting)
}

/// What is skipped of `bundle`, a line for each, of many for the first.
fn skipped(bundle: &CaBundle) -> impl Iterator<Item = String> {
    let name = bundle.name();
    let lines = bundle.skipped().iter().take(SKIPPED).map(move |skipped| {
        let (file, block) = (skipped.file.display(), skipped.block);
        format!(
            "CA bundle `{name}`: block {block} of {file}, `{}`, is skipped: it {}",
            skipped.subject, skipped.reason
        )
    });
    let more = bundle.skipped().len().saturating_sub(SKIPPED);
    let more = (more > 0).then(|| {
        format!("CA bundle `{name}`: {more} more certificates are skipped; `certgate ca-bundle show {name}` lists them")
    });
    lines.chain(more)
}

/// A CRL that is out of date refuses every client of its CA; a quarter of its time before that somebody should know.
fn alarm(bundle: &str, list: &RevocationList, now: Timestamp) -> Option<String> {
    let (issuer, due) = (&list.issuer, list.next_update);
    let ahead = due.since(list.this_update) / 4;
    if now > due {
        Some(format!(
            "CA bundle `{bundle}`: the CRL of `{issuer}` is out of date since {due}; clients of that CA are refused \
             unless the listener has `expired_crl = \"accept\"`"
        ))
    } else if now + ahead > due {
        Some(format!(
            "CA bundle `{bundle}`: the CRL of `{issuer}` will be out of date at {due}; get the next one"
        ))
    } else {
        None
    }
}

/// Lines for one bundle.
const SKIPPED: usize = 20;
/// A line in the log every hour is not overlooked, and does not fill it.
const AGAIN: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_not_be_forgotten_is_told_every_hour_and_everything_else_when_it_is_new() {
        let (mut told, start) = (Told::default(), Instant::now());
        let mut at = |minutes: u64, lines: &[(&str, bool)]| {
            let lines = lines.iter().map(|(line, repeats)| ((*line).to_owned(), *repeats));
            told.due(lines, start + Duration::from_secs(60 * minutes))
        };
        let both = [("open", true), ("soon", false)];
        assert_eq!(at(0, &both), ["open", "soon"]);
        assert_eq!(at(1, &both), [""; 0]);
        assert_eq!(at(59, &both), [""; 0]);
        assert_eq!(at(60, &both), ["open"]);
        assert_eq!(at(61, &both), [""; 0]);
        assert_eq!(at(62, &[("open", true)]), [""; 0]);
        assert_eq!(at(63, &both), ["soon"]);
    }
}
