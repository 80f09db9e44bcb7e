//! The names by which CAA records mean the CA, as its directory says them.

use certgate::issuer::Issuer;
use serde_json::json;

use crate::fixture::Gateway;
use crate::support::acme_double::{Endpoint, Fault};

#[tokio::test]
async fn the_directory_is_read_once_without_an_account_and_what_is_no_name_is_left_out() {
    let gateway = Gateway::start().await;
    let said = json!(["CA.Example", 7, "not a name", "second.example"]);
    gateway
        .ca
        .change(|behaviour| behaviour.caa_identities = Some(said));
    let issuer = gateway.issuer();
    for _ in 0..3 {
        let names: Vec<_> = issuer
            .caa_identities()
            .await
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(names, ["ca.example", "second.example"]);
    }
    assert_eq!(gateway.ca.count(Endpoint::Directory), 1);
    assert_eq!(gateway.ca.count(Endpoint::NewAccount), 0);
}

#[tokio::test]
async fn a_ca_that_says_no_names_or_cannot_be_asked_says_none_and_is_not_asked_again_at_once() {
    for said in [json!("ca.example"), json!(null), json!({"ca": "ca.example"})] {
        let gateway = Gateway::start().await;
        gateway
            .ca
            .change(|behaviour| behaviour.caa_identities = Some(said));
        assert!(gateway.issuer().caa_identities().await.is_empty());
    }
    let gateway = Gateway::start().await;
    gateway.ca.always(Endpoint::Directory, Fault::Stall);
    let issuer = gateway.issuer();
    assert!(issuer.caa_identities().await.is_empty());
    assert!(issuer.caa_identities().await.is_empty());
    assert_eq!(gateway.ca.count(Endpoint::Directory), 1);
}
