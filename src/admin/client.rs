//! The typed client of the API.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls::AlertDescription;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::admin::transport::Transport;
use crate::admin::{Credentials, Page, Problem, api};
use crate::certificate::CertificateName;

/// Talks to a running gateway through its admin API.
#[derive(Clone, Debug)]
pub struct Client {
    transport: Transport,
}

impl Client {
    /// A client for the gateway at `socket`. Nothing is opened yet.
    pub fn new(socket: &Path) -> Self {
        Self {
            transport: Transport::Socket(socket.to_owned()),
        }
    }

    /// A client for the gateway at `url`, as `https://host:port`; http is possible on the machine itself. Nothing is
    /// opened yet.
    ///
    /// # Errors
    /// [`ClientError::Unusable`] when the URL or a file of `credentials` cannot be used.
    pub fn remote(url: &str, credentials: &Credentials) -> Result<Self, ClientError> {
        let transport = Transport::remote(url, credentials)?;
        Ok(Self { transport })
    }

    /// `GET /v1/status`, and the certificates that it leaves out.
    ///
    /// # Errors
    /// [`ClientError`], as every call here.
    pub async fn status(&self) -> Result<api::Status, ClientError> {
        let mut status: api::Status = self.call(Method::GET, "/v1/status", None::<&()>).await?;
        if std::mem::take(&mut status.more_certificates) {
            status.certificates = self.certificates_from(status.certificates).await?;
        }
        Ok(status)
    }

