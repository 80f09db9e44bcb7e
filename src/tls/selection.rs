//! Which certificate a client is served: a pure function of the table, the listener and the ClientHello.

use std::collections::HashSet;
use std::sync::Arc;

use rustls::server::ClientHello;
use rustls::{CipherSuite, NamedGroup, SignatureScheme};

use super::table::{Candidate, CertificateTable, KeyKind, Lookup};
use crate::certificate::{CertificateName, KeyType, ON_DEMAND_DIRECTORY};
use crate::config::{CertificateSelector, UnknownSni};

/// The part of the published certificates that a listener serves.
#[derive(Clone, Debug)]
pub struct Selection {
    all: bool,
    directories: Vec<String>,
    named: HashSet<CertificateName>,
    default: Option<CertificateSelector>,
    /// The default's entry for its other kind of key.
    companion: Option<CertificateName>,
    unknown_sni: UnknownSni,
    on_demand: bool,
}

impl Selection {
    /// What `selectors` let through; the first of them is the default: the certificate itself, or for a pattern
    /// the first by name that it lets through.
    pub fn new(selectors: &[CertificateSelector], unknown_sni: UnknownSni) -> Self {
        let mut selection = Self {
            all: false,
            directories: Vec::new(),
            named: HashSet::new(),
            default: selectors.first().cloned(),
            companion: None,
            unknown_sni,
            on_demand: false,
        };
        for selector in selectors {
            match selector {
                CertificateSelector::All => selection.all = true,
                CertificateSelector::Directory(prefix) => selection.directories.push(prefix.clone()),
                CertificateSelector::Named(name) => {
                    selection.named.insert(name.clone());
                }
            }
        }
        if let Some(CertificateSelector::Named(default)) = selectors.first() {
            let companions =
                [KeyType::Rsa2048, KeyType::EcdsaP256].map(|key_type| default.companion(key_type));
            selection.companion = companions
                .into_iter()
                .flatten()
                .find(|name| selection.named.contains(name));
        }
        selection
    }

    /// The same, and certificates that are obtained on demand: names without a certificate are asked for there.
    #[must_use]
    pub fn with_on_demand(mut self) -> Self {
        self.directories.push(format!("{ON_DEMAND_DIRECTORY}/"));
        self.on_demand = true;
        self
    }

    /// Whether there is something to serve by default.
    pub(super) fn has_default(&self) -> bool {
        self.default.is_some()
    }

    /// Whether the listener serves the entry `name`.
    pub fn contains(&self, name: &CertificateName) -> bool {
        let within = |prefix: &String| name.as_str().starts_with(prefix.as_str());
        self.all || self.named.contains(name) || self.directories.iter().any(within)
    }

    /// What has to be in a table for the default to be, with each kind of key.
    pub fn default_lookups(&self) -> impl Iterator<Item = Lookup> {
        let default = self.default.as_ref().map(|default| match default {
            CertificateSelector::All => Lookup::First("".into()),
            CertificateSelector::Directory(prefix) => Lookup::First(prefix.as_str().into()),
            CertificateSelector::Named(name) => Lookup::Entry(name.clone()),
        });
        let companion = self.companion.clone().map(Lookup::Entry);
        default.into_iter().chain(companion)
    }

    /// The default's credentials; or what the table has to be given before it can tell.
    pub(super) fn default<'t>(
        &self,
        table: &'t CertificateTable,
    ) -> Result<impl Iterator<Item = &'t Arc<Candidate>>, Lookup> {
        let first = |prefix: &str| {
            table
                .first_entry(prefix)
                .ok_or_else(|| Lookup::First(prefix.into()))
        };
        let entry = match &self.default {
            Some(CertificateSelector::All) => first("")?,
            Some(CertificateSelector::Directory(prefix)) => first(prefix)?,
            Some(CertificateSelector::Named(name)) => match table.entry(name) {
                [] if !table.is_whole() => return Err(Lookup::Entry(name.clone())),
                entry => entry,
            },
            None => &[],
        };
        let companion = self.companion.as_ref().map_or(&[][..], |name| table.entry(name));
        Ok(entry.iter().chain(companion))
    }
}

/// What of a ClientHello the choice depends on.
#[derive(Clone, Copy, Debug)]
pub struct ClientOffer<'a> {
    /// The server name, in lower case (RFC 6066 §3).
    pub server_name: Option<&'a str>,
    /// The signature schemes it verifies (RFC 8446 §4.2.3).
    pub signature_schemes: &'a [SignatureScheme],
    /// Its cipher suites.
    pub cipher_suites: &'a [CipherSuite],
    /// Its groups, which for TLS 1.2 are also the curves it verifies ECDSA on (RFC 8422 §5.1.1).
    pub named_groups: Option<&'a [NamedGroup]>,
}

impl<'a> From<&'a ClientHello<'a>> for ClientOffer<'a> {
    fn from(hello: &'a ClientHello<'a>) -> Self {
        Self {
            server_name: hello.server_name(),
            signature_schemes: hello.signature_schemes(),
            cipher_suites: hello.cipher_suites(),
            named_groups: hello.named_groups(),
        }
    }
}

