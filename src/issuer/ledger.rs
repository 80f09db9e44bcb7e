//! What a CA's rate limits leave: pure.
//!
//! A limit is a bucket of tokens that fills up at a steady rate. Of a bucket only one thing is kept, the moment at which
//! it will be full again; one that is full is not kept at all.
//!
//! | Let's Encrypt's limits | an order of new names | of the names before | one that replaces (RFC 9773) |
//! | --- | --- | --- | --- |
//! | 300 orders for an account in 3 hours | takes one | – | – |
//! | 50 certificates for a registered domain in 7 days | takes one for each | – | – |
//! | 5 certificates for an exact set of names in 7 days | takes one | takes one | – |
//! | 5 failed authorizations for a name and account in an hour | needs one for each | needs one for each | – |
//! | 1,152 of them for a name and account since the last that succeeded, and one more a day | needs one for each | needs one for each | – |
//!
//! A new account takes one of 10 for an address in 3 hours, and of 500 for an IPv6 /48.

mod balance;
mod bucket;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

pub use balance::{Ledger, Shared};
pub use bucket::Bucket;

use crate::clock::Timestamp;
use crate::inventory::CurrentCertificate;
use crate::name::NamePattern;

/// What a limit allows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quota {
    /// How many at once, when none was used for long.
    pub tokens: u32,
    /// The time after which one more is allowed.
    pub refill: Duration,
}

/// What an order is, as far as limits go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OrderKind {
    /// For names that no certificate of the same CA was for.
    New,
    /// It says which certificate it replaces, and the CA knows what that means.
    Replacement,
    /// For exactly the names of the certificate before.
    SameNames,
}

/// The buckets of one order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Needs {
    /// Those that lose a token.
    pub taken: Vec<Bucket>,
    /// Those that must have one.
    pub present: Vec<Bucket>,
}

impl Quota {
    fn within(tokens: u32, window: Duration) -> Self {
        Self {
            tokens,
            refill: window / tokens,
        }
    }

    /// How many are left at `now` in a bucket that will be full at `full_at`.
    pub fn left(self, full_at: Timestamp, now: Timestamp) -> u32 {
        let missing = full_at.since(now).as_secs_f64() / self.refill.as_secs_f64();
        // Rounded up: a token is there when all of it is.
        self.tokens.saturating_sub(missing.ceil() as u32)
    }

    /// When there is one to take; in the past where there is one now.
    pub fn free_at(self, full_at: Timestamp) -> Timestamp {
        full_at - self.refill * self.tokens.saturating_sub(1)
    }

    /// When the bucket will be full, once one is taken.
    pub fn take(self, full_at: Timestamp, now: Timestamp) -> Timestamp {
        full_at.max(now) + self.refill
    }

    /// When it will be, once one is given back.
    pub fn give_back(self, full_at: Timestamp) -> Timestamp {
        full_at - self.refill
    }

    /// When it will be, where the CA says that there is none before `until`.
    pub fn emptied(self, full_at: Timestamp, until: Timestamp) -> Timestamp {
        full_at.max(until + self.refill * self.tokens.saturating_sub(1))
    }
}

impl OrderKind {
    /// What an order for `domains` is to the CA of `issuer` where it does not say what it replaces.
    pub fn of(domains: &[NamePattern], issuer: &str, current: Option<&CurrentCertificate>) -> Self {
        let wanted: BTreeSet<_> = domains.iter().collect();
        let is_same = current.is_some_and(|current| {
            current.issuer == issuer && current.leaf.names.iter().collect::<BTreeSet<_>>() == wanted
        });
        match is_same {
            true => Self::SameNames,
            false => Self::New,
        }
    }
}

/// The buckets of an order for `domains`.
pub fn needs(domains: &[NamePattern], kind: OrderKind) -> Needs {
    let mut needs = Needs::default();
    if kind == OrderKind::Replacement {
        return needs;
    }
    needs.taken.push(Bucket::set(domains));
    if kind == OrderKind::New {
        needs.taken.push(Bucket::Orders);
        let domains: BTreeSet<_> = domains.iter().map(Bucket::domain).collect();
        needs.taken.extend(domains);
    }
    let names: BTreeSet<_> = domains.iter().map(ToString::to_string).collect();
    needs.present.extend(names.iter().flat_map(|name| failures(name)));
    needs
}

/// The buckets of a failed authorization of `name`.
pub fn failures(name: &str) -> [Bucket; 2] {
    [
        Bucket::Failures(name.to_owned()),
        Bucket::FailuresInARow(name.to_owned()),
    ]
}

/// The buckets of a new account.
pub const REGISTRATION: [Bucket; 2] = [Bucket::Registrations, Bucket::RegistrationsNearby];

