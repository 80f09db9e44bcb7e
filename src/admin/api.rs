//! The bodies of the admin API. Field names are part of the public surface.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::certificate::{CertificateName, KeyType, RenewalWindow, RevocationReason};
use crate::clock::Timestamp;
use crate::config::ResourceTable;
use crate::name::NamePattern;

pub use crate::admin::accounts::{IssuerAccount, RateLimit};
pub use crate::admin::calendar::{HeldBack, IssuerPlan, Plan, PlannedDay, PlannedStep};
pub use crate::admin::exports::Export;
pub use crate::admin::handshakes::{
    ClientHellos, ExplainRequest, ExplainedAuthentication, ExplainedBackend, ExplainedCertificate,
    ExplainedPolicy, Explanation, Offered, OfferedTogether, PolicyPreview, PreviewReason,
};
pub use crate::admin::hooks::{GivenUpNotices, Hook, HookTest};
pub use crate::admin::issuers::{
    ClientCertificate, ClientCertificateRequest, Clients, IssuedClientCertificate, Issuer, LocalCa,
    RevocationRequest,
};
pub use crate::admin::resources::{
    ApplyReport, ApplyRequest, CaBundleSummary, Drift, FileText, KeyChange, Resource, TableChange,
};
pub use crate::admin::versions::{ActivateRequest, CertificateVersion, Served, StandIn};
pub use crate::dns::{DomainState, DomainVerdict};
pub use crate::inventory::{AuditOutcome, AuditRecord, Caller};

/// `GET /v1/ca-bundles/{name}/contents`: what clients are verified against. What counts for nothing is
/// passed over and listed in `skipped`; whatever else is wrong with a file, the bundle is refused as a whole.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct CaBundleContents {
    /// Which contents these are, and how many there have been before.
    #[serde(flatten)]
    pub version: CaBundleVersion,
    /// Its CA certificates.
    pub certificates: Vec<CaCertificate>,
    /// The CA certificates that count for nothing.
    #[serde(default)]
    pub skipped: Vec<SkippedCertificate>,
    /// Text outside the blocks of files, which is passed over.
    #[serde(default)]
    pub skipped_text: Vec<SkippedText>,
    /// The CRLs that count.
    pub crls: Vec<Crl>,
    /// A CRL of its `crl_urls` could not be had yet, so that its clients are refused.
    pub awaits_crl: bool,
}

/// What a CA bundle holds, told from what it held before and from what another gateway's holds.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct CaBundleVersion {
    /// 1 for the first contents of a bundle of that name, and one more with each change of them.
    pub version: u64,
    /// SHA-256 over the DER of its CA certificates and CRLs, in lower-case hex: the same for the same contents, in
    /// whatever order and from wherever they came.
    pub digest: String,
}

/// A certificate of a CA bundle.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct CaCertificate {
    /// Its subject.
    pub subject: String,
    /// Its issuer.
    pub issuer: String,
    /// Whether it is trusted for itself; otherwise as far as another one of the bundle says.
    pub is_root: bool,
    /// Its public key, for people.
    pub key: String,
    /// The first moment of its validity.
    pub not_before: Timestamp,
    /// The last one.
    pub not_after: Timestamp,
    /// SHA-256, in lower-case hex.
    pub fingerprint: String,
}

/// A certificate that is left out of a CA bundle.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct SkippedCertificate {
    /// Its subject.
    pub subject: String,
    /// The file, or the key of the bundle, that it stands in.
    pub file: String,
    /// Its block there, counted from 1.
    pub block: usize,
    /// Why, after "it".
    pub reason: String,
}

/// Text outside the blocks of a file of a CA bundle: comments, names of certificates.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct SkippedText {
    /// The file, or the key of the bundle, that it stands in.
    pub file: String,
    /// Its lines there, counted from 1, as in `1 to 3, 27`; of very many places the first ones.
    pub lines: String,
}

/// A CRL of a CA bundle.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Crl {
    /// Whose.
    pub issuer: String,
    /// When it was made.
    pub this_update: Timestamp,
    /// When the next one is due; after that it refuses every client of its CA.
    pub next_update: Timestamp,
    /// How many certificates are on it.
    pub entries: usize,
}

/// `POST /v1/listeners/{name}/recheck`.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Recheck {
    /// Connections that are open and past their handshake.
    pub connections: usize,
    /// Those of them that would not be let in now.
    pub no_longer_admitted: usize,
    /// Why not.
    pub reasons: Vec<RecheckReason>,
    /// Whether they are being closed.
    pub closing: bool,
}

/// Connections that would not be let in now for the same reason.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct RecheckReason {
    /// As in `certgate_client_certificate_rejections_total`.
    pub reason: String,
    /// How many.
    pub connections: usize,
    /// Subjects of their certificates, the first ten.
    pub subjects: Vec<String>,
}

