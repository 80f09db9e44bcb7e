//! What is not published as the store has it.

use std::collections::BTreeMap;

use tokio::sync::watch;

use crate::cause::with_causes;
use crate::certificate::CertificateName;
use crate::clock::Timestamp;
use crate::inventory::InventoryError;

/// What is not published as the store has it, of all that was looked at.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Problems {
    /// By certificate.
    pub certificates: BTreeMap<CertificateName, Problem>,
    /// The store cannot be read; what is published goes on being served.
    pub store: Option<Problem>,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// What, and what is served nevertheless.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// Takes note of what was found of each of some certificates, and of how the store did.
pub(super) fn report(
    problems: &watch::Sender<Problems>,
    found: BTreeMap<CertificateName, Option<String>>,
    store: Option<&InventoryError>,
    now: Timestamp,
) {
    let is_news = |problems: &Problems| {
        let of_store = store.is_some() != problems.store.is_some() || store.is_some();
        let of_one = |(name, reason): (&CertificateName, &Option<String>)| {
            problems.certificates.get(name).map(|known| &known.reason) != reason.as_ref()
        };
        of_store || found.iter().any(of_one)
    };
    // Most of the time there is none, and then nothing is copied.
    if !is_news(&problems.borrow()) {
        return;
    }
    problems.send_if_modified(|problems| {
        let before = problems.clone();
        for (name, reason) in found {
            match reason {
                None => drop(problems.certificates.remove(&name)),
                Some(reason) => {
                    let known = problems.certificates.get(&name);
                    if known.is_none_or(|known| known.reason != reason) {
                        tracing::error!(certificate = %name, reason, "not published as the store has it");
                        let since = known.map_or(now, |known| known.since);
                        problems.certificates.insert(name, Problem { reason, since });
                    }
                }
            }
        }
        problems.store = store.map(|error| {
            let reason = with_causes(error);
            let since = before.store.as_ref().map_or(now, |known| known.since);
            Problem { reason, since }
        });
        if let (Some(problem), None) = (&problems.store, &before.store) {
            tracing::error!(
                reason = problem.reason,
                "the store cannot be read; what is published goes on being served"
            );
        }
        *problems != before
    });
}
