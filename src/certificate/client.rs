//! Who a client says it is by its certificate, and patterns over that.

use std::fmt;

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::AttributeTypeAndValue;

use crate::certificate::leaf::fingerprint;
use crate::clock::Timestamp;
use crate::name::{DnsName, NamePattern};

/// What a client certificate says. It is true of the client only once the certificate was verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientIdentity {
    /// The subject's distinguished name, fit for a line of text and not longer than one.
    pub subject: String,
    /// The issuer's, likewise.
    pub issuer: String,
    /// The serial number, in lower-case hex.
    pub serial: String,
    /// SHA-256 of the certificate, in lower-case hex.
    pub fingerprint: String,
    /// DNS names among the subject's alternative names, as they stand there.
    pub dns: Vec<String>,
    /// URIs among the subject's alternative names.
    pub uris: Vec<String>,
    /// The subject's common names; one, as a rule.
    pub common_names: Vec<String>,
    /// The subject's organizational units.
    pub organizational_units: Vec<String>,
    /// The last moment of its validity.
    pub not_after: Timestamp,
}

impl ClientIdentity {
    /// Reads a certificate; nothing when it is not one.
    pub fn parse(der: &[u8]) -> Option<Self> {
        let (rest, certificate) = X509Certificate::from_der(der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let subject = certificate.subject();
        let (mut dns, mut uris) = (Vec::new(), Vec::new());
        if let Some(alternative) = certificate.subject_alternative_name().ok()? {
            for name in &alternative.value.general_names {
                match name {
                    GeneralName::DNSName(name) => dns.push((*name).to_owned()),
                    GeneralName::URI(uri) => uris.push((*uri).to_owned()),
                    _ => {}
                }
            }
        }
        Some(Self {
            subject: line(&subject.to_string()),
            issuer: line(&certificate.issuer().to_string()),
            serial: super::leaf::hex(certificate.raw_serial()),
            fingerprint: fingerprint(der),
            dns,
            uris,
            common_names: texts(subject.iter_common_name()),
            organizational_units: texts(subject.iter_organizational_unit()),
            not_after: Timestamp::from_unix_seconds(certificate.validity().not_after.timestamp()),
        })
    }
}

/// Which of the clients that a bundle vouches for may enter: those whom any of these patterns fits.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AllowedClients {
    /// DNS names, with `*` for the first label.
    pub dns: Vec<NamePattern>,
    /// URIs, with wildcards in the path.
    pub uri: Vec<UriPattern>,
    /// Common names, exactly.
    pub common_name: Vec<String>,
    /// Organizational units, exactly.
    pub organizational_unit: Vec<String>,
    /// SHA-256 of certificates, in lower-case hex.
    pub fingerprint_sha256: Vec<String>,
}

impl AllowedClients {
    /// Whether any pattern fits `client`.
    pub fn admits(&self, client: &ClientIdentity) -> bool {
        let dns_fits = |pattern: &NamePattern| {
            client.dns.iter().any(|name| {
                DnsName::parse(name).is_ok_and(|name| pattern.matches(&name))
                    || NamePattern::parse(name).is_ok_and(|name| name == *pattern)
            })
        };
        self.dns.iter().any(dns_fits)
            || self
                .uri
                .iter()
                .any(|pattern| client.uris.iter().any(|uri| pattern.matches(uri)))
            || self
                .common_name
                .iter()
                .any(|name| client.common_names.contains(name))
            || self
                .organizational_unit
                .iter()
                .any(|unit| client.organizational_units.contains(unit))
            || self.fingerprint_sha256.contains(&client.fingerprint)
    }
}

/// A URI in whose path `*` stands for one segment, and `**` at its end for one or more.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UriPattern(String);

