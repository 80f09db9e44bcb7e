//! acme-dns: a name server for nothing but challenges, changed over HTTP. `_acme-challenge.NAME` is an alias into its
//! zone; for each name there is an account with a record of its own, which keeps the last two values. Accounts come from a
//! file, or are registered when they are needed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use http::{Method, Request, StatusCode, header};
use serde_json::json;
use zeroize::Zeroizing;

use crate::config::AcmeDnsConfig;
use crate::dns01::Dns01Error;
use crate::dns01::provider::Provider;
use crate::dns01::turn::Turns;
use crate::inventory::{AcmeDnsAccount, Inventory, PlacedRecord};
use crate::name::DnsName;
use crate::web::{Bounds, WebClient};

/// An acme-dns server and the accounts at it.
pub(super) struct AcmeDns {
    config: AcmeDnsConfig,
    inventory: Inventory,
}

impl AcmeDns {
    pub(super) fn new(config: &AcmeDnsConfig, inventory: Inventory) -> Self {
        Self {
            config: config.clone(),
            inventory,
        }
    }

    /// The account for the record's name; its alias has to be in place.
    async fn delegated(&self, record: &PlacedRecord, is_wanted: bool) -> Result<AcmeDnsAccount, Dns01Error> {
        let account = self.account(&record.domain, is_wanted).await?;
        let wanted = owner(&account);
        if wanted != record.owner {
            return Err(Dns01Error::NotDelegated {
                alias: format!("_acme-challenge.{}", record.domain),
                found: record.owner.clone(),
                wanted,
            });
        }
        Ok(account)
    }

    /// The account for `domain`, registered if there is none and the name is wanted.
    async fn account(&self, domain: &DnsName, is_wanted: bool) -> Result<AcmeDnsAccount, Dns01Error> {
        match &self.config.accounts_file {
            Some(file) => in_file(file, domain).await,
            None => self.registered(domain, is_wanted).await,
        }
    }

    /// The account that is kept for `domain`; it is registered where there is none.
    async fn registered(&self, domain: &DnsName, is_wanted: bool) -> Result<AcmeDnsAccount, Dns01Error> {
        let server = &self.config.server;
        // A name and its wildcard are looked at side by side, and have one account.
        let account = BTreeSet::from([format!("{domain} at {server}")]);
        let _turn = REGISTERING.take(account, Duration::ZERO).await;
        if let Some(known) = self.inventory.acme_dns_account(server, domain).await? {
            return Ok(known);
        }
        if !is_wanted {
            let reason =
                "it has no account for that yet; one is registered when a certificate wants the name";
            return Err(self.failed(domain, reason.to_owned()));
        }
        let answer = self.call("register", Method::POST, None, "{}".to_owned()).await;
        let (status, said) = answer.map_err(|reason| self.failed(domain, reason))?;
        let said = Zeroizing::new(said);
        if !status.is_success() {
            let said = shown(&said);
            let advice = match status.as_u16() {
                401 | 403 | 404 | 405 => UNREGISTERED,
                _ => "",
            };
            let reason = format!("asked for an account, it answered {status} {said}{advice}");
            return Err(self.failed(domain, reason));
        }
        // The parser's own message might quote a secret.
        let account: Option<AcmeDnsAccount> = serde_json::from_str(&said).ok();
        let account =
            account.filter(|account| DnsName::parse(account.fulldomain.trim_end_matches('.')).is_ok());
        let none = || {
            self.failed(
                domain,
                format!("asked for an account, it gave none{UNREGISTERED}"),
            )
        };
        let account = account.ok_or_else(none)?;
        self.inventory
            .save_acme_dns_account(server, domain, &account)
            .await?;
        tracing::info!(
            server,
            %domain,
            fulldomain = account.fulldomain,
            "registered an account with acme-dns"
        );
        Ok(account)
    }

