//! Who may be begun with at once, and who waits for a turn: pure.
//!
//! | what is due | begun |
//! | --- | --- |
//! | nothing is asked of a CA, an operator asked, or the CA's limits are not known | at once |
//! | an order of names that the certificate before was not for | when the CA's limits allow it; see [`Ledger`](crate::issuer::ledger::Ledger) |
//! | a renewal | at the issuer's pace; at once when a third of the lifetime is left, or a quarter where the CA suggests so late a renewal |
//!
//! Of orders, those whose certificate has come so far within a week come first, then names that have no
//! certificate, by name, then the others; of four, one is for a name that has failed before, where there is any. Of renewals, those that have come so far within a day
//! come first, then those that the CA wants to have renewed already, then the others, each the nearest to its end first.

use crate::certificate::DesiredCertificate;
use crate::clock::Timestamp;
use crate::inventory::CertificateRecord;
use crate::issuer::ledger::OrderKind;
use crate::renewal::pace;
use crate::renewal::plan::{Next, Reason};
use crate::renewal::schedule;

/// What a step waits for when its time has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Waiting {
    /// For nothing.
    AtOnce,
    /// For the CA's limits.
    Order(Rank),
    /// For the issuer's pace; with the moment by which there should be another, and the end of the window in which the CA
    /// wants it renewed, where that is before.
    Renewal {
        wanted_by: Timestamp,
        suggested: Option<Timestamp>,
    },
}

/// What an order comes before or after.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Rank {
    /// There is a certificate, with the moment by which there should be another.
    Changed { wanted_by: Timestamp },
    /// There is none.
    Missing,
    /// There is none, and it has been tried before.
    Again,
}

/// What `next` waits for, and how much the certificate weighs at its issuer, as [`pace::load`] says.
pub(super) fn waiting(
    desired: &DesiredCertificate,
    digest: &str,
    record: Option<&CertificateRecord>,
    next: &Next,
) -> (Waiting, u64) {
    let current = record.and_then(|record| record.current.as_ref());
    let load = current.map_or(0, |current| {
        pace::load(schedule::lifetime(&current.leaf, current.obtained_at))
    });
    let wanted_by = current.map(schedule::wanted_by);
    if matches!(next.reason, Reason::Asking | Reason::Settled) {
        return (Waiting::AtOnce, load);
    }
    let same = current.filter(|current| {
        let as_wanted = record.is_some_and(|record| record.digest == digest) && current.issuer == next.issuer;
        as_wanted || OrderKind::of(&desired.domains, &next.issuer, Some(current)) == OrderKind::SameNames
    });
    let waiting = match (same, wanted_by) {
        _ if next.reason == Reason::Requested => Waiting::AtOnce,
        (Some(current), Some(wanted_by)) => Waiting::Renewal {
            wanted_by,
            suggested: current
                .suggested
                .as_ref()
                .map(|window| window.end)
                .filter(|end| *end < wanted_by),
        },
        (None, Some(wanted_by)) => Waiting::Order(Rank::Changed { wanted_by }),
        _ if next.again => Waiting::Order(Rank::Again),
        _ => Waiting::Order(Rank::Missing),
    };
    (waiting, load)
}
