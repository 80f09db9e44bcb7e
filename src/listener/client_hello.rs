//! What a client's first bytes are, before TLS code sees them: the beginning of a ClientHello of a sane size, or
//! something else that a name can be given to.

use std::borrow::Cow;

/// Follows a client's bytes from the first one to the header of its ClientHello. Pure; takes them in any pieces.
#[derive(Debug, Default)]
pub(super) struct HelloGate {
    opening: Vec<u8>,
    /// Of the record's header: type, version, length (RFC 8446 §5.1).
    header: Vec<u8>,
    payload_left: usize,
    /// Of the handshake message's header: type, length (RFC 8446 §4).
    message: Vec<u8>,
}

impl HelloGate {
    /// Looks at the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), NotAHello> {
        let wanted = OPENING.saturating_sub(self.opening.len()).min(bytes.len());
        if wanted > 0 {
            self.opening.extend_from_slice(&bytes[..wanted]);
            if let Some(other) = classify(&self.opening) {
                return Err(other);
            }
        }
        if self.opening.first() != Some(&HANDSHAKE) {
            return Ok(());
        }
        self.follow(bytes)
    }

    /// Walks over records up to the message's length, which may be spread over several.
    fn follow(&mut self, mut bytes: &[u8]) -> Result<(), NotAHello> {
        while self.message.len() < MESSAGE_HEADER {
            if self.payload_left == 0 {
                bytes = take(&mut self.header, RECORD_HEADER, bytes);
                let [kind, _, _, high, low] = self.header[..] else {
                    return Ok(());
                };
                if kind != HANDSHAKE {
                    return Err(NotAHello::NotTls);
                }
                self.payload_left = usize::from(u16::from_be_bytes([high, low]));
                self.header.clear();
            }
            if bytes.is_empty() {
                return Ok(());
            }
            let payload = &bytes[..self.payload_left.min(bytes.len())];
            take(&mut self.message, MESSAGE_HEADER, payload);
            self.payload_left -= payload.len();
            bytes = &bytes[payload.len()..];
        }
        let [_, high, middle, low] = self.message[..] else {
            return Ok(());
        };
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        if length > LARGEST_HELLO {
            return Err(NotAHello::TooLarge { bytes: length });
        }
        Ok(())
    }
}

/// The handshake message that `received` begins with, out of its records; nothing when it is not all there.
pub(super) fn message(received: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut payload = Cow::Borrowed(&[][..]);
    for record in records(received) {
        match payload.is_empty() {
            true => payload = Cow::Borrowed(record),
            false => payload.to_mut().extend_from_slice(record),
        }
        if let [_, high, middle, low, ..] = payload[..] {
            let length = MESSAGE_HEADER + u32::from_be_bytes([0, high, middle, low]) as usize;
            if payload.len() >= length {
                return Some(payload);
            }
        }
    }
    None
}

/// The payloads of the handshake records at the beginning of `bytes`, as far as they are complete.
pub(super) fn records(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let ([HANDSHAKE, _, _, high, low], rest) = bytes.split_first_chunk()? else {
            return None;
        };
        let (payload, rest) = rest.split_at_checked(u16::from_be_bytes([*high, *low]).into())?;
        bytes = rest;
        Some(payload)
    })
}

/// Why the first bytes are not the beginning of a ClientHello.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum NotAHello {
    #[error("the client does not speak TLS")]
    NotTls,
    #[error("the client speaks plain HTTP")]
    PlainHttp,
    #[error("the client sent a PROXY protocol header, which this listener does not expect")]
    ProxyHeader,
    #[error("the client sent an SSLv2 hello")]
    SslV2,
    #[error("the ClientHello has {bytes} bytes; {LARGEST_HELLO} are allowed")]
    TooLarge { bytes: usize },
}

/// `None` while it is or still may be TLS.
fn classify(opening: &[u8]) -> Option<NotAHello> {
    match *opening {
        [] | [HANDSHAKE] | [HANDSHAKE, TLS_MAJOR, ..] => return None,
        // Two bytes of length, CLIENT-HELLO, and a version of 0.2 or 3.x (RFC 5246 appendix E.2).
        [high, _, 1, 0 | 3, ..] if high & 0x80 != 0 => return Some(NotAHello::SslV2),
        [high] | [high, _] | [high, _, 1] if high & 0x80 != 0 => return None,
        _ => {}
    }
    let known = [
        (&PROXY_HEADERS[..], NotAHello::ProxyHeader),
        (&HTTP_METHODS[..], NotAHello::PlainHttp),
    ];
    for (signatures, is) in known {
        for signature in signatures {
            if opening.starts_with(signature) {
                return Some(is);
            }
            if signature.starts_with(opening) {
                return None;
            }
        }
    }
    Some(NotAHello::NotTls)
}

