//! An ACME server (RFC 8555) in the test's own process, for everything that a real one cannot be made to do: stall,
//! forget, contradict itself, answer with an error page, hand out a certificate for another key.
//!
//! ```ignore
//! let ca = AcmeDouble::start(clock).await;
//! ca.fault(Endpoint::NewOrder, Fault::problem(429, "rateLimited").header("retry-after", "60"));
//! ca.change(|behaviour| behaviour.failing.insert("a.example".into()));
//! assert_eq!(ca.count(Endpoint::NewOrder), 1);
//! ```

#![allow(dead_code, reason = "each test binary that includes this uses a part of it")]

#[path = "acme_double/accounts.rs"]
mod accounts;
#[path = "acme_double/behaviour.rs"]
mod behaviour;
#[path = "acme_double/jws.rs"]
mod jws;
#[path = "acme_double/protocol.rs"]
mod protocol;
#[path = "acme_double/signing.rs"]
mod signing;
#[path = "acme_double/validation.rs"]
mod validation;

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use certgate::clock::Clock;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

pub(crate) use behaviour::{Authorizations, Behaviour, Issued, Replacing, SHORTLIVED, Validation, Window};
use protocol::Protocol;

/// The server. Stops when it is dropped.
pub(crate) struct AcmeDouble {
    address: SocketAddr,
    https_root: String,
    acceptor: TlsAcceptor,
    protocol: Arc<Mutex<Protocol>>,
    server: tokio::task::JoinHandle<()>,
}

/// The resources of RFC 8555 §7.1.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Endpoint {
    Account,
    Authorization,
    Certificate,
    Challenge,
    Directory,
    Finalize,
    NewAccount,
    NewNonce,
    NewOrder,
    Order,
    Orders,
    RenewalInfo,
}

/// What happens instead of an answer.
#[derive(Clone)]
pub(crate) enum Fault {
    /// This answer; nothing is done.
    Answer {
        status: u16,
        headers: HeaderMap,
        body: String,
    },
    /// What was asked for is done, and the connection closed without an answer.
    Lost,
    /// None: a request that a later fault lets pass.
    Pass,
    /// The connection is closed; nothing is done.
    Reset,
    /// No answer, ever; nothing is done.
    Stall,
    /// What was asked for is done; half of the answer arrives under the length of the whole.
    Truncated,
    /// What was asked for is done; half of the answer arrives as if it were the whole.
    Halved,
}

impl Fault {
    /// A problem document of this type (RFC 8555 §6.7).
    pub(crate) fn problem(status: u16, kind: &str) -> Self {
        let body = protocol::problem(kind, "scripted").to_string();
        Self::answer(status, &body).header("content-type", "application/problem+json")
    }

    /// Any answer.
    pub(crate) fn answer(status: u16, body: &str) -> Self {
        Self::Answer {
            status,
            headers: HeaderMap::new(),
            body: body.to_owned(),
        }
    }

    /// The same with a header more.
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        self
    }
}

/// An order as the server has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct OrderView {
    pub url: String,
    pub names: Vec<String>,
    pub status: &'static str,
    /// The certificate that it replaces (RFC 9773 §5).
    pub replaces: Option<String>,
    /// The profile asked for.
    pub profile: Option<String>,
}

impl AcmeDouble {
    /// Starts a server on a free port of 127.0.0.1.
    pub(crate) async fn start(clock: Arc<dyn Clock>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (https_root, acceptor) = https(address);
        let protocol = Arc::new(Mutex::new(Protocol::new(format!("https://{address}"), clock)));
        let server = tokio::spawn(serve(listener, acceptor.clone(), protocol.clone()));
        Self {
            address,
            https_root,
            acceptor,
            protocol,
            server,
        }
    }

    /// Goes off the air: connections break, and new ones are refused.
    pub(crate) async fn stop(&mut self) {
        self.server.abort();
        let _ = (&mut self.server).await;
    }

