//! One order, from intent to certificate, or from wherever the last attempt left it.
//!
//! The journal is written before the CA is asked for an order (the intent, with the certificate's key), and again
//! as soon as the order has a URL. So a crash leaves one of these behind:
//!
//! | journal | at the CA | what the next attempt does |
//! | --- | --- | --- |
//! | nothing | nothing | places an order |
//! | intent | nothing | finds nothing in the account's list, places the order |
//! | intent | an order | finds it there and adopts it |
//! | URL | pending | answers the challenges again |
//! | URL | ready | finalizes with the journal's key |
//! | URL | processing, valid | waits, downloads: the certificate is for the journal's key |
//! | URL | invalid | reports the failed challenges; the journal ends |
//! | URL | nothing (404) | places another |
//!
//! The journal ends in the batch that installs the certificate, so there is no moment with neither.

use std::time::Duration;

use certgate_store::Lease;
use instant_acme::{Error, Order, OrderStatus, RetryPolicy};
use rcgen::{CertificateParams, DistinguishedName};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::certificate::{CertificateName, Credential, CredentialPem, PrivateKey};
use crate::inventory::{InventoryError, OrderRecord};
use crate::issuer::acme::account::Session;
use crate::issuer::acme::course::Course;
use crate::issuer::acme::{AcmeIssuer, during, lock, wall_time};
use crate::issuer::{IssueError, IssueRequest, Step};

/// One attempt at one certificate with one account.
pub(super) struct Pursuit<'a> {
    pub(super) issuer: &'a AcmeIssuer,
    pub(super) session: &'a Session,
    pub(super) request: &'a IssueRequest<'a>,
    pub(super) course: &'a Course<'a>,
}

