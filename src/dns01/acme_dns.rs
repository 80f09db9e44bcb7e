//! acme-dns: a name server for nothing but challenges, changed over HTTP. `_acme-challenge.NAME` is an alias into its
//! zone; for each name there is an account with a record of its own, which keeps the last two values.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;
use rustls_platform_verifier::Verifier;
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use crate::cause::with_causes;
use crate::config::AcmeDnsConfig;
use crate::dns01::Dns01Error;
use crate::dns01::provider::Provider;
use crate::inventory::{PlacedRecord, Secret};

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
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| error.to_string())?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls_config()?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(https);
        let exchange = async {
            let answer = client
                .request(request)
                .await
                .map_err(|error| with_causes(&error))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
            let body = body.map_err(|error| error.to_string())?.to_bytes();
            Ok((status, String::from_utf8_lossy(&body).into_owned()))
        };
        match tokio::time::timeout(PATIENCE, exchange).await {
            Ok(done) => done,
            Err(_) => Err(format!("no whole answer within {} s", PATIENCE.as_secs())),
        }
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

    // There is no way to remove a value: the second one after it takes its place.
    fn cleans_up_itself(&self) -> bool {
        true
    }

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

fn tls_config() -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Verifier::new(provider.clone()).map_err(|error| error.to_string())?;
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    Ok(builder.with_no_client_auth())
}

const PATIENCE: Duration = Duration::from_secs(15);
const MAX_ANSWER: usize = 16 << 10;
