//! A handshake without a client: what one that sends this ClientHello would be answered, and nothing is sent.

use rustls::{AlertDescription, NamedGroup};

use crate::tls::{Chosen, Decision, Refusal, ServerTls};

use super::client_hello;
use super::handshake::{Greeted, Handshake, HandshakeError};

/// What would become of a handshake, up to the server's first answer.
#[derive(Debug)]
pub enum Rehearsal {
    /// It would be answered: from here on it is up to the client, and to what it shows.
    Answered {
        /// The certificate.
        chosen: Chosen,
        /// What both sides use.
        agreed: Agreed,
    },
    /// It is taken for a CA's look at a challenge certificate.
    Challenge,
    /// It would be refused before a certificate is looked at.
    Refused(Refusal),
    /// It would fail.
    Failed {
        /// The certificate, where it had come to one.
        chosen: Option<Chosen>,
        /// Why.
        error: String,
        /// What the client would be told.
        alert: Option<AlertDescription>,
    },
}

/// What both sides of a handshake use.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Agreed {
    /// The protocol version.
    pub version: &'static str,
    /// The cipher suite.
    pub cipher_suite: &'static str,
    /// The key exchange group.
    pub group: &'static str,
    /// The application protocol, if there is one.
    pub protocol: Option<Vec<u8>>,
}

/// Lets `hello`, in its record, take the way of a ClientHello that a client sends to a listener with `tls`.
pub async fn rehearse(tls: &ServerTls, hello: Vec<u8>) -> Rehearsal {
    let greeted = match Greeted::with(hello) {
        Ok(greeted) => greeted,
        Err(error) => return failed(None, &error),
    };
    let hello = greeted.accepted.client_hello();
    let (config, chosen) = match tls.decide_loaded(&hello).await {
        Decision::Challenge(_) => return Rehearsal::Challenge,
        Decision::Handshake { config, chosen } => (config, chosen),
        Decision::LookUp(_) => return Rehearsal::Refused(Refusal::NotLoaded),
        Decision::Obtain => {
            let name = hello.server_name().unwrap_or_default();
            return Rehearsal::Refused(tls.foresee(name));
        }
        Decision::Refuse(refusal) => return Rehearsal::Refused(refusal),
    };
    let mut handshake = match greeted.begin(config) {
        Ok(handshake) => handshake,
        Err(error) => return failed(Some(chosen), &error),
    };
    match chosen.during(|| handshake.advance()) {
        Ok(_) => Rehearsal::Answered {
            agreed: Agreed::of(&handshake),
            chosen,
        },
        Err(error) => failed(Some(chosen), &error),
    }
}

fn failed(chosen: Option<Chosen>, error: &HandshakeError) -> Rehearsal {
    Rehearsal::Failed {
        chosen,
        error: error.to_string(),
        // The last octet of an alert is what it says (RFC 8446 §6).
        alert: error.reply().last().map(|alert| AlertDescription::from(*alert)),
    }
}

impl Agreed {
    fn of(handshake: &Handshake) -> Self {
        let tls = &handshake.tls;
        let suite = tls.negotiated_cipher_suite().map(|suite| suite.suite());
        // In TLS 1.2 rustls does not say it before the client has answered.
        let group = tls.negotiated_key_exchange_group().map(|group| group.name());
        let group = group.or_else(|| group_of_key_exchange(&handshake.unsent));
        Self {
            version: match tls.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
                Some(_) => "TLSv1.2",
                None => "",
            },
            cipher_suite: suite.and_then(|suite| suite.as_str()).unwrap_or_default(),
            group: group.and_then(|group| group.as_str()).unwrap_or_default(),
            protocol: tls.alpn_protocol().map(<[u8]>::to_vec),
        }
    }
}

/// The curve in the ServerKeyExchange of a server's answer in TLS 1.2 (RFC 8422 §5.4).
fn group_of_key_exchange(answer: &[u8]) -> Option<NamedGroup> {
    const SERVER_KEY_EXCHANGE: u8 = 12;
    const NAMED_CURVE: u8 = 3;
    let payloads: Vec<u8> = client_hello::records(answer).flatten().copied().collect();
    let mut messages = payloads.as_slice();
    while let Some(([kind, length @ ..], rest)) = messages.split_first_chunk::<4>() {
        let length = length
            .iter()
            .fold(0, |length, octet| length << 8 | usize::from(*octet));
        let (body, rest) = rest.split_at_checked(length)?;
        if let (SERVER_KEY_EXCHANGE, [NAMED_CURVE, high, low, ..]) = (*kind, body) {
            return Some(u16::from_be_bytes([*high, *low]).into());
        }
        messages = rest;
    }
    None
}
