//! From what was written to what it means: defaults filled in, names looked up, combinations checked. Each check
//! reports and goes on, so that findings do not hide each other.

mod admin;
mod certificate;
mod dns_provider;
mod export;
mod file;
mod hook;
mod issuer;
mod listener;
mod on_demand;
mod policy;
mod section;
mod server_group;
mod spare;
mod usage;

pub(super) use issuer::known_caa_identity;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use crate::config::collection::Named;
use crate::config::diagnostic::{Code, Diagnostic, Report};
use crate::config::period::Period;
use crate::config::reader::Key;
use crate::config::settings::{CaBundleConfig, Config, LogConfig, StoreConfig};
use crate::config::source::{Located, Place, Sources};
use crate::config::written::Document;
use crate::config::{Environment, suggestion};
use crate::policy::Policy;

/// The whole valid configuration; nothing when something was reported.
pub(super) fn check(
    document: &Document,
    sources: &Sources,
    settled_bundles: &BTreeSet<String>,
    environment: &Environment<'_>,
    report: &mut Report,
) -> Option<Config> {
    let mut checker = Checker {
        document,
        sources,
        environment,
        report,
    };
    let store = checker.store();
    let admin = store.as_ref().and_then(|store| checker.admin(store));
    let gateway = checker.gateway();
    let runtime = checker.runtime();
    let log = checker.log();
    let issuers = checker.each(&document.issuers, Checker::issuer);
    let (certificates, certificate_files) = checker.certificates();
    let certificate_dns = checker.certificate_dns();
    let certificate_directories = checker.each(&document.certificate_directories, |checker, _, table| {
        checker.directory(table.path.value()?)
    });
    let ca_bundles = checker.each(&document.ca_bundles, |checker, name, table| {
        let is_settled = settled_bundles.contains(&name.value);
        let files = table.files.items().iter().map(|file| match is_settled {
            true => Some(checker.sources.resolve(file)),
            false => checker.file_with_certificate(file),
        });
        let files: Vec<_> = files.collect();
        let crl_files = table.crl_files.items().iter().map(|file| match is_settled {
            true => Some(checker.sources.resolve(file)),
            false => checker.file(file),
        });
        let crl_files: Vec<_> = crl_files.collect();
        let issuer = checker.client_issuer(table);
        let certificates_pem = checker.inline_certificates(name, table)?;
        Some(Arc::new(CaBundleConfig {
            name: name.value.clone(),
            files: files.into_iter().collect::<Option<_>>()?,
            issuer: issuer?,
            certificates_pem,
            crl_files: crl_files.into_iter().collect::<Option<_>>()?,
            crls_pem: checker.inline_crls(name, table)?,
            crl_urls: table
                .crl_urls
                .items()
                .iter()
                .map(|url| url.value.0.clone())
                .collect(),
            crl_refresh: table.crl_refresh.or(Period(Duration::from_secs(3600)))?.0,
        }))
    });
    let policies = checker.policies();
    let server_groups = checker.each(&document.server_groups, |checker, name, table| {
        checker.server_group(name, table).map(Arc::new)
    });
    let listeners = checker.each(&document.listeners, |checker, name, table| {
        checker.listener(name, table).map(Arc::new)
    });
    let hooks = checker.each(&document.hooks, |checker, name, table| {
        checker.hook(name, table).map(Arc::new)
    });
    let expiring = checker.expiring();
    let exports = checker.exports();
    checker.reserved_directory();
    checker.shared_addresses();
    checker.challenges();
    // What a mistake has left unused need not be told beside the mistake.
    if !checker.report.has_errors() {
        checker.unused();
    }
    Some(Config {
        store: store?,
        gateway: gateway?,
        runtime: runtime?,
        log: log?,
        admin: admin?,
        issuers: issuers?,
        certificates: certificates?,
        certificate_dns: certificate_dns?,
        certificate_files: certificate_files?,
        certificate_directories: certificate_directories?,
        ca_bundles: ca_bundles?,
        policies: policies?,
        server_groups: server_groups?,
        listeners: listeners?,
        hooks: hooks?,
        expiring: expiring?,
        exports: exports?,
    })
}

/// The store and the log alone, where the document says them in a usable way.
pub(super) fn foundation(
    document: &Document,
    sources: &Sources,
    environment: &Environment<'_>,
    report: &mut Report,
) -> Option<(StoreConfig, LogConfig)> {
    let mut checker = Checker {
        document,
        sources,
        environment,
        report,
    };
    Some((checker.store()?, checker.log()?))
}

/// The operator's own policies alone.
pub(super) fn policies(
    document: &Document,
    sources: &Sources,
    environment: &Environment<'_>,
    report: &mut Report,
) -> Option<BTreeMap<String, Arc<Policy>>> {
    let mut checker = Checker {
        document,
        sources,
        environment,
        report,
    };
    checker.policies()
}

/// What every check can see, and where it reports.
struct Checker<'a> {
    document: &'a Document,
    sources: &'a Sources,
    environment: &'a Environment<'a>,
    report: &'a mut Report,
}

impl Checker<'_> {
    /// Checks every table of a section; nothing when one of them failed.
    fn each<T, U>(
        &mut self,
        section: &Key<Named<T>>,
        mut check: impl FnMut(&mut Self, &Located<String>, &T) -> Option<U>,
    ) -> Option<BTreeMap<String, U>> {
        let checked: Vec<_> = section
            .tables()
            .map(|(name, table)| Some((name.value.clone(), check(self, name, table)?)))
            .collect();
        checked.into_iter().collect()
    }

    /// Whether `section` has what `name` refers to; reports it when not.
    fn refers<T>(
        &mut self,
        section: &Key<Named<T>>,
        table: &str,
        kind: &str,
        name: &str,
        place: &Place,
    ) -> bool {
        if section.may_hold(name) {
            return true;
        }
        self.report.push(
            Diagnostic::new(Code::DanglingName, format!("there is no {kind} `{name}`"))
                .at(place, "not defined")
                .help(suggestion::for_name(name, section.names(), table)),
        );
        false
    }

    /// Reports every item that equals an earlier one; `what` is the list.
    fn no_repetition<'l>(
        &mut self,
        what: &str,
        items: impl IntoIterator<Item = (impl Display, &'l Place)>,
    ) -> bool {
        let mut seen = BTreeMap::<String, &Place>::new();
        let mut sound = true;
        for (item, place) in items {
            let item = item.to_string();
            if let Some(first) = seen.get(&item) {
                sound = false;
                self.report.push(
                    Diagnostic::new(Code::ListedTwice, format!("`{item}` is listed twice in {what}"))
                        .at(place, "the second time")
                        .and(first, "the first time")
                        .help("remove one of them"),
                );
            } else {
                seen.insert(item, place);
            }
        }
        sound
    }

    /// Reports keys that do not go with what was chosen beside them.
    fn not_applicable(&mut self, keys: &[(&str, Option<&Place>)], with: &str) -> bool {
        let mut sound = true;
        for (key, place) in keys {
            if let Some(place) = place {
                sound = false;
                self.report.push(
                    Diagnostic::new(Code::NotApplicable, format!("`{key}` does not go with {with}"))
                        .at(place, format!("not with {with}"))
                        .help(format!("remove `{key}`")),
                );
            }
        }
        sound
    }

    fn missing(&mut self, key: &str, table: &str, place: &Place, help: impl Into<String>) {
        self.report.push(
            Diagnostic::new(Code::MissingKey, format!("`{key}` is missing in [{table}]"))
                .at(place, format!("has no `{key}`"))
                .help(help),
        );
    }
}
