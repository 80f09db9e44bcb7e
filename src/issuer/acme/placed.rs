//! Finding an order whose URL was lost: the CA has it, a crash kept it from the journal.
//!
//! The account's list of orders (RFC 8555 §7.1.2.1) is read with an own signed request, for instant-acme has none.
//! A CA without such a list (Let's Encrypt) gives a pending order back when it is asked for the same names again.

use std::collections::BTreeSet;

use http::HeaderMap;
use instant_acme::{Identifier, Order};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::inventory::OrderRecord;
use crate::issuer::IssueError;
use crate::issuer::acme::http::{absolute, links};
use crate::issuer::acme::placing::identifiers;
use crate::issuer::acme::pursuit::Pursuit;
use crate::issuer::acme::signed::Signer;
use crate::issuer::acme::{during, lock};

impl Pursuit<'_> {
    /// The order that this intent came to at the CA, if it came to one.
    ///
    /// An order has no date, and needs none here: whichever pending or ready order there is for exactly these
    /// names, not pursued by another certificate, still takes the journal's key. One that is further on took
    /// another key, for the URL is in the journal before a key is sent.
    pub(super) async fn find_placed(&self, intent: &OrderRecord) -> Result<Option<Order>, IssueError> {
        let mut over = self.issuer.over.lock().await;
        let reader = ListReader(Signer::new(self.session)?);
        let wanted = identifiers(self.request.desired);
        let urls = reader.orders(self.session.account.id()).await?;
        // New ones stand at the end wherever the list is in order.
        let newest = urls.into_iter().rev().take(MAX_ORDERS);
        let (known, urls): (Vec<_>, Vec<_>) = newest.partition(|url| over.contains(url));
        // What is not looked at any more need not be remembered.
        *over = known.into_iter().collect();
        tracing::debug!(
            certificate = %self.name(), since = %intent.created_at, orders = urls.len(),
            "looking for an order that may have been placed before the URL was written down"
        );
        for url in urls {
            if lock(&self.issuer.pursued).contains(&url) {
                continue;
            }
            let listed: ListedOrder = match reader.post_as_get(&url).await {
                Ok((listed, _)) => listed,
                Err(error) if error.leaves_order() => return Err(error),
                Err(_) => continue,
            };
            if !listed.is_open() {
                over.insert(url);
            } else if listed.is_for(&wanted) {
                let order = self.session.account.order(url).await;
                return order.map(Some).map_err(during("look at the order"));
            }
        }
        Ok(None)
    }
}

/// Reads resources of the account that instant-acme does not.
struct ListReader<'a>(Signer<'a>);

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
        let listed: BTreeSet<_> = self
            .identifiers
            .iter()
            .map(|i| (i.kind.as_str(), i.value.to_lowercase()))
            .collect();
        let wanted: BTreeSet<_> = wanted
            .iter()
            .map(|wanted| match wanted {
                Identifier::Dns(name) => ("dns", name.clone()),
                other => ("ip", other.authorized(false).to_string()),
            })
            .collect();
        listed == wanted
    }
}

impl ListReader<'_> {
    /// The URLs of the account's orders; none where the CA keeps no list, or does not show it.
    async fn orders(&self, account: &str) -> Result<Vec<String>, IssueError> {
        let mut urls = Vec::new();
        let mut next = match self.post_as_get::<AccountObject>(account).await {
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

    async fn post_as_get<T: DeserializeOwned>(&self, url: &str) -> Result<(T, HeaderMap), IssueError> {
        let (parts, body) = self.0.post_as_get(LOOK, url).await?.into_parts();
        let value = serde_json::from_slice(&body).map_err(|error| IssueError::Garbled {
            doing: LOOK,
            reason: error.to_string(),
        })?;
        Ok((value, parts.headers))
    }
}

/// The URL of the next page (RFC 8288).
fn next_page(headers: &HeaderMap, base: &str) -> Option<String> {
    absolute(links(headers, "next").next()?, base)
}

const LOOK: &str = "look for the order among the account's";
/// Bounds for a list that never ends.
const MAX_PAGES: usize = 400;
const MAX_ORDERS: usize = 500;
