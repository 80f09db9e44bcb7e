//! Client certificates of a local CA. Their keys are made by whoever asks: here comes a signing request, and a
//! certificate goes.

use std::time::Duration;

use rcgen::string::Ia5String;
use rcgen::{
    CertificateParams, CrlDistributionPoint, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    KeyUsagePurpose, SanType, SubjectPublicKeyInfo,
};
use rustls::pki_types::CertificateSigningRequestDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509CertificationRequest};
use x509_parser::public_key::PublicKey;

use crate::certificate::ClientIdentity;
use crate::clock::Timestamp;
use crate::inventory::{CaPair, ClientCertificateRecord};
use crate::issuer::IssueError;
use crate::issuer::local_ca::{authority, leaf, signing};
use crate::name::{DnsName, NamePattern, NotCertifiable};

/// What a client certificate is asked for.
#[derive(Clone, Debug)]
pub struct ClientRequest {
    /// A signing request in PEM (RFC 2986): its key is certified, and whoever has made it has the private one. Its
    /// subject and extensions are not looked at.
    pub csr_pem: String,
    /// The subject's common name.
    pub common_name: String,
    /// DNS names of the client.
    pub dns: Vec<NamePattern>,
    /// URIs of the client, as a SPIFFE ID.
    pub uri: Vec<String>,
    /// Mail addresses of the client.
    pub email: Vec<String>,
    /// Days of its validity.
    pub days: u32,
}

/// Why a client certificate is not signed as asked.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ClientRequestProblem {
    /// The subject cannot be called so.
    #[error(
        "the common name must have 1 to {} characters and no control characters; found {found}",
        COMMON_NAME_MAX
    )]
    CommonName {
        /// Its length in characters.
        found: usize,
    },
    /// Not a time that a client certificate is valid for.
    #[error("`days` is {found}; 1 to {} are allowed", DAYS_MAX)]
    Days {
        /// What was asked for.
        found: u32,
    },
    /// Not a mail address.
    #[error("`{}` is no mail address as certificates have them: ASCII, with one `@`", found.escape_debug())]
    Email {
        /// What was asked for.
        found: String,
    },
    /// Not a name that a certificate can hold.
    #[error("{reason}")]
    Name {
        /// Which one, and why.
        reason: NotCertifiable,
    },
    /// The root ends too early.
    #[error("the local CA's root ends at {not_after}, before this certificate would; ask for fewer days")]
    OutlivesRoot {
        /// The root's end.
        not_after: Timestamp,
    },
    /// Not a signing request at all.
    #[error("the signing request is no `-----BEGIN CERTIFICATE REQUEST-----` block with PKCS#10 in it")]
    NotARequest,
    /// Whoever sends the request has not shown to have its private key.
    #[error("the signature of the signing request is not by its own key")]
    Signature,
    /// More names than anybody needs.
    #[error("{found} alternative names are asked for; at most {} are allowed", NAMES_MAX)]
    TooManyNames {
        /// How many.
        found: usize,
    },
    /// Not a URI.
    #[error("`{}` is no URI as certificates have them: ASCII, with a scheme and what follows it", found.escape_debug())]
    Uri {
        /// What was asked for.
        found: String,
    },
    /// A key that this gateway would not let in.
    #[error(
        "the key of the signing request is {found}; allowed are ECDSA P-256, P-384 and P-521, Ed25519, and RSA of 2048 to 8192 bits"
    )]
    WeakKey {
        /// What kind it is.
        found: String,
    },
}

