//! A clock that is not the CA's: nothing is ordered under it, the operator is told, and it goes on when it is right again.

use certgate::admin::api::Status;
use certgate::certificate::CertificateName;

use crate::ca_faults::{Scene, WWW};
use crate::gateway::{Home, run};
use crate::peer::{TlsClient, backend};
use crate::support::acme_double::Endpoint;

#[tokio::test]
async fn under_a_clock_that_is_ahead_of_the_cas_nothing_is_ordered_until_it_is_right() {
    nothing_is_ordered(-TWO_HOURS).await;
}

#[tokio::test]
async fn under_a_clock_that_is_behind_the_cas_nothing_is_ordered_until_it_is_right() {
    nothing_is_ordered(TWO_HOURS).await;
}

/// While the CA's clock is so many seconds ahead of the gateway's.
async fn nothing_is_ordered(ahead: i64) {
    let scene = Scene::new().await;
    scene.ca.change(|ca| ca.ahead = ahead);
    let home = Home::new();
    let config = scene.config_with_www(&home, backend("hello").await);
    let gateway = home.start(&config).await;
    let alarmed = |status: &Status| {
        let is_alarm = |warning: &String| warning.contains("CA of issuer `double`");
        status.certificates[0].state == "blocked" && status.warnings.iter().any(is_alarm)
    };
    let status = gateway.status_until("raises the alarm", alarmed).await;
    let www = &status.certificates[0];
    let reason = www.reason.as_deref().expect("a reason");
    assert!(
        reason.contains("this machine's clock shows") && reason.contains("set it right"),
        "{reason}"
    );
    assert!(www.next_attempt.is_some_and(|at| at > status.now), "{www:?}");
    let socket = gateway.socket().display().to_string();
    let (_, shown, _) = run(&["status", "--admin", &socket]).await;
    assert!(shown.contains("CA of issuer `double`"), "{shown}");

    // Nor where an operator asks for it.
    let renew = ["cert", "renew", "www", "--admin", &socket];
    let (code, _, errors) = run(&renew).await;
    assert_eq!(code, 1, "{errors}");
    assert!(errors.contains("this machine's clock shows"), "{errors}");
    assert_eq!(scene.ca.count(Endpoint::NewOrder), 0);

    scene.ca.change(|ca| ca.ahead = 0);
    let name = CertificateName::parse("www").expect("a name");
    gateway.client().renew(&name).await.expect("asked for");
    gateway.published("www").await;
    gateway
        .status_until("ends the alarm", |status| !alarmed(status))
        .await;
    let client = TlsClient::trusting(&scene.ca.issuing_root());
    client.ask(scene.tls, WWW).await.expect("it is served");
    assert_eq!(scene.ca.count(Endpoint::NewOrder), 1);
}

const TWO_HOURS: i64 = 7200;
