//! All limits of one CA together: whether an order can be placed, and when it can.

use std::collections::HashMap;

use crate::clock::Timestamp;
use crate::config::RateLimits;
use crate::issuer::ledger::{self, Bucket, Needs, OrderKind};
use crate::name::NamePattern;

/// What is left of a CA's limits, as a value. What decides at the moment of an order is the store; this is what plans
/// are made by.
#[derive(Clone, Debug)]
pub struct Ledger {
    rules: RateLimits,
    ca: Option<String>,
    full_at: HashMap<Bucket, Timestamp>,
    account: Account,
}

/// What is left of a bucket that several issuers have in common.
#[derive(Clone, Debug)]
pub struct Shared {
    ca: String,
    bucket: Bucket,
    full_at: Timestamp,
}

impl Shared {
    /// The bucket.
    pub fn bucket(&self) -> &Bucket {
        &self.bucket
    }
}

/// What is known of the account that orders are placed with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Account {
    /// There is none; the next order registers one.
    Absent,
    /// An order that has been counted registers it, if nothing comes between.
    Coming,
    /// There is one.
    Present,
}

impl Ledger {
    /// The limits of `rules`, of which nothing is used, for an account that there is.
    pub fn new(rules: RateLimits) -> Self {
        Self {
            rules,
            ca: None,
            full_at: HashMap::new(),
            account: Account::Present,
        }
    }

    /// The same at `ca`, of which other issuers may have an account as well.
    pub fn of_ca(self, ca: String) -> Self {
        Self { ca: Some(ca), ..self }
    }

    /// The same where there is no account yet: the next order registers one, and costs that as well.
    pub fn without_account(self) -> Self {
        Self {
            account: Account::Absent,
            ..self
        }
    }

    /// The buckets of an order for `domains`, and of the account that it may have to register.
    pub fn needs(&self, domains: &[NamePattern], kind: OrderKind) -> Needs {
        let mut needs = ledger::needs(domains, kind);
        needs.taken.extend(self.registration());
        needs
    }

    /// The buckets of the account, where it has yet to be registered.
    pub fn registration(&self) -> impl Iterator<Item = Bucket> + use<> {
        let buckets = (self.account == Account::Absent).then_some(ledger::REGISTRATION);
        buckets.into_iter().flatten()
    }

    /// When the account can be registered, if it has yet to be; in the past where it can be now, or is.
    pub fn registration_free_at(&self) -> Timestamp {
        if self.account != Account::Absent {
            return Timestamp::default();
        }
        let buckets = self.registration().map(|bucket| self.free_at(&bucket));
        buckets.max().unwrap_or_default()
    }

    /// When the account may place an order for new names, whatever they are; in the past where it may now.
    pub fn account_free_at(&self) -> Timestamp {
        self.free_at(&Bucket::Orders).max(self.registration_free_at())
    }

    /// Takes note of a bucket that will be full at `full_at`.
    pub fn note(&mut self, bucket: Bucket, full_at: Timestamp) {
        self.full_at.insert(bucket, full_at);
    }

    /// Takes note of what was taken of a bucket by another count, where this one may not have seen it yet.
    pub fn keep_taken(&mut self, bucket: &Bucket, other: &Self) {
        let full_at = self.full_at(bucket).max(other.full_at(bucket));
        self.expect_account(bucket);
        self.note(bucket.clone(), full_at);
    }

    /// When the bucket will be full again; in the past where it is.
    pub fn full_at(&self, bucket: &Bucket) -> Timestamp {
        self.full_at.get(bucket).copied().unwrap_or_default()
    }

    /// What other issuers at the same CA are to know of a bucket: it is one for all of them. `None` where it is not.
    pub fn shared(&self, bucket: &Bucket) -> Option<Shared> {
        let ca = self.ca.as_ref().filter(|_| !bucket.is_of_account())?;
        Some(Shared {
            ca: ca.clone(),
            bucket: bucket.clone(),
            full_at: self.full_at(bucket),
        })
    }

    /// Takes note of what another issuer has found, where that is at the same CA; returns whether it is.
    pub fn follow(&mut self, shared: &Shared) -> bool {
        let is_same = self.ca.as_ref() == Some(&shared.ca);
        if is_same {
            self.note(shared.bucket.clone(), shared.full_at);
        }
        is_same
    }

