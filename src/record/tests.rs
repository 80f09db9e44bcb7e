//! Against rustls' own client, and against one that has its keys and keeps no rules.

use std::io::{Read, Write};
use std::sync::Arc;

use proptest::prelude::*;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, RootCertStore, ServerConfig, SupportedCipherSuite,
};

use super::open::Opener;
use super::protection::{ALERT, APPLICATION_DATA, HANDSHAKE, Protection};
use super::seal::Sealer;
use super::*;

#[test]
fn every_suite_carries_data_of_any_length_both_ways() {
    for suite in aws_lc_rs::ALL_CIPHER_SUITES {
        let (mut client, mut session) = shake_hands(*suite);
        for length in [1, 2, 1000, 16383, 16384, 16385, 40000, 65536] {
            let data: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            assert_eq!(upward(&mut client, &mut session, &data), data, "{suite:?}");
            assert_eq!(downward(&mut client, &mut session, &data), data, "{suite:?}");
        }
    }
}

#[test]
fn a_record_that_comes_in_pieces_opens_once_it_is_whole() {
    for suite in aws_lc_rs::ALL_CIPHER_SUITES {
        let (mut client, mut session) = shake_hands(*suite);
        let wire = sealed_by(&mut client, b"in pieces");
        for length in 0..wire.len() {
            let mut part = wire[..length].to_vec();
            let opened = session.open(&mut part, &mut Vec::new());
            assert_eq!(opened, Ok(Opened::default()), "{length} bytes");
        }
        assert_eq!(open(&mut session, wire), Ok(b"in pieces".to_vec()));
    }
}

#[test]
fn both_sides_change_their_keys_and_go_on() {
    for suite in tls13() {
        let (mut client, mut session) = shake_hands(suite);
        for round in 0..40 {
            client.refresh_traffic_keys().unwrap();
            assert_eq!(upward(&mut client, &mut session, b"up"), b"up", "round {round}");
            assert!(session.has_something_to_say(), "an answer is owed");
            assert_eq!(downward(&mut client, &mut session, b"down"), b"down");
            assert!(!session.has_something_to_say());
        }
    }
}

#[test]
fn a_session_goes_on_after_a_doze() {
    for suite in aws_lc_rs::ALL_CIPHER_SUITES {
        let (mut client, mut session) = shake_hands(*suite);
        for _ in 0..3 {
            assert_eq!(upward(&mut client, &mut session, b"up"), b"up");
            assert_eq!(downward(&mut client, &mut session, b"down"), b"down");
            session.doze();
        }
    }
}

#[test]
fn a_key_of_tls_1_3_is_changed_before_it_is_used_up() {
    let (mut client, mut session) = shake_hands(tls13()[0]);
    session.limit_keys_to(1030);
    for _ in 0..5000 {
        assert_eq!(downward(&mut client, &mut session, b"down"), b"down");
    }
}

#[test]
fn a_key_of_tls_1_2_is_not_used_after_its_limit() {
    let suite = *aws_lc_rs::ALL_CIPHER_SUITES.last().unwrap();
    assert!(matches!(suite, SupportedCipherSuite::Tls12(_)));
    let (mut client, mut session) = shake_hands(suite);
    session.limit_keys_to(10);
    while session.seal(&mut vec![0; 4 * LARGEST_RECORD], 16384).is_ok() {}
    assert!(session.sent() <= 10);
    let words = session.last_words(RecordError::KeyExhausted);
    assert!(!words.is_empty());
    // It closes the connection, but not cleanly.
    client.read_tls(&mut &words[..]).unwrap();
    assert!(client.process_new_packets().is_err());
}

#[test]
fn close_notify_is_the_last_thing_that_is_looked_at() {
    for suite in aws_lc_rs::ALL_CIPHER_SUITES {
        let (mut client, mut session) = shake_hands(*suite);
        client.writer().write_all(b"that is all").unwrap();
        client.send_close_notify();
        let mut wire = taken_from(&mut client);
        wire.extend_from_slice(b"\x17\x03\x03\x00\x20garbage after the end");
        let mut plaintext = Vec::new();
        let opened = session.open(&mut wire, &mut plaintext).unwrap();
        assert!(opened.is_last);
        assert_eq!(&wire[plaintext[0].clone()], b"that is all");
    }
}

