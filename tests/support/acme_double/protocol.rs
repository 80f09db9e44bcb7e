//! Resources and what requests do to them (RFC 8555 §7).

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use certgate::clock::Clock;
use http::{HeaderValue, Method, Response};
use hyper::body::Bytes;
use serde_json::{Value, json};

use super::accounts::Account;
use super::jws::Jws;
use super::signing::Authority;
use super::{
    Asked, Authorizations, Behaviour, Counts, Endpoint, Fault, Faults, OrderView, Replacing, SHORTLIVED,
    validation,
};

pub(super) struct Protocol {
    pub(super) base: String,
    pub(super) behaviour: Behaviour,
    pub(super) counts: Counts,
    pub(super) faults: Faults,
    pub(super) standing: std::collections::HashMap<Endpoint, Fault>,
    pub(super) accounts: Vec<Account>,
    pub(super) orders: Vec<Order>,
    pub(super) authority: Authority,
    pub(super) user_agent: String,
    pub(super) authorizations: Vec<Authorization>,
    nonces: HashSet<String>,
    clock: Arc<dyn Clock>,
}

pub(super) struct Order {
    pub(super) id: String,
    pub(super) account: String,
    names: Vec<String>,
    authorizations: Vec<usize>,
    chain: Option<String>,
    replaces: Option<String>,
    profile: Option<String>,
}

