//! The whole table of failures, each met by the loop with a real ACME client at a CA that misbehaves: how often the
//! CA is asked, when the next attempt is, what the operator is told, and that it mends by itself.

use std::time::Duration;

use certgate::inventory::{CertificateRecord, CertificateState};

use crate::scene::Scene;
use crate::support::acme_double::{AcmeDouble, Authorizations, Endpoint, Fault, Issued};
use crate::world::{DAY, HOUR, MINUTE};

/// When the next attempt is.
#[derive(Debug)]
enum Next {
    /// The first step of the ladder.
    Minute,
    /// So long from now, up to a minute later.
    In(Duration),
    /// Once a day, for it is stopped.
    Stopped,
}

struct Row {
    failure: &'static str,
    arrange: fn(&AcmeDouble),
    /// Requests for an order, and requests in all at most.
    orders: usize,
    requests: usize,
    next: Next,
    /// What `status` says.
    says: &'static [&'static str],
    /// Requests for an order once the CA is well and a certificate is there.
    orders_in_all: usize,
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
const TOO_MANY: &str = "too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s, \
                        retry after 2026-11-21 02:00:00 UTC: see https://ca.example/limits";

const TABLE: [Row; 20] = [
    Row {
        failure: "a nonce is refused again and again",
        arrange: |ca| ca.change(|ca| ca.refused_nonces = usize::MAX),
        orders: 0,
        requests: 40,
        next: Next::Minute,
        says: &["badNonce"],
        orders_in_all: 1,
    },
    Row {
        failure: "429 with Retry-After",
        arrange: |ca| {
            refuse(
                ca,
                Fault::problem(429, "rateLimited").header("retry-after", "7200"),
            )
        },
        orders: 1,
        requests: 6,
        next: Next::In(Duration::from_secs(7200)),
        says: &["429", "rateLimited"],
        orders_in_all: 2,
    },
    Row {
        failure: "429 without Retry-After",
        arrange: |ca| refuse(ca, Fault::problem(429, "rateLimited")),
        orders: 1,
        requests: 6,
        next: Next::Minute,
        says: &["429", "rateLimited"],
        orders_in_all: 2,
    },
    Row {
        failure: "429 with the time in words",
        arrange: |ca| refuse(ca, detailed(429, "rateLimited", TOO_MANY)),
        orders: 1,
        requests: 6,
        next: Next::In(Duration::from_secs(7200)),
        says: &["exact set of identifiers", "https://ca.example/limits"],
        orders_in_all: 2,
    },
    Row {
        failure: "a paused account",
        arrange: |ca| refuse(ca, detailed(429, "rateLimited", PAUSED)),
        orders: 1,
        requests: 6,
        next: Next::Stopped,
        says: &["https://portal.ca.example/sfe/v1/unpause?jwt=abc"],
        orders_in_all: 2,
    },
    Row {
        failure: "503",
        arrange: |ca| refuse(ca, Fault::answer(503, "")),
        orders: 1,
        requests: 6,
        next: Next::Minute,
        says: &["503 and no more"],
        orders_in_all: 2,
    },
    Row {
        failure: "503 with Retry-After",
        arrange: |ca| {
            let busy = Fault::answer(503, "busy").header("retry-after", "Sat, 21 Nov 2026 02:00:00 GMT");
            ca.always(Endpoint::Directory, busy);
        },
        orders: 0,
        requests: 1,
        next: Next::In(Duration::from_secs(7200)),
        says: &["503", "busy"],
        orders_in_all: 1,
    },
    Row {
        failure: "connections are reset",
        arrange: |ca| ca.always(Endpoint::NewOrder, Fault::Reset),
        orders: 1,
        requests: 8,
        next: Next::Minute,
        says: &["cannot place the order", "before its answer was whole"],
        orders_in_all: 2,
    },
    Row {
        failure: "an HTML page for an answer",
        arrange: |ca| refuse(ca, Fault::answer(502, PAGE).header("content-type", "text/html")),
        orders: 1,
        requests: 6,
        next: Next::Minute,
        says: &["502", "Bad Gateway"],
        orders_in_all: 2,
    },
    Row {
        failure: "an HTML page under a good status",
        arrange: |ca| refuse(ca, Fault::answer(200, PAGE)),
        orders: 1,
        requests: 6,
        next: Next::Minute,
        says: &["not as a CA does", "Bad Gateway"],
        orders_in_all: 2,
    },
    Row {
        failure: "accountDoesNotExist, also for a new account",
        arrange: |ca| refuse(ca, Fault::problem(400, "accountDoesNotExist")),
        orders: 2,
        requests: 20,
        next: Next::Minute,
        says: &["accountDoesNotExist"],
        orders_in_all: 3,
    },
    Row {
        failure: "userActionRequired",
        arrange: |ca| {
            let terms = Fault::problem(403, "userActionRequired");
            refuse(
                ca,
                terms.header("link", "<https://ca.example/terms/2>;rel=\"terms-of-service\""),
            );
        },
        orders: 1,
        requests: 6,
        next: Next::Stopped,
        says: &["userActionRequired", "see https://ca.example/terms/2"],
        orders_in_all: 2,
    },
    Row {
        failure: "rejectedIdentifier",
        arrange: |ca| refuse(ca, Fault::problem(400, "rejectedIdentifier")),
        orders: 1,
        requests: 6,
        next: Next::Stopped,
        says: &["rejectedIdentifier"],
        orders_in_all: 2,
    },
    Row {
        failure: "caa",
        arrange: |ca| ca.always(Endpoint::Finalize, Fault::problem(403, "caa")),
        orders: 1,
        requests: 12,
        next: Next::Minute,
        says: &["cannot finalize the order", "caa"],
        orders_in_all: 2,
    },
    Row {
        failure: "a failed challenge",
        arrange: |ca| {
            ca.change(|ca| {
                ca.failing.insert("www.example".to_owned());
            });
        },
        orders: 1,
        requests: 14,
        next: Next::Minute,
        says: &["www.example by http-01", "unauthorized"],
        orders_in_all: 2,
    },
    Row {
        failure: "processing without an end",
        arrange: |ca| ca.change(|ca| ca.processing = true),
        orders: 1,
        requests: 60,
        next: Next::Minute,
        says: &["waiting for the certificate", "kept and taken up again"],
        orders_in_all: 1,
    },
    Row {
        failure: "processing for an hour, as the CA says",
        arrange: |ca| {
            ca.change(|ca| {
                ca.processing = true;
                ca.retry_after = Some("3600".to_owned());
            });
        },
        orders: 1,
        requests: 12,
        next: Next::In(HOUR),
        says: &["waiting for the certificate", "kept and taken up again"],
        orders_in_all: 1,
    },
    Row {
        failure: "a wrong chain",
        arrange: |ca| ca.change(|ca| ca.certificate = Issued::BrokenChain),
        orders: 1,
        requests: 14,
        next: Next::Minute,
        says: &["not what was asked for", "the chain is broken"],
        orders_in_all: 2,
    },
    Row {
        failure: "a certificate for another key",
        arrange: |ca| ca.change(|ca| ca.certificate = Issued::OtherKey),
        orders: 1,
        requests: 14,
        next: Next::Minute,
        says: &["not what was asked for", "private key"],
        orders_in_all: 2,
    },
    Row {
        failure: "a CA whose clock is two hours ahead",
        arrange: |ca| ca.change(|ca| ca.ahead = 7200),
        orders: 0,
        requests: 6,
        next: Next::In(Duration::from_secs(300)),
        says: &["clock shows 2026-11-21T00:00:00Z while the CA's shows 2026-11-21T02:00"],
        orders_in_all: 1,
    },
];

