//! Listeners that change, stop and run out of things.

use std::io;

use certgate::listener::Workers;
use certgate::metrics::Outcome;
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::harness::{
    Stand, echo, greeter, is_alone_with_descriptors, is_truncated, listener_config, server_name, settings,
    until, within,
};

#[tokio::test]
async fn new_settings_are_for_the_next_connection_and_open_ones_keep_theirs() {
    let stand = Stand::new(&[echo().await]);
    let mut open = stand.connect().await;
    open.write_all(b"before ").await.unwrap();
    within(open.read_exact(&mut [0; 7])).await.unwrap();
    stand
        .running
        .replace(stand.settings(&[greeter("the new one").await]));
    let mut next = stand.connect().await;
    let mut greeting = String::new();
    within(next.read_to_string(&mut greeting)).await.unwrap();
    assert_eq!(greeting, "the new one");
    open.write_all(b"after").await.unwrap();
    let mut echoed = [0; 5];
    within(open.read_exact(&mut echoed)).await.unwrap();
    assert_eq!(&echoed, b"after");
}

#[tokio::test]
async fn connections_that_are_queued_when_a_listener_stops_are_served() {
    let stand = Stand::new(&[echo().await]);
    let bound = stand.workers.bind(&listener_config("stopping")).unwrap();
    let address = bound.local_addr();
    // Nothing accepts yet: they wait in the queues of both workers' sockets.
    let queued: Vec<_> = join_all((0..100).map(|_| TcpStream::connect(address))).await;
    let settings = settings(
        listener_config("stopping"),
        &[echo().await],
        &stand.metrics,
        &stand.published,
        &stand.challenges,
    );
    let stopping = stand.workers.serve(bound, settings, &stand.metrics);
    stopping.stop_accepting();
    let connector = TlsConnector::from(std::sync::Arc::new(stand.client_config()));
    for tcp in queued {
        let mut client = within(connector.connect(server_name(), tcp.unwrap()))
            .await
            .unwrap();
        client.write_all(b"served").await.unwrap();
        within(client.read_exact(&mut [0; 6])).await.unwrap();
        client.shutdown().await.unwrap();
        within(client.read_to_end(&mut Vec::new())).await.unwrap();
    }
    within(stopping.drained()).await;
    assert_eq!(
        TcpStream::connect(address).await.unwrap_err().kind(),
        io::ErrorKind::ConnectionRefused
    );
    // The others go on, and the address is free for the next listener.
    stand.echo_works().await;
    let mut again = listener_config("again");
    again.address = address;
    assert_eq!(stand.workers.bind(&again).unwrap().local_addr(), address);
}

#[tokio::test]
async fn a_listener_that_stops_waits_for_open_connections_and_cuts_them_when_told() {
    let (address, mut connections) = crate::harness::handed_over().await;
    let stand = Stand::new(&[address]);
    let mut client = stand.connect().await;
    let mut backend = within(connections.recv()).await.unwrap();
    stand.running.stop_accepting();
    until("refused", || {
        std::net::TcpStream::connect(stand.address()).is_err()
    })
    .await;
    backend.write_all(b"still here").await.unwrap();
    within(client.read_exact(&mut [0; 10])).await.unwrap();
    assert_eq!(stand.running.connections(), 1);
    let waiting = tokio::time::timeout(std::time::Duration::from_millis(50), stand.running.drained());
    assert!(waiting.await.is_err(), "drained with an open connection");

    stand.running.close_all();
    within(stand.running.drained()).await;
    assert!(is_truncated(&within(client.read(&mut [0; 1])).await));
    assert!(is_truncated(&within(backend.read(&mut [0; 1])).await));
    stand.ended(Outcome::Shutdown, 1).await;
}

#[tokio::test]
async fn the_limit_of_one_listener_is_not_that_of_another() {
    let server = echo().await;
    let stand = Stand::with(&[server], |config| config.max_connections = Some(2));
    let other = {
        let bound = stand.workers.bind(&listener_config("other")).unwrap();
        let config = listener_config("other");
        let settings = settings(
            config,
            &[server],
            &stand.metrics,
            &stand.published,
            &stand.challenges,
        );
        stand.workers.serve(bound, settings, &stand.metrics)
    };
    let first = stand.connect().await;
    let _second = stand.connect().await;
    assert!(within(stand.try_connect()).await.is_err());
    stand.ended(Outcome::Limited, 1).await;
    let connector = TlsConnector::from(std::sync::Arc::new(stand.client_config()));
    for _ in 0..3 {
        let tcp = TcpStream::connect(other.local_addr()).await.unwrap();
        within(connector.connect(server_name(), tcp)).await.unwrap();
    }
    drop(first);
    until("a free place", || stand.running.connections() == 1).await;
    stand.echo_works().await;
    let text = stand.metrics.encode();
    let line = r#"certgate_limited_connections_total{listener="web",limit="max_connections"} 1"#;
    assert!(text.contains(line), "{text}");
}

#[tokio::test]
async fn an_address_in_use_is_an_error_that_names_the_listener() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = listener_config("late");
    config.address = taken.local_addr().unwrap();
    let workers = Workers::start(2).unwrap();
    let error = workers.bind(&config).unwrap_err();
    let expected = format!(
        "listener `late` cannot listen on {}, for another program does",
        config.address
    );
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn accepting_goes_on_after_descriptors_ran_out() {
    let name = "lifecycle::accepting_goes_on_after_descriptors_ran_out";
    if !is_alone_with_descriptors(name, "100") {
        return;
    }
    let stand = Stand::new(&[echo().await]);
    // Each one takes two, here and in the listener, until there is none left for the listener.
    let mut hoard = Vec::new();
    while let Ok(stream) = TcpStream::connect(stand.address()).await {
        hoard.push(stream);
    }
    let accepted = stand.running.connections();
    assert!(accepted < hoard.len(), "{accepted} of {} accepted", hoard.len());
    drop(hoard);
    until("the hoard is gone", || stand.running.connections() == 0).await;
    stand.echo_works().await;
}
