//! What belongs together across tables: challenges and the listeners that answer them, definitions and their use.

use std::collections::BTreeSet;

use super::Checker;
use super::certificate::issuers_of;
use super::issuer::challenges_of;
use crate::config::collection::Named;
use crate::config::diagnostic::{Code, Diagnostic};
use crate::config::reader::Key;
use crate::config::settings::{CertificateSelector, ChallengeType, Protocol};
use crate::config::source::{Located, Place};
use crate::config::suggestion;
use crate::config::word::IssuerKind;
use crate::config::written::Issuer;

impl Checker<'_> {
    /// For each ACME issuer in use: some listener answers one of its challenges, best on the port that CAs try.
    pub(super) fn challenges(&mut self) {
        let document = self.document;
        // Of a listener that could not be read nobody knows whether it would have answered.
        let listeners: Option<Vec<_>> = match &document.listeners {
            Key::Invalid => None,
            listeners => listeners
                .entries()
                .map(|entry| {
                    let listener = entry.table.as_ref()?;
                    let port = listener.port.value()?.value.0;
                    Some((listener.protocol.or(Protocol::Tls)?, port))
                })
                .collect(),
        };
        let Some(listeners) = listeners else { return };
        let certificates = document.certificates.tables();
        let references = certificates.flat_map(|(_, certificate)| {
            let issued = (!certificate.domains.is_absent()).then(|| issuers_of(document, certificate));
            let issuers = issued.into_iter().flatten();
            issuers.chain(certificate.spare_issuer.value())
        });
        let on_demand = document
            .listeners
            .tables()
            .filter_map(|(_, listener)| listener.on_demand.value())
            .flat_map(|on_demand| match on_demand.value.issuer.value() {
                Some(issuers) => issuers.value.0.iter().collect::<Vec<_>>(),
                None => document.issuers.entries().map(|entry| &entry.name).collect(),
            });
        let mut seen = BTreeSet::new();
        for reference in references.chain(on_demand) {
            let issuer = document.issuers.entry(&reference.value);
            if let Some(issuer) = issuer.and_then(|entry| entry.table.as_ref())
                && issuer
                    .kind
                    .value()
                    .is_some_and(|kind| kind.value == IssuerKind::Acme)
                && seen.insert(reference.value.as_str())
            {
                self.answerable(reference, issuer, &listeners);
            }
        }
    }

    fn answerable(&mut self, reference: &Located<String>, issuer: &Issuer, listeners: &[(Protocol, u64)]) {
        let Some(challenges) = challenges_of(issuer) else {
            return;
        };
        let needed: Option<Vec<_>> = challenges
            .iter()
            .map(|challenge| listener_for(*challenge))
            .collect();
        // One that no listener answers is answered whatever the listeners.
        let Some(needed) = needed else { return };
        let Some((protocol, port)) = needed.first().copied() else {
            return;
        };
        let written = issuer.challenges.value().map(|list| &list.place);
        let name = &reference.value;
        let answered: Vec<_> = needed
            .iter()
            .filter(|(protocol, _)| listeners.iter().any(|(other, _)| other == protocol))
            .collect();
        let (code, message, label, help) = if answered.is_empty() {
            let words = suggestion::list(challenges.iter().map(|challenge| challenge.word()));
            let protocol = if protocol == Protocol::Http { "http" } else { "tls" };
            (
                Code::NoListenerForChallenge,
                format!("no listener can answer the challenges of the issuer `{name}`: {words}"),
                "cannot be answered",
                format!("add a listener with protocol = \"{protocol}\", which a CA reaches on port {port}"),
            )
        } else if answered.iter().any(|needed| listeners.contains(needed)) {
            return;
        } else {
            let ports: Vec<_> = answered.iter().map(|(_, port)| port.to_string()).collect();
            (
                Code::ChallengePort,
                format!(
                    "no listener that answers challenges of the issuer `{name}` has port {}, to which CAs connect",
                    ports.join(" or ")
                ),
                "CAs may not get through",
                "this is right where another port is forwarded, or the CA is a private one".to_owned(),
            )
        };
        let mut diagnostic = Diagnostic::new(code, message).help(help);
        diagnostic = match written {
            Some(place) => diagnostic.at(place, label).and(&reference.place, "needed here"),
            None => diagnostic.at(&reference.place, label),
        };
        self.report.push(diagnostic);
    }

    /// Warns of what is defined and used by nothing.
    pub(super) fn unused(&mut self) {
        let document = self.document;
        let (mut certificates, mut directories) = (BTreeSet::new(), BTreeSet::new());
        let (mut groups, mut bundles) = (BTreeSet::new(), BTreeSet::new());
        let mut policies: BTreeSet<&str> = document
            .policies
            .tables()
            .filter_map(|(_, policy)| Some(policy.extends.value()?.value.as_str()))
            .collect();
        let mut all = false;
        for (_, listener) in document.listeners.tables() {
            for selector in listener.certificates.items() {
                match &selector.value {
                    CertificateSelector::All => all = true,
                    CertificateSelector::Directory(directory) => {
                        directories.insert(directory.trim_end_matches('/'));
                    }
                    CertificateSelector::Named(name) => match name.as_str().split_once('/') {
                        Some((directory, _)) => {
                            directories.insert(directory);
                        }
                        None => {
                            certificates.insert(name.as_str());
                        }
                    },
                }
            }
            groups.extend(listener.server_group.value().map(|group| group.value.as_str()));
            policies.extend(listener.policy.value().map(|policy| policy.value.as_str()));
            bundles.extend(listener.client_ca.value().map(|bundle| bundle.value.as_str()));
        }
        let exported = document.certificates.tables();
        let exported = exported.filter(|(_, certificate)| !certificate.export.is_absent());
        certificates.extend(exported.map(|(name, _)| name.value.as_str()));
        if let Some(admin) = document.admin.value() {
            bundles.extend(admin.value.client_ca.value().map(|bundle| bundle.value.as_str()));
            if let Some(certificate) = admin.value.certificate.value() {
                match certificate.value.split_once('/') {
                    Some((directory, _)) => directories.insert(directory),
                    None => certificates.insert(certificate.value.as_str()),
                };
            }
        }
        if !all {
            let by = "no listener serves";
            self.unused_entries(&document.certificates, &certificates, by, "certificate");
            let kind = "certificate directory";
            self.unused_entries(&document.certificate_directories, &directories, by, kind);
        }
        let by = "no listener forwards to";
        self.unused_entries(&document.server_groups, &groups, by, "server group");
        let by = "no listener or other policy uses";
        self.unused_entries(&document.policies, &policies, by, "policy");
        let by = "no listener checks clients against";
        self.unused_entries(&document.ca_bundles, &bundles, by, "CA bundle");
    }

    fn unused_entries<T>(&mut self, section: &Key<Named<T>>, used: &BTreeSet<&str>, by: &str, kind: &str) {
        for entry in section.entries() {
            let Located { value: name, place }: &Located<String> = &entry.name;
            if !used.contains(name.as_str()) {
                self.unused_entry(place, &format!("{by} the {kind} `{name}`"));
            }
        }
    }

    fn unused_entry(&mut self, place: &Place, message: &str) {
        self.report
            .push(Diagnostic::new(Code::Unused, message).at(place, "not used"));
    }
}

/// Which listeners answer a challenge, and the port to which CAs connect for it (RFC 8555 §8.3, RFC 8737 §3); none for
/// one that the zone answers.
fn listener_for(challenge: ChallengeType) -> Option<(Protocol, u64)> {
    match challenge {
        ChallengeType::Dns01 => None,
        ChallengeType::Http01 => Some((Protocol::Http, 80)),
        ChallengeType::TlsAlpn01 => Some((Protocol::Tls, 443)),
    }
}
