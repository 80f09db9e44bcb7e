//! What is done to an account itself: another key (RFC 8555 §7.3.5), its end (§7.3.6), and certificates that it
//! revokes (§7.6).
//!
//! The new key is in the store before the CA hears of it. After a crash the CA is asked which of the two it knows.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use certgate_store::{Expect, Revision};
use instant_acme::{RevocationReason as Wire, RevocationRequest};
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};

use crate::certificate::{KeyType, PrivateKey, RevocationReason};
use crate::inventory::{AccountRecord, InventoryError, Secret};
use crate::issuer::acme::account::{Accounts, Session};
use crate::issuer::acme::during;
use crate::issuer::acme::http::AcmeHttp;
use crate::issuer::acme::signed::Signer;
use crate::issuer::{AccountInfo, IssueError};

impl Accounts {
    /// The account, where there is one. Nothing is asked of the CA.
    pub(super) async fn info(&self) -> Result<Option<AccountInfo>, IssueError> {
        let known = self.inventory.account(&self.issuer).await?;
        let known = known.filter(|known| known.value.directory == self.config.directory);
        Ok(known.and_then(|known| {
            let credentials: Value = serde_json::from_str(known.value.credentials.expose()).ok()?;
            Some(AccountInfo {
                url: credentials.get("id")?.as_str()?.to_owned(),
                contact: known.value.contact,
            })
        }))
    }

    /// Gives the account a new key.
    pub(super) async fn roll_over(&self) -> Result<(), IssueError> {
        let session = self.registered().await?;
        let directory = session
            .directory()
            .await
            .map_err(|failure| failure.during(ROLL))?;
        let url = directory
            .key_change
            .as_deref()
            .ok_or_else(|| IssueError::Garbled {
                doing: ROLL,
                reason: "its directory has no keyChange".to_owned(),
            })?;
        let next = with_new_key(&session.credentials).await?;
        let (old, new) = (Signer::new(&session)?, Signer::with(&session, &next)?);
        let change = json!({"account": session.account.id(), "oldKey": old.jwk()});
        let inner = new.inner(url, &change).ok_or_else(|| IssueError::Garbled {
            doing: ROLL,
            reason: "the new key does not sign".to_owned(),
        })?;
        let intended = self
            .save(
                &session.credentials,
                Some(&next),
                Expect::Revision(session.revision),
            )
            .await?;
        match old.post(ROLL, url, &inner).await {
            Ok(_) => self.take_over(&session, &next, intended).await?,
            Err(error) => {
                // What is not a clear no may have been done; the next use of the account finds out.
                if has_no_new_key(&error) {
                    self.save(&session.credentials, None, Expect::Revision(intended))
                        .await?;
                }
                return Err(error);
            }
        }
        tracing::info!(
            issuer = self.issuer,
            account = session.account.id(),
            "the account has a new key"
        );
        Ok(())
    }

    /// Keeps the key that the CA has taken. Whoever used the account meanwhile may have asked before the CA had, and have
    /// settled it with the old one.
    async fn take_over(
        &self,
        session: &Session,
        next: &Secret,
        mut revision: Revision,
    ) -> Result<(), IssueError> {
        loop {
            let conflict = match self.save(next, None, Expect::Revision(revision)).await {
                Err(IssueError::Inventory { source })
                    if matches!(*source, InventoryError::Conflict { .. }) =>
                {
                    source
                }
                done => return done.map(drop),
            };
            match self.inventory.account(&self.issuer).await? {
                Some(known) if known.value.credentials == *next => return Ok(()),
                Some(known) if known.value.credentials == session.credentials => revision = known.revision,
                // Another account is there by now.
                _ => return Err(IssueError::Inventory { source: conflict }),
            }
        }
    }

    /// The session with the key that the CA knows, where a rollover was interrupted.
    pub(super) async fn settled(
        &self,
        http: &AcmeHttp,
        session: Session,
        known: &AccountRecord,
    ) -> Result<Session, IssueError> {
        let Some(next) = &known.next_credentials else {
            return Ok(session);
        };
        let asked = Signer::with(&session, next)?
            .post_as_get("see which key the account has", session.account.id())
            .await;
        let holds = match asked {
            Ok(_) => next,
            Err(error) if has_no_new_key(&error) => &known.credentials,
            Err(error) => return Err(error),
        };
        let revision = self.save(holds, None, Expect::Revision(session.revision)).await?;
        tracing::info!(
            issuer = self.issuer,
            "a change of the account's key that was interrupted has been settled"
        );
        let record = AccountRecord {
            credentials: holds.clone(),
            next_credentials: None,
            ..known.clone()
        };
        self.restore(http, &record, revision).await
    }

    /// Ends the account at the CA, and forgets it.
    pub(super) async fn deactivate(&self) -> Result<(), IssueError> {
        let session = self.registered().await?;
        Signer::new(&session)?
            .post(
                "deactivate the account",
                session.account.id(),
                &json!({"status": "deactivated"}),
            )
            .await?;
        let expect = Expect::Revision(session.revision);
        self.inventory.remove_account(&self.issuer, expect).await?;
        tracing::warn!(
            issuer = self.issuer,
            account = session.account.id(),
            "the account was deactivated"
        );
        Ok(())
    }

    pub(super) async fn revoke(
        &self,
        certificate: &CertificateDer<'_>,
        reason: RevocationReason,
    ) -> Result<(), IssueError> {
        let session = self.registered().await?;
        let request = RevocationRequest {
            certificate,
            reason: Some(match reason {
                RevocationReason::Unspecified => Wire::Unspecified,
                RevocationReason::KeyCompromise => Wire::KeyCompromise,
                RevocationReason::AffiliationChanged => Wire::AffiliationChanged,
                RevocationReason::Superseded => Wire::Superseded,
                RevocationReason::CessationOfOperation => Wire::CessationOfOperation,
                RevocationReason::PrivilegeWithdrawn => Wire::PrivilegeWithdrawn,
            }),
        };
        match session
            .account
            .revoke(&request)
            .await
            .map_err(during("revoke the certificate"))
        {
            // What is wanted is so already.
            Err(error) if error.is_problem("alreadyRevoked") => Ok(()),
            done => done,
        }
    }

    async fn registered(&self) -> Result<std::sync::Arc<Session>, IssueError> {
        self.known().await?.ok_or_else(|| IssueError::NoAccount {
            issuer: self.issuer.clone(),
        })
    }
}

/// Whether a refusal says that the CA has not taken a new key. Of an account that is lost it has none at all; whoever orders
/// next registers another.
fn has_no_new_key(error: &IssueError) -> bool {
    error.is_clear_no() || error.is_problem("accountDoesNotExist")
}

/// `credentials` with another key, made for the purpose.
async fn with_new_key(credentials: &Secret) -> Result<Secret, IssueError> {
    let broken = |reason: String| IssueError::Garbled { doing: ROLL, reason };
    let generated = tokio::task::spawn_blocking(|| PrivateKey::generate(KeyType::EcdsaP256)).await;
    let key = generated.map_err(|error| broken(error.to_string()))??;
    let mut credentials: Value = serde_json::from_str(credentials.expose())
        .map_err(|_| broken("the account in the inventory does not parse".to_owned()))?;
    // As instant-acme writes it.
    credentials["key_pkcs8"] = URL_SAFE_NO_PAD.encode(key.pkcs8()).into();
    Ok(Secret::new(credentials.to_string()))
}

const ROLL: &str = "change the account's key";
