//! `dns` of an ACME issuer: who can put records into the zones of its names.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::name::DnsName;

/// How the dns-01 challenges of an issuer are answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dns01Config {
    /// Who puts the records there.
    pub provider: DnsProvider,
    /// How long every server of the zone has time to give the record.
    pub propagation_timeout: Duration,
}

/// Who can change a zone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DnsProvider {
    /// acme-dns, to which the names are delegated.
    AcmeDns(AcmeDnsConfig),
    /// A command.
    Exec(ExecConfig),
    /// The zone's primary server.
    Rfc2136(Rfc2136Config),
}

/// `provider = "acme-dns"`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AcmeDnsConfig {
    /// The URL of its API.
    pub server: String,
    /// The JSON file with the account of each name, where they are not registered as they are needed. Secret.
    pub accounts_file: Option<PathBuf>,
}

/// `provider = "exec"`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExecConfig {
    /// The command.
    pub command: PathBuf,
    /// Whether it gets the name, token and key authorization, and not the record.
    pub raw: bool,
}

/// `provider = "rfc2136"`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rfc2136Config {
    /// The server that takes updates.
    pub server: SocketAddr,
    /// The key that they are signed with.
    pub tsig: TsigConfig,
}

/// A key of RFC 8945.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TsigConfig {
    /// Its name.
    pub name: DnsName,
    /// What it signs by.
    pub algorithm: HmacAlgorithm,
    /// The file that it is in.
    pub key_file: PathBuf,
}

/// How a message is signed with a shared key (RFC 8945 §6).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HmacAlgorithm {
    /// HMAC-SHA-256.
    Sha256,
    /// HMAC-SHA-384.
    Sha384,
    /// HMAC-SHA-512.
    Sha512,
}

impl TsigConfig {
    /// The key in the text of such a file: base64 alone, or after `secret` as `tsig-keygen` writes it; `None` where
    /// there is none. Secret.
    pub fn decode(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let text = str::from_utf8(text).ok()?;
        let text = match text.split_once("secret") {
            Some((_, quoted)) => quoted.split('"').nth(1)?,
            None => text.trim(),
        };
        let key = STANDARD.decode(text).map(Zeroizing::new).ok()?;
        (key.len() >= Self::KEY_MIN).then_some(key)
    }

    /// Half of what SHA-256 can use (RFC 2104 §3); `tsig-keygen` makes 32 bytes.
    pub const KEY_MIN: usize = 16;
}

impl HmacAlgorithm {
    /// The word of RFC 8945 §6, and of the configuration.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sha256 => "hmac-sha256",
            Self::Sha384 => "hmac-sha384",
            Self::Sha512 => "hmac-sha512",
        }
    }
}

/// What tells one from another: who could take a record away that was put there in this way.
impl fmt::Display for DnsProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AcmeDns(AcmeDnsConfig { server, .. }) => write!(f, "acme-dns at {server}"),
            Self::Exec(ExecConfig { command, .. }) => write!(f, "the command {}", command.display()),
            Self::Rfc2136(Rfc2136Config { server, tsig }) => {
                write!(f, "updates of {server} with the key `{}`", tsig.name)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::TsigConfig;

    #[test]
    fn a_key_is_read_alone_or_as_tsig_keygen_writes_it() {
        let key = [7_u8; 32];
        let text = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
        let generated = format!("key \"certgate\" {{\n\talgorithm hmac-sha256;\n\tsecret \"{text}\";\n}};\n");
        for file in [text, &format!("{text}\n"), &generated] {
            assert_eq!(
                TsigConfig::decode(file.as_bytes()).unwrap().as_slice(),
                key,
                "{file}"
            );
        }
        for file in ["", "BwcH", "no base64 at all", "secret;"] {
            assert!(TsigConfig::decode(file.as_bytes()).is_none(), "{file}");
        }
    }
}
