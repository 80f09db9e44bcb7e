//! One connection of an `http` listener.

use std::convert::Infallible;
use std::sync::Arc;

use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::crl::CrlTable;
use super::redirect;
use super::token::TokenTable;

/// Answers one request on `stream`, then closes: who is sent elsewhere has no second one.
///
/// It waits for the client, whether that is slow to ask or slow to read: the caller sets the deadline.
///
/// # Errors
/// [`hyper::Error`]: what the client did wrong, for the log.
pub async fn serve_connection(
    stream: TcpStream,
    tokens: Arc<TokenTable>,
    crls: Arc<CrlTable>,
) -> Result<(), hyper::Error> {
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let response = answer(&request, &tokens, &crls);
        async move { Ok::<_, Infallible>(response) }
    });
    http1::Builder::new()
        .half_close(true)
        .keep_alive(false)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn answer<B>(request: &Request<B>, tokens: &TokenTable, crls: &CrlTable) -> Response<Full<Bytes>> {
    if let Some(token) = request.uri().path().strip_prefix(CHALLENGE_PATH) {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refusal = text(
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET and HEAD are answered here\n",
            );
            refusal
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        return match tokens.answer(token) {
            Some(key_authorization) => text(StatusCode::OK, key_authorization.as_ref()),
            None => text(StatusCode::NOT_FOUND, "no such challenge is pending\n"),
        };
    }
    if let Some(crl) = crls.answer(request) {
        return crl;
    }
    let location = redirect::location(request.uri(), request.headers());
    match location.and_then(|url| HeaderValue::try_from(url).ok()) {
        Some(url) => {
            let mut moved = text(StatusCode::PERMANENT_REDIRECT, "");
            moved.headers_mut().insert(LOCATION, url);
            moved
        }
        None => text(
            StatusCode::BAD_REQUEST,
            "the request names no usable host; HTTPS is served here\n",
        ),
    }
}

pub(super) fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

const CHALLENGE_PATH: &str = "/.well-known/acme-challenge/";
const HEADER_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn ask(method: Method, path: &str) -> Response<Full<Bytes>> {
        let tokens = TokenTable::new();
        tokens.insert("tok", "tok.thumbprint");
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "www.example.com")
            .body(())
            .unwrap();
        answer(&request, &tokens, &CrlTable::new())
    }

    #[tokio::test]
    async fn a_pending_challenge_is_answered_with_its_key_authorization() {
        let found = ask(Method::GET, "/.well-known/acme-challenge/tok");
        assert_eq!(found.status(), StatusCode::OK);
        assert_eq!(
            found.into_body().collect().await.unwrap().to_bytes(),
            "tok.thumbprint"
        );
    }

    #[test]
    fn an_unknown_challenge_is_not_found_and_never_redirected() {
        for path in ["other", "", "tok/x", "../tok"] {
            let missing = ask(Method::GET, &format!("{CHALLENGE_PATH}{path}"));
            assert_eq!(missing.status(), StatusCode::NOT_FOUND, "{path}");
        }
        let refused = ask(Method::POST, "/.well-known/acme-challenge/tok");
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
    }

    #[test]
    fn everything_else_goes_to_https_with_its_method() {
        let moved = ask(Method::POST, "/a?b=c");
        assert_eq!(moved.status(), StatusCode::PERMANENT_REDIRECT);
        assert_eq!(moved.headers()[LOCATION], "https://www.example.com/a?b=c");
    }
}
