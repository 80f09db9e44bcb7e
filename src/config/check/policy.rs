//! `[policies.NAME]`, and references to policies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Checker;
use crate::config::collection::List;
use crate::config::diagnostic::{Code, Diagnostic};
use crate::config::policy_part::Part;
use crate::config::reader::Key;
use crate::config::source::{Located, Place};
use crate::config::suggestion;
use crate::config::written::Policy as Written;
use crate::policy::{Element, Misfit, Policy, Rules, Why, built_in, cloud_policy, is_post_quantum, names};

/// Own policies as far as they are known; `None` for one that was reported.
type Resolved<'a> = BTreeMap<&'a str, Option<Arc<Policy>>>;

impl Checker<'_> {
    /// The operator's own policies, each after the one that it extends.
    pub(super) fn policies(&mut self) -> Option<BTreeMap<String, Arc<Policy>>> {
        let document = self.document;
        let tables: BTreeMap<_, _> = document
            .policies
            .tables()
            .map(|(name, table)| (name.value.as_str(), (name, table)))
            .collect();
        let mut resolved = Resolved::new();
        for &name in tables.keys() {
            let (mut chain, mut seen) = (Vec::new(), BTreeSet::new());
            let mut next = Some(name);
            while let Some((&name, (_, table))) = next.and_then(|name| tables.get_key_value(name)) {
                if resolved.contains_key(name) {
                    break;
                }
                if !seen.insert(name) {
                    let start = chain.iter().position(|other| *other == name).unwrap_or_default();
                    self.extends_itself(&chain[start..], &table.extends);
                    resolved.extend(chain[start..].iter().map(|name| (*name, None)));
                    break;
                }
                chain.push(name);
                next = table.extends.value().map(|base| base.value.as_str());
            }
            for name in chain.into_iter().rev() {
                if let Some((written, table)) = tables.get(name)
                    && !resolved.contains_key(name)
                {
                    let policy = self.own_policy(written, table, &resolved).map(Arc::new);
                    resolved.insert(name, policy);
                }
            }
        }
        let whole = resolved.into_iter();
        whole
            .map(|(name, policy)| Some((name.to_owned(), policy?)))
            .collect()
    }

    /// Whether `name` can be the policy of a listener; reports it when not.
    pub(super) fn refers_to_policy(&mut self, name: &Located<String>) -> bool {
        let Located { value: name, place } = name;
        if self.document.policies.may_hold(name) || built_in(name).is_some() {
            return true;
        }
        let diagnostic = match cloud_policy(name) {
            Some(cloud) => {
                let message = format!(
                    "`{name}` is a policy of {}, which certgate cannot express in full: it has {}",
                    cloud.service,
                    cloud.import().portion()
                );
                let help = format!(
                    "`certgate policy import {name}` shows what is missing, and makes a policy of the rest"
                );
                Diagnostic::new(Code::CloudPolicy, message)
                    .at(place, "the name of a cloud policy")
                    .help(help)
            }
            None => {
                let allowed = self.document.policies.names().chain(names());
                Diagnostic::new(
                    Code::DanglingName,
                    format!("there is no TLS security policy `{name}`"),
                )
                .at(place, "no such policy")
                .help(suggestion::for_word(name, allowed))
            }
        };
        self.report.push(diagnostic);
        false
    }

    fn extends_itself(&mut self, chain: &[&str], extends: &Key<String>) {
        let message = match chain {
            [only] => format!("the policy `{only}` extends itself"),
            [first, others @ ..] => format!(
                "the policy `{first}` extends itself, by way of {}",
                suggestion::list(others.iter().copied())
            ),
            [] => return,
        };
        let mut diagnostic = Diagnostic::new(Code::ExtendsItself, message)
            .help("extend a built-in policy, or write all of it without `extends`");
        if let Some(base) = extends.value() {
            diagnostic = diagnostic.at(&base.place, "leads back here");
        }
        self.report.push(diagnostic);
    }

    fn own_policy(
        &mut self,
        name: &Located<String>,
        table: &Written,
        resolved: &Resolved<'_>,
    ) -> Option<Policy> {
        self.own_name(name);
        let base = match &table.extends {
            Key::Absent => {
                self.needed_without_base(name, table);
                Some(None)
            }
            Key::Invalid => None,
            Key::Present(base, _) => {
                let found = self.refers_to_policy(base);
                let own = || resolved.get(base.value.as_str()).cloned().flatten();
                let policy = built_in(&base.value)
                    .cloned()
                    .or_else(|| own().as_deref().cloned());
                policy.filter(|_| found).map(Some)
            }
        };
        let versions = self.parts(&table.versions);
        let cipher_suites = self.parts(&table.cipher_suites);
        let groups = self.parts(&table.groups);
        let base = base?;
        let inherited = base.as_ref().map(Policy::rules);
        let versions = versions?.or_else(|| Some(inherited?.versions.clone()))?;
        // What is inherited is cut down to the versions that are written; what is written must fit.
        let inherit_suites = || {
            let suites = inherited?.cipher_suites.iter().copied();
            Some(
                suites
                    .filter(|suite| versions.contains(&suite.version()))
                    .collect(),
            )
        };
        let mut rules = Rules {
            cipher_suites: cipher_suites?.or_else(inherit_suites)?,
            versions,
            groups: Vec::new(),
            ignore_client_order: table
                .ignore_client_order
                .or(inherited.is_some_and(|rules| rules.ignore_client_order))?,
            prefer_post_quantum: false,
        };
        let inherit_groups = || {
            let groups = inherited?.groups.iter().copied();
            Some(groups.filter(|group| rules.has_version_for(*group)).collect())
        };
        rules.groups = groups?.or_else(inherit_groups)?;
        let prefers = inherited.is_some_and(|rules| rules.prefer_post_quantum)
            && rules.groups.iter().any(|group| is_post_quantum(*group));
        rules.prefer_post_quantum = table.prefer_post_quantum.or(prefers)?;
        let misfits = rules.misfits();
        for misfit in &misfits {
            self.misfit(name, table, misfit);
        }
        let why = why(table, base.as_ref());
        Policy::new(&name.value, why, rules).ok()
    }

    /// A name of one's own says that the policy is one's own.
    fn own_name(&mut self, name: &Located<String>) {
        let Located { value: name, place } = name;
        let whose = match (built_in(name), cloud_policy(name)) {
            (_, Some(cloud)) => format!("a policy of {}", cloud.service),
            (Some(_), None) => "a built-in policy".to_owned(),
            (None, None) => return,
        };
        self.report.push(
            Diagnostic::new(
                Code::InvalidValue,
                format!("`{name}` is the name of {whose}, which this one would not be"),
            )
            .at(place, "not a name of your own")
            .help("choose another name, and write it as `policy` of the listeners"),
        );
    }

    fn needed_without_base(&mut self, name: &Located<String>, table: &Written) {
        let section = format!("policies.{}", name.value);
        for (key, is_absent) in [
            ("versions", table.versions.is_absent()),
            ("cipher_suites", table.cipher_suites.is_absent()),
            ("groups", table.groups.is_absent()),
        ] {
            if is_absent {
                let help =
                    format!("add `{key}`, or the policy to take them from, as in extends = \"intermediate\"");
                self.missing(key, &section, &name.place, help);
            }
        }
    }

    /// What a list holds; nothing when it cannot be used, and `Some(None)` when it is not written.
    fn parts<T: Element>(&mut self, written: &Key<List<Part<T>>>) -> Option<Option<Vec<T>>> {
        let items = written.items();
        let known = || items.iter().filter_map(|item| Some((item.value.0?, &item.place)));
        let sound = self.no_repetition(
            &format!("`{}`", T::KEY),
            known().map(|(part, place)| (part.name(), place)),
        );
        match written {
            Key::Absent => Some(None),
            Key::Invalid => None,
            // Of what follows from a list with a mistake in it nobody knows whether it is meant.
            Key::Present(..) if !sound || known().count() < items.len() => None,
            Key::Present(..) => Some(Some(known().map(|(part, _)| part).collect())),
        }
    }

    fn misfit(&mut self, name: &Located<String>, table: &Written, misfit: &Misfit) {
        let lists = [
            table.cipher_suites.place(),
            table.groups.place(),
            table.versions.place(),
        ];
        let [suites, groups, versions] = lists.map(|place| place.unwrap_or(&name.place));
        let (place, label, help) = match misfit {
            Misfit::UnusedSuite { suite, version } => (
                entry(&table.cipher_suites, suite).unwrap_or(suites),
                "could never be used",
                format!("add `{version}` to `versions`, or remove the suite"),
            ),
            Misfit::UnusedGroup { group } => (
                entry(&table.groups, group).unwrap_or(groups),
                "could never be used",
                "add `TLSv1.3` to `versions`, or remove the group".to_owned(),
            ),
            Misfit::VersionWithoutSuite { version } => (
                if suites == &name.place { versions } else { suites },
                "leaves the version without a suite",
                format!("add a suite of {version}, or write `versions` without it"),
            ),
            Misfit::VersionWithoutGroup { version } => (
                if groups == &name.place { versions } else { groups },
                "leaves the version without a group",
                format!("add a group that works with {version}, as `X25519`, or write `versions` without it"),
            ),
            Misfit::NothingToPrefer => (
                table.prefer_post_quantum.place().unwrap_or(groups),
                "nothing to prefer",
                "add `X25519MLKEM768` to `groups`, or remove `prefer_post_quantum`".to_owned(),
            ),
        };
        self.report.push(
            Diagnostic::new(
                Code::UnusablePolicy,
                format!("the policy `{}` cannot work: {misfit}", name.value),
            )
            .at(place, label)
            .help(help),
        );
    }
}

fn entry<'k, T: Element>(list: &'k Key<List<Part<T>>>, name: &str) -> Option<&'k Place> {
    let mut items = list.items().iter();
    let found = items.find(|item| item.value.0.is_some_and(|part| part.name() == name));
    found.map(|item| &item.place)
}

/// The texts of what is taken over, and the operator's own.
fn why(table: &Written, base: Option<&Policy>) -> Why {
    let mut why = base.map(|base| base.why().clone()).unwrap_or_default();
    why.policy = table.why.or(String::new()).unwrap_or_default();
    for (text, is_kept) in [
        (&mut why.versions, table.versions.is_absent()),
        (&mut why.cipher_suites, table.cipher_suites.is_absent()),
        (
            &mut why.groups,
            table.groups.is_absent() && table.prefer_post_quantum.is_absent(),
        ),
        (
            &mut why.ignore_client_order,
            table.ignore_client_order.is_absent(),
        ),
    ] {
        if !is_kept {
            text.clear();
        }
    }
    why
}
