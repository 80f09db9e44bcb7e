//! A chain and its key as PKCS#12 (RFC 7292), the form that browsers and systems import.
//!
//! Encrypted by PBES2 with AES-256-CBC and HMAC-SHA-256 (RFC 8018), authenticated with SHA-256: what OpenSSL 3 writes,
//! and what everything imports that is younger than 2019.

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{AES_256, EncryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{digest, hmac, pbkdf2};
use rustls::pki_types::PrivateKeyDer;
use yasna::models::ObjectIdentifier;
use yasna::{DERWriter, Tag, construct_der};
use zeroize::Zeroizing;

use crate::certificate::CredentialPem;

/// The random numbers that one document takes, each of them used once.
#[derive(Clone, Copy)]
pub struct Pkcs12Salts(pub [[u8; 16]; 5]);

/// A PKCS#12 document cannot be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Pkcs12Error {
    /// The cryptographic library refuses.
    #[error("the cryptographic library cannot encrypt")]
    Cipher,
    /// The key is of another form than PKCS#12 has.
    #[error(
        "the private key is not in PKCS#8, which PKCS#12 needs; `openssl pkcs8 -topk8 -nocrypt` makes it of others"
    )]
    NotPkcs8,
}

impl CredentialPem {
    /// Chain and key as one PKCS#12 document, under `password`; people see it by `friendly_name`.
    ///
    /// # Errors
    /// [`Pkcs12Error`].
    pub fn to_pkcs12(
        &self,
        friendly_name: &str,
        password: &str,
        salts: &Pkcs12Salts,
    ) -> Result<Vec<u8>, Pkcs12Error> {
        let [key_salt, key_iv, chain_salt, chain_iv, mac_salt] = &salts.0;
        let PrivateKeyDer::Pkcs8(key) = self.key() else {
            return Err(Pkcs12Error::NotPkcs8);
        };
        let leaf = self.chain().first().map(AsRef::as_ref).unwrap_or_default();
        // The same beside key and certificate: that is how they are known to belong together.
        let id = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, leaf);
        let attributes = |writer: DERWriter<'_>| attributes(writer, friendly_name, id.as_ref());

        let encrypted_key = encrypted(key.secret_pkcs8_der(), password, key_salt, key_iv)?;
        let keys = construct_der(|writer| {
            writer.write_sequence(|bags| {
                bags.next().write_sequence(|bag| {
                    bag.next().write_oid(&oid(SHROUDED_KEY_BAG));
                    bag.next().write_tagged(Tag::context(0), |value| {
                        value.write_sequence(|info| {
                            algorithm(info.next(), key_salt, key_iv);
                            info.next().write_bytes(&encrypted_key);
                        });
                    });
                    attributes(bag.next());
                });
            });
        });
        let certificates = construct_der(|writer| {
            writer.write_sequence(|bags| {
                for (index, certificate) in self.chain().iter().enumerate() {
                    bags.next().write_sequence(|bag| {
                        bag.next().write_oid(&oid(CERTIFICATE_BAG));
                        bag.next().write_tagged(Tag::context(0), |value| {
                            value.write_sequence(|value| {
                                value.next().write_oid(&oid(X509_CERTIFICATE));
                                value
                                    .next()
                                    .write_tagged(Tag::context(0), |value| value.write_bytes(certificate));
                            });
                        });
                        if index == 0 {
                            attributes(bag.next());
                        }
                    });
                }
            });
        });
        let encrypted_chain = encrypted(&certificates, password, chain_salt, chain_iv)?;
        let contents = construct_der(|writer| {
            writer.write_sequence(|contents| {
                contents.next().write_sequence(|content| {
                    content.next().write_oid(&oid(ENCRYPTED_DATA));
                    content.next().write_tagged(Tag::context(0), |value| {
                        value.write_sequence(|value| {
                            value.next().write_u8(0);
                            value.next().write_sequence(|info| {
                                info.next().write_oid(&oid(DATA));
                                algorithm(info.next(), chain_salt, chain_iv);
                                info.next().write_tagged_implicit(Tag::context(0), |value| {
                                    value.write_bytes(&encrypted_chain);
                                });
                            });
                        });
                    });
                });
                contents.next().write_sequence(|content| data(content, &keys));
            });
        });
        let code = authentication(&contents, password, mac_salt);
        Ok(construct_der(|writer| {
            writer.write_sequence(|document| {
                document.next().write_u8(3);
                document.next().write_sequence(|content| data(content, &contents));
                document.next().write_sequence(|mac| {
                    mac.next().write_sequence(|info| {
                        info.next().write_sequence(|algorithm| {
                            algorithm.next().write_oid(&oid(SHA_256));
                            algorithm.next().write_null();
                        });
                        info.next().write_bytes(code.as_ref());
                    });
                    mac.next().write_bytes(mac_salt);
                    mac.next().write_u32(ITERATIONS.get());
                });
            });
        }))
    }
}

