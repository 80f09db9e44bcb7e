//! From the text of a policy file to its checked parts.

use serde::Deserialize;

use super::Why;
use super::element::Element;
use super::rules::{Misfit, Rules};

/// Why a text is no policy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A list without an entry.
    #[error("policy `{policy}`: `{key}` is empty; at least one is needed")]
    Empty {
        /// The policy.
        policy: String,
        /// The list's key.
        key: &'static str,
    },
    /// Parts that cannot be used together.
    #[error("policy `{policy}`: {misfit}")]
    Misfit {
        /// The policy.
        policy: String,
        /// What does not fit.
        misfit: Misfit,
    },
    /// The same entry twice in one list.
    #[error("policy `{policy}`: `{found}` stands twice in `{key}`; once is enough")]
    Repeated {
        /// The policy.
        policy: String,
        /// The list's key.
        key: &'static str,
        /// The entry.
        found: String,
    },
    /// Not TOML, a key that no policy has, or one missing.
    #[error("policy `{policy}` cannot be read")]
    Syntax {
        /// The policy.
        policy: String,
        /// Line, column and what was found there.
        source: Box<toml::de::Error>,
    },
    /// An entry that certgate does not have.
    #[error("policy `{policy}`: `{found}` in `{key}` is unknown; allowed are {allowed}")]
    Unknown {
        /// The policy.
        policy: String,
        /// The list's key.
        key: &'static str,
        /// The entry.
        found: String,
        /// Every entry that could stand there.
        allowed: String,
    },
}

pub(super) fn parse(policy: &str, text: &str) -> Result<(Why, Rules), PolicyError> {
    let file: File = toml::from_str(text).map_err(|source| PolicyError::Syntax {
        policy: policy.to_owned(),
        source: Box::new(source),
    })?;
    let rules = Rules {
        versions: pick(policy, &file.versions)?,
        cipher_suites: pick(policy, &file.cipher_suites)?,
        groups: pick(policy, &file.groups)?,
        ignore_client_order: file.ignore_client_order,
        prefer_post_quantum: file.prefer_post_quantum,
    };
    Ok((file.why, rules))
}

/// A policy file as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    versions: Vec<String>,
    cipher_suites: Vec<String>,
    groups: Vec<String>,
    ignore_client_order: bool,
    #[serde(default)]
    prefer_post_quantum: bool,
    why: Why,
}

