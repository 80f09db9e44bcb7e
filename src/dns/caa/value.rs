//! The value of an `issue` or `issuewild` property (RFC 8659 §4.2).

use std::fmt;
use std::str::FromStr;

/// Whom a record lets issue, and under which conditions.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IssueValue {
    /// The CA's domain name in lower case; absent: nobody.
    pub issuer: Option<String>,
    /// Tags in lower case, and their values, in the order in which they stand there.
    pub parameters: Vec<(String, String)>,
}

/// The value does not follow the grammar. It is to be taken as one that lets nobody issue.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an issue value as RFC 8659 §4.2 has it")]
pub struct IssueValueError;

impl IssueValue {
    /// Every value of a parameter.
    pub fn values<'v>(&'v self, tag: &'v str) -> impl Iterator<Item = &'v str> {
        let of_tag = self.parameters.iter().filter(move |(known, _)| known == tag);
        of_tag.map(|(_, value)| value.as_str())
    }
}

impl FromStr for IssueValue {
    type Err = IssueValueError;

    fn from_str(text: &str) -> Result<Self, IssueValueError> {
        let (issuer, parameters) = match text.split_once(';') {
            Some((issuer, parameters)) => (trimmed(issuer), trimmed(parameters)),
            None => (trimmed(text), ""),
        };
        let issuer = match issuer {
            "" => None,
            name if name.split('.').all(is_label) => Some(name.to_ascii_lowercase()),
            _ => return Err(IssueValueError),
        };
        let mut read = Vec::new();
        if !parameters.is_empty() {
            for parameter in parameters.split(';') {
                let (tag, value) = parameter.split_once('=').ok_or(IssueValueError)?;
                let (tag, value) = (trimmed(tag), trimmed(value));
                if !is_label(tag) || !value.bytes().all(|byte| matches!(byte, 0x21..=0x7e)) {
                    return Err(IssueValueError);
                }
                read.push((tag.to_ascii_lowercase(), value.to_owned()));
            }
        }
        Ok(Self {
            issuer,
            parameters: read,
        })
    }
}

impl fmt::Display for IssueValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.issuer.as_deref().unwrap_or_default())?;
        if self.issuer.is_none() || !self.parameters.is_empty() {
            f.write_str(";")?;
        }
        for (position, (tag, value)) in self.parameters.iter().enumerate() {
            let separator = if position == 0 { " " } else { "; " };
            write!(f, "{separator}{tag}={value}")?;
        }
        Ok(())
    }
}

fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// Letters and digits, with hyphens between them; so is a tag.
fn is_label(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_examples_of_the_rfcs_are_read() {
        for (text, issuer, parameters) in [
            ("ca1.example.net", Some("ca1.example.net"), &[][..]),
            (";", None, &[]),
            ("", None, &[]),
            (
                "ca1.example.net; account=230123",
                Some("ca1.example.net"),
                &[("account", "230123")],
            ),
            ("CA.Example ;\tfoo = bar", Some("ca.example"), &[("foo", "bar")]),
            ("; policy=ev", None, &[("policy", "ev")]),
            ("ca.example; a=", Some("ca.example"), &[("a", "")]),
            (
                "example.com; accounturi=https://example.com/account/1234; validationmethods=dns-01,http-01",
                Some("example.com"),
                &[
                    ("accounturi", "https://example.com/account/1234"),
                    ("validationmethods", "dns-01,http-01"),
                ],
            ),
        ] {
            let value: IssueValue = text.parse().unwrap();
            assert_eq!(value.issuer.as_deref(), issuer, "{text}");
            let found: Vec<_> = value
                .parameters
                .iter()
                .map(|(tag, v)| (tag.as_str(), v.as_str()))
                .collect();
            assert_eq!(found, parameters, "{text}");
        }
    }

    #[test]
    fn what_breaks_the_grammar_is_refused() {
        for text in [
            "%%%%%",
            "ca.example account=1",
            "ca.example; account",
            "ca.example; -a=1",
            "ca..example",
            "-ca.example",
            "ca.example.",
            "ca.example; a=b c",
            "ca.example; =1",
            "ca.example;;a=1",
            "ca.example; a=1;",
            "ca.example; a=\u{e9}",
        ] {
            assert_eq!(text.parse::<IssueValue>(), Err(IssueValueError), "{text}");
        }
    }

    fn label() -> impl Strategy<Value = String> {
        "[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?"
    }

    prop_compose! {
        fn issue_value()(
            issuer in proptest::option::of(proptest::collection::vec(label(), 1..4)),
            parameters in proptest::collection::vec((label(), "[!-:<-~]{0,12}"), 0..4),
        ) -> IssueValue {
            IssueValue { issuer: issuer.map(|labels| labels.join(".")), parameters }
        }
    }

    proptest! {
        #[test]
        fn every_value_of_the_grammar_reads_back_whatever_the_blanks(
            value in issue_value(),
            blanks in proptest::collection::vec("[ \t]{0,3}", 6),
        ) {
            prop_assert_eq!(value.to_string().parse::<IssueValue>(), Ok(value.clone()));
            let parameters: Vec<_> = value.parameters.iter().map(|(tag, text)| {
                format!("{}{tag}{}={}{text}{}", blanks[0], blanks[1], blanks[2], blanks[3])
            }).collect();
            let issuer = value.issuer.as_deref().unwrap_or_default();
            let spaced = format!("{}{issuer}{};{}", blanks[4], blanks[5], parameters.join(";"));
            prop_assert_eq!(spaced.parse::<IssueValue>(), Ok(value));
        }

        #[test]
        fn any_text_is_read_or_refused_and_never_lets_a_ca_in_that_it_does_not_name(text in any::<String>()) {
            if let Ok(value) = text.parse::<IssueValue>() {
                if let Some(issuer) = &value.issuer {
                    prop_assert!(text.to_ascii_lowercase().contains(issuer.as_str()));
                }
                prop_assert_eq!(value.to_string().parse::<IssueValue>(), Ok(value));
            }
        }
    }
}