/// `GET /v1/status`.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Status {
    /// The version of the running program.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// When it began to serve.
    pub started_at: Timestamp,
    /// The moment this was said.
    pub now: Timestamp,
    /// The listeners, sorted by name.
    pub listeners: Vec<Listener>,
    /// The first certificates by name, at most 1000.
    pub certificates: Vec<Certificate>,
    /// Whether `/v1/certificates` has more.
    #[serde(default)]
    pub more_certificates: bool,
    /// The backends, sorted by group.
    pub server_groups: Vec<ServerGroup>,
    /// Rate limits of CAs of which half is used, and more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rate_limits: Vec<RateLimit>,
    /// The outcome of the last reload, if there was one.
    pub last_reload: Option<Reload>,
    /// What is not in force as the file says.
    #[serde(default)]
    pub drift: Vec<Drift>,
    /// Whatever an operator should look at, in words.
    pub warnings: Vec<String>,
}

/// One listener.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[schemars(rename = "ListenerStatus")]
pub struct Listener {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// Whether it accepts connections.
    pub enabled: bool,
    /// `tls` or `http`.
    pub protocol: String,
    /// `one-way`, `observe` or `mutual`; absent for `http`.
    pub authentication: Option<String>,
    /// What its sessions belong to: another value, and none of before is resumed. Absent for `http`.
    #[serde(default)]
    pub authentication_generation: Option<String>,
    /// Since when clients are observed; absent where they are not. It begins anew with a start of the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_since: Option<Timestamp>,
    /// When what they are checked against (CA certificates, CRLs, `allow_clients`) became what it is, where it was something
    /// else since then: who was seen before was judged by that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_by_other_rules_until: Option<Timestamp>,
    /// Who would have been refused while clients are observed; the latest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub would_refuse: Vec<ObservedClient>,
    /// CRLs that are out of date and that it lets clients in without (`expired_crl = "accept"`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fails_open: Vec<ExpiredCrl>,
    /// What it has of certificates on demand; absent where there is nothing of the kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_demand: Option<OnDemand>,
    /// Its TLS security policy; absent for `http`.
    pub policy: Option<String>,
    /// Its server group; absent for `http`.
    pub server_group: Option<String>,
    /// Connections open now.
    pub connections: usize,
}

/// A CRL that is out of date.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ExpiredCrl {
    /// The CA bundle that it belongs to.
    pub ca_bundle: String,
    /// Whose it is; absent where one of `crl_urls` has never been had.
    pub issuer: Option<String>,
    /// Since when it is out of date.
    pub since: Option<Timestamp>,
}

/// Handshakes for names without a certificate, since the configuration of it was last changed.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct OnDemand {
    /// Names that are being looked into or obtained.
    pub pending: usize,
    /// Handshakes that wait for them.
    pub waiting: usize,
    /// Names that are known to be denied.
    pub remembered: usize,
    /// Handshakes that have waited for their certificate and got it.
    pub obtained: u64,
    /// Those that were refused, by reason, in the words that metrics have.
    pub refused: BTreeMap<String, u64>,
    /// The name that was refused last, for each reason.
    pub latest_refused: Vec<RefusedName>,
}

/// A name without a certificate for which a handshake was refused.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct RefusedName {
    /// Why, in the word that metrics have.
    pub reason: String,
    /// The name.
    pub domain: NamePattern,
    /// When.
    pub at: Timestamp,
    /// What was found, in words; empty where the reason says it all.
    pub detail: String,
}

/// Clients of one kind that would have been refused.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ObservedClient {
    /// Why, in the word that metrics have.
    pub reason: String,
    /// The subject of their certificate; absent when none was shown.
    pub subject: Option<String>,
    /// The address they come from.
    pub source: std::net::IpAddr,
    /// How many connections there were.
    pub count: u64,
    /// Seconds since the last one.
    pub seconds_since_last: u64,
}

