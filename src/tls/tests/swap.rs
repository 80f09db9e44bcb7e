//! New certificates while handshakes go on.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_under_way_are_not_disturbed_by_swaps() {
    let ca = Ca::new("ca");
    let versions = [0, 1].map(|days| ca.credential(&["www.example.com"], KeyType::EcdsaP256, days));
    let gateway = Arc::new(Gateway::new(&listener(), None, &[("www", versions[0].clone())]));

    let swaps = Arc::new(AtomicUsize::new(0));
    let publisher = tokio::spawn({
        let (gateway, swaps, versions) = (gateway.clone(), swaps.clone(), versions.clone());
        async move {
            for version in versions.iter().cycle() {
                let table = gateway.published.load().with(entry("www"), vec![version.clone()]);
                gateway.published.publish(table);
                swaps.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        }
    });
    for _ in 0..200 {
        // A new client each time: a resumed session would show the certificate of its first handshake.
        let session = gateway
            .connect(&Client::default().build(), "www.example.com")
            .await
            .session();
        assert!(versions.iter().any(|version| *version.leaf() == session.leaf()));
    }
    publisher.abort();
    assert!(swaps.load(Ordering::Relaxed) > 200);
}

#[tokio::test]
async fn the_next_handshake_is_served_the_new_certificate() {
    let ca = Ca::new("ca");
    let gateway = Gateway::new(&listener(), None, &[]);
    for days in 0..3 {
        let new = ca.credential(&["www.example.com"], KeyType::EcdsaP256, days);
        gateway.published.publish(table(&[("www", new.clone())]));
        let session = gateway
            .connect(&Client::default().build(), "www.example.com")
            .await
            .session();
        assert_eq!(session.leaf(), *new.leaf());
    }
}

#[test]
fn a_swap_and_a_choice_cost_the_same_with_10_and_with_100_000_certificates() {
    let ca = Ca::new("ca");
    let (few, many) = (many_entries(&ca, 10), many_entries(&ca, 100_000));
    assert_eq!((few.len(), many.len()), (10, 100_000));
    let fresh = ca.credential(&["host-3.example.com"], KeyType::EcdsaP256, 1);
    let published = PublishedCertificates::new();
    let swap = |table: &CertificateTable| {
        published.publish(table.with(entry("site-3"), vec![fresh.clone()]));
    };
    let selection = Selection::new(&[CertificateSelector::All], UnknownSni::Refuse);
    let suites = [rustls::CipherSuite::TLS13_AES_128_GCM_SHA256];
    let offer = ClientOffer {
        server_name: Some("host-3.example.com"),
        signature_schemes: &[SignatureScheme::ECDSA_NISTP256_SHA256],
        cipher_suites: &suites,
        named_groups: None,
    };
    let choose = |table: &CertificateTable| {
        assert!(matches!(
            select(table, &selection, &offer),
            Choice::Certificate { .. }
        ));
    };
    // Linear work would show as a factor of 10,000; the depth of a tree shows as 4 or 5.
    for (what, cost) in [("swap", &swap as &dyn Fn(&CertificateTable)), ("choice", &choose)] {
        let (few, many) = (median(|| cost(&few)), median(|| cost(&many)));
        assert!(
            many < 25 * few,
            "a {what} took {few:?} with 10 and {many:?} with 100,000"
        );
    }
}

/// A table of `count` entries, each for a name of its own.
fn many_entries(ca: &Ca, count: usize) -> CertificateTable {
    let credential = |i: usize| ca.credential(&[&format!("host-{i}.example.com")], KeyType::EcdsaP256, 0);
    let half = |from, to| (from..to).map(credential).collect::<Vec<_>>();
    let (first, second) = std::thread::scope(|scope| {
        let second = scope.spawn(|| half(count / 2, count));
        (half(0, count / 2), second.join().unwrap())
    });
    let all = first.into_iter().chain(second).enumerate();
    all.fold(CertificateTable::new(), |table, (i, credential)| {
        table.with(entry(&format!("site-{i}")), vec![credential])
    })
}

fn median(run: impl Fn()) -> Duration {
    let mut times: Vec<_> = (0..501)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[250]
}
