//! Single values: texts, numbers, names, addresses, paths.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::Spanned;
use toml::de::DeValue;

use crate::certificate::{CertificateName, KeyType};
use crate::config::diagnostic::{Code, Diagnostic};
use crate::config::reader::{Reader, Value};
use crate::config::settings::CertificateSelector;
use crate::config::word;
use crate::name::{DnsName, NamePattern};

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Integer<const MIN: u64, const MAX: u64>(pub(super) u64);

/// `host:port` of a backend, as it was written; the port is 1 to 65535, the host an address or a name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct ServerAddress(pub(super) String);

/// A resolver's address; port 53 where none is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Resolver(pub(super) SocketAddr);

/// `unix:` and a path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct AdminAddress(pub(super) PathBuf);

/// A contact URL of an ACME account (RFC 8555 §7.3); `mailto:` is what CAs take.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Contact(pub(super) String);

impl Value for String {
    fn read(found: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.text(found).map(str::to_owned)
    }
}

impl Value for bool {
    fn read(found: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        if let DeValue::Boolean(value) = found.get_ref() {
            return Some(*value);
        }
        reader.wrong_type(found, "true or false, without quotes");
        None
    }
}

impl<const MIN: u64, const MAX: u64> Value for Integer<MIN, MAX> {
    fn read(found: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::Integer(number) = found.get_ref() else {
            reader.wrong_type(found, "a whole number, without quotes");
            return None;
        };
        let value = i128::from_str_radix(number.as_str(), number.radix()).ok();
        match value.and_then(|value| u64::try_from(value).ok()) {
            Some(value) if (MIN..=MAX).contains(&value) => Some(Self(value)),
            _ => {
                let place = reader.place(found.span());
                let message = format!("{} must be from {MIN} to {MAX}; found {number}", reader.key());
                reader.report(Diagnostic::new(Code::OutOfRange, message).at(&place, "out of range"));
                None
            }
        }
    }
}

impl<const MIN: u64, const MAX: u64> JsonSchema for Integer<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Integer{MIN}To{MAX}").into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

impl Value for KeyType {
    fn read(found: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let place = reader.place(found.span());
        if let DeValue::Array(_) = found.get_ref() {
            reader.report(
                Diagnostic::new(
                    Code::NotInThisVersion,
                    "this version of certgate has no lists of key types",
                )
                .at(&place, "not in this version")
                .help("name one, or define a second certificate with the other key type"),
            );
            return None;
        }
        let text = reader.text(found)?;
        let key_type = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        if key_type.is_none() {
            let key = reader.key();
            let allowed = Self::ALL.map(Self::as_str);
            reader.report(word::refusal(&key, text, &allowed, &[]).at(&place, "not allowed"));
        }
        key_type
    }
}

/// Declares values that are strings with a grammar: how they are parsed, and their schema.
macro_rules! parsed {
    ($($type:ident: $schema:tt, $parse:expr;)*) => {$(
        impl Value for $type {
            fn read(found: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
                let place = reader.place(found.span());
                let key = reader.key();
                let text = reader.text(found)?;
                let parse: fn(&str, &str) -> Result<Self, Diagnostic> = $parse;
                parse(text, &key)
                    .map_err(|problem| reader.report(problem.at(&place, "")))
                    .ok()
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
                json_schema!($schema)
            }
        }
    )*};
}

parsed! {
    AdminAddress: { "type": "string", "pattern": "^unix:." }, parse_admin_address;
    CertificateSelector: { "type": "string", "minLength": 1 }, parse_selector;
    Contact: { "type": "string", "pattern": "^mailto:.+@.+" }, parse_contact;
    DnsName: { "type": "string", "minLength": 1 },
        |text, key| DnsName::parse(text).map_err(|error| invalid(key, error));
    NamePattern: { "type": "string", "minLength": 1 },
        |text, key| NamePattern::parse(text).map_err(|error| invalid(key, error));
    Resolver: { "type": "string", "minLength": 1 }, parse_resolver;
    ServerAddress: { "type": "string", "pattern": ":[0-9]+$" }, parse_server_address;
}

impl Value for IpAddr {
    fn read(found: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let place = reader.place(found.span());
        let text = reader.text(found)?;
        let address = bare_address(text);
        if address.is_none() {
            let problem = invalid(&reader.key(), format!("`{text}` is not an IP address")).help(
                "allowed: an address without a port, such as `0.0.0.0`, `192.0.2.1`, `::` or `2001:db8::1`",
            );
            reader.report(problem.at(&place, ""));
        }
        address
    }
}

