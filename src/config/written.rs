//! The configuration exactly as it is written. Filling it in touches nothing but the text; what it means is for
//! [`check`](super::check) to say. The JSON Schema is that of [`Document`].

mod hooks;

use std::net::IpAddr;
use std::path::PathBuf;

use rustls::SupportedCipherSuite;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::Spanned;
use toml::de::DeValue;

use crate::certificate::{KeyType, UriPattern};
use crate::config::alpn::Alpn;
use crate::config::byte_size::ByteSize;
use crate::config::collection::{List, Named, OneOrMany, Tags, Zones};
use crate::config::dns_provider::HmacAlgorithm;
use crate::config::period::Period;
use crate::config::policy_part::Part;
use crate::config::reader::{Key, Reader, Value, table};
use crate::config::settings::{
    AdminRights, AlpnMismatch, CertificateSelector, ChallengeType, DnsChecks, ExpiredCrl, LogFormat,
    Protocol, RateLimits, UnknownSni,
};
use crate::config::text::{
    AdminAddress, Contact, Fingerprint, OwnershipText, Resolver, ServerAddress, SubjectName, WebUrl,
};
use crate::config::value::Integer;
use crate::config::word::{
    Algorithm, AuthenticationKind, ConnectionLines, ExecMode, IssuerKind, LogLevel, ProviderKind,
};
use crate::name::{DnsName, NamePattern};
use crate::policy::{Group, Version};

pub(super) use hooks::{Events, Export, Hook};

table! {
    /// The configuration of certgate: certificates obtained, renewed, published and served.
    Document {
        /// Where everything that must survive a restart lives.
        store: Store,
        /// What the world's DNS should say about this gateway; DNS is not checked before an order without it.
        gateway: Gateway,
        /// Threads, and the end of them.
        runtime: Runtime,
        /// What is logged, and how.
        log: Log,
        /// How the running gateway is reached.
        admin: Admin,
        /// Who signs certificates: ACME accounts and local CAs.
        issuers: Named<Issuer>,
        /// Certificates to obtain and renew, and certificates that come as files.
        certificates: Named<Certificate>,
        /// Directories of certificate files: every NAME.pem, or NAME.crt with NAME.key.
        certificate_directories: Named<CertificateDirectory>,
        /// What client certificates are checked against.
        ca_bundles: Named<CaBundle>,
        /// TLS security policies of your own, beside the built-in ones.
        policies: Named<Policy>,
        /// Backends.
        server_groups: Named<ServerGroup>,
        /// Where connections are accepted, and what becomes of them.
        listeners: Named<Listener>,
        /// Who is told what happens to certificates: programs of this machine, and webhooks.
        hooks: Named<Hook>,
        /// When something is told.
        events: Events,
    }
}

table! {
    /// Where everything that must survive a restart lives.
    Store {
        /// The directory of the embedded store. Default: $STATE_DIRECTORY, else ./certgate-data.
        path: PathBuf,
    }
    later etcd master_key_file
}

table! {
    /// What the world's DNS should say about this gateway.
    Gateway {
        /// The addresses that the names of certificates should resolve to.
        addresses: List<IpAddr>,
        /// The name that their CNAME may end at. Beside `addresses` it has to have these and no others.
        hostname: DnsName,
        /// The resolvers to ask, port 53 unless another is written. Default: the system's.
        resolvers: List<Resolver>,
        /// Servers of zones that are not to be found in the world's DNS, or not as CAs see it: for each zone, a list
        /// of addresses, port 53 unless another is written. Default: those that the resolvers know.
        name_servers: Zones,
        /// "enforce": nothing is ordered that DNS is against. "advisory": it is told, and nothing is held back, as
        /// behind a CDN. "off": DNS is not asked. Default: "enforce".
        dns_checks: DnsChecks,
        /// A text that must stand in a TXT record at _certgate.NAME, or at _certgate before a name above it, before
        /// NAME is ordered. Default: none is asked for.
        ownership: OwnershipText,
    }
}