impl Pursuit<'_> {
    /// Obtains the certificate. The journal says what was reached, whatever the outcome and also when this is
    /// given up half-way.
    pub(super) async fn run(&self) -> Result<CredentialPem, IssueError> {
        self.check_clock().await?;
        let (mut order, key) = self.open().await?;
        let _claim = self.claim(order.url());
        self.course.at(order.url());
        let result = self.complete(&mut order, &key).await;
        match &result {
            Ok(_) => self.account_for_success().await?,
            Err(error) => {
                self.account_for(error, !error.leaves_order()).await?;
                if !error.leaves_order() {
                    self.end_journal().await?;
                }
            }
        }
        result
    }

    /// Orders nothing under a wrong clock. What was seen may be old, and this machine may have slept since: a
    /// difference is looked at twice.
    async fn check_clock(&self) -> Result<(), IssueError> {
        if self.session.http.differing_time().is_none() {
            return Ok(());
        }
        let asked = self.session.nonce().await;
        asked.map_err(|failure| failure.during("ask for the CA's time"))?;
        match self.session.http.differing_time() {
            None => Ok(()),
            Some(ca) => Err(IssueError::WrongClock {
                here: self.issuer.clock.now(),
                ca,
            }),
        }
    }

    async fn open(&self) -> Result<(Order, PrivateKey), IssueError> {
        let Some(record) = self.journal().await? else {
            let record = self.intend().await?;
            return self.place(record).await;
        };
        self.course.step(Step::ResumingOrder);
        let Some(url) = record.order_url.clone() else {
            return match self.find_placed(&record).await {
                Ok(Some(order)) => self.note(record, order).await,
                Ok(None) => self.place(record).await,
                Err(error) if self.is_young(&record) => Err(error),
                Err(error) => {
                    tracing::warn!(certificate = %self.name(), %error, "cannot see whether there is an order already; another is placed");
                    self.place(record).await
                }
            };
        };
        match self
            .session
            .account
            .order(url.clone())
            .await
            .map_err(during("look at the order"))
        {
            Ok(order) => Ok((order, record.key)),
            Err(error) if error.leaves_order() => Err(error),
            Err(error) => {
                tracing::warn!(
                    certificate = %self.name(), order = url, %error,
                    "the CA has no such order any more; another is placed"
                );
                let record = self.intend().await?;
                self.place(record).await
            }
        }
    }

    /// The journal, where it is of this issuer, of this account, and for what is wanted now.
    async fn journal(&self) -> Result<Option<OrderRecord>, IssueError> {
        let record = match self.issuer.inventory.order(self.name()).await {
            Err(error @ InventoryError::Unreadable { .. }) => {
                tracing::warn!(certificate = %self.name(), %error, "the journal of an order is damaged; another is placed");
                None
            }
            read => read?,
        };
        Ok(record.filter(|record| {
            record.issuer == self.issuer.name
                && record.account_url == self.session.account.id()
                && record.digest == self.request.desired.digest()
        }))
    }

    /// Whether it is worth waiting until the CA can say what became of the intent.
    fn is_young(&self, intent: &OrderRecord) -> bool {
        self.issuer.clock.now().since(intent.created_at) < LONGEST_DOUBT
    }

    async fn complete(&self, order: &mut Order, key: &PrivateKey) -> Result<CredentialPem, IssueError> {
        if order.state().status == OrderStatus::Pending {
            self.authorize(order).await?;
        }
        if order.state().status == OrderStatus::Ready {
            let csr = self.csr(key)?;
            order
                .finalize_csr(&csr)
                .await
                .map_err(during("finalize the order"))?;
        }
        let text = match order.state().status {
            OrderStatus::Invalid => return Err(self.invalid(order).await),
            OrderStatus::Valid => self.download(order).await?,
            _ => {
                self.course.step(Step::WaitingForCertificate);
                match order.poll_certificate(&self.retries()).await {
                    Ok(text) => text,
                    Err(_) if order.state().status == OrderStatus::Invalid => {
                        return Err(self.invalid(order).await);
                    }
                    Err(error) => return Err(self.waited("wait for the certificate", error)),
                }
            }
        };
        let text = self.preferred(order, text).await;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        let chain = chain
            .ok()
            .filter(|chain| !chain.is_empty())
            .ok_or_else(|| IssueError::Garbled {
                doing: "download the certificate",
                reason: "it is not a PEM certificate chain (RFC 8555 §9.1)".to_owned(),
            })?;
        let pem = CredentialPem::new(chain, key);
        Credential::from_pem(&pem)?.check(&self.request.desired.domains, self.issuer.clock.now())?;
        Ok(pem)
    }

    async fn download(&self, order: &mut Order) -> Result<String, IssueError> {
        let text = order
            .certificate()
            .await
            .map_err(during("download the certificate"))?;
        text.ok_or_else(|| IssueError::Garbled {
            doing: "download the certificate",
            reason: "the order is valid, and then it is not".to_owned(),
        })
    }

    fn csr(&self, key: &PrivateKey) -> Result<Vec<u8>, IssueError> {
        let signing = |source| IssueError::Signing {
            source: std::sync::Arc::new(source),
        };
        let domains: Vec<_> = self
            .request
            .desired
            .domains
            .iter()
            .map(ToString::to_string)
            .collect();
        let mut params = CertificateParams::new(domains).map_err(signing)?;
        params.distinguished_name = DistinguishedName::new();
        let csr = params.serialize_request(&key.to_key_pair()?).map_err(signing)?;
        Ok(csr.der().to_vec())
    }

    /// An error of a wait for the CA.
    pub(super) fn waited(&self, doing: &'static str, error: Error) -> IssueError {
        match error {
            Error::Timeout(next) => {
                let next = next.map(|at| wall_time(at, self.issuer.clock.as_ref()));
                self.course.unfinished(self.issuer.limits.issuance, next)
            }
            error => during(doing)(error),
        }
    }

    pub(super) fn retries(&self) -> RetryPolicy {
        RetryPolicy::new()
            .initial_delay(self.issuer.limits.first_poll)
            .backoff(1.5)
            .timeout(self.issuer.limits.issuance)
    }

    pub(super) async fn save(&self, record: &OrderRecord) -> Result<(), IssueError> {
        Ok(self
            .issuer
            .inventory
            .save_order(self.name(), record, self.lease())
            .await?)
    }

    pub(super) async fn end_journal(&self) -> Result<(), IssueError> {
        Ok(self
            .issuer
            .inventory
            .remove_order(self.name(), self.lease())
            .await?)
    }

    fn claim(&self, url: &str) -> Claim<'_> {
        lock(&self.issuer.pursued).insert(url.to_owned());
        Claim {
            issuer: self.issuer,
            url: url.to_owned(),
        }
    }

    pub(super) fn name(&self) -> &CertificateName {
        &self.request.desired.name
    }

    fn lease(&self) -> &Lease {
        self.request.lease
    }
}

/// A CA that cannot list its orders for so long shall not keep a certificate from being issued.
const LONGEST_DOUBT: Duration = Duration::from_secs(3600);

/// An order that is being pursued.
struct Claim<'a> {
    issuer: &'a AcmeIssuer,
    url: String,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        lock(&self.issuer.pursued).remove(&self.url);
    }
}
