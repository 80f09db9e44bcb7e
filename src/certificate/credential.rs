//! A chain and a key proven to fit, ready to serve.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, crypto::aws_lc_rs};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use crate::certificate::{CredentialPem, Leaf, LeafError};
use crate::clock::Timestamp;
use crate::name::NamePattern;

/// A chain and its key after every check that needs no clock. Cheap to clone; never changed.
#[derive(Clone, Debug)]
pub struct Credential {
    certified_key: Arc<CertifiedKey>,
    leaf: Arc<Leaf>,
}

impl Credential {
    /// Checks that the key is strong enough and belongs to the first certificate, and that each certificate of
    /// the chain is signed by the next.
    ///
    /// # Errors
    /// [`CredentialError`] names the first thing that does not fit.
    pub fn from_pem(pem: &CredentialPem) -> Result<Self, CredentialError> {
        let chain = pem.chain();
        let parsed: Vec<_> = chain
            .iter()
            .enumerate()
            .map(|(position, der)| match X509Certificate::from_der(der) {
                Ok((_, certificate)) => Ok(certificate),
                Err(_) => Err(CredentialError::NotACertificate {
                    position: position + 1,
                }),
            })
            .collect::<Result<_, _>>()?;
        let (Some(end_entity), Some(end_entity_der)) = (parsed.first(), chain.first()) else {
            return Err(CredentialError::NotACertificate { position: 1 });
        };
        if let Ok(PublicKey::RSA(key)) = end_entity.public_key().parsed()
            && key.key_size() < 2048
        {
            return Err(CredentialError::WeakKey { bits: key.key_size() });
        }
        let provider = aws_lc_rs::default_provider();
        let key = provider
            .key_provider
            .load_private_key(pem.key().clone_key())
            .map_err(|source| CredentialError::UnusableKey { source })?;
        let fits = |position: usize| {
            CertifiedKey::new(chain[position..=position].to_vec(), key.clone())
                .keys_match()
                .is_ok()
        };
        match CertifiedKey::new(chain.to_vec(), key.clone()).keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(_) => {
                return Err(match (1..chain.len()).find(|position| fits(*position)) {
                    Some(position) => CredentialError::WrongOrder {
                        position: position + 1,
                    },
                    None => CredentialError::WrongKey {
                        names: names(end_entity, end_entity_der),
                    },
                });
            }
        }
        check_chain(&parsed)?;
        let leaf = Leaf::parse(end_entity_der).map_err(|source| CredentialError::Leaf { source })?;
        Ok(Self {
            certified_key: Arc::new(CertifiedKey::new(chain.to_vec(), key)),
            leaf: Arc::new(leaf),
        })
    }

    /// Checks that it is valid now and for every one of `domains`, as a new one must be before it may replace
    /// another.
    ///
    /// # Errors
    /// [`CredentialError::Expired`], [`NotYetValid`](CredentialError::NotYetValid) or
    /// [`MissingName`](CredentialError::MissingName).
    pub fn check(&self, domains: &[NamePattern], now: Timestamp) -> Result<(), CredentialError> {
        let Leaf {
            not_before,
            not_after,
            ..
        } = *self.leaf;
        if now > not_after {
            return Err(CredentialError::Expired { not_after });
        }
        if now < not_before {
            return Err(CredentialError::NotYetValid { not_before });
        }
        match domains.iter().find(|domain| !self.leaf.holds(domain)) {
            Some(missing) => Err(CredentialError::MissingName {
                missing: missing.clone(),
                names: self.leaf.names.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Chain and key as rustls serves them.
    pub fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.certified_key
    }

    /// What the end-entity certificate says.
    pub fn leaf(&self) -> &Leaf {
        &self.leaf
    }
}

/// Why a chain and a key do not fit together, or do not fit what was wanted.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// A certificate of the chain is not signed by the one after it.
    #[error(
        "the chain is broken after certificate {position}: it was issued by `{issuer}`, but the next one is {}; \
         each must be followed by its issuer's, as the CA hands them out",
        if issuer == next { "another CA of that name".to_owned() } else { format!("`{next}`") }
    )]
    BrokenChain {
        /// The certificate, counted from 1, that the next one did not sign.
        position: usize,
        /// Who signed it.
        issuer: String,
        /// The subject of the one that follows.
        next: String,
    },
    /// Its validity is over.
    #[error("the certificate expired at {not_after}; a valid one is needed")]
    Expired {
        /// The end of its validity.
        not_after: Timestamp,
    },
    /// The end-entity certificate has no usable facts.
    #[error("the end-entity certificate is unusable")]
    Leaf {
        /// What is wrong with it.
        source: LeafError,
    },
    /// The issuing CA's own certificate was left out.
    #[error(
        "the chain has the end-entity certificate only; clients also need that of its issuer `{issuer}`, which stands at {url}; append it"
    )]
    MissingIntermediate {
        /// The issuer's distinguished name.
        issuer: String,
        /// Where the certificate itself says it can be had (RFC 5280 §4.2.2.1).
        url: String,
    },
    /// A wanted name is not among the certificate's.
    #[error("the certificate is not valid for `{missing}`; its names are {names:?}")]
    MissingName {
        /// The wanted name.
        missing: NamePattern,
        /// The certificate's names.
        names: Vec<NamePattern>,
    },
    /// A block of the chain is not X.509.
    #[error("certificate {position} of the chain is not an X.509 certificate")]
    NotACertificate {
        /// Its position, counted from 1.
        position: usize,
    },
    /// Its validity has not begun.
    #[error(
        "the certificate is not valid before {not_before}; if that has passed, this machine's clock is wrong"
    )]
    NotYetValid {
        /// The beginning of its validity.
        not_before: Timestamp,
    },
    /// The key does not load.
    #[error(
        "the private key cannot be used; ECDSA P-256, P-384 and P-521, Ed25519 and RSA of 2048 bits or more can"
    )]
    UnusableKey {
        /// What the cryptographic library found.
        source: rustls::Error,
    },
    /// RSA keys under 2048 bits are refused by every client.
    #[error("the key is RSA with {bits} bits; at least 2048 are needed")]
    WeakKey {
        /// The size found.
        bits: usize,
    },
    /// Key and certificate are strangers.
    #[error(
        "the private key does not belong to the certificate for {names}, nor to another one of the chain; the one that \
         the certificate was requested with is needed"
    )]
    WrongKey {
        /// The DNS names of the first certificate; its subject where it has none.
        names: String,
    },
    /// The end-entity certificate is not the first.
    #[error(
        "the certificate that belongs to the key is number {position} of the chain; it must be the first, each followed by its issuer"
    )]
    WrongOrder {
        /// Where it stands, counted from 1.
        position: usize,
    },
}

