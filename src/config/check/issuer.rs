//! `[issuers.NAME]`.

use std::time::Duration;

use super::Checker;
use crate::config::diagnostic::{Code, Diagnostic};
use crate::config::external_account::ExternalAccountConfig;
use crate::config::period::Period;
use crate::config::reader::Key;
use crate::config::settings::{AcmeConfig, ChallengeType, IssuerConfig, LocalCaConfig, RateLimits};
use crate::config::source::Located;
use crate::config::suggestion;
use crate::config::word::IssuerKind;
use crate::config::written::{CaBundle, ExternalAccount, Issuer};
use crate::name::DnsName;

/// An ACME directory that goes by a name.
pub(super) struct Directory {
    name: &'static str,
    url: &'static str,
    /// The name by which CAA records mean the CA.
    caa_identity: &'static str,
    /// Whether it only takes accounts with an external account binding (RFC 8555 §7.3.4).
    bound_accounts: bool,
    rate_limits: RateLimits,
}

/// Every such directory.
const DIRECTORIES: [Directory; 4] = [
    Directory {
        name: "letsencrypt",
        url: "https://acme-v02.api.letsencrypt.org/directory",
        caa_identity: "letsencrypt.org",
        bound_accounts: false,
        rate_limits: RateLimits::LetsEncrypt,
    },
    Directory {
        name: "letsencrypt-staging",
        url: "https://acme-staging-v02.api.letsencrypt.org/directory",
        caa_identity: "letsencrypt.org",
        bound_accounts: false,
        rate_limits: RateLimits::LetsEncryptStaging,
    },
    Directory {
        name: "zerossl",
        url: "https://acme.zerossl.com/v2/DV90",
        caa_identity: "sectigo.com",
        bound_accounts: true,
        rate_limits: RateLimits::None,
    },
    Directory {
        name: "google",
        url: "https://dv.acme-v02.api.pki.goog/directory",
        caa_identity: "pki.goog",
        bound_accounts: true,
        rate_limits: RateLimits::None,
    },
];

/// The challenges of an issuer, in order; none where they are unusable.
pub(super) fn challenges_of(issuer: &Issuer) -> Option<Vec<ChallengeType>> {
    match &issuer.challenges {
        // Who says how to change a zone wants that.
        Key::Absent if !issuer.dns.is_absent() => Some(vec![ChallengeType::Dns01]),
        Key::Absent => Some(vec![ChallengeType::TlsAlpn01, ChallengeType::Http01]),
        Key::Invalid => None,
        Key::Present(list, _) => Some(list.value.0.iter().map(|item| item.value).collect()),
    }
}

/// The name by which CAA records mean the CA whose directory is at `url`.
pub(in crate::config) fn known_caa_identity(url: &str) -> Option<DnsName> {
    let known = DIRECTORIES.iter().find(|known| known.url == url)?;
    DnsName::parse(known.caa_identity).ok()
}

impl Directory {
    /// The one that an issuer means by name.
    pub(super) fn of(issuer: &Issuer) -> Option<&'static Self> {
        let written = &issuer.directory.value()?.value;
        DIRECTORIES
            .iter()
            .find(|known| known.name == written || known.url == written)
    }
}

