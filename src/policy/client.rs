//! Well-known clients, and what comes of a handshake between one of them and a policy.

use std::sync::LazyLock;

use rustls::SupportedCipherSuite;
use serde::Deserialize;

use super::Policy;
use super::element::{Element, Group, Version, is_post_quantum, openssl_name};

/// The well-known clients, as `policies/clients.toml` has them.
pub fn clients() -> &'static [Client] {
    static CLIENTS: LazyLock<File> = LazyLock::new(|| {
        toml::from_str(include_str!("../../policies/clients.toml")).expect("a test reads the file")
    });
    &CLIENTS.clients
}

/// A kind of client, and what it offers in its order of preference.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// What people call it.
    pub name: String,
    /// Protocol versions as OpenSSL writes them, the newest first; never empty.
    pub versions: Vec<String>,
    /// Cipher suites as OpenSSL names them.
    pub cipher_suites: Vec<String>,
    /// Key exchange groups.
    pub groups: Vec<String>,
    /// Where that is known from.
    pub source: String,
}

/// The key of the certificate that a listener serves; suites of TLS 1.2 are for one kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CertificateKey {
    /// An ECDSA key.
    Ecdsa,
    /// An RSA key.
    Rsa,
}

/// What both sides use.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize)]
pub struct Agreement {
    /// The protocol version.
    pub version: &'static str,
    /// The cipher suite.
    pub cipher_suite: &'static str,
    /// The key exchange group.
    pub group: &'static str,
}

/// Why a policy refuses a client; the text is for the client's line.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// No group in common.
    #[error("none of its groups is among the policy's: it has {offered}")]
    Group {
        /// What the client offers.
        offered: String,
    },
    /// No suite in common.
    #[error("none of its {version} suites is among the policy's{}", beside(key))]
    Suite {
        /// The version that both sides take.
        version: &'static str,
        /// The key of the certificate, where only that makes the difference.
        key: Option<CertificateKey>,
    },
    /// No version in common.
    #[error("it speaks {newest} at most, the policy {oldest} at least")]
    Version {
        /// The client's newest.
        newest: String,
        /// The policy's oldest.
        oldest: &'static str,
    },
}

fn beside(key: &Option<CertificateKey>) -> &'static str {
    match key {
        None => "",
        Some(CertificateKey::Ecdsa) => " with an ECDSA certificate",
        Some(CertificateKey::Rsa) => " with an RSA certificate",
    }
}

impl Client {
    /// What a handshake with `policy` and a certificate with `key` comes to: the newest common version
    /// (RFC 8446 §4.2.1), and what both sides have for it. There is no second try with an older one.
    ///
    /// # Errors
    /// [`Refusal`] is the first of them for which there is no agreement.
    pub fn meet(&self, policy: &Policy, key: CertificateKey) -> Result<Agreement, Refusal> {
        let rules = policy.rules();
        let version = self.version(policy)?;
        let groups = || {
            let common = self.groups.iter().filter_map(|name| Group::named(name));
            common.filter(|group| {
                group.usable_for_version(version.version)
                    && policy.groups().any(|ours| ours == Element::name(*group))
            })
        };
        let preferred = rules
            .prefer_post_quantum
            .then(|| groups().find(|group| is_post_quantum(*group)))
            .flatten();
        let group = preferred
            .or_else(|| groups().next())
            .ok_or_else(|| Refusal::Group {
                offered: self.groups.join(", "),
            })?;
        let usable = |with: Option<CertificateKey>| {
            let ours = rules.cipher_suites.iter().copied();
            ours.filter(move |suite| {
                suite.version() == version && with.is_none_or(|key| is_usable_with(*suite, key))
            })
        };
        let offers = |suite: SupportedCipherSuite| {
            self.cipher_suites
                .iter()
                .position(|name| *name == openssl_name(suite))
        };
        let suite = match rules.ignore_client_order {
            true => usable(Some(key)).find(|suite| offers(*suite).is_some()),
            false => usable(Some(key))
                .filter_map(|suite| Some((offers(suite)?, suite)))
                .min_by_key(|(position, _)| *position)
                .map(|(_, suite)| suite),
        };
        let suite = suite.ok_or_else(|| Refusal::Suite {
            version: version.name(),
            key: usable(None).any(|suite| offers(suite).is_some()).then_some(key),
        })?;
        Ok(Agreement {
            version: version.name(),
            cipher_suite: suite.name(),
            group: Element::name(group),
        })
    }

    fn version(&self, policy: &Policy) -> Result<Version, Refusal> {
        let common = |version: &Version| self.versions.iter().any(|name| name == version.name());
        // All that there are, newest first: the order of neither side counts.
        let mut ours = Version::all().to_vec();
        ours.retain(|version| policy.protocol_versions().contains(version));
        let found = ours.iter().copied().find(common);
        found.ok_or_else(|| Refusal::Version {
            newest: self.versions.first().cloned().unwrap_or_default(),
            oldest: ours.last().map_or("nothing", |version| version.name()),
        })
    }
}

