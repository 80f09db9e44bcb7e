//! HTTP towards a CA: every request ends in time, no answer is larger than it may be, and what the CA says beside
//! the body, `Retry-After` above all, is not lost.

mod header;

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use http::header::{RETRY_AFTER, USER_AGENT};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use instant_acme::{BodyWrapper, BytesResponse, HttpClient, Problem};

use self::header::page;
pub(super) use self::header::{absolute, http_date, links, retry_after};
use crate::cause::with_causes;
use crate::clock::{Clock, Timestamp};
use crate::issuer::IssueError;
use crate::issuer::acme::Limits;
use crate::issuer::acme::ca_clock::CaClock;
use crate::web::{self, TrustError};

/// The client for one CA. Cheap to clone; clones share connections.
#[derive(Clone)]
pub(super) struct AcmeHttp {
    client: Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>,
    limits: Limits,
    clock: Arc<dyn Clock>,
    ca_clock: Arc<CaClock>,
}

impl AcmeHttp {
    /// A client that trusts `root_ca_file` alone, or the system's roots where there is none. Reads roots, so it may
    /// block for some milliseconds.
    pub(super) fn new(
        root_ca_file: Option<&Path>,
        limits: Limits,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, IssueError> {
        let tls = web::tls_config(root_ca_file)
            .map_err(|TrustError { file, reason }| IssueError::Trust { file, reason })?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(limits.connect));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .enable_http1()
            .enable_http2()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(https);
        Ok(Self {
            client,
            limits,
            clock,
            ca_clock: Arc::default(),
        })
    }

    /// The CA's time where it is not that of here.
    pub(super) fn differing_time(&self) -> Option<Timestamp> {
        self.ca_clock.differing(self.clock.now())
    }

    /// Sends a request and waits for the whole answer. An answer that says `badNonce` is an answer; every other
    /// one that is not a success is a failure, and so is a page made for people, whatever its status.
    pub(super) async fn send(
        &self,
        mut request: Request<BodyWrapper<Bytes>>,
    ) -> Result<http::Response<Bytes>, RequestFailure> {
        request
            .headers_mut()
            .insert(USER_AGENT, HeaderValue::from_static(web::USER_AGENT));
        let (method, url) = (request.method().clone(), request.uri().to_string());
        let begun = Instant::now();
        let result = match tokio::time::timeout(self.limits.request, self.exchange(request, &url)).await {
            Ok(result) => result,
            Err(_) => Err(RequestFailure::Unreachable {
                reason: format!("no answer within {:?}", self.limits.request),
                url: url.clone(),
            }),
        };
        let milliseconds = begun.elapsed().as_millis();
        match &result {
            Ok(answer) => {
                tracing::debug!(%method, %url, status = answer.status().as_u16(), milliseconds, "asked the CA");
            }
            Err(failure) => tracing::debug!(%method, %url, milliseconds, %failure, "asked the CA in vain"),
        }
        result
    }

    async fn exchange(
        &self,
        request: Request<BodyWrapper<Bytes>>,
        url: &str,
    ) -> Result<http::Response<Bytes>, RequestFailure> {
        let unreachable = |error: &(dyn std::error::Error + 'static)| RequestFailure::Unreachable {
            url: url.to_owned(),
            reason: reason(error),
        };
        let answer = self.client.request(request).await;
        let (parts, body) = answer.map_err(|error| unreachable(&error))?.into_parts();
        self.ca_clock.note(&parts.headers);
        let body = match Limited::new(body, MAX_ANSWER).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                return Err(RequestFailure::TooLarge { url: url.to_owned() });
            }
            Err(error) => return Err(unreachable(error.as_ref())),
        };
        if parts.status.is_success() && !is_page(&body) {
            return Ok(http::Response::from_parts(parts, body));
        }
        let problem = serde_json::from_slice::<Problem>(&body)
            .ok()
            .filter(|p| p.r#type.is_some());
        let bad_nonce = problem
            .as_ref()
            .is_some_and(|p| p.r#type.as_deref() == Some(BAD_NONCE));
        if parts.status == StatusCode::BAD_REQUEST && bad_nonce {
            return Ok(http::Response::from_parts(parts, body));
        }
        let now = self.clock.now();
        Err(RequestFailure::Refused {
            status: parts.status.as_u16(),
            excerpt: if problem.is_some() {
                String::new()
            } else {
                excerpt(&body)
            },
            page: page(&parts.headers, &body),
            problem: problem.map(Box::new),
            retry_after: parts
                .headers
                .get(RETRY_AFTER)
                .and_then(|value| retry_after(value, now)),
        })
    }
}

impl HttpClient for AcmeHttp {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let client = self.clone();
        Box::pin(async move {
            match client.send(request).await {
                Ok(answer) => {
                    let (parts, body) = answer.into_parts();
                    Ok(BytesResponse {
                        parts,
                        body: Box::new(body),
                    })
                }
                Err(failure) => Err(instant_acme::Error::Other(Box::new(failure))),
            }
        })
    }
}

/// A request that got no good answer. It travels through instant-acme as the cause of its error.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum RequestFailure {
    #[error("the server answered {status}")]
    Refused {
        status: u16,
        problem: Option<Box<Problem>>,
        excerpt: String,
        retry_after: Option<Timestamp>,
        page: Option<String>,
    },
    #[error("the answer of {url} is larger than {MAX_ANSWER} bytes")]
    TooLarge { url: String },
    #[error("{reason}")]
    Unreachable { url: String, reason: String },
}

impl RequestFailure {
    /// The failure of what can be no request, or has no use as an answer.
    pub(super) fn broken(url: &str, reason: &str) -> Self {
        Self::Unreachable {
            url: url.to_owned(),
            reason: reason.to_owned(),
        }
    }

    /// The failure of what was being done.
    pub(super) fn during(self, doing: &'static str) -> IssueError {
        match self {
            Self::Refused {
                status,
                problem,
                excerpt,
                retry_after,
                page,
            } => IssueError::Refused {
                doing,
                status,
                problem,
                excerpt,
                retry_after,
                page,
            },
            Self::TooLarge { .. } => IssueError::Garbled {
                doing,
                reason: self.to_string(),
            },
            Self::Unreachable { url, reason } => IssueError::Unreachable { doing, url, reason },
        }
    }
}

/// Whether this is HTML or XML, as proxies and login pages answer; JSON and PEM do not begin so.
fn is_page(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"<")
}

/// The first line of an answer that is no problem document, for people.
fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(1024)]);
    let words: Vec<_> = text.split_whitespace().collect();
    words
        .join(" ")
        .chars()
        .filter(|c| !c.is_control())
        .take(120)
        .collect()
}

/// Why no answer came. An error of the HTTP stack says little without its causes, and in one case too much.
fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut kinds = causes.filter_map(|cause| Some(cause.downcast_ref::<std::io::Error>()?.kind()));
    match kinds.any(|kind| kind == std::io::ErrorKind::UnexpectedEof) {
        true => "the server closed the connection before its answer was whole".to_owned(),
        false => with_causes(error),
    }
}

const BAD_NONCE: &str = "urn:ietf:params:acme:error:badNonce";
const MAX_ANSWER: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_page_is_shown_by_its_first_words() {
        let page = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\x07";
        assert_eq!(
            excerpt(page),
            "<html> <head><title>502 Bad Gateway</title></head>"
        );
        assert!(excerpt(&[0xff; 5000]).chars().count() <= 120);
    }
}
