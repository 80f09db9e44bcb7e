//! How long what was obtained on demand is kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use certgate::admin::api::Status;
use certgate::certificate::CertificateName;
use certgate::clock::{Clock, SystemClock};
use certgate::inventory::{CertificateRecord, Inventory};
use certgate_store::{EmbeddedStore, Expect};

use crate::ask_url::{AskUrl, NO, YES};
use crate::gateway::{Home, PATIENCE};
use crate::issuance::Scene;
use crate::on_demand::{SHOP, Stand, config, on_demand};
use crate::peer::{TlsClient, backend};

#[tokio::test]
async fn a_restart_keeps_what_was_obtained_and_asks_nothing_about_it() {
    let ask = AskUrl::start(|_| YES).await;
    let mut stand = Stand::new(&[SHOP], &on_demand(&ask, "")).await;
    let serial = stand.served(SHOP).await;
    let Stand { gateway, .. } = stand;
    assert!(gateway.terminate().await.success());
    ask.change(|_| NO);
    stand.gateway = stand.home.start(&stand.config).await;
    assert_eq!(stand.served(SHOP).await, serial);
    assert_eq!(ask.asked(), [SHOP]);
    assert_eq!(stand.scene.pebble.orders(), 1);
}

#[tokio::test]
async fn what_no_handshake_asks_for_any_more_is_removed() {
    let ask = AskUrl::start(|_| YES).await;
    let names = ["used.example.test", "unused.example.test"];
    let stand = Stand::new(&names, &on_demand(&ask, ", unused_after = \"8s\"")).await;
    let serial = stand.served(names[0]).await;
    stand.served(names[1]).await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert_eq!(stand.served(names[0]).await, serial, "it is used");
        let status = stand.gateway.client().status().await.expect("a status");
        let left: Vec<_> = status.certificates.iter().map(|c| c.name.as_str()).collect();
        if left == ["on-demand/used.example.test"] {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "still there: {left:?}\n{}",
            stand.home.log()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(stand.scene.pebble.orders(), 2);
    stand.served(names[1]).await;
    assert_eq!(stand.scene.pebble.orders(), 3, "obtained anew");
}

#[tokio::test]
async fn a_certificate_is_renewed_only_while_its_name_is_allowed() {
    let ask = AskUrl::start(|_| YES).await;
    let scene = Scene::new(&[SHOP], Some(Duration::from_secs(24)));
    let home = Home::new();
    let server = backend("hello").await;
    let gateway = home
        .start(&config(&scene, server, "tls-alpn-01", &on_demand(&ask, "")))
        .await;
    let client = TlsClient::trusting(&scene.pebble.issuing_root());
    let (_, leaf) = client.ask(scene.tls, SHOP).await.expect("served");
    let renewed = |status: &Status| {
        let mut serials = status.certificates.iter().filter_map(|c| c.serial.clone());
        serials.next().is_some_and(|serial| serial != leaf.serial)
    };
    gateway.status_until("has renewed it", renewed).await;
    assert!(ask.asked().len() > 1, "asked before the renewal, too");
    ask.change(|_| NO);
    let gone = |status: &Status| status.certificates.is_empty();
    gateway.status_until("has let it go", gone).await;
    assert!(home.log().contains("does not allow shop.example.test any more"));
}

#[tokio::test]
async fn what_a_crash_has_left_of_one_that_was_removed_is_gone_after_the_next_start() {
    let ask = AskUrl::start(|_| YES).await;
    let scene = Scene::new(&[], None);
    let home = Home::new();
    {
        let (store, _) = EmbeddedStore::open(&home.path("store"), Default::default()).expect("a store");
        let inventory = Inventory::new(Arc::new(store));
        for name in ["on-demand/left.example.test", "an-operator-s"] {
            let mut record = CertificateRecord::wanted(CertificateName::parse(name).expect("a name"));
            // So it is kept, wanted or not.
            let until = SystemClock.now() + Duration::from_secs(3_600);
            record.held_until.insert("pebble".to_owned(), until);
            let saved = inventory.save_certificate(&record, Expect::Absent, None).await;
            saved.expect("written");
        }
    }
    let server = backend("hello").await;
    let gateway = home
        .start(&config(&scene, server, "tls-alpn-01", &on_demand(&ask, "")))
        .await;
    let gone = |status: &Status| {
        let mut names = status.certificates.iter().map(|c| c.name.as_str());
        names.next() == Some("an-operator-s") && names.next().is_none()
    };
    gateway.status_until("has removed it", gone).await;
}
