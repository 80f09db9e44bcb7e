//! What policies are made of: versions, cipher suites and groups, each by its name.

use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::ALL_KX_GROUPS;
use rustls::version::{TLS12, TLS13};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};

use super::key_schedule::CIPHER_SUITES;

/// A protocol version that certgate speaks.
pub type Version = &'static SupportedProtocolVersion;

/// A key exchange group that certgate has.
pub type Group = &'static dyn SupportedKxGroup;

/// One entry of a policy's lists.
pub trait Element: Copy + 'static {
    /// The list's key in a policy.
    const KEY: &'static str;

    /// Every one that certgate has.
    fn all() -> &'static [Self];

    /// Its name in policies and in every log line.
    fn name(self) -> &'static str;

    /// The one with that name.
    fn named(name: &str) -> Option<Self> {
        Self::all().iter().copied().find(|element| element.name() == name)
    }
}

impl Element for Version {
    const KEY: &'static str = "versions";

    fn all() -> &'static [Self] {
        static ALL: [Version; 2] = [&TLS13, &TLS12];
        &ALL
    }

    /// As OpenSSL writes it.
    fn name(self) -> &'static str {
        if *self == TLS13 { "TLSv1.3" } else { "TLSv1.2" }
    }
}

impl Element for SupportedCipherSuite {
    const KEY: &'static str = "cipher_suites";

    fn all() -> &'static [Self] {
        &CIPHER_SUITES
    }

    fn name(self) -> &'static str {
        self.suite().as_str().unwrap_or_default()
    }
}

impl Element for Group {
    const KEY: &'static str = "groups";

    fn all() -> &'static [Self] {
        ALL_KX_GROUPS
    }

    fn name(self) -> &'static str {
        SupportedKxGroup::name(self).as_str().unwrap_or_default()
    }
}

/// Whether a key agreed on in `group` withstands a quantum computer: ML-KEM, alone or beside a classical group.
pub fn is_post_quantum(group: Group) -> bool {
    Element::name(group).ends_with("MLKEM768") || Element::name(group).ends_with("MLKEM1024")
}

/// What OpenSSL and the documentation of cloud load balancers call a suite.
pub fn openssl_name(suite: SupportedCipherSuite) -> String {
    let name = suite.name();
    if let Some(rest) = name.strip_prefix("TLS13_") {
        return format!("TLS_{rest}");
    }
    let name = name.trim_start_matches("TLS_").replace("_WITH_", "_");
    let name = name.strip_suffix("POLY1305_SHA256").map_or_else(
        || name.replace("AES_", "AES"),
        |cipher| format!("{cipher}POLY1305"),
    );
    name.replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_is_found_by_its_name() {
        fn check<T: Element>(expected: usize) {
            assert_eq!(T::all().len(), expected);
            for element in T::all() {
                assert_eq!(T::named(element.name()).map(T::name), Some(element.name()));
            }
            assert!(T::named("").is_none());
        }
        check::<Version>(2);
        check::<SupportedCipherSuite>(9);
        check::<Group>(7);
    }

    #[test]
    fn suites_have_the_names_of_openssl_too() {
        let names: Vec<_> = SupportedCipherSuite::all()
            .iter()
            .map(|suite| openssl_name(*suite))
            .collect();
        for name in [
            "TLS_AES_128_GCM_SHA256",
            "TLS_CHACHA20_POLY1305_SHA256",
            "ECDHE-ECDSA-AES256-GCM-SHA384",
            "ECDHE-RSA-AES128-GCM-SHA256",
            "ECDHE-RSA-CHACHA20-POLY1305",
        ] {
            assert!(names.iter().any(|found| found == name), "{name}: {names:?}");
        }
    }

    #[test]
    fn four_groups_withstand_a_quantum_computer() {
        let found: Vec<_> = Group::all()
            .iter()
            .filter(|group| is_post_quantum(**group))
            .map(|group| Element::name(*group))
            .collect();
        assert_eq!(
            found,
            ["X25519MLKEM768", "secp256r1MLKEM768", "MLKEM768", "MLKEM1024"]
        );
    }
}
