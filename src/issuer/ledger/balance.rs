//! All limits of one CA together: whether an order can be placed, and when it can.

use std::collections::HashMap;

use crate::clock::Timestamp;
use crate::config::RateLimits;
use crate::issuer::ledger::{Bucket, Needs};

/// What is left of a CA's limits, as a value. What decides at the moment of an order is the store; this is what plans
/// are made by.
#[derive(Clone, Debug)]
pub struct Ledger {
    rules: RateLimits,
    full_at: HashMap<Bucket, Timestamp>,
}

impl Ledger {
    /// The limits of `rules`, of which nothing is used.
    pub fn new(rules: RateLimits) -> Self {
        Self {
            rules,
            full_at: HashMap::new(),
        }
    }

    /// Takes note of a bucket that will be full at `full_at`.
    pub fn note(&mut self, bucket: Bucket, full_at: Timestamp) {
        self.full_at.insert(bucket, full_at);
    }

    /// When the bucket will be full again; in the past where it is.
    pub fn full_at(&self, bucket: &Bucket) -> Timestamp {
        self.full_at.get(bucket).copied().unwrap_or_default()
    }

    /// What keeps an order from being placed at `now` for the longest time, and until when; `None` where nothing does.
    pub fn obstacle<'n>(&self, needs: &'n Needs, now: Timestamp) -> Option<(&'n Bucket, Timestamp)> {
        let free_at = |bucket: &'n Bucket| {
            let quota = bucket.quota(self.rules)?;
            Some((bucket, quota.free_at(self.full_at(bucket))))
        };
        let all = needs.taken.iter().chain(&needs.present).filter_map(free_at);
        all.filter(|(_, free_at)| *free_at > now)
            .max_by_key(|(_, free_at)| *free_at)
    }

    /// When the bucket has a token; in the past where it has one now.
    pub fn free_at(&self, bucket: &Bucket) -> Timestamp {
        let quota = bucket.quota(self.rules);
        quota.map_or(Timestamp::default(), |quota| quota.free_at(self.full_at(bucket)))
    }

    /// How many orders find a token at `now`, one at least, and when another one does once these have theirs; `None` where
    /// nothing is limited.
    pub fn room(&self, bucket: &Bucket, now: Timestamp) -> Option<(u32, Timestamp)> {
        let quota = bucket.quota(self.rules)?;
        let full_at = self.full_at(bucket).max(now);
        let room = quota.left(full_at, now).max(1);
        Some((room, quota.free_at(full_at + quota.refill * room)))
    }

    /// Counts an order that is placed.
    pub fn take(&mut self, needs: &Needs, now: Timestamp) {
        for bucket in &needs.taken {
            if let Some(quota) = bucket.quota(self.rules) {
                let full_at = quota.take(self.full_at(bucket), now);
                self.note(bucket.clone(), full_at);
            }
        }
    }

    /// Takes back what was counted for nothing.
    pub fn give_back(&mut self, bucket: &Bucket) {
        if let Some(quota) = bucket.quota(self.rules) {
            let full_at = quota.give_back(self.full_at(bucket));
            self.note(bucket.clone(), full_at);
        }
    }

    /// How many are left of a bucket, and of how many; `None` where nothing is limited.
    pub fn left(&self, bucket: &Bucket, now: Timestamp) -> Option<(u32, u32)> {
        let quota = bucket.quota(self.rules)?;
        Some((quota.left(self.full_at(bucket), now), quota.tokens))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::issuer::ledger::{OrderKind, needs};
    use crate::name::NamePattern;

    #[test]
    fn an_order_waits_for_the_limit_that_is_free_last() {
        let now = Timestamp::from_unix_seconds(1_795_219_200);
        let mut ledger = Ledger::new(RateLimits::LetsEncrypt);
        let order = |n: usize| {
            let name = NamePattern::parse(&format!("{n}.a.example")).unwrap();
            needs(&[name], OrderKind::New)
        };
        for n in 0..50 {
            assert_eq!(ledger.obstacle(&order(n), now), None, "{n}");
            ledger.take(&order(n), now);
        }
        let domain = Bucket::Domain("a.example".into());
        let held = order(50);
        let until = now + Duration::from_secs(12_096);
        assert_eq!(ledger.obstacle(&held, now), Some((&domain, until)));
        assert_eq!(ledger.obstacle(&held, until), None);
        assert_eq!(ledger.left(&Bucket::Orders, now), Some((250, 300)));
        ledger.give_back(&domain);
        assert_eq!(ledger.obstacle(&held, now), None);
        assert_eq!(ledger.left(&domain, now), Some((1, 50)));
    }
}
