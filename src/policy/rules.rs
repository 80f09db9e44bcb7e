//! What a policy says, and whether its parts fit together.

use std::fmt;

use rustls::SupportedCipherSuite;

use super::element::{Element, Group, Version, is_post_quantum};

/// The parts of a policy, in their order.
#[derive(Clone)]
pub struct Rules {
    /// The protocol versions.
    pub versions: Vec<Version>,
    /// The cipher suites of all these versions.
    pub cipher_suites: Vec<SupportedCipherSuite>,
    /// The key exchange groups.
    pub groups: Vec<Group>,
    /// Whether the policy's order of suites decides, and not the client's.
    pub ignore_client_order: bool,
    /// Whether a client that offers a post-quantum group gets one, wherever it stands in the client's order.
    pub prefer_post_quantum: bool,
}

/// Parts of a policy that cannot be used together.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Misfit {
    /// A group that none of the versions can use.
    #[error("`{group}` works with TLSv1.3 only, which is not among its `versions`")]
    UnusedGroup {
        /// The group.
        group: &'static str,
    },
    /// A suite of a version that the policy does not have.
    #[error("`{suite}` belongs to {version}, which is not among its `versions`")]
    UnusedSuite {
        /// The suite.
        suite: &'static str,
        /// The version it belongs to.
        version: &'static str,
    },
    /// Post-quantum groups are preferred, and there is none.
    #[error("it prefers post-quantum groups, and none is among its `groups`")]
    NothingToPrefer,
    /// A version for which there is no group.
    #[error("none of its `groups` works with {version}, which is among its `versions`")]
    VersionWithoutGroup {
        /// The version.
        version: &'static str,
    },
    /// A version that no suite of the policy can be used with.
    #[error("none of its `cipher_suites` belongs to {version}, which is among its `versions`")]
    VersionWithoutSuite {
        /// The version.
        version: &'static str,
    },
}

impl Rules {
    /// Everything that does not fit; nothing of a policy with which each version can be negotiated.
    pub fn misfits(&self) -> Vec<Misfit> {
        let mut found = Vec::new();
        for suite in &self.cipher_suites {
            if !self.versions.contains(&suite.version()) {
                found.push(Misfit::UnusedSuite {
                    suite: suite.name(),
                    version: suite.version().name(),
                });
            }
        }
        for group in &self.groups {
            if !self.has_version_for(*group) {
                found.push(Misfit::UnusedGroup {
                    group: Element::name(*group),
                });
            }
        }
        for version in &self.versions {
            if !self.cipher_suites.iter().any(|suite| suite.version() == *version) {
                found.push(Misfit::VersionWithoutSuite {
                    version: version.name(),
                });
            }
            if !self
                .groups
                .iter()
                .any(|group| group.usable_for_version(version.version))
            {
                found.push(Misfit::VersionWithoutGroup {
                    version: version.name(),
                });
            }
        }
        if self.prefer_post_quantum && !self.groups.iter().any(|group| is_post_quantum(*group)) {
            found.push(Misfit::NothingToPrefer);
        }
        found
    }

    /// Whether one of the versions can use `group`.
    pub fn has_version_for(&self, group: Group) -> bool {
        let versions = &mut self.versions.iter();
        versions.any(|version| group.usable_for_version(version.version))
    }

    fn names(&self) -> [Vec<&'static str>; 3] {
        fn names<T: Element>(elements: &[T]) -> Vec<&'static str> {
            elements.iter().copied().map(T::name).collect()
        }
        [
            names(&self.versions),
            names(&self.cipher_suites),
            names(&self.groups),
        ]
    }
}

impl PartialEq for Rules {
    fn eq(&self, other: &Self) -> bool {
        self.names() == other.names()
            && self.ignore_client_order == other.ignore_client_order
            && self.prefer_post_quantum == other.prefer_post_quantum
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [versions, cipher_suites, groups] = self.names();
        f.debug_struct("Rules")
            .field("versions", &versions)
            .field("cipher_suites", &cipher_suites)
            .field("groups", &groups)
            .field("ignore_client_order", &self.ignore_client_order)
            .field("prefer_post_quantum", &self.prefer_post_quantum)
            .finish()
    }
}
