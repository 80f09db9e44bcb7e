//! Finding an order whose URL was lost: the CA has it, a crash kept it from the journal.
//!
//! The account's list of orders (RFC 8555 §7.1.2.1) is read with an own signed request, for instant-acme has none.
//! A CA without such a list (Let's Encrypt) gives a pending order back when it is asked for the same names again.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{CONTENT_TYPE, LINK};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use hyper::body::Bytes;
use instant_acme::{AccountCredentials, BodyWrapper, Identifier, Order};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::inventory::OrderRecord;
use crate::issuer::IssueError;
use crate::issuer::acme::account::Session;
use crate::issuer::acme::http::RequestFailure;
use crate::issuer::acme::pursuit::{Pursuit, identifiers};
use crate::issuer::acme::{during, lock};

impl Pursuit<'_> {
    /// The order that this intent came to at the CA, if it came to one.
    ///
    /// An order has no date, and needs none here: whichever pending or ready order there is for exactly these
    /// names, not pursued by another certificate, still takes the journal's key. One that is further on took
    /// another key, for the URL is in the journal before a key is sent.
    pub(super) async fn find_placed(&self, intent: &OrderRecord) -> Result<Option<Order>, IssueError> {
        let reader = ListReader::new(self.session)?;
        let wanted = identifiers(self.request.desired);
        let urls = reader.orders().await?;
        tracing::debug!(
            certificate = %self.name(), since = %intent.created_at, orders = urls.len(),
            "looking for an order that may have been placed before the URL was written down"
        );
        // New ones stand at the end wherever the list is in order.
        for url in urls.iter().rev().take(MAX_ORDERS) {
            if lock(&self.issuer.pursued).contains(url) {
                continue;
            }
            let listed: ListedOrder = match reader.post_as_get(url).await {
                Ok((listed, _)) => listed,
                Err(error) if error.leaves_order() => return Err(error),
                Err(_) => continue,
            };
            if listed.is_open() && listed.is_for(&wanted) {
                let order = self.session.account.order(url.clone()).await;
                return order.map(Some).map_err(during("look at the order"));
            }
        }
        Ok(None)
    }
}

/// Reads resources of the account that instant-acme does not.
struct ListReader<'a> {
    session: &'a Session,
    key: EcdsaKeyPair,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Directory {
    new_nonce: String,
}

#[derive(Deserialize)]
struct AccountObject {
    orders: Option<String>,
}

#[derive(Deserialize)]
struct OrderList {
    orders: Vec<String>,
}

#[derive(Deserialize)]
struct ListedOrder {
    status: String,
    identifiers: Vec<ListedIdentifier>,
}

#[derive(Deserialize)]
struct ListedIdentifier {
    #[serde(rename = "type")]
    kind: String,
    value: String,
}

impl ListedOrder {
    fn is_open(&self) -> bool {
        matches!(self.status.as_str(), "pending" | "ready")
    }

    fn is_for(&self, wanted: &[Identifier]) -> bool {
        let mut names: Vec<_> = self
            .identifiers
            .iter()
            .map(|i| (i.kind.as_str(), i.value.to_lowercase()))
            .collect();
        names.sort();
        names.dedup();
        names.len() == wanted.len()
            && names.iter().zip(wanted).all(
                |((kind, value), wanted)| matches!(wanted, Identifier::Dns(name) if *kind == "dns" && name == value),
            )
    }
}

impl<'a> ListReader<'a> {
    fn new(session: &'a Session) -> Result<Self, IssueError> {
        let broken = || IssueError::Garbled {
            doing: LOOK,
            reason: "the account's key in the inventory cannot be used".to_owned(),
        };
        let credentials: AccountCredentials =
            serde_json::from_str(session.credentials.expose()).map_err(|_| broken())?;
        let pkcs8 = credentials.private_key().secret_pkcs8_der();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map_err(|_| broken())?;
        Ok(Self { session, key })
    }

