//! The account (RFC 8555 §7.1.2): looked up in the inventory, registered where there is none, shared by everybody.

use std::sync::Arc;
use std::time::{Duration, Instant};

use certgate_store::{Expect, Revision};
use instant_acme::{Account, AccountCredentials, ExternalAccountKey, NewAccount};
use tokio::sync::{Mutex, OnceCell};
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::config::{AcmeConfig, ExternalAccountConfig};
use crate::inventory::{AccountRecord, Inventory, InventoryError, Secret, Versioned};
use crate::issuer::acme::directory::Directory;
use crate::issuer::acme::http::AcmeHttp;
use crate::issuer::acme::{Limits, during};
use crate::issuer::{IssueError, IssueRequest, Step};

/// An account ready for use, with the connections to its CA.
pub(super) struct Session {
    pub(super) account: Account,
    pub(super) http: AcmeHttp,
    pub(super) directory_url: String,
    pub(super) resources: OnceCell<Directory>,
    /// URL and key of the account as JSON, for requests that instant-acme does not make.
    pub(super) credentials: Secret,
    /// Of the record that it was made from.
    pub(super) revision: Revision,
}

/// Gives out the session, building it when it is first needed, and anew every day.
pub(super) struct Accounts {
    pub(super) issuer: String,
    pub(super) config: AcmeConfig,
    pub(super) inventory: Inventory,
    pub(super) clock: Arc<dyn Clock>,
    limits: Limits,
    /// Held while a session is built, never while it is used.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    session: Option<(Arc<Session>, Instant)>,
    failure: Option<(IssueError, Instant)>,
}

impl Accounts {
    pub(super) fn new(
        issuer: &str,
        config: &AcmeConfig,
        inventory: Inventory,
        clock: Arc<dyn Clock>,
        limits: Limits,
    ) -> Self {
        Self {
            issuer: issuer.to_owned(),
            config: config.clone(),
            inventory,
            clock,
            limits,
            state: Mutex::default(),
        }
    }

    /// The session to use now. `lost` is the URL of an account that the CA says it does not have.
    pub(super) async fn current(
        &self,
        lost: Option<&str>,
        request: &IssueRequest<'_>,
    ) -> Result<Arc<Session>, IssueError> {
        let asked = Instant::now();
        let mut state = self.state.lock().await;
        if let Some(session) = self.usable(&state).await?
            && lost != Some(session.account.id())
        {
            return Ok(session);
        }
        // Whoever waited for the lock while the CA did not answer has waited enough.
        if let Some((failure, at)) = &state.failure
            && *at > asked
        {
            return Err(failure.clone());
        }
        match self.build(lost, request).await {
            Ok(session) => {
                let session = Arc::new(session);
                *state = State {
                    session: Some((session.clone(), Instant::now())),
                    failure: None,
                };
                Ok(session)
            }
            Err(error) => {
                state.failure = Some((error.clone(), Instant::now()));
                Err(error)
            }
        }
    }

    /// The session of an account that is there already; none is registered.
    pub(super) async fn known(&self) -> Result<Option<Arc<Session>>, IssueError> {
        let mut state = self.state.lock().await;
        if let Some(session) = self.usable(&state).await? {
            return Ok(Some(session));
        }
        let http = self.http().await?;
        let (Some(session), _) = self.existing(&http, None).await? else {
            return Ok(None);
        };
        let session = Arc::new(session);
        state.session = Some((session.clone(), Instant::now()));
        Ok(Some(session))
    }

    /// The session there is, unless it is old or the account is another by now: this node, or one that shares its
    /// store, may have changed its key.
    async fn usable(&self, state: &State) -> Result<Option<Arc<Session>>, IssueError> {
        let Some((session, _)) = state
            .session
            .as_ref()
            .filter(|(_, built)| built.elapsed() < REBUILD)
        else {
            return Ok(None);
        };
        let is_same = !self.has_changed_since(session).await?;
        Ok(is_same.then(|| session.clone()))
    }

    /// Whether the account is another by now, or has another key.
    pub(super) async fn has_changed_since(&self, session: &Session) -> Result<bool, IssueError> {
        let known = self.inventory.account(&self.issuer).await?;
        Ok(known.is_none_or(|known| known.revision != session.revision))
    }

    async fn build(&self, lost: Option<&str>, request: &IssueRequest<'_>) -> Result<Session, IssueError> {
        let http = self.http().await?;
        for _ in 1..SAVE_TRIES {
            match self.open(&http, lost, request).await {
                // Another node registered first: its account is the one to use.
                Err(IssueError::Inventory { source })
                    if matches!(*source, InventoryError::Conflict { .. }) => {}
                done => return done,
            }
        }
        self.open(&http, lost, request).await
    }

    async fn open(
        &self,
        http: &AcmeHttp,
        lost: Option<&str>,
        request: &IssueRequest<'_>,
    ) -> Result<Session, IssueError> {
        match self.existing(http, lost).await? {
            (Some(session), _) => Ok(session),
            (None, expect) => {
                request
                    .progress
                    .step(&request.desired.name, Step::CreatingAccount);
                self.register(http, expect).await
            }
        }
    }

