use std::time::Duration;

use certgate_store::{Hint, MemoryStore, StoreError};

use super::*;
use crate::certificate::{KeyType, PrivateKey};
use crate::config::HookEvent;

const TTL: Duration = Duration::from_secs(60);

fn now() -> Timestamp {
    Timestamp::from_unix_seconds(1_795_219_200)
}

fn name(text: &str) -> CertificateName {
    CertificateName::parse(text).unwrap()
}

fn credential(domain: &str) -> (CredentialPem, Credential) {
    let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    let params = rcgen::CertificateParams::new(vec![domain.to_owned()]).unwrap();
    let certificate = params.self_signed(&key.to_key_pair().unwrap()).unwrap();
    let pem = CredentialPem::new(vec![certificate.der().clone()], &key);
    let credential = Credential::from_pem(&pem).unwrap();
    (pem, credential)
}

fn inventory() -> (Arc<MemoryStore>, Inventory) {
    let store = Arc::new(MemoryStore::new());
    (store.clone(), Inventory::new(store))
}

fn backing_off(text: &str) -> CertificateRecord {
    let mut record = CertificateRecord::wanted(name(text));
    record.failures = 3;
    record.held_until.insert("letsencrypt".into(), now());
    record.state = CertificateState::BackingOff {
        error: "rate limited".into(),
        next_attempt: now(),
    };
    record
}

#[tokio::test]
async fn a_record_reads_back_as_written_and_an_old_revision_writes_nothing() {
    let (_, inventory) = inventory();
    let record = backing_off("www");
    let first = inventory
        .save_certificate(&record, Expect::Absent, None)
        .await
        .unwrap();
    let read = inventory.certificate(&record.name).await.unwrap().unwrap();
    assert_eq!((&read.value, read.revision), (&record, first));

    inventory
        .save_certificate(&record, Expect::Revision(first), None)
        .await
        .unwrap();
    let late = inventory
        .save_certificate(&record, Expect::Revision(first), None)
        .await;
    assert!(matches!(late, Err(InventoryError::Conflict { key }) if key == "certificates/www"));
}

#[tokio::test]
async fn a_record_cut_at_any_byte_is_reported_by_its_key_and_left_as_it_is() {
    let (store, inventory) = inventory();
    inventory
        .save_certificate(&backing_off("www"), Expect::Absent, None)
        .await
        .unwrap();
    inventory
        .save_certificate(&backing_off("ok"), Expect::Absent, None)
        .await
        .unwrap();
    let whole = store.get("certificates/www").await.unwrap().unwrap().value;
    for end in 0..whole.len() {
        let cut = Batch::new().put("certificates/www", &whole[..end], Expect::Any);
        store.commit(cut).await.unwrap();
        let all = inventory.certificates_after("", None, 10).await.unwrap();
        assert_eq!(all.records.len(), 1);
        assert_eq!(all.unreadable[0].0, name("www"));
        assert!(all.unreadable[0].1.to_string().contains("certificates/www"));
    }
    assert_eq!(
        store.get("certificates/www").await.unwrap().unwrap().value,
        &whole[..whole.len() - 1]
    );
}

#[tokio::test]
async fn a_record_of_a_newer_certgate_is_no_damage() {
    let (store, inventory) = inventory();
    let newer = br#"{"format": 2, "record": {"anything": true}}"#;
    store
        .commit(Batch::new().put("certificates/www", &newer[..], Expect::Any))
        .await
        .unwrap();
    let error = inventory.certificate(&name("www")).await.unwrap_err();
    assert!(matches!(
        error,
        InventoryError::NewerFormat {
            found: 2,
            known: 1,
            ..
        }
    ));
}

#[tokio::test]
async fn a_record_under_the_key_of_another_is_refused() {
    let (store, inventory) = inventory();
    inventory
        .save_certificate(&backing_off("www"), Expect::Absent, None)
        .await
        .unwrap();
    let value = store.get("certificates/www").await.unwrap().unwrap().value;
    store
        .commit(Batch::new().put("certificates/shop", value, Expect::Any))
        .await
        .unwrap();
    assert!(matches!(
        inventory.certificate(&name("shop")).await,
        Err(InventoryError::Misplaced { .. })
    ));
}

