//! A crash costs no second order.

use std::time::Duration;

use certgate::issuer::{FailureClass, IssueError};

use crate::fixture::{Gateway, desired, www};
use crate::support::acme_double::{Authorizations, Endpoint, Fault};

/// The requests of one issuance for two names, in order: those to an endpoint are counted from 1.
const REQUESTS: [(Endpoint, usize); 12] = [
    (Endpoint::Directory, 1),
    (Endpoint::NewNonce, 1),
    (Endpoint::NewAccount, 1),
    (Endpoint::NewOrder, 1),
    (Endpoint::Authorization, 1),
    (Endpoint::Authorization, 2),
    (Endpoint::Challenge, 1),
    (Endpoint::Challenge, 2),
    (Endpoint::Order, 1),
    (Endpoint::Finalize, 1),
    (Endpoint::Certificate, 1),
    (Endpoint::NewNonce, 2),
];

/// `count - 1` requests pass, then comes the fault.
fn fault_at(gateway: &Gateway, (endpoint, count): (Endpoint, usize), fault: Fault) {
    for _ in 1..count {
        gateway.ca.fault(endpoint, Fault::Pass);
    }
    gateway.ca.fault(endpoint, fault);
}

#[tokio::test]
async fn a_crash_before_any_request_is_done_costs_no_second_order() {
    for request in REQUESTS {
        let gateway = Gateway::start().await;
        let before = gateway.ca.count(request.0);
        fault_at(&gateway, request, Fault::Stall);
        gateway
            .crash_at(&www(), gateway.ca.asked(request.0, before + request.1))
            .await;
        gateway.ca.heal();
        let issued = gateway.issue(&www()).await;
        assert!(issued.is_ok(), "{request:?}: {}", issued.unwrap_err());
        assert_eq!(gateway.ca.orders().len(), 1, "{request:?}");
    }
}

#[tokio::test]
async fn an_answer_lost_after_any_request_was_done_costs_no_second_order() {
    for (endpoint, count) in REQUESTS {
        for fault in [Fault::Lost, Fault::Truncated, Fault::Halved] {
            let gateway = Gateway::start().await;
            fault_at(&gateway, (endpoint, count), fault);
            let first = gateway.issue(&www()).await;
            let again = match first {
                Ok(issued) => Ok(issued),
                Err(error) => {
                    assert_eq!(
                        error.class(),
                        FailureClass::Later,
                        "{endpoint:?} {count}: {error}"
                    );
                    gateway.issue(&www()).await
                }
            };
            assert!(again.is_ok(), "{endpoint:?} {count}: {}", again.unwrap_err());
            assert_eq!(gateway.ca.orders().len(), 1, "{endpoint:?} {count}");
        }
    }
}

#[tokio::test]
async fn an_order_whose_url_was_lost_is_found_among_many() {
    let gateway = Gateway::start().await;
    for name in ["a", "b", "c", "d", "e"] {
        let certificate = desired(name, &[&format!("{name}.example.com"), "example.com"]);
        gateway.issue(&certificate).await.unwrap();
    }
    gateway.ca.fault(Endpoint::NewOrder, Fault::Lost);
    let error = gateway.issue(&www()).await.unwrap_err();
    assert!(matches!(error, IssueError::Unreachable { .. }), "{error}");
    assert_eq!(gateway.journal(&www()).await.unwrap().order_url, None);
    gateway.issue(&www()).await.unwrap();
    assert_eq!(gateway.ca.orders().len(), 6);
    assert!(gateway.ca.orders().iter().all(|order| order.status == "valid"));
}