impl UriPattern {
    /// Checks a pattern.
    ///
    /// # Errors
    /// [`UriPatternError`].
    pub fn parse(text: &str) -> Result<Self, UriPatternError> {
        let (authority, path) = parts(text).ok_or(UriPatternError::NotAUri)?;
        if authority.contains('*') {
            return Err(UriPatternError::WildcardInAuthority);
        }
        if text.contains(['?', '#']) || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(UriPatternError::NotAUri);
        }
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        for (index, segment) in segments.iter().enumerate() {
            match *segment {
                "*" => {}
                "**" if index + 1 == segments.len() => {}
                "**" => return Err(UriPatternError::DeepWildcardNotLast),
                segment if segment.contains('*') => return Err(UriPatternError::PartOfASegment),
                "." | ".." => return Err(UriPatternError::NotAUri),
                _ => {}
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether it fits `uri`. Scheme and authority are compared without regard to case, the path byte by byte.
    pub fn matches(&self, uri: &str) -> bool {
        let (Some((our_authority, ours)), Some((their_authority, theirs))) = (parts(&self.0), parts(uri))
        else {
            return false;
        };
        if !our_authority.eq_ignore_ascii_case(their_authority) {
            return false;
        }
        let is_plain =
            |segment: &str| !matches!(segment, "" | "." | "..") && !segment.contains(['?', '#', '%']);
        let mut theirs = theirs.split('/');
        for segment in ours.split('/') {
            let Some(their) = theirs.next() else {
                return false;
            };
            let fits = match segment {
                "*" => is_plain(their),
                "**" => return is_plain(their) && theirs.all(is_plain),
                segment => segment == their,
            };
            if !fits {
                return false;
            }
        }
        theirs.next().is_none()
    }
}

impl fmt::Display for UriPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a pattern over URIs.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UriPatternError {
    /// `**` before the end.
    #[error("`**` may only be the last segment of the path")]
    DeepWildcardNotLast,
    /// Nothing like `scheme://authority/path`.
    #[error("it is not `scheme://authority/path` without query and fragment")]
    NotAUri,
    /// `*` beside other characters.
    #[error("`*` must be a whole segment of the path")]
    PartOfASegment,
    /// A wildcard where trust is decided.
    #[error("`*` may only be in the path, not before it")]
    WildcardInAuthority,
}

/// `scheme://authority`, and the path with its first slash.
fn parts(uri: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = uri.split_once("://")?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let authority = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    (is_scheme && authority > 0).then(|| uri.split_at(scheme.len() + 3 + authority))
}

fn texts<'a>(attributes: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>) -> Vec<String> {
    attributes
        .filter_map(|attribute| attribute.as_str().ok().map(ToOwned::to_owned))
        .collect()
}

/// One line: whoever makes a certificate chooses what its names hold.
fn line(text: &str) -> String {
    text.chars()
        .take(MAX_LINE)
        .flat_map(|character| {
            let escaped = character.is_control().then(|| character.escape_default());
            let plain = escaped.is_none().then_some(character);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

/// Characters of a name that is shown.
const MAX_LINE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_one_segment_and_a_double_one_for_the_rest() {
        for (pattern, uri, fits) in [
            ("spiffe://a.example/web", "spiffe://a.example/web", true),
            ("spiffe://a.example/web", "SPIFFE://A.example/web", true),
            ("spiffe://a.example/web", "spiffe://a.example/Web", false),
            ("spiffe://a.example/web", "spiffe://a.example/web/", false),
            ("spiffe://a.example/web", "spiffe://a.example.evil/web", false),
            (
                "spiffe://a.example/ns/*/sa/web",
                "spiffe://a.example/ns/prod/sa/web",
                true,
            ),
            (
                "spiffe://a.example/ns/*/sa/web",
                "spiffe://a.example/ns/a/b/sa/web",
                false,
            ),
            (
                "spiffe://a.example/ns/*/sa/web",
                "spiffe://a.example/ns//sa/web",
                false,
            ),
            ("spiffe://a.example/ns/*", "spiffe://a.example/ns/..", false),
            ("spiffe://a.example/ns/*", "spiffe://a.example/ns/a%2fb", false),
            ("spiffe://a.example/ns/*", "spiffe://a.example/ns/a?b", false),
            ("spiffe://a.example/ns/**", "spiffe://a.example/ns/a/b", true),
            ("spiffe://a.example/ns/**", "spiffe://a.example/ns/a/../b", false),
            ("spiffe://a.example/ns/**", "spiffe://a.example/ns", false),
            ("spiffe://a.example", "spiffe://a.example", true),
            ("spiffe://a.example", "not a uri", false),
        ] {
            let parsed = UriPattern::parse(pattern).unwrap();
            assert_eq!(parsed.matches(uri), fits, "{pattern} and {uri}");
        }
    }

    #[test]
    fn a_pattern_that_could_admit_more_than_it_says_is_refused() {
        use UriPatternError::*;
        for (pattern, error) in [
            ("", NotAUri),
            ("web", NotAUri),
            ("://a/b", NotAUri),
            ("spiffe:///web", NotAUri),
            ("spiffe://a.example/web?x", NotAUri),
            ("spiffe://a.example/../web", NotAUri),
            ("spiffe://a.example/a b", NotAUri),
            ("spiffe://*.example/web", WildcardInAuthority),
            ("spiffe://*", WildcardInAuthority),
            ("spiffe://a.example/web*", PartOfASegment),
            ("spiffe://a.example/**/web", DeepWildcardNotLast),
        ] {
            assert_eq!(UriPattern::parse(pattern), Err(error), "{pattern}");
        }
    }
}