#[tokio::test]
async fn installing_writes_record_and_credential_and_ends_the_order_together() {
    let (store, inventory) = inventory();
    let name = name("www");
    let lease = inventory.lease("certificate/www", TTL).await.unwrap().unwrap();
    let order = OrderRecord {
        issuer: "pebble".into(),
        account_url: "https://ca.example/account/1".into(),
        order_url: None,
        key: PrivateKey::generate(KeyType::EcdsaP256).unwrap(),
        digest: "d".into(),
        created_at: now(),
    };
    inventory.save_order(&name, &order, &lease).await.unwrap();
    let journal = inventory.order(&name).await.unwrap().unwrap();
    assert_eq!(journal.key.pkcs8(), order.key.pkcs8());

    let (first, one) = credential("a.example");
    let record = CertificateRecord::imported(name.clone(), Source::Issued, one.leaf().clone(), now());
    let revision = inventory
        .install(&record, &first, Expect::Absent, &lease)
        .await
        .unwrap();
    assert!(inventory.order(&name).await.unwrap().is_none());
    let entries = store.list("").await.unwrap().entries;
    assert!(entries.iter().all(|entry| entry.revision == revision));

    let (second, _) = credential("a.example");
    inventory
        .install(&record, &second, Expect::Revision(revision), &lease)
        .await
        .unwrap();
    let stored = inventory.credential(&name).await.unwrap().unwrap();
    assert_eq!(stored.chain(), second.chain());
    let previous = store
        .get("previous-credentials/www")
        .await
        .unwrap()
        .unwrap()
        .value;
    assert_eq!(previous, first.to_pem().as_bytes());
}

#[tokio::test]
async fn a_holder_whose_lease_is_gone_installs_nothing() {
    let (store, inventory) = inventory();
    let lease = inventory.lease("certificate/www", TTL).await.unwrap().unwrap();
    assert!(inventory.lease("certificate/www", TTL).await.unwrap().is_none());
    inventory.release_lease(lease.clone()).await.unwrap();
    let (pem, credential) = credential("a.example");
    let record = CertificateRecord::imported(name("www"), Source::Issued, credential.leaf().clone(), now());
    let late = inventory.install(&record, &pem, Expect::Any, &lease).await;
    assert!(matches!(late, Err(InventoryError::LeaseLost { .. })));
    assert!(store.list("").await.unwrap().entries.is_empty());
}

#[tokio::test]
async fn importing_the_same_again_changes_nothing() {
    let (_, inventory) = inventory();
    let name = name("sites/previous");
    let (pem, one) = credential("a.example");
    assert!(
        inventory
            .import(&name, Source::Files, &pem, &one, now())
            .await
            .unwrap()
    );
    let before = inventory.certificate(&name).await.unwrap();
    assert!(
        !inventory
            .import(&name, Source::Files, &pem, &one, now() + TTL)
            .await
            .unwrap()
    );
    assert_eq!(inventory.certificate(&name).await.unwrap(), before);

    let (other, two) = credential("a.example");
    assert!(
        inventory
            .import(&name, Source::Files, &other, &two, now())
            .await
            .unwrap()
    );
    inventory.remove_certificate(&name).await.unwrap();
    assert!(
        inventory
            .certificates_after("", None, 10)
            .await
            .unwrap()
            .records
            .is_empty()
    );
    assert!(inventory.credential(&name).await.unwrap().is_none());
}

#[tokio::test]
async fn no_debug_form_and_no_error_shows_a_secret() {
    let (store, inventory) = inventory();
    let account = AccountRecord {
        credentials: Secret::new("SECRET".into()),
        directory: "https://ca.example/dir".into(),
        contact: vec![],
        next_credentials: None,
    };
    inventory
        .save_account("pebble", &account, Expect::Absent)
        .await
        .unwrap();
    assert_eq!(inventory.account("pebble").await.unwrap().unwrap().value, account);
    assert!(!format!("{account:?}").contains("SECRET"));

    let damaged = br#"{"format": 1, "record": {"credentials": ["SECRET"], "directory": "SECRET"}}"#;
    store
        .commit(Batch::new().put("accounts/pebble", &damaged[..], Expect::Any))
        .await
        .unwrap();
    let error = inventory.account("pebble").await.unwrap_err();
    assert!(!format!("{error:?} {error}").contains("SECRET"));

    let pair = |name: &str| CaPair {
        certificate: name.into(),
        key: PrivateKey::generate(KeyType::EcdsaP256).unwrap(),
    };
    let local_ca = LocalCaRecord {
        root: pair("root"),
        issuing: pair("issuing"),
        clients: None,
    };
    inventory
        .save_local_ca("internal", &local_ca, Expect::Absent)
        .await
        .unwrap();
    let read = inventory.local_ca("internal").await.unwrap().unwrap().value;
    assert_eq!(read.issuing.key.pkcs8(), local_ca.issuing.key.pkcs8());
    assert!(format!("{read:?}").contains("PrivateKey(secret)"));
}

