//! Clients that have the keys of their session and keep no rules.

use std::sync::Arc;

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use certgate::metrics::Outcome;
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::{ClientConfig, ClientConnection, ConnectionTrafficSecrets, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Stand, echo, handed_over, server_name, within};

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
const NO_RENEGOTIATION: [u8; 2] = [1, 100];
const UNEXPECTED_MESSAGE: [u8; 2] = [2, 10];

#[tokio::test]
async fn a_flood_of_empty_records_ends_the_connection_with_an_alert() {
    for version in rustls::ALL_VERSIONS {
        let stand = Stand::new(&[echo().await]);
        let mut client = Hostile::connect(&stand, version).await;
        client.send(APPLICATION_DATA, b"hello").await;
        client.is_answered(b"hello").await;
        for _ in 0..100 {
            client.send(APPLICATION_DATA, b"").await;
        }
        assert_eq!(client.last_alert().await, UNEXPECTED_MESSAGE, "{version:?}");
        drop(client);
        stand.ended(Outcome::ClientProtocolError, 1).await;
        stand.echo_works().await;
    }
}

#[tokio::test]
async fn a_flood_that_comes_with_the_end_of_the_handshake_is_answered_no_differently() {
    let stand = Stand::new(&[echo().await]);
    let (mut client, mut flight) = Hostile::almost(&stand, &rustls::version::TLS13).await;
    for _ in 0..100 {
        flight.extend(client.sealed(APPLICATION_DATA, b""));
    }
    within(client.tcp.write_all(&flight)).await.unwrap();
    assert_eq!(client.last_alert().await, UNEXPECTED_MESSAGE);
    drop(client);
    stand.ended(Outcome::ClientProtocolError, 1).await;
    stand.echo_works().await;
}

#[tokio::test]
async fn renegotiation_ends_the_connection_with_an_alert() {
    let stand = Stand::new(&[echo().await]);
    let mut client = Hostile::connect(&stand, &rustls::version::TLS12).await;
    // The header of a ClientHello is enough.
    client.send(HANDSHAKE, &[1, 0, 0, 0]).await;
    assert_eq!(client.last_alert().await, NO_RENEGOTIATION);
    drop(client);
    stand.ended(Outcome::ClientProtocolError, 1).await;
    stand.echo_works().await;
}

#[tokio::test]
async fn a_flood_of_key_updates_ends_the_connection_with_an_alert() {
    let stand = Stand::new(&[echo().await]);
    let mut client = stand.connect().await;
    for _ in 0..100 {
        client.get_mut().1.refresh_traffic_keys().unwrap();
    }
    // The gateway may close before all of it is written.
    let _ = within(client.flush()).await;
    let end = within(client.read(&mut [0; 8])).await.unwrap_err();
    assert!(end.to_string().contains("UnexpectedMessage"), "{end}");
    drop(client);
    stand.ended(Outcome::ClientProtocolError, 1).await;
    stand.echo_works().await;
}

#[tokio::test]
async fn key_updates_among_data_are_answered_once_while_the_client_reads_nothing() {
    const BLOB: usize = 16 << 20;
    const UPDATES: usize = 10_000;
    let (address, mut connections) = handed_over().await;
    let stand = Stand::new(&[address]);
    let mut client = stand.connect().await;
    let backend = within(connections.recv()).await.unwrap();
    let (mut requests, mut answers) = backend.into_split();
    // More than the sockets on the way take.
    tokio::spawn(async move {
        answers.write_all(&vec![7; BLOB]).await.unwrap();
        answers.shutdown().await.unwrap();
    });
    for _ in 0..UPDATES {
        client.get_mut().1.refresh_traffic_keys().unwrap();
        within(client.write_all(b"?")).await.unwrap();
        within(client.flush()).await.unwrap();
        // Each in a turn of its own, or one answer would do for many of them anyway.
        within(requests.read_exact(&mut [0])).await.unwrap();
    }
    let (tcp, _) = client.get_mut();
    let (mut sent, mut buffer) = (0, vec![0; 1 << 16]);
    while let read @ 1.. = within(tcp.read(&mut buffer)).await.unwrap() {
        sent += read;
    }
    // Headers and tags of the records, and far from an answer of 27 bytes to each.
    let beside = sent - BLOB;
    assert!(beside < 5 * UPDATES, "{beside} bytes");
}

/// After a handshake by rustls, which then is left out. Its suites are those with ChaCha20, whose records look alike
/// in both versions: no nonce goes along.
struct Hostile {
    tcp: TcpStream,
    is_tls13: bool,
    sending: Direction,
    receiving: Direction,
}

struct Direction {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl Hostile {
    async fn connect(stand: &Stand, version: &'static SupportedProtocolVersion) -> Self {
        let (mut client, last_flight) = Self::almost(stand, version).await;
        within(client.tcp.write_all(&last_flight)).await.unwrap();
        client
    }

