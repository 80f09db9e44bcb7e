//! TLS security policies: which protocol versions, cipher suites and key exchange groups a listener accepts.
//!
//! A policy is data: a file of `policies/`, named by level and month, with a `why` for each of its parts; or a table
//! of the configuration. What a dated name says never changes; `intermediate` and `modern` stand for the newest of
//! theirs. What well-known clients offer, and what the policies of cloud load balancers hold, is data as well:
//! [`Client::meet`] and [`CloudPolicy::import`] compute the rest.

mod built_in;
mod client;
mod cloud;
mod element;
mod key_schedule;
mod parse;
mod rules;

use std::fmt;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{NamedGroup, SupportedCipherSuite, SupportedProtocolVersion};

pub use built_in::{DEFAULT, built_in, names, text};
pub use client::{Agreement, CertificateKey, Client, Refusal, clients};
pub use cloud::{CloudPolicy, Import, cloud_policies, cloud_policy};
pub use element::{Element, Group, Version, is_post_quantum, openssl_name};
pub use parse::PolicyError;
pub use rules::{Misfit, Rules};

/// A checked TLS security policy. Immutable.
#[derive(Clone)]
pub struct Policy {
    name: String,
    why: Why,
    rules: Rules,
    provider: Arc<CryptoProvider>,
    post_quantum: Option<Arc<CryptoProvider>>,
}

impl Policy {
    /// A policy of `rules`; `name` is what it is called.
    ///
    /// # Errors
    /// [`PolicyError::Misfit`] when no handshake could come of a part of the rules.
    pub fn new(name: &str, why: Why, rules: Rules) -> Result<Self, PolicyError> {
        if let Some(misfit) = rules.misfits().into_iter().next() {
            return Err(PolicyError::Misfit {
                policy: name.to_owned(),
                misfit,
            });
        }
        let provider = |groups: Vec<Group>| {
            Arc::new(CryptoProvider {
                cipher_suites: rules.cipher_suites.clone(),
                kx_groups: groups,
                ..aws_lc_rs::default_provider()
            })
        };
        let post_quantum = || {
            let groups = rules.groups.iter().copied();
            provider(groups.filter(|group| is_post_quantum(*group)).collect())
        };
        Ok(Self {
            name: name.to_owned(),
            why,
            provider: provider(rules.groups.clone()),
            post_quantum: rules.prefer_post_quantum.then(post_quantum),
            rules,
        })
    }

    /// Reads a policy file; `name` is what it is called, the file's name without `.toml`.
    ///
    /// # Errors
    /// [`PolicyError`] names the key that is unknown, or the suite, version or group that is, and what is allowed.
    pub fn parse(name: &str, text: &str) -> Result<Self, PolicyError> {
        let (why, rules) = parse::parse(name, text)?;
        Self::new(name, why, rules)
    }

    /// The dated name, `intermediate-2026-11`, or the name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The reasons, for people.
    pub fn why(&self) -> &Why {
        &self.why
    }

    /// What it says.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The policy as rustls takes it: its suites and groups in its order, everything else as AWS-LC has it. One
    /// value for all listeners of the policy.
    pub fn provider(&self) -> Arc<CryptoProvider> {
        self.provider.clone()
    }

    /// The same with the post-quantum groups only, where the policy prefers them; for clients of which
    /// [`Policy::can_be_post_quantum`] is true. rustls itself takes the client's first choice.
    pub fn post_quantum_provider(&self) -> Option<Arc<CryptoProvider>> {
        self.post_quantum.clone()
    }

    /// Whether a client that offers these suites and groups can agree on a post-quantum group of the policy.
    pub fn can_be_post_quantum(&self, suites: &[rustls::CipherSuite], groups: &[NamedGroup]) -> bool {
        let ours = self.rules.groups.iter();
        let group = ours
            .filter(|group| is_post_quantum(**group))
            .any(|group| groups.contains(&group.name()));
        // A ClientHello does not show its versions here; but no client offers suites of one that it does not speak.
        group
            && self
                .rules
                .cipher_suites
                .iter()
                .any(|suite| suite.tls13().is_some() && suites.contains(&suite.suite()))
    }

    /// The protocol versions, in the policy's order.
    pub fn protocol_versions(&self) -> &[&'static SupportedProtocolVersion] {
        &self.rules.versions
    }

    /// The cipher suites' names in the policy's order.
    pub fn cipher_suites(&self) -> impl Iterator<Item = &'static str> {
        self.rules
            .cipher_suites
            .iter()
            .copied()
            .map(SupportedCipherSuite::name)
    }

    /// The key exchange groups' names in the policy's order.
    pub fn groups(&self) -> impl Iterator<Item = &'static str> {
        self.rules.groups.iter().copied().map(Element::name)
    }

    /// Whether the policy's order of suites decides, and not the client's. Of the groups the client's first
    /// choice that the policy has is taken in either case, unless the policy prefers the post-quantum ones.
    pub fn ignore_client_order(&self) -> bool {
        self.rules.ignore_client_order
    }

    /// Whether each session has a key of its own, so that a private key stolen later opens no recorded traffic.
    pub fn is_forward_secret(&self) -> bool {
        let suites = &mut self.rules.cipher_suites.iter();
        suites.all(|suite| suite.tls13().is_some() || suite.name().starts_with("TLS_ECDHE_"))
    }
}

/// Why a policy is as it is: one text for each part; empty where nobody wrote one.
#[derive(Clone, Debug, Default, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
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

impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        // The providers follow from the rules.
        self.name == other.name && self.why == other.why && self.rules == other.rules
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("name", &self.name)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}