/// What a client is served.
#[derive(Clone, Debug)]
pub enum Choice<'t> {
    /// This certificate.
    Certificate {
        /// Its entry in the table, chain and key.
        candidate: &'t Arc<Candidate>,
        /// Why this one.
        by: MatchedBy,
        /// Whether the client says that it can verify it.
        is_verifiable: bool,
    },
    /// That cannot be told before the table has been given this.
    Missing(Lookup),
    /// Nothing, since the certificate for it is not published (yet). There is no stand-in.
    NothingYet,
    /// None is there for the server name; it may be one to be obtained on demand.
    OnDemand,
    /// Nothing, since the listener refuses names that it has no certificate for.
    UnknownName,
}

/// What led to a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MatchedBy {
    /// It is the listener's default.
    Default,
    /// It holds the server name.
    Exact,
    /// It holds a wildcard for the server name.
    Wildcard,
}

/// Chooses for `offer`: a certificate with the very name, else one with a wildcard for it, else the listener's
/// default, unless names without a certificate are obtained on demand. Among those for a name the first that the client can verify is taken, in this order: anything before
/// RSA, then the one that is valid longest, then by the entry's name. If the client can verify none, the first is
/// chosen all the same, and the handshake says to the client what was missing.
pub fn select<'t>(table: &'t CertificateTable, selection: &Selection, offer: &ClientOffer<'t>) -> Choice<'t> {
    let served = |candidate: &&Arc<Candidate>| selection.contains(candidate.certificate());
    let name = offer.server_name.unwrap_or_default();
    let by_name = (table.names().exact(name), table.names().wildcard(name));
    let (Some(exact), Some(wildcard)) = by_name else {
        return Choice::Missing(Lookup::Name(name.into()));
    };
    let exact = exact.filter(served).map(|c| (c, MatchedBy::Exact));
    let wildcard = wildcard.filter(served).map(|c| (c, MatchedBy::Wildcard));

    let chosen = match first_verifiable(exact.chain(wildcard), offer) {
        None if selection.on_demand && offer.server_name.is_some() => return Choice::OnDemand,
        None if selection.unknown_sni == UnknownSni::Refuse || !selection.has_default() => {
            return Choice::UnknownName;
        }
        None => match selection.default(table) {
            Ok(default) => first_verifiable(default.map(|c| (c, MatchedBy::Default)), offer),
            Err(lookup) => return Choice::Missing(lookup),
        },
        found => found,
    };
    let Some(Found {
        candidate,
        by,
        is_verifiable,
    }) = chosen
    else {
        return Choice::NothingYet;
    };
    candidate.use_it();
    Choice::Certificate {
        candidate,
        by,
        is_verifiable,
    }
}

struct Found<'t> {
    candidate: &'t Arc<Candidate>,
    by: MatchedBy,
    is_verifiable: bool,
}

/// The first that the client can verify, else the first.
fn first_verifiable<'t>(
    candidates: impl Iterator<Item = (&'t Arc<Candidate>, MatchedBy)>,
    offer: &ClientOffer<'_>,
) -> Option<Found<'t>> {
    let mut first = None;
    for (candidate, by) in candidates {
        let is_verifiable = can_verify(offer, candidate.key());
        let found = Found {
            candidate,
            by,
            is_verifiable,
        };
        if is_verifiable {
            return Some(found);
        }
        first = first.or(Some(found));
    }
    first
}

/// Whether a client verifies signatures of such a key. A suite of TLS 1.2 is for one family of keys, one of
/// TLS 1.3 for all.
fn can_verify(offer: &ClientOffer<'_>, key: KeyKind) -> bool {
    let schemes = offer.signature_schemes;
    let suites = offer.cipher_suites;
    let speaks_tls13 = suites.iter().any(|suite| TLS13.contains(suite));
    match key {
        KeyKind::Rsa => {
            schemes.iter().any(|scheme| RSA.contains(scheme))
                && (speaks_tls13 || suites.iter().any(|suite| ECDHE_RSA.contains(suite)))
        }
        KeyKind::Scheme(scheme) => {
            let curve = match scheme {
                SignatureScheme::ECDSA_NISTP256_SHA256 => Some(NamedGroup::secp256r1),
                SignatureScheme::ECDSA_NISTP384_SHA384 => Some(NamedGroup::secp384r1),
                SignatureScheme::ECDSA_NISTP521_SHA512 => Some(NamedGroup::secp521r1),
                _ => None,
            };
            let on_curve = match (curve, offer.named_groups) {
                (Some(curve), Some(groups)) => groups.contains(&curve),
                _ => true,
            };
            schemes.contains(&scheme)
                && (speaks_tls13 || on_curve && suites.iter().any(|suite| ECDHE_ECDSA.contains(suite)))
        }
    }
}

const TLS13: [CipherSuite; 3] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS13_AES_256_GCM_SHA384,
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
];
const ECDHE_ECDSA: [CipherSuite; 3] = [
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
];
const ECDHE_RSA: [CipherSuite; 3] = [
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];
pub(super) const RSA: [SignatureScheme; 6] = [
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
];
