//! The policies of cloud load balancers, and what certgate can express of them.

use std::sync::LazyLock;

use rustls::SupportedCipherSuite;
use serde::Deserialize;

use super::built_in::built_in;
use super::element::{Element, Group, Version, openssl_name};
use super::rules::Rules;

/// Every policy of a cloud load balancer that certgate knows by name, as the files of `policies/cloud/` have them.
pub fn cloud_policies() -> &'static [CloudPolicy] {
    &CLOUD
}

/// The one called `name`.
pub fn cloud_policy(name: &str) -> Option<&'static CloudPolicy> {
    CLOUD.iter().find(|policy| policy.name == name)
}

/// A policy of a cloud load balancer, in the words of its documentation.
#[derive(Clone, Debug)]
pub struct CloudPolicy {
    /// What the cloud calls it.
    pub name: String,
    /// Whose it is: `Alibaba Cloud NLB`.
    pub service: String,
    /// Where that is documented.
    pub source: String,
    /// Protocol versions as OpenSSL writes them, the newest first.
    pub versions: Vec<String>,
    /// Cipher suites as OpenSSL names them.
    pub cipher_suites: Vec<String>,
    /// Key exchange groups; empty where none are documented.
    pub groups: Vec<String>,
    /// Whether its order of suites decides.
    pub ignore_client_order: bool,
    /// What is not known of it.
    pub unknown: Option<String>,
    /// What it promises besides, and no list can express.
    pub demands: Option<String>,
}

/// A cloud policy divided into what certgate can express and what it cannot.
#[derive(Clone, Debug)]
pub struct Import {
    /// What can be expressed; `None` when nothing usable is left.
    pub rules: Option<Rules>,
    /// How many of its suites can be.
    pub kept: usize,
    /// Of how many.
    pub of: usize,
    /// Whether the list of its suites is known to its end.
    pub is_whole_list: bool,
    /// The versions that cannot be expressed.
    pub versions: Vec<String>,
    /// The suites that cannot be.
    pub cipher_suites: Vec<String>,
    /// The groups that cannot be.
    pub groups: Vec<String>,
}

impl CloudPolicy {
    /// Divides it.
    pub fn import(&self) -> Import {
        let (versions, other_versions) = divide(&self.versions, Version::named);
        let (cipher_suites, other_suites) = divide(&self.cipher_suites, |name| {
            let mut all = SupportedCipherSuite::all().iter().copied();
            all.find(|suite| openssl_name(*suite) == name)
        });
        let (groups, other_groups) = divide(&self.groups, |name| {
            let mut all = Group::all().iter().copied();
            all.find(|group| Element::name(*group).eq_ignore_ascii_case(name))
        });
        let groups = match groups.is_empty() {
            true => CLASSICAL.into_iter().filter_map(Group::named).collect(),
            false => groups,
        };
        let rules = Rules {
            versions,
            cipher_suites,
            groups,
            ignore_client_order: self.ignore_client_order,
            prefer_post_quantum: false,
        };
        Import {
            kept: rules.cipher_suites.len(),
            of: self.cipher_suites.len(),
            is_whole_list: self.unknown.is_none(),
            rules: rules.misfits().is_empty().then_some(rules),
            versions: other_versions,
            cipher_suites: other_suites,
            groups: other_groups,
        }
    }

    /// Whether certgate expresses all of it, and has it built in.
    pub fn is_exact(&self) -> bool {
        built_in(&self.name).is_some()
    }
}

impl Import {
    /// `4 of its 19 cipher suites`.
    pub fn portion(&self) -> String {
        let of = if self.is_whole_list { "its" } else { "at least" };
        format!("{} of {of} {} cipher suites", self.kept, self.of)
    }
}

fn divide<T>(names: &[String], find: impl Fn(&str) -> Option<T>) -> (Vec<T>, Vec<String>) {
    let (mut found, mut other) = (Vec::new(), Vec::new());
    for name in names {
        match find(name) {
            Some(element) => found.push(element),
            None => other.push(name.clone()),
        }
    }
    (found, other)
}

/// Where a cloud names no groups, these are what its load balancers are known to have.
const CLASSICAL: [&str; 3] = ["X25519", "secp256r1", "secp384r1"];

static CLOUD: LazyLock<Vec<CloudPolicy>> = LazyLock::new(|| {
    let files = [
        include_str!("../../policies/cloud/alibaba.toml"),
        include_str!("../../policies/cloud/aws.toml"),
        include_str!("../../policies/cloud/huawei.toml"),
    ];
    files.into_iter().flat_map(read).collect()
});

fn read(text: &str) -> Vec<CloudPolicy> {
    let file: File = toml::from_str(text).expect("a test reads every file");
    let policy = |entry: Entry| CloudPolicy {
        name: entry.name,
        service: file.service.clone(),
        source: file.source.clone(),
        versions: entry.versions,
        cipher_suites: entry
            .suites
            .iter()
            .flat_map(|set| file.sets.get(set).cloned().expect("a test reads every file"))
            .collect(),
        groups: entry.groups,
        ignore_client_order: file.ignore_client_order,
        unknown: entry.unknown,
        demands: entry.demands,
    };
    file.policies.into_iter().map(policy).collect()
}

