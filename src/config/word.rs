//! Keys whose value is one of a few words.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::Spanned;
use toml::de::DeValue;

use crate::config::diagnostic::{Code, Diagnostic};
use crate::config::dns_provider::HmacAlgorithm;
use crate::config::hook::HookEvent;
use crate::config::reader::{Reader, Value};
use crate::config::settings::{
    AdminRights, AlpnMismatch, ChallengeType, DnsChecks, ExpiredCrl, LogFormat, Protocol, RateLimits,
    UnknownSni,
};
use crate::config::source::Place;
use crate::config::suggestion;

/// Gives types their words, and with them their reader and their schema. Words after `later` belong to other
/// versions of certgate.
macro_rules! words {
    ($($type:ident { $($word:literal => $value:expr),* $(,)? } $(later { $($later:literal),+ })?;)*) => {$(
        impl Value for $type {
            fn read(found: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
                let place = reader.place(found.span());
                match reader.text(found)? {
                    $($word => Some($value),)*
                    other => {
                        let key = reader.key();
                        reader.report(refusal(&key, other, &place, &[$($word),*], &[$($($later),+)?]));
                        None
                    }
                }
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "enum": [$($word),*] })
            }
        }
    )*};
}

/// `kind` of an issuer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum IssuerKind {
    Acme,
    LocalCa,
}

/// `mode` of a command that changes zones.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ExecMode {
    Raw,
    Record,
}

/// `provider` of `dns`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ProviderKind {
    AcmeDns,
    Exec,
    Rfc2136,
}

/// `authentication` of a listener.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum AuthenticationKind {
    Mutual,
    Observe,
    OneWay,
}

/// `algorithm` of a server group.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Algorithm {
    RoundRobin,
}

/// `connections` of the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ConnectionLines {
    Info,
    Off,
}

/// `level` of the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum LogLevel {
    Debug,
    Error,
    Info,
    Warn,
}

words! {
    Algorithm { "round-robin" => Self::RoundRobin } later { "least-connections", "source-hash" };
    AlpnMismatch { "alert" => Self::Alert, "continue" => Self::Continue };
    AdminRights { "read" => Self::Read, "operate" => Self::Operate };
    AuthenticationKind { "one-way" => Self::OneWay, "observe" => Self::Observe, "mutual" => Self::Mutual };
    ChallengeType { "tls-alpn-01" => Self::TlsAlpn01, "http-01" => Self::Http01, "dns-01" => Self::Dns01 };
    ConnectionLines { "off" => Self::Off, "info" => Self::Info };
    DnsChecks { "enforce" => Self::Enforce, "advisory" => Self::Advisory, "off" => Self::Off };
    ExecMode { "record" => Self::Record, "raw" => Self::Raw };
    ExpiredCrl { "refuse" => Self::Refuse, "accept" => Self::Accept };
    HmacAlgorithm {
        "hmac-sha256" => Self::Sha256, "hmac-sha384" => Self::Sha384, "hmac-sha512" => Self::Sha512,
    };
    HookEvent {
        "obtained" => Self::Obtained, "renewed" => Self::Renewed, "failed" => Self::Failed,
        "blocked" => Self::Blocked, "expiring" => Self::Expiring, "drifted" => Self::Drifted,
        "restored" => Self::Restored, "activated" => Self::Activated,
    };
    IssuerKind { "acme" => Self::Acme, "local-ca" => Self::LocalCa };
    LogFormat { "text" => Self::Text, "json" => Self::Json };
    LogLevel {
        "error" => Self::Error, "warn" => Self::Warn, "info" => Self::Info, "debug" => Self::Debug,
    };
    Protocol { "tls" => Self::Tls, "http" => Self::Http } later { "https" };
    ProviderKind { "rfc2136" => Self::Rfc2136, "exec" => Self::Exec, "acme-dns" => Self::AcmeDns };
    RateLimits {
        "letsencrypt" => Self::LetsEncrypt, "letsencrypt-staging" => Self::LetsEncryptStaging, "none" => Self::None,
    };
    UnknownSni { "default" => Self::Default, "refuse" => Self::Refuse };
}

impl From<LogLevel> for tracing::Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Error => Self::ERROR,
            LogLevel::Info => Self::INFO,
            LogLevel::Warn => Self::WARN,
        }
    }
}

/// What is said of a word that is not among the allowed ones.
pub(super) fn refusal(key: &str, word: &str, place: &Place, allowed: &[&str], later: &[&str]) -> Diagnostic {
    if later.contains(&word) {
        return Diagnostic::new(
            Code::NotInThisVersion,
            format!("this version of certgate has no `{word}` for {key}"),
        )
        .at(place, "not in this version")
        .help(format!("allowed: {}", suggestion::list(allowed.iter().copied())));
    }
    Diagnostic::new(Code::NotAllowed, format!("{key} cannot be `{word}`"))
        .at(place, "not allowed")
        .help(suggestion::for_word(word, allowed.iter().copied()))
}
