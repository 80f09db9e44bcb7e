//! Strings with a grammar of their own: names, addresses, selectors.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::Spanned;
use toml::de::DeValue;

use crate::certificate::{CertificateName, UriPattern};
use crate::config::diagnostic::{Code, Diagnostic};
use crate::config::hook::Fraction;
use crate::config::reader::{Reader, Value};
use crate::config::settings::CertificateSelector;
use crate::name::{DnsName, NamePattern};

/// `host:port` of a backend, as it was written; the port is 1 to 65535, the host an address or a name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct ServerAddress(pub(super) String);

/// The address of a DNS server; port 53 where none is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Resolver(pub(super) SocketAddr);

/// What a TXT record holds: 1 to 255 printable ASCII characters, so that it is one string of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct OwnershipText(pub(super) String);

/// `unix:` and a path, or a TCP address and port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum AdminAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A contact URL of an ACME account (RFC 8555 §7.3); `mailto:` is what CAs take.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Contact(pub(super) String);

/// SHA-256 of a certificate, in lower-case hex without colons.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Fingerprint(pub(super) String);

/// A name of a certificate's subject, compared as it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct SubjectName(pub(super) String);

/// The mode of a file: what its owner, its group and others may do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Mode(pub(super) u32);

/// An http or https URL, as it was written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct WebUrl(pub(super) String);

/// Why a text is not what its key holds, and what would be.
struct Misfit {
    code: Code,
    problem: String,
    help: Option<String>,
}