/// A file of `policies/cloud/`; `suites` of its policies are names of sets.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    service: String,
    source: String,
    ignore_client_order: bool,
    sets: std::collections::BTreeMap<String, Vec<String>>,
    policies: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    versions: Vec<String>,
    suites: Vec<String>,
    #[serde(default)]
    groups: Vec<String>,
    unknown: Option<String>,
    demands: Option<String>,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_is_built_in_is_exactly_what_nothing_is_missing_of() {
        for policy in cloud_policies() {
            let import = policy.import();
            let complete = import.kept == import.of
                && import.versions.is_empty()
                && import.groups.is_empty()
                && policy.unknown.is_none()
                && policy.demands.is_none();
            assert_eq!(policy.is_exact(), complete, "{}", policy.name);
            if let Some(built_in) = built_in(&policy.name) {
                assert_eq!(Some(built_in.rules()), import.rules.as_ref(), "{}", policy.name);
            }
        }
        let exact: Vec<_> = cloud_policies()
            .iter()
            .filter(|policy| policy.is_exact())
            .map(|policy| policy.name.as_str())
            .collect();
        assert_eq!(
            exact,
            [
                "ELBSecurityPolicy-TLS13-1-3-2021-06",
                "ELBSecurityPolicy-TLS13-1-2-Res-2021-06",
                "ELBSecurityPolicy-FS-1-2-Res-2020-10",
            ]
        );
    }

    #[test]
    fn an_import_counts_what_it_keeps_and_names_what_it_drops() {
        for (name, kept, of, versions) in [
            ("tls_cipher_policy_1_0", 4, 19, &["TLSv1.1", "TLSv1"][..]),
            ("tls_cipher_policy_1_1", 4, 19, &["TLSv1.1"]),
            ("tls_cipher_policy_1_2", 4, 19, &[]),
            ("tls_cipher_policy_1_2_strict", 4, 12, &[]),
            ("tls_cipher_policy_1_2_strict_with_1_3", 7, 17, &[]),
            ("tls-1-0", 4, 18, &["TLSv1.1", "TLSv1"]),
            ("tls-1-2-strict", 4, 12, &[]),
            ("tls-1-2-fs", 4, 8, &[]),
            ("tls-1-0-with-1-3", 7, 23, &["TLSv1.1", "TLSv1"]),
            ("tls-1-2-fs-with-1-3", 7, 13, &[]),
            ("ELBSecurityPolicy-2016-08", 4, 18, &["TLSv1.1", "TLSv1"]),
            ("ELBSecurityPolicy-TLS-1-0-2015-04", 4, 19, &["TLSv1.1", "TLSv1"]),
            ("ELBSecurityPolicy-TLS-1-2-2017-01", 4, 12, &[]),
            ("ELBSecurityPolicy-FS-1-2-Res-2019-08", 4, 8, &[]),
            ("ELBSecurityPolicy-TLS13-1-2-2021-06", 7, 11, &[]),
            ("ELBSecurityPolicy-TLS13-1-2-Ext1-2021-06", 7, 15, &[]),
            (
                "ELBSecurityPolicy-TLS13-1-0-2021-06",
                7,
                21,
                &["TLSv1.1", "TLSv1"],
            ),
            ("ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09", 7, 7, &[]),
        ] {
            let import = cloud_policy(name).unwrap().import();
            assert_eq!((import.kept, import.of), (kept, of), "{name}");
            assert_eq!(import.versions, versions, "{name}");
            assert_eq!(import.cipher_suites.len(), of - kept, "{name}");
            let rules = import.rules.unwrap();
            assert!(rules.misfits().is_empty(), "{name}");
            assert_eq!(rules.cipher_suites.len(), kept);
        }
        let unseen = cloud_policy("tls-1-0-inherit").unwrap().import();
        assert_eq!(unseen.portion(), "4 of at least 18 cipher suites");
        let post_quantum = cloud_policy("ELBSecurityPolicy-TLS13-1-3-PQ-2025-09").unwrap();
        assert_eq!(post_quantum.import().groups, ["SecP384r1MLKEM1024"]);
    }

    #[test]
    fn every_cloud_policy_has_a_name_of_its_own_and_a_rest_that_can_be_used() {
        let names: BTreeSet<_> = cloud_policies().iter().map(|policy| &policy.name).collect();
        assert_eq!(names.len(), cloud_policies().len());
        for policy in cloud_policies() {
            assert!(policy.import().rules.is_some(), "{}", policy.name);
            let mut suites = BTreeSet::new();
            assert!(policy.cipher_suites.iter().all(|suite| suites.insert(suite)));
        }
    }
}