impl ClientRequest {
    /// The key to be certified, when everything about the request is right.
    pub(super) fn checked(&self) -> Result<SubjectPublicKeyInfo, ClientRequestProblem> {
        use ClientRequestProblem as Problem;
        let found = self.common_name.chars().count();
        if !(1..=COMMON_NAME_MAX).contains(&found) || self.common_name.chars().any(char::is_control) {
            return Err(Problem::CommonName { found });
        }
        if !(1..=DAYS_MAX).contains(&self.days) {
            return Err(Problem::Days { found: self.days });
        }
        let found = self.dns.len() + self.uri.len() + self.email.len();
        if found > NAMES_MAX {
            return Err(Problem::TooManyNames { found });
        }
        for name in &self.dns {
            name.check_certifiable()
                .map_err(|reason| Problem::Name { reason })?;
        }
        if let Some(found) = self.uri.iter().find(|uri| !is_uri(uri)) {
            return Err(Problem::Uri { found: found.clone() });
        }
        if let Some(found) = self.email.iter().find(|address| !is_email(address)) {
            return Err(Problem::Email { found: found.clone() });
        }
        let der = CertificateSigningRequestDer::from_pem_slice(self.csr_pem.as_bytes());
        let der = der.map_err(|_| Problem::NotARequest)?;
        let Ok(([], request)) = X509CertificationRequest::from_der(&der) else {
            return Err(Problem::NotARequest);
        };
        let key = &request.certification_request_info.subject_pki;
        // First: what is too weak cannot be verified either.
        if let Some(found) = unfit(key) {
            return Err(Problem::WeakKey { found });
        }
        request.verify_signature().map_err(|_| Problem::Signature)?;
        SubjectPublicKeyInfo::from_der(key.raw).map_err(|_| Problem::WeakKey {
            found: key.algorithm.algorithm.to_id_string(),
        })
    }
}

/// Signs what `request` asks for, valid from a little before `now` for servers whose clocks are behind. The chain ends
/// with the CA; the root is what servers have.
pub(super) fn sign(
    clients: &CaPair,
    request: &ClientRequest,
    key: &SubjectPublicKeyInfo,
    crl_url: Option<String>,
    now: Timestamp,
) -> Result<(ClientCertificateRecord, String), IssueError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, request.common_name.as_str());
    let text = |text: &str| Ia5String::try_from(text).map_err(signing);
    for name in &request.dns {
        params
            .subject_alt_names
            .push(SanType::DnsName(text(&name.to_string())?));
    }
    for uri in &request.uri {
        params.subject_alt_names.push(SanType::URI(text(uri)?));
    }
    for address in &request.email {
        params.subject_alt_names.push(SanType::Rfc822Name(text(address)?));
    }
    let not_after = now + lifetime(request);
    params.serial_number = Some(leaf::serial()?);
    params.not_before = leaf::moment(now - LONGEST_BACKDATING)?;
    params.not_after = leaf::moment(not_after)?;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.crl_distribution_points = crl_url
        .map(|url| CrlDistributionPoint { uris: vec![url] })
        .into_iter()
        .collect();
    let certificate = params
        .signed_by(key, &authority::signer(clients)?)
        .map_err(signing)?;
    let identity = ClientIdentity::parse(certificate.der()).ok_or_else(damaged)?;
    let record = ClientCertificateRecord {
        serial: identity.serial,
        common_name: request.common_name.clone(),
        dns: identity.dns,
        uri: identity.uris,
        email: request.email.clone(),
        fingerprint: identity.fingerprint,
        issued_at: now,
        not_after: identity.not_after,
        revoked: None,
    };
    Ok((record, format!("{}{}", certificate.pem(), clients.certificate)))
}

/// How long what `request` asks for is valid.
pub(super) fn lifetime(request: &ClientRequest) -> Duration {
    DAY.saturating_mul(request.days)
}

fn damaged() -> IssueError {
    IssueError::Garbled {
        doing: "sign a client certificate",
        reason: "the local CA's certificate does not parse".to_owned(),
    }
}

