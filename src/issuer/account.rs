//! What an operator can have done with an issuer's account at its CA.

use async_trait::async_trait;
use rustls::pki_types::CertificateDer;

use crate::certificate::RevocationReason;
use crate::clock::Timestamp;
use crate::issuer::IssueError;

/// An account at a CA, registered with the first order (RFC 8555 §7.3).
#[async_trait]
pub trait Account: Send + Sync {
    /// What is known of it; `None` before it is registered. Nothing is asked of the CA.
    ///
    /// # Errors
    /// The inventory's.
    async fn info(&self) -> Result<Option<AccountInfo>, IssueError>;

    /// What it has used of the CA's rate limits, the scarcest first. Nothing is asked of the CA.
    ///
    /// # Errors
    /// The inventory's.
    async fn used_limits(&self) -> Result<Vec<RateLimit>, IssueError>;

    /// Gives it a new key (RFC 8555 §7.3.5). One that is interrupted is settled at the next use.
    ///
    /// # Errors
    /// [`IssueError`]; after one that is no refusal of the CA either key may hold.
    async fn roll_over(&self) -> Result<(), IssueError>;

    /// Ends it for good (RFC 8555 §7.3.6). The next order registers another.
    ///
    /// # Errors
    /// [`IssueError`]; it stands then.
    async fn deactivate(&self) -> Result<(), IssueError>;

    /// Has the CA revoke a certificate that was issued to it (RFC 8555 §7.6); one that is revoked already is no error.
    ///
    /// # Errors
    /// [`IssueError`] when the CA does not.
    async fn revoke(
        &self,
        certificate: &CertificateDer<'_>,
        reason: RevocationReason,
    ) -> Result<(), IssueError>;
}

/// What is known of an account.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AccountInfo {
    /// Its URL, as CAA records name it (RFC 8657 §3).
    pub url: String,
    /// Its contact URLs.
    pub contact: Vec<String>,
}

/// A rate limit that was used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RateLimit {
    /// What is limited, in words.
    pub limit: String,
    /// How many are left.
    pub left: u32,
    /// How many there are when none was used.
    pub allowed: u32,
    /// When there is one to use; now where there is one.
    pub next_at: Timestamp,
}
