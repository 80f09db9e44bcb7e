//! From the text of a policy file to its checked parts.

use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::{ALL_CIPHER_SUITES, ALL_KX_GROUPS};
use rustls::version::{TLS12, TLS13};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};
use serde::Deserialize;

use super::Why;

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
    /// A suite of a version that the policy does not have.
    #[error("policy `{policy}`: `{suite}` belongs to {version}, which is not among its `versions`")]
    UnusedSuite {
        /// The policy.
        policy: String,
        /// The suite.
        suite: String,
        /// The version it belongs to.
        version: &'static str,
    },
    /// A version that no suite of the policy can be used with.
    #[error(
        "policy `{policy}`: none of its `cipher_suites` belongs to {version}, which is among its `versions`"
    )]
    VersionWithoutSuite {
        /// The policy.
        policy: String,
        /// The version.
        version: &'static str,
    },
}

/// The parts of a policy, each checked alone and against the others.
pub(super) struct Parts {
    pub(super) why: Why,
    pub(super) versions: Vec<&'static SupportedProtocolVersion>,
    pub(super) cipher_suites: Vec<SupportedCipherSuite>,
    pub(super) groups: Vec<&'static dyn SupportedKxGroup>,
    pub(super) ignore_client_order: bool,
}

pub(super) fn parse(policy: &str, text: &str) -> Result<Parts, PolicyError> {
    let file: File = toml::from_str(text).map_err(|source| PolicyError::Syntax {
        policy: policy.to_owned(),
        source: Box::new(source),
    })?;
    let versions = pick(policy, "versions", &file.versions, &[&TLS13, &TLS12], |version| {
        Some(version_name(version))
    })?;
    let cipher_suites = pick(
        policy,
        "cipher_suites",
        &file.cipher_suites,
        ALL_CIPHER_SUITES,
        |suite| suite.suite().as_str(),
    )?;
    let groups = pick(policy, "groups", &file.groups, ALL_KX_GROUPS, |group| {
        group.name().as_str()
    })?;
    let unused = cipher_suites
        .iter()
        .find(|suite| !versions.contains(&suite.version()));
    if let Some(suite) = unused {
        return Err(PolicyError::UnusedSuite {
            policy: policy.to_owned(),
            suite: suite.suite().as_str().unwrap_or_default().to_owned(),
            version: version_name(suite.version()),
        });
    }
    let served =
        |version: &SupportedProtocolVersion| cipher_suites.iter().any(|suite| suite.version() == version);
    if let Some(version) = versions.iter().find(|version| !served(version)) {
        return Err(PolicyError::VersionWithoutSuite {
            policy: policy.to_owned(),
            version: version_name(version),
        });
    }
    Ok(Parts {
        why: file.why,
        versions,
        cipher_suites,
        groups,
        ignore_client_order: file.ignore_client_order,
    })
}

/// A policy file as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    versions: Vec<String>,
    cipher_suites: Vec<String>,
    groups: Vec<String>,
    ignore_client_order: bool,
    why: Why,
}

/// The name as OpenSSL and every log line writes it.
fn version_name(version: &SupportedProtocolVersion) -> &'static str {
    if *version == TLS13 { "TLSv1.3" } else { "TLSv1.2" }
}

fn pick<T: Copy>(
    policy: &str,
    key: &'static str,
    written: &[String],
    known: &[T],
    name: impl Fn(&T) -> Option<&'static str>,
) -> Result<Vec<T>, PolicyError> {
    if written.is_empty() {
        return Err(PolicyError::Empty {
            policy: policy.to_owned(),
            key,
        });
    }
    let mut picked = Vec::with_capacity(written.len());
    for (position, entry) in written.iter().enumerate() {
        if written.iter().take(position).any(|earlier| earlier == entry) {
            return Err(PolicyError::Repeated {
                policy: policy.to_owned(),
                key,
                found: entry.clone(),
            });
        }
        match known.iter().find(|known| name(known) == Some(entry.as_str())) {
            Some(known) => picked.push(*known),
            None => {
                let allowed: Vec<_> = known.iter().filter_map(&name).collect();
                return Err(PolicyError::Unknown {
                    policy: policy.to_owned(),
                    key,
                    found: entry.clone(),
                    allowed: allowed.join(", "),
                });
            }
        }
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
    fn versions_and_suites_must_belong_to_each_other() {
        assert!(matches!(
            problem("TLSv1.3", "TLSv1.2"),
            PolicyError::UnusedSuite {
                version: "TLSv1.3",
                ..
            }
        ));
        assert!(matches!(
            problem(r#""TLSv1.3""#, r#""TLSv1.3", "TLSv1.2""#),
            PolicyError::VersionWithoutSuite {
                version: "TLSv1.2",
                ..
            }
        ));
    }
}
