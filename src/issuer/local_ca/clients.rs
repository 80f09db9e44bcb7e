//! The CA for clients: it signs, it revokes, and it always has a CRL in date.

use certgate_store::Expect;

use crate::certificate::RevocationReason;
use crate::clock::Timestamp;
use crate::inventory::{CaPair, ClientCertificateRecord, CrlRecord, InventoryError, Revoked, Versioned};
use crate::issuer::IssueError;
use crate::issuer::local_ca::{
    ClientRequest, ClientRequestProblem, LocalCa, SAVE_TRIES, Wanted, authority, client, crl, is_conflict,
    off_thread,
};

/// What clients with a certificate of a local CA are verified against. Nothing of it is secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientAuthority {
    /// The root's certificate, in PEM.
    pub root_pem: String,
    /// The certificate of the CA below it that signs for clients, in PEM.
    pub certificate_pem: String,
    /// What that CA has revoked.
    pub crl: CrlRecord,
}

impl ClientAuthority {
    /// When the next CRL is to be signed.
    pub fn due(&self, now: Timestamp) -> Timestamp {
        crl::due(Some(&self.crl), now)
    }
}

/// A client certificate as it is handed out.
#[derive(Clone, Debug)]
pub struct IssuedClient {
    /// What is kept of it.
    pub record: ClientCertificateRecord,
    /// The certificate and the CA that has signed it, in PEM.
    pub chain_pem: String,
}

