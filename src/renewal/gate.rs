//! The look at DNS before an order.

use async_trait::async_trait;

use crate::certificate::DesiredCertificate;
use crate::clock::Timestamp;
use crate::issuer::ChallengeChoices;

/// Says whether an order can succeed as far as DNS goes, so that none is spent where it cannot.
#[async_trait]
pub trait DnsGate: Send + Sync {
    /// The verdict for `desired`, which is about to be ordered from the first of `issuers`; where DNS is against that one
    /// until somebody changes something, from the next of them that it is not against.
    async fn check(&self, desired: &DesiredCertificate, issuers: &[String]) -> DnsVerdict;
}

/// Whether to order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DnsVerdict {
    /// Order.
    Go {
        /// From that issuer.
        issuer: String,
        /// The challenges that can work.
        challenges: ChallengeChoices,
    },
    /// Do not.
    No {
        /// What DNS says.
        reason: String,
        /// The records to add or change, in zone-file form.
        remedy: Vec<String>,
        /// When it will be as it should by itself, where that is known.
        until: Option<Timestamp>,
    },
}
