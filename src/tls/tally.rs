//! How often which offers came, and what they were answered: of the latest handshakes, and bounded.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

use super::offer::Offer;
use super::server::{Decision, Refusal};
use super::table::KeyKind;
use crate::on_demand::Denial;

/// Counts the offers of the latest handshakes: between [`GENERATION`](Self::GENERATION) of them and twice as many.
///
/// It holds [`MOST_KINDS`](Self::MOST_KINDS) kinds of offers. When there are more, the rarest gives way to the new one and
/// is counted without its kind from then on; whoever makes up offers cannot drive out those that come often.
#[derive(Debug, Default)]
pub struct Tally {
    current: Counts,
    before: Option<Counts>,
}

/// What is counted together.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Kind {
    /// What was offered.
    pub offer: Offer,
    /// What it was answered.
    pub fate: Fate,
}

/// How far a handshake got before the policy was asked.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Fate {
    /// It got a certificate with such a key; what follows is the policy's.
    Certificate(KeyKind),
    /// It was refused, whatever the policy is.
    Refused(Refusal),
    /// It is a ClientHello, but not one that can be answered: one without signature algorithms, say.
    Unacceptable,
}

impl Fate {
    /// That of a client about which this was decided; nothing where it is no client, but a CA with its challenge.
    pub fn of(decision: &Decision) -> Option<Self> {
        Some(match decision {
            Decision::Challenge(_) => return None,
            Decision::Handshake { chosen, .. } => Self::Certificate(chosen.candidate().key()),
            Decision::LookUp(_) => Self::Refused(Refusal::NotLoaded),
            Decision::Obtain => Self::Refused(Refusal::NotObtained(Denial::Awaited)),
            Decision::Refuse(refusal) => Self::Refused(*refusal),
        })
    }
}

/// How often each kind came.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// When the first was counted.
    pub since: Option<Instant>,
    /// All of them, the ones without their kind included.
    pub handshakes: u64,
    /// Those of which the kind is not known any more.
    pub other: u64,
    /// The others by kind.
    pub kinds: HashMap<Kind, u64>,
}

impl Tally {
    /// Handshakes after which counting begins anew; the counts before stay until it does so again.
    pub const GENERATION: u64 = 50_000;
    /// Kinds that are told apart in a generation.
    pub const MOST_KINDS: usize = 512;

    /// Counts one more.
    pub fn note(&mut self, offer: Offer, fate: Fate, now: impl FnOnce() -> Instant) {
        if self.current.handshakes >= Self::GENERATION {
            self.before = Some(std::mem::take(&mut self.current));
        }
        let current = &mut self.current;
        if current.handshakes == 0 {
            current.since = Some(now());
        }
        current.handshakes += 1;
        let kind = Kind { offer, fate };
        if let Some(count) = current.kinds.get_mut(&kind) {
            *count += 1;
            return;
        }
        if current.kinds.len() >= Self::MOST_KINDS {
            current.forget_the_rarest();
        }
        current.kinds.insert(kind, 1);
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        let mut counts = self.current.clone();
        if let Some(before) = &self.before {
            counts.add(before);
        }
        counts
    }
}

impl Counts {
    /// Both together; in any order it comes to the same.
    pub fn add(&mut self, others: &Self) {
        self.since = match (self.since, others.since) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.handshakes += others.handshakes;
        self.other += others.other;
        for (kind, count) in &others.kinds {
            *self.kinds.entry(*kind).or_default() += count;
        }
    }

    /// How often each of the names came that `names` finds in an offer; the usual ones first.
    pub fn by<I: Iterator<Item = &'static str>>(
        &self,
        names: impl Fn(&Offer) -> I,
    ) -> Vec<(&'static str, u64)> {
        let mut counted: HashMap<_, u64> = HashMap::new();
        for (kind, count) in &self.kinds {
            for name in names(&kind.offer) {
                *counted.entry(name).or_default() += count;
            }
        }
        let mut counted: Vec<_> = counted.into_iter().collect();
        counted.sort_by(|(one, a), (other, b)| b.cmp(a).then(one.cmp(other)));
        counted
    }

    fn forget_the_rarest(&mut self) {
        let rarest = self.kinds.iter().min_by_key(|(_, count)| **count);
        let rarest = rarest.map(|(kind, _)| *kind);
        let forgotten = rarest.and_then(|kind| self.kinds.remove(&kind));
        self.other += forgotten.unwrap_or_default();
    }
}