    /// The session of the account in the inventory, where it is one to use; and what a new one may replace.
    async fn existing(
        &self,
        http: &AcmeHttp,
        lost: Option<&str>,
    ) -> Result<(Option<Session>, Expect), IssueError> {
        let Some(Versioned {
            value: known,
            revision,
        }) = self.inventory.account(&self.issuer).await?
        else {
            return Ok((None, Expect::Absent));
        };
        let expect = Expect::Revision(revision);
        if known.directory != self.config.directory {
            tracing::info!(
                issuer = self.issuer,
                from = known.directory,
                to = self.config.directory,
                "the issuer's directory has changed; a new account is registered there"
            );
            return Ok((None, expect));
        }
        let session = self.restore(http, &known, revision).await?;
        if lost == Some(session.account.id()) {
            tracing::warn!(
                issuer = self.issuer,
                account = session.account.id(),
                "the CA has no such account any more; a new one is registered. CAA records that name \
                 the old one (RFC 8657) have to be changed"
            );
            return Ok((None, expect));
        }
        let session = self.settled(http, session, &known).await?;
        let session = self.with_contact(session, known).await?;
        let expect = Expect::Revision(session.revision);
        Ok((Some(session), expect))
    }

    pub(super) async fn restore(
        &self,
        http: &AcmeHttp,
        known: &AccountRecord,
        revision: Revision,
    ) -> Result<Session, IssueError> {
        let credentials: AccountCredentials =
            serde_json::from_str(known.credentials.expose()).map_err(|_| IssueError::Garbled {
                doing: "use the account in the inventory",
                reason: "its credentials do not parse".to_owned(),
            })?;
        let account = Account::builder_with_http(Box::new(http.clone()))
            .from_credentials(credentials)
            .await
            .map_err(during("read the CA's directory"))?;
        Ok(self.session(http, account, known.credentials.clone(), revision))
    }

    async fn register(&self, http: &AcmeHttp, expect: Expect) -> Result<Session, IssueError> {
        let contact: Vec<_> = self.config.contact.iter().map(String::as_str).collect();
        let wanted = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let bound = self.external_account().await?;
        self.spend().await?;
        let created = Account::builder_with_http(Box::new(http.clone()))
            .create(&wanted, self.config.directory.clone(), bound.as_ref())
            .await
            .map_err(during("register an account"));
        let (account, credentials) = match created {
            Ok(created) => created,
            Err(error) => {
                self.account_for(&error).await?;
                return Err(error);
            }
        };
        let text = serde_json::to_string(&credentials).map_err(|error| IssueError::Garbled {
            doing: "keep the new account",
            reason: error.to_string(),
        })?;
        let credentials = Secret::new(text);
        let revision = self.save(&credentials, None, expect).await?;
        let session = self.session(http, account, credentials, revision);
        tracing::info!(
            issuer = self.issuer,
            account = session.account.id(),
            "registered an account"
        );
        Ok(session)
    }

    /// The key of the customer that the account is bound to (RFC 8555 §7.3.4).
    async fn external_account(&self) -> Result<Option<ExternalAccountKey>, IssueError> {
        let Some(config) = &self.config.external_account else {
            return Ok(None);
        };
        let broken = |reason: String| IssueError::ExternalAccount {
            file: config.hmac_key_file.clone(),
            reason,
        };
        let text = tokio::fs::read(&config.hmac_key_file).await.map(Zeroizing::new);
        let text = text.map_err(|error| broken(error.to_string()))?;
        let key = ExternalAccountConfig::decode(&text);
        let key = key.ok_or_else(|| broken("it is no base64url key".to_owned()))?;
        Ok(Some(ExternalAccountKey::new(config.key_id.clone(), &key)))
    }

    /// Tells the CA of contacts that have changed in the configuration.
    async fn with_contact(&self, session: Session, known: AccountRecord) -> Result<Session, IssueError> {
        if known.contact == self.config.contact {
            return Ok(session);
        }
        let contact: Vec<_> = self.config.contact.iter().map(String::as_str).collect();
        let told = session.account.update_contacts(&contact).await;
        match told.map_err(during("change the account's contacts")) {
            // The order finds out, and another is registered with these.
            Err(error) if error.is_problem("accountDoesNotExist") => return Ok(session),
            told => told?,
        }
        let expect = Expect::Revision(session.revision);
        let revision = self.save(&session.credentials, None, expect).await?;
        Ok(Session { revision, ..session })
    }

    /// Writes the account; `next` are its credentials with the key that is about to take over.
    pub(super) async fn save(
        &self,
        credentials: &Secret,
        next: Option<&Secret>,
        expect: Expect,
    ) -> Result<Revision, IssueError> {
        let record = AccountRecord {
            credentials: credentials.clone(),
            directory: self.config.directory.clone(),
            contact: self.config.contact.clone(),
            next_credentials: next.cloned(),
        };
        Ok(self.inventory.save_account(&self.issuer, &record, expect).await?)
    }

    fn session(&self, http: &AcmeHttp, account: Account, credentials: Secret, revision: Revision) -> Session {
        Session {
            account,
            http: http.clone(),
            directory_url: self.config.directory.clone(),
            resources: OnceCell::new(),
            credentials,
            revision,
        }
    }

    pub(super) async fn http(&self) -> Result<AcmeHttp, IssueError> {
        let (file, limits, clock) = (self.config.root_ca_file.clone(), self.limits, self.clock.clone());
        let built = tokio::task::spawn_blocking(move || AcmeHttp::new(file.as_deref(), limits, clock)).await;
        built.unwrap_or_else(|error| {
            Err(IssueError::Trust {
                file: self.config.root_ca_file.clone(),
                reason: error.to_string(),
            })
        })
    }
}

/// A CA may move its resources; the directory says where they are now.
const REBUILD: Duration = Duration::from_secs(86_400);
const SAVE_TRIES: usize = 4;
