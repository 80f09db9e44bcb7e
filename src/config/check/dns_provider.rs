//! `dns` of an ACME issuer, and that it is there for dns-01.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use super::Checker;
use crate::config::diagnostic::{Code, Diagnostic};
use crate::config::dns_provider::{
    AcmeDnsConfig, Dns01Config, DnsProvider, ExecConfig, HmacAlgorithm, Rfc2136Config, TsigConfig,
};
use crate::config::period::Period;
use crate::config::reader::Key;
use crate::config::settings::ChallengeType;
use crate::config::source::{Located, Place};
use crate::config::text::Resolver;
use crate::config::word::{ExecMode, ProviderKind};
use crate::config::written::{Dns, Issuer};

impl Checker<'_> {
    /// How the issuer's dns-01 challenges are answered; nothing where it has none.
    pub(super) fn dns_provider(
        &mut self,
        name: &Located<String>,
        issuer: &Issuer,
        challenges: &[ChallengeType],
    ) -> Option<Option<Dns01Config>> {
        let (written, place) = match &issuer.dns {
            Key::Absent => {
                let listed = issuer.challenges.items().iter();
                let mut dns = listed.filter(|item| item.value == ChallengeType::Dns01);
                if let Some(item) = dns.next() {
                    self.report.push(
                        Diagnostic::new(
                            Code::MissingKey,
                            format!(
                                "`dns` is missing in [issuers.{}], which is to answer dns-01",
                                name.value
                            ),
                        )
                        .at(&item.place, "needs a provider")
                        .help(PROVIDERS),
                    );
                }
                return Some(None);
            }
            Key::Invalid => return None,
            Key::Present(written, place) => (&written.value, place),
        };
        if !challenges.contains(&ChallengeType::Dns01) {
            let mut diagnostic = Diagnostic::new(
                Code::NotApplicable,
                format!(
                    "`dns` of [issuers.{}] is for dns-01, which `challenges` does not hold",
                    name.value
                ),
            )
            .at(place, "for no challenge")
            .help("add \"dns-01\" to `challenges`, or remove `dns`");
            if let Some(place) = issuer.challenges.place() {
                diagnostic = diagnostic.and(place, "listed here");
            }
            self.report.push(diagnostic);
        }
        let provider = self.provider(&format!("issuers.{}.dns", name.value), place, written);
        let timeout = written.propagation_timeout.or(Period(Duration::from_secs(120)));
        Some(Some(Dns01Config {
            provider: provider?,
            propagation_timeout: timeout?.0,
        }))
    }

    fn provider(&mut self, table: &str, place: &Place, dns: &Dns) -> Option<DnsProvider> {
        let kind = dns.provider.value()?.value;
        let tsig = [
            ("tsig_name", dns.tsig_name.place()),
            ("tsig_key_file", dns.tsig_key_file.place()),
            ("tsig_algorithm", dns.tsig_algorithm.place()),
        ];
        let exec = [("command", dns.command.place()), ("mode", dns.mode.place())];
        let server = [("server", dns.server.place())];
        let acme_dns = [("accounts_file", dns.accounts_file.place())];
        match kind {
            ProviderKind::Rfc2136 => {
                self.not_applicable(&[&exec[..], &acme_dns].concat(), "provider = \"rfc2136\"");
                self.rfc2136(table, place, dns).map(DnsProvider::Rfc2136)
            }
            ProviderKind::Exec => {
                self.not_applicable(&[&tsig[..], &server, &acme_dns].concat(), "provider = \"exec\"");
                let command = self.needed(table, place, "command", &dns.command, "\"/etc/certgate/dns.sh\"");
                Some(DnsProvider::Exec(ExecConfig {
                    command: self.command(command?)?,
                    raw: dns.mode.or(ExecMode::Record)? == ExecMode::Raw,
                }))
            }
            ProviderKind::AcmeDns => {
                self.not_applicable(&[&tsig[..], &exec].concat(), "provider = \"acme-dns\"");
                let server = self.needed(
                    table,
                    place,
                    "server",
                    &dns.server,
                    "\"https://auth.example.org\"",
                );
                let server = server.and_then(|server| self.acme_dns_server(server));
                let accounts_file = match dns.accounts_file.value() {
                    Some(file) => Some(self.private_file(file, "accounts file")?.0),
                    None => None,
                };
                Some(DnsProvider::AcmeDns(AcmeDnsConfig {
                    accounts_file,
                    server: server?,
                }))
            }
        }
    }

    fn rfc2136(&mut self, table: &str, place: &Place, dns: &Dns) -> Option<Rfc2136Config> {
        let server = self.needed(table, place, "server", &dns.server, "\"10.0.0.53:53\"");
        let name = self.needed(table, place, "tsig_name", &dns.tsig_name, "\"certgate\"");
        let example = "\"/etc/certgate/tsig.key\"";
        let file = self.needed(table, place, "tsig_key_file", &dns.tsig_key_file, example);
        let server = server.and_then(|written| match Resolver::parse(&written.value) {
            Some(Resolver(address)) => Some(address),
            None => {
                self.report.push(
                    Diagnostic::new(
                        Code::InvalidValue,
                        format!("`server`: `{}` is not the address of a DNS server", written.value),
                    )
                    .at(&written.place, "not an address")
                    .help("write an IP address with or without a port, such as \"10.0.0.53:53\""),
                );
                None
            }
        });
        let key_file = file.and_then(|file| {
            let (path, text) = self.private_file(file, "key file")?;
            if TsigConfig::decode(&text).is_none() {
                self.report.push(
                    Diagnostic::new(
                        Code::InvalidValue,
                        format!(
                            "the key file `{}` holds no base64 key of at least {} bytes",
                            path.display(),
                            TsigConfig::KEY_MIN
                        ),
                    )
                    .at(&file.place, "this file")
                    .help("put into it what `tsig-keygen` writes, or the secret alone"),
                );
                return None;
            }
            Some(path)
        });
        Some(Rfc2136Config {
            server: server?,
            tsig: TsigConfig {
                name: name?.value.clone(),
                algorithm: dns.tsig_algorithm.or(HmacAlgorithm::Sha256)?,
                key_file: key_file?,
            },
        })
    }

    /// A key that the provider cannot do without.
    fn needed<'k, T>(
        &mut self,
        table: &str,
        place: &Place,
        key: &str,
        value: &'k Key<T>,
        example: &str,
    ) -> Option<&'k Located<T>> {
        if value.is_absent() {
            self.missing(key, table, place, format!("add {key} = {example}"));
        }
        value.value()
    }

    /// A file that can be run.
    fn command(&mut self, written: &Located<PathBuf>) -> Option<PathBuf> {
        let path = self.file(written)?;
        let runs = std::fs::metadata(&path).is_ok_and(|found| found.permissions().mode() & 0o111 != 0);
        if !runs {
            self.report.push(
                Diagnostic::new(
                    Code::InvalidValue,
                    format!(
                        "the command `{}` cannot be run: it is not executable",
                        path.display()
                    ),
                )
                .at(&written.place, "this file")
                .help(format!("chmod +x {}", path.display())),
            );
            return None;
        }
        Some(path)
    }

    /// The URL of acme-dns. Passwords go there, so it is https, or does not leave the machine.
    fn acme_dns_server(&mut self, written: &Located<String>) -> Option<String> {
        let url = written.value.parse::<http::Uri>().ok();
        let host = url.as_ref().and_then(http::Uri::host).unwrap_or_default();
        let is_loopback = host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
        match url.as_ref().and_then(http::Uri::scheme_str) {
            Some("https") if !host.is_empty() => return Some(written.value.clone()),
            Some("http") if is_loopback => return Some(written.value.clone()),
            _ => {}
        }
        self.report.push(
            Diagnostic::new(
                Code::InvalidValue,
                format!("`server`: `{}` is no https URL", written.value),
            )
            .at(&written.place, "not an https URL")
            .help("write the URL of acme-dns, such as \"https://auth.example.org\"; http only for a loopback address"),
        );
        None
    }
}

const PROVIDERS: &str = "add dns = { provider = \"rfc2136\", server = \"10.0.0.53:53\", tsig_name = \"certgate\", \
                         tsig_key_file = \"tsig.key\" }, or one with provider = \"exec\" or \"acme-dns\"";