table! {
    /// Threads, and the end of them.
    Runtime {
        /// Data-plane threads. Default: one for each core.
        workers: Integer<1, 1024>,
        /// Memory for certificates that are kept ready to serve; the others are loaded when they are asked for.
        /// Default: "256MiB".
        certificate_cache: ByteSize<1, 1_048_576>,
        /// How long open connections may go on after SIGTERM. Default: "30s".
        drain_timeout: Period<0, 86_400>,
    }
}

table! {
    /// What is logged, and how.
    Log {
        /// The least severe level that is written. Default: "info".
        level: LogLevel,
        /// A line of text, or a JSON object, for each event. Default: "text".
        format: LogFormat,
        /// The line for each connection when it closes. Default: "info".
        connections: ConnectionLines,
    }
}

table! {
    /// How the running gateway is reached.
    Admin {
        /// A Unix socket, mode 0600: "unix:" and its path; or an address and port, where callers need a token; or a
        /// list of both. Default: admin.sock in the store's directory.
        listen: OneOrMany<AdminAddress>,
        /// The certificate to show on TCP, so that the API is reached by https. Needed unless all addresses are
        /// loopback ones.
        certificate: String,
        /// The CA bundle that callers on TCP need a certificate of, beside their token.
        client_ca: String,
        /// A file, mode 0600, with a token that may do everything: the same as a token named "admin".
        token_file: PathBuf,
        /// Who may call on TCP.
        tokens: Named<Token>,
    }
}

table! {
    /// A caller on TCP, known by a secret.
    Token {
        /// A file, mode 0600, with at least 32 random bytes as text, as `openssl rand -hex 32` makes them.
        file: PathBuf = required("\"/etc/certgate/deploy.token\""),
        /// "read" to look only, "operate" to change things as well.
        rights: AdminRights = required("\"read\""),
    }
}

table! {
    /// Who signs certificates. Which keys belong here depends on `kind`.
    Issuer {
        /// "acme" for a CA that speaks RFC 8555, "local-ca" for one of the gateway's own.
        kind: IssuerKind = required("\"acme\" or kind = \"local-ca\""),
        /// acme: letsencrypt, letsencrypt-staging, zerossl, google, or the https URL of a directory.
        directory: String,
        /// acme: contact URLs of the account, as "mailto:ops@example.com".
        contact: List<Contact>,
        /// acme: true when you have read the CA's terms of service and agree to them.
        agree_to_terms: bool,
        /// acme: the challenges to solve, tried in this order where they can work: tls-alpn-01, http-01 and, with `dns`,
        /// dns-01. Default: dns-01 alone with `dns`, otherwise the first two.
        challenges: List<ChallengeType>,
        /// acme: PEM file with the root of a private directory. Default: the system's roots.
        root_ca_file: PathBuf,
        /// acme: the profile to order certificates of, as "shortlived". Default: the CA's.
        profile: String,
        /// acme: the common name of the CA that the chain should end with or below, where the CA has several chains.
        /// Default: the CA's choice.
        preferred_chain: String,
        /// acme: the customer of the CA that the account belongs to.
        external_account: ExternalAccount,
        /// acme: whose published rate limits the CA has: "letsencrypt", "letsencrypt-staging" or "none". Default: those of
        /// the directory, where it is one of Let's Encrypt.
        rate_limits: RateLimits,
        /// acme: the names by which CAA records mean the CA. Default: what the CA's directory says, or
        /// else what is known of directories that go by a name.
        caa_identities: List<DnsName>,
        /// acme: who puts the TXT records of dns-01 into zones.
        dns: Dns,
        /// local-ca: the common name of a root that is made; one that is there keeps its own. Default: "certgate NAME".
        common_name: String,
        /// local-ca: the only domains, with all below them, that it may sign for. Default: any.
        permitted_domains: List<DnsName>,
        /// local-ca: how long what it signs is valid. Default: "90d".
        certificate_lifetime: Period<10, 71_280_000>,
    }
}