    /// `GET /v1/certificates`: all of them, by name.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn certificates(&self) -> Result<Vec<api::Certificate>, ClientError> {
        self.certificates_from(Vec::new()).await
    }

    async fn certificates_from(
        &self,
        known: Vec<api::Certificate>,
    ) -> Result<Vec<api::Certificate>, ClientError> {
        let name = |last: &api::Certificate| last.name.to_string();
        self.rest("/v1/certificates", known, name).await
    }

    /// What the list at `path` has after what is `known` of it, together with that; `name` tells one of it from another.
    pub(super) async fn rest<T: DeserializeOwned, N: AsRef<str>>(
        &self,
        path: &str,
        mut known: Vec<T>,
        name: impl for<'t> Fn(&'t T) -> N,
    ) -> Result<Vec<T>, ClientError> {
        loop {
            let after = known.last().map(|last| encoded(name(last).as_ref()));
            let after = after.map_or_else(String::new, |after| format!("&after={after}"));
            let path = format!("{path}?limit={}{after}", Page::MOST);
            let page: Vec<T> = self.call(Method::GET, &path, None::<&()>).await?;
            let is_last = page.len() < usize::from(Page::MOST);
            known.extend(page);
            if is_last {
                return Ok(known);
            }
        }
    }

    /// `GET /v1/certificates/{name}`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn certificate(&self, name: &CertificateName) -> Result<api::Certificate, ClientError> {
        self.call(Method::GET, &certificate_path(name, ""), None::<&()>)
            .await
    }

    /// `PUT /v1/certificates/{name}`: obtain one.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn request(
        &self,
        name: &CertificateName,
        request: &api::CertificateRequest,
    ) -> Result<api::Certificate, ClientError> {
        self.call(Method::PUT, &certificate_path(name, ""), Some(request))
            .await
    }

    /// The same, and once in spite of `objection`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn request_even_if(
        &self,
        name: &CertificateName,
        request: &api::CertificateRequest,
        objection: api::Objection,
    ) -> Result<api::Certificate, ClientError> {
        let path = match objection {
            api::Objection::Dns => certificate_path(name, "?even_if=dns"),
        };
        self.call(Method::PUT, &path, Some(request)).await
    }

    /// `PUT /v1/certificates/{name}`: take one in.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn import(
        &self,
        name: &CertificateName,
        import: &api::CertificateImport,
    ) -> Result<api::Certificate, ClientError> {
        self.call(Method::PUT, &certificate_path(name, ""), Some(import))
            .await
    }

    /// `POST /v1/certificates/{name}/renew`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn renew(&self, name: &CertificateName) -> Result<(), ClientError> {
        self.renew_at(name, "/renew").await
    }

    /// The same, and once in spite of `objection`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn renew_even_if(
        &self,
        name: &CertificateName,
        objection: api::Objection,
    ) -> Result<(), ClientError> {
        match objection {
            api::Objection::Dns => self.renew_at(name, "/renew?even_if=dns").await,
        }
    }

    async fn renew_at(&self, name: &CertificateName, action: &str) -> Result<(), ClientError> {
        self.send(Method::POST, &certificate_path(name, action), None::<&()>, None)
            .await
            .map(drop)
    }

    /// `GET /v1/certificates/{name}/export`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn export(
        &self,
        name: &CertificateName,
        with_key: bool,
    ) -> Result<api::CertificateExport, ClientError> {
        let path = format!("{}?with_key={with_key}", certificate_path(name, "/export"));
        self.call(Method::GET, &path, None::<&()>).await
    }

    /// `GET /v1/issuers/{name}/root`, as PEM.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn local_ca_root(&self, issuer: &str) -> Result<String, ClientError> {
        self.text(&format!("/v1/issuers/{}/root", encoded(issuer))).await
    }

    pub(super) async fn text(&self, path: &str) -> Result<String, ClientError> {
        let body = self.send(Method::GET, path, None::<&()>, None).await?;
        String::from_utf8(self.collect(body).await?).map_err(|_| self.unintelligible("not text"))
    }

    /// `POST /v1/dns-checks`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn dns_check(
        &self,
        request: &api::DnsCheckRequest,
    ) -> Result<Vec<api::DomainVerdict>, ClientError> {
        self.call(Method::POST, "/v1/dns-checks", Some(request)).await
    }

    /// `GET /v1/audit`: records with a number above `after`, or the newest ones without it; oldest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn audit(&self, after: Option<u64>, limit: u16) -> Result<Vec<api::AuditRecord>, ClientError> {
        let after = after.map_or_else(String::new, |after| format!("&after={after}"));
        let path = format!("/v1/audit?limit={limit}{after}");
        self.call(Method::GET, &path, None::<&()>).await
    }

    /// `GET /v1/events`: what happens to certificates from now on.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn events(&self) -> Result<Events, ClientError> {
        let response = self.send(Method::GET, "/v1/events", None::<&()>, None).await?;
        Ok(Events {
            body: response.into_body(),
            unread: Vec::new(),
        })
    }

    pub(super) async fn call<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<T, ClientError> {
        self.call_if(method, path, body, None).await
    }

    /// As [`call`](Self::call), where `condition` is a header with the entity tags that decide whether it is done.
    pub(super) async fn call_if<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
        condition: Option<Condition<'_>>,
    ) -> Result<T, ClientError> {
        let response = self.send(method, path, body, condition).await?;
        let bytes = self.collect(response).await?;
        serde_json::from_slice(&bytes).map_err(|error| self.unintelligible(&error.to_string()))
    }

    pub(super) async fn send<B: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
        condition: Option<Condition<'_>>,
    ) -> Result<Response<Incoming>, ClientError> {
        let attempt = self.send_now(method, path, body, condition);
        match tokio::time::timeout(Duration::from_secs(60), attempt).await {
            Ok(result) => result,
            Err(_) => Err(self.unintelligible("no answer within 60 s")),
        }
    }

    async fn send_now<B: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
        condition: Option<Condition<'_>>,
    ) -> Result<Response<Incoming>, ClientError> {
        let stream = self.transport.connect().await?;
        let broken = |error: hyper::Error| self.broken(error);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        tokio::spawn(connection);
        let json = match body {
            Some(body) => {
                serde_json::to_vec(body).map_err(|error| self.unintelligible(&error.to_string()))?
            }
            None => Vec::new(),
        };
        let mut request = Request::new(Full::new(Bytes::from(json)));
        *request.method_mut() = method;
        *request.uri_mut() = path
            .parse()
            .map_err(|_| self.unintelligible("the path is not valid"))?;
        let headers = request.headers_mut();
        headers.extend(self.transport.host().map(|host| (header::HOST, host)));
        let authorization = self.transport.authorization();
        headers.extend(authorization.map(|value| (header::AUTHORIZATION, value)));
        headers.insert(
            header::CONTENT_TYPE,
            header::HeaderValue::from_static("application/json"),
        );
        if let Some((name, tags)) = condition {
            let tags = header::HeaderValue::from_str(tags);
            let tags = tags.map_err(|_| self.unintelligible("the entity tag is not valid"))?;
            headers.insert(name, tags);
        }
        let response = sender.send_request(request).await.map_err(broken)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let bytes = self.collect(response).await?;
        Err(self.refusal(status, &bytes))
    }

    fn refusal(&self, status: StatusCode, body: &[u8]) -> ClientError {
        match serde_json::from_slice::<Problem>(body) {
            Ok(problem) => ClientError::Refused { problem },
            Err(_) => self.unintelligible(&format!("HTTP {status} without a problem document")),
        }
    }

    async fn collect(&self, response: Response<Incoming>) -> Result<Vec<u8>, ClientError> {
        match response.into_body().collect().await {
            Ok(body) => Ok(body.to_bytes().to_vec()),
            Err(error) => Err(self.broken(error)),
        }
    }

    /// What a connection means that ended before the answer did. In TLS 1.3 a gateway says only then that it does not like
    /// the client's certificate (RFC 8446 §4.4.2.4), and its word may be lost on the way.
    fn broken(&self, error: hyper::Error) -> ClientError {
        let alert = alert(&error);
        if !self.transport.is_encrypted() || error.is_parse() {
            return self.unintelligible(&error.to_string());
        }
        let (address, shows) = (self.transport.to_string(), self.transport.shows_certificate());
        let advice = match (alert, shows) {
            (Some(AlertDescription::CertificateRequired), _) | (None, false) => {
                "name yours with --admin-certificate, where it asks for client certificates (`client_ca` in [admin])"
            }
            (_, true) => {
                "it must be of a CA of the bundle that `client_ca` in [admin] names, in date and not revoked"
            }
            (Some(_), false) => "its log says more",
        };
        ClientError::NotAdmitted {
            address,
            advice,
            source: error,
        }
    }

    fn unintelligible(&self, found: &str) -> ClientError {
        ClientError::Unintelligible {
            address: self.transport.to_string(),
            found: found.to_owned(),
        }
    }
}

