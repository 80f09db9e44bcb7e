//! The configuration after every check: names point at things that exist, combinations make sense, defaults are
//! filled in. Nothing in here needs to be checked again.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::certificate::{AllowedClients, CertificateName, DesiredCertificate};
use crate::config::OnDemandConfig;
use crate::config::check::known_caa_identity;
use crate::config::dns_provider::Dns01Config;
use crate::config::export::ExportConfig;
use crate::config::external_account::ExternalAccountConfig;
use crate::config::hook::{Fraction, HookConfig};
use crate::name::{DnsName, NamePattern};
use crate::policy::{self, Policy};

/// A whole, valid configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where everything that must survive a restart lives.
    pub store: StoreConfig,
    /// What the world's DNS should say about this gateway; DNS checks are skipped without it.
    pub gateway: Option<GatewayConfig>,
    /// Threads and the end of them.
    pub runtime: RuntimeConfig,
    /// What is logged, and how.
    pub log: LogConfig,
    /// How the running gateway is reached.
    pub admin: AdminConfig,
    /// Who signs, by name.
    pub issuers: BTreeMap<String, IssuerConfig>,
    /// Certificates to obtain and keep renewed.
    pub certificates: Vec<DesiredCertificate>,
    /// What is particular about the DNS checks of some of them.
    pub certificate_dns: BTreeMap<CertificateName, CertificateDns>,
    /// Certificates that come as files; watched.
    pub certificate_files: Vec<CertificateFiles>,
    /// Directories of such files, by name; watched.
    pub certificate_directories: BTreeMap<String, PathBuf>,
    /// What client certificates are checked against, by name.
    pub ca_bundles: BTreeMap<String, Arc<CaBundleConfig>>,
    /// TLS security policies of the operator's own, by name.
    pub policies: BTreeMap<String, Arc<Policy>>,
    /// Backends, by name.
    pub server_groups: BTreeMap<String, Arc<ServerGroupConfig>>,
    /// Listeners, by name.
    pub listeners: BTreeMap<String, Arc<ListenerConfig>>,
    /// Who is told what happens to certificates, by name.
    pub hooks: BTreeMap<String, Arc<HookConfig>>,
    /// What is left of a certificate's life when it is told that it is expiring; the greatest first.
    pub expiring: Vec<Fraction>,
    /// Which certificates are written as files, and where to.
    pub exports: BTreeMap<CertificateName, Vec<ExportConfig>>,
}

impl Config {
    /// Whether `name` is one of `certificate_files`, or in one of `certificate_directories`.
    pub fn comes_from_files(&self, name: &CertificateName) -> bool {
        let directory = name.as_str().split_once('/').map(|(directory, _)| directory);
        self.certificate_files.iter().any(|files| files.name == *name)
            || directory.is_some_and(|directory| self.certificate_directories.contains_key(directory))
    }
}

impl Config {
    /// The TLS security policy called `name`: one of the operator's own, or a built-in one.
    pub fn policy(&self, name: &str) -> Option<&Policy> {
        let own = self.policies.get(name).map(Arc::as_ref);
        own.or_else(|| policy::built_in(name))
    }
}

impl Config {
    /// What a verdict about the names of `certificate` does, and the text that their owners have to show.
    pub fn dns_checks(&self, certificate: &CertificateName) -> (DnsChecks, Option<&str>) {
        let own = self.certificate_dns.get(certificate);
        let gateway = self.gateway.as_ref();
        let checks = own.and_then(|own| own.checks);
        let text = own.and_then(|own| own.ownership.as_deref());
        (
            checks
                .or(gateway.map(|gateway| gateway.dns_checks))
                .unwrap_or_default(),
            text.or_else(|| gateway?.ownership.as_deref()),
        )
    }
}

impl Config {
    /// Whether `issuer` is a CA that is asked by ACME, so that its orders and DNS count.
    pub fn is_acme(&self, issuer: &str) -> bool {
        matches!(self.issuers.get(issuer), Some(IssuerConfig::Acme(_)))
    }
}