table! {
    /// Who puts the TXT records of dns-01 into zones. Which keys belong here depends on `provider`.
    Dns {
        /// "rfc2136": the zone's primary server, by dynamic updates. "exec": a command. "acme-dns": a server of that name,
        /// to which _acme-challenge.NAME is an alias.
        provider: ProviderKind = required("\"rfc2136\""),
        /// rfc2136: the address of the server, port 53 unless another is written. acme-dns: the URL of its API.
        server: String,
        /// rfc2136: the name of the key that updates are signed with.
        tsig_name: DnsName,
        /// rfc2136: a file, mode 0600, with the key: base64, or as tsig-keygen writes it.
        tsig_key_file: PathBuf,
        /// rfc2136: what the key signs by. Default: "hmac-sha256".
        tsig_algorithm: HmacAlgorithm,
        /// exec: the command, called as by lego: COMMAND present|cleanup OWNER. VALUE.
        command: PathBuf,
        /// exec: "raw" for COMMAND present|cleanup -- DOMAIN TOKEN KEY-AUTHORIZATION. Default: "record".
        mode: ExecMode,
        /// acme-dns: a JSON file, mode 0600, with an account for each name, as other clients of acme-dns write it. Default:
        /// accounts are registered when they are needed, and kept in the store.
        accounts_file: PathBuf,
        /// How long every server of the zone has time to give the record, before anything is asked of the CA.
        /// Default: "2m".
        propagation_timeout: Period<1, 3600>,
    }
}

table! {
    /// The customer of a CA that an account belongs to (RFC 8555 §7.3.4).
    ExternalAccount {
        /// The key's name, as the CA gives it.
        key_id: String = required("\"kid-1\""),
        /// A file, mode 0600, with the key itself, base64url as the CA gives it.
        hmac_key_file: PathBuf = required("\"/etc/certgate/external-account.key\""),
    }
}

table! {
    /// One certificate: either `domains` and `issuer`, or `certificate_file` and perhaps `key_file`.
    Certificate {
        /// The names, or IP addresses, it must be valid for; the first one is shown in lists.
        domains: List<NamePattern>,
        /// The issuer that signs it, or several, tried in this order. Default: the only one there is.
        issuer: OneOrMany<String>,
        /// The issuer, at another CA, of a spare: NAME.spare, with a key of its own, kept renewed and served in the place of
        /// this certificate when that itself should not be. Default: there is none.
        spare_issuer: String,
        /// The kind of key; or a list of an ECDSA and an RSA kind, for a certificate of each: NAME, of the first, and
        /// NAME.rsa or NAME.ecdsa. A client is served what it can verify. Default: "ecdsa-p256".
        key_type: OneOrMany<KeyType>,
        /// Whether a renewed certificate keeps the key of the one before. Default: false, a new key at each issuance.
        reuse_key: bool,
        /// A PEM file with the chain, and the key unless `key_file` has it; watched.
        certificate_file: PathBuf,
        /// A PEM file with the key.
        key_file: PathBuf,
        /// What a DNS check of its names does: "enforce", "advisory" or "off". Default: as in [gateway].
        dns_checks: DnsChecks,
        /// The text that owners of its names show in a TXT record. Default: as in [gateway].
        ownership: OwnershipText,
        /// Where it is written to as files, for other programs of this machine.
        export: List<Export>,
        /// Your own labels.
        tags: Tags,
    }
}

table! {
    /// A directory of certificate files; watched. Each becomes the certificate NAME/FILE.
    CertificateDirectory {
        /// The directory.
        path: PathBuf = required("\"/etc/certgate/sites\""),
    }
}

