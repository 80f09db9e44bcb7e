//! Which names a certificate can be for. What is only looked up, or stands in the certificates of others, need not obey:
//! `_acme-challenge.example.com` is a name of DNS, and of no host.

use std::net::IpAddr;

use super::{DnsName, NamePattern};

/// Why no certificate can be for a name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NotCertifiable {
    /// It would be taken for an IP address.
    #[error(
        "`{name}` cannot be in a certificate: it ends in the number `{label}`, as an IP address does, and is none"
    )]
    Number {
        /// The name.
        name: NamePattern,
        /// Its last label.
        label: String,
    },
    /// More than 253 octets with the asterisk.
    #[error("`{name}` cannot be in a certificate: it has {octets} octets; 253 are allowed")]
    TooLong {
        /// The name.
        name: NamePattern,
        /// The length found.
        octets: usize,
    },
    /// A name of DNS that is no host's (RFC 1123 §2.1).
    #[error(
        "`{name}` cannot be in a certificate: the label `{label}` holds an underscore; letters, digits and hyphens are \
         allowed (RFC 5280 §4.2.1.6)"
    )]
    Underscore {
        /// The name.
        name: NamePattern,
        /// The first such label.
        label: String,
    },
}

/// Why a CA that the world trusts signs for a name in no case.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NotPublic {
    /// It is no host's on the internet.
    #[error("it is no address of a host on the internet")]
    Address,
    /// A label like that of an international name, without being one (RFC 5890 §2.3.1).
    #[error(
        "the label `{label}` has hyphens in the third and fourth place, as international names do, and is none"
    )]
    Hyphens {
        /// The label.
        label: String,
    },
    /// A name of one label, or one of a tree that is kept out of the public DNS.
    #[error("no such name is in the public DNS")]
    Reserved,
    /// A wildcard for the names of strangers (CA/Browser Forum, Baseline Requirements §3.2.2.6).
    #[error("names below `{suffix}` are anybody's: it is a public suffix")]
    Suffix {
        /// What follows the `*.`.
        suffix: DnsName,
    },
}

impl NamePattern {
    /// Checks that a certificate can be for it: a host name (RFC 1123 §2.1, RFC 5280 §4.2.1.6), a wildcard over host
    /// names, or an IP address.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn check_certifiable(&self) -> Result<(), NotCertifiable> {
        if self.address().is_some() {
            return Ok(());
        }
        let base = self.base();
        let name = || self.clone();
        if let Some(label) = base.as_str().split('.').find(|label| label.contains('_')) {
            return Err(NotCertifiable::Underscore {
                name: name(),
                label: label.to_owned(),
            });
        }
        if let Some(label) = base.number() {
            return Err(NotCertifiable::Number {
                name: name(),
                label: label.to_owned(),
            });
        }
        match self.to_string().len() {
            octets if octets > 253 => Err(NotCertifiable::TooLong { name: name(), octets }),
            _ => Ok(()),
        }
    }

    /// Checks that nothing keeps the CAs that the world trusts from signing for it; what they go by beside this is theirs.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn check_public(&self) -> Result<(), NotPublic> {
        if let Some(address) = self.address() {
            return match is_internal(address) {
                true => Err(NotPublic::Address),
                false => Ok(()),
            };
        }
        let base = self.base();
        let top = base.as_str().rsplit_once('.').map(|(_, top)| top);
        if top.is_none_or(|top| RESERVED.contains(&top)) {
            return Err(NotPublic::Reserved);
        }
        let looks_international = |label: &&str| label.get(2..4) == Some("--") && !label.starts_with("xn");
        if let Some(label) = base.as_str().split('.').find(looks_international) {
            return Err(NotPublic::Hyphens {
                label: label.to_owned(),
            });
        }
        match self.is_wildcard() && is_public_suffix(base) {
            true => Err(NotPublic::Suffix { suffix: base.clone() }),
            false => Ok(()),
        }
    }
}

impl DnsName {
    /// The last label, where it is a number: whoever reads such a name takes it for an IP address (WHATWG URL,
    /// §3.5).
    pub fn number(&self) -> Option<&str> {
        let text = self.as_str();
        let last = text.rsplit_once('.').map_or(text, |(_, last)| last);
        let hexadecimal = last.strip_prefix("0x");
        let is_number = last.bytes().all(|octet| octet.is_ascii_digit())
            || hexadecimal.is_some_and(|digits| digits.bytes().all(|octet| octet.is_ascii_hexdigit()));
        is_number.then_some(last)
    }
}

