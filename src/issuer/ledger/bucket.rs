//! What CAs limit: each limit with its numbers, its words and its place in the store.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use aws_lc_rs::digest;

use crate::config::RateLimits;
use crate::issuer::ledger::Quota;
use crate::name::NamePattern;

/// What is limited.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Bucket {
    /// Certificates for names below a registered domain, for an IPv4 address, or for addresses of an IPv6 /64.
    Domain(String),
    /// Failed authorizations of one name by this account.
    Failures(String),
    /// Failed authorizations of one name by this account since the last that succeeded.
    FailuresInARow(String),
    /// Orders of this account.
    Orders,
    /// New accounts from the address of this gateway.
    Registrations,
    /// New accounts from the IPv6 /48 of this gateway. Others may use it too: what the CA says is all that is known.
    RegistrationsNearby,
    /// Certificates for exactly these names; holds a digest of them and the first one.
    Set(String),
}

impl Bucket {
    /// What it allows by `rules`; `None` where nothing is known.
    pub fn quota(&self, rules: RateLimits) -> Option<Quota> {
        const HOUR: Duration = Duration::from_secs(3_600);
        const DAY: Duration = Duration::from_secs(86_400);
        const WEEK: Duration = Duration::from_secs(7 * 86_400);
        let staging = match rules {
            RateLimits::LetsEncrypt => false,
            RateLimits::LetsEncryptStaging => true,
            RateLimits::None => return None,
        };
        Some(match (self, staging) {
            (Self::Domain(_), false) => Quota::within(50, WEEK),
            (Self::Domain(_), true) => Quota::within(30_000, WEEK),
            (Self::Failures(_), false) => Quota::within(5, HOUR),
            (Self::Failures(_), true) => Quota::within(200, HOUR),
            (Self::FailuresInARow(_), false) => Quota::within(1_152, DAY * 1_152),
            (Self::FailuresInARow(_), true) => Quota::within(3_600, HOUR * 6),
            (Self::Orders, false) => Quota::within(300, HOUR * 3),
            (Self::Orders, true) => Quota::within(1_500, HOUR * 3),
            (Self::Registrations, false) => Quota::within(10, HOUR * 3),
            (Self::Registrations, true) => Quota::within(50, HOUR * 3),
            (Self::RegistrationsNearby, _) => Quota::within(500, HOUR * 3),
            (Self::Set(_), false) => Quota::within(5, WEEK),
            (Self::Set(_), true) => Quota::within(30_000, WEEK),
        })
    }

    /// The bucket of the registered domain of `name` (by the public suffix list), or of its address.
    pub fn domain(name: &NamePattern) -> Self {
        Self::Domain(match name.address() {
            Some(IpAddr::V4(address)) => address.to_string(),
            Some(IpAddr::V6(address)) => {
                let network = Ipv6Addr::from_bits(address.to_bits() >> 64 << 64);
                format!("{network}/64")
            }
            None => {
                let base = name.base().as_str();
                psl::domain_str(base).unwrap_or(base).to_owned()
            }
        })
    }

    /// The bucket of exactly these names.
    pub fn set(domains: &[NamePattern]) -> Self {
        let names: BTreeSet<_> = domains.iter().map(ToString::to_string).collect();
        let all: Vec<_> = names.iter().map(String::as_str).collect();
        let first = all.first().copied().unwrap_or_default();
        Self::Set(format!("{}/{first}", short_digest(&all.join(" "))))
    }

    /// Whether each account at a CA has one of its own.
    pub fn is_of_account(&self) -> bool {
        matches!(self, Self::Failures(_) | Self::FailuresInARow(_) | Self::Orders)
    }

    /// The part of the store's key that tells it from others of the same CA; `account` is the URL of the account.
    pub fn key(&self, account: &str) -> String {
        match self {
            Self::Domain(domain) => format!("domain/{domain}"),
            Self::Failures(name) => format!("failures/{}/{name}", short_digest(account)),
            Self::FailuresInARow(name) => format!("failures-in-a-row/{}/{name}", short_digest(account)),
            Self::Orders => format!("orders/{}", short_digest(account)),
            Self::Registrations => "registrations/address".to_owned(),
            Self::RegistrationsNearby => "registrations/nearby".to_owned(),
            Self::Set(set) => format!("set/{set}"),
        }
    }