    /// The same, where what was counted here may not be in that count yet.
    pub fn follow_upwards(&mut self, shared: &Shared) {
        if self.full_at(&shared.bucket) < shared.full_at {
            self.follow(shared);
        }
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
            self.expect_account(bucket);
            if let Some(quota) = bucket.quota(self.rules) {
                let full_at = quota.take(self.full_at(bucket), now);
                self.note(bucket.clone(), full_at);
            }
        }
    }

    /// Takes note that an order was placed, so that there is an account.
    pub fn note_account(&mut self) {
        self.account = Account::Present;
    }

    fn expect_account(&mut self, taken: &Bucket) {
        if *taken == Bucket::Registrations && self.account == Account::Absent {
            self.account = Account::Coming;
        }
    }

    /// Takes back what was counted for nothing; an account, too, is yet to be registered then.
    pub fn give_back(&mut self, bucket: &Bucket) {
        if *bucket == Bucket::Registrations && self.account == Account::Coming {
            self.account = Account::Absent;
        }
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
    use crate::issuer::ledger::needs;

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

    #[test]
    fn issuers_at_one_ca_share_what_does_not_belong_to_their_accounts() {
        let now = Timestamp::from_unix_seconds(1_795_219_200);
        let at = |ca: &str| Ledger::new(RateLimits::LetsEncrypt).of_ca(ca.to_owned());
        let (mut one, mut two, mut elsewhere) = (at("ca.example"), at("ca.example"), at("other.example"));
        let mut of_no_ca = Ledger::new(RateLimits::LetsEncrypt);
        let needs = needs(&[NamePattern::parse("www.a.example").unwrap()], OrderKind::New);
        one.take(&needs, now);
        for shared in needs.taken.iter().filter_map(|bucket| one.shared(bucket)) {
            assert!(two.follow(&shared));
            assert!(!elsewhere.follow(&shared) && !of_no_ca.follow(&shared));
        }
        let left = |ledger: &Ledger| {
            let buckets = needs.taken.iter();
            buckets
                .map(|bucket| ledger.left(bucket, now).unwrap().0)
                .collect::<Vec<_>>()
        };
        // The exact set, the account's orders, and the registered domain.
        assert_eq!(left(&one), [4, 299, 49]);
        assert_eq!(left(&two), [4, 300, 49]);
        assert_eq!(left(&elsewhere), [5, 300, 50]);
        assert_eq!(left(&of_no_ca), [5, 300, 50]);
        of_no_ca.take(&needs, now);
        assert!(needs.taken.iter().all(|bucket| of_no_ca.shared(bucket).is_none()));
    }

    #[test]
    fn the_first_order_waits_until_an_account_can_be_registered_and_pays_for_it() {
        let now = Timestamp::from_unix_seconds(1_795_219_200);
        let domains = [NamePattern::parse("a.example").unwrap()];
        let mut ledger = Ledger::new(RateLimits::LetsEncrypt).without_account();
        assert!(ledger.account_free_at() <= now);
        let until = now + Duration::from_secs(600);
        let quota = Bucket::Registrations.quota(RateLimits::LetsEncrypt).unwrap();
        ledger.note(Bucket::Registrations, quota.emptied(now, until));
        assert_eq!(ledger.account_free_at(), until);
        for kind in [OrderKind::New, OrderKind::SameNames, OrderKind::Replacement] {
            let needs = ledger.needs(&domains, kind);
            assert_eq!(
                ledger.obstacle(&needs, now),
                Some((&Bucket::Registrations, until))
            );
        }

        let needs = ledger.needs(&domains, OrderKind::New);
        ledger.take(&needs, until);
        assert_eq!(ledger.left(&Bucket::Registrations, until), Some((0, 10)));
        assert!(ledger.account_free_at() <= until);
        assert_eq!(ledger.needs(&domains, OrderKind::Replacement), Needs::default());

        for bucket in &needs.taken {
            ledger.give_back(bucket);
        }
        assert_eq!(ledger.left(&Bucket::Registrations, until), Some((1, 10)));
        assert_eq!(ledger.needs(&domains, OrderKind::New), needs);

        ledger.take(&needs, until);
        ledger.note_account();
        ledger.give_back(&Bucket::Registrations);
        assert_eq!(ledger.registration().count(), 0);
    }
}