fn data(writer: &mut yasna::DERWriterSeq<'_>, content: &[u8]) {
    writer.next().write_oid(&oid(DATA));
    writer
        .next()
        .write_tagged(Tag::context(0), |value| value.write_bytes(content));
}

fn attributes(writer: DERWriter<'_>, friendly_name: &str, id: &[u8]) {
    writer.write_set_of(|attributes| {
        attributes.next().write_sequence(|attribute| {
            attribute.next().write_oid(&oid(FRIENDLY_NAME));
            attribute
                .next()
                .write_set(|values| values.next().write_bmp_string(friendly_name));
        });
        attributes.next().write_sequence(|attribute| {
            attribute.next().write_oid(&oid(LOCAL_KEY_ID));
            attribute.next().write_set(|values| values.next().write_bytes(id));
        });
    });
}

/// PBES2 (RFC 8018, appendix A.4).
fn algorithm(writer: DERWriter<'_>, salt: &[u8], iv: &[u8]) {
    writer.write_sequence(|algorithm| {
        algorithm.next().write_oid(&oid(PBES2));
        algorithm.next().write_sequence(|parameters| {
            parameters.next().write_sequence(|derivation| {
                derivation.next().write_oid(&oid(PBKDF2));
                derivation.next().write_sequence(|parameters| {
                    parameters.next().write_bytes(salt);
                    parameters.next().write_u32(ITERATIONS.get());
                    parameters.next().write_sequence(|function| {
                        function.next().write_oid(&oid(HMAC_WITH_SHA_256));
                        function.next().write_null();
                    });
                });
            });
            parameters.next().write_sequence(|cipher| {
                cipher.next().write_oid(&oid(AES_256_CBC));
                cipher.next().write_bytes(iv);
            });
        });
    });
}

fn encrypted(plain: &[u8], password: &str, salt: &[u8], iv: &[u8; 16]) -> Result<Vec<u8>, Pkcs12Error> {
    let mut key = Zeroizing::new([0; 32]);
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
    pbkdf2::derive(algorithm, ITERATIONS, salt, password.as_bytes(), &mut *key);
    let refused = |_| Pkcs12Error::Cipher;
    let key = UnboundCipherKey::new(&AES_256, &*key).map_err(refused)?;
    let key = PaddedBlockEncryptingKey::cbc_pkcs7(key).map_err(refused)?;
    // With room for the padding: what is moved for want of it would leave the key behind.
    let mut text = Vec::with_capacity(plain.len() + iv.len());
    text.extend_from_slice(plain);
    key.less_safe_encrypt(&mut text, EncryptionContext::Iv128(FixedLength::from(iv)))
        .map_err(refused)?;
    Ok(text)
}

/// The code over the whole, with a key that is derived as in RFC 7292, appendix B.
fn authentication(contents: &[u8], password: &str, salt: &[u8]) -> hmac::Tag {
    const BLOCK: usize = 64;
    let repeated = |octets: &[u8]| -> Vec<u8> {
        let length = octets.len().div_ceil(BLOCK) * BLOCK;
        octets.iter().copied().cycle().take(length).collect()
    };
    let encoded = password.encode_utf16().chain([0]).flat_map(u16::to_be_bytes);
    let encoded = Zeroizing::new(encoded.collect::<Vec<_>>());
    let repeated_password = Zeroizing::new(repeated(&encoded));
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&[FOR_AUTHENTICATION; BLOCK]);
    context.update(&repeated(salt));
    context.update(&repeated_password);
    let mut key = context.finish();
    for _ in 1..ITERATIONS.get() {
        key = digest::digest(&digest::SHA256, key.as_ref());
    }
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()), contents)
}

