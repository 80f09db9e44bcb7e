//! The CA's rate limits, counted before it counts.

use std::time::Duration;

use certgate::certificate::{CertificateName, Credential};
use certgate::clock::Clock;
use certgate::config::RateLimits;
use certgate::inventory::{CertificateRecord, CertificateState, CurrentCertificate};
use certgate::issuer::{Account, FailureClass, IssueError, Issuer, RateLimit};
use certgate_store::Expect;

use crate::fixture::{Gateway, desired, www};
use crate::support::acme_double::{Endpoint, Fault, Window};

const HOUR: Duration = Duration::from_secs(3600);

async fn limited() -> Gateway {
    let mut gateway = Gateway::start().await;
    gateway.config.rate_limits = RateLimits::LetsEncrypt;
    gateway
}

/// What is left of each used limit, by its words.
async fn left(gateway: &Gateway) -> Vec<(String, u32)> {
    let limits = gateway.issuer().used_limits().await.unwrap();
    limits
        .into_iter()
        .map(|RateLimit { limit, left, .. }| (limit, left))
        .collect()
}

fn of(left: &[(String, u32)], words: &str) -> Option<u32> {
    left.iter()
        .find(|(limit, _)| limit.contains(words))
        .map(|(_, left)| *left)
}

#[tokio::test]
async fn a_sixth_certificate_for_the_same_names_in_a_week_is_not_asked_for() {
    let gateway = limited().await;
    for n in 0..5 {
        // Each by a process that has just started: what was counted is in the store.
        gateway
            .issue(&desired(&format!("c{n}"), &["www.example.com"]))
            .await
            .unwrap();
    }
    let (sixth, requests) = (
        desired("sixth", &["www.example.com"]),
        gateway.ca.count(Endpoint::NewOrder),
    );
    let error = gateway.issue(&sixth).await.unwrap_err();
    let FailureClass::At(at) = error.class() else {
        panic!("{error}")
    };
    let wait = at.since(gateway.clock.now());
    assert!(wait > 33 * HOUR && wait <= 34 * HOUR, "{wait:?}");
    assert!(
        error.to_string().contains("exactly the names of www.example.com"),
        "{error}"
    );
    assert_eq!(gateway.ca.count(Endpoint::NewOrder), requests);
    assert!(gateway.journal(&sixth).await.is_none());

    gateway
        .issue(&desired("other", &["shop.example.com"]))
        .await
        .unwrap();
    let left = left(&gateway).await;
    assert_eq!(left[0].1, 0, "the scarcest first: {left:?}");
    assert_eq!(of(&left, "certificates for example.com"), Some(44));
    assert_eq!(of(&left, "orders of the account"), Some(294));

    gateway.clock.set(at);
    gateway.issue(&sixth).await.unwrap();
}

#[tokio::test]
async fn a_fifth_failed_validation_in_an_hour_is_the_last() {
    let gateway = limited().await;
    gateway.ca.change(|ca| {
        ca.failing.insert("www.example.com".to_owned());
    });
    let wanted = desired("www", &["www.example.com"]);
    for _ in 0..5 {
        let error = gateway.issue(&wanted).await.unwrap_err();
        assert!(matches!(error, IssueError::OrderInvalid { .. }), "{error}");
    }
    let orders = gateway.ca.count(Endpoint::NewOrder);
    let error = gateway.issue(&wanted).await.unwrap_err();
    assert!(matches!(error, IssueError::Limited { .. }), "{error}");
    assert_eq!(gateway.ca.count(Endpoint::NewOrder), orders);
    let left = left(&gateway).await;
    assert_eq!(of(&left, "failed authorizations of www.example.com"), Some(0));
    // No certificate came of them.
    assert_eq!(of(&left, "exactly the names"), None);
    assert_eq!(of(&left, "orders of the account"), Some(295));

    gateway.ca.change(|ca| ca.failing.clear());
    gateway.clock.advance(Duration::from_secs(12 * 60));
    gateway.issue(&wanted).await.unwrap();
}

