//! `on_demand` of a listener.

use std::time::Duration;

use crate::certificate::KeyType;
use crate::name::{DnsName, NamePattern};

/// Which certificates the first handshake for a name may have obtained, and how.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OnDemandConfig {
    /// The http or https URL that is asked about names, with `domain=NAME` added to its query.
    pub ask: Option<String>,
    /// Names that need not be asked about.
    pub names: Vec<NamePattern>,
    /// Trees of which no name is obtained, whatever else says so.
    pub except: Vec<DnsName>,
    /// The issuers, in the order in which they are tried; never empty.
    pub issuers: Vec<String>,
    /// The kind of key.
    pub key_type: KeyType,
    /// How long a handshake waits for its certificate; zero: it is refused at once.
    pub wait: Duration,
    /// How long it is remembered that a name was denied.
    pub denied_ttl: Duration,
    /// A certificate that no handshake has asked for in so long is removed.
    pub unused_after: Duration,
    /// Names that may be looked into in any minute.
    pub max_asks_per_minute: usize,
    /// New names that may be ordered in any hour.
    pub max_orders_per_hour: usize,
}
