//! The HTTP API of acme-dns, and the name server that serves what it is told: of an account the last two values.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::name_server::NameServer;

const SUBDOMAIN: &str = "8e5700ea-a4bf-41c7-8a77-e990661dcc6a";
const USER: &str = "eabcdb41-d89f-4580-826f-3e62e9755ef2";
const PASSWORD: &str = "password-of-acme-dns-pbAXVjlIOE01xbut7YnAbkhMQIkcwoHO0ek2j4Q0";

/// What the account has, as the real server keeps it: each value with the second in which it came. The next one takes the
/// place of the oldest, and of those of one second that of the first.
struct Kept {
    since: Instant,
    rows: [(u64, String); 2],
}

impl Kept {
    fn put(&mut self, text: &str) {
        let second = self.since.elapsed().as_secs() + 1;
        if let Some(oldest) = self.rows.iter_mut().min_by_key(|(second, _)| *second) {
            *oldest = (second, text.to_owned());
        }
    }

    fn texts(&self) -> Vec<&str> {
        let texts = self.rows.iter().map(|(_, text)| text.as_str());
        texts.filter(|text| !text.is_empty()).collect()
    }
}

/// A running server with one account.
pub(crate) struct AcmeDns {
    url: String,
    zone: Arc<NameServer>,
    updates: Arc<AtomicUsize>,
    registrations: Arc<AtomicUsize>,
}

impl AcmeDns {
    /// One whose records `world` knows of, too, as a resolver would.
    pub(crate) async fn start(world: &NameServer) -> Self {
        Self::behind(world, Duration::ZERO).await
    }

    /// The same, which serves what it is told so long after it was told.
    pub(crate) async fn behind(world: &NameServer, lag: Duration) -> Self {
        let zone = Arc::new(NameServer::of("auth.test", 47).await);
        let updates = Arc::new(AtomicUsize::new(0));
        world.add("auth.test SOA 1");
        let owner = format!("{SUBDOMAIN}.auth.test");
        let kept = Arc::new(Mutex::new(Kept {
            since: Instant::now(),
            rows: Default::default(),
        }));
        let (served, resolved, counted) = (zone.clone(), world.clone(), updates.clone());
        let update = move |headers: HeaderMap, Json(body): Json<Value>| async move {
            let header = |name: &str| {
                headers
                    .get(name)
                    .and_then(|value| value.to_str().ok())
                    .map(str::to_owned)
            };
            if header("x-api-user").as_deref() != Some(USER)
                || header("x-api-key").as_deref() != Some(PASSWORD)
            {
                return (StatusCode::UNAUTHORIZED, Json(json!({"error": "forbidden"})));
            }
            let text = body["txt"].as_str().unwrap_or_default();
            if body["subdomain"] != SUBDOMAIN || text.len() != 43 {
                return (StatusCode::BAD_REQUEST, Json(json!({"error": "bad_txt"})));
            }
            kept.lock().expect("nobody panics").put(text);
            let serve = {
                let (kept, served, resolved, owner) =
                    (kept.clone(), served.clone(), resolved.clone(), owner.clone());
                move || {
                    let kept = kept.lock().expect("nobody panics");
                    for server in [&*served, &resolved] {
                        server.set_texts(&owner, &kept.texts());
                    }
                }
            };
            match lag.is_zero() {
                true => serve(),
                false => drop(tokio::spawn(async move {
                    tokio::time::sleep(lag).await;
                    serve();
                })),
            }
            counted.fetch_add(1, Ordering::SeqCst);
            (StatusCode::OK, Json(json!({"txt": text})))
        };
        let registrations = Arc::new(AtomicUsize::new(0));
        let counted = registrations.clone();
        let register = move || async move {
            counted.fetch_add(1, Ordering::SeqCst);
            (StatusCode::CREATED, Json(account()))
        };
        let routes = Router::new()
            .route("/update", post(update))
            .route("/register", post(register))
            .route("/health", get(|| async { StatusCode::OK }));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self {
            url,
            zone,
            updates,
            registrations,
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Where the account's values are served.
    pub(crate) fn full_domain(&self) -> String {
        format!("{SUBDOMAIN}.auth.test")
    }

    pub(crate) fn name_server(&self) -> std::net::SocketAddr {
        self.zone.address()
    }

    /// The values that it serves.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.zone.texts(&self.full_domain())
    }

    /// How often a value was taken.
    pub(crate) fn updates(&self) -> usize {
        self.updates.load(Ordering::SeqCst)
    }

    /// How often an account was asked for.
    pub(crate) fn registrations(&self) -> usize {
        self.registrations.load(Ordering::SeqCst)
    }

    /// The file of accounts as its clients write it: all of `domains` have the one that there is.
    pub(crate) fn accounts(&self, domains: &[&str]) -> String {
        let accounts = domains.iter().map(|domain| ((*domain).to_owned(), account()));
        Value::Object(accounts.collect()).to_string()
    }
}

/// The account as it is given out.
fn account() -> Value {
    json!({
        "allowfrom": [], "fulldomain": format!("{SUBDOMAIN}.auth.test"), "subdomain": SUBDOMAIN, "username": USER,
        "password": PASSWORD,
    })
}