/// What people know a certificate by. CAs leave the subject empty nowadays.
fn names(certificate: &X509Certificate<'_>, der: &CertificateDer<'_>) -> String {
    let names: Vec<_> = match Leaf::parse(der) {
        Ok(leaf) => leaf.names.iter().map(ToString::to_string).collect(),
        Err(_) => Vec::new(),
    };
    match names.is_empty() {
        true => format!("`{}`", certificate.subject()),
        false => format!("`{}`", names.join("`, `")),
    }
}

fn check_chain(chain: &[X509Certificate<'_>]) -> Result<(), CredentialError> {
    for (index, pair) in chain.windows(2).enumerate() {
        let [certificate, next] = pair else { continue };
        let named = certificate.issuer().as_raw() == next.subject().as_raw();
        if !named || certificate.verify_signature(Some(next.public_key())).is_err() {
            return Err(CredentialError::BrokenChain {
                position: index + 1,
                issuer: certificate.issuer().to_string(),
                next: next.subject().to_string(),
            });
        }
    }
    // A private CA may well sign with its root; a certificate that says where its issuer's is to be had may not
    // come without it.
    if let [end_entity] = chain
        && end_entity.issuer().as_raw() != end_entity.subject().as_raw()
        && let Some(url) = issuer_url(end_entity)
    {
        return Err(CredentialError::MissingIntermediate {
            issuer: end_entity.issuer().to_string(),
            url,
        });
    }
    Ok(())
}

fn issuer_url(certificate: &X509Certificate<'_>) -> Option<String> {
    const CA_ISSUERS: &str = "1.3.6.1.5.5.7.48.2";
    certificate
        .extensions()
        .iter()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityInfoAccess(access) => {
                access.accessdescs.iter().find_map(|description| {
                    match (
                        &description.access_location,
                        description.access_method.to_id_string() == CA_ISSUERS,
                    ) {
                        (GeneralName::URI(url), true) => Some((*url).to_owned()),
                        _ => None,
                    }
                })
            }
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair};
    use time::OffsetDateTime;

    use super::*;
    use crate::certificate::{KeyType, PrivateKey};

    const DAY: Duration = Duration::from_secs(86_400);

    fn now() -> Timestamp {
        Timestamp::from_unix_seconds(1_795_219_200)
    }

    struct Ca {
        pem: CredentialPem,
        issuer: Issuer<'static, KeyPair>,
    }

    fn params(names: &[&str]) -> CertificateParams {
        let mut params =
            CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).unwrap();
        params.not_before = OffsetDateTime::from_unix_timestamp((now() - DAY).unix_seconds()).unwrap();
        params.not_after = OffsetDateTime::from_unix_timestamp((now() + DAY).unix_seconds()).unwrap();
        params
    }

    fn ca(name: &str) -> Ca {
        let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        let mut params = params(&[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key.to_key_pair().unwrap()).unwrap();
        let pem = CredentialPem::new(vec![certificate.der().clone()], &key);
        Ca {
            pem,
            issuer: Issuer::new(params, key.to_key_pair().unwrap()),
        }
    }

    fn issue(ca: &Ca, params: &CertificateParams, with_issuer: bool) -> (CredentialPem, PrivateKey) {
        let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        let certificate = params.signed_by(&key.to_key_pair().unwrap(), &ca.issuer).unwrap();
        let mut chain = vec![certificate.der().clone()];
        if with_issuer {
            chain.extend_from_slice(ca.pem.chain());
        }
        (CredentialPem::new(chain, &key), key)
    }

    #[test]
    fn a_fitting_chain_and_key_are_ready_to_serve() {
        let (pem, _) = issue(&ca("one"), &params(&["a.example", "*.b.example"]), true);
        let credential = Credential::from_pem(&pem).unwrap();
        let wanted =
            ["a.example", "x.b.example", "*.b.example"].map(|name| NamePattern::parse(name).unwrap());
        credential.check(&wanted, now()).unwrap();
        assert_eq!(credential.leaf().key, "ECDSA P-256");
        assert_eq!(credential.leaf().lifetime(), 2 * DAY);
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let ca = ca("one");
        let (pem, _) = issue(&ca, &params(&["a.example"]), true);
        let (_, other) = issue(&ca, &params(&["a.example"]), true);
        let mixed = CredentialPem::new(pem.chain().to_vec(), &other);
        assert_eq!(
            Credential::from_pem(&mixed).unwrap_err().to_string(),
            "the private key does not belong to the certificate for `a.example`, nor to another one of the chain; \
             the one that the certificate was requested with is needed"
        );
    }

    #[test]
    fn a_chain_in_the_wrong_order_says_where_the_right_certificate_stands() {
        let (pem, key) = issue(&ca("one"), &params(&["a.example"]), true);
        let reversed = CredentialPem::new(pem.chain().iter().rev().cloned().collect(), &key);
        assert!(matches!(
            Credential::from_pem(&reversed),
            Err(CredentialError::WrongOrder { position: 2 })
        ));
    }

    #[test]
    fn a_chain_with_a_strangers_certificate_is_refused_even_under_the_right_name() {
        let (pem, key) = issue(&ca("one"), &params(&["a.example"]), false);
        let chain = vec![pem.chain()[0].clone(), ca("one").pem.chain()[0].clone()];
        let result = Credential::from_pem(&CredentialPem::new(chain, &key));
        assert!(matches!(
            result,
            Err(CredentialError::BrokenChain { position: 1, .. })
        ));
    }

    #[test]
    fn a_certificate_that_names_its_issuers_url_may_not_come_alone() {
        let mut params = params(&["a.example"]);
        let url = b"http://ca.example/";
        let mut access = vec![
            0x30, 0x20, 0x30, 0x1e, 0x06, 0x08, 0x2b, 6, 1, 5, 5, 7, 0x30, 2, 0x86, 0x12,
        ];
        access.extend_from_slice(url);
        params.custom_extensions.push(CustomExtension::from_oid_content(
            &[1, 3, 6, 1, 5, 5, 7, 1, 1],
            access,
        ));
        let ca = ca("one");
        let (alone, _) = issue(&ca, &params, false);
        assert!(
            matches!(Credential::from_pem(&alone), Err(CredentialError::MissingIntermediate { url, .. }) if url == "http://ca.example/")
        );
        let (whole, _) = issue(&ca, &params, true);
        assert!(Credential::from_pem(&whole).is_ok());
    }

    #[test]
    fn validity_and_names_are_checked_against_what_is_wanted() {
        let (pem, _) = issue(&ca("one"), &params(&["a.example"]), true);
        let credential = Credential::from_pem(&pem).unwrap();
        let check = |domain: &str, now| credential.check(&[NamePattern::parse(domain).unwrap()], now);
        assert!(check("a.example", now()).is_ok());
        assert!(matches!(
            check("a.example", now() + 2 * DAY),
            Err(CredentialError::Expired { .. })
        ));
        assert!(matches!(
            check("a.example", now() - 2 * DAY),
            Err(CredentialError::NotYetValid { .. })
        ));
        assert!(matches!(
            check("b.example", now()),
            Err(CredentialError::MissingName { .. })
        ));
        assert!(matches!(
            check("*.a.example", now()),
            Err(CredentialError::MissingName { .. })
        ));
    }

    #[test]
    fn rsa_with_1024_bits_is_refused_by_its_size() {
        let pem = include_bytes!("../../tests/fixtures/pem/rsa-1024.pem");
        let pem = CredentialPem::parse(pem).unwrap();
        assert!(matches!(
            Credential::from_pem(&pem),
            Err(CredentialError::WeakKey { bits: 1024 })
        ));
    }
}