fn oid(arcs: &[u64]) -> ObjectIdentifier {
    ObjectIdentifier::from_slice(arcs)
}

const DATA: &[u64] = &[1, 2, 840, 113549, 1, 7, 1];
const ENCRYPTED_DATA: &[u64] = &[1, 2, 840, 113549, 1, 7, 6];
const SHROUDED_KEY_BAG: &[u64] = &[1, 2, 840, 113549, 1, 12, 10, 1, 2];
const CERTIFICATE_BAG: &[u64] = &[1, 2, 840, 113549, 1, 12, 10, 1, 3];
const FRIENDLY_NAME: &[u64] = &[1, 2, 840, 113549, 1, 9, 20];
const LOCAL_KEY_ID: &[u64] = &[1, 2, 840, 113549, 1, 9, 21];
const X509_CERTIFICATE: &[u64] = &[1, 2, 840, 113549, 1, 9, 22, 1];
const PBKDF2: &[u64] = &[1, 2, 840, 113549, 1, 5, 12];
const PBES2: &[u64] = &[1, 2, 840, 113549, 1, 5, 13];
const HMAC_WITH_SHA_256: &[u64] = &[1, 2, 840, 113549, 2, 9];
const AES_256_CBC: &[u64] = &[2, 16, 840, 1, 101, 3, 4, 1, 42];
const SHA_256: &[u64] = &[2, 16, 840, 1, 101, 3, 4, 2, 1];
/// The purpose of the derived key (RFC 7292, appendix B.3).
const FOR_AUTHENTICATION: u8 = 3;
/// Makes a guess at a password cost a tenth of a second.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(100_000).unwrap();

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rcgen::CertificateParams;

    use super::*;
    use crate::certificate::{KeyType, PrivateKey};

    #[test]
    fn openssl_finds_the_key_and_the_chain_under_the_password_and_under_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.p12");
        for (key_type, password) in [
            (
                KeyType::EcdsaP256,
                "a password longer than one block of the digest",
            ),
            (KeyType::Rsa2048, "pässwörd"),
        ] {
            let key = PrivateKey::generate(key_type).unwrap();
            let params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
            let signed = params.self_signed(&key.to_key_pair().unwrap()).unwrap();
            let pem = CredentialPem::new(vec![signed.der().clone(), signed.der().clone()], &key);
            let salts = Pkcs12Salts([[1; 16], [2; 16], [3; 16], [4; 16], [5; 16]]);
            std::fs::write(&file, pem.to_pkcs12("Alice", password, &salts).unwrap()).unwrap();
            let open = |password: &str| {
                let mut openssl = Command::new("openssl");
                openssl.args(["pkcs12", "-nodes", "-info", "-passin", "stdin", "-in"]);
                let stdin = directory.path().join("password");
                std::fs::write(&stdin, password).unwrap();
                let stdin = std::fs::File::open(stdin).unwrap();
                let output = openssl.arg(&file).stdin(stdin).output();
                let output = output.expect("this test needs openssl: apt-get install openssl");
                (
                    output.status.success(),
                    String::from_utf8_lossy(&output.stdout).into_owned(),
                )
            };
            let (success, text) = open(password);
            assert!(success, "{text}");
            assert_eq!(text.matches("BEGIN CERTIFICATE").count(), 2);
            assert!(text.contains("friendlyName: Alice"), "{text}");
            let found = CredentialPem::parse(text.as_bytes()).unwrap();
            assert_eq!(found.key().secret_der(), key.pkcs8());
            assert!(!open("another").0);
        }
    }

    #[test]
    fn a_key_that_is_not_in_pkcs8_is_refused() {
        let pkcs1 = "-----BEGIN RSA PRIVATE KEY-----\nMAA=\n-----END RSA PRIVATE KEY-----\n";
        let certificate = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        let pem = CredentialPem::parse(format!("{certificate}{pkcs1}").as_bytes()).unwrap();
        let salts = Pkcs12Salts([[0; 16]; 5]);
        assert_eq!(pem.to_pkcs12("a", "b", &salts), Err(Pkcs12Error::NotPkcs8));
    }
}