#[tokio::test]
async fn what_the_ca_says_of_a_limit_holds_for_every_certificate_it_is_about() {
    let gateway = limited().await;
    let detail = "too many certificates (50) already issued for \"example.com\" in the last 168h0m0s, \
                  retry after 2026-11-21 06:00:00 UTC: see https://ca.example/limits";
    let kind = "urn:ietf:params:acme:error:rateLimited";
    let problem = serde_json::json!({"type": kind, "detail": detail}).to_string();
    gateway.ca.fault(Endpoint::NewOrder, Fault::answer(429, &problem));
    let at = FailureClass::At(gateway.clock.now() + 6 * HOUR);
    assert_eq!(gateway.issue(&www()).await.unwrap_err().class(), at);
    let other = desired("other", &["shop.example.com"]);
    let error = gateway.issue(&other).await.unwrap_err();
    assert_eq!(error.class(), at);
    assert!(matches!(error, IssueError::Limited { .. }), "{error}");
    assert_eq!(gateway.ca.count(Endpoint::NewOrder), 1);
    gateway
        .issue(&desired("elsewhere", &["www.example.org"]))
        .await
        .unwrap();
    gateway.clock.advance(6 * HOUR);
    gateway.issue(&other).await.unwrap();
}

/// Writes down that `issuer` gave `www`, as renewal does.
async fn installed(gateway: &Gateway, pem: &certgate::certificate::CredentialPem) {
    let lease = gateway.lease("www").await;
    let record = CertificateRecord {
        current: Some(CurrentCertificate {
            leaf: Credential::from_pem(pem).unwrap().leaf().clone(),
            issuer: "double".to_owned(),
            obtained_at: gateway.clock.now(),
            renew_at: None,
            suggested: None,
            ask_at: None,
            revoked: None,
        }),
        state: CertificateState::Valid,
        ..CertificateRecord::wanted(CertificateName::parse("www").unwrap())
    };
    gateway
        .inventory
        .install(&record, pem, Expect::Any, &lease)
        .await
        .unwrap();
    gateway.inventory.release_lease(lease).await.unwrap();
}

#[tokio::test]
async fn a_renewal_counts_for_its_names_only_and_a_replacement_not_at_all() {
    let gateway = limited().await;
    let pem = gateway.issue(&www()).await.unwrap();
    installed(&gateway, &pem).await;
    let first = left(&gateway).await;
    gateway.issue(&www()).await.unwrap();
    let second = left(&gateway).await;
    assert_eq!(
        (of(&first, "exactly"), of(&second, "exactly")),
        (Some(4), Some(3))
    );
    assert_eq!(of(&second, "orders"), of(&first, "orders"));
    assert_eq!(of(&second, "for example.com"), of(&first, "for example.com"));

    installed(&gateway, &pem).await;
    gateway
        .ca
        .change(|ca| ca.renewal_window = Some(Window { start: 0, end: 60 }));
    let issuer = gateway.issuer();
    for _ in 0..10 {
        let lease = gateway.lease("www").await;
        let desired = www();
        let request = certgate::issuer::IssueRequest {
            desired: &desired,
            lease: &lease,
            replaces: pem.chain().first(),
            challenges: &Default::default(),
            progress: &gateway.steps,
        };
        let pem = issuer.issue(&request).await.unwrap();
        gateway.inventory.release_lease(lease).await.unwrap();
        installed(&gateway, &pem).await;
    }
    assert_eq!(left(&gateway).await, second);
}

#[tokio::test]
async fn many_at_once_take_no_more_than_there_is() {
    let gateway = limited().await;
    let issuer = gateway.issuer();
    let wanted: Vec<_> = (0..40)
        .map(|n| desired(&format!("c{n}"), &["www.example.com"]))
        .collect();
    let attempts =
        futures_util::future::join_all(wanted.iter().map(|wanted| gateway.attempt(&issuer, wanted)));
    let results = attempts.await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 5);
    let limited = |error: &IssueError| matches!(error, IssueError::Limited { .. });
    assert!(
        results
            .iter()
            .filter_map(|result| result.as_ref().err())
            .all(limited)
    );
    assert_eq!(gateway.ca.count(Endpoint::NewOrder), 5);
}

#[tokio::test]
async fn nothing_is_counted_where_no_limits_are_known() {
    let gateway = Gateway::start().await;
    for n in 0..7 {
        gateway
            .issue(&desired(&format!("c{n}"), &["www.example.com"]))
            .await
            .unwrap();
    }
    assert!(left(&gateway).await.is_empty());
}
