//! Everything that a CA can do wrong, in one table: what an attempt costs then, when the next one is, and what the
//! operator is told. Each row is met by the loop on a clock that is set by hand, and by the whole program.

use std::time::Duration;

use certgate::clock::Timestamp;
use time::format_description::well_known::Rfc2822;

use super::acme_double::{AcmeDouble, Endpoint, Fault, Issued};

/// A row.
pub(crate) struct Failure {
    pub(crate) name: &'static str,
    /// Has the CA do it; with the time at the CA.
    pub(crate) arrange: fn(&AcmeDouble, Timestamp),
    /// All requests of the attempt, sorted.
    pub(crate) requests: &'static [(Endpoint, usize)],
    pub(crate) next: Next,
    /// Parts of the reason that `status` gives.
    pub(crate) says: &'static [&'static str],
    /// Requests for an order once the CA is well and a certificate is there.
    pub(crate) orders_in_all: usize,
}

/// When the next attempt is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Next {
    /// At the first step of the ladder: a minute.
    Ladder,
    /// When the CA says: so long from now, up to a minute later.
    AsSaid(Duration),
    /// The same, of a wait that the library measures.
    AsSaidToTheLibrary(Duration),
    /// In a day, for it is stopped.
    Stopped,
    /// In five minutes, for nothing is ordered by a wrong clock.
    Clock,
}

impl Next {
    /// The state of the certificate until then, in the words of `status`.
    pub(crate) fn state(self) -> &'static str {
        match self {
            Self::Ladder | Self::AsSaid(_) | Self::AsSaidToTheLibrary(_) => "backing-off",
            Self::Stopped => "stopped",
            Self::Clock => "blocked",
        }
    }
}

/// So many requests as fit into the time of an attempt.
pub(crate) const UNTIL_TIME_RUNS_OUT: usize = usize::MAX;

impl Failure {
    /// Whether an attempt goes on for as long as it may.
    pub(crate) fn lasts(&self) -> bool {
        self.requests
            .iter()
            .any(|(_, count)| *count == UNTIL_TIME_RUNS_OUT)
    }

    /// What is wrong with the requests that there were.
    pub(crate) fn wrong_requests(&self, ca: &AcmeDouble) -> Option<String> {
        let found = ca.counts();
        let is_right = |found: &[(Endpoint, usize)]| {
            found.len() == self.requests.len()
                && found.iter().zip(self.requests).all(|(found, expected)| {
                    found.0 == expected.0
                        && match expected.1 {
                            UNTIL_TIME_RUNS_OUT => found.1 > 1,
                            count => found.1 == count,
                        }
                })
        };
        (!is_right(&found)).then(|| format!("{}: requests {found:?}", self.name))
    }

    /// What is wrong with the reason that is given.
    pub(crate) fn wrong_reason(&self, said: &str) -> Option<String> {
        let missing = self.says.iter().find(|part| !said.contains(*part));
        missing.map(|part| format!("{}: no {part:?} in {said:?}", self.name))
    }
}

fn refuse(ca: &AcmeDouble, fault: Fault) {
    ca.always(Endpoint::NewOrder, fault);
}

fn detailed(status: u16, kind: &str, detail: &str) -> Fault {
    let kind = format!("urn:ietf:params:acme:error:{kind}");
    Fault::answer(
        status,
        &serde_json::json!({"type": kind, "detail": detail}).to_string(),
    )
}

/// A page that a proxy shows in the CA's place.
const PAGE: &str = "<html><head><title>502 Bad Gateway</title></head></html>";
const PAUSED: &str = "Your account is temporarily prevented from requesting certificates for www.example and possibly \
                      others. Please visit: https://portal.ca.example/sfe/v1/unpause?jwt=abc";
/// An account is registered and an order asked for, once.
const ONE_ORDER: &[(Endpoint, usize)] = &[
    (Endpoint::Directory, 1),
    (Endpoint::NewAccount, 1),
    (Endpoint::NewNonce, 2),
    (Endpoint::NewOrder, 1),
];
/// The whole way to a certificate.
const ALL: &[(Endpoint, usize)] = &[
    (Endpoint::Authorization, 1),
    (Endpoint::Certificate, 1),
    (Endpoint::Challenge, 1),
    (Endpoint::Directory, 1),
    (Endpoint::Finalize, 1),
    (Endpoint::NewAccount, 1),
    (Endpoint::NewNonce, 2),
    (Endpoint::NewOrder, 1),
    (Endpoint::Order, 1),
];
/// The clock is looked at twice, and nothing is asked for.
const ONLY_THE_TIME: &[(Endpoint, usize)] = &[
    (Endpoint::Directory, 2),
    (Endpoint::NewAccount, 1),
    (Endpoint::NewNonce, 2),
];
const TWO_HOURS: Duration = Duration::from_secs(7200);