    /// Comes back at the same address, with everything it knew.
    pub(crate) async fn resume(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.server = tokio::spawn(serve(listener, self.acceptor.clone(), self.protocol.clone()));
    }

    /// The directory's URL.
    pub(crate) fn directory(&self) -> String {
        format!("https://{}/directory", self.address)
    }

    /// The certificate that clients trust the server by, in PEM.
    pub(crate) fn https_root(&self) -> &str {
        &self.https_root
    }

    /// The root of what is issued, in PEM.
    pub(crate) fn issuing_root(&self) -> String {
        self.protocol.lock().unwrap().authority.root_pem()
    }

    /// Changes what the server does from now on.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.protocol.lock().unwrap().behaviour);
    }

    /// The next request to `endpoint` that no earlier fault waits for meets this one.
    pub(crate) fn fault(&self, endpoint: Endpoint, fault: Fault) {
        let mut protocol = self.protocol.lock().unwrap();
        protocol.faults.entry(endpoint).or_default().push_back(fault);
    }

    /// Every request to `endpoint` meets this fault, until [`heal`](Self::heal).
    pub(crate) fn always(&self, endpoint: Endpoint, fault: Fault) {
        self.protocol.lock().unwrap().standing.insert(endpoint, fault);
    }

    /// Ends all faults.
    pub(crate) fn heal(&self) {
        let mut protocol = self.protocol.lock().unwrap();
        protocol.faults.clear();
        protocol.standing.clear();
    }

    /// Forgets every account, as a server set up anew would.
    pub(crate) fn forget_accounts(&self) {
        self.protocol.lock().unwrap().accounts.clear();
    }

    /// Forgets every order.
    pub(crate) fn forget_orders(&self) {
        self.protocol.lock().unwrap().orders.clear();
    }

    /// Requests to `endpoint` so far.
    pub(crate) fn count(&self, endpoint: Endpoint) -> usize {
        self.protocol
            .lock()
            .unwrap()
            .counts
            .get(&endpoint)
            .copied()
            .unwrap_or(0)
    }

    /// Requests so far, whatever they were for.
    pub(crate) fn requests(&self) -> usize {
        self.protocol.lock().unwrap().counts.values().sum()
    }

    /// Requests so far to each endpoint that had any, sorted.
    pub(crate) fn counts(&self) -> Vec<(Endpoint, usize)> {
        let protocol = self.protocol.lock().unwrap();
        let mut counts: Vec<_> = protocol
            .counts
            .iter()
            .map(|(endpoint, count)| (*endpoint, *count))
            .collect();
        counts.sort();
        counts
    }

    /// Every order so far, in the order of their making.
    pub(crate) fn orders(&self) -> Vec<OrderView> {
        self.protocol.lock().unwrap().views()
    }

    /// The contacts of every account, in the order of their making.
    pub(crate) fn contacts(&self) -> Vec<Vec<String>> {
        let protocol = self.protocol.lock().unwrap();
        protocol
            .accounts
            .iter()
            .map(|account| account.contact.clone())
            .collect()
    }

    /// The `User-Agent` of the last request.
    pub(crate) fn user_agent(&self) -> String {
        self.protocol.lock().unwrap().user_agent.clone()
    }

    /// Waits until `endpoint` was asked `count` times.
    pub(crate) async fn asked(&self, endpoint: Endpoint, count: usize) {
        let asked = async {
            while self.count(endpoint) < count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let seconds = Duration::from_secs(10);
        tokio::time::timeout(seconds, asked)
            .await
            .unwrap_or_else(|_| panic!("{endpoint:?} was not asked"));
    }
}

impl Drop for AcmeDouble {
    fn drop(&mut self) {
        self.server.abort();
    }
}

type Answer = Response<BoxBody<Bytes, io::Error>>;