#[test]
fn hints_add_the_certificates_they_are_about() {
    let mut stale = Stale::default();
    let keys = [
        "accounts/a",
        "certificates/www",
        "credentials/sites/a",
        "credentials/www",
        "previous-credentials/old",
    ];
    stale.add_hint(&Hint::Keys(keys.map(String::from).to_vec()));
    let expected = [name("sites/a"), name("www")];
    assert_eq!(stale, Stale::Names(expected.into()));
    stale.add_hint(&Hint::Unknown);
    stale.add([name("www")]);
    assert_eq!(stale, Stale::Everything);
}

#[test]
fn the_stores_conflicts_keep_their_meaning() {
    let lost = StoreError::LeaseLost { name: "l".into() };
    assert!(matches!(
        InventoryError::from(lost),
        InventoryError::LeaseLost { .. }
    ));
    assert!(matches!(
        InventoryError::from(StoreError::Closed),
        InventoryError::Store { .. }
    ));
}

#[tokio::test]
async fn a_crl_larger_than_a_value_of_the_store_reads_back_and_one_with_a_piece_lost_is_empty() {
    let (store, inventory) = inventory();
    let crl = |number: u64, octets: usize| CrlRecord {
        number,
        this_update: now(),
        next_update: now() + TTL,
        der: (0..octets).map(|index| (index % 251) as u8).collect(),
    };
    let mut expect = Expect::Absent;
    for (number, octets, pieces) in [(1, 100, 1), (2, 2_500_000, 3), (3, 1 << 20, 1)] {
        let written = crl(number, octets);
        let saved = inventory.save_crl("internal", &written, expect, None).await;
        let read = inventory.crl("internal").await.unwrap().unwrap();
        assert_eq!((read.value, read.revision), (written, saved.unwrap()));
        let kept = store.list("crl-pieces/internal/").await.unwrap().entries;
        assert_eq!(kept.len(), pieces, "of the newest number only");
        expect = Expect::Revision(read.revision);
    }
    let key = "crl-pieces/internal/00000000000000000003/0000";
    let batch = Batch::new().delete(key, Expect::Any);
    store.commit(batch).await.unwrap();
    let read = inventory.crl("internal").await.unwrap().unwrap().value;
    assert_eq!((read.number, read.der), (3, Vec::new()));
}

#[tokio::test]
async fn a_switch_to_a_spare_and_back_is_told_in_its_commit_and_what_is_so_already_is_not() {
    let (_, inventory) = inventory();
    let notice = |record: &CertificateRecord| {
        let (event, name) = (HookEvent::Activated, record.name.clone());
        Notice::new(event, name, now(), format!("{:?}", record.stand_in.is_some()))
    };
    let stand_in = |by_operator| StandIn {
        since: now(),
        by_operator,
        reason: String::new(),
    };
    let (by_itself, by_operator) = (stand_in(false), stand_in(true));
    let names = [name("www")];
    let mut hints = inventory.hints();
    for (stand_in, told) in [
        (None, 0),
        (Some(&by_itself), 1),
        (Some(&by_operator), 0),
        (None, 1),
    ] {
        let said = inventory.stand_in(&names, stand_in, notice).await.unwrap();
        assert_eq!(said.len(), told, "{stand_in:?}");
        let Hint::Keys(keys) = hints.changed().await else {
            panic!("too much happened to tell");
        };
        let notices = keys.iter().filter(|key| key.starts_with("notices/"));
        assert!(keys.contains(&"certificates/www".to_owned()));
        assert_eq!(notices.count(), told, "{keys:?}");
    }
    assert_eq!(inventory.notices(10).await.unwrap().len(), 2);
}
