//! Refusals as problem documents (RFC 9457).

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

/// A problem document. `title` says what kind of problem it is, `detail` what was found and what to do.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The kind of problem, the same for every one of its kind.
    pub title: String,
    /// This problem.
    pub detail: String,
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

    fn new(status: StatusCode, title: &str, detail: impl Into<String>) -> Self {
        Self {
            status: status.as_u16(),
            title: title.to_owned(),
            detail: detail.into(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_string(&self).unwrap_or_default();
        (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
    }
}
