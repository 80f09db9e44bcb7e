//! TLS security policies: which protocol versions, cipher suites and key exchange groups a listener accepts.
//!
//! A policy is data: a file of `policies/`, named by level and month, with a `why` for each of its parts. What a
//! dated name says never changes; `intermediate` and `modern` stand for the newest of theirs.

mod built_in;
mod parse;

use std::fmt;
use std::sync::Arc;

use rustls::SupportedProtocolVersion;
use rustls::crypto::{CryptoProvider, aws_lc_rs};

pub use built_in::{DEFAULT, built_in, names};
pub use parse::PolicyError;

/// A checked TLS security policy. Immutable.
#[derive(Clone)]
pub struct Policy {
    name: String,
    why: Why,
    versions: Vec<&'static SupportedProtocolVersion>,
    provider: Arc<CryptoProvider>,
    ignore_client_order: bool,
}

impl Policy {
    /// Reads a policy file; `name` is what it is called, the file's name without `.toml`.
    ///
    /// # Errors
    /// [`PolicyError`] names the key that is unknown, or the suite, version or group that is, and what is allowed.
    pub fn parse(name: &str, text: &str) -> Result<Self, PolicyError> {
        let parts = parse::parse(name, text)?;
        Ok(Self {
            name: name.to_owned(),
            why: parts.why,
            versions: parts.versions,
            provider: Arc::new(CryptoProvider {
                cipher_suites: parts.cipher_suites,
                kx_groups: parts.groups,
                ..aws_lc_rs::default_provider()
            }),
            ignore_client_order: parts.ignore_client_order,
        })
    }

    /// The dated name, `intermediate-2026-11`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The reasons, for people.
    pub fn why(&self) -> &Why {
        &self.why
    }

    /// The policy as rustls takes it: its suites and groups in its order, everything else as AWS-LC has it. One
    /// value for all listeners of the policy.
    pub fn provider(&self) -> Arc<CryptoProvider> {
        self.provider.clone()
    }

    /// The protocol versions, newest first.
    pub fn protocol_versions(&self) -> &[&'static SupportedProtocolVersion] {
        &self.versions
    }

    /// The cipher suites' names in the policy's order.
    pub fn cipher_suites(&self) -> impl Iterator<Item = &'static str> {
        let suites = self.provider.cipher_suites.iter();
        suites.filter_map(|suite| suite.suite().as_str())
    }

    /// The key exchange groups' names in the policy's order.
    pub fn groups(&self) -> impl Iterator<Item = &'static str> {
        let groups = self.provider.kx_groups.iter();
        groups.filter_map(|group| group.name().as_str())
    }

    /// Whether the policy's order of suites decides, and not the client's. Of the groups the client's first
    /// choice that the policy has is taken in either case.
    pub fn ignore_client_order(&self) -> bool {
        self.ignore_client_order
    }
}

/// Why a policy is as it is: one text for each part.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Why {
    /// Whom the policy is for, and where it comes from.
    pub policy: String,
    /// The protocol versions.
    pub versions: String,
    /// The cipher suites.
    pub cipher_suites: String,
    /// The key exchange groups.
    pub groups: String,
    /// Whose order decides.
    pub ignore_client_order: String,
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("name", &self.name)
            .field("versions", &self.versions)
            .field("cipher_suites", &self.cipher_suites().collect::<Vec<_>>())
            .field("groups", &self.groups().collect::<Vec<_>>())
            .field("ignore_client_order", &self.ignore_client_order)
            .finish_non_exhaustive()
    }
}