/// One entry of the certificate store.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[schemars(rename = "CertificateStatus")]
pub struct Certificate {
    /// Its name.
    pub name: CertificateName,
    /// Its names: the wanted ones, or those of the certificate where it comes from elsewhere.
    pub domains: Vec<NamePattern>,
    /// Where it comes from: an issuer's name, `files` or `import`.
    pub source: String,
    /// `wanted`, `obtaining`, `valid`, `backing-off`, `blocked`, `stopped`, or `unwanted` for one that is wanted no more and
    /// never was obtained.
    pub state: String,
    /// The last error or the reason of the state, with what to do; while one is being obtained, how far that is.
    pub reason: Option<String>,
    /// When something will be tried next.
    pub next_attempt: Option<Timestamp>,
    /// The first moment of the validity of what is served.
    pub not_before: Option<Timestamp>,
    /// The last one.
    pub not_after: Option<Timestamp>,
    /// The serial number of the newest one, in hex.
    pub serial: Option<String>,
    /// Who signed it.
    pub issued_by: Option<String>,
    /// Its key, as in `ECDSA P-256`.
    pub key: Option<String>,
    /// SHA-256 of it, in hex.
    pub fingerprint: Option<String>,
    /// The issuer that signed it, by its name in the configuration; where none did, `files` or `imported`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The certificate that this is the spare of; then it is published only in that one's place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spare_of: Option<CertificateName>,
    /// Set while its spare is served in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stand_in: Option<StandIn>,
    /// Why it was revoked, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<RevocationReason>,
    /// When the CA suggests to renew it (RFC 9773), if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggested_window: Option<RenewalWindow>,
    /// Whether this very one is published to the listeners; a moment after it was obtained, or not yet valid, it is not.
    pub published: bool,
    /// Its names as the last look at DNS found them; empty where there was none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<DomainStatus>,
    /// Its keys, as in the file; absent in lists, and where it has none of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<ResourceTable>,
    /// Tells these keys from every other ones, or where it has none the certificate; absent in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// How its keys differ from the file, if they do; absent in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
}

/// A name of a certificate in DNS.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct DomainStatus {
    /// The name.
    pub domain: NamePattern,
    /// How far it has come.
    pub state: DomainState,
    /// What stands in its way; empty where nothing does.
    pub reason: String,
    /// When it was looked at.
    pub checked_at: Timestamp,
}

/// One server group.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[schemars(rename = "ServerGroupStatus")]
pub struct ServerGroup {
    /// Its name.
    pub name: String,
    /// Its servers.
    pub servers: Vec<Server>,
}

/// One backend.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[schemars(rename = "ServerStatus")]
pub struct Server {
    /// `host:port`.
    pub address: String,
    /// Whether connections are sent to it.
    pub up: bool,
    /// The last error in reaching it.
    pub error: Option<String>,
}

/// The outcome of a reload.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Reload {
    /// When.
    pub at: Timestamp,
    /// Why nothing was applied; absent when it was.
    pub error: Option<String>,
}

/// `PUT /v1/certificates/{name}` with `domains`: obtain one.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateRequest {
    /// The names it must be valid for, each once.
    pub domains: Vec<NamePattern>,
    /// Who is to sign it; absent: the only issuer there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The kind of its key.
    #[serde(default)]
    pub key_type: KeyType,
    /// The operator's own labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// What an operator may pass over, once.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Objection {
    /// The look at DNS before an order.
    Dns,
}

/// `PUT /v1/certificates/{name}` with `certificate_pem`: take one in.
#[derive(Clone, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateImport {
    /// The chain, end-entity certificate first; may hold the key as well.
    #[schemars(with = "String")]
    pub certificate_pem: Zeroizing<String>,
    /// The private key. Secret.
    #[schemars(with = "String")]
    pub key_pem: Zeroizing<String>,
}

/// `GET /v1/certificates/{name}/export`.
#[derive(Clone, Deserialize, JsonSchema, Serialize)]
pub struct CertificateExport {
    /// The chain, end-entity certificate first.
    pub certificate_pem: String,
    /// The private key, if it was asked for. Secret.
    #[schemars(with = "Option<String>")]
    pub key_pem: Option<Zeroizing<String>>,
}

/// `POST /v1/dns-checks`.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DnsCheckRequest {
    /// The names to look at, each once; empty: those of every certificate, where they are no more than that.
    #[schemars(length(max = Self::MOST), extend("uniqueItems" = true))]
    pub names: Vec<NamePattern>,
    /// Whose CAA identity and challenges count; absent: those of the certificate's issuer, or of the only one there is.
    #[serde(default)]
    pub issuer: Option<String>,
}

impl DnsCheckRequest {
    /// The names that may be asked about at a time; as many as a certificate has at most.
    pub const MOST: usize = 100;
}

/// One event of `GET /v1/events`.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// The certificate it is about.
    pub certificate: CertificateName,
    /// `step`, `obtained`, `renewed`, `failed`, `blocked`, `expiring`, `activated`, `drifted` or `restored`.
    pub kind: String,
    /// In words.
    pub detail: String,
}

/// `event: missed` of `GET /v1/events`: the reader was slow.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Missed {
    /// How many events it was not sent. What they told of is in `/v1/certificates` and `/v1/audit`.
    pub missed: u64,
}

impl JsonSchema for Timestamp {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

impl JsonSchema for CertificateName {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "CertificateName".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1 })
    }
}