    /// The URLs of the account's orders; none where the CA keeps no list, or does not show it.
    async fn orders(&self) -> Result<Vec<String>, IssueError> {
        let mut urls = Vec::new();
        let mut next = match self.post_as_get::<AccountObject>(self.session.account.id()).await {
            Ok((account, _)) => account.orders,
            Err(error) if error.is_clear_no() => None,
            Err(error) => return Err(error),
        };
        for _ in 0..MAX_PAGES {
            let Some(url) = next.take() else { break };
            match self.post_as_get::<OrderList>(&url).await {
                Ok((page, headers)) => {
                    urls.extend(page.orders);
                    next = next_page(&headers, &url);
                }
                Err(error) if error.is_clear_no() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(urls)
    }

    /// Reads a resource (RFC 8555 §6.3).
    async fn post_as_get<T: DeserializeOwned>(&self, url: &str) -> Result<(T, HeaderMap), IssueError> {
        let mut tries = NONCE_TRIES;
        let answer = loop {
            let answer = self.attempt(url).await.map_err(|failure| failure.during(LOOK))?;
            tries -= 1;
            if answer.status().is_success() || tries == 0 {
                break answer;
            }
        };
        let (parts, body) = answer.into_parts();
        if !parts.status.is_success() {
            return Err(IssueError::Refused {
                doing: LOOK,
                status: parts.status.as_u16(),
                problem: serde_json::from_slice(&body).ok(),
                excerpt: String::new(),
                retry_after: None,
            });
        }
        let value = serde_json::from_slice(&body).map_err(|error| IssueError::Garbled {
            doing: LOOK,
            reason: error.to_string(),
        })?;
        Ok((value, parts.headers))
    }

    async fn attempt(&self, url: &str) -> Result<http::Response<Bytes>, RequestFailure> {
        let nonce = self.nonce().await?;
        let protected = json!({
            "alg": "ES256", "kid": self.session.account.id(), "nonce": nonce, "url": url,
        });
        let protected = URL_SAFE_NO_PAD.encode(protected.to_string());
        let signature = self
            .key
            .sign(&SystemRandom::new(), format!("{protected}.").as_bytes());
        let signature = signature.map_err(|_| broken(url, "the account's key does not sign"))?;
        let body = json!({
            "protected": protected, "payload": "", "signature": URL_SAFE_NO_PAD.encode(signature.as_ref()),
        });
        let request = Request::builder()
            .method(Method::POST)
            .uri(url)
            .header(CONTENT_TYPE, "application/jose+json")
            .body(BodyWrapper::from(body.to_string().into_bytes()));
        let request = request.map_err(|_| broken(url, "this is no URL"))?;
        self.session.http.send(request).await
    }

    async fn nonce(&self) -> Result<String, RequestFailure> {
        let directory = &self.session.directory;
        let answer = self.session.http.send(get(directory, Method::GET)?).await?;
        let Ok(Directory { new_nonce }) = serde_json::from_slice(answer.body()) else {
            return Err(broken(directory, "this is no directory"));
        };
        let answer = self.session.http.send(get(&new_nonce, Method::HEAD)?).await?;
        let nonce = answer
            .headers()
            .get("replay-nonce")
            .and_then(|nonce| nonce.to_str().ok());
        nonce
            .map(ToOwned::to_owned)
            .ok_or_else(|| broken(&new_nonce, "there is no nonce"))
    }
}

fn get(url: &str, method: Method) -> Result<Request<BodyWrapper<Bytes>>, RequestFailure> {
    let request = Request::builder()
        .method(method)
        .uri(url)
        .body(BodyWrapper::default());
    request.map_err(|_| broken(url, "this is no URL"))
}

fn broken(url: &str, reason: &str) -> RequestFailure {
    RequestFailure::Unreachable {
        url: url.to_owned(),
        reason: reason.to_owned(),
    }
}

/// The URL of the next page (RFC 8288), which may be relative to this one.
fn next_page(headers: &HeaderMap, base: &str) -> Option<String> {
    let links = headers
        .get_all(LINK)
        .iter()
        .filter_map(|value: &HeaderValue| value.to_str().ok());
    let target = links.flat_map(|value| value.split(',')).find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = |p: &str| matches!(p.trim(), "rel=\"next\"" | "rel=next");
        parameters.split(';').any(is_next).then_some(target)
    })?;
    if target.starts_with("https://") {
        return Some(target.to_owned());
    }
    let base: Uri = base.parse().ok()?;
    let path = match target.starts_with('?') {
        true => format!("{}{target}", base.path()),
        false => target.to_owned(),
    };
    let authority = base.authority().filter(|_| path.starts_with('/'))?;
    Some(format!("https://{authority}{path}"))
}

const LOOK: &str = "look for the order among the account's";
/// Bounds for a list that never ends.
const MAX_PAGES: usize = 400;
const MAX_ORDERS: usize = 500;
const NONCE_TRIES: usize = 5;
