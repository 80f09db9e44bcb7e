//! Challenges: which one, in place before the CA looks, and gone after.

use std::sync::atomic::Ordering;

use certgate::config::ChallengeType;
use certgate::issuer::{FailureClass, IssueError};
use certgate::name::NamePattern;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fixture::{Gateway, HASTY, desired, eventually, www};
use crate::support::acme_double::{Authorizations, Endpoint, Fault, Validation};

#[tokio::test]
async fn the_first_configured_challenge_that_is_offered_is_answered() {
    for (offered, expected) in [
        (vec!["http-01", "tls-alpn-01"], ChallengeType::TlsAlpn01),
        (vec!["dns-01", "http-01"], ChallengeType::Http01),
    ] {
        let gateway = Gateway::start().await;
        gateway.ca.change(|ca| ca.challenges = offered);
        gateway.issue(&www()).await.unwrap();
        assert!(
            gateway
                .solver
                .presented()
                .iter()
                .all(|(_, kind)| *kind == expected)
        );
        assert_eq!(gateway.solver.left(), 0);
    }
}

#[tokio::test]
async fn only_what_can_work_for_a_name_is_tried_and_in_that_order() {
    use ChallengeType::{Http01, TlsAlpn01};
    let mut gateway = Gateway::start().await;
    let choices = [
        ("www.example.com", vec![Http01]),
        ("example.com", vec![Http01, TlsAlpn01]),
    ];
    let pattern = |name: &str| NamePattern::parse(name).unwrap();
    gateway.choices = choices
        .into_iter()
        .map(|(name, kinds)| (pattern(name), kinds))
        .collect();
    gateway.issue(&www()).await.unwrap();
    let presented = gateway.solver.presented();
    assert!(
        !presented.is_empty() && presented.iter().all(|(_, kind)| *kind == Http01),
        "{presented:?}"
    );
}

#[tokio::test]
async fn an_address_is_never_proven_by_dns_whatever_is_offered() {
    let mut gateway = Gateway::start().await;
    gateway.config.challenges = vec![ChallengeType::Dns01, ChallengeType::Http01];
    gateway.issue(&desired("ip", &["192.0.2.1"])).await.unwrap();
    let presented = gateway.solver.presented();
    assert!(
        !presented.is_empty() && presented.iter().all(|(_, kind)| *kind == ChallengeType::Http01),
        "{presented:?}"
    );
}

#[tokio::test]
async fn a_ca_that_offers_nothing_usable_stops_the_certificate() {
    let gateway = Gateway::start().await;
    gateway
        .ca
        .change(|ca| ca.challenges = vec!["dns-01", "dns-account-01"]);
    let error = gateway.issue(&www()).await.unwrap_err();
    assert_eq!(error.class(), FailureClass::Stop);
    assert_eq!(
        error.to_string(),
        "the CA offers dns-01, dns-account-01 to validate www.example.com, but this issuer is configured for \
         tls-alpn-01, http-01"
    );
}

#[tokio::test]
async fn names_that_are_valid_already_need_no_challenge() {
    for authorizations in [Authorizations::Valid, Authorizations::Empty] {
        let gateway = Gateway::start().await;
        gateway.ca.change(|ca| ca.authorizations = authorizations);
        gateway.issue(&www()).await.unwrap();
        assert!(gateway.solver.presented().is_empty());
        assert_eq!(gateway.ca.count(Endpoint::Challenge), 0);
    }
}

#[tokio::test]
async fn a_name_that_was_not_ordered_is_not_answered_for() {
    let gateway = Gateway::start().await;
    gateway
        .ca
        .change(|ca| ca.authorizations = Authorizations::WithStranger);
    let error = gateway.issue(&www()).await.unwrap_err();
    assert!(error.to_string().contains("stranger.example"), "{error}");
    assert!(gateway.solver.presented().is_empty());
}

#[tokio::test]
async fn a_token_that_could_be_a_path_is_not_answered() {
    for token in ["../../etc/passwd", "", "a b", &"a".repeat(300)] {
        let gateway = Gateway::start().await;
        gateway.ca.change(|ca| ca.token = Some(token.to_owned()));
        let error = gateway.issue(&www()).await.unwrap_err();
        assert!(matches!(error, IssueError::Garbled { .. }), "{error}");
        assert!(gateway.solver.presented().is_empty());
    }
}

#[tokio::test]
async fn a_failed_validation_names_the_name_and_the_next_attempt_tries_the_next_challenge() {
    let gateway = Gateway::start().await;
    gateway.ca.change(|ca| {
        ca.failing.insert("example.com".to_owned());
    });
    let issuer = gateway.issuer();
    let error = gateway.attempt(&issuer, &www()).await.unwrap_err();
    assert_eq!(error.class(), FailureClass::Later);
    let text = error.to_string();
    assert!(
        text.contains("example.com by tls-alpn-01: example.com fails always (unauthorized)"),
        "{text}"
    );
    assert!(gateway.journal(&www()).await.is_none());

    gateway.ca.change(|ca| ca.failing.clear());
    gateway.attempt(&issuer, &www()).await.unwrap();
    gateway
        .attempt(&issuer, &desired("other", &["other.example.com"]))
        .await
        .unwrap();
    let kinds: Vec<_> = gateway
        .solver
        .presented()
        .into_iter()
        .map(|(_, kind)| kind)
        .collect();
    use ChallengeType::{Http01, TlsAlpn01};
    assert_eq!(kinds, [TlsAlpn01, TlsAlpn01, Http01, Http01, TlsAlpn01]);
}

