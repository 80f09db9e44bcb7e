//! Which server a connection goes to.

use std::collections::BTreeMap;

use certgate::listener::{ListenerSettings, Service};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::harness::{Stand, greeter, nobody, server_group, within};

#[tokio::test]
async fn two_servers_share_connections_evenly() {
    let stand = Stand::new(&[greeter("a").await, greeter("b").await]);
    assert_eq!(
        answers(&stand, 40).await,
        [("a".into(), 20), ("b".into(), 20)].into()
    );
}

#[tokio::test]
async fn weights_are_shares() {
    let stand = Stand::new(&[greeter("a").await]);
    let servers = [(greeter("a").await, 3), (greeter("b").await, 1)];
    let ListenerSettings { config, service } = ListenerSettings::clone(&stand.running.settings());
    let Service::Tls { tls, .. } = service else {
        panic!("not TLS")
    };
    let server_group = server_group(servers, &stand.metrics);
    let service = Service::Tls { tls, server_group };
    stand.running.replace(ListenerSettings { config, service });
    assert_eq!(
        answers(&stand, 40).await,
        [("a".into(), 30), ("b".into(), 10)].into()
    );
}

#[tokio::test]
async fn a_server_that_refuses_is_skipped_and_comes_back() {
    let down = nobody().await;
    let stand = Stand::new(&[down, greeter("up").await]);
    assert_eq!(answers(&stand, 20).await, [("up".into(), 20)].into());
    let up = |value: u8| format!(r#"certgate_backend_up{{server_group="app",server="{down}"}} {value}"#);
    assert!(stand.metrics.encode().contains(&up(0)));

    let listener = TcpListener::bind(down).await.unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.write_all(b"back").await;
        }
    });
    within(async { while !answers(&stand, 1).await.contains_key("back") {} }).await;
    assert!(stand.metrics.encode().contains(&up(1)));
    let after = answers(&stand, 20).await;
    assert_eq!(after, [("back".into(), 10), ("up".into(), 10)].into());
}

async fn answers(stand: &Stand, connections: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..connections {
        let mut client = stand.connect().await;
        let mut answer = String::new();
        within(client.read_to_string(&mut answer)).await.unwrap();
        let _ = client.shutdown().await;
        *counts.entry(answer).or_default() += 1;
    }
    counts
}