pub(crate) static TABLE: [Failure; 21] = [
    Failure {
        name: "a nonce is refused again and again",
        arrange: |ca, _| ca.change(|ca| ca.refused_nonces = usize::MAX),
        requests: &[
            (Endpoint::Directory, 6),
            (Endpoint::NewAccount, 18),
            (Endpoint::NewNonce, 6),
        ],
        next: Next::Ladder,
        says: &["badNonce"],
        orders_in_all: 1,
    },
    Failure {
        name: "429 with Retry-After",
        arrange: |ca, _| {
            refuse(
                ca,
                Fault::problem(429, "rateLimited").header("retry-after", "7200"),
            )
        },
        requests: ONE_ORDER,
        next: Next::AsSaid(TWO_HOURS),
        says: &["429", "rateLimited"],
        orders_in_all: 2,
    },
    Failure {
        name: "429 without Retry-After",
        arrange: |ca, _| refuse(ca, Fault::problem(429, "rateLimited")),
        requests: ONE_ORDER,
        next: Next::Ladder,
        says: &["429", "rateLimited"],
        orders_in_all: 2,
    },
    Failure {
        name: "429 with the time in words",
        arrange: |ca, now| {
            let at = (now + TWO_HOURS).to_string();
            let at = at.replace('T', " ");
            let detail = format!(
                "too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s, \
                 retry after {} UTC: see https://ca.example/limits",
                &at[..19]
            );
            refuse(ca, detailed(429, "rateLimited", &detail));
        },
        requests: ONE_ORDER,
        next: Next::AsSaid(TWO_HOURS),
        says: &["exact set of identifiers", "https://ca.example/limits"],
        orders_in_all: 2,
    },
    Failure {
        name: "a paused account",
        arrange: |ca, _| refuse(ca, detailed(429, "rateLimited", PAUSED)),
        requests: ONE_ORDER,
        next: Next::Stopped,
        says: &["https://portal.ca.example/sfe/v1/unpause?jwt=abc"],
        orders_in_all: 2,
    },
    Failure {
        name: "503",
        arrange: |ca, _| refuse(ca, Fault::answer(503, "")),
        requests: ONE_ORDER,
        next: Next::Ladder,
        says: &["503 and no more"],
        orders_in_all: 2,
    },
    Failure {
        name: "503 with Retry-After",
        arrange: |ca, now| {
            let at = (now + TWO_HOURS).to_offset_date_time().unwrap();
            let at = at.format(&Rfc2822).unwrap().replace("+0000", "GMT");
            ca.always(
                Endpoint::Directory,
                Fault::answer(503, "busy").header("retry-after", &at),
            );
        },
        requests: &[(Endpoint::Directory, 1)],
        next: Next::AsSaid(TWO_HOURS),
        says: &["503", "busy"],
        orders_in_all: 1,
    },
    Failure {
        name: "connections are reset",
        arrange: |ca, _| ca.always(Endpoint::NewOrder, Fault::Reset),
        requests: ONE_ORDER,
        next: Next::Ladder,
        says: &["cannot place the order", "before its answer was whole"],
        orders_in_all: 2,
    },
    Failure {
        name: "an HTML page for an answer",
        arrange: |ca, _| refuse(ca, Fault::answer(502, PAGE).header("content-type", "text/html")),
        requests: ONE_ORDER,
        next: Next::Ladder,
        says: &["502", "Bad Gateway"],
        orders_in_all: 2,
    },
    Failure {
        name: "an HTML page under a good status",
        arrange: |ca, _| refuse(ca, Fault::answer(200, PAGE)),
        requests: ONE_ORDER,
        next: Next::Ladder,
        says: &["not as a CA does", "Bad Gateway"],
        orders_in_all: 2,
    },
    Failure {
        name: "accountDoesNotExist, also for a new account",
        arrange: |ca, _| refuse(ca, Fault::problem(400, "accountDoesNotExist")),
        requests: &[
            (Endpoint::Directory, 3),
            (Endpoint::NewAccount, 2),
            (Endpoint::NewNonce, 4),
            (Endpoint::NewOrder, 2),
        ],
        next: Next::Ladder,
        says: &["accountDoesNotExist"],
        orders_in_all: 3,
    },
    Failure {
        name: "userActionRequired",
        arrange: |ca, _| {
            let terms = Fault::problem(403, "userActionRequired");
            refuse(
                ca,
                terms.header("link", "<https://ca.example/terms/2>;rel=\"terms-of-service\""),
            );
        },
        requests: ONE_ORDER,
        next: Next::Stopped,
        says: &["userActionRequired", "see https://ca.example/terms/2"],
        orders_in_all: 2,
    },
    Failure {
        name: "rejectedIdentifier",
        arrange: |ca, _| refuse(ca, Fault::problem(400, "rejectedIdentifier")),
        requests: ONE_ORDER,
        next: Next::Stopped,
        says: &["rejectedIdentifier"],
        orders_in_all: 2,
    },
    Failure {
        name: "caa",
        arrange: |ca, _| ca.always(Endpoint::Finalize, Fault::problem(403, "caa")),
        requests: &[
            (Endpoint::Authorization, 1),
            (Endpoint::Challenge, 1),
            (Endpoint::Directory, 1),
            (Endpoint::Finalize, 1),
            (Endpoint::NewAccount, 1),
            (Endpoint::NewNonce, 2),
            (Endpoint::NewOrder, 1),
            (Endpoint::Order, 1),
        ],
        next: Next::Ladder,
        says: &["cannot finalize the order", "caa"],
        orders_in_all: 2,
    },
    Failure {
        name: "a failed challenge",
        arrange: |ca, _| {
            ca.change(|ca| {
                // The names of the two tests.
                ca.failing
                    .extend(["www.example", "www.example.test"].map(ToOwned::to_owned));
            });
        },
        requests: &[
            (Endpoint::Authorization, 2),
            (Endpoint::Challenge, 1),
            (Endpoint::Directory, 1),
            (Endpoint::NewAccount, 1),
            (Endpoint::NewNonce, 3),
            (Endpoint::NewOrder, 1),
            (Endpoint::Order, 2),
        ],
        next: Next::Ladder,
        says: &[" by http-01", "unauthorized"],
        orders_in_all: 2,
    },
    Failure {
        name: "processing without an end",
        arrange: |ca, _| ca.change(|ca| ca.processing = true),
        requests: &[
            (Endpoint::Authorization, 1),
            (Endpoint::Challenge, 1),
            (Endpoint::Directory, 1),
            (Endpoint::Finalize, 1),
            (Endpoint::NewAccount, 1),
            (Endpoint::NewNonce, 2),
            (Endpoint::NewOrder, 1),
            (Endpoint::Order, UNTIL_TIME_RUNS_OUT),
        ],
        next: Next::Ladder,
        says: &["waiting for the certificate", "kept and taken up again"],
        orders_in_all: 1,
    },
    Failure {
        name: "processing for an hour, as the CA says",
        arrange: |ca, _| {
            ca.change(|ca| {
                ca.processing = true;
                ca.retry_after = Some("3600".to_owned());
            });
        },
        requests: &[
            (Endpoint::Authorization, 1),
            (Endpoint::Challenge, 1),
            (Endpoint::Directory, 1),
            (Endpoint::Finalize, 1),
            (Endpoint::NewAccount, 1),
            (Endpoint::NewNonce, 2),
            (Endpoint::NewOrder, 1),
            (Endpoint::Order, 2),
        ],
        next: Next::AsSaidToTheLibrary(Duration::from_secs(3600)),
        says: &["waiting for the certificate", "kept and taken up again"],
        orders_in_all: 1,
    },
    Failure {
        name: "a wrong chain",
        arrange: |ca, _| ca.change(|ca| ca.certificate = Issued::BrokenChain),
        requests: ALL,
        next: Next::Ladder,
        says: &["not what was asked for", "the chain is broken"],
        orders_in_all: 2,
    },
    Failure {
        name: "a certificate for another key",
        arrange: |ca, _| ca.change(|ca| ca.certificate = Issued::OtherKey),
        requests: ALL,
        next: Next::Ladder,
        says: &["not what was asked for", "private key"],
        orders_in_all: 2,
    },
    Failure {
        name: "a CA whose clock is two hours ahead",
        arrange: |ca, _| ca.change(|ca| ca.ahead = 7200),
        requests: ONLY_THE_TIME,
        next: Next::Clock,
        says: &[
            "this machine's clock shows",
            "while the CA's shows",
            "nothing is ordered before that",
        ],
        orders_in_all: 1,
    },
    Failure {
        name: "a CA whose clock is two hours behind",
        arrange: |ca, _| ca.change(|ca| ca.ahead = -7200),
        requests: ONLY_THE_TIME,
        next: Next::Clock,
        says: &[
            "this machine's clock shows",
            "while the CA's shows",
            "nothing is ordered before that",
        ],
        orders_in_all: 1,
    },
];