#[tokio::test]
async fn searches_for_lost_orders_read_each_that_is_over_once() {
    let gateway = Gateway::start().await;
    let issuer = gateway.issuer();
    for name in ["a", "b", "c", "d", "e"] {
        let certificate = desired(name, &[&format!("{name}.example.com")]);
        gateway.attempt(&issuer, &certificate).await.unwrap();
    }
    let lost = [
        desired("one", &["one.example.com"]),
        desired("two", &["two.example.com"]),
    ];
    for certificate in &lost {
        gateway.ca.fault(Endpoint::NewOrder, Fault::Reset);
        gateway.attempt(&issuer, certificate).await.unwrap_err();
    }
    let before = gateway.ca.count(Endpoint::Order);
    let (one, two) = tokio::join!(
        gateway.attempt(&issuer, &lost[0]),
        gateway.attempt(&issuer, &lost[1])
    );
    one.and(two).unwrap();
    // Each looks at its own order once as well, and the second search may find that of the first.
    let asked = gateway.ca.count(Endpoint::Order) - before;
    assert!((7..=8).contains(&asked), "{asked}");
}

#[tokio::test]
async fn an_order_with_more_names_is_not_taken_for_the_lost_one() {
    let gateway = Gateway::start().await;
    gateway.ca.change(|ca| ca.validating = true);
    let more = desired("more", &["www.example.com", "example.com", "shop.example.com"]);
    gateway
        .crash_at(&more, gateway.ca.asked(Endpoint::Challenge, 3))
        .await;
    gateway.ca.change(|ca| ca.validating = false);
    gateway.ca.fault(Endpoint::NewOrder, Fault::Stall);
    gateway
        .crash_at(&www(), gateway.ca.asked(Endpoint::NewOrder, 2))
        .await;
    gateway.issue(&www()).await.unwrap();
    let names: Vec<_> = gateway
        .ca
        .orders()
        .iter()
        .map(|order| order.names.len())
        .collect();
    assert_eq!(names, [3, 2]);
}

#[tokio::test]
async fn an_order_that_another_certificate_pursues_is_not_taken_for_the_lost_one() {
    let gateway = Gateway::start().await;
    gateway.ca.change(|ca| ca.validating = true);
    let issuer = gateway.issuer();
    let (one, two) = (desired("one", &["example.com"]), desired("two", &["example.com"]));
    let pursuing = gateway.attempt(&issuer, &one);
    let losing = async {
        gateway.ca.asked(Endpoint::Challenge, 1).await;
        gateway.ca.fault(Endpoint::NewOrder, Fault::Reset);
        gateway.attempt(&issuer, &two).await.unwrap_err();
        gateway.ca.change(|ca| ca.authorizations = Authorizations::Valid);
        gateway.attempt(&issuer, &two).await.unwrap();
    };
    tokio::select! {
        result = pursuing => panic!("it came to an end: {result:?}"),
        () = losing => {}
    }
    assert_eq!(gateway.ca.orders().len(), 2);
}

#[tokio::test]
async fn a_ca_without_a_list_of_orders_is_asked_for_a_new_one() {
    let gateway = Gateway::start().await;
    gateway.ca.change(|ca| ca.lists_orders = false);
    gateway.ca.fault(Endpoint::NewOrder, Fault::Stall);
    gateway
        .crash_at(&www(), gateway.ca.asked(Endpoint::NewOrder, 1))
        .await;
    gateway.issue(&www()).await.unwrap();
    assert_eq!(gateway.ca.count(Endpoint::NewOrder), 2);
}

#[tokio::test]
async fn a_ca_that_never_shows_its_list_keeps_no_certificate_from_being_issued() {
    for (endpoint, fault, waits) in [
        (Endpoint::Account, Fault::problem(405, "malformed"), false),
        (Endpoint::Orders, Fault::problem(404, "malformed"), false),
        (Endpoint::Orders, Fault::answer(500, "oops"), true),
    ] {
        let gateway = Gateway::start().await;
        gateway.ca.fault(Endpoint::NewOrder, Fault::Reset);
        gateway.issue(&www()).await.unwrap_err();
        gateway.ca.always(endpoint, fault);
        let again = gateway.issue(&www()).await;
        assert_eq!(again.is_err(), waits);
        gateway.clock.advance(Duration::from_secs(3600));
        gateway.issue(&www()).await.unwrap();
    }
}