    /// Up to the last that it has to say in the handshake, which is given as well and not sent.
    async fn almost(stand: &Stand, version: &'static SupportedProtocolVersion) -> (Self, Vec<u8>) {
        let mut session = session(stand, version);
        let mut tcp = stand.tcp().await;
        let mut flight = Vec::new();
        let handshake = async {
            while session.is_handshaking() || session.wants_write() {
                while session.wants_write() {
                    session.write_tls(&mut flight).unwrap();
                }
                if session.is_handshaking() {
                    tcp.write_all(&std::mem::take(&mut flight)).await.unwrap();
                    // Never more than one record, so that the keys fit what is still to come.
                    session
                        .read_tls(&mut &record(&mut tcp).await.unwrap()[..])
                        .unwrap();
                    session.process_new_packets().unwrap();
                }
            }
        };
        within(handshake).await;
        let is_tls13 = session.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3);
        let secrets = session.dangerous_extract_secrets().unwrap();
        let client = Self {
            tcp,
            is_tls13,
            sending: Direction::new(secrets.tx),
            receiving: Direction::new(secrets.rx),
        };
        (client, flight)
    }

    /// One record, sealed.
    fn sealed(&mut self, kind: u8, text: &[u8]) -> Vec<u8> {
        let mut record = text.to_vec();
        let mut outer = kind;
        if self.is_tls13 {
            record.push(kind);
            outer = APPLICATION_DATA;
        }
        let length = record.len() + CHACHA20_POLY1305.tag_len();
        let header = header(outer, length);
        let (nonce, aad) = self.sending.next(self.is_tls13, header, text.len());
        let sealed = self
            .sending
            .key
            .seal_in_place_append_tag(nonce, Aad::from(aad), &mut record);
        sealed.unwrap();
        record.splice(..0, header);
        record
    }

    /// Seals and sends one record. That the gateway has closed already is no failure: what it said tells.
    async fn send(&mut self, kind: u8, text: &[u8]) {
        let record = self.sealed(kind, text);
        let _ = within(self.tcp.write_all(&record)).await;
    }

    /// Waits for the answer: from then on, nothing comes together with the handshake.
    async fn is_answered(&mut self, answer: &[u8]) {
        while self.next().await.expect("an answer") != (APPLICATION_DATA, answer.to_vec()) {}
    }

    /// Reads to the end of the connection; the last thing the gateway said, which is an alert.
    async fn last_alert(&mut self) -> [u8; 2] {
        let mut last = None;
        while let Some(said) = self.next().await {
            last = Some(said);
        }
        let (kind, text) = last.expect("the gateway says something");
        assert_eq!(kind, ALERT, "{text:?}");
        text.try_into().unwrap()
    }

    /// Type and content of the next record; `None` at the end.
    async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut record = within(record(&mut self.tcp)).await?;
        let (header, sealed) = record.split_at_mut(5);
        let header = <[u8; 5]>::try_from(header).unwrap();
        let length = sealed.len() - CHACHA20_POLY1305.tag_len();
        let (nonce, aad) = self.receiving.next(self.is_tls13, header, length);
        let opened = self.receiving.key.open_in_place(nonce, Aad::from(aad), sealed);
        let mut text = opened.expect("a record under the session's key").to_vec();
        let kind = if self.is_tls13 {
            text.pop().unwrap()
        } else {
            header[0]
        };
        Some((kind, text))
    }
}

impl Direction {
    fn new((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Self {
        let ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } = secrets else {
            panic!("another suite");
        };
        let key = UnboundKey::new(&CHACHA20_POLY1305, key.as_ref()).unwrap();
        Self {
            key: LessSafeKey::new(key),
            iv: iv.as_ref().try_into().unwrap(),
            sequence,
        }
    }

    /// What the next record is sealed with (RFC 8446 §5.2 and §5.3; RFC 5246 §6.2.3.3 and RFC 7905 §2).
    fn next(&mut self, is_tls13: bool, header: [u8; 5], length: usize) -> (Nonce, Vec<u8>) {
        let sequence = self.sequence.to_be_bytes();
        self.sequence += 1;
        let mut nonce = self.iv;
        for (byte, of_sequence) in nonce[4..].iter_mut().zip(sequence) {
            *byte ^= of_sequence;
        }
        let mut aad = header.to_vec();
        if !is_tls13 {
            aad[3..].copy_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
            aad.splice(..0, sequence);
        }
        (Nonce::assume_unique_for_key(nonce), aad)
    }
}

fn session(stand: &Stand, version: &'static SupportedProtocolVersion) -> ClientConnection {
    let cipher_suites = vec![
        provider::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        provider::cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ];
    let provider = CryptoProvider {
        cipher_suites,
        ..provider::default_provider()
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(stand.roots.clone())
        .with_no_client_auth();
    config.enable_secret_extraction = true;
    ClientConnection::new(Arc::new(config), server_name()).unwrap()
}

fn header(kind: u8, length: usize) -> [u8; 5] {
    let [high, low] = u16::try_from(length).unwrap().to_be_bytes();
    [kind, 3, 3, high, low]
}

/// The next record as it is; `None` at the end of the stream.
async fn record(tcp: &mut TcpStream) -> Option<Vec<u8>> {
    let mut record = vec![0; 5];
    tcp.read_exact(&mut record).await.ok()?;
    record.resize(5 + usize::from(u16::from_be_bytes([record[3], record[4]])), 0);
    tcp.read_exact(&mut record[5..]).await.ok()?;
    Some(record)
}
