//! `[hooks.NAME]` and `[events]`: who is told what happens to certificates.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::certificate::CertificateName;
use crate::command::Argv;
use crate::config::settings::CertificateSelector;

/// `[hooks.NAME]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HookConfig {
    /// How it is told.
    pub target: HookTarget,
    /// What it is told of.
    pub events: Vec<HookEvent>,
    /// Of which certificates; empty: of all.
    pub certificates: Vec<CertificateSelector>,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// How often it is tried to tell it of one event.
    pub attempts: u32,
}

/// How a hook is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HookTarget {
    /// A program is run.
    Command(Argv),
    /// A JSON document is sent.
    Webhook(WebhookConfig),
}

/// A webhook.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WebhookConfig {
    /// The http or https URL that is posted to.
    pub url: String,
    /// A file with the secret that the document is signed with; absent: it is not signed.
    pub secret_file: Option<PathBuf>,
    /// Trust for a private receiver; absent: the system's roots.
    pub root_ca_file: Option<PathBuf>,
}

impl WebhookConfig {
    /// The URL for logs and answers: what follows the host is often a secret.
    pub fn shown(&self) -> String {
        let uri = self.url.parse::<http::Uri>().unwrap_or_default();
        let (scheme, host) = (
            uri.scheme_str().unwrap_or_default(),
            uri.host().unwrap_or_default(),
        );
        let port = uri.port().map_or_else(String::new, |port| format!(":{port}"));
        format!("{scheme}://{host}{port}/…")
    }
}

/// What hooks can be told of.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HookEvent {
    /// A spare is served in the place of its certificate, or that itself again.
    Activated,
    /// DNS does not lead here, so a certificate is not ordered.
    Blocked,
    /// DNS has changed so that the next renewal would fail.
    Drifted,
    /// Some fraction of a certificate's life is left and there is no successor.
    Expiring,
    /// An attempt to obtain a certificate has failed.
    Failed,
    /// The first certificate is there.
    Obtained,
    /// A certificate is there in the place of another.
    Renewed,
    /// DNS is as it should be again.
    Restored,
    /// Nothing has happened: an operator tries the hook.
    Test,
}

impl HookEvent {
    /// Everything that happens to certificates.
    pub const ALL: [Self; 8] = [
        Self::Obtained,
        Self::Renewed,
        Self::Failed,
        Self::Blocked,
        Self::Expiring,
        Self::Drifted,
        Self::Restored,
        Self::Activated,
    ];

    /// The word in the configuration, and in what hooks get.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Activated => "activated",
            Self::Blocked => "blocked",
            Self::Drifted => "drifted",
            Self::Expiring => "expiring",
            Self::Failed => "failed",
            Self::Obtained => "obtained",
            Self::Renewed => "renewed",
            Self::Restored => "restored",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for HookEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl HookConfig {
    /// Whether it is to be told of `event` of `certificate`.
    pub fn wants(&self, event: HookEvent, certificate: &CertificateName) -> bool {
        let about = |selector: &CertificateSelector| match selector {
            CertificateSelector::All => true,
            CertificateSelector::Directory(directory) => certificate.as_str().starts_with(directory),
            CertificateSelector::Named(name) => name == certificate,
        };
        self.events.contains(&event) && (self.certificates.is_empty() || self.certificates.iter().any(about))
    }
}

/// What is left of a certificate's life, as a part of the whole: `1/3`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fraction {
    numerator: u32,
    denominator: u32,
}

impl Fraction {
    /// What `[events]` means where it does not say it. A CA may suggest to renew when no more than a quarter is left, and
    /// that is no alarm.
    pub const USUAL_EXPIRING: [Self; 3] = [Self::one_of(5), Self::one_of(10), Self::one_of(20)];

    const fn one_of(denominator: u32) -> Self {
        Self {
            numerator: 1,
            denominator,
        }
    }

    /// A fraction between 0 and 1, without the two: `1/3`.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = |text: &str| match text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => text.parse::<u32>().ok(),
            false => None,
        };
        let (numerator, denominator) = text.split_once('/')?;
        let (numerator, denominator) = (digits(numerator)?, digits(denominator)?);
        (0 < numerator && numerator < denominator).then_some(Self {
            numerator,
            denominator,
        })
    }

    /// This part of `whole`.
    pub fn of(self, whole: Duration) -> Duration {
        whole * self.numerator / self.denominator
    }
}

impl fmt::Display for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.numerator, self.denominator)
    }
}

impl From<Fraction> for String {
    fn from(fraction: Fraction) -> Self {
        fraction.to_string()
    }
}

impl TryFrom<String> for Fraction {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("`{text}` is no fraction between 0 and 1"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_is_written_as_one_and_lies_between_nothing_and_all() {
        let third = Fraction::parse("1/3").unwrap();
        assert_eq!(third.of(Duration::from_secs(90)), Duration::from_secs(30));
        assert_eq!(third.to_string(), "1/3");
        for wrong in [
            "", "1", "1/", "/3", "0/3", "3/3", "4/3", "-1/3", "1/3/4", "+1/3", "0.3", "1/12345",
        ] {
            assert_eq!(Fraction::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn of_a_url_only_the_host_is_shown() {
        for (url, expected) in [
            (
                "https://hooks.example.com/services/T0/s3cret?key=s3cret",
                "https://hooks.example.com/…",
            ),
            ("http://me:s3cret@127.0.0.1:8080", "http://127.0.0.1:8080/…"),
        ] {
            let webhook = WebhookConfig {
                url: url.to_owned(),
                secret_file: None,
                root_ca_file: None,
            };
            assert_eq!(webhook.shown(), expected);
        }
    }

    #[test]
    fn a_hook_is_told_of_the_events_and_certificates_that_it_names() {
        let name = |text| CertificateName::parse(text).unwrap();
        let mut hook = HookConfig {
            target: HookTarget::Command(Argv::new(vec!["true".to_owned()]).unwrap()),
            events: vec![HookEvent::Renewed],
            certificates: Vec::new(),
            timeout: Duration::from_secs(1),
            attempts: 1,
        };
        assert!(hook.wants(HookEvent::Renewed, &name("www")));
        assert!(!hook.wants(HookEvent::Failed, &name("www")));
        hook.certificates = vec![
            CertificateSelector::Named(name("shop")),
            CertificateSelector::Directory("sites/".to_owned()),
        ];
        assert!(!hook.wants(HookEvent::Renewed, &name("www")));
        assert!(hook.wants(HookEvent::Renewed, &name("shop")));
        assert!(hook.wants(HookEvent::Renewed, &name("sites/a")));
    }
}