/// `[store]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoreConfig {
    /// The directory of the embedded store.
    pub path: PathBuf,
}

/// `[gateway]`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct GatewayConfig {
    /// The addresses that the names of certificates should resolve to.
    pub addresses: Vec<IpAddr>,
    /// The name that a CNAME of theirs may end at; beside `addresses`, one that has these and no others.
    pub hostname: Option<DnsName>,
    /// The resolvers to ask; empty: the system's.
    pub resolvers: Vec<SocketAddr>,
    /// Servers of zones, asked in place of those that the world's DNS names for the zone.
    pub name_servers: BTreeMap<DnsName, Vec<SocketAddr>>,
    /// What a verdict does, where a certificate does not say it itself.
    pub dns_checks: DnsChecks,
    /// The text that owners of names show in a TXT record, where a certificate does not say another.
    pub ownership: Option<String>,
}

/// What the verdict of a DNS check does.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum DnsChecks {
    /// It is told, and holds nothing back.
    Advisory,
    /// Nothing is ordered that it is against.
    #[default]
    Enforce,
    /// There is none.
    Off,
}

/// What `[certificates.NAME]` says of the DNS checks of its names.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CertificateDns {
    /// What a verdict does; absent: as in `[gateway]`.
    pub checks: Option<DnsChecks>,
    /// The text that owners of its names show; absent: as in `[gateway]`.
    pub ownership: Option<String>,
}

/// `[runtime]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RuntimeConfig {
    /// Data-plane threads.
    pub workers: usize,
    /// Bytes of certificates that are kept ready to serve.
    pub certificate_cache: usize,
    /// How long open connections may go on after SIGTERM.
    pub drain_timeout: Duration,
}

/// `[log]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogConfig {
    /// The least severe level that is written.
    pub level: tracing::Level,
    /// One line of text, or one JSON object, for each event.
    pub format: LogFormat,
    /// Whether each connection gets its closing line.
    pub connections: bool,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogFormat {
    /// An object for each event.
    Json,
    /// A line for each event.
    Text,
}

/// `[admin]`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AdminConfig {
    /// The Unix socket, mode 0600. Absent: the API is on TCP only.
    pub socket: Option<PathBuf>,
    /// TCP addresses. A token is needed there, and TLS where it is not an address of the machine alone.
    pub addresses: Vec<SocketAddr>,
    /// Who may call there.
    pub tokens: Vec<AdminToken>,
    /// The certificate shown there; absent: no TLS.
    pub certificate: Option<CertificateName>,
    /// The bundle that client certificates must come from as well.
    pub client_ca: Option<String>,
}

/// `[admin.tokens.NAME]`; of the token itself only its digest is known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AdminToken {
    /// Its name.
    pub name: String,
    /// What its holder may do.
    pub rights: AdminRights,
    /// SHA-256 of it.
    pub digest: [u8; 32],
}

/// What the holder of a token may do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AdminRights {
    /// Everything.
    Operate,
    /// Look, and change nothing.
    Read,
}

/// `[issuers.NAME]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum IssuerConfig {
    /// A CA that speaks RFC 8555.
    Acme(AcmeConfig),
    /// A CA of the gateway's own.
    LocalCa(LocalCaConfig),
}

/// `kind = "acme"`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AcmeConfig {
    /// The directory's URL (RFC 8555 §7.1.1).
    pub directory: String,
    /// Contact URLs of the account.
    pub contact: Vec<String>,
    /// The challenges to solve, in the order in which to try them; never empty.
    pub challenges: Vec<ChallengeType>,
    /// Trust for a private directory; absent: the system's roots.
    pub root_ca_file: Option<PathBuf>,
    /// The profile to order; absent: the CA's usual one.
    pub profile: Option<String>,
    /// The common name that one of the CAs of the chain should have; absent: the CA's choice.
    pub preferred_chain: Option<String>,
    /// The customer that the account is bound to.
    pub external_account: Option<ExternalAccountConfig>,
    /// What the CA allows.
    pub rate_limits: RateLimits,
    /// The names by which CAA records mean the CA, if the operator says them; otherwise its directory does
    /// (RFC 8555 §7.1.1), or [`known_caa_identity`](Self::known_caa_identity).
    pub caa_identities: Vec<DnsName>,
    /// How dns-01 is answered; there where `challenges` holds it.
    pub dns: Option<Box<Dns01Config>>,
}

