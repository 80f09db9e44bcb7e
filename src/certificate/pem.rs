//! A chain and its private key as one value, in PEM (RFC 7468).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::certificate::PrivateKey;
use crate::pem::flaw;

/// A certificate chain, end-entity first, and the private key that is said to belong to it. Nothing is checked
/// yet but the encoding; [`Credential::from_pem`](crate::certificate::Credential::from_pem) does the rest.
pub struct CredentialPem {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl CredentialPem {
    /// Joins what an issuer signed with the key it was asked for.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: &PrivateKey) -> Self {
        Self {
            chain,
            key: key.to_der(),
        }
    }

    /// Reads one text that holds both, in any order of blocks.
    ///
    /// # Errors
    /// [`PemProblem`] says what is missing, too much or unreadable.
    pub fn parse(text: &[u8]) -> Result<Self, PemProblem> {
        Self::parse_all(&[text]).map_err(|(_, problem)| problem)
    }

    /// Reads a chain from one text and its key from another.
    ///
    /// # Errors
    /// [`PairProblem`]: as [`parse`](Self::parse), and which of the two is to blame.
    pub fn parse_pair(certificate: &[u8], key: &[u8]) -> Result<Self, PairProblem> {
        Self::parse_all(&[certificate, key]).map_err(|(index, problem)| PairProblem {
            is_of_key: index > 0,
            problem,
        })
    }

    /// With a problem, which text has it; the key is looked for in the last one.
    fn parse_all(texts: &[&[u8]]) -> Result<Self, (usize, PemProblem)> {
        let (mut chain, mut keys) = (Vec::new(), Vec::new());
        // One by one: a block that was cut must not run on into the next text.
        for (index, text) in texts.iter().enumerate() {
            for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
                let (kind, der) = section.map_err(|source| match is_encrypted(text) {
                    true => (index, PemProblem::EncryptedKey),
                    false => (index, PemProblem::Syntax { flaw: flaw(&source) }),
                })?;
                match kind {
                    SectionKind::Certificate => chain.push(CertificateDer::from(der)),
                    SectionKind::PrivateKey => keys.push(PrivateKeyDer::Pkcs8(der.into())),
                    SectionKind::RsaPrivateKey => keys.push(PrivateKeyDer::Pkcs1(der.into())),
                    SectionKind::EcPrivateKey => keys.push(PrivateKeyDer::Sec1(der.into())),
                    _ => {}
                }
            }
        }
        if chain.is_empty() {
            return Err((0, PemProblem::NoCertificate));
        }
        let (found, last) = (keys.len(), texts.len().saturating_sub(1));
        match (keys.pop(), found) {
            (Some(key), 1) => Ok(Self { chain, key }),
            (None, _) => Err(match texts.iter().position(|text| is_encrypted(text)) {
                Some(encrypted) => (encrypted, PemProblem::EncryptedKey),
                None => (last, PemProblem::NoKey),
            }),
            (Some(_), found) => Err((last, PemProblem::SeveralKeys { found })),
        }
    }

    /// The chain, end-entity certificate first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The private key. Secret.
    pub fn key(&self) -> &PrivateKeyDer<'static> {
        &self.key
    }

    /// The chain alone as text, as it may be shown to anybody.
    pub fn chain_to_pem(&self) -> String {
        self.chain
            .iter()
            .map(|der| encode("CERTIFICATE", der).to_string())
            .collect()
    }

    /// Chain and key as one text. Secret.
    pub fn to_pem(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(self.chain_to_pem());
        text.push_str(&self.key_to_pem());
        text
    }

    /// The key alone as text. Secret.
    pub fn key_to_pem(&self) -> Zeroizing<String> {
        let label = match &self.key {
            PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
            PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
            _ => "PRIVATE KEY",
        };
        encode(label, self.key.secret_der())
    }
}

impl Clone for CredentialPem {
    fn clone(&self) -> Self {
        Self {
            chain: self.chain.clone(),
            key: self.key.clone_key(),
        }
    }
}

impl fmt::Debug for CredentialPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CredentialPem({} certificates, key secret)", self.chain.len())
    }
}

/// A CRL as text.
pub fn crl_to_pem(der: &[u8]) -> String {
    encode("X509 CRL", der).to_string()
}

