//! What rehearsals say of servers that say nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use certgate::config::{AcmeDnsConfig, DnsProvider};
use tokio::net::TcpListener;

use crate::support::primary::{KEY, Kind};
use crate::world::{World, primary, rfc2136};

const NAMES: usize = 40;

fn names() -> Vec<String> {
    (0..NAMES)
        .map(|number| format!("n{number}.example.test"))
        .collect()
}

#[tokio::test]
async fn a_server_that_drops_updates_is_named_for_each_of_many_names_in_bounded_time() {
    let primary = primary(Kind::Bind);
    // Connections are made by the kernel, and nobody reads.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = silent.local_addr().unwrap();
    let mut world = World::of(&primary);
    world.config.provider = rfc2136(server, KEY, primary.key_file());
    let begun = Instant::now();
    let names = names();
    let said = world
        .rehearse_all(&names.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    // One after the other they would take 4 s each.
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert_eq!(said.len(), NAMES);
    for (name, said) in names.iter().zip(said) {
        let error = said.unwrap_err();
        let tried =
            format!("{server} did not answer to the update of the zone example.test for _acme-challenge.");
        assert!(
            error.contains(&tried) && error.contains("no answer by TCP within 4 s"),
            "{error}"
        );
        assert!(
            error.contains(&format!("_acme-challenge.{name}")),
            "{name}: {error}"
        );
    }
}

#[tokio::test]
async fn an_acme_dns_that_says_nothing_is_named_for_each_of_many_names_in_bounded_time() {
    let primary = primary(Kind::Bind);
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", silent.local_addr().unwrap());
    let mut world = World::of(&primary);
    world.config.provider = DnsProvider::AcmeDns(AcmeDnsConfig {
        server: server.clone(),
        accounts_file: None,
    });
    let begun = Instant::now();
    let names = names();
    let said = world
        .rehearse_all(&names.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    // One after the other they would take 8 s each.
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    for (name, said) in names.iter().zip(said) {
        let error = said.unwrap_err();
        for part in [
            "within 8 s",
            &format!("_acme-challenge.{name}"),
            &format!("acme-dns at {server}"),
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}

#[tokio::test]
async fn a_server_that_drops_updates_is_asked_once_in_a_sweep() {
    let primary = primary(Kind::Bind);
    let mut world = World::of(&primary);
    for number in 0..4 {
        let value = format!("{number}{}", &crate::world::ONE[1..]);
        world.place("example.test", &value).await.unwrap();
    }
    world.claims = certgate::dns01::Claims::default();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = silent.local_addr().unwrap();
    world.config.provider = rfc2136(server, KEY, primary.key_file());
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok(connection) = silent.accept().await {
            open.push(connection);
            counted.store(open.len(), Ordering::SeqCst);
        }
    });
    // Still the same way, as far as the store can tell.
    let mut records = world.inventory.placed_records().await.unwrap();
    for record in &mut records {
        record.provider = world.config.provider.to_string();
    }
    let left = world.dns01().sweep(&records).await;
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(left.len(), 4);
    let named = |reason: &String| reason.contains(&format!("{server} did not answer"));
    assert!(left.iter().all(|left| named(&left.reason)), "{left:?}");
}
