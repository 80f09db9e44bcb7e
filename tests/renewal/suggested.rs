//! Renewal when the CA suggests it (RFC 9773), and what happens when its suggestions are of no use.

use certgate::inventory::{CertificateRecord, CertificateState, CurrentCertificate};

use crate::scene::Scene;
use crate::support::acme_double::{Behaviour, Endpoint, Fault, Replacing, Window};
use crate::world::{DAY, HOUR, Running};

const DAYS: i64 = 86_400;

fn window(start: i64, end: i64) -> impl FnOnce(&mut Behaviour) {
    move |ca| ca.renewal_window = Some(Window { start, end })
}

/// The certificate once the CA has been asked about it.
async fn asked(scene: &Scene) -> CurrentCertificate {
    let now = scene.world.now();
    let asked = |record: &CertificateRecord| {
        let current = record.current.as_ref();
        current.is_some_and(|current| current.ask_at.is_some_and(|ask_at| ask_at > now))
    };
    scene.world.wait_for("www", asked).await.current.unwrap()
}

/// Lets time go on until the CA is asked again.
async fn asked_again(scene: &Scene) -> CurrentCertificate {
    let record = scene.world.record("www").await.unwrap();
    scene.world.clock.set(record.current.unwrap().ask_at.unwrap());
    asked(scene).await
}

async fn renewed(scene: &Scene, before: &CurrentCertificate) -> CurrentCertificate {
    let renewed = |record: &CertificateRecord| {
        let current = record.current.as_ref();
        record.state == CertificateState::Valid
            && current.is_some_and(|current| current.leaf.serial != before.leaf.serial)
    };
    scene.world.wait_for("www", renewed).await.current.unwrap()
}

async fn obtained(scene: &Scene) -> (Running, CurrentCertificate) {
    let (running, _) = scene.first_attempt().await;
    (running, asked(scene).await)
}

fn days(current: &CurrentCertificate) -> f64 {
    let after = current.renew_at.unwrap().since(current.obtained_at);
    after.as_secs_f64() / DAY.as_secs_f64()
}

#[tokio::test]
async fn a_certificate_is_renewed_inside_the_window_and_says_what_it_replaces() {
    let scene = Scene::new().await;
    scene.ca.change(window(20 * DAYS, 22 * DAYS));
    let (running, current) = obtained(&scene).await;
    assert!((20.0..22.0).contains(&days(&current)), "{}", days(&current));
    let suggested = current.suggested.clone().unwrap();
    assert_eq!(suggested.explanation.as_deref(), Some("https://ca.example/why"));

    // The same after a restart; and until then the CA is asked several times, with the same point for the same window.
    running.stop().await;
    let running = scene.world.start();
    scene.world.clock.set(current.renew_at.unwrap());
    renewed(&scene, &current).await;
    let orders = scene.ca.orders();
    let replaced = orders[1].replaces.clone().unwrap();
    assert_eq!(orders[0].replaces, None);
    assert!(
        replaced
            .split_once('.')
            .is_some_and(|(key, serial)| !key.is_empty() && !serial.is_empty())
    );
    running.stop().await;
}

#[tokio::test]
async fn a_window_that_the_ca_moves_into_the_past_renews_at_once() {
    let scene = Scene::new().await;
    scene.ca.change(window(60 * DAYS, 62 * DAYS));
    scene.ca.change(|ca| ca.ask_again = Some("21600".to_owned()));
    let (running, first) = obtained(&scene).await;
    for _ in 0..8 {
        asked_again(&scene).await;
    }
    assert_eq!(scene.ca.orders().len(), 1);

    // It is about to be revoked.
    scene.ca.change(window(-2 * DAYS, -DAYS));
    let record = scene.world.record("www").await.unwrap();
    scene.world.clock.set(record.current.unwrap().ask_at.unwrap());
    let second = renewed(&scene, &first).await;
    assert_eq!(scene.ca.orders().len(), 2);
    assert!(second.obtained_at.since(first.obtained_at) < 3 * DAY);
    running.stop().await;
}

#[tokio::test]
async fn a_ca_whose_windows_have_always_passed_is_asked_for_one_certificate_a_day() {
    let scene = Scene::new().await;
    scene.ca.change(window(-2 * DAYS, -DAYS));
    let (running, mut current) = obtained(&scene).await;
    let begun = scene.world.now();
    for _ in 0..5 {
        scene.world.clock.set(current.renew_at.unwrap());
        renewed(&scene, &current).await;
        current = asked(&scene).await;
    }
    assert_eq!(scene.ca.orders().len(), 6);
    assert!(scene.world.now().since(begun) >= 5 * DAY);
    running.stop().await;
}

