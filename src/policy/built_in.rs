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

/// The text of the file of a built-in policy, by its dated name.
pub fn text(name: &str) -> Option<&'static str> {
    let files = &mut OWN.iter().chain(&CLOUD);
    files.find(|(file, _)| *file == name).map(|(_, text)| *text)
}

/// The files of `policies/` with these names.
macro_rules! files {
    ($($name:literal,)*) => {
        [$(($name, include_str!(concat!("../../policies/", $name, ".toml"))),)*]
    };
}

/// certgate's own, each a level and a month.
const OWN: [(&str, &str); 5] = files![
    "gcm-only-2026-11",
    "intermediate-2026-11",
    "modern-2026-11",
    "post-quantum-preferred-2026-11",
    "post-quantum-required-2026-11",
];

/// Those of cloud load balancers that rustls has exactly. They have no other name than theirs.
const CLOUD: [(&str, &str); 3] = files![
    "ELBSecurityPolicy-FS-1-2-Res-2020-10",
    "ELBSecurityPolicy-TLS13-1-2-Res-2021-06",
    "ELBSecurityPolicy-TLS13-1-3-2021-06",
];

static POLICIES: LazyLock<BTreeMap<&'static str, Policy>> = LazyLock::new(|| {
    let mut policies = BTreeMap::new();
    let parse = |name, text| Policy::parse(name, text).expect("a test parses every built-in policy");
    let mut own = OWN;
    // By date within a level, so that the newest is the last to take the level's name.
    own.sort_by_key(|(name, _)| *name);
    for (name, text) in own {
        let policy = parse(name, text);
        policies.insert(level(name), policy.clone());
        policies.insert(name, policy);
    }
    for (name, text) in CLOUD {
        policies.insert(name, parse(name, text));
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
    const CONTENT: [(&str, &str); 8] = [
        (
            "gcm-only-2026-11",
            "818db5c7987348cacd9a9a3d877b266a269dff81b9cffb1cbba454feab782dea",
        ),
        (
            "intermediate-2026-11",
            "5e67d0ee4d3f8028d34cfac2717944eae81860f35b952c5bb4be2091a92ee507",
        ),
        (
            "modern-2026-11",
            "64c56ded1c4b2b10932ea03a3193396231aed20b746ebd9c989599feeea1a1f5",
        ),
        (
            "post-quantum-preferred-2026-11",
            "b52a92f1b81df4ac9c63a349e8291cade0542c825b94069d08cf77500c4ec2bc",
        ),
        (
            "post-quantum-required-2026-11",
            "73e91e917b3401f5d2441cdbaeb33c653f6e7f55b19ce18d1d10602d2a9ff637",
        ),
        (
            "ELBSecurityPolicy-FS-1-2-Res-2020-10",
            "3e1550fd1efad3207729d0a560d2f19fff3066486c593c8841a66b7ad3cc4f2a",
        ),
        (
            "ELBSecurityPolicy-TLS13-1-2-Res-2021-06",
            "73cd6c2ad003b8781fef74ba8dafec783aa2cac82d738259167b598e41ec337c",
        ),
        (
            "ELBSecurityPolicy-TLS13-1-3-2021-06",
            "f6d2a55416063cc36a417a5bd125e2fc933091fd210501a657685dc1f10fab69",
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
        let found: Vec<_> = OWN
            .iter()
            .chain(&CLOUD)
            .map(|(name, text)| (*name, sha256(text)))
            .collect();
        let found: Vec<_> = found.iter().map(|(name, hash)| (*name, hash.as_str())).collect();
        assert_eq!(found, CONTENT);
    }

    #[test]
    fn every_file_of_the_directory_is_built_in() {
        let mut files: Vec<_> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/policies"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !matches!(name.as_str(), "clients.toml" | "cloud"))
            .collect();
        files.sort_by_key(|name| (name.starts_with("ELB"), name.clone()));
        let built_in = OWN.iter().chain(&CLOUD);
        let expected: Vec<_> = built_in.map(|(name, _)| format!("{name}.toml")).collect();
        assert_eq!(files, expected);
    }

    #[test]
    fn a_level_stands_for_its_newest_policy() {
        assert_eq!(names().len(), 2 * OWN.len() + CLOUD.len());
        for (name, _) in OWN {
            let level = name.strip_suffix("-2026-11").unwrap();
            assert_eq!(built_in(level).unwrap().name(), name);
        }
        assert_eq!(built_in(DEFAULT).unwrap().name(), "intermediate-2026-11");
        assert_eq!(built_in("modern").unwrap().name(), "modern-2026-11");
    }

    #[test]
    fn a_cloud_name_stands_for_itself_only() {
        assert!(built_in("ELBSecurityPolicy-TLS13-1-3-2021-06").is_some());
        assert!(built_in("ELBSecurityPolicy-TLS13-1-3").is_none());
        assert!(built_in("ELBSecurityPolicy").is_none());
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