#[tokio::test]
async fn an_order_that_failed_while_nobody_looked_says_why() {
    let gateway = Gateway::start().await;
    gateway.ca.change(|ca| {
        ca.failing.insert("example.com".to_owned());
    });
    gateway.ca.fault(Endpoint::Order, Fault::Stall);
    gateway
        .crash_at(&www(), gateway.ca.asked(Endpoint::Order, 1))
        .await;
    let error = gateway.issue(&www()).await.unwrap_err();
    assert!(error.to_string().contains("example.com fails always"), "{error}");
    assert!(gateway.journal(&www()).await.is_none());
}

#[tokio::test]
async fn validation_that_an_earlier_attempt_set_off_is_waited_for() {
    let mut gateway = Gateway::start().await;
    gateway.ca.change(|ca| ca.validating = true);
    gateway
        .crash_at(&www(), gateway.ca.asked(Endpoint::Challenge, 2))
        .await;
    gateway.limits = HASTY;
    let error = gateway.issue(&www()).await.unwrap_err();
    assert!(matches!(error, IssueError::Unfinished { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("waiting for validation of example.com"),
        "{error}"
    );
    assert_eq!(gateway.ca.count(Endpoint::Challenge), 2);
    eventually("the answers are gone", || gateway.solver.left() == 0).await;
}

#[tokio::test]
async fn answers_are_taken_away_when_the_attempt_is_given_up() {
    let gateway = Gateway::start().await;
    gateway.ca.change(|ca| ca.validating = true);
    gateway
        .crash_at(&www(), gateway.ca.asked(Endpoint::Order, 1))
        .await;
    assert_eq!(gateway.solver.presented().len(), 2);
    eventually("the answers are gone", || gateway.solver.left() == 0).await;
}

#[tokio::test]
async fn an_answer_that_cannot_be_put_in_place_is_no_validation() {
    let gateway = Gateway::start().await;
    gateway.solver.refuse.store(true, Ordering::SeqCst);
    let error = gateway.issue(&www()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the answer to the tls-alpn-01 challenge for example.com could not be put in place"
    );
    assert_eq!(gateway.ca.count(Endpoint::Challenge), 0);
    gateway.solver.refuse.store(false, Ordering::SeqCst);
    gateway.issue(&www()).await.unwrap();
    assert_eq!(gateway.ca.orders().len(), 1);
}

#[tokio::test]
async fn an_answer_that_never_comes_into_place_ends_the_attempt() {
    let mut gateway = Gateway::start().await;
    gateway.limits = HASTY;
    gateway.solver.hold.store(true, Ordering::SeqCst);
    let error = gateway.issue(&www()).await.unwrap_err();
    assert!(matches!(error, IssueError::Unfinished { .. }), "{error}");
    assert!(
        error.to_string().contains("preparing to validate example.com"),
        "{error}"
    );
    eventually("the answers are gone", || gateway.solver.left() == 0).await;
}

#[tokio::test]
async fn the_answer_is_in_place_when_the_ca_looks() {
    let mut gateway = Gateway::start().await;
    gateway.config.challenges = vec![ChallengeType::Http01];
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let solver = gateway.solver.clone();
    let server = tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let read = tcp.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let answer = solver
                .in_place
                .lock()
                .unwrap()
                .iter()
                .find(|c| request.contains(&c.token))
                .cloned();
            let answer = answer.map_or("HTTP/1.1 404 Not Found\r\n\r\n".to_owned(), |challenge| {
                format!("HTTP/1.1 200 OK\r\n\r\n{}", challenge.key_authorization)
            });
            tcp.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    gateway
        .ca
        .change(|ca| ca.validation = Validation::Http01 { port });
    gateway.issue(&www()).await.unwrap();
    server.abort();
}

#[tokio::test]
async fn the_challenge_that_failed_comes_last_and_not_the_one_that_was_answered_last() {
    use ChallengeType::{Http01, TlsAlpn01};
    let mut gateway = Gateway::start().await;
    let choices = [
        ("example.com", vec![TlsAlpn01, Http01]),
        ("www.example.com", vec![Http01]),
    ];
    let pattern = |name: &str| NamePattern::parse(name).unwrap();
    gateway.choices = choices
        .into_iter()
        .map(|(name, kinds)| (pattern(name), kinds))
        .collect();
    gateway.ca.change(|ca| {
        ca.failing.insert("example.com".to_owned());
    });
    let issuer = gateway.issuer();
    gateway.attempt(&issuer, &www()).await.unwrap_err();
    gateway.ca.change(|ca| ca.failing.clear());
    gateway.attempt(&issuer, &www()).await.unwrap();
    let presented = gateway.solver.presented();
    let of_apex: Vec<_> = presented
        .iter()
        .filter(|(name, _)| name == "example.com")
        .map(|(_, kind)| *kind)
        .collect();
    assert_eq!(of_apex, [TlsAlpn01, Http01]);
}
