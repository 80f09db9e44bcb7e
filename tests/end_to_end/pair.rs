//! Chains and keys made for the occasion, as somebody else's CA would hand them out.

use std::net::SocketAddr;

use certgate::certificate::Leaf;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SerialNumber};

/// A root, and the CA under it that signs.
pub(crate) struct Authority {
    root: CertifiedIssuer<'static, KeyPair>,
    issuing: CertifiedIssuer<'static, KeyPair>,
}

/// A chain and its key, both as PEM.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) chain: String,
    pub(crate) key: String,
    pub(crate) serial: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let named = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
        };
        let key = || KeyPair::generate().expect("a key");
        let root = CertifiedIssuer::self_signed(named("Bought Root"), key()).expect("a root");
        let issuing =
            CertifiedIssuer::signed_by(named("Bought Issuing"), key(), &root).expect("an issuing CA");
        Self { root, issuing }
    }

    /// What clients trust.
    pub(crate) fn root(&self) -> String {
        self.root.pem()
    }

    /// The signing CA's certificate, which every chain ends with.
    pub(crate) fn issuing(&self) -> String {
        self.issuing.pem()
    }

    pub(crate) fn sign(&self, domain: &str) -> Pair {
        self.sign_changed(domain, |_| {})
    }

    /// Signs what `change` makes of the usual.
    pub(crate) fn sign_changed(&self, domain: &str, change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![domain.to_owned()]).expect("parameters");
        let number: [u8; 16] = std::array::from_fn(|i| key.public_key_raw()[i + 1] & 0x7f | 1);
        params.serial_number = Some(SerialNumber::from_slice(&number));
        change(&mut params);
        let leaf = params.signed_by(&key, &self.issuing).expect("a certificate");
        Pair {
            chain: leaf.pem() + &self.issuing.pem(),
            key: key.serialize_pem(),
            serial: Leaf::parse(leaf.der()).expect("just signed").serial,
        }
    }
}

impl Pair {
    /// Chain and key as one text.
    pub(crate) fn whole(&self) -> String {
        format!("{}{}", self.chain, self.key)
    }
}

/// A listener at `listen` that serves the files `own.crt` and `own.key`, and those in the directory `sites`.
pub(crate) fn config(listen: SocketAddr, server: SocketAddr) -> String {
    format!(
        "[certificates.own]\ncertificate_file = \"own.crt\"\nkey_file = \"own.key\"\n\
         [certificate_directories.sites]\npath = \"sites\"\n\
         [server_groups.app]\nservers = [\"{server}\"]\n\
         [listeners.web]\naddress = \"{}\"\nport = {}\ncertificates = [\"own\", \"sites/*\"]\n\
         unknown_sni = \"refuse\"\nserver_group = \"app\"\n",
        listen.ip(),
        listen.port()
    )
}