/// Suites of TLS 1.3 go with every key, those of TLS 1.2 with one kind.
fn is_usable_with(suite: SupportedCipherSuite, key: CertificateKey) -> bool {
    let kind = match key {
        CertificateKey::Ecdsa => "_ECDSA_",
        CertificateKey::Rsa => "_RSA_",
    };
    suite.tls13().is_some() || suite.name().contains(kind)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    clients: Vec<Client>,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::policy::{built_in, names};

    fn client(beginning: &str) -> &'static Client {
        let found = clients().iter().find(|client| client.name.starts_with(beginning));
        found.unwrap_or_else(|| panic!("no client {beginning}"))
    }

    fn verdict(beginning: &str, policy: &str, key: CertificateKey) -> String {
        let policy = built_in(policy).unwrap();
        match client(beginning).meet(policy, key) {
            Ok(found) => format!("{} {} {}", found.version, found.cipher_suite, found.group),
            Err(refusal) => refusal.to_string(),
        }
    }

    #[test]
    fn every_client_is_told_apart_and_offers_something_that_tls_has() {
        let names: BTreeSet<_> = clients().iter().map(|client| &client.name).collect();
        assert_eq!(names.len(), clients().len());
        for client in clients() {
            assert!(client.source.starts_with("https://"), "{}", client.name);
            assert!(!client.cipher_suites.is_empty() && !client.groups.is_empty());
            let versions: Vec<_> = ["TLSv1.3", "TLSv1.2", "TLSv1.1", "TLSv1"]
                .into_iter()
                .filter(|version| client.versions.iter().any(|name| name == version))
                .collect();
            assert_eq!(client.versions, versions, "{}", client.name);
            let new = |name: &&String| name.starts_with("TLS_");
            let speaks_new = client.versions[0] == "TLSv1.3";
            assert_eq!(client.cipher_suites.iter().any(|name| new(&name)), speaks_new);
        }
    }

    #[test]
    fn a_handshake_takes_the_newest_version_and_the_first_choice_of_who_may_choose() {
        use CertificateKey::{Ecdsa, Rsa};
        for (client, policy, key, expected) in [
            (
                "Safari 26",
                "intermediate",
                Rsa,
                "TLSv1.3 TLS13_AES_256_GCM_SHA384 X25519MLKEM768",
            ),
            (
                "Safari 26",
                "ELBSecurityPolicy-TLS13-1-3-2021-06",
                Rsa,
                "TLSv1.3 TLS13_AES_128_GCM_SHA256 X25519",
            ),
            (
                "Android 4.4",
                "gcm-only",
                Ecdsa,
                "TLSv1.2 TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 secp384r1",
            ),
            (
                "Android 4.4",
                "modern",
                Ecdsa,
                "it speaks TLSv1.2 at most, the policy TLSv1.3 at least",
            ),
            (
                "Java 7",
                "intermediate",
                Rsa,
                "it speaks TLSv1 at most, the policy TLSv1.2 at least",
            ),
            (
                "Safari 7",
                "intermediate",
                Rsa,
                "none of its TLSv1.2 suites is among the policy's",
            ),
            (
                "Windows 7",
                "intermediate",
                Rsa,
                "none of its TLSv1.2 suites is among the policy's with an RSA certificate",
            ),
            (
                "Windows 7",
                "intermediate",
                Ecdsa,
                "TLSv1.2 TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 secp256r1",
            ),
            (
                "Java 17",
                "post-quantum-required",
                Rsa,
                "none of its groups is among the policy's: it has X25519, secp256r1, secp384r1, secp521r1",
            ),
        ] {
            assert_eq!(verdict(client, policy, key), expected, "{client}, {policy}");
        }
    }

    #[test]
    fn a_policy_that_prefers_post_quantum_takes_it_wherever_the_client_puts_it() {
        let mut reluctant = client("Go since 1.24").clone();
        reluctant.groups.rotate_left(1);
        let group = |policy| {
            let policy = built_in(policy).unwrap();
            reluctant.meet(policy, CertificateKey::Rsa).unwrap().group
        };
        assert_eq!(group("intermediate"), "X25519");
        assert_eq!(group("post-quantum-preferred"), "X25519MLKEM768");
    }

    #[test]
    fn each_policy_admits_whom_its_text_says() {
        let admitted = |policy: &str| -> BTreeSet<_> {
            let policy = built_in(policy).unwrap();
            let gets_in = |client: &&Client| client.meet(policy, CertificateKey::Ecdsa).is_ok();
            clients()
                .iter()
                .filter(gets_in)
                .map(|client| client.name.as_str())
                .collect()
        };
        let intermediate = admitted("intermediate");
        assert_eq!(admitted("gcm-only"), intermediate);
        assert_eq!(admitted("post-quantum-preferred"), intermediate);
        assert!(admitted("modern").is_subset(&intermediate));
        assert!(admitted("post-quantum-required").is_subset(&admitted("modern")));
        for name in names() {
            assert!(!admitted(name).is_empty(), "{name}");
        }
    }
}