    /// The bucket that such a key is of; `None` for one of another account, or of another certgate.
    pub fn of_key(key: &str, account: &str) -> Option<Self> {
        let account = || short_digest(account);
        let (kind, rest) = key.split_once('/')?;
        let own = |of: &str| of == account();
        match kind {
            "domain" => Some(Self::Domain(rest.to_owned())),
            "failures" => {
                let (of, name) = rest.split_once('/')?;
                own(of).then(|| Self::Failures(name.to_owned()))
            }
            "failures-in-a-row" => {
                let (of, name) = rest.split_once('/')?;
                own(of).then(|| Self::FailuresInARow(name.to_owned()))
            }
            "orders" => own(rest).then_some(Self::Orders),
            "registrations" => match rest {
                "address" => Some(Self::Registrations),
                "nearby" => Some(Self::RegistrationsNearby),
                _ => None,
            },
            "set" => Some(Self::Set(rest.to_owned())),
            _ => None,
        }
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

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(domain) => write!(f, "certificates for {domain}"),
            Self::Failures(name) => write!(f, "failed authorizations of {name}"),
            Self::FailuresInARow(name) => {
                write!(f, "failed authorizations of {name} without one that succeeds")
            }
            Self::Orders => f.write_str("orders of the account"),
            Self::Registrations => f.write_str("new accounts from one address"),
            Self::RegistrationsNearby => f.write_str("new accounts from one IPv6 network of 48 bits"),
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

    fn name(text: &str) -> NamePattern {
        NamePattern::parse(text).unwrap()
    }

    fn every() -> [Bucket; 7] {
        [
            Bucket::Domain("a.example".into()),
            Bucket::Failures("*.a.example".into()),
            Bucket::FailuresInARow("*.a.example".into()),
            Bucket::Orders,
            Bucket::Registrations,
            Bucket::RegistrationsNearby,
            Bucket::set(&[name("a.example")]),
        ]
    }

    #[test]
    fn the_numbers_are_those_that_lets_encrypt_publishes() {
        let numbers = |rules| {
            every().map(|bucket| {
                let quota = bucket.quota(rules).unwrap();
                (quota.tokens, quota.refill.as_millis())
            })
        };
        let published = [
            (50, 12_096_000),
            (5, 720_000),
            (1_152, 86_400_000),
            (300, 36_000),
            (10, 1_080_000),
            (500, 21_600),
            (5, 120_960_000),
        ];
        assert_eq!(numbers(RateLimits::LetsEncrypt), published);
        let staging = [
            (30_000, 20_160),
            (200, 18_000),
            (3_600, 6_000),
            (1_500, 7_200),
            (50, 216_000),
            (500, 21_600),
            (30_000, 20_160),
        ];
        assert_eq!(numbers(RateLimits::LetsEncryptStaging), staging);
        assert!(
            every()
                .iter()
                .all(|bucket| bucket.quota(RateLimits::None).is_none())
        );
    }

    #[test]
    fn a_registered_domain_is_that_of_the_public_suffix_list_and_addresses_count_as_one() {
        for (text, expected) in [
            ("www.example.com", "example.com"),
            ("*.new.blog.example.co.uk", "example.co.uk"),
            ("192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ] {
            assert_eq!(
                Bucket::domain(&name(text)),
                Bucket::Domain(expected.into()),
                "{text}"
            );
        }
    }

    #[test]
    fn the_order_of_names_does_not_make_another_set() {
        let (a, b) = (name("a.example"), name("b.example"));
        let one = Bucket::set(&[a.clone(), b.clone()]);
        assert_eq!(one, Bucket::set(&[b, a.clone(), a.clone()]));
        assert_ne!(one, Bucket::set(&[a]));
    }

    #[test]
    fn keys_tell_buckets_and_accounts_apart() {
        let account = "https://ca.example/acct/1";
        for bucket in every() {
            let key = bucket.key(account);
            assert_eq!(Bucket::of_key(&key, account), Some(bucket.clone()));
            let elsewhere = Bucket::of_key(&key, "https://ca.example/acct/12");
            assert_eq!(elsewhere.is_none(), bucket.is_of_account(), "{bucket}");
        }
    }
}