#[test]
fn rustls_understands_our_close_notify() {
    for suite in aws_lc_rs::ALL_CIPHER_SUITES {
        let (mut client, mut session) = shake_hands(*suite);
        let mut out = Vec::new();
        session.close_notify(&mut out).unwrap();
        give(&mut client, &out);
        assert_eq!(client.reader().read(&mut [0; 8]).unwrap(), 0, "a clean end");
    }
}

#[test]
fn a_changed_record_never_opens() {
    for suite in aws_lc_rs::ALL_CIPHER_SUITES {
        let (mut client, mut session) = shake_hands(*suite);
        let wire = sealed_by(&mut client, b"do not touch");
        // Header bytes make it another kind of record or one that is not whole.
        for position in HEADER..wire.len() {
            let mut changed = wire.clone();
            changed[position] ^= 1;
            assert_eq!(open(&mut session, changed), Err(RecordError::BadRecordMac));
        }
        assert_eq!(open(&mut session, wire), Ok(b"do not touch".to_vec()));
    }
}

#[test]
fn a_record_that_comes_twice_opens_once() {
    for suite in aws_lc_rs::ALL_CIPHER_SUITES {
        let (mut client, mut session) = shake_hands(*suite);
        let wire = sealed_by(&mut client, b"once");
        assert_eq!(open(&mut session, wire.clone()), Ok(b"once".to_vec()));
        assert_eq!(open(&mut session, wire), Err(RecordError::BadRecordMac));
    }
}

