//! The names of TLS that an offer can hold: each has a small number, and everything else is left out.

use std::sync::LazyLock;

use rustls::{CipherSuite, NamedGroup, SignatureScheme};

/// The values of one of IANA's registries that have a name here.
pub(super) struct Known {
    /// By the high octet of a value: where in `pages` the rest is.
    page_of: [u8; 256],
    pages: Vec<[u16; 256]>,
    names: Vec<&'static str>,
    values: Vec<u16>,
}

/// Cipher suites. What only signals something is none.
pub(super) static CIPHER_SUITES: LazyLock<Known> = LazyLock::new(|| {
    let is_suite = |name: &&str| !name.ends_with("_SCSV") && *name != "TLS_NULL_WITH_NULL_NULL";
    Known::of(|value| CipherSuite::from(value).as_str().filter(is_suite))
});
/// Key exchange groups.
pub(super) static GROUPS: LazyLock<Known> =
    LazyLock::new(|| Known::of(|value| NamedGroup::from(value).as_str()));
/// Signature schemes.
pub(super) static SIGNATURE_SCHEMES: LazyLock<Known> =
    LazyLock::new(|| Known::of(|value| SignatureScheme::from(value).as_str()));

impl Known {
    /// Those of all values that `name` has a name for. GREASE (RFC 8701) has none.
    fn of(name: impl Fn(u16) -> Option<&'static str>) -> Self {
        let mut known = Self {
            page_of: [0; 256],
            // The page of everything that is not known.
            pages: vec![[UNKNOWN; 256]],
            names: Vec::new(),
            values: Vec::new(),
        };
        for value in 0..=u16::MAX {
            let Some(name) = name(value) else { continue };
            let [high, low] = value.to_be_bytes();
            let page = &mut known.page_of[usize::from(high)];
            if *page == 0 {
                *page = known.pages.len() as u8;
                known.pages.push([UNKNOWN; 256]);
            }
            known.pages[usize::from(*page)][usize::from(low)] = known.names.len() as u16;
            known.names.push(name);
            known.values.push(value);
        }
        known
    }

    /// The number of a value.
    pub(super) fn number(&self, value: u16) -> Option<usize> {
        let [high, low] = value.to_be_bytes();
        let page = self.pages.get(usize::from(self.page_of[usize::from(high)]))?;
        let number = page[usize::from(low)];
        (number != UNKNOWN).then_some(usize::from(number))
    }

    /// The value of a name.
    pub(super) fn value(&self, name: &str) -> Option<u16> {
        let number = self.names.iter().position(|known| *known == name)?;
        self.values.get(number).copied()
    }

    /// The name of a number.
    pub(super) fn name(&self, number: usize) -> &'static str {
        self.names.get(number).copied().unwrap_or_default()
    }
}

/// The protocol versions as OpenSSL writes them, from 0x0300 on.
pub(super) const VERSIONS: [&str; 5] = ["SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];

/// Application protocols of IANA's registry that run over TLS, the usual ones first.
pub(super) const PROTOCOLS: [&str; 24] = [
    "h2",
    "http/1.1",
    "http/1.0",
    "http/0.9",
    "acme-tls/1",
    "c-webrtc",
    "co",
    "coap",
    "dicom",
    "dot",
    "ftp",
    "imap",
    "irc",
    "managesieve",
    "mqtt",
    "nntp",
    "ntske/1",
    "pop3",
    "postgresql",
    "smb",
    "stun.turn",
    "sunrpc",
    "webrtc",
    "xmpp-client",
];

/// A set of numbers below 64 times `WORDS`; what is not below is left out.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Numbers<const WORDS: usize>([u64; WORDS]);

impl<const WORDS: usize> Default for Numbers<WORDS> {
    fn default() -> Self {
        Self([0; WORDS])
    }
}

impl<const WORDS: usize> Numbers<WORDS> {
    pub(super) fn insert(&mut self, number: usize) {
        if let Some(word) = self.0.get_mut(number / 64) {
            *word |= 1 << (number % 64);
        }
    }

    /// In ascending order.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = usize> + use<WORDS> {
        let words = self.0;
        (0..64 * WORDS).filter(move |number| words[number / 64] >> (number % 64) & 1 == 1)
    }
}

const UNKNOWN: u16 = u16::MAX;

#[cfg(test)]
mod tests {
    use super::super::Offer;
    use super::*;

    #[test]
    fn an_offer_has_room_for_every_name_and_none_for_grease() {
        let room = |known: &Known, words: usize| {
            assert!(known.names.len() <= 64 * words, "{}", known.names.len());
            for high in 0..16_u16 {
                let grease = (high << 4 | 0xa) * 0x101;
                assert_eq!(known.number(grease), None, "{grease:x}");
            }
        };
        room(&CIPHER_SUITES, Offer::SUITE_WORDS);
        room(&GROUPS, 1);
        room(&SIGNATURE_SCHEMES, 1);
        let suite = u16::from(CipherSuite::TLS13_AES_128_GCM_SHA256);
        let number = CIPHER_SUITES.number(suite).unwrap();
        assert_eq!(CIPHER_SUITES.name(number), "TLS13_AES_128_GCM_SHA256");
        assert_eq!(CIPHER_SUITES.number(0x00ff), None, "it signals, and is no suite");
        assert!(PROTOCOLS.len() <= 64);
    }
}
