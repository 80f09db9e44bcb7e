//! The CRLs of the gateway's own CAs, for whoever verifies certificates of theirs (RFC 5280 §4.2.1.13).

use std::collections::HashMap;
use std::fmt;

use arc_swap::ArcSwap;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;

use super::serve::text;

/// CRLs by the names of their issuers; read on every request without a lock.
#[derive(Default)]
pub struct CrlTable {
    crls: ArcSwap<HashMap<String, PublishedCrl>>,
}

/// A CRL as it is served.
#[derive(Clone)]
pub struct PublishedCrl {
    der: Bytes,
    etag: HeaderValue,
}

impl PublishedCrl {
    /// The CRL with this number, in DER.
    pub fn new(number: u64, der: Vec<u8>) -> Self {
        let etag = HeaderValue::from_str(&format!("\"{number}-{}\"", der.len()));
        Self {
            der: der.into(),
            etag: etag.unwrap_or_else(|_| HeaderValue::from_static("\"\"")),
        }
    }
}

impl CrlTable {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves these from now on, and no others.
    pub fn replace(&self, crls: HashMap<String, PublishedCrl>) {
        self.crls.store(crls.into());
    }

    /// The path at which the CRL of `issuer` is found.
    pub fn path(issuer: &str) -> String {
        format!("{PATH}{issuer}{ENDING}")
    }

    /// The answer to `request`, when it is for a CRL at all.
    pub(super) fn answer<B>(&self, request: &Request<B>) -> Option<Response<Full<Bytes>>> {
        let name = request.uri().path().strip_prefix(PATH)?.strip_suffix(ENDING)?;
        let crls = self.crls.load();
        let crl = crls.get(name)?;
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refusal = text(
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET and HEAD are answered here\n",
            );
            refusal
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Some(refusal);
        }
        let known = request.headers().get(IF_NONE_MATCH) == Some(&crl.etag);
        let (status, body) = match known {
            true => (StatusCode::NOT_MODIFIED, Bytes::new()),
            false => (StatusCode::OK, crl.der.clone()),
        };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/pkix-crl"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(FRESH));
        headers.insert(ETAG, crl.etag.clone());
        Some(response)
    }
}

impl fmt::Debug for CrlTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrlTable").finish_non_exhaustive()
    }
}

const PATH: &str = "/crl/";
const ENDING: &str = ".crl";
/// Not until the next update: a revocation should be seen earlier than that.
const FRESH: &str = "public, max-age=3600";

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn ask(method: Method, path: &str, etag: Option<&str>) -> Option<Response<Full<Bytes>>> {
        let table = CrlTable::new();
        table.replace(HashMap::from([(
            "internal".to_owned(),
            PublishedCrl::new(7, b"der".to_vec()),
        )]));
        let mut request = Request::builder().method(method).uri(path);
        if let Some(etag) = etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        table.answer(&request.body(()).unwrap())
    }

    #[tokio::test]
    async fn a_crl_is_served_whole_and_once_to_who_keeps_it() {
        let found = ask(Method::GET, &CrlTable::path("internal"), None).unwrap();
        assert_eq!(found.status(), StatusCode::OK);
        assert_eq!(found.headers()[CONTENT_TYPE], "application/pkix-crl");
        let etag = found.headers()[ETAG].to_str().unwrap().to_owned();
        assert_eq!(found.into_body().collect().await.unwrap().to_bytes(), "der");
        let known = ask(Method::GET, "/crl/internal.crl", Some(&etag)).unwrap();
        assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
        let post = ask(Method::POST, "/crl/internal.crl", None).unwrap();
        assert_eq!(post.status(), StatusCode::METHOD_NOT_ALLOWED);
    }

    #[test]
    fn a_path_that_is_no_crl_is_left_to_others() {
        for path in [
            "/",
            "/crl/",
            "/crl/other.crl",
            "/crl/internal",
            "/crl/x/internal.crl",
        ] {
            assert!(ask(Method::GET, path, None).is_none(), "{path}");
        }
    }
}