table! {
    /// What client certificates are checked against.
    CaBundle {
        /// PEM files with the CA certificates.
        files: List<PathBuf>,
        /// CA certificates themselves, as PEM text; beside `files` or in their place.
        certificates_pem: String,
        /// A local CA whose clients are let in: its root and its CRL belong to the bundle, always the newest. Beside `files` or
        /// in their place.
        issuer: String,
        /// Files with CRLs of these CAs, PEM or DER. A CA without one has revoked nothing.
        crl_files: List<PathBuf>,
        /// CRLs themselves, as PEM text; beside `crl_files` or in their place.
        crls_pem: String,
        /// http or https URLs of CRLs, which are got again and again. A client is let in only when all of them are there.
        crl_urls: List<WebUrl>,
        /// How often at least; a CRL is got earlier when half of its time is over. Default: 1h.
        crl_refresh: Period<10, 604_800>,
    }
}

table! {
    /// Which of the clients with a certificate of the CA bundle may enter: those whom any of these fits.
    AllowClients {
        /// DNS names among the subject's alternative names; "*." may stand for the first label.
        dns: List<NamePattern>,
        /// URIs there, as SPIFFE IDs; in the path "*" is one segment, and "**" at the end all that follow.
        uri: List<UriPattern>,
        /// Common names of the subject.
        common_name: List<SubjectName>,
        /// Organizational units of the subject.
        organizational_unit: List<SubjectName>,
        /// SHA-256 of certificates, in hex.
        fingerprint_sha256: List<Fingerprint>,
    }
}

table! {
    /// A TLS security policy of your own: what it does not say is as in the policy that it extends.
    Policy {
        /// The policy to start from, a built-in one or another of your own. Without it the three lists are needed.
        extends: String,
        /// Protocol versions.
        versions: List<Part<Version>>,
        /// Cipher suites, in the order in which they are preferred.
        cipher_suites: List<Part<SupportedCipherSuite>>,
        /// Key exchange groups.
        groups: List<Part<Group>>,
        /// Whether the order of `cipher_suites` decides, and not the client's. Default: false.
        ignore_client_order: bool,
        /// Whether a client that offers a post-quantum group gets one, even if it prefers another. Default: false.
        prefer_post_quantum: bool,
        /// Why the policy is as it is; shown by `certgate policy explain`.
        why: String,
    }
}

table! {
    /// Backends that take over from each other.
    ServerGroup {
        /// host:port, or a table with `address` and `weight`.
        servers: List<Server> = required("[\"10.0.0.11:8080\"]"),
        /// How the next server is chosen. Default: "round-robin".
        algorithm: Algorithm,
    }
    later health_check tls proxy_protocol
}

table! {
    /// One backend.
    WeightedServer {
        /// host:port.
        address: ServerAddress = required("\"10.0.0.11:8080\""),
        /// Its share of new connections, beside the others'. Default: 1.
        weight: Integer<1, 256>,
    }
}

table! {
    /// Certificates that are obtained when a handshake is the first to ask for the name. Anybody can send one, so
    /// `ask` or `names` says which may be; others are refused.
    OnDemand {
        /// An http or https URL that is asked with `domain=NAME` in its query: 2xx allows the name, 4xx denies it. Redirects
        /// are not followed. Whatever else it answers, nothing is ordered for now.
        ask: WebUrl,
        /// Names that are allowed without being asked about; "*." may stand for the first label.
        names: List<NamePattern>,
        /// Domains of which no name is obtained, nor of what is below them, whatever else allows it.
        except: List<DnsName>,
        /// The issuer that signs them, or several, tried in this order. Default: the only one there is.
        issuer: OneOrMany<String>,
        /// The kind of key. Default: "ecdsa-p256".
        key_type: KeyType,
        /// How long the handshakes for a name wait until its certificate is there, less than `handshake_timeout`; then they
        /// are refused with unrecognized_name, and the next ones are served. "0s": they are refused at once. Default: "8s",
        /// or four fifths of a shorter `handshake_timeout`.
        wait: Period<0, 299>,
        /// How long it is remembered that a name was denied. Default: "10m".
        denied_ttl: Period<1, 86_400>,
        /// A certificate that no handshake has asked for in so long is not renewed any more, and removed. Default: "30d".
        unused_after: Period<1, 31_536_000>,
        /// New names that are looked into in any minute, by `ask` or in DNS; more are refused. Default: 600.
        max_asks_per_minute: Integer<1, 10_000>,
        /// New names that are ordered in any hour; more are refused. Default: 60.
        max_orders_per_hour: Integer<1, 10_000>,
    }
}

