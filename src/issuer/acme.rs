//! An issuer at a CA that speaks ACME (RFC 8555).
//!
//! One [`AcmeIssuer`] serves many certificates at once: they share an account and its connections and wait for
//! nothing else together. Nothing happens on the network before the first request.

mod account;
mod alternate;
mod authorize;
mod ca_clock;
mod course;
mod directory;
mod http;
mod identities;
mod limits;
mod placed;
mod placing;
mod pursuit;
mod renewal_info;
mod signed;
mod upkeep;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rustls::pki_types::CertificateDer;

use self::account::{Accounts, Session};
use self::course::Course;
use self::http::RequestFailure;
use self::identities::Identities;
use self::pursuit::Pursuit;
use crate::certificate::{CertificateName, CredentialPem, RevocationReason};
use crate::clock::{Clock, Timestamp};
use crate::config::{AcmeConfig, ChallengeType};
use crate::inventory::Inventory;
use crate::issuer::ledger::Ledger;
use crate::issuer::{
    Account, AccountInfo, ChallengeSolver, IssueError, IssueRequest, Issuer, RateLimit, RenewalInfo,
};
use crate::name::DnsName;

/// An account at a CA of RFC 8555, and everything needed to obtain certificates with it.
pub struct AcmeIssuer {
    name: String,
    config: AcmeConfig,
    inventory: Inventory,
    solver: Arc<dyn ChallengeSolver>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    accounts: Accounts,
    /// URLs of the orders that are being pursued, so that no two certificates with the same names share one.
    pursued: Mutex<HashSet<String>>,
    /// URLs of the account's orders that the last search for a lost one found to be over. Held for the whole of a search: one
    /// after the other, for each may read hundreds of orders, and a CA has better to do.
    over: tokio::sync::Mutex<HashSet<String>>,
    /// Held while what is left of the CA's rate limits is changed: one attempt after the other.
    counting: tokio::sync::Mutex<()>,
    /// The challenges that failed last for a certificate. They are tried after the others next time.
    failed: Mutex<HashMap<CertificateName, Vec<ChallengeType>>>,
    identities: Identities,
}

/// How long anything may take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// To connect to the CA.
    pub connect: Duration,
    /// From a request to the last byte of its answer.
    pub request: Duration,
    /// One attempt at one certificate, all in all. The order is kept when this runs out.
    pub issuance: Duration,
    /// Before the state of an order is looked at for the first time; later looks are further and further apart.
    pub first_poll: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            request: Duration::from_secs(30),
            issuance: Duration::from_secs(300),
            first_poll: Duration::from_millis(250),
        }
    }
}

impl AcmeIssuer {
    /// An issuer called `name` in the configuration.
    pub fn new(
        name: &str,
        config: &AcmeConfig,
        inventory: Inventory,
        solver: Arc<dyn ChallengeSolver>,
        clock: Arc<dyn Clock>,
        limits: Limits,
    ) -> Self {
        Self {
            name: name.to_owned(),
            config: config.clone(),
            accounts: Accounts::new(name, config, inventory.clone(), clock.clone(), limits),
            inventory,
            solver,
            clock,
            limits,
            pursued: Mutex::default(),
            over: tokio::sync::Mutex::default(),
            counting: tokio::sync::Mutex::default(),
            failed: Mutex::default(),
            identities: Identities::default(),
        }
    }

    /// The challenges of `choice`, or else the configured ones, those that failed last time at the end.
    fn challenges(
        &self,
        certificate: &CertificateName,
        choice: Option<&Vec<ChallengeType>>,
    ) -> Vec<ChallengeType> {
        let mut challenges = choice.unwrap_or(&self.config.challenges).clone();
        if let Some(failed) = lock(&self.failed).get(certificate) {
            challenges.sort_by_key(|kind| failed.contains(kind));
        }
        challenges
    }

    async fn attempt(
        &self,
        request: &IssueRequest<'_>,
        course: &Course<'_>,
    ) -> Result<CredentialPem, IssueError> {
        let mut lost_account: Option<String> = None;
        // Of a hundred names there are hundreds of requests that a CA may refuse the nonce of.
        for _ in 1..TRIES + request.desired.domains.len() / 10 {
            let mut session = None;
            match self
                .pursue(request, course, lost_account.as_deref(), &mut session)
                .await
            {
                // What was reached is in the journal, so going on is no new beginning.
                Err(error) if error.is_problem("badNonce") => {
                    let name = &request.desired.name;
                    tracing::debug!(certificate = %name, issuer = self.name, "the CA keeps refusing nonces; going on");
                }
                Err(error)
                    if error.is_problem("accountDoesNotExist")
                        && session.is_some()
                        && lost_account.is_none() =>
                {
                    lost_account = session.map(|session| session.account.id().to_owned());
                }
                Err(error) if self.is_of_a_former_key(&error, session.as_deref()).await => {
                    let name = &request.desired.name;
                    tracing::info!(
                        certificate = %name,
                        issuer = self.name,
                        "the account has changed while the order was under way; going on with what it is now"
                    );
                }
                done => return done,
            }
        }
        self.pursue(request, course, None, &mut None).await
    }

