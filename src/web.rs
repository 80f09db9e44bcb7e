//! HTTP as a client: TLS that is verified, answers in bounded time and of bounded size. No redirect is followed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, header, request};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;
use tokio::time::{Instant, timeout_at};

use crate::cause::with_causes;
use crate::pem::flaw;

/// What certgate calls itself.
pub const USER_AGENT: &str = concat!("certgate/", env!("CARGO_PKG_VERSION"));

/// A client for http and https. It keeps connections for further requests.
#[derive(Clone, Debug)]
pub struct WebClient(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

/// How much an exchange may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// From the request to the end of the answer.
    pub time: Duration,
    /// Octets of the answer's body.
    pub octets: usize,
}

/// What a server has said.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// What stands before the body.
    pub headers: HeaderMap,
    /// The body, or why it was not had: for some questions the status is answer enough.
    pub body: Result<Bytes, WebError>,
}

/// Why there is no answer, or not a whole one.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum WebError {
    /// It took too long.
    #[error("no whole answer within {} s", allowed.as_secs_f64())]
    TooLong {
        /// How long it may take.
        allowed: Duration,
    },
    /// There was too much of it.
    #[error("the answer is longer than {allowed} octets")]
    TooLarge {
        /// How many there may be.
        allowed: usize,
    },
    /// Nobody is there, it is not who it should be, or it speaks otherwise.
    #[error("{reason}")]
    Unreachable {
        /// What came in between.
        reason: String,
    },
}

/// Why nobody can be trusted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("cannot use {}: {reason}", file.as_deref().unwrap_or(Path::new("the system's roots")).display())]
pub struct TrustError {
    /// The file of roots; absent where those of the system count.
    pub file: Option<PathBuf>,
    /// What is wrong.
    pub reason: String,
}

impl WebClient {
    /// A client that trusts `root_ca_file` alone, or the system's roots where there is none.
    ///
    /// # Errors
    /// [`TrustError`] with the file.
    pub async fn new(root_ca_file: Option<PathBuf>) -> Result<Self, TrustError> {
        let read = tokio::task::spawn_blocking(move || tls_config(root_ca_file.as_deref())).await;
        let tls = read.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Ok(Self(Client::builder(TokioExecutor::new()).build(https)))
    }

    /// Sends a request under the name of certgate.
    ///
    /// # Errors
    /// [`WebError`] where there is no answer at all.
    pub async fn send(
        &self,
        request: request::Builder,
        body: impl Into<Bytes>,
        bounds: Bounds,
    ) -> Result<Answer, WebError> {
        let deadline = Instant::now() + bounds.time;
        let too_long = || WebError::TooLong { allowed: bounds.time };
        let request = request
            .header(header::USER_AGENT, HeaderValue::from_static(USER_AGENT))
            .body(Full::new(body.into()))
            .map_err(|error| failure(&error))?;
        let answer = timeout_at(deadline, self.0.request(request)).await;
        let answer = answer.map_err(|_| too_long())?;
        let (head, body) = answer.map_err(|error| failure(&error))?.into_parts();
        let body = match timeout_at(deadline, Limited::new(body, bounds.octets).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(WebError::TooLarge {
                allowed: bounds.octets,
            }),
            Ok(Err(error)) => Err(failure(error.as_ref())),
            Err(_) => Err(too_long()),
        };
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body,
        })
    }
}

