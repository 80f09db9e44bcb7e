//! Root and issuing CA: made, and made anew in time.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, GeneralSubtree,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::certificate::{KeyType, Leaf, PrivateKey};
use crate::clock::Timestamp;
use crate::config::LocalCaConfig;
use crate::inventory::{CaPair, LocalCaRecord};
use crate::issuer::IssueError;
use crate::issuer::local_ca::{leaf, signing};

/// What the CA has to be, now.
pub(super) struct Authority {
    pub(super) issuer: String,
    pub(super) config: LocalCaConfig,
    pub(super) now: Timestamp,
}

impl Authority {
    /// The CA as it is to be used, and whether it differs from what is known.
    pub(super) fn renewed(&self, known: Option<LocalCaRecord>) -> Result<(LocalCaRecord, bool), IssueError> {
        let Some(mut record) = known else {
            let root = self.make_root()?;
            let issuing = self.make_issuing(&root)?;
            tracing::info!(
                issuer = self.issuer,
                "made a local CA; clients need its root certificate"
            );
            let clients = None;
            return Ok((
                LocalCaRecord {
                    root,
                    issuing,
                    clients,
                },
                true,
            ));
        };
        let root = read(&record.root)?;
        if self.ends_too_soon(root.not_after) {
            tracing::warn!(
                issuer = self.issuer, not_after = %root.not_after,
                "the root of the local CA comes to its end; a new one was made, and clients need it"
            );
            record.root = self.make_root()?;
            record.issuing = self.make_issuing(&record.root)?;
            return Ok((record, true));
        }
        let issuing = read(&record.issuing)?;
        if self.ends_too_soon(issuing.not_after) || issuing.permitted != self.permitted() {
            record.issuing = self.make_issuing(&record.root)?;
            tracing::info!(
                issuer = self.issuer,
                "replaced the issuing CA of the local CA; the root stays"
            );
            return Ok((record, true));
        }
        Ok((record, false))
    }

    /// The CA for clients as it is to be used, and whether it differs from the one in `record`. It never changes its key,
    /// and so neither what it has signed nor what it has revoked.
    pub(super) fn clients(&self, record: &LocalCaRecord) -> Result<(CaPair, bool), IssueError> {
        let Some(known) = &record.clients else {
            let key = PrivateKey::generate(KeyType::EcdsaP256)?;
            return Ok((self.make_clients(&record.root, key)?, true));
        };
        let fits = read(known)?.permitted == self.permitted() && is_signed_by(known, &record.root)?;
        match fits {
            true => Ok((known.clone(), false)),
            false => Ok((self.make_clients(&record.root, known.key.clone())?, true)),
        }
    }

    /// As long as the root, which is the bound of what it signs.
    fn make_clients(&self, root: &CaPair, key: PrivateKey) -> Result<CaPair, IssueError> {
        let name = format!("{} Clients", self.config.common_name);
        let mut params = self.subordinate(&name, read(root)?.not_after)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key.to_key_pair()?, &signer(root)?);
        Ok(CaPair {
            certificate: certificate.map_err(signing)?.pem(),
            key,
        })
    }

    /// Sorted.
    fn permitted(&self) -> Vec<String> {
        let permitted = self.config.permitted_domains.iter();
        let mut permitted: Vec<_> = permitted.map(ToString::to_string).collect();
        permitted.sort();
        permitted
    }

    fn ends_too_soon(&self, not_after: Timestamp) -> bool {
        self.now + self.config.certificate_lifetime > not_after
    }

    fn make_root(&self) -> Result<CaPair, IssueError> {
        let lifetime = ROOT_LIFETIME.max(self.config.certificate_lifetime * 4);
        let params = self.params(
            &self.config.common_name,
            BasicConstraints::Constrained(1),
            self.now + lifetime,
        )?;
        let key = PrivateKey::generate(KeyType::EcdsaP384)?;
        let certificate = params.self_signed(&key.to_key_pair()?).map_err(signing)?;
        Ok(CaPair {
            certificate: certificate.pem(),
            key,
        })
    }

    fn make_issuing(&self, root: &CaPair) -> Result<CaPair, IssueError> {
        let lifetime = ISSUING_LIFETIME.max(self.config.certificate_lifetime * 2);
        let not_after = (self.now + lifetime).min(read(root)?.not_after);
        let name = format!("{} Issuing", self.config.common_name);
        let params = self.subordinate(&name, not_after)?;
        let key = PrivateKey::generate(KeyType::EcdsaP256)?;
        let certificate = params
            .signed_by(&key.to_key_pair()?, &signer(root)?)
            .map_err(signing)?;
        Ok(CaPair {
            certificate: certificate.pem(),
            key,
        })
    }

    /// What the root signs: a CA that signs no other CA, and for nothing but the permitted domains.
    fn subordinate(&self, name: &str, not_after: Timestamp) -> Result<CertificateParams, IssueError> {
        let mut params = self.params(name, BasicConstraints::Constrained(0), not_after)?;
        params.use_authority_key_identifier_extension = true;
        if !self.config.permitted_domains.is_empty() {
            let subtree = |domain: &crate::name::DnsName| GeneralSubtree::DnsName(domain.to_string());
            params.name_constraints = Some(NameConstraints {
                permitted_subtrees: self.config.permitted_domains.iter().map(subtree).collect(),
                excluded_subtrees: Vec::new(),
            });
        }
        Ok(params)
    }

    fn params(
        &self,
        common_name: &str,
        constraints: BasicConstraints,
        not_after: Timestamp,
    ) -> Result<CertificateParams, IssueError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.is_ca = IsCa::Ca(constraints);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.serial_number = Some(leaf::serial()?);
        params.not_before = leaf::moment(self.now - BACKDATED)?;
        params.not_after = leaf::moment(not_after)?;
        Ok(params)
    }
}

