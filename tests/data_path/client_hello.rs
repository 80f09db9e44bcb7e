//! What clients send first: in any pieces, and what is no ClientHello at all.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use certgate::config::UnknownSni;
use certgate::metrics::Outcome;
use rustls::ClientConnection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Stand, echo, is_alone_with_descriptors, until, within};

#[tokio::test]
async fn a_hello_split_at_any_byte_is_served() {
    let stand = Stand::new(&[echo().await]);
    let length = hello(&mut stand.session()).len();
    for split in (1..length).step_by(if length > 600 { 7 } else { 1 }) {
        let mut session = stand.session();
        let bytes = hello(&mut session);
        let mut tcp = stand.tcp().await;
        tcp.write_all(&bytes[..split]).await.unwrap();
        tokio::task::yield_now().await;
        tcp.write_all(&bytes[split..]).await.unwrap();
        within(server_hello(&mut tcp)).await;
    }
}

#[tokio::test]
async fn a_hello_that_drips_byte_by_byte_is_served() {
    let stand = Stand::new(&[echo().await]);
    let mut session = stand.session();
    let mut tcp = stand.tcp().await;
    for byte in hello(&mut session) {
        tcp.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    finish(session, tcp).await;
    stand.ended(Outcome::Closed, 1).await;
}

#[tokio::test]
async fn a_hello_in_records_of_one_byte_is_served() {
    let stand = Stand::new(&[echo().await]);
    let mut session = stand.session();
    let bytes = hello(&mut session);
    let records: Vec<u8> = bytes[5..]
        .iter()
        .flat_map(|byte| [22, 3, 1, 0, 1, *byte])
        .collect();
    let mut tcp = stand.tcp().await;
    tcp.write_all(&records).await.unwrap();
    finish(session, tcp).await;
    stand.ended(Outcome::Closed, 1).await;
}

/// What is sent, what is answered, and how it is counted.
#[tokio::test]
async fn what_is_no_hello_is_answered_counted_by_its_kind_and_disturbs_nobody() {
    let oversized = |length: u32| {
        let mut message = vec![1];
        message.extend_from_slice(&length.to_be_bytes()[1..]);
        message.resize(16_000, 0);
        let mut record = vec![22, 3, 1];
        record.extend_from_slice(&(message.len() as u16).to_be_bytes());
        record.extend(message);
        record
    };
    let big_request = [&b"POST / HTTP/1.1\r\nHost: a\r\n\r\n"[..], &[b'x'; 300_000]].concat();
    let alert = |description: u8| vec![21, 3, 3, 0, 2, 2, description];
    let http = b"HTTP/1.1 400 Bad Request\r\n".to_vec();
    let stand = Stand::new(&[echo().await]);
    for (sent, answer, outcome) in [
        (
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            http.clone(),
            Outcome::PlainHttp,
        ),
        (big_request, http, Outcome::PlainHttp),
        (
            b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10".to_vec(),
            alert(70),
            Outcome::SslV2,
        ),
        (
            b"\0\x01\x02 what is this \xff".to_vec(),
            alert(10),
            Outcome::NotTls,
        ),
        (
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n".to_vec(),
            alert(10),
            Outcome::ProxyHeader,
        ),
        (oversized(16 * 1024 + 1), alert(47), Outcome::HelloTooLarge),
        (oversized(0xff_ffff), alert(47), Outcome::HelloTooLarge),
        (
            b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00".to_vec(),
            alert(50),
            Outcome::HandshakeFailed,
        ),
        (
            b"\x16\x03\x01\x00\x04\x02\x00\x00\x00".to_vec(),
            alert(50),
            Outcome::HandshakeFailed,
        ),
    ] {
        let before = stand.counted().outcomes(outcome);
        let mut tcp = stand.tcp().await;
        tcp.write_all(&sent).await.unwrap();
        let mut got = Vec::new();
        within(tcp.read_to_end(&mut got)).await.unwrap();
        assert!(got.starts_with(&answer), "{outcome:?}: {got:?}");
        drop(tcp);
        stand.ended(outcome, before + 1).await;
        stand.echo_works().await;
    }
}

#[tokio::test]
async fn a_name_without_certificate_is_refused_with_unrecognized_name() {
    let stand = Stand::with(&[echo().await], |config| config.unknown_sni = UnknownSni::Refuse);
    let address = stand.address();
    let output = tokio::task::spawn_blocking(move || {
        std::process::Command::new("openssl")
            .args(["s_client", "-servername", "other.example.com", "-connect"])
            .arg(address.to_string())
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap()
    });
    let output = within(output).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
    assert!(said.contains("alert number 112"), "{said}");
    stand.ended(Outcome::Refused, 1).await;
    stand.echo_works().await;
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_handshake_is_closed_at_the_deadline() {
    const DEADLINE: Duration = Duration::from_millis(600);
    let stand = Stand::with(&[echo().await], |config| config.handshake_timeout = DEADLINE);
    let start = Instant::now();
    let bytes = hello(&mut stand.session());
    let silent = async {
        let mut tcp = stand.tcp().await;
        closed(&mut tcp).await
    };
    let dripping = async {
        let mut tcp = stand.tcp().await;
        for byte in &bytes {
            if tcp.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        closed(&mut tcp).await
    };
    let half_way = async {
        let mut tcp = stand.tcp().await;
        tcp.write_all(&bytes).await.unwrap();
        server_hello(&mut tcp).await;
        closed(&mut tcp).await
    };
    for closed_at in within(async { <[Instant; 3]>::from(tokio::join!(silent, dripping, half_way)) }).await {
        assert!(closed_at - start >= DEADLINE, "{:?}", closed_at - start);
    }
    stand.ended(Outcome::HandshakeTimeout, 3).await;
    stand.echo_works().await;
}

async fn closed(tcp: &mut TcpStream) -> Instant {
    let mut rest = Vec::new();
    let _ = tcp.read_to_end(&mut rest).await;
    Instant::now()
}

#[tokio::test]
async fn two_thousand_half_open_connections_hurt_nobody() {
    let name = "client_hello::two_thousand_half_open_connections_hurt_nobody";
    if !is_alone_with_descriptors(name, "5000") {
        return;
    }
    let stand = Stand::new(&[echo().await]);
    let before = usual_time(&stand).await;
    let mut idle = Vec::new();
    for _ in 0..2000 {
        let mut tcp = stand.tcp().await;
        tcp.write_all(b"\x16\x03\x01").await.unwrap();
        idle.push(tcp);
    }
    until("2,000 open connections", || stand.running.connections() == 2000).await;
    let beside = usual_time(&stand).await;
    assert!(beside < 5 * before, "{before:?} alone, {beside:?} beside them");
    drop(idle);
    stand.ended(Outcome::HandshakeAbandoned, 2000).await;
}

/// The median of 51 connections' times.
async fn usual_time(stand: &Stand) -> Duration {
    let mut times = Vec::new();
    for _ in 0..51 {
        let start = Instant::now();
        stand.echo_works().await;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    times[times.len() / 2]
}

fn hello(session: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    session.write_tls(&mut bytes).unwrap();
    bytes
}

/// Reads the header of the server's first record, and that it is a handshake.
async fn server_hello(tcp: &mut TcpStream) {
    let mut header = [0; 5];
    tcp.read_exact(&mut header).await.unwrap();
    assert_eq!(header[0], 22, "{header:?}");
}

/// The rest of the handshake, and an echo.
async fn finish(mut session: ClientConnection, tcp: TcpStream) {
    let tcp = tcp.into_std().unwrap();
    let exchange = tokio::task::spawn_blocking(move || {
        let mut tcp = tcp;
        tcp.set_nonblocking(false).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut stream = rustls::Stream::new(&mut session, &mut tcp);
        stream.write_all(b"hello").unwrap();
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"hello");
        session.send_close_notify();
        session.complete_io(&mut tcp).unwrap();
    });
    within(exchange).await.unwrap();
}