async fn check(row: &Row) {
    let failure = row.failure;
    let scene = Scene::new().await;
    (row.arrange)(&scene.ca);
    let (running, record) = scene.first_attempt().await;
    assert_eq!(scene.ca.count(Endpoint::NewOrder), row.orders, "{failure}");
    let requests = scene.ca.requests();
    assert!(requests <= row.requests, "{failure}: {requests} requests");

    let wait = record.state.next_wake().unwrap().since(scene.world.now());
    let (shortest, longest) = match row.next {
        Next::Minute => (MINUTE.mul_f64(0.9), MINUTE.mul_f64(1.1)),
        Next::In(time) => (time.saturating_sub(Duration::from_secs(5)), time + MINUTE),
        Next::Stopped => (DAY.mul_f64(0.9), DAY.mul_f64(1.1)),
    };
    assert!(
        (shortest..=longest).contains(&wait),
        "{failure}: {wait:?}, {:?}",
        row.next
    );
    let is_stopped = matches!(record.state, CertificateState::Stopped { .. });
    assert_eq!(
        is_stopped,
        matches!(row.next, Next::Stopped),
        "{failure}: {:?}",
        record.state
    );
    let said = record.state.problem().unwrap();
    for part in row.says {
        assert!(said.contains(part), "{failure}: {said}");
    }

    scene.ca.heal();
    scene.ca.change(|ca| *ca = Default::default());
    scene.world.clock.set(record.state.next_wake().unwrap());
    scene.world.wait_until_valid("www").await;
    assert_eq!(scene.ca.count(Endpoint::NewOrder), row.orders_in_all, "{failure}");
    running.stop().await;
}

