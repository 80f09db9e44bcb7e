//! What a policy would have made of the handshakes that were counted.

use std::collections::BTreeMap;

use super::offer::Offer;
use super::tally::{Counts, Fate};
use crate::policy::Policy;

/// How many of the latest handshakes a policy would have refused, and why.
#[derive(Clone, Debug, Default)]
pub struct Preview {
    /// Handshakes that were counted.
    pub handshakes: u64,
    /// Those of them of which the offer is not known any more: nothing can be said of them.
    pub unknown: u64,
    /// Those of them that the policy would have refused.
    pub would_fail: u64,
    /// Those of them that the policy in force refuses.
    pub fail_now: u64,
    /// Why the policy would have refused them, the most usual reason first.
    pub reasons: Vec<Reason>,
    /// Those that are refused whatever the policy is, with why.
    pub regardless: Vec<(String, u64)>,
}

/// Handshakes that would have failed for one reason.
#[derive(Clone, Debug)]
pub struct Reason {
    /// In one word.
    pub label: &'static str,
    /// In words that go on from "the client".
    pub why: String,
    /// How many.
    pub handshakes: u64,
    /// How many of them the policy in force refuses as well.
    pub fail_now: u64,
    /// What was offered, the most usual first.
    pub offers: Vec<(Offer, u64)>,
}

impl Preview {
    /// Judges what was counted by `policy`, where `in_force` is the policy now.
    pub fn of(counts: &Counts, policy: &Policy, in_force: &Policy) -> Self {
        let mut preview = Self {
            handshakes: counts.handshakes,
            unknown: counts.other,
            ..Self::default()
        };
        let mut reasons: BTreeMap<(&'static str, String), Reason> = BTreeMap::new();
        let mut regardless: BTreeMap<String, u64> = BTreeMap::new();
        for (kind, count) in &counts.kinds {
            let key = match kind.fate {
                Fate::Certificate(key) => key,
                Fate::Refused(refusal) => {
                    *regardless.entry(refusal.to_string()).or_default() += count;
                    continue;
                }
                Fate::Unacceptable => {
                    let text = "the ClientHello cannot be answered by any policy";
                    *regardless.entry(text.to_owned()).or_default() += count;
                    continue;
                }
            };
            let fails_now = match kind.offer.meet(in_force, key) {
                Ok(_) => 0,
                Err(_) => *count,
            };
            preview.fail_now += fails_now;
            let Err(misfit) = kind.offer.meet(policy, key) else {
                continue;
            };
            preview.would_fail += count;
            let reason = reasons
                .entry((misfit.label(), misfit.to_string()))
                .or_insert_with(|| Reason {
                    label: misfit.label(),
                    why: misfit.to_string(),
                    handshakes: 0,
                    fail_now: 0,
                    offers: Vec::new(),
                });
            reason.handshakes += count;
            reason.fail_now += fails_now;
            match reason.offers.iter_mut().find(|(offer, _)| *offer == kind.offer) {
                Some((_, known)) => *known += count,
                None => reason.offers.push((kind.offer, *count)),
            }
        }
        preview.reasons = reasons.into_values().collect();
        for reason in &mut preview.reasons {
            reason
                .offers
                .sort_by(|(one, a), (other, b)| b.cmp(a).then(one.cmp(other)));
        }
        // Those that are as usual as each other stay in the order of their words.
        preview
            .reasons
            .sort_by_key(|reason| std::cmp::Reverse(reason.handshakes));
        preview.regardless = regardless.into_iter().collect();
        preview
            .regardless
            .sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        preview
    }
}
