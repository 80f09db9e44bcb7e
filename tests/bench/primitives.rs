//! What this machine needs for the steps that no proxy can leave out, by the library that certgate uses: the lower
//! bound of its handshakes and bytes.

use std::hint::black_box;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, EphemeralPrivateKey, UnparsedPublicKey, X25519};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::kem::{DecapsulationKey, ML_KEM_768};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, RSA_PSS_SHA256, RsaKeyPair};

use crate::cpu;
use crate::measure::Measure;
use crate::results::Subject;

/// What the results are filed under.
pub(crate) const NAME: &str = "aws-lc-rs";

/// The library and the kernel.
pub(crate) fn subject() -> Subject {
    Subject {
        kind: None,
        version: String::new(),
        configuration: "one thread on the generator's core".to_owned(),
    }
}

/// One round: CPU time of each.
///
/// # Errors
/// A sentence when one of them fails.
pub(crate) fn run() -> Result<Vec<(Measure, f64)>, String> {
    let mut found = cryptography().map_err(|_| "a primitive fails".to_owned())?;
    let connection = connections().map_err(|error| format!("cannot connect: {error}"))?;
    found.push((Measure::TcpConnection, connection));
    Ok(found)
}

fn cryptography() -> Result<Vec<(Measure, f64)>, Unspecified> {
    let random = SystemRandom::new();
    let ecdsa = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?;
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048)?;
    let mut signature = vec![0; rsa.public_modulus_len()];
    // As long as what TLS 1.3 has signed.
    let message = [b' '; 64 + 34 + 32];
    let peer = EphemeralPrivateKey::generate(&X25519, &random)?.compute_public_key()?;
    let mut keys = Vec::new();
    for _ in 0..AGREEMENTS {
        keys.push(EphemeralPrivateKey::generate(&X25519, &random)?);
    }
    let decapsulation = DecapsulationKey::generate(&ML_KEM_768)?;
    let encapsulation = decapsulation.encapsulation_key()?;
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &[7; 16])?);
    let mut record = vec![0; RECORD];
    let ecdsa_sign = each(|| ecdsa.sign(&random, &message).map(drop))?;
    let rsa_sign = each(|| rsa.sign(&RSA_PSS_SHA256, &random, &message, &mut signature))?;
    let generate = each(|| {
        let key = EphemeralPrivateKey::generate(&X25519, &random)?;
        key.compute_public_key().map(drop)
    })?;
    let began = cpu::of_this_thread();
    for key in keys {
        let peer = UnparsedPublicKey::new(&X25519, peer.as_ref());
        agreement::agree_ephemeral(key, peer, Unspecified, |secret| {
            black_box(secret);
            Ok(())
        })?;
    }
    let agree = micros(cpu::of_this_thread() - began) / AGREEMENTS as f64;
    let encapsulate = each(|| encapsulation.encapsulate().map(drop))?;
    let seal = each(|| {
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        let sealed = key.seal_in_place_separate_tag(nonce, Aad::empty(), black_box(&mut record));
        sealed.map(|tag| drop(black_box(tag)))
    })?;
    Ok(vec![
        (Measure::EcdsaSign, ecdsa_sign),
        (Measure::RsaSign, rsa_sign),
        (Measure::X25519Generate, generate),
        (Measure::X25519Agree, agree),
        (Measure::MlKemEncapsulate, encapsulate),
        (Measure::AesSeal, RECORD as f64 / seal / 1e3),
    ])
}

/// Connect, accept and close of a connection on loopback, both ends in this thread, in µs.
fn connections() -> io::Result<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    each(|| {
        let client = TcpStream::connect(address)?;
        let (server, _) = listener.accept()?;
        drop(client);
        drop(server);
        Ok(())
    })
}

/// CPU time of one call, in µs: of as many as make a fifth of a second.
fn each<E>(mut call: impl FnMut() -> Result<(), E>) -> Result<f64, E> {
    for _ in 0..10 {
        call()?;
    }
    let (began, mut count) = (cpu::of_this_thread(), 0_u32);
    loop {
        for _ in 0..20 {
            call()?;
        }
        count += 20;
        let used = cpu::of_this_thread() - began;
        if used > LONG_ENOUGH {
            return Ok(micros(used) / f64::from(count));
        }
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

const LONG_ENOUGH: Duration = Duration::from_millis(200);
/// Each key agrees but once, so they are made before.
const AGREEMENTS: usize = 5_000;
/// What one record of TLS holds at most.
const RECORD: usize = 16 << 10;