#[tokio::test]
async fn every_failure_costs_what_the_table_says_and_mends_by_itself() {
    for row in &TABLE {
        check(row).await;
    }
}

#[tokio::test]
async fn authorizations_that_are_valid_already_or_not_there_at_all_need_no_challenge() {
    for authorizations in [Authorizations::Valid, Authorizations::Empty] {
        let scene = Scene::new().await;
        scene.ca.change(|ca| ca.authorizations = authorizations);
        let (running, record) = scene.first_attempt().await;
        assert_eq!(record.state, CertificateState::Valid);
        assert_eq!(scene.ca.count(Endpoint::Challenge), 0);
        running.stop().await;
    }
}

#[tokio::test]
async fn an_order_in_processing_for_an_hour_is_never_placed_again() {
    let scene = Scene::new().await;
    scene.ca.change(|ca| ca.processing = true);
    let (running, mut record) = scene.first_attempt().await;
    let begun = scene.world.now();
    while scene.world.now().since(begun) < HOUR {
        scene.world.clock.set(record.state.next_wake().unwrap());
        let failures = record.failures + 1;
        record = scene
            .world
            .wait_for("www", |record| record.failures == failures)
            .await;
    }
    scene.ca.change(|ca| ca.processing = false);
    scene.world.clock.set(record.state.next_wake().unwrap());
    scene.world.wait_until_valid("www").await;
    assert_eq!(scene.ca.count(Endpoint::NewOrder), 1);
    running.stop().await;
}

#[tokio::test]
async fn a_clock_that_is_not_the_cas_raises_an_alarm_until_it_is() {
    for ahead in [7200, -7200] {
        let scene = Scene::new().await;
        scene.ca.change(|ca| ca.ahead = ahead);
        let (mut running, record) = scene.first_attempt().await;
        let alarmed = running.health.wait_for(|health| health.clock.is_some());
        let alarm = alarmed.await.unwrap().clock.as_ref().unwrap().to_string();
        assert!(alarm.contains("CA of issuer `ca`"), "{alarm}");
        assert_eq!(record.failures, 0);
        scene.ca.change(|ca| ca.ahead = 0);
        scene.world.clock.set(record.state.next_wake().unwrap());
        scene.world.wait_until_valid("www").await;
        running
            .health
            .wait_for(|health| health.clock.is_none())
            .await
            .unwrap();
        running.stop().await;
    }
}

#[tokio::test]
async fn a_clock_that_jumps_between_two_orders_is_noticed_before_the_second() {
    let scene = Scene::new().await;
    let (running, record) = scene.first_attempt().await;
    let orders = scene.ca.count(Endpoint::NewOrder);
    scene.ca.change(|ca| ca.ahead = -86_400);
    scene.world.clock.set(record.current.unwrap().renew_at.unwrap());
    let blocked = |record: &CertificateRecord| matches!(record.state, CertificateState::Blocked { .. });
    scene.world.wait_for("www", blocked).await;
    assert_eq!(scene.ca.count(Endpoint::NewOrder), orders);
    running.stop().await;
}

#[tokio::test]
async fn a_name_that_has_failed_for_days_and_leads_elsewhere_stops_and_starts_by_itself() {
    let scene = Scene::new().await;
    scene.ca.change(|ca| {
        ca.failing.insert("www.example".to_owned());
    });
    let (running, mut record) = scene.first_attempt().await;
    let begun = scene.world.now();
    while scene.world.now().since(begun) < 4 * DAY {
        scene.world.clock.set(record.state.next_wake().unwrap());
        let failures = record.failures + 1;
        record = scene
            .world
            .wait_for("www", |record| record.failures == failures)
            .await;
    }
    let orders = scene.ca.count(Endpoint::NewOrder);
    scene.world.dns.lead_elsewhere(&["www"]);
    for checks in 1..=30 {
        scene.world.clock.set(record.state.next_wake().unwrap());
        let blocked = |record: &CertificateRecord| matches!(record.state, CertificateState::Blocked { checks: found, .. } if found == checks);
        record = scene.world.wait_for("www", blocked).await;
    }
    let said = record.state.problem().unwrap();
    assert!(
        said.contains("failed since 2026-11-21T00:00:00Z") && said.contains("it leads elsewhere"),
        "{said}"
    );
    assert_eq!(scene.ca.count(Endpoint::NewOrder), orders);

    scene.ca.change(|ca| ca.failing.clear());
    scene.world.dns.lead_elsewhere(&[]);
    scene.world.clock.set(record.state.next_wake().unwrap());
    let record = scene.world.wait_until_valid("www").await;
    assert_eq!(record.failing_since, None);
    running.stop().await;
}