    /// Whether a request was refused that was signed with what is not the account's key any more.
    async fn is_of_a_former_key(&self, error: &IssueError, session: Option<&Session>) -> bool {
        // What CAs say of a signature that does not verify, and of an account that has ended.
        let of_the_signature = error.is_problem("malformed") || error.is_problem("unauthorized");
        match session.filter(|_| of_the_signature) {
            Some(session) => self.accounts.has_changed_since(session).await.unwrap_or(false),
            None => false,
        }
    }

    /// One try; `session` is the one it is made with, once there is one.
    async fn pursue(
        &self,
        request: &IssueRequest<'_>,
        course: &Course<'_>,
        lost_account: Option<&str>,
        session: &mut Option<Arc<Session>>,
    ) -> Result<CredentialPem, IssueError> {
        let session = session.insert(self.accounts.current(lost_account, request).await?);
        let pursuit = Pursuit {
            issuer: self,
            session,
            request,
            course,
        };
        pursuit.run().await
    }
}

#[async_trait]
impl Issuer for AcmeIssuer {
    fn name(&self) -> &str {
        &self.name
    }

    async fn issue(&self, request: &IssueRequest<'_>) -> Result<CredentialPem, IssueError> {
        let name = &request.desired.name;
        let course = Course::new(request);
        let result = match tokio::time::timeout(self.limits.issuance, self.attempt(request, &course)).await {
            Ok(result) => result,
            Err(_) => Err(course.unfinished(self.limits.issuance, None)),
        };
        match &result {
            Ok(_) => {
                lock(&self.failed).remove(name);
            }
            Err(IssueError::OrderInvalid { failures, .. }) => {
                let has_failed =
                    |kind: &ChallengeType| failures.iter().any(|failure| failure.challenge == kind.word());
                let failed: Vec<_> = self
                    .config
                    .challenges
                    .iter()
                    .copied()
                    .filter(has_failed)
                    .collect();
                lock(&self.failed).insert(name.clone(), failed);
            }
            Err(_) => {}
        }
        result
    }

    fn account(&self) -> Option<&dyn Account> {
        Some(self)
    }

    async fn ledger(&self) -> Result<Option<Ledger>, IssueError> {
        AcmeIssuer::ledger(self).await
    }

    async fn caa_identities(&self) -> Vec<DnsName> {
        self.identities.of(&self.accounts).await
    }

    fn gives_renewal_info(&self) -> bool {
        true
    }

    async fn renewal_info(&self, certificate: &CertificateDer<'_>) -> Result<RenewalInfo, IssueError> {
        self.ask_renewal_info(certificate).await
    }
}

#[async_trait]
impl Account for AcmeIssuer {
    async fn info(&self) -> Result<Option<AccountInfo>, IssueError> {
        self.accounts.info().await
    }

    async fn used_limits(&self) -> Result<Vec<RateLimit>, IssueError> {
        AcmeIssuer::used_limits(self).await
    }

    async fn roll_over(&self) -> Result<(), IssueError> {
        self.accounts.roll_over().await
    }

    async fn deactivate(&self) -> Result<(), IssueError> {
        self.accounts.deactivate().await
    }

    async fn revoke(
        &self,
        certificate: &CertificateDer<'_>,
        reason: RevocationReason,
    ) -> Result<(), IssueError> {
        self.accounts.revoke(certificate, reason).await
    }
}

/// What an error of instant-acme means while something was being done.
fn during(doing: &'static str) -> impl Fn(instant_acme::Error) -> IssueError {
    move |error| match error {
        instant_acme::Error::Api(problem) => IssueError::Refused {
            doing,
            status: problem.status.unwrap_or(400),
            problem: Some(Box::new(problem)),
            excerpt: String::new(),
            retry_after: None,
            page: None,
        },
        instant_acme::Error::Other(cause) => match cause.downcast::<RequestFailure>() {
            Ok(failure) => failure.during(doing),
            Err(cause) => IssueError::Garbled {
                doing,
                reason: cause.to_string(),
            },
        },
        error => IssueError::Garbled {
            doing,
            reason: error.to_string(),
        },
    }
}

/// When a CA that gave a monotonic moment wants to be asked again.
fn wall_time(at: std::time::Instant, clock: &dyn Clock) -> Timestamp {
    clock.now() + at.saturating_duration_since(std::time::Instant::now())
}

/// What these locks guard is whole after every statement.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often one attempt goes on after a refused nonce or with another account.
const TRIES: usize = 6;
