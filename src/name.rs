//! Checked DNS names, and the patterns a certificate or an allow rule is written in.
//!
//! A [`DnsName`] is what can stand in a ClientHello and in a DNS query: A-labels in lower case, without the
//! closing dot (RFC 6066 §3, RFC 5890). A [`NamePattern`] is what can stand in a certificate's subject
//! alternative names: such a name, or `*.` before one (RFC 6125 §6.4.3: the asterisk is the whole left-most
//! label and stands for exactly one label). An IP address is a pattern, too; its name is that of the reverse tree.
//! Whether a certificate can be ordered for it is asked where names come in: [`NamePattern::check_certifiable`].

mod reverse;
mod subject;

pub use subject::{NotCertifiable, NotPublic};

use std::borrow::Borrow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A host name in its one canonical form: lower-case A-labels, at most 253 octets, no closing dot.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct DnsName(Arc<str>);

impl DnsName {
    /// Checks and canonicalises `text`: international names become A-labels, capitals become small letters and
    /// one closing dot is dropped.
    ///
    /// # Errors
    /// [`NameError`] says which rule of RFC 1035 §2.3.4 or RFC 5890 the text breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let fail = |reason| {
            Err(NameError {
                text: text.to_owned(),
                reason,
            })
        };
        let bare = text.strip_suffix('.').unwrap_or(text);
        if bare.is_empty() {
            return fail(NameProblem::Empty);
        }
        if bare.parse::<std::net::IpAddr>().is_ok() {
            return fail(NameProblem::IpAddress);
        }
        let ascii = if is_canonical(bare) {
            bare.to_owned()
        } else {
            match idna::domain_to_ascii(bare) {
                Ok(ascii) => ascii,
                Err(_) => return fail(NameProblem::Idna),
            }
        };
        if ascii.len() > 253 {
            return fail(NameProblem::TooLong { octets: ascii.len() });
        }
        for label in ascii.split('.') {
            if label.is_empty() {
                return fail(NameProblem::EmptyLabel);
            }
            if label.len() > 63 {
                return fail(NameProblem::LabelTooLong {
                    label: label.to_owned(),
                });
            }
            if label.starts_with('-') || label.ends_with('-') {
                return fail(NameProblem::Hyphen {
                    label: label.to_owned(),
                });
            }
            if let Some(found) = label.chars().find(|c| !is_name_character(*c)) {
                return fail(NameProblem::Character { found });
            }
        }
        Ok(Self(ascii.into()))
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of an IP address in the reverse tree.
    pub fn of_address(address: IpAddr) -> Self {
        Self(reverse::name(address).into())
    }

    /// The IP address whose name this is.
    pub fn address(&self) -> Option<IpAddr> {
        reverse::address(&self.0)
    }

    /// The name without its left-most label; `None` for a name of one label.
    pub fn parent(&self) -> Option<&str> {
        self.0.split_once('.').map(|(_, parent)| parent)
    }

    /// Whether it is `tree` or a name below it (RFC 5280 §4.2.1.10).
    pub fn is_within(&self, tree: &Self) -> bool {
        let rest = self.0.strip_suffix(tree.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

/// A name, or `*.` before one, or an IP address, as it stands in a certificate.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum NamePattern {
    /// Exactly this name; the one in the reverse tree for an IP address.
    Exact(DnsName),
    /// Every name that has exactly one label more than this one.
    Wildcard(DnsName),
}

impl NamePattern {
    /// Checks `text` as a name that may begin with `*.`, or an IP address.
    ///
    /// # Errors
    /// [`NameError`], also when the asterisk stands anywhere but alone in the left-most label, or before a
    /// top-level domain.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let fail = |reason| {
            Err(NameError {
                text: text.to_owned(),
                reason,
            })
        };
        if let Ok(address) = text.parse() {
            return Ok(Self::Exact(DnsName::of_address(address)));
        }
        match text.strip_prefix("*.") {
            Some(base) if base.contains('*') => fail(NameProblem::MisplacedWildcard),
            Some(base) => {
                let base = DnsName::parse(base).map_err(|e| NameError {
                    text: text.to_owned(),
                    reason: e.reason,
                })?;
                if base.parent().is_none() {
                    return fail(NameProblem::WildcardOverTopLevel);
                }
                Ok(Self::Wildcard(base))
            }
            None if text.contains('*') => fail(NameProblem::MisplacedWildcard),
            None => DnsName::parse(text).map(Self::Exact),
        }
    }

    /// Whether a certificate with this pattern is valid for `name`.
    pub fn matches(&self, name: &DnsName) -> bool {
        match self {
            Self::Exact(exact) => exact == name,
            Self::Wildcard(base) => name.parent() == Some(base.as_str()),
        }
    }

    /// The name the pattern is about: the name itself, or what follows the `*.`.
    pub fn base(&self) -> &DnsName {
        match self {
            Self::Exact(name) | Self::Wildcard(name) => name,
        }
    }

    /// The IP address, where it is one.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Exact(name) => name.address(),
            Self::Wildcard(_) => None,
        }
    }

    /// Whether this is a wildcard.
    pub fn is_wildcard(&self) -> bool {
        matches!(self, Self::Wildcard(_))
    }
}

/// Why a text is not a name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{text}` is not a usable DNS name: {reason}")]
pub struct NameError {
    /// The text as it was found.
    pub text: String,
    /// The rule it breaks.
    pub reason: NameProblem,
}