/// Why a text does not hold a chain and a key.
#[derive(Debug, thiserror::Error)]
pub enum PemProblem {
    /// The key is protected by a passphrase.
    #[error(
        "the private key is encrypted; certgate takes it without a passphrase, as `openssl pkey -in KEY -out PLAIN` writes it"
    )]
    EncryptedKey,
    /// No `CERTIFICATE` block.
    #[error(
        "there is no `-----BEGIN CERTIFICATE-----` block; a chain is read in PEM, which `openssl x509 -inform der` makes of DER"
    )]
    NoCertificate,
    /// No private-key block of a known kind.
    #[error(
        "there is no private key; PKCS#8 (`PRIVATE KEY`), PKCS#1 (`RSA PRIVATE KEY`) and SEC1 (`EC PRIVATE KEY`) are read"
    )]
    NoKey,
    /// More than one private key.
    #[error("there are {found} private keys; exactly one belongs to a certificate")]
    SeveralKeys {
        /// How many.
        found: usize,
    },
    /// A block is damaged.
    #[error("the PEM text is damaged: {flaw}; it may have been cut, or its lines may have been joined")]
    Syntax {
        /// What the PEM reader found.
        flaw: &'static str,
    },
}

/// Why two texts do not hold a chain and its key.
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub struct PairProblem {
    /// Whether the text with the key is to blame, and not the one with the chain.
    pub is_of_key: bool,
    /// What is wrong with it.
    pub problem: PemProblem,
}

fn is_encrypted(text: &[u8]) -> bool {
    let contains = |needle: &[u8]| text.windows(needle.len()).any(|window| window == needle);
    contains(b"ENCRYPTED PRIVATE KEY") || contains(b"Proc-Type: 4,ENCRYPTED")
}

fn encode(label: &str, der: &[u8]) -> Zeroizing<String> {
    let encoded = Zeroizing::new(STANDARD.encode(der));
    let mut text = Zeroizing::new(String::with_capacity(encoded.len() + encoded.len() / 64 + 64));
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    for line in encoded.as_bytes().chunks(64) {
        text.push_str(std::str::from_utf8(line).unwrap_or_default());
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::KeyType;

    fn sample() -> CredentialPem {
        let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&key.to_key_pair().unwrap()).unwrap();
        CredentialPem::new(vec![certificate.der().clone()], &key)
    }

    #[test]
    fn a_chain_and_a_key_read_back_as_written_in_either_order() {
        let written = sample();
        let text = written.to_pem();
        let (chain, key) = text.split_once("-----BEGIN PRIVATE").unwrap();
        for text in [text.to_string(), format!("-----BEGIN PRIVATE{key}{chain}")] {
            let read = CredentialPem::parse(text.as_bytes()).unwrap();
            assert_eq!(read.chain(), written.chain());
            assert_eq!(read.key().secret_der(), written.key().secret_der());
        }
    }

    #[test]
    fn each_unusable_text_is_told_apart() {
        let text = sample().to_pem().to_string();
        let (chain, _) = text.split_once("-----BEGIN PRIVATE").unwrap();
        let problem = |text: &str| CredentialPem::parse(text.as_bytes()).unwrap_err();
        assert!(matches!(problem(""), PemProblem::NoCertificate));
        assert!(matches!(problem(chain), PemProblem::NoKey));
        assert!(matches!(
            problem(&text.repeat(2)),
            PemProblem::SeveralKeys { found: 2 }
        ));
        assert!(matches!(
            problem(&text[..text.len() - 40]),
            PemProblem::Syntax { .. }
        ));
        let cut =
            CredentialPem::parse_pair(&chain.as_bytes()[..chain.len() - 40], text.as_bytes()).unwrap_err();
        assert!(
            !cut.is_of_key && matches!(cut.problem, PemProblem::Syntax { .. }),
            "{cut}"
        );
        let whole = text.strip_prefix(chain).unwrap();
        for key in ["", "no key", &whole[..whole.len() - 40], &whole.repeat(2)] {
            let problem = CredentialPem::parse_pair(chain.as_bytes(), key.as_bytes()).unwrap_err();
            assert!(problem.is_of_key, "{problem}");
        }
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n";
        // As OpenSSL wrote it before PKCS#8: headers inside the block, which is no PEM of RFC 7468.
        let of_old = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\
                      DEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\nMAA=\n-----END EC PRIVATE KEY-----\n";
        for encrypted in [encrypted, of_old] {
            assert!(matches!(
                problem(&format!("{chain}{encrypted}")),
                PemProblem::EncryptedKey
            ));
        }
    }

    #[test]
    fn a_key_on_one_line_is_refused_without_a_word_of_it() {
        let text = sample().to_pem();
        let (_, key) = text.split_once("-----BEGIN PRIVATE").unwrap();
        for joined in ["\\n", " ", "\r", ""] {
            let line = format!("-----BEGIN PRIVATE{key}").replace('\n', joined);
            let error = CredentialPem::parse(line.as_bytes()).unwrap_err();
            let said = format!("{error} {error:?}");
            // Neither as text nor as numbers of octets.
            assert!(said.len() < 200, "{said}");
            assert!(!said.contains("MIG"), "{said}");
        }
    }

    #[test]
    fn the_debug_form_holds_no_secret() {
        assert_eq!(
            format!("{:?}", sample()),
            "CredentialPem(1 certificates, key secret)"
        );
    }
}