/// TLS that trusts `root_ca_file` alone, or the system's roots where there is none. Reads them, so it may block for some
/// milliseconds.
///
/// # Errors
/// [`TrustError`] with the file.
pub fn tls_config(root_ca_file: Option<&Path>) -> Result<ClientConfig, TrustError> {
    let unusable = |reason: String| TrustError {
        file: root_ca_file.map(PathBuf::from),
        reason,
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?;
    let Some(file) = root_ca_file else {
        let verifier = Verifier::new(provider).map_err(|error| unusable(error.to_string()))?;
        let builder = builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        return Ok(builder.with_no_client_auth());
    };
    let roots = roots(file).map_err(unusable)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// The roots in `file`.
///
/// # Errors
/// Why they cannot be had; the file is not named.
pub fn roots(file: &Path) -> Result<RootCertStore, String> {
    let text = std::fs::read(file).map_err(|error| error.to_string())?;
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(&text) {
        let root = root.map_err(|error| flaw(&error).to_owned())?;
        roots.add(root).map_err(|error| error.to_string())?;
    }
    match roots.is_empty() {
        true => Err("there is no `-----BEGIN CERTIFICATE-----` block".to_owned()),
        false => Ok(roots),
    }
}

fn failure(error: &(dyn std::error::Error + 'static)) -> WebError {
    WebError::Unreachable {
        reason: with_causes(error),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const BOUNDS: Bounds = Bounds {
        time: Duration::from_millis(500),
        octets: 10,
    };

    #[test]
    fn a_key_in_the_file_of_roots_is_not_quoted() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("roots.pem");
        for text in [
            "-----BEGIN PRIVATE KEY-----\\nMIGHAgEAMBMG\\n-----END PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMG-----END PRIVATE KEY-----",
        ] {
            std::fs::write(&file, text).unwrap();
            let error = tls_config(Some(&file)).unwrap_err().to_string();
            assert!(!error.contains("MIG") && !error.contains("77, 73, 71"), "{error}");
        }
    }

    /// What a client makes of a server that says just this, and then waits.
    async fn ask(said: &'static str) -> (Result<Answer, WebError>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut asked = vec![0; 4096];
            let length = connection.read(&mut asked).await.unwrap();
            connection.write_all(said.as_bytes()).await.unwrap();
            // Ends when the client has closed.
            connection.read_to_end(&mut Vec::new()).await.unwrap_or_default();
            String::from_utf8_lossy(&asked[..length]).into_owned()
        });
        let client = WebClient::new(None).await.unwrap();
        let answer = client.send(Request::get(&url), "", BOUNDS).await;
        drop(client);
        (answer, server.await.unwrap())
    }

    #[tokio::test]
    async fn an_answer_is_had_whole_by_a_client_that_says_who_it_is() {
        let (answer, asked) = ask("HTTP/1.1 403 Forbidden\r\ncontent-length: 10\r\n\r\n0123456789").await;
        let answer = answer.unwrap();
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert_eq!(answer.body.unwrap(), "0123456789");
        assert!(
            asked.contains(&format!("user-agent: {USER_AGENT}\r\n")),
            "{asked}"
        );
    }

    #[tokio::test]
    async fn of_a_body_that_is_too_long_or_never_ends_the_status_is_left() {
        for (said, expected) in [
            (
                "content-length: 11\r\n\r\n0123456789a",
                WebError::TooLarge { allowed: 10 },
            ),
            (
                "content-length: 10\r\n\r\n0",
                WebError::TooLong { allowed: BOUNDS.time },
            ),
        ] {
            let said = format!("HTTP/1.1 200 OK\r\n{said}").leak();
            let answer = ask(said).await.0.unwrap();
            assert_eq!((answer.status, answer.body), (StatusCode::OK, Err(expected)));
        }
    }

    #[tokio::test]
    async fn whoever_says_nothing_is_waited_for_as_long_as_was_said() {
        let silent = ask("").await.0.unwrap_err();
        assert_eq!(silent.to_string(), "no whole answer within 0.5 s");
    }

    #[test]
    fn a_file_without_a_root_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("root.pem");
        std::fs::write(&file, "# none\n").unwrap();
        let error = tls_config(Some(&file)).unwrap_err();
        let expected = format!(
            "cannot use {}: there is no `-----BEGIN CERTIFICATE-----` block",
            file.display()
        );
        assert_eq!(error.to_string(), expected);
    }
}