/// The rule that a text breaks.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NameProblem {
    /// A character that no host name holds.
    #[error("it holds {found:?}; letters, digits, hyphens and underscores are allowed")]
    Character {
        /// The first such character.
        found: char,
    },
    /// Nothing at all.
    #[error("it is empty")]
    Empty,
    /// Two dots in a row, or one at the start.
    #[error("it has an empty label")]
    EmptyLabel,
    /// A label begins or ends with a hyphen.
    #[error("the label `{label}` begins or ends with a hyphen")]
    Hyphen {
        /// The label.
        label: String,
    },
    /// Not valid under IDNA (UTS #46).
    #[error("it is not valid as an international domain name (UTS #46)")]
    Idna,
    /// An IP address is no name.
    #[error("it is an IP address; a name is needed here")]
    IpAddress,
    /// A label of more than 63 octets.
    #[error("the label `{label}` is longer than 63 octets")]
    LabelTooLong {
        /// The label.
        label: String,
    },
    /// An asterisk that is not the whole left-most label.
    #[error("`*` may stand only alone in the left-most label, as in `*.example.com`")]
    MisplacedWildcard,
    /// More than 253 octets.
    #[error("it has {octets} octets; 253 are allowed")]
    TooLong {
        /// The length found.
        octets: usize,
    },
    /// `*.com` and the like, which no CA issues and no client accepts.
    #[error("a wildcard over a top-level domain is never issued")]
    WildcardOverTopLevel,
}

fn is_name_character(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_'
}

fn is_canonical(text: &str) -> bool {
    // Names that already are A-labels still go through IDNA, which checks their Punycode.
    text.chars().all(|c| is_name_character(c) || c == '.') && !text.contains("xn--")
}

impl Borrow<str> for DnsName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for DnsName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for DnsName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl From<DnsName> for String {
    fn from(name: DnsName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for NamePattern {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for NamePattern {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl From<NamePattern> for String {
    fn from(pattern: NamePattern) -> Self {
        pattern.to_string()
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.address()) {
            (_, Some(address)) => write!(f, "{address}"),
            (Self::Exact(name), None) => write!(f, "{name}"),
            (Self::Wildcard(base), None) => write!(f, "*.{base}"),
        }
    }
}

impl fmt::Debug for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_have_one_canonical_form() {
        for (written, canonical) in [
            ("Example.COM", "example.com"),
            ("example.com.", "example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("_dmarc.example.com", "_dmarc.example.com"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(DnsName::parse(written).unwrap().as_str(), canonical);
        }
    }

    #[test]
    fn each_broken_name_says_which_rule_it_breaks() {
        let reason = |text: &str| NamePattern::parse(text).unwrap_err().reason;
        assert_eq!(reason(""), NameProblem::Empty);
        assert_eq!(reason("a..b"), NameProblem::EmptyLabel);
        assert_eq!(reason("a b.com"), NameProblem::Character { found: ' ' });
        assert_eq!(
            DnsName::parse("127.0.0.1").unwrap_err().reason,
            NameProblem::IpAddress
        );
        assert_eq!(reason("*.127.0.0.1"), NameProblem::IpAddress);
        assert_eq!(reason("-a.com"), NameProblem::Hyphen { label: "-a".into() });
        assert_eq!(reason("a.*.com"), NameProblem::MisplacedWildcard);
        assert_eq!(reason("w*.example.com"), NameProblem::MisplacedWildcard);
        assert_eq!(reason("*.*.example.com"), NameProblem::MisplacedWildcard);
        assert_eq!(reason("*"), NameProblem::MisplacedWildcard);
        assert_eq!(reason("*.com"), NameProblem::WildcardOverTopLevel);
        assert_eq!(reason("xn--99999999.example"), NameProblem::Idna);
        assert_eq!(
            reason(&"a".repeat(64)),
            NameProblem::LabelTooLong {
                label: "a".repeat(64)
            }
        );
        assert!(matches!(reason(&"ab.".repeat(90)), NameProblem::TooLong { .. }));
    }

    #[test]
    fn an_address_is_written_as_one_and_named_in_the_reverse_tree() {
        let pattern = NamePattern::parse("2001:DB8:0::1").unwrap();
        assert_eq!(pattern.to_string(), "2001:db8::1");
        assert!(pattern.base().as_str().ends_with(".8.b.d.0.1.0.0.2.ip6.arpa"));
        assert_eq!(
            NamePattern::parse("192.0.2.1").unwrap().base().as_str(),
            "1.2.0.192.in-addr.arpa"
        );
        assert_eq!(NamePattern::parse("example.com").unwrap().address(), None);
    }

    #[test]
    fn a_tree_holds_itself_and_what_is_below() {
        let tree = DnsName::parse("example.com").unwrap();
        let is_within = |name: &str| DnsName::parse(name).unwrap().is_within(&tree);
        assert!(is_within("example.com") && is_within("a.b.example.com"));
        assert!(!is_within("badexample.com") && !is_within("com"));
    }

    #[test]
    fn a_wildcard_stands_for_exactly_one_label() {
        let pattern = NamePattern::parse("*.example.com").unwrap();
        let matches = |name: &str| pattern.matches(&DnsName::parse(name).unwrap());
        assert!(matches("www.example.com"));
        assert!(!matches("example.com"));
        assert!(!matches("a.b.example.com"));
        assert!(!matches("www.example.org"));
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_is_idempotent(text in any::<String>()) {
            if let Ok(pattern) = NamePattern::parse(&text) {
                prop_assert_eq!(NamePattern::parse(&pattern.to_string()), Ok(pattern));
            }
        }
    }
}
