//! `[certificates.NAME]`: obtained from an issuer, or read from files.

use std::collections::BTreeMap;

use super::Checker;
use super::issuer::{Directory, challenges_of};
use crate::certificate::{CertificateName, DesiredCertificate, KeyType};
use crate::config::collection::Tags;
use crate::config::diagnostic::{Code, Diagnostic};
use crate::config::reader::Key;
use crate::config::settings::{CertificateDns, CertificateFiles, ChallengeType};
use crate::config::source::{Located, Place};
use crate::config::suggestion;
use crate::config::word::IssuerKind;
use crate::config::written::{Certificate, Document, Issuer};
use crate::name::{NamePattern, NotPublic};

/// What the tables of `[certificates]` come to; nothing for a kind of which one failed.
pub(super) type Certificates = (Option<Vec<DesiredCertificate>>, Option<Vec<CertificateFiles>>);

impl Checker<'_> {
    /// What certificates say of the DNS checks of their names.
    pub(super) fn certificate_dns(&self) -> Option<BTreeMap<CertificateName, CertificateDns>> {
        let mut all = BTreeMap::new();
        for (name, certificate) in self.document.certificates.tables() {
            let dns = CertificateDns {
                checks: match &certificate.dns_checks {
                    Key::Invalid => return None,
                    checks => checks.value().map(|checks| checks.value),
                },
                ownership: certificate.ownership.value().map(|text| text.value.0.clone()),
            };
            if dns != CertificateDns::default() {
                let entries = entries(CertificateName::parse(&name.value).ok()?, certificate);
                all.extend(entries.into_iter().map(|entry| (entry, dns.clone())));
            }
        }
        Some(all)
    }

    pub(super) fn certificates(&mut self) -> Certificates {
        let (mut issued, mut files) = (Vec::new(), Vec::new());
        for (name, certificate) in self.document.certificates.tables() {
            let from_issuer = !certificate.domains.is_absent()
                || !certificate.issuer.is_absent()
                || !certificate.spare_issuer.is_absent()
                || !certificate.key_type.is_absent()
                || !certificate.reuse_key.is_absent()
                || !certificate.dns_checks.is_absent()
                || !certificate.ownership.is_absent();
            let from_files = !certificate.certificate_file.is_absent() || !certificate.key_file.is_absent();
            match (from_issuer, from_files) {
                (true, true) => {
                    self.mixed_sources(name, certificate);
                    issued.push(None);
                }
                (true, false) => match self.issued(name, certificate) {
                    Some(several) => issued.extend(several.into_iter().map(Some)),
                    None => issued.push(None),
                },
                (false, true) => files.push(self.filed(name, certificate)),
                (false, false) => {
                    let message = format!(
                        "[certificates.{}] says neither `domains` nor `certificate_file`",
                        name.value
                    );
                    self.report.push(
                        Diagnostic::new(Code::MissingKey, message)
                            .at(&name.place, "comes from nowhere")
                            .help(
                                "add `domains` and `issuer` to obtain it, or `certificate_file` to read it",
                            ),
                    );
                    issued.push(None);
                }
            }
        }
        let mut issued: Option<Vec<_>> = issued.into_iter().collect();
        if let Some(issued) = &mut issued {
            issued.sort_by(|one, other| one.name.cmp(&other.name));
        }
        let mut files: Option<Vec<_>> = files.into_iter().collect();
        if let Some(files) = &mut files {
            files.sort_by(|one, other| one.name.cmp(&other.name));
        }
        (issued, files)
    }

    fn mixed_sources(&mut self, name: &Located<String>, certificate: &Certificate) {
        let issued = [
            certificate.domains.place(),
            certificate.issuer.place(),
            certificate.spare_issuer.place(),
            certificate.key_type.place(),
            certificate.reuse_key.place(),
        ];
        let files = [certificate.certificate_file.place(), certificate.key_file.place()];
        let message = format!("[certificates.{}] is both issued and read from files", name.value);
        let mut diagnostic = Diagnostic::new(Code::MixedSources, message)
            .help("keep `domains`, `issuer` and `key_type`, or `certificate_file` and `key_file`");
        let file = files.into_iter().flatten().next();
        diagnostic = diagnostic.at(file.unwrap_or(&name.place), "read from files");
        if let Some(place) = issued.into_iter().flatten().next() {
            diagnostic = diagnostic.and(place, "and issued");
        }
        self.report.push(diagnostic);
    }

    fn filed(&mut self, name: &Located<String>, certificate: &Certificate) -> Option<CertificateFiles> {
        let key_file = match &certificate.key_file {
            Key::Absent => Some(None),
            Key::Invalid => None,
            Key::Present(path, _) => self.file(path).map(Some),
        };
        if certificate.certificate_file.is_absent() {
            let table = format!("certificates.{}", name.value);
            let help = "add `certificate_file`, the PEM file with the chain";
            self.missing("certificate_file", &table, &name.place, help);
            return None;
        }
        let certificate_file = self.file(certificate.certificate_file.value()?);
        Some(CertificateFiles {
            name: CertificateName::parse(&name.value).ok()?,
            certificate_file: certificate_file?,
            key_file: key_file?,
            tags: certificate.tags.or(Tags::default())?.0,
        })
    }

    /// One for each kind of key.
    fn issued(
        &mut self,
        name: &Located<String>,
        certificate: &Certificate,
    ) -> Option<Vec<DesiredCertificate>> {
        let table = format!("certificates.{}", name.value);
        if certificate.domains.is_absent() {
            let help = "add the names it must be valid for, as in domains = [\"www.example.com\"]";
            self.missing("domains", &table, &name.place, help);
        }
        let document = self.document;
        let issuers = issuers_of(document, certificate);
        if certificate.issuer.is_absent() && issuers.is_empty() {
            let help = if document.issuers.is_empty() {
                "add `issuer`, and the issuer itself as [issuers.NAME]".to_owned()
            } else {
                format!(
                    "add `issuer`; there are: {}",
                    suggestion::list(document.issuers.names())
                )
            };
            self.missing("issuer", &table, &name.place, help);
        }
        let domains = certificate.domains.items();
        self.no_repetition("`issuer`", issuers.iter().map(|item| (&item.value, &item.place)));
        self.no_repetition("`domains`", domains.iter().map(|item| (&item.value, &item.place)));
        if let Key::Present(list, _) = &certificate.domains
            && domains.len() > DOMAINS_MAX
        {
            let message = format!(
                "[{table}] has {} domains; a certificate holds {DOMAINS_MAX} at most",
                domains.len()
            );
            self.report.push(
                Diagnostic::new(Code::TooManyDomains, message)
                    .at(&list.place, "too many")
                    .help("divide them between several certificates; a listener serves each by its names"),
            );
        }
        self.certifiable("`domains`", domains);
        for Located { value: issuer, place } in issuers.iter().copied() {
            if !self.refers(&document.issuers, "issuers", "issuer", issuer, place) {
                continue;
            }
            let entry = document.issuers.entry(issuer);
            if let Some(written) = entry.and_then(|entry| entry.table.as_ref()) {
                self.signs(issuer, place, written, domains);
            }
        }
        let key_types = self.key_types(name, certificate)?;
        let first = DesiredCertificate {
            name: CertificateName::parse(&name.value).ok()?,
            domains: domains.iter().map(|item| item.value.clone()).collect(),
            issuers: issuers.iter().map(|item| item.value.clone()).collect(),
            key_type: key_types.first().copied().unwrap_or_default(),
            reuse_key: certificate.reuse_key.or(false)?,
            tags: certificate.tags.or(Tags::default())?.0,
            spare_of: None,
        };
        let second = match key_types.get(1) {
            None => None,
            Some(key_type) => Some(DesiredCertificate {
                name: first.name.companion(*key_type).ok()?,
                key_type: *key_type,
                ..first.clone()
            }),
        };
        let issued: Vec<_> = [first].into_iter().chain(second).collect();
        let spares = self.spares(name, certificate, &issued)?;
        Some(issued.into_iter().chain(spares).collect())
    }

    /// The kinds of key: one, or one of ECDSA and one of RSA.
    fn key_types(&mut self, name: &Located<String>, certificate: &Certificate) -> Option<Vec<KeyType>> {
        let written = match &certificate.key_type {
            Key::Absent => return Some(vec![KeyType::default()]),
            Key::Invalid => return None,
            Key::Present(written, _) => written,
        };
        let items = &written.value.0;
        let is_rsa = |item: &Located<KeyType>| item.value.is_rsa();
        if items.len() > 2 || items.len() == 2 && items.iter().filter(|item| is_rsa(item)).count() != 1 {
            let message = format!(
                "`key_type` of [certificates.{}] has no ECDSA and RSA kind",
                name.value
            );
            self.report.push(
                Diagnostic::new(Code::NotAllowed, message)
                    .at(&written.place, "not one of each")
                    .help("write one kind, or a list of two as in [\"ecdsa-p256\", \"rsa-2048\"]: a client is served what it can verify"),
            );
            return None;
        }
        if let [_, second] = items.as_slice() {
            match CertificateName::parse(&name.value).ok()?.companion(second.value) {
                Ok(taken) => {
                    if let Some(other) = self.document.certificates.entry(taken.as_str()) {
                        let message = format!(
                            "the certificate `{taken}` is that of the second kind of key of `{}`",
                            name.value
                        );
                        self.report.push(
                            Diagnostic::new(Code::DefinedTwice, message)
                                .at(&other.name.place, "the same name")
                                .and(&second.place, "this one is called so")
                                .help("give the other certificate another name"),
                        );
                        return None;
                    }
                }
                Err(error) => {
                    self.report.push(
                        Diagnostic::new(Code::InvalidValue, error.to_string())
                            .at(&second.place, "this one would be called so")
                            .help("give the certificate a shorter name"),
                    );
                    return None;
                }
            }
        }
        Some(items.iter().map(|item| item.value).collect())
    }

    /// Reports every domain that `issuer` cannot or may not sign for.
    pub(super) fn signs(
        &mut self,
        issuer: &str,
        reference: &Place,
        written: &Issuer,
        domains: &[Located<NamePattern>],
    ) {
        match written.kind.value().map(|kind| kind.value) {
            Some(IssuerKind::Acme) => {
                let public = Directory::of(written).is_some();
                let challenges = challenges_of(written);
                let is_dns = |challenge: &ChallengeType| *challenge == ChallengeType::Dns01;
                let by_dns = challenges.as_ref().is_none_or(|all| all.iter().any(is_dns));
                let otherwise = challenges.is_none_or(|all| !all.iter().all(is_dns));
                for domain in domains {
                    if domain.value.is_wildcard() && !by_dns {
                        self.wildcard(issuer, reference, domain);
                    }
                    if domain.value.address().is_some() && !otherwise {
                        self.address(issuer, reference, domain);
                    }
                    if let (true, Err(reason)) = (public, domain.value.check_public()) {
                        self.not_public(issuer, reference, domain, &reason);
                    }
                }
            }
            Some(IssuerKind::LocalCa) => {
                let permitted = written.permitted_domains.items();
                // An unusable list says nothing about what was meant to be permitted.
                if permitted.is_empty() {
                    return;
                }
                for domain in domains {
                    if !permitted
                        .iter()
                        .any(|tree| domain.value.base().is_within(&tree.value))
                    {
                        let names = suggestion::list(permitted.iter().map(|tree| tree.value.as_str()));
                        let message = format!("the issuer `{issuer}` may not sign for `{}`", domain.value);
                        let mut diagnostic = Diagnostic::new(Code::OutsidePermittedDomains, message)
                            .at(&domain.place, "not permitted")
                            .help(format!("permitted are {names} and what is below; extend `permitted_domains` or name another issuer"));
                        if let Some(place) = written.permitted_domains.place() {
                            diagnostic = diagnostic.and(place, "permitted here");
                        }
                        self.report.push(diagnostic);
                    }
                }
            }
            None => {}
        }
    }

    /// Reports every name that no certificate can be for.
    pub(super) fn certifiable(&mut self, key: &str, names: &[Located<NamePattern>]) {
        for name in names {
            if let Err(error) = name.value.check_certifiable() {
                self.report.push(
                    Diagnostic::new(Code::InvalidValue, format!("{key}: {error}"))
                        .at(&name.place, "in no certificate")
                        .help("write the name of a host, as in \"www.example.com\", or an IP address"),
                );
            }
        }
    }

    fn wildcard(&mut self, issuer: &str, reference: &Place, domain: &Located<NamePattern>) {
        let message = format!(
            "the ACME issuer `{issuer}` cannot issue for the wildcard `{}`: only a dns-01 challenge can prove it",
            domain.value
        );
        self.report.push(
            Diagnostic::new(Code::WildcardNeedsDns01, message)
                .at(&domain.place, "a wildcard")
                .and(reference, "from this issuer")
                .help("add `dns` to the issuer, and \"dns-01\" to its `challenges` if it lists some; or list the names one by one"),
        );
    }

    fn address(&mut self, issuer: &str, reference: &Place, domain: &Located<NamePattern>) {
        let message = format!(
            "the ACME issuer `{issuer}` cannot issue for the IP address `{}`: a dns-01 challenge, the only one it has, does \
             not prove one",
            domain.value
        );
        self.report.push(
            Diagnostic::new(Code::IpAddressNotByDns01, message)
                .at(&domain.place, "an IP address")
                .and(reference, "from this issuer")
                .help("add \"http-01\" or \"tls-alpn-01\" to the issuer's `challenges` (RFC 8738 §7)"),
        );
    }

    fn not_public(
        &mut self,
        issuer: &str,
        reference: &Place,
        domain: &Located<NamePattern>,
        reason: &NotPublic,
    ) {
        let message = format!(
            "the public CA behind `{issuer}` does not sign for `{}`: {reason}",
            domain.value
        );
        self.report.push(
            Diagnostic::new(Code::NotAPublicName, message)
                .at(&domain.place, "not a public name")
                .and(reference, "from this issuer")
                .help(match reason {
                    NotPublic::Suffix { .. } => "list the names that are yours",
                    _ => "use a local-ca issuer for internal names",
                }),
        );
    }
}