/// Why a local CA did not do something for a client certificate.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientCaError {
    /// The CA failed.
    #[error(transparent)]
    Ca(#[from] IssueError),
    /// What is asked for cannot be signed.
    #[error(transparent)]
    Request(#[from] ClientRequestProblem),
    /// It has signed no such certificate.
    #[error("`{issuer}` has signed no client certificate with the serial number {}", serial.escape_debug())]
    Unknown {
        /// The CA.
        issuer: String,
        /// What was asked for.
        serial: String,
    },
}

impl From<InventoryError> for ClientCaError {
    fn from(source: InventoryError) -> Self {
        Self::Ca(source.into())
    }
}

impl LocalCa {
    /// The CA for clients with a CRL in date. Both are made where they are not there yet.
    ///
    /// # Errors
    /// [`IssueError::Inventory`] and [`IssueError::Signing`].
    pub async fn client_authority(&self) -> Result<ClientAuthority, IssueError> {
        let record = self.record(Wanted::Clients).await?;
        for _ in 1..SAVE_TRIES {
            match self.with_crl(&record.root, record.clients.as_ref()).await {
                Err(error) if is_conflict(&error) => {}
                done => return done,
            }
        }
        self.with_crl(&record.root, record.clients.as_ref()).await
    }

    /// The same where there is one already; nothing is made but a CRL that is due.
    ///
    /// # Errors
    /// As [`client_authority`](Self::client_authority).
    pub async fn known_client_authority(&self) -> Result<Option<ClientAuthority>, IssueError> {
        let known = self.inventory.local_ca(&self.name).await?;
        match known.and_then(|known| known.value.clients) {
            Some(_) => self.client_authority().await.map(Some),
            None => Ok(None),
        }
    }

    /// Signs a certificate for a client; `crl_url` is where its CRL will be found. It is noted before it is handed out.
    ///
    /// # Errors
    /// [`ClientCaError::Request`] when it cannot be signed as asked, and the CA's own.
    pub async fn issue_client(
        &self,
        request: ClientRequest,
        crl_url: Option<String>,
    ) -> Result<IssuedClient, ClientCaError> {
        let key = request.checked()?;
        self.check_permitted(&request.dns)?;
        let record = self.record(Wanted::Clients).await?;
        let now = self.clock.now();
        let not_after = authority::not_after(&record.root)?;
        if now + client::lifetime(&request) > not_after {
            return Err(ClientRequestProblem::OutlivesRoot { not_after }.into());
        }
        let clients = present(record.clients)?;
        let work = move || client::sign(&clients, &request, &key, crl_url, now);
        let (record, chain_pem) = off_thread(work).await?;
        self.inventory
            .save_client_certificate(&self.name, &record)
            .await?;
        Ok(IssuedClient { record, chain_pem })
    }

    /// Revokes a certificate: the next CRL names it, and both are durable on return. To revoke one again changes
    /// nothing; neither time nor reason, and there is no new CRL.
    ///
    /// # Errors
    /// [`ClientCaError::Unknown`] for a serial number that was never given, and the CA's own.
    pub async fn revoke_client(
        &self,
        serial: &str,
        reason: RevocationReason,
    ) -> Result<(ClientCertificateRecord, ClientAuthority), ClientCaError> {
        for _ in 1..SAVE_TRIES {
            match self.revoke_once(serial, reason).await {
                Err(ClientCaError::Ca(error)) if is_conflict(&error) => {}
                done => return done,
            }
        }
        self.revoke_once(serial, reason).await
    }

    async fn revoke_once(
        &self,
        serial: &str,
        reason: RevocationReason,
    ) -> Result<(ClientCertificateRecord, ClientAuthority), ClientCaError> {
        let known = self.inventory.client_certificate(&self.name, serial).await?;
        let Some(mut known) = known else {
            return Err(ClientCaError::Unknown {
                issuer: self.name.clone(),
                serial: serial.to_owned(),
            });
        };
        if known.value.revoked.is_some() {
            return Ok((known.value, self.client_authority().await?));
        }
        known.value.revoked = Some(Revoked {
            at: self.clock.now(),
            reason,
        });
        let record = self.record(Wanted::Clients).await?;
        let clients = present(record.clients)?;
        let before = self.inventory.crl(&self.name).await?;
        let crl = self.next_crl(&clients, before, Some(&known)).await?;
        let authority = ClientAuthority {
            root_pem: record.root.certificate,
            certificate_pem: clients.certificate,
            crl,
        };
        Ok((known.value, authority))
    }

    async fn with_crl(&self, root: &CaPair, clients: Option<&CaPair>) -> Result<ClientAuthority, IssueError> {
        let clients = present(clients.cloned())?;
        let known = self.inventory.crl(&self.name).await?;
        let now = self.clock.now();
        let crl = match known {
            Some(known) if now < crl::due(Some(&known.value), now) => known.value,
            known => self.next_crl(&clients, known, None).await?,
        };
        Ok(ClientAuthority {
            root_pem: root.certificate.clone(),
            certificate_pem: clients.certificate,
            crl,
        })
    }

    /// Signs the CRL after `known`, in which `revoked` has changed, and writes both.
    async fn next_crl(
        &self,
        clients: &CaPair,
        known: Option<Versioned<CrlRecord>>,
        revoked: Option<&Versioned<ClientCertificateRecord>>,
    ) -> Result<CrlRecord, IssueError> {
        let mut certificates = self.inventory.client_certificates(&self.name).await?;
        if let Some(revoked) = revoked {
            certificates.retain(|certificate| certificate.serial != revoked.value.serial);
            certificates.push(revoked.value.clone());
        }
        let (expect, known) = match known {
            Some(known) => (Expect::Revision(known.revision), Some(known.value)),
            None => (Expect::Absent, None),
        };
        let (clients, now) = (clients.clone(), self.clock.now());
        let crl = off_thread(move || crl::sign(&clients, known.as_ref(), &certificates, now)).await?;
        self.inventory.save_crl(&self.name, &crl, expect, revoked).await?;
        Ok(crl)
    }
}

fn present(clients: Option<CaPair>) -> Result<CaPair, IssueError> {
    clients.ok_or_else(|| IssueError::Garbled {
        doing: "use the local CA in the inventory",
        reason: "it has no CA for clients".to_owned(),
    })
}