#[tokio::test]
async fn a_resumed_order_is_finalized_with_the_key_of_its_journal() {
    let gateway = Gateway::start().await;
    gateway.ca.fault(Endpoint::Finalize, Fault::Stall);
    gateway
        .crash_at(&www(), gateway.ca.asked(Endpoint::Finalize, 1))
        .await;
    let journal = gateway.journal(&www()).await.unwrap();
    assert_eq!(journal.order_url, Some(gateway.ca.orders()[0].url.clone()));
    let pem = gateway.issue(&www()).await.unwrap();
    assert_eq!(pem.key().secret_der(), journal.key.pkcs8());
}

#[tokio::test]
async fn processing_for_an_hour_ends_the_attempt_and_keeps_the_order() {
    let gateway = Gateway::start().await;
    gateway.ca.change(|ca| ca.processing = true);
    for _ in 0..2 {
        let error = gateway.issue(&www()).await.unwrap_err();
        assert!(matches!(error, IssueError::Unfinished { .. }), "{error}");
        assert_eq!(error.class(), FailureClass::Later);
        assert!(gateway.journal(&www()).await.is_some());
    }
    gateway.ca.change(|ca| ca.processing = false);
    gateway.issue(&www()).await.unwrap();
    assert_eq!(gateway.ca.orders().len(), 1);
    assert_eq!(gateway.ca.count(Endpoint::Finalize), 1);
}

#[tokio::test]
async fn an_order_that_the_ca_has_forgotten_is_placed_again_at_once() {
    let gateway = Gateway::start().await;
    gateway.ca.fault(Endpoint::Finalize, Fault::Stall);
    gateway
        .crash_at(&www(), gateway.ca.asked(Endpoint::Finalize, 1))
        .await;
    gateway.ca.forget_orders();
    gateway.issue(&www()).await.unwrap();
    assert_eq!(gateway.ca.count(Endpoint::NewOrder), 2);
}

#[tokio::test]
async fn an_order_for_what_was_wanted_before_is_not_taken_up() {
    let gateway = Gateway::start().await;
    gateway.ca.fault(Endpoint::Finalize, Fault::Stall);
    gateway
        .crash_at(&www(), gateway.ca.asked(Endpoint::Finalize, 1))
        .await;
    gateway
        .issue(&desired("www", &["www.example.com"]))
        .await
        .unwrap();
    assert_eq!(gateway.ca.orders()[1].names, ["www.example.com"]);
}

#[tokio::test]
async fn a_refused_order_leaves_no_journal() {
    let gateway = Gateway::start().await;
    gateway
        .ca
        .fault(Endpoint::NewOrder, Fault::problem(400, "rejectedIdentifier"));
    let error = gateway.issue(&www()).await.unwrap_err();
    assert_eq!(error.class(), FailureClass::Stop);
    assert!(gateway.journal(&www()).await.is_none());
}

#[tokio::test]
async fn whoever_lost_the_lease_places_no_order() {
    let gateway = Gateway::start().await;
    let lease = gateway.lease("www").await;
    gateway.inventory.release_lease(lease.clone()).await.unwrap();
    let (desired, issuer) = (www(), gateway.issuer());
    let request = certgate::issuer::IssueRequest {
        desired: &desired,
        lease: &lease,
        replaces: None,
        challenges: &Default::default(),
        progress: &gateway.steps,
    };
    let error = certgate::issuer::Issuer::issue(&issuer, &request)
        .await
        .unwrap_err();
    assert!(matches!(error, IssueError::Inventory { .. }), "{error}");
    assert_eq!(gateway.ca.count(Endpoint::NewOrder), 0);
}

#[tokio::test]
async fn every_issuance_has_a_key_of_its_own() {
    let gateway = Gateway::start().await;
    gateway.ca.change(|ca| ca.authorizations = Authorizations::Valid);
    let first = gateway.issue(&desired("a", &["a.example.com"])).await.unwrap();
    let second = gateway.issue(&desired("b", &["a.example.com"])).await.unwrap();
    assert_ne!(first.key().secret_der(), second.key().secret_der());
}