/// A CA as what signs.
pub(super) fn signer(ca: &CaPair) -> Result<Issuer<'static, KeyPair>, IssueError> {
    Issuer::from_ca_cert_pem(&ca.certificate, ca.key.to_key_pair()?).map_err(signing)
}

struct CaFacts {
    not_after: Timestamp,
    /// Sorted; empty: everything.
    permitted: Vec<String>,
}

/// What a CA's certificate says of itself.
pub(super) fn facts(ca: &CaPair) -> Result<Leaf, IssueError> {
    Leaf::parse(&der(ca)?).map_err(|_| damaged())
}

/// The last moment of a CA's validity.
pub(super) fn not_after(ca: &CaPair) -> Result<Timestamp, IssueError> {
    Ok(read(ca)?.not_after)
}

fn damaged() -> IssueError {
    IssueError::Garbled {
        doing: "use the local CA in the inventory",
        reason: "its certificate does not parse".to_owned(),
    }
}

fn is_signed_by(ca: &CaPair, root: &CaPair) -> Result<bool, IssueError> {
    let (ca, root) = (der(ca)?, der(root)?);
    let (_, ca) = X509Certificate::from_der(&ca).map_err(|_| damaged())?;
    let (_, root) = X509Certificate::from_der(&root).map_err(|_| damaged())?;
    Ok(ca.issuer() == root.subject() && ca.verify_signature(Some(root.public_key())).is_ok())
}

fn der(ca: &CaPair) -> Result<CertificateDer<'static>, IssueError> {
    CertificateDer::from_pem_slice(ca.certificate.as_bytes()).map_err(|_| damaged())
}

fn read(ca: &CaPair) -> Result<CaFacts, IssueError> {
    let der = der(ca)?;
    let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| damaged())?;
    let constraints = certificate.name_constraints().map_err(|_| damaged())?;
    let subtrees = constraints.and_then(|constraints| constraints.value.permitted_subtrees.as_ref());
    let mut permitted: Vec<_> = subtrees
        .into_iter()
        .flatten()
        .filter_map(|subtree| match subtree.base {
            GeneralName::DNSName(name) => Some(name.to_owned()),
            _ => None,
        })
        .collect();
    permitted.sort();
    Ok(CaFacts {
        not_after: Timestamp::from_unix_seconds(certificate.validity().not_after.timestamp()),
        permitted,
    })
}

const DAY: Duration = Duration::from_secs(86_400);
const ROOT_LIFETIME: Duration = DAY.saturating_mul(3652);
const ISSUING_LIFETIME: Duration = DAY.saturating_mul(730);
/// Clients whose clocks are behind take the CA all the same.
const BACKDATED: Duration = Duration::from_secs(3600);
