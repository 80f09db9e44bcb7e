//! Why a handshake gets no certificate.

/// Why no certificate was obtained for the server name of a handshake, or not in time for it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, thiserror::Error)]
pub enum Denial {
    /// As many names were looked into as may be in a minute.
    #[error("too many new names were asked for in the last minute")]
    AsksLimited,
    /// It is being looked into or obtained, and the handshake does not wait for it, or not so long.
    #[error(
        "the certificate for the server name is not there yet; if it may be obtained, a later handshake gets it"
    )]
    Awaited,
    /// As many names are being looked into, or handshakes wait, as may at a time.
    #[error("too many handshakes for new names are waiting")]
    Busy,
    /// DNS is against an order.
    #[error("DNS does not let a certificate be obtained for the server name")]
    Dns,
    /// It is in a tree that the listener leaves out.
    #[error("no certificate may be obtained for the server name: it is one of `except`")]
    Excluded,
    /// The issuer did not give one.
    #[error("no certificate could be obtained for the server name")]
    Failed,
    /// It is nothing that a certificate could be for.
    #[error("the server name is no host name that a certificate could be for")]
    InvalidName,
    /// Neither the ask URL nor a pattern allows it.
    #[error("no certificate may be obtained for the server name")]
    NotAllowed,
    /// As many new names were ordered as may be in an hour.
    #[error("too many certificates for new names were ordered in the last hour")]
    OrdersLimited,
    /// The ask URL gives no answer that counts.
    #[error("whether a certificate may be obtained for the server name could not be found out")]
    Unanswered,
}

impl Denial {
    /// Every one, in the order of the alphabet.
    pub const ALL: [Self; 10] = [
        Self::AsksLimited,
        Self::Awaited,
        Self::Busy,
        Self::Dns,
        Self::Excluded,
        Self::Failed,
        Self::InvalidName,
        Self::NotAllowed,
        Self::OrdersLimited,
        Self::Unanswered,
    ];

    /// The word in labels, log lines and answers of the API.
    pub const fn label(self) -> &'static str {
        match self {
            Self::AsksLimited => "asks-limited",
            Self::Awaited => "awaited",
            Self::Busy => "busy",
            Self::Dns => "dns",
            Self::Excluded => "excluded",
            Self::Failed => "failed",
            Self::InvalidName => "invalid-name",
            Self::NotAllowed => "not-allowed",
            Self::OrdersLimited => "orders-limited",
            Self::Unanswered => "unanswered",
        }
    }
}
