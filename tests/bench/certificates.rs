//! The certificates that are served: a root, an intermediate, and leaves below it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize,
};

/// The name in the certificates of [`Authority::pair`].
pub(crate) const ONE_NAME: &str = "one.example.test";

/// Signs leaves.
pub(crate) struct Authority {
    intermediate: CertifiedIssuer<'static, KeyPair>,
}

/// Leaf and key, ready to be written.
pub(crate) struct Issued {
    /// The chain, leaf first, and the key.
    pub(crate) pem: String,
}

impl Authority {
    /// A new root with an intermediate.
    pub(crate) fn new() -> Result<Self, rcgen::Error> {
        let root = CertifiedIssuer::self_signed(ca("bench root")?, KeyPair::generate()?)?;
        let intermediate =
            CertifiedIssuer::signed_by(ca("bench intermediate")?, KeyPair::generate()?, &root)?;
        Ok(Self { intermediate })
    }

    /// A certificate for `names` on `key`.
    pub(crate) fn issue(&self, names: &[&str], key: &KeyPair) -> Result<Issued, rcgen::Error> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // One that is about to expire would be reported.
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2049, 1, 1);
        let leaf = params.signed_by(key, &self.intermediate)?;
        let pem = format!("{}{}{}", leaf.pem(), self.intermediate.pem(), key.serialize_pem());
        Ok(Issued { pem })
    }

    /// An ECDSA certificate and an RSA one for [`ONE_NAME`], as files in `directory`.
    pub(crate) fn pair(&self, directory: &Path) -> io::Result<(PathBuf, PathBuf)> {
        let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048);
        let write = |name: &str, key: Result<KeyPair, rcgen::Error>| {
            let issued = key.and_then(|key| self.issue(&[ONE_NAME], &key));
            let path = directory.join(name);
            fs::write(&path, issued.map_err(io::Error::other)?.pem)?;
            fs::canonicalize(path)
        };
        Ok((write("ecdsa.pem", ecdsa_key())?, write("rsa.pem", rsa)?))
    }
}

/// A new ECDSA P-256 key.
pub(crate) fn ecdsa_key() -> Result<KeyPair, rcgen::Error> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
}

fn ca(name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_after = rcgen::date_time_ymd(2049, 1, 1);
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}