/// Who is to sign a certificate: whom it names, or the only issuer there is.
pub(super) fn issuers_of<'d>(
    document: &'d Document,
    certificate: &'d Certificate,
) -> Vec<&'d Located<String>> {
    if !certificate.issuer.is_absent() {
        let written = certificate.issuer.value();
        return written.into_iter().flat_map(|list| &list.value.0).collect();
    }
    let mut all = document.issuers.entries().map(|entry| &entry.name);
    match (all.next(), all.next()) {
        (Some(only), None) => vec![only],
        _ => Vec::new(),
    }
}

/// Everything that a table asks for: the certificate, that of its second kind of key, and their spares.
fn entries(name: CertificateName, certificate: &Certificate) -> Vec<CertificateName> {
    let second = certificate
        .key_type
        .value()
        .and_then(|types| types.value.0.get(1));
    let companion = second.and_then(|second| name.companion(second.value).ok());
    let primaries: Vec<_> = [name].into_iter().chain(companion).collect();
    let spares = primaries.iter().filter_map(|name| name.spare().ok());
    let spares: Vec<_> = spares.filter(|_| !certificate.spare_issuer.is_absent()).collect();
    primaries.into_iter().chain(spares).collect()
}

/// What public CAs take, and what keeps a chain small enough for a handshake.
const DOMAINS_MAX: usize = 100;