/// What is wrong with a key: too weak, or of a kind that no listener verifies.
fn unfit(key: &x509_parser::x509::SubjectPublicKeyInfo<'_>) -> Option<String> {
    match key.parsed() {
        Ok(PublicKey::RSA(rsa)) if (2048..=8192).contains(&rsa.key_size()) => None,
        Ok(PublicKey::RSA(rsa)) => Some(format!("RSA of {} bits", rsa.key_size())),
        Ok(PublicKey::EC(point)) if matches!(point.key_size(), 256 | 384 | 521 | 528) => None,
        _ if key.algorithm.algorithm.to_id_string() == ED25519 => None,
        _ => Some(format!("of the kind {}", key.algorithm.algorithm)),
    }
}

/// A scheme (RFC 3986 §3.1) and something after it, without anything that could be mistaken in a line of text.
fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    let of_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(of_scheme)
        && !rest.is_empty()
        && text.len() <= TEXT_MAX
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else {
        return false;
    };
    !local.is_empty()
        && text.len() <= TEXT_MAX
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && DnsName::parse(domain).is_ok()
}

const DAY: Duration = Duration::from_secs(86_400);
const LONGEST_BACKDATING: Duration = Duration::from_secs(3600);
/// `ub-common-name` of RFC 5280, appendix A.1.
const COMMON_NAME_MAX: usize = 64;
const DAYS_MAX: u32 = 1826;
const NAMES_MAX: usize = 100;
/// Characters of a URI or a mail address.
const TEXT_MAX: usize = 2048;
/// RFC 8410 §3.
const ED25519: &str = "1.3.101.112";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::{KeyType, PrivateKey};

    fn request() -> ClientRequest {
        let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        ClientRequest {
            csr_pem: key.to_request_pem().unwrap(),
            common_name: "alice".to_owned(),
            dns: vec![NamePattern::parse("alice.example").unwrap()],
            uri: vec!["spiffe://example/alice".to_owned()],
            email: vec!["alice@example.com".to_owned()],
            days: 365,
        }
    }

    #[test]
    fn what_no_certificate_should_say_is_refused() {
        use ClientRequestProblem as Problem;
        assert!(request().checked().is_ok());
        let uri = |uri: &str| ClientRequest {
            uri: vec![uri.to_owned()],
            ..request()
        };
        let email = |email: &str| ClientRequest {
            email: vec![email.to_owned()],
            ..request()
        };
        let named = |common_name: &str| ClientRequest {
            common_name: common_name.to_owned(),
            ..request()
        };
        let underscored = NamePattern::parse("_x.example").unwrap();
        for (wrong, expected) in [
            (named(""), Problem::CommonName { found: 0 }),
            (named("al\nice"), Problem::CommonName { found: 6 }),
            (named(&"ä".repeat(65)), Problem::CommonName { found: 65 }),
            (
                uri("alice"),
                Problem::Uri {
                    found: "alice".into(),
                },
            ),
            (
                uri("x:a b"),
                Problem::Uri {
                    found: "x:a b".into(),
                },
            ),
            (uri("1x:a"), Problem::Uri { found: "1x:a".into() }),
            (
                email("alice"),
                Problem::Email {
                    found: "alice".into(),
                },
            ),
            (
                email("a@b@c"),
                Problem::Email {
                    found: "a@b@c".into(),
                },
            ),
            (
                ClientRequest {
                    dns: vec![underscored.clone()],
                    ..request()
                },
                Problem::Name {
                    reason: underscored.check_certifiable().unwrap_err(),
                },
            ),
            (ClientRequest { days: 0, ..request() }, Problem::Days { found: 0 }),
            (
                ClientRequest {
                    days: u32::MAX,
                    ..request()
                },
                Problem::Days { found: u32::MAX },
            ),
            (
                ClientRequest {
                    dns: vec![request().dns[0].clone(); 101],
                    uri: Vec::new(),
                    email: Vec::new(),
                    ..request()
                },
                Problem::TooManyNames { found: 101 },
            ),
            (
                ClientRequest {
                    csr_pem: "garbage".to_owned(),
                    ..request()
                },
                Problem::NotARequest,
            ),
        ] {
            assert_eq!(wrong.checked().unwrap_err(), expected);
        }
    }
}
