//! Refusals as problem documents (RFC 9457).

use axum::body::to_bytes;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

/// A problem document. `title` says what kind of problem it is, `detail` what was found and what to do.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, schemars::JsonSchema, Serialize, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The kind of problem, the same for every one of its kind.
    pub title: String,
    /// This problem.
    pub detail: String,
    /// What is wrong with what was asked for, each with the word for its kind and, where there is one, its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, schemars::JsonSchema, Serialize)]
pub struct Finding {
    /// The word for its kind; stays the same from version to version.
    pub code: String,
    /// What was found.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
    /// Where: file or resource, line and column.
    pub position: Option<String>,
}

impl Problem {
    /// The request cannot be carried out as it stands (400).
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "the request is not valid", detail)
    }

    /// It collides with what is there (409).
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "the request collides with what is there",
            detail,
        )
    }

    /// The configuration would not be valid (422).
    pub fn invalid(detail: impl Into<String>, findings: Vec<Finding>) -> Self {
        let title = "the configuration would not be valid";
        Self {
            findings,
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, title, detail)
        }
    }

    /// It has changed since it was read (412).
    pub fn stale(detail: impl Into<String>) -> Self {
        Self::of(StatusCode::PRECONDITION_FAILED, detail)
    }

    /// The gateway itself failed (500).
    pub fn internal(error: &dyn std::error::Error) -> Self {
        let mut detail = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            detail.push_str(": ");
            detail.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the gateway could not do it",
            detail,
        )
    }

    /// There is no such thing (404).
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is no such thing", detail)
    }

    /// The caller may not do this (403).
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::of(StatusCode::FORBIDDEN, detail)
    }

    /// It is not known who is calling (401).
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::of(StatusCode::UNAUTHORIZED, detail)
    }

    /// It cannot be done at the moment (503).
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::of(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// The problem that `status` tells of.
    pub fn of(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = match status {
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => "the request is not valid",
            StatusCode::CONFLICT => "the request collides with what is there",
            StatusCode::FORBIDDEN => "the caller may not do this",
            StatusCode::METHOD_NOT_ALLOWED => "the method is not allowed here",
            StatusCode::NOT_FOUND => "there is no such thing",
            StatusCode::PAYLOAD_TOO_LARGE => "the body is too large",
            StatusCode::PRECONDITION_FAILED => "it has changed since it was read",
            StatusCode::SERVICE_UNAVAILABLE => "this cannot be done now",
            StatusCode::UNAUTHORIZED => "the caller is not known",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "the body is of the wrong kind",
            status if status.is_server_error() => "the gateway could not do it",
            _ => "the request was refused",
        };
        Self::new(status, title, detail)
    }

    /// The problem in one line: of findings their messages, without the lines of the configuration they are about.
    pub(super) fn in_a_line(&self) -> String {
        let what = self.detail.lines().next().unwrap_or_default();
        let messages = self.findings.iter().map(|found| found.message.as_str());
        let messages: Vec<_> = messages.filter(|message| !what.contains(*message)).collect();
        match messages.is_empty() {
            true => self.detail.split_whitespace().collect::<Vec<_>>().join(" "),
            false => format!("{what} {}", messages.join("; ")),
        }
    }

    /// This problem, told with what it means.
    #[must_use]
    pub fn because(mut self, what: &str) -> Self {
        self.detail = format!("{what}: {}", self.detail);
        self
    }

    /// This problem, with the word for it among its findings.
    #[must_use]
    pub fn with_finding(mut self, code: &str, message: impl Into<String>) -> Self {
        self.findings.push(Finding {
            code: code.to_owned(),
            message: message.into(),
            help: None,
            position: None,
        });
        self
    }

    fn new(status: StatusCode, title: &str, detail: impl Into<String>) -> Self {
        Self {
            status: status.as_u16(),
            title: title.to_owned(),
            detail: detail.into(),
            findings: Vec::new(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_string(&self).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// `response`, as a problem document if it is a refusal: those of the framework are text.
pub(super) async fn documented(response: Response) -> Response {
    let status = response.status();
    let is_refusal = status.is_client_error() || status.is_server_error();
    if !is_refusal || response.extensions().get::<Problem>().is_some() {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let text = to_bytes(body, TEXT_BYTES).await.unwrap_or_default();
    let problem = Problem::of(status, String::from_utf8_lossy(&text).trim());
    // What the framework says beside it stays, as `Allow` does.
    parts.headers.remove(header::CONTENT_TYPE);
    parts.headers.remove(header::CONTENT_LENGTH);
    let mut response = problem.into_response();
    for (name, value) in &parts.headers {
        response.headers_mut().append(name, value.clone());
    }
    response
}

const MEDIA_TYPE: &str = "application/problem+json";
const TEXT_BYTES: usize = 16 << 10;
