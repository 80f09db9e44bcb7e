//! What a CA says of when to renew (RFC 9773).

use crate::certificate::RenewalWindow;
use crate::clock::Timestamp;

/// The answer of a CA that was asked about one of its certificates.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RenewalInfo {
    /// When it suggests to renew; `None` where it has nothing of use to say.
    pub window: Option<RenewalWindow>,
    /// When it wants to be asked again; `None` where it does not say.
    pub ask_at: Option<Timestamp>,
}