fn pick<T: Element>(policy: &str, written: &[String]) -> Result<Vec<T>, PolicyError> {
    let policy = || policy.to_owned();
    let key = T::KEY;
    if written.is_empty() {
        return Err(PolicyError::Empty {
            policy: policy(),
            key,
        });
    }
    let mut picked = Vec::with_capacity(written.len());
    for (position, entry) in written.iter().enumerate() {
        if written.iter().take(position).any(|earlier| earlier == entry) {
            return Err(PolicyError::Repeated {
                policy: policy(),
                key,
                found: entry.clone(),
            });
        }
        picked.push(T::named(entry).ok_or_else(|| {
            let allowed: Vec<_> = T::all().iter().map(|known| known.name()).collect();
            PolicyError::Unknown {
                policy: policy(),
                key,
                found: entry.clone(),
                allowed: allowed.join(", "),
            }
        })?);
    }
    Ok(picked)
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;
    use crate::policy::Policy;

    const SOUND: &str = r#"
        versions = ["TLSv1.3"]
        cipher_suites = ["TLS13_AES_128_GCM_SHA256"]
        groups = ["X25519"]
        ignore_client_order = true
        [why]
        policy = "p"
        versions = "v"
        cipher_suites = "c"
        groups = "g"
        ignore_client_order = "i"
    "#;

    fn problem(from: &str, to: &str) -> PolicyError {
        assert!(SOUND.contains(from), "{from}");
        Policy::parse("house", &SOUND.replace(from, to)).unwrap_err()
    }

    #[test]
    fn a_policy_keeps_the_order_that_is_written() {
        let text = SOUND
            .replace(r#"["X25519"]"#, r#"["secp384r1", "X25519MLKEM768", "X25519"]"#)
            .replace(
                r#"["TLS13_AES_128_GCM_SHA256"]"#,
                r#"["TLS13_CHACHA20_POLY1305_SHA256", "TLS13_AES_128_GCM_SHA256"]"#,
            );
        let policy = Policy::parse("house", &text).unwrap();
        let suites: Vec<_> = policy.cipher_suites().collect();
        assert_eq!(
            suites,
            ["TLS13_CHACHA20_POLY1305_SHA256", "TLS13_AES_128_GCM_SHA256"]
        );
        let groups: Vec<_> = policy.groups().collect();
        assert_eq!(groups, ["secp384r1", "X25519MLKEM768", "X25519"]);
        assert!(policy.ignore_client_order());
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        for (from, to, key) in [
            (
                "ignore_client_order = true",
                "ignore_client_order = true\nciphers = []",
                "ciphers",
            ),
            (r#"policy = "p""#, "policy = \"p\"\nbecause = \"b\"", "because"),
        ] {
            let error = problem(from, to);
            assert_eq!(error.to_string(), "policy `house` cannot be read");
            let source = error.source().unwrap().to_string();
            assert!(
                source.contains("line ") && source.contains(&format!("unknown field `{key}`")),
                "{source}"
            );
        }
    }

    #[test]
    fn an_unknown_suite_version_or_group_is_refused_with_all_that_are_known() {
        let text = problem("TLS13_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-SHA").to_string();
        assert!(text.starts_with(
            "policy `house`: `ECDHE-RSA-AES128-SHA` in `cipher_suites` is unknown; allowed are "
        ));
        assert_eq!(text.matches("TLS_ECDHE_").count(), 6);
        assert_eq!(
            problem("TLSv1.3", "TLSv1.1").to_string(),
            "policy `house`: `TLSv1.1` in `versions` is unknown; allowed are TLSv1.3, TLSv1.2"
        );
        assert!(
            problem("X25519", "ffdhe2048")
                .to_string()
                .contains("`groups` is unknown")
        );
    }

    #[test]
    fn lists_that_are_empty_or_repeat_an_entry_are_refused() {
        assert!(matches!(
            problem(r#"["X25519"]"#, "[]"),
            PolicyError::Empty { key: "groups", .. }
        ));
        assert!(matches!(
            problem(r#"["X25519"]"#, r#"["X25519", "X25519"]"#),
            PolicyError::Repeated { key: "groups", .. }
        ));
    }

    #[test]
    fn versions_suites_and_groups_must_belong_to_each_other() {
        for (from, to, expected) in [
            (
                "TLSv1.3",
                "TLSv1.2",
                "policy `house`: `TLS13_AES_128_GCM_SHA256` belongs to TLSv1.3, which is not among its `versions`",
            ),
            (
                r#""TLSv1.3""#,
                r#""TLSv1.3", "TLSv1.2""#,
                "policy `house`: none of its `cipher_suites` belongs to TLSv1.2, which is among its `versions`",
            ),
            (
                "ignore_client_order = true",
                "ignore_client_order = true\nprefer_post_quantum = true",
                "policy `house`: it prefers post-quantum groups, and none is among its `groups`",
            ),
        ] {
            assert_eq!(problem(from, to).to_string(), expected);
        }
        let tls12 = SOUND
            .replace("TLSv1.3", "TLSv1.2")
            .replace("TLS13_AES", "TLS_ECDHE_RSA_WITH_AES");
        for (groups, expected) in [
            (
                r#"["X25519MLKEM768", "X25519"]"#,
                "policy `house`: `X25519MLKEM768` works with TLSv1.3 only, which is not among its `versions`",
            ),
            (r#"["X25519"]"#, ""),
        ] {
            let result = Policy::parse("house", &tls12.replace(r#"["X25519"]"#, groups));
            let found = result.err().map(|error| error.to_string());
            assert_eq!(found.unwrap_or_default(), expected);
        }
    }
}