impl Value for PathBuf {
    fn read(found: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let place = reader.place(found.span());
        let text = reader.text(found)?;
        if text.is_empty() || text.contains('\0') {
            let problem = invalid(&reader.key(), format!("{text:?} cannot be a path"));
            reader.report(problem.at(&place, ""));
            return None;
        }
        Some(Self::from(text))
    }
}

fn parse_admin_address(text: &str, key: &str) -> Result<AdminAddress, Diagnostic> {
    match text.strip_prefix("unix:") {
        Some(path) if !path.is_empty() => Ok(AdminAddress(PathBuf::from(path))),
        None if text.parse::<SocketAddr>().is_ok() => Err(Diagnostic::new(
            Code::NotInThisVersion,
            format!("this version of certgate cannot listen on TCP for {key}, only on a Unix socket"),
        )
        .help("write \"unix:\" and a path, as in \"unix:/run/certgate/admin.sock\"")),
        _ => Err(
            invalid(key, format!("`{text}` is not the address of a Unix socket"))
                .help("write \"unix:\" and a path, as in \"unix:/run/certgate/admin.sock\""),
        ),
    }
}

fn parse_selector(text: &str, key: &str) -> Result<CertificateSelector, Diagnostic> {
    if text == "*" {
        return Ok(CertificateSelector::All);
    }
    if let Some(directory) = text.strip_suffix('*')
        && let Some(name) = directory.strip_suffix('/')
        && CertificateName::parse(name).is_ok()
        && !name.contains('/')
    {
        return Ok(CertificateSelector::Directory(directory.to_owned()));
    }
    CertificateName::parse(text)
        .map(CertificateSelector::Named)
        .map_err(|error| {
            invalid(key, error)
                .help("allowed: a certificate's name, `DIRECTORY/*` for those of a certificate directory, `*` for all")
        })
}

fn parse_contact(text: &str, key: &str) -> Result<Contact, Diagnostic> {
    let address = text.strip_prefix("mailto:");
    let sound = address
        .and_then(|address| address.split_once('@'))
        .is_some_and(|(user, host)| {
            // RFC 8555 §7.3: exactly one address, and no header fields.
            !user.is_empty()
                && DnsName::parse(host).is_ok()
                && !text.contains([',', '?', ' '])
                && text.is_ascii()
        });
    if sound {
        return Ok(Contact(text.to_owned()));
    }
    let meant = if address.is_none() && text.contains('@') {
        format!("write \"mailto:{text}\"")
    } else {
        "allowed: one mail address, as in \"mailto:ops@example.com\"".to_owned()
    };
    Err(invalid(key, format!("`{text}` is not a contact URL that CAs take")).help(meant))
}

fn parse_resolver(text: &str, key: &str) -> Result<Resolver, Diagnostic> {
    text.parse()
        .ok()
        .or_else(|| bare_address(text).map(|address| SocketAddr::new(address, 53)))
        .map(Resolver)
        .ok_or_else(|| {
            invalid(key, format!("`{text}` is not the address of a resolver"))
                .help("allowed: an IP address with or without a port, such as `127.0.0.1:53` or `[::1]:53`")
        })
}

fn parse_server_address(text: &str, key: &str) -> Result<ServerAddress, Diagnostic> {
    let help = "write host:port, as in `10.0.0.11:8080`, `[2001:db8::1]:8080` or `app.internal:8080`";
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(invalid(key, format!("`{text}` has no port")).help(help));
    };
    if !port.parse::<u16>().is_ok_and(|number| number > 0) || port.starts_with('+') {
        let problem = format!("`{text}` has no usable port: `{port}` is not a number from 1 to 65535");
        return Err(invalid(key, problem).help(help));
    }
    if host.contains("://") || host.starts_with("unix") && host.contains('/') {
        return Err(invalid(key, format!("`{text}` is a URL; the address alone is needed")).help(help));
    }
    let sound = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.parse::<std::net::Ipv4Addr>().is_ok() || DnsName::parse(host).is_ok(),
    };
    if sound {
        Ok(ServerAddress(text.to_owned()))
    } else {
        Err(invalid(key, format!("`{host}` is neither an IP address nor a host name")).help(help))
    }
}

/// An address, in brackets or not.
fn bare_address(text: &str) -> Option<IpAddr> {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    match inner {
        Some(inner) => inner.parse().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    }
}

fn invalid(key: &str, problem: impl Display) -> Diagnostic {
    Diagnostic::new(Code::InvalidValue, format!("{key}: {problem}"))
}