impl Misfit {
    fn new(problem: impl ToString) -> Self {
        Self {
            code: Code::InvalidValue,
            problem: problem.to_string(),
            help: None,
        }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

fn read<T>(
    found: &Spanned<DeValue<'_>>,
    reader: &mut Reader<'_>,
    parse: fn(&str) -> Result<T, Misfit>,
) -> Option<T> {
    let place = reader.place(found.span());
    match parse(reader.text(found)?) {
        Ok(value) => Some(value),
        Err(misfit) => {
            let message = format!("{}: {}", reader.key(), misfit.problem);
            let diagnostic = Diagnostic::new(misfit.code, message).at(&place, "");
            reader.report(match misfit.help {
                Some(help) => diagnostic.help(help),
                None => diagnostic,
            });
            None
        }
    }
}

/// Declares how such strings are parsed, and their schema.
macro_rules! parsed {
    ($($type:ident: $schema:tt, $parse:expr;)*) => {$(
        impl Value for $type {
            fn read(found: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
                read(found, reader, $parse)
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
    AdminAddress: { "type": "string", "pattern": "^unix:.|:[0-9]+$" }, parse_admin_address;
    CertificateSelector: { "type": "string", "minLength": 1 }, parse_selector;
    Contact: { "type": "string", "pattern": "^mailto:.+@.+" }, parse_contact;
    DnsName: { "type": "string", "minLength": 1 }, |text| Self::parse(text).map_err(Misfit::new);
    Fingerprint: { "type": "string", "pattern": "^([0-9A-Fa-f]{2}:?){32}$" }, parse_fingerprint;
    Fraction: { "type": "string", "pattern": "^[0-9]{1,4}/[0-9]{1,4}$" }, parse_fraction;
    Mode: { "type": "string", "pattern": "^0?[0-6]{3}$" }, parse_mode;
    NamePattern: { "type": "string", "minLength": 1 }, |text| Self::parse(text).map_err(Misfit::new);
    OwnershipText: { "type": "string", "minLength": 1, "maxLength": 255 }, parse_ownership_text;
    Resolver: { "type": "string", "minLength": 1 }, parse_resolver;
    ServerAddress: { "type": "string", "pattern": ":[0-9]+$" }, parse_server_address;
    SubjectName: { "type": "string", "minLength": 1 }, parse_subject_name;
    WebUrl: { "type": "string", "pattern": "^https?://" }, parse_web_url;
    UriPattern: { "type": "string", "pattern": "://" }, parse_uri_pattern;
}

/// Its schema is schemars' own.
impl Value for IpAddr {
    fn read(found: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        read(found, reader, |text| {
            bare_address(text).ok_or_else(|| {
                Misfit::new(format!("`{text}` is not an IP address")).help(
                    "allowed: an address without a port, such as `0.0.0.0`, `192.0.2.1`, `::` or `2001:db8::1`",
                )
            })
        })
    }
}

fn parse_fingerprint(text: &str) -> Result<Fingerprint, Misfit> {
    let digits: String = text.chars().filter(|character| *character != ':').collect();
    match digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        true => Ok(Fingerprint(digits.to_ascii_lowercase())),
        false => Err(Misfit::new(format!(
            "`{text}` is not the SHA-256 fingerprint of a certificate"
        ))
        .help("write 64 hex digits, as `openssl x509 -noout -fingerprint -sha256` prints them")),
    }
}

fn parse_subject_name(text: &str) -> Result<SubjectName, Misfit> {
    match text.is_empty() || text.contains('*') {
        true => Err(
            Misfit::new(format!("`{text}` cannot be compared with names of a subject"))
                .help("write the whole name as the certificate has it; wildcards are for `dns` and `uri`"),
        ),
        false => Ok(SubjectName(text.to_owned())),
    }
}

fn parse_uri_pattern(text: &str) -> Result<UriPattern, Misfit> {
    UriPattern::parse(text).map_err(|problem| {
        Misfit::new(format!("`{text}` is not a pattern for URIs: {problem}")).help(
            "write it as in \"spiffe://example.org/ns/*/sa/web\"; `**` at the end takes all that is below",
        )
    })
}

fn parse_fraction(text: &str) -> Result<Fraction, Misfit> {
    Fraction::parse(text).ok_or_else(|| {
        Misfit::new(format!("`{text}` is no part of a whole"))
            .help("write a fraction between 0 and 1, as in \"1/3\"")
    })
}

fn parse_mode(text: &str) -> Result<Mode, Misfit> {
    let digits = text
        .strip_prefix('0')
        .filter(|rest| rest.len() == 3)
        .unwrap_or(text);
    let is_mode = digits.len() == 3 && digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    let mode = u32::from_str_radix(digits, 8).ok().filter(|_| is_mode);
    let help = "write three octal digits, as in \"0640\": what the owner, the group and others may do";
    match mode {
        Some(mode) if mode & 0o111 == 0 => Ok(Mode(mode)),
        Some(_) => Err(Misfit::new(format!("`{text}` lets somebody execute the file")).help(help)),
        None => Err(Misfit::new(format!("`{text}` is no mode of a file")).help(help)),
    }
}

fn parse_web_url(text: &str) -> Result<WebUrl, Misfit> {
    let url = text.parse::<http::Uri>().ok();
    let is_web = url.as_ref().is_some_and(|url| {
        matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some_and(|host| !host.is_empty())
    });
    match is_web {
        true => Ok(WebUrl(text.to_owned())),
        false => Err(Misfit::new(format!("`{text}` is no http or https URL"))
            .help("write it as in \"http://pki.example.com/partners.crl\"")),
    }
}

fn parse_admin_address(text: &str) -> Result<AdminAddress, Misfit> {
    match text.strip_prefix("unix:") {
        Some(path) if !path.is_empty() => Ok(AdminAddress::Unix(PathBuf::from(path))),
        None if text.parse::<SocketAddr>().is_ok_and(|address| address.port() > 0) => {
            text.parse().map(AdminAddress::Tcp).map_err(Misfit::new)
        }
        _ => Err(
            Misfit::new(format!("`{text}` is neither a Unix socket nor an address and a port")).help(
                "write \"unix:\" and a path, as in \"unix:/run/certgate/admin.sock\", or as in \"127.0.0.1:9180\"",
            ),
        ),
    }
}

fn parse_selector(text: &str) -> Result<CertificateSelector, Misfit> {
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
            Misfit::new(error)
                .help("allowed: a certificate's name, `DIRECTORY/*` for those of a certificate directory, `*` for all")
        })
}

fn parse_contact(text: &str) -> Result<Contact, Misfit> {
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
    Err(Misfit::new(format!("`{text}` is not a contact URL that CAs take")).help(meant))
}

fn parse_ownership_text(text: &str) -> Result<OwnershipText, Misfit> {
    let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    match printable && (1..=255).contains(&text.len()) {
        true => Ok(OwnershipText(text.to_owned())),
        false => Err(Misfit::new("it cannot stand in a TXT record as it is")
            .help("write 1 to 255 printable ASCII characters, as in \"certgate-verify=5f1c0a7e\"")),
    }
}

impl Resolver {
    /// The address in `text`, if that is one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        parse_resolver(text).ok()
    }
}

fn parse_resolver(text: &str) -> Result<Resolver, Misfit> {
    text.parse()
        .ok()
        .or_else(|| bare_address(text).map(|address| SocketAddr::new(address, 53)))
        .map(Resolver)
        .ok_or_else(|| {
            Misfit::new(format!("`{text}` is not the address of a DNS server"))
                .help("allowed: an IP address with or without a port, such as `127.0.0.1:53` or `[::1]:53`")
        })
}

fn parse_server_address(text: &str) -> Result<ServerAddress, Misfit> {
    let help = "write host:port, as in `10.0.0.11:8080`, `[2001:db8::1]:8080` or `app.internal:8080`";
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(Misfit::new(format!("`{text}` has no port")).help(help));
    };
    if !port.parse::<u16>().is_ok_and(|number| number > 0) || port.starts_with('+') {
        let problem = format!("`{text}` has no usable port: `{port}` is not a number from 1 to 65535");
        return Err(Misfit::new(problem).help(help));
    }
    if host.contains("://") || host.starts_with("unix") && host.contains('/') {
        return Err(Misfit::new(format!("`{text}` is a URL; the address alone is needed")).help(help));
    }
    let sound = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().is_ok(),
        None => {
            let name = DnsName::parse(host);
            host.parse::<Ipv4Addr>().is_ok() || name.is_ok_and(|name| name.number().is_none())
        }
    };
    if sound {
        Ok(ServerAddress(text.to_owned()))
    } else {
        Err(Misfit::new(format!("`{host}` is neither an IP address nor a host name")).help(help))
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
