//! A policy as it is printed.

use serde::Serialize;

use crate::policy::{Element, Policy, Why, is_post_quantum};

/// A policy, for programs.
#[derive(Serialize)]
pub(super) struct Shown<'a> {
    pub(super) name: &'a str,
    /// The dated name that the name stands for, where it is another.
    pub(super) is: Option<&'a str>,
    pub(super) source: &'static str,
    pub(super) versions: Vec<&'static str>,
    pub(super) cipher_suites: Vec<&'static str>,
    pub(super) groups: Vec<&'static str>,
    pub(super) ignore_client_order: bool,
    pub(super) prefer_post_quantum: bool,
    /// `no`, `offered`, `preferred` or `required`.
    pub(super) post_quantum: &'static str,
    pub(super) forward_secrecy: bool,
    pub(super) why: &'a Why,
}

impl<'a> Shown<'a> {
    pub(super) fn new(name: &'a str, policy: &'a Policy, source: &'static str) -> Self {
        Self {
            name,
            is: (name != policy.name()).then(|| policy.name()),
            source,
            versions: versions(policy),
            cipher_suites: policy.cipher_suites().collect(),
            groups: policy.groups().collect(),
            ignore_client_order: policy.ignore_client_order(),
            prefer_post_quantum: policy.rules().prefer_post_quantum,
            post_quantum: post_quantum(policy),
            forward_secrecy: policy.is_forward_secret(),
            why: policy.why(),
        }
    }
}

fn versions(policy: &Policy) -> Vec<&'static str> {
    let versions = policy.protocol_versions().iter();
    versions.map(|version| version.name()).collect()
}

fn post_quantum(policy: &Policy) -> &'static str {
    let mut groups = policy.rules().groups.iter().copied();
    match groups.clone().any(is_post_quantum) {
        false => "no",
        true if groups.all(is_post_quantum) => "required",
        true if policy.rules().prefer_post_quantum => "preferred",
        true => "offered",
    }
}

/// The table of the configuration that says what `policy` says, without `extends`.
pub(super) fn section_text(policy: &Policy) -> String {
    let name = policy.name();
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let name = match name.chars().all(is_bare) {
        true => name.to_owned(),
        false => format!("{name:?}"),
    };
    let suites: String = policy
        .cipher_suites()
        .map(|suite| format!("    {suite:?},\n"))
        .collect();
    let mut text = format!(
        "[policies.{name}]\nversions = {:?}\ncipher_suites = [\n{suites}]\ngroups = {:?}\n",
        versions(policy),
        policy.groups().collect::<Vec<_>>()
    );
    text.push_str(&format!(
        "ignore_client_order = {}\n",
        policy.ignore_client_order()
    ));
    if policy.rules().prefer_post_quantum {
        text.push_str("prefer_post_quantum = true\n");
    }
    if !policy.why().policy.is_empty() {
        let why = toml::Value::from(policy.why().policy.as_str());
        text.push_str(&format!("why = {why}\n"));
    }
    text
}
