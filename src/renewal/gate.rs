//! The look at DNS before an order.

use std::time::Duration;

use async_trait::async_trait;

use crate::certificate::DesiredCertificate;
use crate::clock::Timestamp;
use crate::issuer::ChallengeChoices;

/// Says whether an order can succeed as far as DNS goes, so that none is spent where it cannot.
#[async_trait]
pub trait DnsGate: Send + Sync {
    /// The verdict for `desired`, which is about to be ordered from the first of `candidates`; where DNS is against that one
    /// until somebody changes something, or was for long, from the next of them that it is not against.
    async fn check(&self, desired: &DesiredCertificate, candidates: &Candidates) -> DnsVerdict;
}

/// Who may be asked for a certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Candidates {
    /// The issuers, in the order in which they are asked.
    pub issuers: Vec<String>,
    /// Whether the certificate has waited long enough for what is right by itself some day.
    pub is_waiting_over: bool,
}

/// So long an order waits for one of several issuers, about as long as three failures of one take.
pub const WAITED: Duration = Duration::from_secs(600);

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
    No(Refusal),
}

/// Why not to order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// What DNS says.
    pub reason: String,
    /// The records to add or change, in zone-file form.
    pub remedy: Vec<String>,
    /// When it will be as it should by itself, where that is known.
    pub until: Option<Timestamp>,
    /// Whether it will not be before somebody changes something; otherwise an order waits.
    pub is_definite: bool,
}

impl Refusal {
    /// Nothing was found out, for `reason`.
    pub fn unknown(reason: String) -> Self {
        Self {
            reason,
            remedy: Vec::new(),
            until: None,
            is_definite: false,
        }
    }
}