impl AcmeConfig {
    /// The name by which CAA records mean a CA that certgate knows.
    pub fn known_caa_identity(&self) -> Option<DnsName> {
        known_caa_identity(&self.directory)
    }

    /// Whether it is one that the world trusts; of others that is not known.
    pub fn is_public(&self) -> bool {
        self.known_caa_identity().is_some()
    }
}

/// The published limits of a CA.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RateLimits {
    /// Those of Let's Encrypt.
    LetsEncrypt,
    /// Those of its staging environment.
    LetsEncryptStaging,
    /// None are known; what the CA says is obeyed all the same.
    None,
}

/// The challenges that prove the right to a name.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
pub enum ChallengeType {
    /// RFC 8555 §8.4, in the name's zone.
    #[serde(rename = "dns-01")]
    Dns01,
    /// RFC 8555 §8.3, on an `http` listener.
    #[serde(rename = "http-01")]
    Http01,
    /// RFC 8737, on any `tls` listener.
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
}

impl ChallengeType {
    /// The word of RFCs, CAA records and the configuration.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Dns01 => "dns-01",
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
        }
    }
}

/// `kind = "local-ca"`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LocalCaConfig {
    /// The root's common name.
    pub common_name: String,
    /// The only DNS subtrees the CA may sign for (RFC 5280 §4.2.1.10); empty: any.
    pub permitted_domains: Vec<DnsName>,
    /// How long what it signs is valid.
    pub certificate_lifetime: Duration,
}

impl LocalCaConfig {
    /// The first of `domains` that the CA may not sign for.
    pub fn outside<'d>(&self, domains: &'d [NamePattern]) -> Option<&'d DnsName> {
        let permitted = &self.permitted_domains;
        let mut names = domains.iter().map(NamePattern::base);
        names.find(|name| !permitted.is_empty() && !permitted.iter().any(|tree| name.is_within(tree)))
    }
}

/// `[certificates.NAME]` with `certificate_file` and `key_file`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateFiles {
    /// The entry's name.
    pub name: CertificateName,
    /// The chain, and perhaps the key.
    pub certificate_file: PathBuf,
    /// The key, where it is in a file of its own.
    pub key_file: Option<PathBuf>,
    /// The operator's own labels.
    pub tags: BTreeMap<String, String>,
}

/// `[ca_bundles.NAME]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CaBundleConfig {
    /// The bundle's name.
    pub name: String,
    /// A local CA whose root and CRL belong to it.
    pub issuer: Option<String>,
    /// PEM files with the CA certificates; may be empty where `certificates_pem` or `issuer` is there.
    pub files: Vec<PathBuf>,
    /// CA certificates as PEM text.
    pub certificates_pem: Option<String>,
    /// Files with CRLs of those CAs.
    pub crl_files: Vec<PathBuf>,
    /// CRLs as PEM text.
    pub crls_pem: Option<String>,
    /// http or https URLs of CRLs.
    pub crl_urls: Vec<String>,
    /// The longest time between two looks at one of those.
    pub crl_refresh: Duration,
}

/// `[server_groups.NAME]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerGroupConfig {
    /// The group's name.
    pub name: Arc<str>,
    /// The backends; never empty.
    pub servers: Vec<ServerConfig>,
}

/// One backend.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerConfig {
    /// `host:port`; the host is an address or a name.
    pub address: String,
    /// Its share of new connections, 1 to 256.
    pub weight: u16,
}

