//! A ClientHello as a well-known client would send it.

use rustls::crypto::aws_lc_rs::default_provider;

use super::known::{CIPHER_SUITES, GROUPS, VERSIONS};
use super::{
    APPLICATION_PROTOCOLS, CLIENT_HELLO, RANDOM, SIGNATURE_ALGORITHMS, SUPPORTED_GROUPS, SUPPORTED_VERSIONS,
    TLS_1_2,
};
use crate::name::DnsName;
use crate::policy::{Client, Element, Group, openssl_name};

/// The ClientHello in its record that `client` would send, with whatever it prefers first. It verifies every signature
/// that certgate makes, has a key for each of its groups, and stands for no session: a suite that no policy can have is
/// shown by one of its kind.
///
/// # Errors
/// What the cryptographic library says when it makes no keys.
pub fn client_hello(
    client: &Client,
    server_name: Option<&DnsName>,
    protocols: &[Vec<u8>],
) -> Result<Vec<u8>, rustls::Error> {
    let versions: Vec<u16> = client.versions.iter().filter_map(|name| version(name)).collect();
    let newest = versions.iter().max().copied().unwrap_or_default();
    let mut extensions = Vec::new();
    if let Some(name) = server_name {
        let name = [&[HOST_NAME][..], &vector::<2>(name.as_str().as_bytes())].concat();
        extensions.extend(extension(SERVER_NAME, &vector::<2>(&name)));
    }
    let groups: Vec<u16> = client
        .groups
        .iter()
        .filter_map(|name| GROUPS.value(name))
        .collect();
    extensions.extend(extension(SUPPORTED_GROUPS, &vector::<2>(&numbers(&groups))));
    extensions.extend(extension(POINT_FORMATS, &vector::<1>(&[UNCOMPRESSED])));
    extensions.extend(extension(EXTENDED_MASTER_SECRET, &[]));
    let schemes = default_provider()
        .signature_verification_algorithms
        .supported_schemes();
    let schemes: Vec<u16> = schemes.into_iter().map(u16::from).collect();
    extensions.extend(extension(SIGNATURE_ALGORITHMS, &vector::<2>(&numbers(&schemes))));
    if !protocols.is_empty() {
        let names: Vec<u8> = protocols.iter().flat_map(|name| vector::<1>(name)).collect();
        extensions.extend(extension(APPLICATION_PROTOCOLS, &vector::<2>(&names)));
    }
    if newest > TLS_1_2 {
        extensions.extend(extension(SUPPORTED_VERSIONS, &vector::<1>(&numbers(&versions))));
        extensions.extend(extension(PSK_MODES, &vector::<1>(&[WITH_KEY_EXCHANGE])));
        extensions.extend(extension(KEY_SHARE, &vector::<2>(&key_shares(client)?)));
    }
    let mut body = newest.min(TLS_1_2).to_be_bytes().to_vec();
    body.extend([0; RANDOM]);
    body.extend(vector::<1>(&[]));
    body.extend(vector::<2>(&numbers(&suites(client))));
    body.extend(vector::<1>(&[NO_COMPRESSION]));
    body.extend(vector::<2>(&extensions));
    let message = [&[CLIENT_HELLO][..], &vector::<3>(&body)].concat();
    Ok([&HANDSHAKE_RECORD[..], &vector::<2>(&message)].concat())
}

fn version(name: &str) -> Option<u16> {
    let number = VERSIONS.iter().position(|known| *known == name)?;
    Some(0x0300 + number as u16)
}

fn suites(client: &Client) -> Vec<u16> {
    let mut suites = Vec::new();
    for name in &client.cipher_suites {
        let known = rustls::SupportedCipherSuite::all().iter();
        let known = known.copied().find(|suite| openssl_name(*suite) == *name);
        let suite = known.map_or_else(
            || CIPHER_SUITES.value(OTHER_SUITE),
            |suite| Some(suite.suite().into()),
        );
        suites.extend(suite.filter(|suite| !suites.contains(suite)));
    }
    suites
}

fn key_shares(client: &Client) -> Result<Vec<u8>, rustls::Error> {
    let mut shares = Vec::new();
    for group in client.groups.iter().filter_map(|name| Group::named(name)) {
        let share = group.start()?;
        shares.extend(numbers(&[share.group().into()]));
        shares.extend(vector::<2>(share.pub_key()));
    }
    Ok(shares)
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector::<2>(body)].concat()
}

fn numbers(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

/// `content` after its length of `LENGTH` octets.
fn vector<const LENGTH: usize>(content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    [&length[length.len() - LENGTH..], content].concat()
}

const EXTENDED_MASTER_SECRET: u16 = 23;
const HANDSHAKE_RECORD: [u8; 3] = [22, 3, 1];
const HOST_NAME: u8 = 0;
const KEY_SHARE: u16 = 51;
const NO_COMPRESSION: u8 = 0;
const OTHER_SUITE: &str = "TLS_RSA_WITH_AES_128_CBC_SHA";
const POINT_FORMATS: u16 = 11;
const PSK_MODES: u16 = 45;
const SERVER_NAME: u16 = 0;
const UNCOMPRESSED: u8 = 0;
const WITH_KEY_EXCHANGE: u8 = 1;
