//! A JSON document posted to a URL, over verified TLS and signed where there is a secret; no redirect is followed.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use aws_lc_rs::hmac;
use http::{Request, StatusCode, header};
use zeroize::Zeroizing;

use crate::clock::Timestamp;
use crate::config::WebhookConfig;
use crate::inventory::Notice;
use crate::web::{Bounds, TrustError, WebClient, WebError};

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
    /// The secret that the configuration names is not there any more.
    #[error("cannot use {}", file.display())]
    Unusable {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// No server's certificate can be verified.
    #[error(transparent)]
    Trust(#[from] TrustError),
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
    let mut request = Request::post(&webhook.url)
        .header(header::CONTENT_TYPE, "application/json")
        .header("certgate-event", notice.event.word())
        .header("certgate-event-id", &notice.id)
        .header("certgate-timestamp", now.unix_seconds());
    if let Some(signed) = signed {
        request = request.header("certgate-signature", signed);
    }
    let client = WebClient::new(webhook.root_ca_file.clone()).await?;
    let bounds = Bounds {
        time: allowed,
        octets: READ,
    };
    let url = webhook.shown();
    match client.send(request, body, bounds).await {
        Ok(answer) if answer.status.is_success() => Ok(()),
        Ok(answer) => Err(WebhookError::Refused {
            url,
            status: answer.status,
            said: String::from_utf8_lossy(&answer.body.unwrap_or_default()).into_owned(),
        }),
        Err(WebError::TooLong { allowed }) => Err(WebhookError::TooLong { url, allowed }),
        Err(error) => Err(WebhookError::Unreachable {
            url,
            reason: error.to_string(),
        }),
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
