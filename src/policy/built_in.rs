//! The policies that come with certgate.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::Policy;

/// The policy of a listener that names none.
pub const DEFAULT: &str = "intermediate";

/// The built-in policy called `name`: a dated name, or its level alone for the newest of the level.
pub fn built_in(name: &str) -> Option<&'static Policy> {
    POLICIES.get(name)
}

/// Every name that [`built_in`] knows, sorted.
pub fn names() -> Vec<&'static str> {
    POLICIES.keys().copied().collect()
}

/// The files of `policies/`, by name.
const FILES: [(&str, &str); 2] = [
    (
        "intermediate-2026-11",
        include_str!("../../policies/intermediate-2026-11.toml"),
    ),
    (
        "modern-2026-11",
        include_str!("../../policies/modern-2026-11.toml"),
    ),
];

static POLICIES: LazyLock<BTreeMap<&'static str, Policy>> = LazyLock::new(|| {
    let mut policies = BTreeMap::new();
    let mut files = FILES;
    // By date within a level, so that the newest is the last to take the level's name.
    files.sort_by_key(|(name, _)| *name);
    for (name, text) in files {
        let policy = Policy::parse(name, text).expect("a test parses every built-in policy");
        policies.insert(level(name), policy.clone());
        policies.insert(name, policy);
    }
    policies
});

/// `intermediate` of `intermediate-2026-11`.
fn level(name: &'static str) -> &'static str {
    let date = name.len().saturating_sub("-YYYY-MM".len());
    name.get(..date).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest;

    use super::*;

    /// A published policy never changes: what is new gets a new date, a new line here, and the old one stays.
    const CONTENT: [(&str, &str); 2] = [
        (
            "intermediate-2026-11",
            "5e67d0ee4d3f8028d34cfac2717944eae81860f35b952c5bb4be2091a92ee507",
        ),
        (
            "modern-2026-11",
            "64c56ded1c4b2b10932ea03a3193396231aed20b746ebd9c989599feeea1a1f5",
        ),
    ];

    #[test]
    fn the_content_of_a_dated_policy_never_changes_under_its_name() {
        let sha256 = |text: &str| {
            let hash = digest::digest(&digest::SHA256, text.as_bytes());
            hash.as_ref()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        let found: Vec<_> = FILES.iter().map(|(name, text)| (*name, sha256(text))).collect();
        let found: Vec<_> = found.iter().map(|(name, hash)| (*name, hash.as_str())).collect();
        assert_eq!(found, CONTENT);
    }

    #[test]
    fn every_file_of_the_directory_is_built_in() {
        let mut files: Vec<_> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/policies"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        assert_eq!(files, FILES.map(|(name, _)| format!("{name}.toml")));
    }

    #[test]
    fn a_level_stands_for_its_newest_policy() {
        assert_eq!(
            names(),
            ["intermediate", "intermediate-2026-11", "modern", "modern-2026-11"]
        );
        assert_eq!(built_in(DEFAULT).unwrap().name(), "intermediate-2026-11");
        assert_eq!(built_in("modern").unwrap().name(), "modern-2026-11");
        assert!(built_in("ELBSecurityPolicy-TLS13-1-3-2021-06").is_none());
    }

    #[test]
    fn intermediate_and_modern_are_mozillas_of_version_6_0() {
        let tls13 = [
            "TLS13_AES_128_GCM_SHA256",
            "TLS13_AES_256_GCM_SHA384",
            "TLS13_CHACHA20_POLY1305_SHA256",
        ];
        let modern = built_in("modern").unwrap();
        assert_eq!(modern.cipher_suites().collect::<Vec<_>>(), tls13);
        let intermediate = built_in("intermediate").unwrap();
        let suites: Vec<_> = intermediate.cipher_suites().collect();
        assert_eq!(suites[..3], tls13);
        assert_eq!(suites.len(), 9);
        for policy in [modern, intermediate] {
            let groups: Vec<_> = policy.groups().collect();
            assert_eq!(groups, ["X25519MLKEM768", "X25519", "secp256r1", "secp384r1"]);
            assert!(!policy.ignore_client_order());
        }
    }
}
