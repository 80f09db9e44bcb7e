//! acme-dns: a name server for nothing but challenges, changed over HTTP. `_acme-challenge.NAME` is an alias into its
//! zone; for each name there is an account with a record of its own, which keeps the last two values.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use http::{Method, Request, StatusCode, header};
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use crate::config::AcmeDnsConfig;
use crate::dns01::Dns01Error;
use crate::dns01::provider::Provider;
use crate::inventory::{PlacedRecord, Secret};
use crate::web::{Bounds, WebClient};

/// An acme-dns server and the accounts at it.
pub(super) struct AcmeDns {
    config: AcmeDnsConfig,
}

/// An account as acme-dns gave it out at registration.
#[derive(Deserialize)]
pub(super) struct Account {
    username: Secret,
    password: Secret,
    fulldomain: String,
    subdomain: String,
}

impl AcmeDns {
    pub(super) fn new(config: &AcmeDnsConfig) -> Self {
        Self {
            config: config.clone(),
        }
    }

    /// The account for the record's name; its alias has to be in place.
    async fn account(&self, record: &PlacedRecord) -> Result<Account, Dns01Error> {
        let file = &self.config.accounts_file;
        let unusable = |reason: String| Dns01Error::Secret {
            file: file.clone(),
            reason,
        };
        let text = tokio::fs::read(file).await;
        let text = text
            .map(Zeroizing::new)
            .map_err(|error| unusable(error.to_string()))?;
        // The parser's own message might quote a secret.
        let accounts: Result<BTreeMap<String, Account>, _> = serde_json::from_slice(&text);
        let mut accounts = accounts.map_err(|error| {
            unusable(format!(
                "it is not as acme-dns clients write it (line {})",
                error.line()
            ))
        })?;
        let account = accounts.remove(record.domain.as_str());
        let account = account.ok_or_else(|| {
            unusable(format!(
                "there is no account for {} in it; register one with acme-dns",
                record.domain
            ))
        })?;
        let wanted = account.fulldomain.trim_end_matches('.');
        if !wanted.eq_ignore_ascii_case(&record.owner) {
            return Err(Dns01Error::NotDelegated {
                alias: format!("_acme-challenge.{}", record.domain),
                found: record.owner.clone(),
                wanted: wanted.to_ascii_lowercase(),
            });
        }
        Ok(account)
    }

    async fn call(
        &self,
        path: &str,
        account: Option<&Account>,
        body: String,
    ) -> Result<(StatusCode, String), String> {
        let url = format!("{}/{path}", self.config.server.trim_end_matches('/'));
        let mut request = Request::builder().uri(url);
        if let Some(Account {
            username, password, ..
        }) = account
        {
            request = request
                .method(Method::POST)
                .header(header::CONTENT_TYPE, "application/json")
                .header("x-api-user", username.expose())
                .header("x-api-key", password.expose());
        }
        let client = WebClient::new(None).await.map_err(|error| error.to_string())?;
        let answer = client.send(request, body, BOUNDS).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let said = answer.body.map_err(|error| error.to_string())?;
        Ok((answer.status, String::from_utf8_lossy(&said).into_owned()))
    }

    fn failed(&self, record: &PlacedRecord, reason: String) -> Dns01Error {
        Dns01Error::AcmeDns {
            server: self.config.server.clone(),
            domain: record.domain.to_string(),
            reason,
        }
    }
}

#[async_trait]
impl Provider for AcmeDns {
    async fn place(&self, record: &PlacedRecord) -> Result<(), Dns01Error> {
        let account = self.account(record).await?;
        let body = json!({"subdomain": account.subdomain, "txt": record.value}).to_string();
        match self.call("update", Some(&account), body).await {
            Ok((StatusCode::OK, _)) => Ok(()),
            Ok((status, said)) => {
                let said: String = said.chars().filter(|c| !c.is_control()).take(200).collect();
                Err(self.failed(record, format!("it answered {status} {said}")))
            }
            Err(reason) => Err(self.failed(record, reason)),
        }
    }

    // acme-dns has no way to remove a value: the second one after it takes its place.
    async fn remove(&self, _: &PlacedRecord) -> Result<(), Dns01Error> {
        Ok(())
    }

    async fn rehearse(&self, record: &PlacedRecord) -> Result<String, Dns01Error> {
        self.account(record).await?;
        match self.call("health", None, String::new()).await {
            Ok((StatusCode::OK, _)) => Ok(format!("which acme-dns at {} serves", self.config.server)),
            Ok((status, _)) => Err(self.failed(record, format!("its health is {status}"))),
            Err(reason) => Err(self.failed(record, reason)),
        }
    }
}

const BOUNDS: Bounds = Bounds {
    time: Duration::from_secs(15),
    octets: 16 << 10,
};
