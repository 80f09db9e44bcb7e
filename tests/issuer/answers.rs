//! What a CA may answer, and what becomes of it.

use std::time::{Duration, Instant};

use certgate::certificate::Credential;
use certgate::clock::Clock;
use certgate::issuer::{FailureClass, IssueError};

use crate::fixture::{Gateway, HASTY, desired, www};
use crate::support::acme_double::{Endpoint, Fault, Issued};

#[tokio::test]
async fn a_certificate_is_obtained_and_fits() {
    let gateway = Gateway::start().await;
    let pem = gateway.issue(&www()).await.unwrap();
    let credential = Credential::from_pem(&pem).unwrap();
    credential.check(&www().domains, gateway.clock.now()).unwrap();
    assert_eq!(pem.chain().len(), 2);
    assert_eq!(credential.leaf().names.len(), 2);
    assert_eq!(
        gateway.ca.user_agent(),
        concat!("certgate/", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(
        gateway.steps.taken(),
        [
            "creating an account",
            "placing an order",
            "preparing to validate example.com by tls-alpn-01",
            "preparing to validate www.example.com by tls-alpn-01",
            "waiting for validation of example.com by tls-alpn-01 and of 1 more",
        ]
    );
}

#[tokio::test]
async fn a_stalled_ca_ends_in_time_wherever_it_stalls() {
    for endpoint in [
        Endpoint::Directory,
        Endpoint::NewNonce,
        Endpoint::NewAccount,
        Endpoint::NewOrder,
        Endpoint::Authorization,
        Endpoint::Challenge,
        Endpoint::Order,
        Endpoint::Finalize,
        Endpoint::Certificate,
    ] {
        let mut gateway = Gateway::start().await;
        gateway.limits = HASTY;
        gateway.ca.always(endpoint, Fault::Stall);
        let begun = Instant::now();
        let error = gateway.issue(&www()).await.unwrap_err();
        assert_eq!(error.class(), FailureClass::Later, "{endpoint:?}: {error}");
        assert!(
            error.to_string().contains("no answer within"),
            "{endpoint:?}: {error}"
        );
        assert!(begun.elapsed() < HASTY.issuance * 10, "{endpoint:?}");
    }
}

#[tokio::test]
async fn a_name_that_the_ca_never_answers_for_holds_up_no_other() {
    let gateway = Gateway::start().await;
    gateway.ca.change(|ca| {
        ca.hanging.insert("hangs.example.com".to_owned());
    });
    let issuer = gateway.issuer();
    let hangs = desired("hangs", &["hangs.example.com"]);
    let others: Vec<_> = (0..20)
        .map(|n| desired(&format!("c{n}"), &[&format!("c{n}.example.com")]))
        .collect();
    tokio::select! {
        biased;
        result = gateway.attempt(&issuer, &hangs) => panic!("the others waited for {result:?}"),
        issued = futures_util::future::join_all(others.iter().map(|other| gateway.attempt(&issuer, other))) => {
            assert!(issued.iter().all(Result::is_ok));
        }
    }
}

#[tokio::test]
async fn a_ca_that_is_down_is_named_and_tried_later() {
    let mut gateway = Gateway::start().await;
    let free = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    gateway.config.directory = format!("https://{free}/directory");
    let error = gateway.issue(&www()).await.unwrap_err();
    assert_eq!(error.class(), FailureClass::Later);
    assert!(error.to_string().contains(&gateway.config.directory), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn many_that_wait_for_a_ca_that_is_down_wait_once() {
    let mut gateway = Gateway::start().await;
    gateway.limits = HASTY;
    gateway.ca.always(Endpoint::Directory, Fault::Stall);
    let issuer = gateway.issuer();
    let wanted: Vec<_> = (0..20)
        .map(|n| desired(&format!("c{n}"), &["example.com"]))
        .collect();
    let begun = Instant::now();
    let attempts =
        futures_util::future::join_all(wanted.iter().map(|wanted| gateway.attempt(&issuer, wanted)));
    assert!(attempts.await.iter().all(Result::is_err));
    assert!(
        begun.elapsed() < HASTY.request * 10,
        "they waited one after the other"
    );
    assert_eq!(gateway.ca.count(Endpoint::Directory), 1);
}

#[tokio::test]
async fn an_error_page_is_an_error_and_is_shown_by_its_first_words() {
    let page = "<html>\n<head><title>502 Bad Gateway</title></head>";
    for endpoint in [
        Endpoint::Directory,
        Endpoint::NewOrder,
        Endpoint::Authorization,
        Endpoint::Finalize,
    ] {
        let gateway = Gateway::start().await;
        gateway.ca.fault(endpoint, Fault::answer(502, page));
        let error = gateway.issue(&www()).await.unwrap_err();
        assert_eq!(error.class(), FailureClass::Later);
        assert!(
            error.to_string().contains("502") && error.to_string().contains("Bad Gateway"),
            "{error}"
        );
        gateway.issue(&www()).await.unwrap();
        assert_eq!(gateway.ca.orders().len(), 1, "{endpoint:?}");
    }
}

#[tokio::test]
async fn an_error_page_under_a_good_status_is_no_answer_and_is_shown() {
    for endpoint in [
        Endpoint::Directory,
        Endpoint::NewOrder,
        Endpoint::Order,
        Endpoint::Authorization,
    ] {
        let gateway = Gateway::start().await;
        gateway.ca.fault(
            endpoint,
            Fault::answer(200, "<html>welcome</html>").header("replay-nonce", "n"),
        );
        let error = gateway.issue(&www()).await.unwrap_err();
        assert!(error.to_string().contains("welcome"), "{endpoint:?}: {error}");
        assert_eq!(error.class(), FailureClass::Later);
        gateway.issue(&www()).await.unwrap();
    }
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let gateway = Gateway::start().await;
    gateway
        .ca
        .fault(Endpoint::Directory, Fault::answer(200, &"x".repeat(3 << 20)));
    let error = gateway.issue(&www()).await.unwrap_err();
    assert!(error.to_string().contains("larger than"), "{error}");
}

#[tokio::test]
async fn retry_after_is_obeyed_as_seconds_and_as_a_date_and_its_absence_is_our_back_off() {
    let at =
        |gateway: &Gateway, seconds| FailureClass::At(gateway.clock.now() + Duration::from_secs(seconds));
    let limited = |status, kind| Fault::problem(status, kind);

    let gateway = Gateway::start().await;
    gateway.ca.fault(
        Endpoint::NewOrder,
        limited(429, "rateLimited").header("retry-after", "90"),
    );
    assert_eq!(gateway.issue(&www()).await.unwrap_err().class(), at(&gateway, 90));

    let date = "Sat, 21 Nov 2026 00:10:00 GMT";
    gateway.ca.fault(
        Endpoint::NewOrder,
        limited(503, "serverInternal").header("retry-after", date),
    );
    assert_eq!(
        gateway.issue(&www()).await.unwrap_err().class(),
        at(&gateway, 600)
    );

    gateway.ca.fault(
        Endpoint::Directory,
        Fault::answer(503, "busy").header("retry-after", "30"),
    );
    assert_eq!(gateway.issue(&www()).await.unwrap_err().class(), at(&gateway, 30));

    gateway.ca.fault(Endpoint::NewOrder, limited(429, "rateLimited"));
    let error = gateway.issue(&www()).await.unwrap_err();
    assert_eq!(error.class(), FailureClass::Later);
    assert!(error.to_string().contains("scripted (rateLimited)"), "{error}");
}

#[tokio::test]
async fn a_wait_longer_than_the_attempt_ends_it_at_once_and_says_when() {
    let gateway = Gateway::start().await;
    gateway.ca.change(|ca| {
        ca.processing = true;
        ca.retry_after = Some("3600".to_owned());
    });
    let error = gateway.issue(&www()).await.unwrap_err();
    let FailureClass::At(at) = error.class() else {
        panic!("{error}")
    };
    let wait = at.since(gateway.clock.now());
    assert!(
        wait > Duration::from_secs(3590) && wait <= Duration::from_secs(3600),
        "{wait:?}"
    );
    let said = error.to_string();
    assert!(
        said.contains(&format!("is not done, and the CA wants to be asked at {at}")),
        "{said}"
    );
    assert!(gateway.journal(&www()).await.is_some());
}

#[tokio::test]
async fn bursts_of_refused_nonces_are_outlasted() {
    for nonces in [1, 2, 3, 8] {
        let gateway = Gateway::start().await;
        gateway
            .issue(&desired("first", &["first.example.com"]))
            .await
            .unwrap();
        gateway.ca.change(|ca| ca.refused_nonces = nonces);
        gateway.issue(&www()).await.unwrap();
        assert_eq!(gateway.ca.orders().len(), 2);
    }
}

#[tokio::test]
async fn an_order_of_many_names_outlasts_more_refused_nonces_than_one_of_a_single_name() {
    let domains: Vec<_> = (0..50).map(|n| format!("h{n}.example.com")).collect();
    let domains: Vec<_> = domains.iter().map(String::as_str).collect();
    for (wanted, is_obtained) in [(www(), false), (desired("many", &domains), true)] {
        let gateway = Gateway::start().await;
        gateway
            .issue(&desired("first", &["first.example.com"]))
            .await
            .unwrap();
        gateway.ca.change(|ca| ca.refused_nonces = 36);
        let obtained = gateway.issue(&wanted).await;
        assert_eq!(obtained.is_ok(), is_obtained, "{}: {obtained:?}", wanted.name);
    }
}

#[tokio::test]
async fn nonces_refused_without_end_end_the_attempt() {
    let gateway = Gateway::start().await;
    gateway.ca.change(|ca| ca.refused_nonces = usize::MAX);
    let error = gateway.issue(&www()).await.unwrap_err();
    assert_eq!(error.class(), FailureClass::Later);
    assert!(error.to_string().contains("badNonce"), "{error}");
}

#[tokio::test]
async fn what_was_not_asked_for_is_refused_and_not_taken_up_again() {
    for (issued, reason) in [
        (Issued::OtherKey, "the private key does not belong"),
        (Issued::OtherNames, "not valid for"),
        (Issued::BrokenChain, "the chain is broken"),
    ] {
        let gateway = Gateway::start().await;
        gateway.ca.change(|ca| ca.certificate = issued);
        let error = gateway.issue(&www()).await.unwrap_err();
        assert_eq!(error.class(), FailureClass::Later);
        let IssueError::Unfit { source } = &error else {
            panic!("{error}")
        };
        assert!(source.to_string().contains(reason), "{source}");
        assert!(gateway.journal(&www()).await.is_none());
        gateway.ca.change(|ca| ca.certificate = Issued::Right);
        gateway.issue(&www()).await.unwrap();
    }
}

#[tokio::test]
async fn a_certificate_that_has_expired_already_is_refused() {
    let gateway = Gateway::start().await;
    gateway.ca.fault(Endpoint::Certificate, Fault::Stall);
    gateway
        .crash_at(&www(), gateway.ca.asked(Endpoint::Certificate, 1))
        .await;
    gateway.clock.advance(Duration::from_secs(100 * 86_400));
    let error = gateway.issue(&www()).await.unwrap_err();
    assert!(matches!(error, IssueError::Unfit { .. }), "{error}");
    gateway.issue(&www()).await.unwrap();
}

#[tokio::test]
async fn a_download_that_is_no_certificate_is_tried_again_with_the_same_order() {
    let gateway = Gateway::start().await;
    gateway
        .ca
        .fault(Endpoint::Certificate, Fault::answer(200, "here it is"));
    let error = gateway.issue(&www()).await.unwrap_err();
    assert!(matches!(error, IssueError::Garbled { .. }), "{error}");
    gateway.issue(&www()).await.unwrap();
    assert_eq!(gateway.ca.orders().len(), 1);
}

#[tokio::test]
async fn no_error_shows_a_secret() {
    let gateway = Gateway::start().await;
    gateway.ca.fault(Endpoint::Finalize, Fault::answer(500, "oops"));
    let error = gateway.issue(&www()).await.unwrap_err();
    let account = gateway.inventory.account("double").await.unwrap().unwrap().value;
    let secret = serde_json::from_str::<serde_json::Value>(account.credentials.expose()).unwrap();
    let secret = secret["key_pkcs8"].as_str().unwrap();
    assert!(!format!("{error:?} {error}").contains(secret));
}