    async fn call(
        &self,
        path: &str,
        method: Method,
        account: Option<&AcmeDnsAccount>,
        body: String,
    ) -> Result<(StatusCode, String), String> {
        let url = format!("{}/{path}", self.config.server.trim_end_matches('/'));
        let mut request = Request::builder().uri(url).method(method);
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(AcmeDnsAccount {
            username, password, ..
        }) = account
        {
            request = request
                .header("x-api-user", username.expose())
                .header("x-api-key", password.expose());
        }
        let client = WebClient::new(None).await.map_err(|error| error.to_string())?;
        let answer = client.send(request, body, BOUNDS).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let said = answer.body.map_err(|error| error.to_string())?;
        Ok((answer.status, String::from_utf8_lossy(&said).into_owned()))
    }

    fn failed(&self, domain: &DnsName, reason: String) -> Dns01Error {
        Dns01Error::AcmeDns {
            server: self.config.server.clone(),
            domain: domain.to_string(),
            reason,
        }
    }
}

#[async_trait]
impl Provider for AcmeDns {
    async fn narrow_owner(&self, domain: &DnsName) -> Result<Option<String>, Dns01Error> {
        Ok(Some(owner(&self.account(domain, true).await?)))
    }

    async fn place(&self, record: &PlacedRecord) -> Result<(), Dns01Error> {
        let account = self.delegated(record, true).await?;
        let body = json!({"subdomain": account.subdomain, "txt": record.value}).to_string();
        match self.call("update", Method::POST, Some(&account), body).await {
            Ok((StatusCode::OK, _)) => Ok(()),
            Ok((status, said)) => {
                let advice = match status {
                    StatusCode::UNAUTHORIZED => FORBIDDEN,
                    _ => "",
                };
                let reason = format!("it answered {status} {}{advice}", shown(&said));
                Err(self.failed(&record.domain, reason))
            }
            Err(reason) => Err(self.failed(&record.domain, reason)),
        }
    }

    // There is no way to remove a value: the second one after it takes its place.
    fn cleans_up_itself(&self) -> bool {
        true
    }

    async fn remove(&self, _: &PlacedRecord) -> Result<(), Dns01Error> {
        Ok(())
    }

    async fn rehearse(&self, record: &PlacedRecord, is_wanted: bool) -> Result<String, Dns01Error> {
        self.delegated(record, is_wanted).await?;
        match self.call("health", Method::GET, None, String::new()).await {
            Ok((StatusCode::OK, _)) => Ok(format!("which acme-dns at {} serves", self.config.server)),
            Ok((status, _)) => Err(self.failed(&record.domain, format!("its health is {status}"))),
            Err(reason) => Err(self.failed(&record.domain, reason)),
        }
    }
}

/// The account for `domain` in a file as clients of acme-dns write it.
async fn in_file(file: &Path, domain: &DnsName) -> Result<AcmeDnsAccount, Dns01Error> {
    let unusable = |reason: String| Dns01Error::Secret {
        file: file.to_owned(),
        reason,
    };
    let text = tokio::fs::read(file).await;
    let text = text
        .map(Zeroizing::new)
        .map_err(|error| unusable(error.to_string()))?;
    // The parser's own message might quote a secret.
    let accounts: Result<BTreeMap<String, AcmeDnsAccount>, _> = serde_json::from_slice(&text);
    let mut accounts = accounts.map_err(|error| {
        unusable(format!(
            "it is not as acme-dns clients write it (line {})",
            error.line()
        ))
    })?;
    let account = accounts.remove(domain.as_str());
    account.ok_or_else(|| {
        unusable(format!(
            "there is no account for {domain} in it; register one with acme-dns, or leave `accounts_file` away and \
             certgate does it"
        ))
    })
}

/// Where the values of an account are.
fn owner(account: &AcmeDnsAccount) -> String {
    account.fulldomain.trim_end_matches('.').to_ascii_lowercase()
}

fn shown(said: &str) -> String {
    said.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// One registration at a time for a name; a server that is slow for one name holds back no other.
static REGISTERING: Turns = Turns::new();

/// Its `disable_registration` answers so, and so does what is no acme-dns.
const UNREGISTERED: &str =
    "; where it registers nobody, `accounts_file` of the issuer's `dns` can name an account that it has";
/// So it answers for all of these reasons.
const FORBIDDEN: &str = "; it does not know the account, has another password for it, or lets it in from other addresses \
                         only (`allowfrom`)";
const BOUNDS: Bounds = Bounds {
    time: Duration::from_secs(15),
    octets: 16 << 10,
};