fn is_public_suffix(name: &DnsName) -> bool {
    let suffix = psl::suffix(name.as_str().as_bytes());
    suffix.is_some_and(|suffix| {
        // Whoever has had a suffix of their own listed may have a certificate for all below it.
        suffix.typ() == Some(psl::Type::Icann) && suffix.as_bytes() == name.as_str().as_bytes()
    })
}

/// What the IANA keeps from being anybody's on the internet. The ranges for documentation are left out, as `example.com`
/// is: whoever tries what a document says gets to the real obstacle.
fn is_internal(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let is_shared = address.octets()[0] == 100 && address.octets()[1] & 0xc0 == 64;
            address.is_private()
                || is_shared
                || address.is_loopback()
                || address.is_link_local()
                || address.octets()[0] == 0
                || address.octets()[0] >= 224
        }
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unspecified()
                || address.is_multicast()
                || address.is_unique_local()
                || address.is_unicast_link_local()
        }
    }
}

/// The trees that RFC 3172, 6761, 6762, 7686, 8375, 9476 and ICANN's reservation of `internal` keep out of the public DNS,
/// or from hosts there.
const RESERVED: [&str; 9] = [
    "alt",
    "arpa",
    "example",
    "internal",
    "invalid",
    "local",
    "localhost",
    "onion",
    "test",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_certificate_is_for_hosts_and_for_addresses() {
        let long = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(60)].join(".");
        let problem = |text: &str| {
            let pattern = NamePattern::parse(text).unwrap();
            pattern.check_certifiable().map_err(|error| error.to_string())
        };
        for good in [
            "localhost",
            "www.example.com.",
            "*.example.com",
            "bücher.example",
            "3com.example",
            "1.2.3.example",
            "a.0y",
            "ab--cd.example",
            "192.0.2.1",
            "2001:db8::1",
        ] {
            assert_eq!(problem(good), Ok(()), "{good}");
        }
        for (bad, says) in [
            (
                "_x.example.com",
                "`_x.example.com` cannot be in a certificate: the label `_x` holds an underscore",
            ),
            ("*.a_b.example.com", "the label `a_b` holds an underscore"),
            (
                "256.1.1.1",
                "it ends in the number `1`, as an IP address does, and is none",
            ),
            ("1.2.3", "it ends in the number `3`"),
            ("*.example.08", "it ends in the number `08`"),
            ("127.0x7f", "it ends in the number `0x7f`"),
            ("a.0x", "it ends in the number `0x`"),
            ("7", "it ends in the number `7`"),
            (&format!("*.{long}"), "it has 254 octets; 253 are allowed"),
        ] {
            let error = problem(bad).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_public_ca_signs_for_what_the_world_can_reach() {
        let problem = |text: &str| {
            let pattern = NamePattern::parse(text).unwrap();
            pattern.check_public().map_err(|error| error.to_string())
        };
        for good in [
            "example.com",
            "*.example.co.uk",
            "co.uk",
            "bücher.de",
            "*.github.io",
            "203.0.113.10",
            "2001:db8::1",
            "100.128.0.1",
        ] {
            assert_eq!(problem(good), Ok(()), "{good}");
        }
        for (bad, says) in [
            ("wiki", "no such name"),
            ("printer.local", "no such name"),
            ("*.host.internal", "no such name"),
            ("abc.onion", "no such name"),
            ("nas.home.arpa", "no such name"),
            ("ab--cd.example.com", "the label `ab--cd` has hyphens"),
            ("www.3---x.example.com", "the label `3---x` has hyphens"),
            ("*.co.uk", "names below `co.uk` are anybody's"),
            ("10.1.2.3", "no address"),
            ("100.64.0.1", "no address"),
            ("127.0.0.1", "no address"),
            ("0.0.0.0", "no address"),
            ("255.255.255.255", "no address"),
            ("::1", "no address"),
            ("::ffff:10.0.0.1", "no address"),
            ("fd00::1", "no address"),
            ("fe80::1", "no address"),
        ] {
            let error = problem(bad).unwrap_err();
            assert!(error.contains(says), "{bad}: {error}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_certifiable_has_labels_of_letters_digits_and_hyphens(text in "[a-z0-9_*.-]{1,20}") {
            let Ok(pattern) = NamePattern::parse(&text) else { return Ok(()) };
            if pattern.address().is_none() && pattern.check_certifiable().is_ok() {
                let text = pattern.to_string();
                let labels = text.strip_prefix("*.").unwrap_or(&text).split('.');
                for label in labels {
                    prop_assert!(label.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-'));
                }
                prop_assert!(!text.ends_with(['-', '.']));
            }
        }
    }
}
