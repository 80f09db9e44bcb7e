//! A certificate and its spare: when the spare is renewed, and which of the two is served. Pure.
//!
//! | what is served | what has happened to it | what follows, if the other one is sound |
//! | --- | --- | --- |
//! | the certificate | there is none yet, it has expired or was revoked | the spare, until there is a new one |
//! | the certificate | its end is near, or its CA has wanted it gone in the first half of its lifetime, or late in the second, and renewal fails | the spare, until there is a new one |
//! | the spare, by itself | there is a new certificate | the certificate |
//! | the spare, by an operator | there is a new certificate | the spare, until the operator says otherwise |
//! | the spare | any of the above has happened to the spare | the certificate |

use std::time::Duration;

use crate::certificate::Leaf;
use crate::clock::Timestamp;
use crate::inventory::{CertificateRecord, CurrentCertificate, StandIn};
use crate::renewal::schedule;

/// A change of what is served.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Switch {
    /// What of the spare is said from now on in the record of the certificate; `None` where that itself is served again.
    pub stand_in: Option<StandIn>,
    /// Why, for operators.
    pub reason: String,
}

/// What is to be changed of what is served for `primary`, which has this spare; `None` when nothing is.
pub fn switch(
    primary: &CertificateRecord,
    spare: Option<&CertificateRecord>,
    now: Timestamp,
) -> Option<Switch> {
    let back = |reason: String| Switch {
        stand_in: None,
        reason,
    };
    let Some(stand_in) = &primary.stand_in else {
        let reason = weakness(primary, now)?;
        spare.filter(|spare| weakness(spare, now).is_none())?;
        let stand_in = StandIn {
            since: now,
            by_operator: false,
            reason: reason.clone(),
        };
        return Some(Switch {
            stand_in: Some(stand_in),
            reason,
        });
    };
    if weakness(primary, now).is_some() {
        return None;
    }
    let Some(spare) = spare else {
        return Some(back("there is no spare any more".to_owned()));
    };
    if let Some(reason) = weakness(spare, now) {
        return Some(back(format!("of the spare: {reason}")));
    }
    // Only a new one ends it: while the next attempt is under way, an old one seems to have no problem.
    let is_new = primary
        .current
        .as_ref()
        .is_some_and(|current| current.obtained_at > stand_in.since);
    (is_new && !stand_in.by_operator).then(|| back("there is a new one".to_owned()))
}

/// Why what `record` tells of should not be served where something better can be; `None` when nothing is wrong.
pub fn weakness(record: &CertificateRecord, now: Timestamp) -> Option<String> {
    let Some(current) = &record.current else {
        return Some("there is none yet".to_owned());
    };
    let leaf = &current.leaf;
    if let Some(reason) = current.revoked {
        return Some(format!("it was revoked ({reason})"));
    }
    if now > leaf.not_after {
        return Some(format!("it expired at {}", leaf.not_after));
    }
    if now < leaf.not_before {
        return Some(format!("it is not valid before {}", leaf.not_before));
    }
    let problem = match (record.state.problem(), record.failures) {
        (Some(problem), _) => problem,
        (None, 0) => return None,
        (None, _) => "the last attempt failed, another is under way",
    };
    if leaf.not_after.since(now) < margin(current) {
        return Some(format!(
            "it expires at {} and cannot be renewed: {problem}",
            leaf.not_after
        ));
    }
    let window = current.suggested.as_ref().filter(|window| window.end < now)?;
    let half = leaf.not_after - schedule::lifetime(leaf, current.obtained_at) / 2;
    // A window late in its life says nothing against it.
    if window.end > half && now < schedule::wanted_by(current) {
        return None;
    }
    Some(format!(
        "its CA wanted it replaced by {}, and it cannot be renewed: {problem}",
        window.end
    ))
}

/// When a spare is renewed: halfway between two renewals of the certificate, where it lives to see such a point, and else
/// as far from them as it can be. `usual` is when it would be renewed by itself.
pub(super) fn renewal_point(
    spare: &Leaf,
    obtained_at: Timestamp,
    usual: Timestamp,
    primary: &CurrentCertificate,
) -> Timestamp {
    let lifetime = schedule::lifetime(spare, obtained_at);
    let earliest = obtained_at + lifetime / 10;
    let latest = schedule::latest_point(spare, obtained_at).max(obtained_at + lifetime.mul_f64(LATEST));
    let Some(renewed_at) = primary.renew_at else {
        return usual;
    };
    let interval = renewed_at.since(primary.obtained_at.max(primary.leaf.not_before));
    if interval < SHORTEST {
        return usual;
    }
    let halfway = renewed_at - interval / 2;
    // Of all points so many intervals away from it, the one that is nearest to `usual`.
    let nearest = match usual >= halfway {
        true => {
            let whole = (usual.since(halfway).as_secs_f64() / interval.as_secs_f64()).round();
            halfway + interval.mul_f64(whole)
        }
        false => {
            let whole = (halfway.since(usual).as_secs_f64() / interval.as_secs_f64()).round();
            halfway - interval.mul_f64(whole)
        }
    };
    let within = |point: &Timestamp| (earliest..=latest).contains(point);
    if let Some(point) = [nearest, nearest - interval].into_iter().find(within) {
        return point;
    }
    let far = lifetime / 4;
    let distance = |point: &Timestamp| {
        let since_halfway = point.since(halfway).max(halfway.since(*point)).as_secs_f64();
        let past = since_halfway % interval.as_secs_f64();
        let from_halfway = past.min(interval.as_secs_f64() - past);
        (interval / 2)
            .saturating_sub(Duration::from_secs_f64(from_halfway))
            .min(far)
    };
    // The last of equals.
    let candidates = [obtained_at + lifetime.mul_f64(EARLY), latest, usual.min(latest)];
    candidates.into_iter().max_by_key(distance).unwrap_or(usual)
}

/// How near the end is too near while renewal fails.
fn margin(current: &CurrentCertificate) -> Duration {
    let lifetime = schedule::lifetime(&current.leaf, current.obtained_at);
    (lifetime / 8).min(LONGEST_MARGIN)
}

/// Of the lifetime: for the sake of its distance no spare is renewed later than this, or than it might be by itself. An outage
/// of a day and a half is over before a third of 45 days is left.
const LATEST: f64 = 0.63;
/// Of the lifetime: so early it is renewed where everything later is nearer to a renewal of the certificate.
const EARLY: f64 = 0.4;
const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST_MARGIN: Duration = Duration::from_secs(12 * 3_600);

#[cfg(test)]
mod tests;
