//! Bytes: all of them, unchanged, with bounded memory.

use std::io::Write;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use certgate::metrics::Outcome;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

use crate::harness::{Stand, echo, handed_over, until, within};

const MEBIBYTE: usize = 1024 * 1024;
const TOTAL: usize = 64 * MEBIBYTE;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_mebibytes_go_each_way_at_once_and_arrive_unchanged() {
    let (address, mut connections) = handed_over().await;
    let stand = Stand::new(&[address]);
    let client = stand.connect().await;
    let backend = within(connections.recv()).await.unwrap();
    let (from_client, to_client) = tokio::io::split(client);
    let (from_backend, to_backend) = backend.into_split();
    let ((sent_up, sent_down), (got_up, got_down)) = within(async {
        let sending = async { tokio::join!(send(to_client, 1), send(to_backend, 2)) };
        let receiving = async { tokio::join!(receive(from_backend), receive(from_client)) };
        tokio::join!(sending, receiving)
    })
    .await;
    assert_eq!(got_up, sent_up);
    assert_eq!(got_down, sent_down);
    stand.ended(Outcome::Closed, 1).await;
    let text = stand.metrics.encode();
    for direction in ["in", "out"] {
        let line = format!(r#"certgate_bytes_total{{listener="web",direction="{direction}"}} {TOTAL}"#);
        assert!(text.contains(&line), "{line} is missing in\n{text}");
    }
}

/// Sends [`TOTAL`] bytes in chunks of random sizes; their hash.
async fn send(mut to: impl AsyncWrite + Unpin, seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let block: Vec<u8> = (0..MEBIBYTE / 8)
        .flat_map(|_| random.next().to_le_bytes())
        .collect();
    let mut hash = Context::new(&SHA256);
    let mut left = TOTAL;
    while left > 0 {
        let start = random.below(MEBIBYTE - 1);
        let largest = [100, 5_000, 300_000][random.below(3)];
        let length = (1 + random.below(largest)).min(MEBIBYTE - start).min(left);
        let chunk = &block[start..start + length];
        hash.update(chunk);
        to.write_all(chunk).await.unwrap();
        left -= length;
    }
    to.shutdown().await.unwrap();
    hash.finish().as_ref().to_vec()
}

async fn receive(mut from: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut hash = Context::new(&SHA256);
    let mut buffer = vec![0; MEBIBYTE];
    let mut total = 0;
    loop {
        let read = from.read(&mut buffer).await.unwrap();
        if read == 0 {
            break;
        }
        total += read;
        hash.update(&buffer[..read]);
    }
    assert_eq!(total, TOTAL);
    hash.finish().as_ref().to_vec()
}

/// xorshift64: the same on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_the_backend_back() {
    const OFFERED: usize = 256 * MEBIBYTE;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stand = Stand::new(&[listener.local_addr().unwrap()]);
    let socket = TcpSocket::new_v4().unwrap();
    // The system's own buffers are the only ones that fill up; keep the client's small.
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    let tcp = within(socket.connect(stand.address())).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(stand.client_config()));
    let mut client = within(connector.connect(crate::harness::server_name(), tcp))
        .await
        .unwrap();
    let (mut backend, _) = within(listener.accept()).await.unwrap();

    let block = vec![7; 64 * 1024];
    let mut written = 0;
    while let Ok(result) = tokio::time::timeout(Duration::from_millis(500), backend.write(&block)).await {
        written += result.unwrap();
        assert!(written < OFFERED, "nothing holds the backend back");
    }
    // Of which the client's system has some already; of the rest the gateway's holds 256 KiB, and the gateway a turn.
    let taken = bytes(&stand, "out");
    assert!(
        taken <= MEBIBYTE,
        "{taken} bytes taken for a client that reads none"
    );

    drop(tokio::spawn(async move {
        backend.shutdown().await.unwrap();
    }));
    let mut got = 0;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match within(client.read(&mut buffer)).await.unwrap() {
            0 => break,
            read => got += read,
        }
    }
    assert_eq!(got, written);
}

#[tokio::test]
async fn a_backend_that_does_not_read_holds_the_client_back() {
    let (address, mut connections) = handed_over().await;
    let stand = Stand::new(&[address]);
    let mut client = stand.connect().await;
    let mut backend = within(connections.recv()).await.unwrap();
    let block = vec![7; 64 * 1024];
    let mut written = 0;
    while let Ok(result) = tokio::time::timeout(Duration::from_millis(500), client.write(&block)).await {
        written += result.unwrap();
        assert!(written < 256 * MEBIBYTE, "nothing holds the client back");
    }
    let taken = bytes(&stand, "in");
    assert!(
        taken <= MEBIBYTE,
        "{taken} bytes taken for a backend that reads none"
    );
    let reading = tokio::spawn(async move {
        let mut got = Vec::new();
        backend.read_to_end(&mut got).await.unwrap();
        got.len()
    });
    within(client.shutdown()).await.unwrap();
    assert_eq!(within(reading).await.unwrap(), written);
}

fn bytes(stand: &Stand, direction: &str) -> usize {
    let text = stand.metrics.encode();
    let prefix = format!(r#"certgate_bytes_total{{listener="web",direction="{direction}"}} "#);
    let value = text.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap();
    value.parse().unwrap()
}

#[tokio::test]
async fn what_comes_with_the_end_of_the_handshake_arrives() {
    let stand = Stand::new(&[echo().await]);
    let mut session = stand.session();
    session.writer().write_all(b"in one flight").unwrap();
    let address = stand.address();
    let answer = tokio::task::spawn_blocking(move || {
        use std::io::Read;
        let mut tcp = std::net::TcpStream::connect(address).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut answer = [0; 13];
        rustls::Stream::new(&mut session, &mut tcp)
            .read_exact(&mut answer)
            .unwrap();
        answer
    });
    assert_eq!(&within(answer).await.unwrap(), b"in one flight");
}

#[tokio::test]
async fn small_answers_do_not_wait_for_each_other() {
    let stand = Stand::new(&[echo().await]);
    let mut client = stand.connect().await;
    let mut slow = 0;
    for _ in 0..100 {
        let start = std::time::Instant::now();
        for half in [&b"pi"[..], b"ng"] {
            client.write_all(half).await.unwrap();
            client.flush().await.unwrap();
        }
        let mut answer = [0; 4];
        within(client.read_exact(&mut answer)).await.unwrap();
        assert_eq!(&answer, b"ping");
        slow += usize::from(start.elapsed() >= Duration::from_millis(40));
    }
    // Nagle's algorithm against delayed acknowledgements would cost 40 ms each.
    assert!(slow < 50, "{slow} of 100 waited");
}

#[tokio::test]
async fn an_idle_connection_is_closed_on_both_sides_and_counted() {
    let (address, mut connections) = handed_over().await;
    let stand = Stand::with(&[address], |config| {
        config.idle_timeout = Duration::from_millis(400)
    });
    let mut client = stand.connect().await;
    let mut backend = within(connections.recv()).await.unwrap();
    // Traffic in one direction alone keeps it open.
    let start = std::time::Instant::now();
    while start.elapsed() < Duration::from_millis(1000) {
        backend.write_all(b".").await.unwrap();
        within(client.read_exact(&mut [0])).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(stand.running.connections(), 1);
    assert!(within(client.read(&mut [0; 9])).await.is_err());
    assert!(within(backend.read(&mut [0; 9])).await.is_err());
    stand.ended(Outcome::IdleTimeout, 1).await;
    until("no open connection", || stand.running.connections() == 0).await;
}