/// What was asked, once its body is here.
struct Asked {
    method: Method,
    url: String,
    path: String,
    user_agent: String,
    body: Bytes,
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, protocol: Arc<Mutex<Protocol>>) {
    // Connections end with the server: a stopped server answers nobody.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((tcp, _)) = listener.accept().await {
        let (acceptor, protocol) = (acceptor.clone(), protocol.clone());
        connections.spawn(async move {
            tcp.set_nodelay(true).unwrap();
            let Ok(tls) = acceptor.accept(tcp).await else {
                return;
            };
            let service = service_fn(move |request| answer(request, protocol.clone()));
            let http = hyper::server::conn::http1::Builder::new();
            let _ = http.serve_connection(TokioIo::new(tls), service).await;
        });
    }
}

async fn answer(request: hyper::Request<Incoming>, protocol: Arc<Mutex<Protocol>>) -> io::Result<Answer> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let path = parts
        .uri
        .path_and_query()
        .map_or("/", |path| path.as_str())
        .to_owned();
    let user_agent = parts
        .headers
        .get("user-agent")
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    let base = protocol.lock().unwrap().base.clone();
    let asked = Asked {
        method: parts.method,
        url: format!("{base}{path}"),
        path,
        user_agent: user_agent.to_owned(),
        body,
    };
    let (fault, hangs, date) = {
        let mut protocol = protocol.lock().unwrap();
        (protocol.begin(&asked), protocol.hangs(&asked), protocol.date())
    };
    let mut answer = faulty(asked, fault, hangs, &protocol).await?;
    answer.headers_mut().insert("date", date);
    Ok(answer)
}

async fn faulty(
    asked: Asked,
    fault: Option<Fault>,
    hangs: bool,
    protocol: &Arc<Mutex<Protocol>>,
) -> io::Result<Answer> {
    match fault {
        Some(Fault::Answer {
            status,
            headers,
            body,
        }) => {
            let mut answer = whole(body.into());
            *answer.status_mut() = StatusCode::from_u16(status).unwrap();
            answer.headers_mut().extend(headers);
            Ok(answer)
        }
        Some(Fault::Reset) => Err(io::ErrorKind::ConnectionReset.into()),
        Some(Fault::Stall) => std::future::pending().await,
        None if hangs => std::future::pending().await,
        fault => {
            let answer = protocol::answer(protocol, asked).await;
            match fault {
                Some(Fault::Lost) => Err(io::ErrorKind::ConnectionReset.into()),
                Some(Fault::Halved) => Ok(halved(answer, false)),
                Some(Fault::Truncated) => Ok(halved(answer, true)),
                _ => Ok(answer.map(|body| Full::new(body).map_err(never).boxed())),
            }
        }
    }
}

fn whole(body: Bytes) -> Answer {
    Response::new(Full::new(body).map_err(never).boxed())
}

fn halved(answer: Response<Bytes>, with_the_length_of_the_whole: bool) -> Answer {
    let (mut parts, body) = answer.into_parts();
    let half = body.slice(..body.len() / 2);
    if !with_the_length_of_the_whole {
        return Response::from_parts(parts, Full::new(half).map_err(never).boxed());
    }
    parts
        .headers
        .insert("content-length", HeaderValue::from(body.len()));
    let frames = [Ok(Frame::data(half)), Err(io::ErrorKind::ConnectionReset.into())];
    let body = StreamBody::new(futures_util::stream::iter(VecDeque::from(frames)));
    Response::from_parts(parts, BodyExt::boxed(body))
}

fn never(error: Infallible) -> io::Error {
    match error {}
}

fn https(address: SocketAddr) -> (String, TlsAcceptor) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec![address.ip().to_string(), "localhost".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .unwrap();
    (certificate.pem(), TlsAcceptor::from(Arc::new(config)))
}

type Counts = HashMap<Endpoint, usize>;
type Faults = HashMap<Endpoint, VecDeque<Fault>>;