pub(super) struct Authorization {
    pub(super) name: String,
    pub(super) status: &'static str,
    pub(super) token: String,
    pub(super) kinds: Vec<&'static str>,
    /// The challenge that was tried, and what came of it.
    pub(super) tried: Option<(&'static str, Result<(), String>)>,
}

pub(super) type Reply = Result<Response<Bytes>, (u16, &'static str, String)>;

impl Protocol {
    pub(super) fn new(base: String, clock: Arc<dyn Clock>) -> Self {
        Self {
            base,
            behaviour: Behaviour::default(),
            counts: Counts::new(),
            faults: Faults::new(),
            standing: std::collections::HashMap::new(),
            accounts: Vec::new(),
            orders: Vec::new(),
            authority: Authority::new(),
            user_agent: String::new(),
            authorizations: Vec::new(),
            nonces: HashSet::new(),
            clock,
        }
    }

    /// Counts a request, and tells the fault that it meets.
    pub(super) fn begin(&mut self, asked: &Asked) -> Option<Fault> {
        self.user_agent.clone_from(&asked.user_agent);
        let endpoint = endpoint(&asked.path)?;
        *self.counts.entry(endpoint).or_default() += 1;
        let scripted = self
            .faults
            .get_mut(&endpoint)
            .and_then(std::collections::VecDeque::pop_front);
        scripted.or_else(|| self.standing.get(&endpoint).cloned())
    }

    pub(super) fn hangs(&self, asked: &Asked) -> bool {
        let names = Jws::parse(&asked.body)
            .map(|jws| names(&jws.payload))
            .unwrap_or_default();
        names.iter().any(|name| self.behaviour.hanging.contains(name))
    }

    pub(super) fn views(&self) -> Vec<OrderView> {
        let view = |order: &Order| OrderView {
            url: format!("{}/order/{}", self.base, order.id),
            names: order.names.clone(),
            status: self.status(order),
            replaces: order.replaces.clone(),
            profile: order.profile.clone(),
        };
        self.orders.iter().map(view).collect()
    }

    fn status(&self, order: &Order) -> &'static str {
        let states: Vec<_> = order
            .authorizations
            .iter()
            .map(|index| self.authorizations[*index].status)
            .collect();
        match &order.chain {
            Some(_) if self.behaviour.processing => "processing",
            Some(_) => "valid",
            None if states.contains(&"invalid") => "invalid",
            None if states.iter().all(|status| *status == "valid") => "ready",
            None => "pending",
        }
    }

    /// The time as HTTP writes it.
    pub(super) fn date(&self) -> HeaderValue {
        let seconds = self.clock.now().unix_seconds() + self.behaviour.ahead;
        let time = certgate::clock::Timestamp::from_unix_seconds(seconds)
            .to_offset_date_time()
            .unwrap();
        let text = time
            .format(&time::format_description::well_known::Rfc2822)
            .unwrap();
        HeaderValue::from_str(&text.replace("+0000", "GMT")).unwrap()
    }

    fn nonce(&mut self) -> String {
        let nonce = random();
        self.nonces.insert(nonce.clone());
        nonce
    }

    /// Checks nonce, URL, key and signature; gives the account's position, none for a new one.
    pub(super) fn verify(
        &mut self,
        jws: &Jws,
        asked: &Asked,
    ) -> Result<Option<usize>, (u16, &'static str, String)> {
        let nonce = jws.header("nonce").unwrap_or_default();
        let refuse = std::mem::take(&mut self.behaviour.refused_nonces);
        self.behaviour.refused_nonces = refuse.saturating_sub(1);
        if !self.nonces.remove(nonce) || refuse > 0 {
            return Err((400, "badNonce", "this nonce is not good".into()));
        }
        if jws.header("url") != Some(asked.url.as_str()) {
            return Err((401, "unauthorized", "signed for another URL".into()));
        }
        let position = match jws.header("kid") {
            Some(kid) => {
                let known = self
                    .accounts
                    .iter()
                    .position(|account| format!("{}/account/{}", self.base, account.id) == kid);
                Some(known.ok_or((400, "accountDoesNotExist", format!("no account {kid}")))?)
            }
            None => None,
        };
        let point = match position {
            Some(position) => self.accounts[position].point.clone(),
            None => jws
                .jwk()
                .ok_or((400, "malformed", "neither kid nor jwk".into()))?,
        };
        match jws.is_signed_by(&point) {
            true => Ok(position),
            false => Err((401, "unauthorized", "the signature is wrong".into())),
        }
    }

    fn post(&mut self, asked: &Asked) -> Reply {
        let jws = Jws::parse(&asked.body).ok_or((400, "malformed", "this is no JWS".to_owned()))?;
        let account = self.verify(&jws, asked)?;
        let path = asked.path.split(['/', '?']).collect::<Vec<_>>();
        let missing = || (404, "malformed", "there is no such resource".to_owned());
        match (path.as_slice(), account) {
            (["", "new-account"], _) => self.new_account(&jws),
            (_, None) => Err((401, "unauthorized", "an account is needed".into())),
            (["", "account", _], Some(account)) => self.account(account, &jws),
            (["", "new-order"], Some(account)) => self.new_order(account, &jws),
            (["", "orders", id, ..], Some(_)) => self.list(id, asked),
            (["", "order", id], Some(_)) => {
                let order = self
                    .orders
                    .iter()
                    .position(|order| order.id == *id)
                    .ok_or_else(missing)?;
                Ok(self.order(order))
            }
            (["", "authorization", index], Some(_)) => {
                let index: usize = index.parse().map_err(|_| missing())?;
                Ok(answer_json(200, &self.authorization(index)))
            }
            (["", "finalize", id], Some(_)) => {
                let order = self
                    .orders
                    .iter()
                    .position(|order| order.id == *id)
                    .ok_or_else(missing)?;
                self.finalize(order, &jws)
            }
            (["", "certificate", id], Some(_)) => {
                let order = self
                    .orders
                    .iter()
                    .find(|order| order.id == *id)
                    .ok_or_else(missing)?;
                let chain = order.chain.clone().ok_or_else(missing)?;
                Ok(Response::new(chain.into()))
            }
            _ => Err(missing()),
        }
    }

    fn new_order(&mut self, account: usize, jws: &Jws) -> Reply {
        let names = names(&jws.payload);
        let behaviour = &self.behaviour;
        let replaces = match (behaviour.replacing, jws.payload["replaces"].as_str()) {
            (Replacing::Refused(status, kind), Some(_)) => {
                return Err((status, kind, "scripted: not that one".to_owned()));
            }
            (Replacing::Understood, Some(replaced)) => Some(replaced.to_owned()),
            (Replacing::Ignored, Some(_)) | (_, None) => None,
        };
        let mut validated = match behaviour.authorizations {
            Authorizations::Empty => Vec::new(),
            Authorizations::Pending | Authorizations::Valid => names.clone(),
            Authorizations::WithStranger => [names.clone(), vec!["stranger.example".to_owned()]].concat(),
        };
        validated.reverse();
        let first = self.authorizations.len();
        for name in validated {
            self.authorizations.push(Authorization {
                name,
                status: if matches!(behaviour.authorizations, Authorizations::Valid) {
                    "valid"
                } else {
                    "pending"
                },
                token: behaviour.token.clone().unwrap_or_else(random),
                kinds: behaviour.challenges.clone(),
                tried: None,
            });
        }
        self.orders.push(Order {
            id: random(),
            account: self.accounts[account].id.clone(),
            names,
            authorizations: (first..self.authorizations.len()).collect(),
            chain: None,
            replaces,
            profile: jws.payload["profile"].as_str().map(ToOwned::to_owned),
        });
        let mut answer = self.order(self.orders.len() - 1);
        *answer.status_mut() = http::StatusCode::CREATED;
        Ok(answer)
    }

    fn order(&self, position: usize) -> Response<Bytes> {
        let order = &self.orders[position];
        let status = self.status(order);
        let base = &self.base;
        let mut object = json!({
            "status": status,
            "identifiers": order.names.iter().map(|name| identifier(name)).collect::<Vec<_>>(),
            "authorizations": order.authorizations.iter().map(|index| format!("{base}/authorization/{index}")).collect::<Vec<_>>(),
            "finalize": format!("{base}/finalize/{}", order.id),
        });
        if let Some(replaces) = &order.replaces {
            object["replaces"] = json!(replaces);
        }
        if status == "valid" {
            object["certificate"] = json!(format!("{base}/certificate/{}", order.id));
        }
        let mut answer = answer_json(200, &object);
        located(&mut answer, &format!("{base}/order/{}", order.id));
        if let (Some(value), "pending" | "processing") = (&self.behaviour.retry_after, status) {
            answer
                .headers_mut()
                .insert("retry-after", HeaderValue::from_str(value).unwrap());
        }
        answer
    }

    fn authorization(&self, index: usize) -> Value {
        let authorization = &self.authorizations[index];
        let challenges: Vec<_> = authorization
            .kinds
            .iter()
            .map(|kind| self.challenge(index, kind))
            .collect();
        json!({
            "status": authorization.status,
            "identifier": identifier(&authorization.name),
            "challenges": challenges,
        })
    }

    fn directory(&self) -> Value {
        let base = &self.base;
        let mut directory = json!({
            "newNonce": format!("{base}/new-nonce"),
            "newAccount": format!("{base}/new-account"),
            "newOrder": format!("{base}/new-order"),
            "revokeCert": format!("{base}/revoke"),
            "keyChange": format!("{base}/key-change"),
        });
        for profile in &self.behaviour.profiles {
            directory["meta"]["profiles"][profile] = json!("https://ca.example/profiles");
        }
        if let Some(identities) = &self.behaviour.caa_identities {
            directory["meta"]["caaIdentities"] = identities.clone();
        }
        if self.behaviour.renewal_window.is_some() {
            directory["renewalInfo"] = json!(format!("{base}/renewal-info"));
        }
        directory
    }

    fn renewal_info(&self) -> Response<Bytes> {
        let at = |seconds| {
            let seconds = self.clock.now().unix_seconds() + seconds;
            certgate::clock::Timestamp::from_unix_seconds(seconds).to_string()
        };
        let window = self
            .behaviour
            .renewal_window
            .unwrap_or(super::Window { start: 0, end: 0 });
        let object = json!({
            "suggestedWindow": {"start": at(window.start), "end": at(window.end)},
            "explanationURL": "https://ca.example/why",
        });
        let mut answer = answer_json(200, &object);
        if let Some(value) = &self.behaviour.ask_again {
            let value = HeaderValue::from_str(value).unwrap();
            answer.headers_mut().insert("retry-after", value);
        }
        answer
    }

    fn finalize(&mut self, position: usize, jws: &Jws) -> Reply {
        let order = &self.orders[position];
        if self.status(order) != "ready" {
            return Err((
                403,
                "orderNotReady",
                format!("the order is {}", self.status(order)),
            ));
        }
        let csr = URL_SAFE_NO_PAD
            .decode(jws.payload["csr"].as_str().unwrap_or_default())
            .unwrap_or_default();
        let issued = self.behaviour.certificate;
        let lifetime = match order.profile.as_deref() {
            Some("shortlived") => SHORTLIVED,
            _ => self.behaviour.lifetime,
        };
        let chain = self
            .authority
            .sign(&csr, &order.names, issued, self.clock.now(), lifetime);
        let chain = chain.ok_or((400, "badCSR", "the request does not fit the order".to_owned()))?;
        self.orders[position].chain = Some(chain);
        Ok(self.order(position))
    }
}

/// Does what was asked.
pub(super) async fn answer(protocol: &Mutex<Protocol>, asked: Asked) -> Response<Bytes> {
    let challenge = match asked
        .path
        .strip_prefix("/challenge/")
        .and_then(|rest| rest.split_once('/'))
    {
        Some((index, kind)) => index.parse::<usize>().ok().map(|index| (index, kind.to_owned())),
        None => None,
    };
    let reply = match challenge {
        Some((index, kind)) => validation::tried(protocol, &asked, index, &kind).await,
        None => {
            let mut protocol = protocol.lock().unwrap();
            match (&asked.method, asked.path.as_str()) {
                (&Method::GET, path) if path.starts_with("/directory") => {
                    Ok(answer_json(200, &protocol.directory()))
                }
                (&Method::GET, path) if path.starts_with("/renewal-info/") => Ok(protocol.renewal_info()),
                (&Method::HEAD | &Method::GET, "/new-nonce") => Ok(Response::new(Bytes::new())),
                _ => protocol.post(&asked),
            }
        }
    };
    let mut answer =
        reply.unwrap_or_else(|(status, kind, detail)| answer_json(status, &problem(kind, &detail)));
    let nonce = protocol.lock().unwrap().nonce();
    answer
        .headers_mut()
        .insert("replay-nonce", HeaderValue::from_str(&nonce).unwrap());
    answer
}

pub(super) fn problem(kind: &str, detail: &str) -> Value {
    json!({"type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail})
}

fn endpoint(path: &str) -> Option<Endpoint> {
    Some(match path.split(['/', '?']).nth(1)? {
        "account" => Endpoint::Account,
        "authorization" => Endpoint::Authorization,
        "certificate" => Endpoint::Certificate,
        "challenge" => Endpoint::Challenge,
        "directory" => Endpoint::Directory,
        "finalize" => Endpoint::Finalize,
        "new-account" => Endpoint::NewAccount,
        "new-nonce" => Endpoint::NewNonce,
        "new-order" => Endpoint::NewOrder,
        "order" => Endpoint::Order,
        "orders" => Endpoint::Orders,
        "renewal-info" => Endpoint::RenewalInfo,
        _ => return None,
    })
}

/// A name or an IP address (RFC 8738 §3).
fn identifier(name: &str) -> Value {
    let is_address = name.parse::<std::net::IpAddr>().is_ok();
    json!({"type": if is_address { "ip" } else { "dns" }, "value": name})
}

fn names(payload: &Value) -> Vec<String> {
    let identifiers = payload["identifiers"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let mut names: Vec<_> = identifiers
        .iter()
        .filter_map(|i| i["value"].as_str())
        .map(ToOwned::to_owned)
        .collect();
    names.sort();
    names
}

pub(super) fn answer_json(status: u16, body: &Value) -> Response<Bytes> {
    let kind = if status < 400 {
        "application/json"
    } else {
        "application/problem+json"
    };
    let builder = Response::builder().status(status).header("content-type", kind);
    builder.body(body.to_string().into()).unwrap()
}

pub(super) fn located(answer: &mut Response<Bytes>, url: &str) {
    answer
        .headers_mut()
        .insert("location", HeaderValue::from_str(url).unwrap());
}

pub(super) fn random() -> String {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    URL_SAFE_NO_PAD.encode(bytes)
}
