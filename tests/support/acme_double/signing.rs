//! The CA behind the protocol.

use std::time::Duration;

use certgate::clock::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, IsCa, Issuer, KeyPair,
    PublicKeyData,
};
use rustls::pki_types::CertificateSigningRequestDer;

use super::Issued;

pub(super) struct Authority {
    root: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "ACME double");
        let root = params.self_signed(&key).unwrap().pem();
        Self {
            root,
            issuer: Issuer::new(params, key),
        }
    }

    pub(super) fn root_pem(&self) -> String {
        self.root.clone()
    }

    /// The chain for a request, or `None` when it is not one for exactly `names`.
    pub(super) fn sign(
        &self,
        csr: &[u8],
        names: &[String],
        issued: Issued,
        now: Timestamp,
        lifetime: Duration,
    ) -> Option<String> {
        let csr = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(csr)).ok()?;
        let mut asked: Vec<_> = csr.params.subject_alt_names.iter().map(name).collect();
        asked.sort();
        if asked != names || csr.params.distinguished_name.iter().next().is_some() {
            return None;
        }
        let mut params = csr.params.clone();
        params.use_authority_key_identifier_extension = true;
        params.not_before = now.to_offset_date_time()?;
        params.not_after = (now + lifetime).to_offset_date_time()?;
        Some(match issued {
            Issued::Right => self.chain(&params, &csr.public_key, &self.root),
            Issued::BrokenChain => self.chain(&params, &csr.public_key, &Self::new().root),
            Issued::NotPem => "<html>here is your certificate</html>".to_owned(),
            Issued::OtherKey => self.chain(&params, &KeyPair::generate().unwrap(), &self.root),
            Issued::OtherNames => {
                params.subject_alt_names = CertificateParams::new(vec!["other.example".to_owned()])
                    .unwrap()
                    .subject_alt_names;
                self.chain(&params, &csr.public_key, &self.root)
            }
        })
    }

    fn chain(&self, params: &CertificateParams, key: &impl PublicKeyData, issuer: &str) -> String {
        params.signed_by(key, &self.issuer).unwrap().pem() + issuer
    }
}

fn name(name: &rcgen::SanType) -> String {
    match name {
        rcgen::SanType::DnsName(name) => name.to_string(),
        rcgen::SanType::IpAddress(address) => address.to_string(),
        other => panic!("the request holds {other:?}"),
    }
}
