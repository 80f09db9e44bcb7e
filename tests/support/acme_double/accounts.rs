//! Accounts (RFC 8555 §7.3).

use http::HeaderValue;
use serde_json::{Value, json};

use super::Asked;
use super::jws::Jws;
use super::protocol::{Protocol, Reply, answer_json, located, random};

pub(super) struct Account {
    pub(super) contact: Vec<String>,
    pub(super) id: String,
    pub(super) point: Vec<u8>,
}

impl Protocol {
    pub(super) fn new_account(&mut self, jws: &Jws) -> Reply {
        if jws.payload["termsOfServiceAgreed"] != json!(true) {
            return Err((403, "userActionRequired", "agree to the terms".into()));
        }
        let account = Account {
            contact: strings(&jws.payload["contact"]),
            id: random(),
            point: jws.jwk().ok_or((400, "malformed", "no jwk".to_owned()))?,
        };
        let mut answer = answer_json(201, &json!({"status": "valid"}));
        located(&mut answer, &format!("{}/account/{}", self.base, account.id));
        self.accounts.push(account);
        Ok(answer)
    }

    pub(super) fn account(&mut self, position: usize, jws: &Jws) -> Reply {
        let account = &mut self.accounts[position];
        if !jws.payload["contact"].is_null() {
            account.contact = strings(&jws.payload["contact"]);
        }
        let mut object = json!({"status": "valid", "contact": account.contact});
        if self.behaviour.lists_orders {
            object["orders"] = json!(format!("{}/orders/{}", self.base, account.id));
        }
        Ok(answer_json(200, &object))
    }

    /// Two orders a page, oldest first (RFC 8555 §7.1.2.1).
    pub(super) fn list(&self, account: &str, asked: &Asked) -> Reply {
        let page: usize = asked
            .path
            .split_once("?page=")
            .and_then(|(_, page)| page.parse().ok())
            .unwrap_or(0);
        let all: Vec<_> = self
            .orders
            .iter()
            .filter(|order| order.account == account)
            .collect();
        let urls: Vec<_> = all
            .iter()
            .skip(page * 2)
            .take(2)
            .map(|order| format!("{}/order/{}", self.base, order.id))
            .collect();
        let mut answer = answer_json(200, &json!({"orders": urls}));
        if all.len() > page * 2 + 2 {
            let next = format!("</orders/{account}?page={}>;rel=\"next\"", page + 1);
            answer
                .headers_mut()
                .insert("link", HeaderValue::from_str(&next).unwrap());
        }
        Ok(answer)
    }
}

fn strings(value: &Value) -> Vec<String> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    items
        .iter()
        .filter_map(|item| item.as_str())
        .map(ToOwned::to_owned)
        .collect()
}