/// `If-Match` or `If-None-Match`, and its value.
pub(super) type Condition<'a> = (header::HeaderName, &'a str);

/// The stream of events.
#[derive(Debug)]
pub struct Events {
    body: Incoming,
    unread: Vec<u8>,
}

impl Events {
    /// The next event; `None` when the gateway has gone.
    pub async fn next(&mut self) -> Option<api::Event> {
        loop {
            while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                let data = line.strip_prefix(b"data:").unwrap_or_default();
                if let Ok(event) = serde_json::from_slice(data) {
                    return Some(event);
                }
            }
            let frame = self.body.frame().await?.ok()?;
            if let Ok(data) = frame.into_data() {
                self.unread.extend_from_slice(&data);
            }
        }
    }
}

/// A call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The socket is another user's.
    #[error("the admin socket {} is not for this user; run this as the user of the gateway, or as root", socket.display())]
    NotPermitted {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody answers.
    #[error(
        "no gateway answers at {address}; is `certgate run` running? Its socket is admin.sock in the store's directory; name it with --admin or $CERTGATE_ADMIN"
    )]
    NotRunning {
        /// The socket, or the URL.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The gateway said no.
    #[error("{problem}")]
    Refused {
        /// Why.
        problem: Problem,
    },
    /// The two do not trust each other.
    #[error("no TLS connection to {address}; the CA of its certificate is named with --ca-file")]
    Tls {
        /// The URL.
        address: String,
        /// What was wrong.
        source: io::Error,
    },
    /// The gateway ended the connection instead of answering.
    #[error("the gateway at {address} ended the connection without an answer: {advice}")]
    NotAdmitted {
        /// The URL.
        address: String,
        /// What to do.
        advice: &'static str,
        /// What came of the connection.
        source: hyper::Error,
    },
    /// It cannot be called so.
    #[error("cannot call the gateway at {address}: {problem}")]
    Unusable {
        /// The URL.
        address: String,
        /// Why not.
        problem: String,
    },
    /// Somebody answers, but not as a gateway does.
    #[error("the answer at {address} makes no sense: {found}")]
    Unintelligible {
        /// The socket, or the URL.
        address: String,
        /// What came.
        found: String,
    },
}

/// The alert that the other side of a TLS connection has sent, if that is what ended it.
fn alert(error: &hyper::Error) -> Option<AlertDescription> {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let inner = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(rustls::Error::AlertReceived(alert)) = inner {
            return Some(*alert);
        }
        cause = error.source();
    }
    None
}

pub(super) fn certificate_path(name: &CertificateName, action: &str) -> String {
    format!("/v1/certificates/{}{action}", encoded(name.as_str()))
}

pub(super) fn encoded(segment: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    segment
        .bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}