/// Moves bytes to `into` until it has `full`; the rest of them is returned.
fn take<'a>(into: &mut Vec<u8>, full: usize, bytes: &'a [u8]) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(full.saturating_sub(into.len()).min(bytes.len()));
    into.extend_from_slice(taken);
    rest
}

const HANDSHAKE: u8 = 22;
const HTTP_METHODS: [&[u8]; 10] = [
    b"CONNECT ",
    b"DELETE ",
    b"GET ",
    b"HEAD ",
    b"OPTIONS ",
    b"PATCH ",
    b"POST ",
    b"PRI ",
    b"PUT ",
    b"TRACE ",
];
/// Far above what clients send, post-quantum key shares and padding included.
const LARGEST_HELLO: usize = 16 * 1024;
const MESSAGE_HEADER: usize = 4;
/// The longest signature below.
const OPENING: usize = 12;
const PROXY_HEADERS: [&[u8]; 2] = [b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"];
const RECORD_HEADER: usize = 5;
const TLS_MAJOR: u8 = 3;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A handshake message that says it has `length` bytes, in records of at most `fragment`.
    fn hello(length: usize, fragment: usize) -> Vec<u8> {
        let mut message = vec![1];
        message.extend_from_slice(&(length as u32).to_be_bytes()[1..]);
        message.resize(4 + length, 0xab);
        let record = |payload: &[u8]| {
            let mut record = vec![HANDSHAKE, 3, 1];
            record.extend_from_slice(&(payload.len() as u16).to_be_bytes());
            record.extend_from_slice(payload);
            record
        };
        message.chunks(fragment).flat_map(record).collect()
    }

    fn verdict(bytes: &[u8], piece: usize) -> Result<(), NotAHello> {
        let mut gate = HelloGate::default();
        bytes.chunks(piece).try_for_each(|piece| gate.push(piece))
    }

    #[test]
    fn what_is_no_hello_has_a_name_however_it_arrives() {
        for (bytes, expected) in [
            (&b"GET / HTTP/1.1\r\n"[..], NotAHello::PlainHttp),
            (b"PRI * HTTP/2.0\r\n", NotAHello::PlainHttp),
            (b"PROXY TCP4 192.0.2.1", NotAHello::ProxyHeader),
            (b"\r\n\r\n\0\r\nQUIT\n\x21", NotAHello::ProxyHeader),
            (b"\x80\x2e\x01\x00\x02\x00\x15", NotAHello::SslV2),
            (b"\x80\x2e\x01\x03\x01\x00\x15", NotAHello::SslV2),
            (b"\x80\x2e\x07\x03\x01\x00\x15", NotAHello::NotTls),
            (b"SSH-2.0-OpenSSH_9.2", NotAHello::NotTls),
            (b"\x16\x02\x00", NotAHello::NotTls),
            (b"\x15\x03\x01\x00\x02\x02\x28", NotAHello::NotTls),
            (b"\0\0\0\0", NotAHello::NotTls),
        ] {
            for piece in 1..=bytes.len() {
                assert_eq!(
                    verdict(bytes, piece),
                    Err(expected),
                    "{bytes:?} in pieces of {piece}"
                );
            }
        }
    }

    #[test]
    fn a_hello_is_let_through_in_records_of_any_size() {
        for fragment in [1, 2, 3, 5, 100, 16_000] {
            for piece in [1, 2, 7, 4096] {
                assert_eq!(verdict(&hello(2000, fragment), piece), Ok(()));
            }
        }
    }

    #[test]
    fn a_message_is_put_together_from_its_records_once_it_is_all_there() {
        let whole = hello(2000, 16_000)[RECORD_HEADER..].to_vec();
        for fragment in [1, 3, 100, 16_000] {
            let records = hello(2000, fragment);
            assert_eq!(message(&records).as_deref(), Some(&whole[..]), "{fragment}");
            let more = [&records[..], b"what comes next"].concat();
            assert_eq!(message(&more).as_deref(), Some(&whole[..]), "{fragment}");
            for length in [0, 1, 5, 7, records.len() - 1] {
                assert_eq!(message(&records[..length]), None, "{fragment}, {length}");
            }
        }
    }

    #[test]
    fn a_hello_is_refused_by_the_size_it_says() {
        for fragment in [1, 3, 16_000] {
            assert_eq!(verdict(&hello(LARGEST_HELLO, fragment), 1000), Ok(()));
            let bytes = LARGEST_HELLO + 1;
            let refused = verdict(&hello(bytes, fragment), 1000);
            assert_eq!(refused, Err(NotAHello::TooLarge { bytes }));
        }
    }

    proptest! {
        #[test]
        fn the_verdict_does_not_depend_on_the_pieces(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(22), Just(3), Just(0)], 1..64),
            piece in 1usize..64,
        ) {
            prop_assert_eq!(verdict(&bytes, piece), verdict(&bytes, bytes.len()));
        }
    }
}