/// Which limit a CA means by the words of its refusal; `None` where that is not to be seen.
pub fn meant(detail: &str, domains: &[NamePattern]) -> Option<Bucket> {
    let quoted = || Some(NamePattern::parse(detail.split('"').nth(1)?).ok()?.to_string());
    if detail.contains("exact set") {
        Some(Bucket::set(domains))
    } else if detail.contains("failed authorizations") {
        quoted().map(Bucket::Failures)
    } else if detail.contains("new orders") {
        Some(Bucket::Orders)
    } else if detail.contains("new registrations") {
        Some(match detail.contains("IPv6") {
            true => Bucket::RegistrationsNearby,
            false => Bucket::Registrations,
        })
    } else if detail.contains("certificates") && detail.contains("already issued for") {
        quoted().map(Bucket::Domain)
    } else {
        None
    }
}

impl fmt::Display for OrderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "new",
            Self::Replacement => "replacement",
            Self::SameNames => "same-names",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RateLimits;

    const RULES: RateLimits = RateLimits::LetsEncrypt;

    fn now() -> Timestamp {
        Timestamp::from_unix_seconds(1_795_219_200)
    }

    fn names(names: &[&str]) -> Vec<NamePattern> {
        names
            .iter()
            .map(|name| NamePattern::parse(name).unwrap())
            .collect()
    }

    fn set() -> Quota {
        Bucket::set(&names(&["a.example"])).quota(RULES).unwrap()
    }

    #[test]
    fn a_bucket_empties_token_by_token_and_fills_up_again() {
        let (quota, mut full_at) = (set(), now());
        for left in (0..5).rev() {
            assert!(quota.free_at(full_at) <= now());
            full_at = quota.take(full_at, now());
            assert_eq!(quota.left(full_at, now()), left);
        }
        assert_eq!(quota.free_at(full_at), now() + quota.refill);
        let later = now() + quota.refill;
        assert_eq!(quota.left(full_at, later - Duration::from_secs(1)), 0);
        assert_eq!(quota.left(full_at, later), 1);
        assert_eq!(quota.left(full_at, now() + quota.refill * 9), 5);
        assert_eq!(quota.left(quota.give_back(full_at), now()), 1);
    }

    #[test]
    fn what_the_ca_says_corrects_what_was_counted() {
        let quota = set();
        let until = now() + Duration::from_secs(600);
        let full_at = quota.emptied(now(), until);
        assert_eq!(quota.left(full_at, now()), 0);
        assert_eq!(quota.free_at(full_at), until);
        // It never makes more of a bucket than was counted.
        assert_eq!(
            quota.emptied(full_at + quota.refill, until),
            full_at + quota.refill
        );
    }

    #[test]
    fn a_renewal_costs_less_and_a_replacement_nothing() {
        let domains = names(&["www.example.co.uk", "example.co.uk", "*.example.com", "192.0.2.1"]);
        let new = needs(&domains, OrderKind::New);
        let domain = |name: &str| Bucket::Domain(name.to_owned());
        let expected = [
            Bucket::Orders,
            domain("192.0.2.1"),
            domain("example.co.uk"),
            domain("example.com"),
        ];
        assert_eq!(new.taken[1..], expected);
        assert_eq!(new.present.len(), 2 * 4);
        let same = needs(&domains, OrderKind::SameNames);
        assert_eq!(same.taken, [Bucket::set(&domains)]);
        assert_eq!(needs(&domains, OrderKind::Replacement), Needs::default());
    }

    #[test]
    fn a_name_that_never_succeeds_gets_one_try_a_day_in_the_end() {
        let [_, in_a_row] = failures("a.example");
        let (quota, mut full_at) = (in_a_row.quota(RULES).unwrap(), now());
        for _ in 0..1_152 {
            assert!(quota.free_at(full_at) <= now());
            full_at = quota.take(full_at, now());
        }
        assert_eq!(quota.left(full_at, now()), 0);
        let day = Duration::from_secs(86_400);
        assert_eq!(quota.free_at(full_at), now() + day);
        assert_eq!(quota.left(full_at, now() + day), 1);
    }

    #[test]
    fn the_words_of_boulder_name_their_limit() {
        let domains = names(&["www.a.example"]);
        for (detail, expected) in [
            (
                "too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s",
                Some(Bucket::set(&domains)),
            ),
            (
                "too many certificates (50) already issued for \"a.example\" in the last 168h0m0s",
                Some(Bucket::Domain("a.example".into())),
            ),
            (
                "too many new orders (300) from this account in the last 3h0m0s",
                Some(Bucket::Orders),
            ),
            (
                "too many failed authorizations (5) for \"www.a.example\" in the last 1h0m0s",
                Some(Bucket::Failures("www.a.example".into())),
            ),
            (
                "too many new registrations (10) from this IP address in the last 3h0m0s",
                Some(Bucket::Registrations),
            ),
            (
                "too many new registrations (500) from this /48 subnet of IPv6 addresses in the last 3h0m0s",
                Some(Bucket::RegistrationsNearby),
            ),
            ("Service busy; retry later.", None),
        ] {
            assert_eq!(meant(detail, &domains), expected, "{detail}");
        }
    }
}
