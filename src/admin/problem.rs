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
    /// What is wrong with the configuration that was asked for, each with its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
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
        let title = "it has changed in the meantime";
        Self::new(StatusCode::PRECONDITION_FAILED, title, detail)
    }

    /// The body is of a type that is not understood (415).
    pub fn unsupported(detail: impl Into<String>) -> Self {
        let title = "the body is of another type than expected";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, title, detail)
    }

    /// The body could not be taken in, for a reason that has a status of its own.
    pub fn rejected(status: StatusCode, detail: impl Into<String>) -> Self {
        Self::new(status, "the request is not valid", detail)
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
            findings: Vec::new(),
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
