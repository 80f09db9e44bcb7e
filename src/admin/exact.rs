//! A request is what its route takes, or it is refused: nothing that somebody meant is passed over. One place for all
//! routes, made from how they are declared.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::LengthLimitError;
use schemars::SchemaGenerator;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

use crate::admin::Problem;
use crate::admin::route::Route;

/// What a route takes.
pub(super) struct Taken {
    /// As `POST /v1/apply`.
    route: String,
    /// The keys of its query.
    query: Vec<String>,
    /// What its body may be; absent where it takes none.
    media_types: Option<&'static [&'static str]>,
    /// What its body may have.
    octets: usize,
}

/// Lets a request through to its handler when it is what the route takes.
pub(super) async fn pass(State(taken): State<Arc<Taken>>, request: Request, next: Next) -> Response {
    match taken.read(request).await {
        Ok(request) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

impl Taken {
    pub(super) fn by(route: &Route) -> Self {
        let schema = route.query.map(|query| query(&mut SchemaGenerator::default()));
        let properties = schema.as_ref().and_then(|schema| schema.get("properties"));
        let keys = properties.and_then(|properties| properties.as_object());
        Self {
            route: format!("{} {}", route.method, route.path),
            query: keys
                .map(|keys| keys.keys().cloned().collect())
                .unwrap_or_default(),
            media_types: route.body.map(|body| body.media_types),
            octets: route.octets,
        }
    }

    /// The request with its body read.
    async fn read(&self, request: Request) -> Result<Request, Problem> {
        self.check_query(request.uri())?;
        let (parts, body) = request.into_parts();
        let Some(media_types) = self.media_types else {
            let nothing = to_bytes(body, 0).await;
            nothing.map_err(|_| {
                let route = &self.route;
                Problem::bad_request(format!(
                    "{route} takes no body, and the request has one; nothing was done"
                ))
            })?;
            return Ok(Request::from_parts(parts, Body::empty()));
        };
        check_type(&parts.headers, media_types)?;
        let body = self.body(body).await?;
        check_json(&body)?;
        Ok(Request::from_parts(parts, Body::from(body)))
    }

    fn check_query(&self, uri: &Uri) -> Result<(), Problem> {
        let route = &self.route;
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|error| Problem::bad_request(format!("the query of {route}: {error}")))?;
        let Some((unknown, _)) = pairs.iter().find(|(key, _)| !self.query.contains(key)) else {
            return Ok(());
        };
        let unknown = unknown.escape_debug();
        let known: Vec<_> = self.query.iter().map(|key| format!("`{key}`")).collect();
        Err(Problem::bad_request(match known.is_empty() {
            true => format!("{route} takes no query, and the request has `{unknown}`; nothing was done"),
            false => format!(
                "{route} does not know `{unknown}` in a query; it takes {}; nothing was done",
                known.join(", ")
            ),
        }))
    }

    async fn body(&self, body: Body) -> Result<Bytes, Problem> {
        to_bytes(body, self.octets).await.map_err(|error| {
            let cause = std::error::Error::source(&error);
            match cause.is_some_and(|cause| cause.is::<LengthLimitError>()) {
                true => {
                    let detail = format!("the body of {} may have {} octets", self.route, self.octets);
                    Problem::of(StatusCode::PAYLOAD_TOO_LARGE, detail)
                }
                false => Problem::bad_request(format!("the body did not come to its end: {error}")),
            }
        })
    }
}

fn check_type(headers: &HeaderMap, media_types: &[&str]) -> Result<(), Problem> {
    let found = headers.get(header::CONTENT_TYPE);
    let found = found.map(|value| String::from_utf8_lossy(value.as_bytes()));
    let found = found.as_deref().unwrap_or("none");
    let essence = found.split(';').next().unwrap_or_default().trim();
    match media_types
        .iter()
        .any(|wanted| essence.eq_ignore_ascii_case(wanted))
    {
        true => Ok(()),
        false => {
            let (found, wanted) = (found.escape_debug(), media_types.join(" or "));
            let detail = format!("the body's Content-Type is {found}; {wanted} is expected");
            Err(Problem::of(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail))
        }
    }
}

/// That it is JSON, and that no object in it says a thing twice: readers differ in which of the two they believe
/// (RFC 8259 §4).
fn check_json(body: &[u8]) -> Result<(), Problem> {
    match serde_json::from_slice(body) {
        Ok(Unambiguous) => Ok(()),
        Err(error) if error.classify() == Category::Data => {
            Err(Problem::bad_request(format!("in the body {error}; say it once")))
        }
        Err(error) => Err(Problem::bad_request(format!("the body is not JSON: {error}"))),
    }
}

/// Any JSON in which no object has a key twice.
struct Unambiguous;

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Unambiguous {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while let Some(Self) = items.next_element()? {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self, A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = fields.next_key::<String>()? {
            if seen.contains(&key) {
                let key = key.escape_debug();
                return Err(de::Error::custom(format!("the key `{key}` stands twice")));
            }
            seen.insert(key);
            let Self = fields.next_value()?;
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_in_which_a_key_stands_twice_is_refused_by_its_name_however_it_is_written() {
        for (body, expected) in [
            (r#"{"a":1,"b":{"a":2},"c":[{"a":3},{"a":4}]}"#, None),
            (r#"[null, true, -1, 1.5, "a", "a"]"#, None),
            (
                r#"{"dry_run":true,"dry_run":false}"#,
                Some("the key `dry_run` stands twice"),
            ),
            (
                r#"{"a":{"b":[{"port":1,"\u0070ort":2}]}}"#,
                Some("the key `port` stands twice"),
            ),
            (r#"{"a":1e999}"#, Some("not JSON")),
            (r#"{"a":1} {"#, Some("not JSON")),
            ("", Some("not JSON")),
        ] {
            let problem = check_json(body.as_bytes()).err();
            match expected {
                None => assert_eq!(problem, None, "{body}"),
                Some(expected) => {
                    let problem = problem.unwrap();
                    assert!(problem.detail.contains(expected), "{body}: {problem}");
                }
            }
        }
    }
}