#[test]
fn what_has_no_place_after_the_handshake_ends_the_session() {
    use RecordError::*;
    let new_session_ticket: &[u8] = &[4, 0, 0, 0];
    let request: &[u8] = &[24, 0, 0, 1, 1];
    type Sent<'a> = &'a [(u8, &'a [u8])];
    let cases: [(Sent, RecordError); 13] = [
        (&[(HANDSHAKE, new_session_ticket)], UnexpectedMessage),
        (&[(HANDSHAKE, b"")], UnexpectedMessage),
        (&[(HANDSHAKE, &[24, 0, 0, 2, 0])], UnexpectedMessage),
        (&[(HANDSHAKE, &[24, 0, 0, 1, 2])], Malformed),
        (&[(HANDSHAKE, &[24, 0, 0, 1, 0, 24])], UnexpectedMessage),
        (
            &[(HANDSHAKE, &request[..2]), (APPLICATION_DATA, b"x")],
            UnexpectedMessage,
        ),
        (&[(HANDSHAKE, &request[..2]), (ALERT, &[1, 0])], UnexpectedMessage),
        (&[(20, &[1])], UnexpectedMessage),
        (&[(0, b"")], UnexpectedMessage),
        (
            &[(ALERT, &[2, 40])],
            FatalAlert(AlertDescription::HandshakeFailure),
        ),
        (
            &[(ALERT, &[1, 40])],
            FatalAlert(AlertDescription::HandshakeFailure),
        ),
        (&[(ALERT, &[2])], Malformed),
        (&[(ALERT, b"")], Malformed),
    ];
    for (messages, expected) in cases {
        let (mut hostile, mut session) = hostile(tls13()[0]);
        let wire: Vec<u8> = messages
            .iter()
            .flat_map(|(kind, text)| hostile.seal(*kind, text))
            .collect();
        assert_eq!(open(&mut session, wire), Err(expected), "{messages:?}");
        let words = session.last_words(expected);
        match expected.alert() {
            None => assert!(words.is_empty()),
            Some((level, description)) => {
                assert_eq!(hostile.open(words), (ALERT, vec![level, u8::from(description)]));
            }
        }
    }
}

#[test]
fn a_key_update_may_come_in_pieces_and_a_warning_may_come_before_the_end() {
    let (mut client, mut session) = hostile(tls13()[0]);
    for piece in [&[24u8, 0][..], &[0, 1], &[0]] {
        let wire = client.seal(HANDSHAKE, piece);
        assert_eq!(open(&mut session, wire), Ok(vec![]));
    }
    assert!(!session.has_something_to_say(), "none was asked for");
    let (mut client, mut session) = hostile(tls13()[0]);
    let wire = client.seal(ALERT, &[1, 90]);
    assert_eq!(open(&mut session, wire), Ok(vec![]));
    let mut wire = client.seal(ALERT, &[1, 0]);
    assert!(session.open(&mut wire, &mut Vec::new()).unwrap().is_last);
}

#[test]
fn floods_end_the_session() {
    let empty: (u8, &[u8]) = (APPLICATION_DATA, b"");
    let canceled: (u8, &[u8]) = (ALERT, &[1, 90]);
    for (suite, (kind, text), allowed, expected) in [
        (tls13()[0], empty, 32, RecordError::TooManyEmptyRecords),
        (tls12(), empty, 32, RecordError::TooManyEmptyRecords),
        (tls13()[0], canceled, 4, RecordError::TooManyWarnings),
        (tls12(), (ALERT, &[1, 41][..]), 4, RecordError::TooManyWarnings),
    ] {
        let (mut client, mut session) = hostile(suite);
        for _ in 0..allowed {
            let wire = client.seal(kind, text);
            assert_eq!(open(&mut session, wire), Ok(vec![]));
        }
        let wire = client.seal(kind, text);
        assert_eq!(open(&mut session, wire), Err(expected));
    }
    let (mut client, mut session) = shake_hands(tls13()[0]);
    let mut updates = 0;
    let end = loop {
        client.refresh_traffic_keys().unwrap();
        let wire = taken_from(&mut client);
        match open(&mut session, wire) {
            Ok(_) => updates += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((updates, end), (32, RecordError::TooManyKeyUpdates));
}

#[test]
fn renegotiation_is_never_granted() {
    let (mut client, mut session) = hostile(tls12());
    let wire = client.seal(HANDSHAKE, &[1, 0, 0, 0]);
    assert_eq!(open(&mut session, wire), Err(RecordError::Renegotiation));
    let words = session.last_words(RecordError::Renegotiation);
    assert_eq!(
        client.open(words),
        (ALERT, vec![1, u8::from(AlertDescription::NoRenegotiation)])
    );
}

#[test]
fn what_is_larger_than_allowed_is_refused_before_it_is_waited_for() {
    for (suite, largest) in [(tls13()[0], 16384 + 256), (tls12(), 16384 + 2048)] {
        let (_, mut session) = hostile(suite);
        let header = |length: u16| [&[23, 3, 3][..], &length.to_be_bytes()].concat();
        assert_eq!(open(&mut session, header(largest)), Ok(vec![]));
        let overflow = RecordError::Overflow {
            bytes: usize::from(largest) + 1,
        };
        assert_eq!(open(&mut session, header(largest + 1)), Err(overflow));
        let (mut client, mut session) = hostile(suite);
        let wire = client.seal(APPLICATION_DATA, &vec![0; LARGEST_PLAINTEXT + 1]);
        assert!(matches!(
            open(&mut session, wire),
            Err(RecordError::Overflow { .. })
        ));
    }
}

proptest! {
    #[test]
    fn whatever_comes_nothing_opens_and_nothing_breaks(
        tls13_session in any::<bool>(),
        mut wire in prop::collection::vec(any::<u8>(), 0..200),
        looks_right in any::<bool>(),
    ) {
        let suite = if tls13_session { tls13()[0] } else { tls12() };
        let (_, mut session) = hostile(suite);
        if looks_right && wire.len() > HEADER {
            let length = u16::try_from(wire.len() - HEADER).unwrap().to_be_bytes();
            wire[..HEADER].copy_from_slice(&[23, 3, 3, length[0], length[1]]);
        }
        let mut plaintext = Vec::new();
        if let Ok(opened) = session.open(&mut wire, &mut plaintext) {
            prop_assert_eq!(opened, Opened::default());
        }
        prop_assert!(plaintext.is_empty());
    }
}

/// A client with the right keys and no manners.
struct Hostile {
    sealer: Sealer,
    opener: Opener,
}

impl Hostile {
    fn seal(&mut self, kind: u8, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        self.sealer.append(kind, text, &mut out).unwrap();
        out
    }

    fn open(&mut self, mut record: Vec<u8>) -> (u8, Vec<u8>) {
        let content = self.opener.open(&mut record).unwrap();
        (content.kind, record[content.plaintext].to_vec())
    }
}

fn hostile(suite: SupportedCipherSuite) -> (Hostile, Session) {
    let (client, session) = shake_hands(suite);
    let version = client.protocol_version().unwrap();
    let keys = client.dangerous_extract_secrets().unwrap();
    let hostile = Hostile {
        sealer: Sealer(Protection::new(version, keys.tx).unwrap()),
        opener: Opener(Protection::new(version, keys.rx).unwrap()),
    };
    (hostile, session)
}

fn tls13() -> Vec<SupportedCipherSuite> {
    let suites = aws_lc_rs::ALL_CIPHER_SUITES.iter().copied();
    suites.filter(|suite| suite.tls13().is_some()).collect()
}

/// With a nonce that goes along.
fn tls12() -> SupportedCipherSuite {
    aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
}

fn open(session: &mut Session, mut wire: Vec<u8>) -> Result<Vec<u8>, RecordError> {
    let mut plaintext = Vec::new();
    session.open(&mut wire, &mut plaintext)?;
    Ok(plaintext
        .into_iter()
        .flat_map(|part| wire[part].to_vec())
        .collect())
}

fn sealed_by(client: &mut ClientConnection, data: &[u8]) -> Vec<u8> {
    client.writer().write_all(data).unwrap();
    taken_from(client)
}

fn upward(client: &mut ClientConnection, session: &mut Session, data: &[u8]) -> Vec<u8> {
    let wire = sealed_by(client, data);
    open(session, wire).unwrap()
}

fn downward(client: &mut ClientConnection, session: &mut Session, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    session.say(&mut out).unwrap();
    let mut buffer = vec![0; 4 * LARGEST_RECORD];
    let mut left = data;
    for mut slot in session.slots(&mut buffer) {
        let (now, later) = left.split_at(left.len().min(slot.len()));
        slot[..now.len()].copy_from_slice(now);
        left = later;
    }
    let length = session.seal(&mut buffer, data.len()).unwrap();
    out.extend_from_slice(&buffer[..length]);
    give(client, &out)
}

fn taken_from(client: &mut ClientConnection) -> Vec<u8> {
    let mut wire = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut wire).unwrap();
    }
    wire
}

/// Gives it what was sent; the data it was.
fn give(client: &mut ClientConnection, mut wire: &[u8]) -> Vec<u8> {
    let mut received = Vec::new();
    while !wire.is_empty() {
        client.read_tls(&mut wire).unwrap();
        client.process_new_packets().unwrap();
        // An error says that there is no more for now.
        let _ = client.reader().read_to_end(&mut received);
    }
    received
}

fn shake_hands(suite: SupportedCipherSuite) -> (ClientConnection, Session) {
    let provider = Arc::new(CryptoProvider {
        cipher_suites: vec![suite],
        ..aws_lc_rs::default_provider()
    });
    let is_rsa = format!("{suite:?}").contains("_RSA_");
    let algorithm = if is_rsa {
        &rcgen::PKCS_RSA_SHA256
    } else {
        &rcgen::PKCS_ECDSA_P256_SHA256
    };
    let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
    let params = rcgen::CertificateParams::new(vec!["record.test".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let versions = [suite.version()];
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.into())
        .unwrap();
    server.enable_secret_extraction = true;
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.enable_secret_extraction = true;
    client.resumption = Resumption::disabled();
    let name = ServerName::try_from("record.test").unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    client.set_buffer_limit(None);
    let mut server = UnbufferedServerConnection::new(Arc::new(server)).unwrap();
    let mut received = Vec::new();
    loop {
        received.extend(taken_from(&mut client));
        let status = server.process_tls_records(&mut received);
        let discard = status.discard;
        let is_complete = match status.state.unwrap() {
            ConnectionState::EncodeTlsData(mut message) => {
                let Err(EncodeError::InsufficientSize(needed)) = message.encode(&mut []) else {
                    panic!("an empty message");
                };
                let mut out = vec![0; needed.required_size];
                message.encode(&mut out).unwrap();
                give(&mut client, &out);
                false
            }
            ConnectionState::TransmitTlsData(message) => {
                message.done();
                false
            }
            ConnectionState::WriteTraffic(_) => true,
            ConnectionState::BlockedHandshake => false,
            other => panic!("{other:?}"),
        };
        received.drain(..discard);
        if is_complete {
            assert!(!client.is_handshaking());
            return (client, Session::new(server).unwrap());
        }
    }
}