#[tokio::test]
async fn what_is_of_no_use_leaves_the_fraction_of_the_lifetime() {
    type Arrange = fn(&Scene);
    let rows: [(&str, Arrange); 6] = [
        ("missing", |scene| scene.ca.change(|ca| ca.renewal_window = None)),
        ("404", |scene| {
            scene
                .ca
                .always(Endpoint::RenewalInfo, Fault::problem(404, "malformed"));
        }),
        ("malformed", |scene| {
            scene.ca.always(Endpoint::RenewalInfo, Fault::answer(200, "{}"))
        }),
        ("a page", |scene| {
            scene
                .ca
                .always(Endpoint::RenewalInfo, Fault::answer(200, "<html>"));
        }),
        ("an end before the start", |scene| {
            scene.ca.change(window(2 * DAYS, DAYS))
        }),
        ("no answer", |scene| {
            scene.ca.always(Endpoint::RenewalInfo, Fault::Reset)
        }),
    ];
    for (what, arrange) in rows {
        let scene = Scene::new().await;
        scene.ca.change(window(DAYS, 2 * DAYS));
        arrange(&scene);
        let (running, current) = obtained(&scene).await;
        assert!(
            (52.5..=57.0).contains(&days(&current)),
            "{what}: {}",
            days(&current)
        );
        assert_eq!(current.suggested, None, "{what}");
        let pause = current.ask_at.unwrap().since(scene.world.now());
        assert!((HOUR..=DAY).contains(&pause), "{what}: {pause:?}");
        running.stop().await;
    }
}

#[tokio::test]
async fn a_suggestion_that_is_withdrawn_gives_way_to_the_fraction_of_the_lifetime() {
    let scene = Scene::new().await;
    scene.ca.change(window(5 * DAYS, 6 * DAYS));
    let (running, current) = obtained(&scene).await;
    assert!(days(&current) < 6.0);
    scene.ca.always(Endpoint::RenewalInfo, Fault::Reset);
    let kept = asked_again(&scene).await;
    assert_eq!(kept.renew_at, current.renew_at);
    scene.ca.heal();
    scene
        .ca
        .always(Endpoint::RenewalInfo, Fault::problem(404, "malformed"));
    let without = asked_again(&scene).await;
    assert!((52.5..=57.0).contains(&days(&without)), "{}", days(&without));
    running.stop().await;
}

#[tokio::test]
async fn the_ca_is_asked_again_when_it_says_but_neither_at_once_nor_never() {
    for (said, shortest, longest) in [("7200", 7190, 7200), ("0", 60, 61), ("99999999", 86_400, 86_400)] {
        let scene = Scene::new().await;
        scene.ca.change(window(20 * DAYS, 22 * DAYS));
        scene.ca.change(|ca| ca.ask_again = Some(said.to_owned()));
        let (running, current) = obtained(&scene).await;
        let pause = current.ask_at.unwrap().since(scene.world.now()).as_secs();
        assert!((shortest..=longest).contains(&pause), "{said}: {pause}");
        running.stop().await;
    }
}

#[tokio::test]
async fn an_order_that_is_refused_for_what_it_replaces_is_placed_once_more_without() {
    let rows = [
        (Replacing::Refused(409, "alreadyReplaced"), 2),
        (Replacing::Refused(400, "malformed"), 2),
        (Replacing::Refused(403, "unauthorized"), 2),
        // It was placed, so it is found and taken.
        (Replacing::Ignored, 1),
    ];
    for (replacing, requests) in rows {
        let scene = Scene::new().await;
        scene.ca.change(window(20 * DAYS, 22 * DAYS));
        scene.ca.change(|ca| ca.replacing = replacing);
        let (running, current) = obtained(&scene).await;
        scene.world.clock.set(current.renew_at.unwrap());
        renewed(&scene, &current).await;
        assert_eq!(scene.ca.count(Endpoint::NewOrder), 1 + requests);
        assert_eq!(scene.ca.orders().len(), 2);
        running.stop().await;
    }
}

#[tokio::test]
async fn an_order_that_is_refused_in_any_case_is_not_placed_for_ever() {
    let scene = Scene::new().await;
    scene.ca.change(window(20 * DAYS, 22 * DAYS));
    let (running, current) = obtained(&scene).await;
    scene
        .ca
        .always(Endpoint::NewOrder, Fault::problem(400, "malformed"));
    scene.world.clock.set(current.renew_at.unwrap());
    scene.world.wait_for("www", |record| record.failures == 1).await;
    assert_eq!(scene.ca.count(Endpoint::NewOrder), 3);
    running.stop().await;
}
