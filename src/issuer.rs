//! Who signs: an ACME account at a CA of the world, or a CA of the gateway's own; and certificates that others
//! obtained and left as files.
//!
//! An [`Issuer`] is asked for one certificate at a time, by whoever holds that certificate's lease, and answers with
//! a chain and key that are what was asked for, or with an [`IssueError`] that says when asking again makes sense.
//! [`AcmeIssuer`] speaks RFC 8555 and journals its orders, so that a crash costs no second one; [`LocalCa`] signs
//! itself. [`FileSource`] is no issuer: it watches files and imports what fits.

mod account;
mod acme;
mod challenge;
mod error;
mod failure;
mod files;
pub mod ledger;
mod local_ca;
mod renewal_info;

use std::fmt;

use async_trait::async_trait;
use certgate_store::Lease;
use rustls::pki_types::CertificateDer;

pub use account::{Account, AccountInfo, RateLimit};
pub use acme::{AcmeIssuer, Limits};
pub use challenge::{Challenge, ChallengeChoices, ChallengeSolver, Round, SolveError};
pub use error::{IssueError, ValidationFailure};
pub use failure::FailureClass;
pub use files::{FileProblem, FileSource, file_problems};
pub use local_ca::{
    ClientAuthority, ClientCaError, ClientRequest, ClientRequestProblem, IssuedClient, LocalCa,
};
pub use renewal_info::RenewalInfo;

use crate::certificate::{CertificateName, CredentialPem, DesiredCertificate};
use crate::config::ChallengeType;
use crate::issuer::ledger::Ledger;
use crate::name::{DnsName, NamePattern};

/// Signs certificates.
#[async_trait]
pub trait Issuer: Send + Sync {
    /// Its name in the configuration.
    fn name(&self) -> &str;

    /// Obtains one certificate with a new key, and checks it against what was asked. Ends in bounded time. The
    /// future may be dropped at any moment; the next request takes up what was begun.
    ///
    /// # Errors
    /// [`IssueError`]; its [`class`](IssueError::class) says when to ask again.
    async fn issue(&self, request: &IssueRequest<'_>) -> Result<CredentialPem, IssueError>;

    /// Its account at a CA; `None` for a CA of the gateway's own.
    fn account(&self) -> Option<&dyn Account> {
        None
    }

    /// What is left of its CA's rate limits, by what was counted here; `None` where none are known. Nothing is asked of
    /// the CA.
    ///
    /// # Errors
    /// The inventory's.
    async fn ledger(&self) -> Result<Option<Ledger>, IssueError> {
        Ok(None)
    }

    /// The names by which CAA records mean its CA, as far as the CA itself says them (RFC 8555 §7.1.1, `caaIdentities`).
    /// Ends in bounded time, whatever the CA does.
    async fn caa_identities(&self) -> Vec<DnsName> {
        Vec::new()
    }

    /// Whether it may have something to say of when to renew what it has signed.
    fn gives_renewal_info(&self) -> bool {
        false
    }

    /// What it says of when to renew `certificate`, which it has signed (RFC 9773). Ends in bounded time.
    ///
    /// # Errors
    /// [`IssueError`] where it could not be asked. A CA that has nothing to say is no error.
    async fn renewal_info(&self, certificate: &CertificateDer<'_>) -> Result<RenewalInfo, IssueError> {
        let _ = certificate;
        Ok(RenewalInfo::default())
    }
}

/// What an issuer is asked for.
#[derive(Clone, Copy)]
pub struct IssueRequest<'a> {
    /// The certificate.
    pub desired: &'a DesiredCertificate,
    /// The lease on it; everything that is written about it is written under this lease.
    pub lease: &'a Lease,
    /// The certificate of the same issuer that the new one is to replace, if there is one (RFC 9773 §5).
    pub replaces: Option<&'a CertificateDer<'static>>,
    /// The challenges that can work, as far as that is known before the CA is asked.
    pub challenges: &'a ChallengeChoices,
    /// Who is told of each step.
    pub progress: &'a dyn Progress,
}

/// Told what an issuer is doing, for people who wait.
pub trait Progress: Send + Sync {
    /// The certificate has reached a step. Called from the task that issues; must not block.
    fn step(&self, certificate: &CertificateName, step: Step);
}

/// What is being done for a certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// An account is registered with the CA.
    CreatingAccount,
    /// The answer to a challenge is put in place.
    Presenting {
        /// The name to be validated.
        domain: DnsName,
        /// How.
        challenge: ChallengeType,
    },
    /// The CA is asked for an order.
    PlacingOrder,
    /// An order that was begun earlier is taken up again.
    ResumingOrder,
    /// A CA of the gateway's own signs.
    Signing,
    /// Other orders are at what the answers need.
    WaitingForTurn {
        /// How many names are yet to be validated.
        names: usize,
    },
    /// The CA signs.
    WaitingForCertificate,
    /// The CA looks for the answers.
    WaitingForValidation {
        /// The names to be validated, each with how.
        domains: Vec<(DnsName, ChallengeType)>,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = error::challenge_name;
        let shown = |domain: &DnsName| NamePattern::Exact(domain.clone());
        match self {
            Self::CreatingAccount => f.write_str("creating an account"),
            Self::Presenting { domain, challenge } => {
                write!(
                    f,
                    "preparing to validate {} by {}",
                    shown(domain),
                    named(*challenge)
                )
            }
            Self::PlacingOrder => f.write_str("placing an order"),
            Self::ResumingOrder => f.write_str("taking up the order begun earlier"),
            Self::Signing => f.write_str("signing"),
            Self::WaitingForTurn { names } => write!(
                f,
                "waiting for other certificates whose records go to the same place ({names} {} to be validated)",
                if *names == 1 { "name is" } else { "names are" }
            ),
            Self::WaitingForCertificate => f.write_str("waiting for the certificate"),
            Self::WaitingForValidation { domains } => match domains.as_slice() {
                [] => f.write_str("waiting for the CA to be ready"),
                [(domain, kind)] => {
                    write!(
                        f,
                        "waiting for validation of {} by {}",
                        shown(domain),
                        named(*kind)
                    )
                }
                [(domain, kind), more @ ..] => write!(
                    f,
                    "waiting for validation of {} by {} and of {} more",
                    shown(domain),
                    named(*kind),
                    more.len()
                ),
            },
        }
    }
}
