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

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use aws_lc_rs::digest;

use crate::clock::Timestamp;
use crate::config::RateLimits;
use crate::name::NamePattern;

/// What a limit allows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quota {
    /// How many at once, when none was used for long.
    pub tokens: u32,
    /// The time after which one more is allowed.
    pub refill: Duration,
}

/// What is limited.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Bucket {
    /// Certificates for names below a registered domain, or for an IP address.
    Domain(String),
    /// Failed authorizations of one name by this account.
    Failures(String),
    /// Orders of this account.
    Orders,
    /// Certificates for exactly these names; holds a digest of them and the first one.
    Set(String),
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
    const fn within(tokens: u32, window: Duration) -> Self {
        Self {
            tokens,
            refill: Duration::from_secs(window.as_secs() / tokens as u64),
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

impl Bucket {
    /// What it allows by `rules`; `None` where nothing is known.
    pub fn quota(&self, rules: RateLimits) -> Option<Quota> {
        const HOUR: Duration = Duration::from_secs(3_600);
        const WEEK: Duration = Duration::from_secs(7 * 86_400);
        let (domain, failures, orders, set) = match rules {
            RateLimits::LetsEncrypt => (50, 5, 300, 5),
            RateLimits::LetsEncryptStaging => (30_000, 200, 1_500, 30_000),
            RateLimits::None => return None,
        };
        Some(match self {
            Self::Domain(_) => Quota::within(domain, WEEK),
            Self::Failures(_) => Quota::within(failures, HOUR),
            Self::Orders => Quota::within(orders, 3 * HOUR),
            Self::Set(_) => Quota::within(set, WEEK),
        })
    }

    /// The bucket of exactly these names.
    pub fn set(domains: &[NamePattern]) -> Self {
        let names: BTreeSet<_> = domains.iter().map(ToString::to_string).collect();
        let all: Vec<_> = names.iter().map(String::as_str).collect();
        let first = all.first().copied().unwrap_or_default();
        Self::Set(format!("{}/{first}", short_digest(&all.join(" "))))
    }

    /// The part of the store's key that tells it from others of the same CA; `account` is the URL of the account.
    pub fn key(&self, account: &str) -> String {
        match self {
            Self::Domain(domain) => format!("domain/{domain}"),
            Self::Failures(name) => format!("failures/{}/{name}", short_digest(account)),
            Self::Orders => format!("orders/{}", short_digest(account)),
            Self::Set(set) => format!("set/{set}"),
        }
    }

    /// The bucket that such a key is of; `None` for one of another account, or of another certgate.
    pub fn of_key(key: &str, account: &str) -> Option<Self> {
        let account = || short_digest(account);
        let (kind, rest) = key.split_once('/')?;
        match kind {
            "domain" => Some(Self::Domain(rest.to_owned())),
            "failures" => {
                let (of, name) = rest.split_once('/')?;
                (of == account()).then(|| Self::Failures(name.to_owned()))
            }
            "orders" => (rest == account()).then_some(Self::Orders),
            "set" => Some(Self::Set(rest.to_owned())),
            _ => None,
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
        let domains: BTreeSet<_> = domains.iter().map(registered_domain).collect();
        needs.taken.extend(domains.into_iter().map(Bucket::Domain));
    }
    let names: BTreeSet<_> = domains.iter().map(ToString::to_string).collect();
    needs.present.extend(names.into_iter().map(Bucket::Failures));
    needs
}

/// Which limit a CA means by the words of its refusal; `None` where that is not to be seen.
pub fn meant(detail: &str, domains: &[NamePattern]) -> Option<Bucket> {
    let quoted = || Some(NamePattern::parse(detail.split('"').nth(1)?).ok()?.to_string());
    if detail.contains("exact set") {
        Some(Bucket::set(domains))
    } else if detail.contains("failed authorizations") {
        quoted().map(Bucket::Failures)
    } else if detail.contains("new orders") {
        Some(Bucket::Orders)
    } else if detail.contains("certificates") && detail.contains("already issued for") {
        quoted().map(Bucket::Domain)
    } else {
        None
    }
}

/// Tells texts apart that are no part of a key.
fn short_digest(text: &str) -> String {
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    hash.as_ref()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// What a name is registered under, by the public suffix list; an IP address counts as one.
fn registered_domain(name: &NamePattern) -> String {
    if name.address().is_some() {
        return name.to_string();
    }
    let base = name.base().as_str();
    psl::domain_str(base).unwrap_or(base).to_owned()
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(domain) => write!(f, "certificates for {domain}"),
            Self::Failures(name) => write!(f, "failed authorizations of {name}"),
            Self::Orders => f.write_str("orders of the account"),
            Self::Set(set) => {
                let first = set.split_once('/').map_or("", |(_, first)| first);
                write!(f, "certificates for exactly the names of {first}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn the_numbers_are_those_that_lets_encrypt_publishes() {
        let quota = |bucket: Bucket| {
            let quota = bucket.quota(RULES).unwrap();
            (quota.tokens, quota.refill.as_secs())
        };
        assert_eq!(quota(Bucket::Orders), (300, 36));
        assert_eq!(quota(Bucket::Domain("a.example".into())), (50, 12_096));
        assert_eq!((set().tokens, set().refill.as_secs()), (5, 120_960));
        assert_eq!(quota(Bucket::Failures("a.example".into())), (5, 720));
        assert_eq!(Bucket::Orders.quota(RateLimits::None), None);
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
        assert_eq!(new.present.len(), 4);
        let same = needs(&domains, OrderKind::SameNames);
        assert_eq!(same.taken, [Bucket::set(&domains)]);
        assert_eq!(needs(&domains, OrderKind::Replacement), Needs::default());
    }

    #[test]
    fn the_order_of_names_does_not_make_another_set() {
        let one = Bucket::set(&names(&["a.example", "b.example"]));
        assert_eq!(one, Bucket::set(&names(&["b.example", "a.example", "a.example"])));
        assert_ne!(one, Bucket::set(&names(&["a.example"])));
    }

    #[test]
    fn keys_tell_buckets_and_accounts_apart() {
        let account = "https://ca.example/acct/1";
        for bucket in [
            Bucket::Orders,
            Bucket::Domain("a.example".into()),
            Bucket::Failures("*.a.example".into()),
            Bucket::set(&names(&["a.example"])),
        ] {
            assert_eq!(Bucket::of_key(&bucket.key(account), account), Some(bucket));
        }
        for bucket in [Bucket::Orders, Bucket::Failures("a.example".into())] {
            assert_eq!(
                Bucket::of_key(&bucket.key("https://ca.example/acct/12"), account),
                None
            );
        }
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
            ("Service busy; retry later.", None),
        ] {
            assert_eq!(meant(detail, &domains), expected, "{detail}");
        }
    }
}