impl Checker<'_> {
    pub(super) fn issuer(&mut self, name: &Located<String>, issuer: &Issuer) -> Option<IssuerConfig> {
        match issuer.kind.value()?.value {
            IssuerKind::Acme => {
                let keys = [
                    ("common_name", issuer.common_name.place()),
                    ("permitted_domains", issuer.permitted_domains.place()),
                    ("certificate_lifetime", issuer.certificate_lifetime.place()),
                ];
                self.not_applicable(&keys, "kind = \"acme\"");
                self.acme(name, issuer).map(IssuerConfig::Acme)
            }
            IssuerKind::LocalCa => {
                let keys = [
                    ("directory", issuer.directory.place()),
                    ("contact", issuer.contact.place()),
                    ("agree_to_terms", issuer.agree_to_terms.place()),
                    ("challenges", issuer.challenges.place()),
                    ("root_ca_file", issuer.root_ca_file.place()),
                    ("profile", issuer.profile.place()),
                    ("preferred_chain", issuer.preferred_chain.place()),
                    ("external_account", issuer.external_account.place()),
                    ("rate_limits", issuer.rate_limits.place()),
                    ("caa_identities", issuer.caa_identities.place()),
                    ("dns", issuer.dns.place()),
                ];
                self.not_applicable(&keys, "kind = \"local-ca\"");
                self.local_ca(name, issuer).map(IssuerConfig::LocalCa)
            }
        }
    }

    fn acme(&mut self, name: &Located<String>, issuer: &Issuer) -> Option<AcmeConfig> {
        let table = format!("issuers.{}", name.value);
        let directory = match &issuer.directory {
            Key::Absent => {
                let help = format!(
                    "add directory = {:?}, {}",
                    DIRECTORIES[0].name,
                    other_directories()
                );
                self.missing("directory", &table, &name.place, help);
                None
            }
            Key::Invalid => None,
            Key::Present(written, _) => self.acme_directory(written, !issuer.external_account.is_absent()),
        };
        self.terms(name, issuer);
        let contact = issuer.contact.items();
        self.no_repetition(
            "`contact`",
            contact.iter().map(|item| (&item.value.0, &item.place)),
        );
        let listed = issuer.challenges.items();
        let words = listed.iter().map(|item| (item.value.word(), &item.place));
        self.no_repetition("`challenges`", words);
        let challenges = challenges_of(issuer);
        let dns = self.dns_provider(name, issuer, challenges.as_deref().unwrap_or_default());
        let identities = issuer.caa_identities.items();
        self.no_repetition(
            "`caa_identities`",
            identities.iter().map(|item| (&item.value, &item.place)),
        );
        let root_ca_file = match &issuer.root_ca_file {
            Key::Absent => Some(None),
            Key::Invalid => None,
            Key::Present(file, _) => self.file_with_certificate(file).map(Some),
        };
        let limits = Directory::of(issuer).map_or(RateLimits::None, |known| known.rate_limits);
        let external_account = match &issuer.external_account {
            Key::Absent => Some(None),
            Key::Invalid => None,
            Key::Present(written, _) => self.external_account(&written.value).map(Some),
        };
        Some(AcmeConfig {
            directory: directory?,
            contact: contact.iter().map(|item| item.value.0.clone()).collect(),
            challenges: challenges?,
            root_ca_file: root_ca_file?,
            profile: self.word("profile", &issuer.profile)?,
            preferred_chain: self.word("preferred_chain", &issuer.preferred_chain)?,
            external_account: external_account?,
            rate_limits: issuer.rate_limits.or(limits)?,
            caa_identities: identities.iter().map(|item| item.value.clone()).collect(),
            dns: dns?.map(Box::new),
        })
    }

    fn acme_directory(&mut self, written: &Located<String>, is_bound: bool) -> Option<String> {
        let text = written.value.as_str();
        if let Some(known) = DIRECTORIES
            .iter()
            .find(|known| known.name == text || known.url == text)
        {
            if known.bound_accounts && !is_bound {
                let message = format!(
                    "`{}` only takes accounts that are bound to a customer of its own",
                    known.name
                );
                self.report.push(
                    Diagnostic::new(Code::ExternalAccountNeeded, message)
                        .at(
                            &written.place,
                            "needs an external account binding (RFC 8555 §7.3.4)",
                        )
                        .help("add external_account = { key_id = \"…\", hmac_key_file = \"…\" } with what the CA gives its customers"),
                );
            }
            return Some(known.url.to_owned());
        }
        let url = text.parse::<http::Uri>().ok();
        let scheme = url.as_ref().and_then(http::Uri::scheme_str);
        let has_host = url
            .as_ref()
            .and_then(http::Uri::host)
            .is_some_and(|host| !host.is_empty());
        match scheme {
            Some("https") if has_host => return Some(text.to_owned()),
            Some(scheme) => self.report.push(
                Diagnostic::new(
                    Code::InvalidValue,
                    format!("`directory`: `{text}` is no https URL; {scheme} is not what ACME is spoken over"),
                )
                .at(&written.place, "not https")
                .help("write the https URL of the directory (RFC 8555 §6.1); root_ca_file names the root of a private one"),
            ),
            None => {
                let names = DIRECTORIES.iter().map(|known| known.name);
                self.report.push(
                    Diagnostic::new(
                        Code::NotAllowed,
                        format!("`directory`: `{text}` is neither a known name nor an https URL"),
                    )
                    .at(&written.place, "not a directory")
                    .help(suggestion::for_word(text, names)),
                );
            }
        }
        None
    }

    /// A text that says something.
    fn word(&mut self, key: &str, written: &Key<String>) -> Option<Option<String>> {
        let written = match written {
            Key::Absent => return Some(None),
            Key::Invalid => return None,
            Key::Present(written, _) => written,
        };
        if written.value.trim().is_empty() {
            let message = format!("`{key}` is empty");
            self.report.push(
                Diagnostic::new(Code::InvalidValue, message)
                    .at(&written.place, "says nothing")
                    .help(format!("write what the CA calls it, or remove `{key}`")),
            );
            return None;
        }
        Some(Some(written.value.clone()))
    }

    fn external_account(&mut self, written: &ExternalAccount) -> Option<ExternalAccountConfig> {
        let key_id = self.word("key_id", &written.key_id);
        let file = written.hmac_key_file.value()?;
        let (hmac_key_file, secret) = self.private_file(file, "key file")?;
        if ExternalAccountConfig::decode(&secret).is_none() {
            let message = format!(
                "the key file `{}` holds no base64url key of at least {} bytes",
                hmac_key_file.display(),
                ExternalAccountConfig::KEY_MIN
            );
            self.report.push(
                Diagnostic::new(Code::InvalidValue, message)
                    .at(&file.place, "this file")
                    .help("put into it what the CA shows as the HMAC key, and nothing else"),
            );
            return None;
        }
        Some(ExternalAccountConfig {
            key_id: key_id??,
            hmac_key_file,
        })
    }

    fn terms(&mut self, name: &Located<String>, issuer: &Issuer) {
        let (place, label) = match &issuer.agree_to_terms {
            Key::Absent => (&name.place, "has no `agree_to_terms`"),
            Key::Present(agreed, _) if !agreed.value => (&agreed.place, "not agreed"),
            Key::Invalid | Key::Present(..) => return,
        };
        let message = format!(
            "the terms of service of the issuer `{}` are not agreed to",
            name.value
        );
        self.report.push(
            Diagnostic::new(Code::TermsNotAgreed, message)
                .at(place, label)
                .help("read the CA's terms of service; if you agree, write agree_to_terms = true"),
        );
    }

    /// The local CA that a CA bundle names, if it names one.
    pub(super) fn client_issuer(&mut self, bundle: &CaBundle) -> Option<Option<String>> {
        let written = match &bundle.issuer {
            Key::Absent => return Some(None),
            Key::Invalid => return None,
            Key::Present(written, _) => written,
        };
        let issuers = &self.document.issuers;
        if !self.refers(issuers, "issuers", "issuer", &written.value, &written.place) {
            return None;
        }
        let issuer = issuers
            .entry(&written.value)
            .and_then(|entry| entry.table.as_ref());
        let kind = issuer.and_then(|issuer| issuer.kind.value());
        if kind.is_some_and(|kind| kind.value != IssuerKind::LocalCa) {
            let message = format!(
                "the issuer `{}` is no local CA, so it has no clients",
                written.value
            );
            self.report.push(
                Diagnostic::new(Code::NotApplicable, message)
                    .at(&written.place, "not a local CA")
                    .help("name an issuer with kind = \"local-ca\", or the CA's certificates with `files`"),
            );
            return None;
        }
        Some(Some(written.value.clone()))
    }

    fn local_ca(&mut self, name: &Located<String>, issuer: &Issuer) -> Option<LocalCaConfig> {
        let default = format!("certgate {}", name.value)
            .chars()
            .take(COMMON_NAME_MAX)
            .collect();
        let mut common_name = issuer.common_name.or(default);
        if let Some(written) = issuer.common_name.value() {
            let length = written.value.chars().count();
            if !(1..=COMMON_NAME_MAX).contains(&length) || written.value.chars().any(char::is_control) {
                let message = format!(
                    "`common_name` must have 1 to {COMMON_NAME_MAX} printable characters; found {length}"
                );
                self.report
                    .push(Diagnostic::new(Code::OutOfRange, message).at(&written.place, "not a common name"));
                common_name = None;
            }
        }
        let permitted = issuer.permitted_domains.items();
        self.no_repetition(
            "`permitted_domains`",
            permitted.iter().map(|item| (&item.value, &item.place)),
        );
        let lifetime = issuer
            .certificate_lifetime
            .or(Period(Duration::from_secs(90 * 86_400)))?;
        Some(LocalCaConfig {
            common_name: common_name?,
            permitted_domains: permitted.iter().map(|item| item.value.clone()).collect(),
            certificate_lifetime: lifetime.0,
        })
    }
}

fn other_directories() -> String {
    let names: Vec<_> = DIRECTORIES[1..]
        .iter()
        .map(|known| format!("{:?}", known.name))
        .collect();
    format!("{} or an https URL", names.join(", "))
}

/// `ub-common-name` of RFC 5280, appendix A.1.
const COMMON_NAME_MAX: usize = 64;