/// `[listeners.NAME]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListenerConfig {
    /// The listener's name.
    pub name: Arc<str>,
    /// Whether it accepts connections.
    pub enabled: bool,
    /// Where it listens. `[::]` takes IPv4 as well.
    pub address: SocketAddr,
    /// What it speaks.
    pub protocol: Protocol,
    /// The certificates it serves; the first is the default. Empty for `http`.
    pub certificates: Vec<CertificateSelector>,
    /// The answer to a server name that no certificate is for.
    pub unknown_sni: UnknownSni,
    /// Which certificates are obtained because a handshake asks for them; absent: none.
    pub on_demand: Option<Arc<OnDemandConfig>>,
    /// The TLS security policy's name.
    pub policy: String,
    /// ALPN protocol identifiers in the server's order; empty: no ALPN.
    pub alpn: Vec<Vec<u8>>,
    /// The answer to a client with which no protocol is shared.
    pub alpn_mismatch: AlpnMismatch,
    /// Who shows a certificate.
    pub authentication: Authentication,
    /// Who of those with a certificate of the bundle may enter; absent: all.
    pub allow_clients: Option<Arc<AllowedClients>>,
    /// The answer to a client whose CA has a CRL that is out of date.
    pub expired_crl: ExpiredCrl,
    /// The group that connections go to; present for `tls`.
    pub server_group: Option<String>,
    /// An open connection without a byte in either direction for so long is closed.
    pub idle_timeout: Duration,
    /// From accept to the end of the handshake; on an `http` listener, to the end of the answer.
    pub handshake_timeout: Duration,
    /// For one attempt at one server.
    pub connect_timeout: Duration,
    /// Open connections at a time; the next one is closed at accept, and counted. Absent: no limit.
    pub max_connections: Option<usize>,
    /// The operator's own labels.
    pub tags: BTreeMap<String, String>,
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// Plain HTTP: answers HTTP-01, redirects the rest to HTTPS.
    Http,
    /// TLS, ended here; the bytes inside go on untouched.
    Tls,
}

/// Which entries of the certificate store a listener serves.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CertificateSelector {
    /// `"*"`: every one.
    All,
    /// `"sites/*"`: every one of a directory; holds `sites/`.
    Directory(String),
    /// One by its name.
    Named(CertificateName),
}

/// The answer to a server name that no certificate is for, and to none at all.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum UnknownSni {
    /// The listener's first certificate.
    #[default]
    Default,
    /// The alert `unrecognized_name` (RFC 6066 §3).
    Refuse,
}

/// The answer to a client with which no ALPN protocol is shared.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum AlpnMismatch {
    /// The alert `no_application_protocol` (RFC 7301 §3.2).
    #[default]
    Alert,
    /// Go on as if neither side had spoken of ALPN.
    Continue,
}

/// Who shows a certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Authentication {
    /// The client must too, and it is verified against this bundle.
    Mutual {
        /// The CA bundle's name.
        client_ca: String,
    },
    /// The client is asked, and verified against this bundle, but let in whatever comes of it.
    Observe {
        /// The CA bundle's name.
        client_ca: String,
    },
    /// The server only.
    OneWay,
}

impl Authentication {
    /// The CA bundle that clients are verified against, if they are asked at all.
    pub fn client_ca(&self) -> Option<&str> {
        match self {
            Self::Mutual { client_ca } | Self::Observe { client_ca } => Some(client_ca),
            Self::OneWay => None,
        }
    }

    /// The word in the configuration.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Mutual { .. } => "mutual",
            Self::Observe { .. } => "observe",
            Self::OneWay => "one-way",
        }
    }
}

/// The answer to a client of whose CA every CRL should be known, but one is out of date.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ExpiredCrl {
    /// It is let in if the old CRL does not name it; this is warned of and counted.
    Accept,
    /// It is refused.
    #[default]
    Refuse,
}
