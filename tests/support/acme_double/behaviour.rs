//! What the server does, as a test changes it.

use std::collections::BTreeSet;
use std::time::Duration;

/// What the server does with whoever asks for a certificate. Changed with [`AcmeDouble::change`].
pub(crate) struct Behaviour {
    /// Names for which a new order never gets an answer.
    pub hanging: BTreeSet<String>,
    /// Names whose validation always fails.
    pub failing: BTreeSet<String>,
    /// How the right to a name is validated.
    pub validation: Validation,
    /// The authorizations of a new order.
    pub authorizations: Authorizations,
    /// The challenges offered.
    pub challenges: Vec<&'static str>,
    /// Validation does not come to an end while this is set.
    pub validating: bool,
    /// Finalized orders stay `processing` while this is set.
    pub processing: bool,
    /// `Retry-After` with every order that is pending or processing.
    pub retry_after: Option<String>,
    /// What is issued.
    pub certificate: Issued,
    /// The validity of what is issued.
    pub lifetime: Duration,
    /// Whether accounts have a list of their orders.
    pub lists_orders: bool,
    /// So many of the next good nonces are refused.
    pub refused_nonces: usize,
    /// The token of the next challenges; a random one where there is none.
    pub token: Option<String>,
    /// What is said of when to renew; where there is none, the server gives no renewal information at all.
    pub renewal_window: Option<Window>,
    /// `Retry-After` with it.
    pub ask_again: Option<String>,
    /// What is done about an order that says which certificate it replaces.
    pub replacing: Replacing,
    /// The profiles that can be ordered. A certificate of `shortlived` is valid for [`SHORTLIVED`], whatever `lifetime` says.
    pub profiles: Vec<&'static str>,
    /// What the directory says of the names by which CAA records mean the CA.
    pub caa_identities: Option<serde_json::Value>,
    /// So many seconds the server's clock is ahead of that of the client.
    pub ahead: i64,
}

/// How long a certificate of the profile `shortlived` is valid, as that of Let's Encrypt.
pub(crate) const SHORTLIVED: Duration = Duration::from_secs(160 * 3600);

/// How the right to a name is validated.
#[derive(Clone, Copy)]
pub(crate) enum Validation {
    /// http-01 by a real request to this port of 127.0.0.1; other challenges are taken on trust.
    Http01 { port: u16 },
    /// By taking the client's word.
    Trust,
}

/// The authorizations of a new order.
#[derive(Clone, Copy)]
pub(crate) enum Authorizations {
    /// None at all; the order is ready.
    Empty,
    /// One for each name, pending.
    Pending,
    /// One for each name, valid from an earlier order.
    Valid,
    /// One for each name, and one more.
    WithStranger,
}

/// When to renew, in seconds from when it is asked (RFC 9773 §4.2).
#[derive(Clone, Copy)]
pub(crate) struct Window {
    pub start: i64,
    pub end: i64,
}

/// What is done about an order that says which certificate it replaces (RFC 9773 §5).
#[derive(Clone, Copy)]
pub(crate) enum Replacing {
    /// The order repeats it.
    Understood,
    /// The order is made, and does not repeat it.
    Ignored,
    /// It is refused with this problem.
    Refused(u16, &'static str),
}

/// What is issued.
#[derive(Clone, Copy)]
pub(crate) enum Issued {
    /// The leaf, and a certificate that did not sign it.
    BrokenChain,
    /// What was asked for.
    Right,
    /// Something that is not PEM.
    NotPem,
    /// A certificate for a key of the CA's own.
    OtherKey,
    /// A certificate for `other.example`.
    OtherNames,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            hanging: BTreeSet::new(),
            failing: BTreeSet::new(),
            validation: Validation::Trust,
            authorizations: Authorizations::Pending,
            challenges: vec!["dns-01", "http-01", "tls-alpn-01"],
            validating: false,
            processing: false,
            retry_after: None,
            certificate: Issued::Right,
            lifetime: Duration::from_secs(90 * 86_400),
            lists_orders: true,
            refused_nonces: 0,
            token: None,
            renewal_window: None,
            ask_again: None,
            replacing: Replacing::Understood,
            profiles: Vec::new(),
            caa_identities: None,
            ahead: 0,
        }
    }
}