table! {
    /// Where connections are accepted, and what becomes of them.
    Listener {
        /// Whether connections are accepted. Default: true.
        enabled: bool,
        /// The IP address to listen on. Default: "[::]", which takes IPv4 as well.
        address: IpAddr,
        /// The TCP port.
        port: Integer<1, 65_535> = required("443"),
        /// "tls": ends TLS and forwards the bytes inside. "http": answers HTTP-01 and redirects to https.
        /// Default: "tls".
        protocol: Protocol,
        /// Certificates by name, "DIRECTORY/*" for those of a directory, "*" for all. The first is the default.
        certificates: List<CertificateSelector>,
        /// The answer to a server name that no certificate is for. Default: "default", the first certificate.
        unknown_sni: UnknownSni,
        /// Certificates that are obtained when a handshake is the first to ask for the name.
        on_demand: OnDemand,
        /// The TLS security policy, a built-in one or one of your own. Default: "intermediate".
        policy: String,
        /// HTTP1Only, HTTP2Only, HTTP2Optional, HTTP2Preferred, None, or protocol names in the server's order.
        /// Default: "None".
        alpn: Alpn,
        /// The answer to a client with which no ALPN protocol is shared. Default: "alert".
        alpn_mismatch: AlpnMismatch,
        /// "one-way": the server shows a certificate. "mutual": the client must, too. "observe": it is asked and
        /// verified, but let in whatever comes of it. Default: "one-way".
        authentication: AuthenticationKind,
        /// The CA bundle that client certificates are checked against; needed for "mutual" and "observe".
        client_ca: String,
        /// Which of the clients that the CA bundle vouches for may enter. Default: all.
        allow_clients: AllowClients,
        /// The answer to a client whose CA has a CRL that is out of date; "accept" lets it in if that CRL does not
        /// name it, and warns. Default: "refuse".
        expired_crl: ExpiredCrl,
        /// The server group that connections go to.
        server_group: String,
        /// A connection without a byte in either direction for so long is closed. Default: "900s".
        idle_timeout: Period<1, 86_400>,
        /// From accept to the end of the handshake; on an `http` listener, to the end of the answer. Default: "10s".
        handshake_timeout: Period<1, 300>,
        /// For one attempt at one server. Default: "5s".
        connect_timeout: Period<1, 300>,
        /// Open connections at a time. Default: no limit.
        max_connections: Integer<1, 10_000_000>,
        /// Your own labels.
        tags: Tags,
    }
    later ports max_new_connections_per_second max_connections_per_source
}

/// A backend with a weight, or without.
#[derive(Debug)]
pub(super) struct Server {
    /// `host:port`.
    pub(super) address: Key<ServerAddress>,
    /// 1 where none is written.
    pub(super) weight: u16,
}

impl Value for Server {
    fn read(found: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        if let DeValue::Table(_) = found.get_ref() {
            let table = WeightedServer::read(found, reader)?;
            let weight = table.weight.value().map_or(1, |weight| weight.value.0);
            return Some(Self {
                address: table.address,
                weight: u16::try_from(weight).unwrap_or(u16::MAX),
            });
        }
        if !matches!(found.get_ref(), DeValue::String(_)) {
            reader.wrong_type(found, "\"host:port\" or a table with `address` and `weight`");
            return None;
        }
        let address = reader.located(found)?;
        let place = address.place.clone();
        Some(Self {
            address: Key::Present(address, place),
            weight: 1,
        })
    }
}

impl JsonSchema for Server {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Server".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let address = generator.subschema_for::<ServerAddress>();
        let weighted = generator.subschema_for::<WeightedServer>();
        json_schema!({ "anyOf": [address, weighted] })
    }
}
