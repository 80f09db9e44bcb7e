//! Certificates from another CA, served in the place of the first.

use super::*;
use crate::config::HookEvent;
use crate::inventory::{CertificateRecord, Notice, StandIn};

#[tokio::test]
async fn a_spare_is_served_only_in_the_place_of_its_certificate_and_followed_there() {
    let world = World::new();
    let (www, name) = (world.store("www").await, CertificateName::parse("www").unwrap());
    let spare = async || {
        let pem = world.sign("www", world.now() + DAY);
        let fingerprint = world.put("www.spare", &pem).await;
        let known = world
            .inventory
            .certificate(&name.spare().unwrap())
            .await
            .unwrap()
            .unwrap();
        let mut record = known.value;
        record.spare_of = Some(name.clone());
        let saved = world
            .inventory
            .save_certificate(&record, Expect::Revision(known.revision), None);
        saved.await.unwrap();
        fingerprint
    };
    let first = spare().await;
    let mut publisher = world.start().await;
    let stand_in = async |is_active: bool| {
        let stand_in = StandIn {
            since: world.now(),
            by_operator: true,
            reason: String::new(),
        };
        let names = std::slice::from_ref(&name);
        let notice = |record: &CertificateRecord| {
            let (detail, name) = ("as a test wants it".to_owned(), record.name.clone());
            Notice::new(HookEvent::Activated, name, world.now(), detail)
        };
        let written = world
            .inventory
            .stand_in(names, is_active.then_some(&stand_in), notice);
        written.await.unwrap();
    };
    assert_eq!(
        (world.served("www"), world.served("www.spare")),
        (Some(www.clone()), None)
    );

    stand_in(true).await;
    publisher.follow().await;
    assert_eq!(world.served("www"), Some(first));
    let second = spare().await;
    publisher.follow().await;
    assert_eq!(
        (world.served("www"), world.served("www.spare")),
        (Some(second.clone()), None)
    );
    // The next process serves it from the start.
    let mut publisher = world.start().await;
    assert_eq!(world.served("www"), Some(second));

    stand_in(false).await;
    publisher.follow().await;
    assert_eq!(world.served("www"), Some(www.clone()));
    stand_in(true).await;
    world.overwrite("credentials/www.spare", b"{").await;
    publisher.follow().await;
    assert_eq!(world.served("www"), Some(www), "better than a damaged spare");
}
