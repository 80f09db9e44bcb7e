//! A JSON document posted to a URL, over verified TLS and signed where there is a secret; no redirect is followed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::cause::with_causes;
use crate::clock::Timestamp;
use crate::config::WebhookConfig;
use crate::inventory::Notice;

/// Why a URL has not taken a document.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// It said so.
    #[error("{url} answered {status}{}", excerpt(said))]
    Refused {
        /// The URL, as it may be shown.
        url: String,
        /// Its status.
        status: StatusCode,
        /// The beginning of what it said.
        said: String,
    },
    /// It said nothing in time.
    #[error("{url} did not answer within {} s", allowed.as_secs_f64())]
    TooLong {
        /// The URL, as it may be shown.
        url: String,
        /// How long it may take.
        allowed: Duration,
    },
    /// Nobody is there, or it is not who it should be.
    #[error("cannot reach {url}: {reason}")]
    Unreachable {
        /// The URL, as it may be shown.
        url: String,
        /// What came in between.
        reason: String,
    },
    /// A file that the configuration names is not there any more, or not what it was.
    #[error("cannot use {}", file.display())]
    Unusable {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
}

/// Posts `body`, which tells of `notice`. It is taken when the answer is 2xx.
pub(super) async fn post(
    webhook: &WebhookConfig,
    notice: &Notice,
    body: Vec<u8>,
    now: Timestamp,
    allowed: Duration,
) -> Result<(), WebhookError> {
    let secret_file = webhook.secret_file.clone();
    let signed = match secret_file {
        Some(file) => Some(signature(&read_secret(file).await?, now, &body)),
        None => None,
    };
    let url = || webhook.shown();
    let unreachable = |reason: String| WebhookError::Unreachable { url: url(), reason };
    let mut request = Request::post(&webhook.url)
        .header(header::USER_AGENT, CERTGATE)
        .header(header::CONTENT_TYPE, "application/json")
        .header("certgate-event", notice.event.word())
        .header("certgate-event-id", &notice.id)
        .header("certgate-timestamp", now.unix_seconds());
    if let Some(signed) = signed {
        request = request.header("certgate-signature", signed);
    }
    let request = request
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| unreachable(error.to_string()))?;
    let root = webhook.root_ca_file.clone();
    let tls = tokio::task::spawn_blocking(move || tls_config(root.as_deref())).await;
    let tls = tls.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(https);
    let exchange = async {
        let answer = client.request(request).await;
        let answer = answer.map_err(|error| unreachable(with_causes(&error)))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let said = Limited::new(answer.into_body(), READ).collect().await;
        let said = said.map(|said| said.to_bytes()).unwrap_or_default();
        Err(WebhookError::Refused {
            url: url(),
            status,
            said: String::from_utf8_lossy(&said).into_owned(),
        })
    };
    match timeout(allowed, exchange).await {
        Ok(done) => done,
        Err(_) => Err(WebhookError::TooLong { url: url(), allowed }),
    }
}

/// `v1=` and HMAC-SHA256 (RFC 2104) of the moment and the document in hex, so that who has the secret knows both who has
/// sent it and when.
fn signature(secret: &[u8], now: Timestamp, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret));
    context.update(format!("{}.", now.unix_seconds()).as_bytes());
    context.update(body);
    let tag = context.sign();
    let hex = tag.as_ref().iter().map(|octet| format!("{octet:02x}"));
    format!("v1={}", hex.collect::<String>())
}

async fn read_secret(file: PathBuf) -> Result<Zeroizing<Vec<u8>>, WebhookError> {
    match tokio::fs::read(&file).await.map(Zeroizing::new) {
        Ok(octets) => Ok(Zeroizing::new(octets.trim_ascii().to_vec())),
        Err(source) => Err(WebhookError::Unusable { file, source }),
    }
}

fn tls_config(root_ca_file: Option<&Path>) -> Result<ClientConfig, WebhookError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let unusable = |error: rustls::Error| WebhookError::Unusable {
        file: root_ca_file.unwrap_or(Path::new("the system's roots")).to_owned(),
        source: io::Error::other(error),
    };
    let builder = ClientConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().map_err(unusable)?;
    let Some(file) = root_ca_file else {
        let verifier = Verifier::new(provider).map_err(unusable)?;
        let builder = builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        return Ok(builder.with_no_client_auth());
    };
    let pem_error = |error| WebhookError::Unusable {
        file: file.to_owned(),
        source: io::Error::other(error),
    };
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(file).map_err(pem_error)? {
        roots.add(root.map_err(pem_error)?).map_err(unusable)?;
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn excerpt(said: &str) -> String {
    let shown: String = said
        .trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(SHOWN)
        .collect();
    match shown.is_empty() {
        true => String::new(),
        false => format!(": {shown}"),
    }
}

const CERTGATE: &str = concat!("certgate/", env!("CARGO_PKG_VERSION"));
/// Octets of an answer that are read, and characters that are shown.
const READ: usize = 4096;
const SHOWN: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_hmac_sha256_over_the_moment_and_the_document() {
        let now = Timestamp::from_unix_seconds(1_795_219_200);
        // printf '1795219200.{}\n' | openssl dgst -sha256 -hmac 0123456789abcdef
        assert_eq!(
            signature(b"0123456789abcdef", now, b"{}\n"),
            "v1=1697327dff46659ca8ce9ca879c070343b94c207852e4916a0454ded9c92fb5b"
        );
    }
}
