//! One account, whatever happens.

use certgate::inventory::AccountRecord;
use certgate::issuer::{FailureClass, IssueError};
use certgate_store::Expect;

use crate::fixture::{Gateway, desired, www};
use crate::support::acme_double::{Endpoint, Fault};

#[tokio::test]
async fn certificates_and_restarts_share_one_account() {
    let gateway = Gateway::start().await;
    let issuer = gateway.issuer();
    let wanted: Vec<_> = (0..10)
        .map(|n| desired(&format!("c{n}"), &[&format!("c{n}.example.com")]))
        .collect();
    let attempts =
        futures_util::future::join_all(wanted.iter().map(|wanted| gateway.attempt(&issuer, wanted)));
    assert!(attempts.await.iter().all(Result::is_ok));
    gateway.issue(&www()).await.unwrap();
    assert_eq!(gateway.ca.contacts(), [["mailto:ops@example.com"]]);
}

#[tokio::test]
async fn an_issuer_that_is_only_built_asks_nobody() {
    let gateway = Gateway::start().await;
    let _issuer = gateway.issuer();
    tokio::task::yield_now().await;
    assert_eq!(gateway.ca.count(Endpoint::Directory), 0);
}

#[tokio::test]
async fn an_account_that_the_ca_has_forgotten_is_replaced() {
    let gateway = Gateway::start().await;
    let issuer = gateway.issuer();
    gateway.attempt(&issuer, &www()).await.unwrap();
    gateway.ca.forget_accounts();
    let other = desired("other", &["other.example.com"]);
    gateway.attempt(&issuer, &other).await.unwrap();
    assert_eq!(gateway.ca.contacts().len(), 1);
    gateway
        .issue(&desired("third", &["third.example.com"]))
        .await
        .unwrap();
    assert_eq!(gateway.ca.count(Endpoint::NewAccount), 2);
}

#[tokio::test]
async fn a_forgotten_account_is_replaced_also_where_its_key_or_contacts_were_about_to_change() {
    for new_key in [true, false] {
        let mut gateway = Gateway::start().await;
        gateway.issue(&www()).await.unwrap();
        gateway.ca.forget_accounts();
        if new_key {
            let known = gateway.inventory.account("double").await.unwrap().unwrap();
            let interrupted = AccountRecord {
                next_credentials: Some(known.value.credentials.clone()),
                ..known.value
            };
            gateway
                .inventory
                .save_account("double", &interrupted, Expect::Revision(known.revision))
                .await
                .unwrap();
        } else {
            gateway.config.contact = vec!["mailto:others@example.com".to_owned()];
        }
        gateway
            .issue(&desired("other", &["other.example.com"]))
            .await
            .unwrap();
        assert_eq!(gateway.ca.count(Endpoint::NewAccount), 2);
        assert_eq!(gateway.ca.contacts(), [gateway.config.contact.clone()]);
    }
}

#[tokio::test]
async fn an_account_that_is_never_there_is_not_registered_for_ever() {
    let gateway = Gateway::start().await;
    gateway
        .ca
        .always(Endpoint::NewOrder, Fault::problem(400, "accountDoesNotExist"));
    let error = gateway.issue(&www()).await.unwrap_err();
    assert_eq!(error.class(), FailureClass::Later);
    assert_eq!(gateway.ca.count(Endpoint::NewAccount), 2);
}

#[tokio::test]
async fn another_directory_gets_another_account() {
    let mut gateway = Gateway::start().await;
    gateway.issue(&www()).await.unwrap();
    gateway.config.directory.push_str("?moved");
    gateway
        .issue(&desired("other", &["other.example.com"]))
        .await
        .unwrap();
    assert_eq!(gateway.ca.count(Endpoint::NewAccount), 2);
}

#[tokio::test]
async fn changed_contacts_are_told_to_the_ca() {
    let mut gateway = Gateway::start().await;
    gateway.issue(&www()).await.unwrap();
    gateway.config.contact = vec!["mailto:new@example.com".to_owned()];
    gateway
        .issue(&desired("other", &["other.example.com"]))
        .await
        .unwrap();
    assert_eq!(gateway.ca.contacts(), [["mailto:new@example.com"]]);
    assert_eq!(gateway.ca.count(Endpoint::NewAccount), 1);
}

#[tokio::test]
async fn terms_that_must_be_agreed_to_anew_stop_the_certificate_and_keep_the_order() {
    let gateway = Gateway::start().await;
    gateway
        .ca
        .fault(Endpoint::Finalize, Fault::problem(403, "userActionRequired"));
    let error = gateway.issue(&www()).await.unwrap_err();
    assert_eq!(error.class(), FailureClass::Stop);
    assert!(gateway.journal(&www()).await.is_some());
}

#[tokio::test]
async fn a_server_that_is_not_trusted_is_not_spoken_to() {
    let mut gateway = Gateway::start().await;
    let key = rcgen::KeyPair::generate().unwrap();
    let other = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    gateway.config.root_ca_file = Some(gateway.write("other.pem", &other.pem()));
    let error = gateway.issue(&www()).await.unwrap_err();
    assert!(matches!(error, IssueError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("certificate"), "{error}");
    assert_eq!(gateway.ca.count(Endpoint::Directory), 0);
}

#[tokio::test]
async fn a_root_file_without_a_certificate_stops_until_it_is_changed() {
    let mut gateway = Gateway::start().await;
    for (file, text) in [
        ("empty.pem", ""),
        (
            "broken.pem",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ),
    ] {
        gateway.config.root_ca_file = Some(gateway.write(file, text));
        let error = gateway.issue(&www()).await.unwrap_err();
        assert_eq!(error.class(), FailureClass::Stop);
        assert!(error.to_string().contains(file), "{error}");
    }
}
