//! What the gateway says first and last around an answer: a ticket before it, the end with it; and that every answer
//! gets its share.

use std::sync::Arc;
use std::time::Duration;

use certgate::listener::Workers;
use certgate::metrics::Outcome;
use futures_util::future::join_all;
use rustls::{ClientConfig, HandshakeKind, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::{Stand, backend, echo, greeter, listener_config, server_name, settings, within};

#[tokio::test]
async fn an_answer_that_comes_with_its_end_arrives_whole_and_ends_cleanly() {
    for version in rustls::ALL_VERSIONS {
        for length in [5, 1024 * 1024] {
            let answer: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            let sent = answer.clone();
            let address = backend(move |mut stream| {
                let answer = sent.clone();
                async move {
                    stream.read_exact(&mut [0]).await.unwrap();
                    stream.write_all(&answer).await.unwrap();
                    stream.shutdown().await.unwrap();
                    let _ = stream.read(&mut [0]).await;
                }
            })
            .await;
            let stand = Stand::new(&[address]);
            let mut client = connect(&stand, &client_config(&stand, version)).await;
            client.write_all(b"?").await.unwrap();
            let mut got = Vec::new();
            // Ends only by `close_notify`; anything else is an error.
            within(client.read_to_end(&mut got)).await.unwrap();
            assert!(got == answer, "{version:?}: {} of {length} bytes", got.len());
            client.shutdown().await.unwrap();
            stand.ended(Outcome::Closed, 1).await;
        }
    }
}

#[tokio::test]
async fn a_ticket_is_there_after_the_first_answer() {
    for version in rustls::ALL_VERSIONS {
        let stand = Stand::new(&[echo().await]);
        let config = client_config(&stand, version);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut client = connect(&stand, &config).await;
            client.write_all(b"first").await.unwrap();
            within(client.read_exact(&mut [0; 5])).await.unwrap();
            assert_eq!(kind_of(&client), kind, "{version:?}");
        }
    }
}

#[tokio::test]
async fn a_ticket_is_there_after_a_backend_that_said_nothing() {
    for version in rustls::ALL_VERSIONS {
        let stand = Stand::new(&[greeter("").await]);
        let config = client_config(&stand, version);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut client = connect(&stand, &config).await;
            assert_eq!(within(client.read(&mut [0; 8])).await.unwrap(), 0);
            assert_eq!(kind_of(&client), kind, "{version:?}");
        }
    }
}

/// In its own time, as all measuring: `under_load`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_downloads_share_one_worker_evenly_under_load() {
    const DOWNLOADS: usize = 8;
    const WARM_UP: Duration = Duration::from_millis(300);
    const MEASURED: Duration = Duration::from_secs(3);
    let source = backend(|mut stream| async move {
        let block = vec![7; 64 * 1024];
        while stream.write_all(&block).await.is_ok() {}
    })
    .await;
    let stand = Stand::new(&[source]);
    let workers = Workers::start(1).unwrap();
    let bound = workers.bind(&listener_config("one")).unwrap();
    let address = bound.local_addr();
    let settings = settings(
        listener_config("one"),
        &[source],
        &stand.metrics,
        &stand.published,
        &stand.challenges,
    );
    let _running = workers.serve(bound, settings, &stand.metrics);
    let connector = TlsConnector::from(Arc::new(stand.client_config()));
    let mut clients = Vec::new();
    for _ in 0..DOWNLOADS {
        let tcp = TcpStream::connect(address).await.unwrap();
        clients.push(within(connector.connect(server_name(), tcp)).await.unwrap());
    }
    let start = Instant::now() + WARM_UP;
    let downloads = clients.into_iter().map(|mut client| {
        tokio::spawn(async move {
            let mut buffer = vec![0; 64 * 1024];
            let mut got = 0;
            while start.elapsed() < MEASURED {
                let read = within(client.read(&mut buffer)).await.unwrap();
                if Instant::now() >= start {
                    got += read;
                }
            }
            got
        })
    });
    let got: Vec<usize> = join_all(downloads)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let mean = got.iter().sum::<usize>() / DOWNLOADS;
    let share = *got.iter().min().unwrap() as f64 / mean as f64;
    println!("the slowest gets {share:.3} of the mean");
    assert!(share >= 0.8, "the slowest gets {share:.3} of the mean: {got:?}");
}

fn client_config(stand: &Stand, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(stand.client_config().crypto_provider().clone())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(stand.roots.clone())
        .with_no_client_auth();
    Arc::new(config)
}

async fn connect(stand: &Stand, config: &Arc<ClientConfig>) -> TlsStream<TcpStream> {
    let connector = TlsConnector::from(config.clone());
    within(connector.connect(server_name(), stand.tcp().await))
        .await
        .unwrap()
}

fn kind_of(client: &TlsStream<TcpStream>) -> HandshakeKind {
    client.get_ref().1.handshake_kind().unwrap()
}
